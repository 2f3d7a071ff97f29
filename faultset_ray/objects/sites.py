"""What placement knows of stores: :class:`Site` by site, and as columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from faultset_ray.errors import InputError
from faultset_ray.kernels.rendezvous import key_of
from faultset_ray.limits import STORE_RESERVE_BYTES_MAX, STORE_RESERVE_SHARE
from faultset_ray.objects.store_values import StoreInfo

_STEP: Final = 1 / 256
_GAIN: Final = 20.0
_FACTORS: Final = (0.5, 2.0)
_GAIN_EXACT: Final = 35.0
_FACTORS_EXACT: Final = (0.05, 2.0)
_LARGE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Site:
    """A store as placement sees it."""

    store: str
    """Its UUID."""
    place: str
    region: str
    """The fault domain of its place."""
    capacity_bytes: int
    """Of its disk."""
    free_bytes: int
    draining: bool = False
    """Whether it is to become empty."""
    away: bool = False
    """Whether it does not answer, and is not given up: it keeps its shards and gets none."""

    @classmethod
    def of(cls, info: StoreInfo, *, draining: bool = False) -> Self:
        """The site of a store that told about itself."""
        return cls(info.uuid, info.place, info.region, info.capacity_bytes, info.free_bytes, draining)


class Columns:
    """Sites as columns, sorted by UUID: the order in which they are given does not count.

    Attributes
    ----------
    stores : tuple of str
    at : dict
        The position of each store.
    hashes : uint64[s]
        Of the places: UUIDs of stores are drawn at random, and a run that is repeated must place as it did before.
    region : int64[s]
        Position in ``regions``.
    regions : tuple of str
        Sorted.
    capacity, free : int64[s]
        Bytes; ``free`` is this object's own and may be changed as shards are placed.
    keeps : bool[s]
        Neither draining nor at a place that is not among the ``surviving``, if these are told: shards stay.
    open : bool[s]
        Also not away: it may get shards.

    Raises
    ------
    InputError
        Two sites are one store, or a number is not one of bytes.
    """

    def __init__(self, sites: Sequence[Site], surviving: Iterable[str] | None = None) -> None:
        ordered = sorted(sites, key=lambda site: site.store)
        self.stores = tuple(site.store for site in ordered)
        self.at = {store: position for position, store in enumerate(self.stores)}
        if len(self.at) < len(ordered):
            twice = Counter(self.stores).most_common(1)[0][0]
            raise InputError(f"store {twice} stands twice among the sites")
        for site in ordered:
            if not 0 <= site.free_bytes <= site.capacity_bytes:
                raise InputError(
                    f"store {site.store} has {site.free_bytes} free bytes of {site.capacity_bytes}; "
                    "expected from 0 up to its capacity"
                )
        self.hashes = np.array([key_of(site.place.encode()) for site in ordered], np.uint64)
        self.regions = tuple(sorted({site.region for site in ordered}))
        number = {region: position for position, region in enumerate(self.regions)}
        self.region = np.array([number[site.region] for site in ordered], np.int64)
        self.capacity = np.array([site.capacity_bytes for site in ordered], np.int64)
        self.free = np.array([site.free_bytes for site in ordered], np.int64)
        self.reserve = np.minimum(self.capacity * STORE_RESERVE_SHARE, STORE_RESERVE_BYTES_MAX).astype(np.int64)
        self.draining = np.array([site.draining for site in ordered], np.bool_)
        alive = None if surviving is None else set(surviving)
        self.surviving = np.array([alive is None or site.place in alive for site in ordered], np.bool_)
        self.keeps = ~self.draining & self.surviving
        self.away = np.array([site.away for site in ordered], np.bool_) & self.keeps
        self.open = self.keeps & ~self.away

    def __len__(self) -> int:
        return len(self.stores)

    def with_room(self, shard_bytes: int) -> NDArray[np.bool_]:
        """bool[s]: open, and a shard of so many bytes would leave the reserve free."""
        roomy: NDArray[np.bool_] = self.open & (self.free - self.reserve >= shard_bytes)
        return roomy

    def fill(self) -> NDArray[np.float64]:
        """float64[s]: share of each disk that is used."""
        fill: NDArray[np.float64] = 1.0 - self.free / np.maximum(self.capacity, 1)
        return fill

    def weights(self, shard_bytes: int = 0, *, exact: bool = False) -> NDArray[np.float64]:
        """float64[s]: how often each site is to be chosen for a shard of so many bytes, beside the others.

        By capacity, and the more often the emptier it is beside the mean of the open ones, within bounds of twice and
        half as often. Chance alone would leave some store of a thousand with 9 % too many of 1,400 shards. The bounds
        are there since numbers may be old, and an empty store must not draw all writes at once; the steps, so that
        what else is written to a disk that stores share does not change their order.

        Where numbers are ``exact``, since all that is placed is counted at once, full sites are chosen more seldom yet.

        And the less often the more this one shard would fill it, down to a twentieth: a large one on a small disk
        would outweigh for long what the many small ones are evened out by.
        """
        capacity = np.maximum(self.capacity, 1).astype(np.float64)
        used = self.capacity - self.free
        mean = used[self.open].sum() / max(1.0, capacity[self.open].sum())
        if not mean > 0:
            return capacity
        due = capacity * mean
        above: NDArray[np.float64] = np.rint((used / due - 1.0) / _STEP) * _STEP
        more: NDArray[np.float64] = np.rint(shard_bytes / due / _STEP) * _STEP
        gain, factors = (_GAIN_EXACT, _FACTORS_EXACT) if exact else (_GAIN, _FACTORS)
        return capacity * np.clip(1.0 - gain * above, *factors) * np.clip(1.0 - _GAIN * more, _LARGE, 1.0)
