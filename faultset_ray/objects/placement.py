"""Which store gets which shard: pure, and the same for the same input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any, Protocol, TypeVar

import numpy as np

from faultset_ray.errors import NotEnoughPlaces
from faultset_ray.geohash import centers, strings_to_cells
from faultset_ray.objects.store import StoreInfo

T = TypeVar("T")


class Trusted(Protocol):
    """What placement and reads need of the answer about the fleet of places: a ``Survivors`` is one."""

    @property
    def ids(self) -> Any:
        """The places that survive."""
        ...

    @property
    def by_region(self) -> Mapping[str, Any]:
        """The same by geohash, the nearest first."""
        ...


def trusted(items: Sequence[T], survivors: Trusted | None, place_of: Callable[[T], str]) -> list[T]:
    """What is at places that survive; all of it where there is no answer, or nothing would be left."""
    if survivors is None:
        return list(items)
    alive = set(survivors.ids)
    return [item for item in items if place_of(item) in alive] or list(items)


def place(n: int, stores: Sequence[StoreInfo], survivors: Trusted | None, turn: int = 0) -> list[StoreInfo]:
    """Choose a store for each of n shards as :func:`place_shards` does, at places that survive if there are any."""
    return place_shards(n, trusted(stores, survivors, lambda store: store.place), turn)


def read_order(places: Mapping[int, str], survivors: Trusted | None, reader: str | None) -> dict[int, float]:
    """The order in which a reader asks for shards, as the cost of each.

    The shard at the reader's own place comes first, then those of its region by latency, then those of other
    regions by their distance, each region by latency.

    Parameters
    ----------
    places
        Where each shard is.
    survivors
        The answer about the places; without one all cost the same.
    reader
        The place that reads.

    Returns
    -------
    dict
        The cost of each shard: its position, from 1 on. Infinite where the place does not survive: asked for when
        nothing else is left.
    """
    if survivors is None:
        return dict.fromkeys(places, 1.0)
    by_region = {region: list(ids) for region, ids in survivors.by_region.items()}
    home = next((region for region, ids in by_region.items() if reader in ids), None)
    regions = list(by_region)
    if home is not None:
        far = _distances(regions, regions.index(home))
        regions = [regions[at] for at in np.argsort(far, kind="stable")]
    order = [*([reader] if home else []), *(place for region in regions for place in by_region[region])]
    rank = {place: float(at) for at, place in reversed(list(enumerate(order, 1)))}
    return {index: rank.get(place, inf) for index, place in places.items()}


def _distances(regions: Sequence[str], origin: int) -> Any:
    """Squared chords from one cell's centre to the others': they grow as distances over the globe do."""
    lat, lon = (np.radians(column) for column in centers(strings_to_cells(regions)))
    points = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    return ((points - points[:, [origin]]) ** 2).sum(axis=0)


def place_shards(n: int, stores: Sequence[StoreInfo], turn: int = 0) -> list[StoreInfo]:
    """Choose a store for each of n shards: distinct stores first, spread over regions.

    Regions are dealt to in turn, so that no region holds two shards while another holds none. With
    fewer stores than shards they are dealt to again, as evenly.

    Parameters
    ----------
    n : int
        Shards to place.
    stores
        Candidates, at least one.
    turn : int
        Where the dealing starts; a number of the write spreads many objects evenly.

    Returns
    -------
    list of StoreInfo, length n
        The store of each shard, by index.

    Raises
    ------
    NotEnoughPlaces
        There is no store.
    """
    if not stores:
        raise NotEnoughPlaces(0, 1, "there is no store to put shards on")
    by_region: dict[str, list[StoreInfo]] = {}
    for store in sorted(stores, key=lambda store: store.place):
        by_region.setdefault(store.region, []).append(store)
    regions = sorted(by_region)
    # Both by `turn` itself would always pair the same store of one region with the same of another.
    queues = [_rotated(by_region[region], turn // len(regions)) for region in _rotated(regions, turn)]
    rounds = max(len(queue) for queue in queues)
    dealt = [queue[at] for at in range(rounds) for queue in queues if at < len(queue)]
    return [dealt[index % len(dealt)] for index in range(n)]


def survivable(stores: Sequence[str], spare: int) -> int:
    """How many stores may be lost, whichever they are, without losing data.

    Parameters
    ----------
    stores
        The store of each shard that is held, by any name.
    spare
        How many of these shards may be lost, whichever they are; negative if that is too many already.

    Returns
    -------
    int
        -1 if data may be lost already.
    """
    if spare < 0:
        return -1
    lost = 0
    for held in sorted(Counter(stores).values(), reverse=True):
        if held > spare:
            return lost
        spare -= held
        lost += 1
    return lost


def _rotated(items: Sequence[T], turn: int) -> list[T]:
    at = turn % len(items)
    return [*items[at:], *items[:at]]
