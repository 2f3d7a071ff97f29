"""Which store gets which shard, and from which a reader asks: pure, and the same for the same input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf
from typing import Any, Final, Protocol, TypeVar

import numpy as np

from faultset_ray.codes.base import Code
from faultset_ray.columns import is_int
from faultset_ray.errors import InputError, NotEnoughPlaces
from faultset_ray.geohash import centers, strings_to_cells
from faultset_ray.kernels.rendezvous import key_of
from faultset_ray.objects.dealing import Dealer
from faultset_ray.objects.sites import Columns, Site
from faultset_ray.objects.survival import survivable

T = TypeVar("T")

_EARTH_KM: Final = 6371.0
_KM_PER_SECOND: Final = 100_000.0
"""There and back, in fibre."""
_NEIGHBOUR_SECONDS: Final = 0.0002
"""To another place of the same region."""
_TIE_SECONDS: Final = 1e-9


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


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the shards of an object are to be, and what that bears."""

    stores: Mapping[int, str]
    """UUID of the store of each shard, by index: of all n."""
    survivable_stores: int
    """How many stores may be lost, whichever they are, without losing data."""
    survivable_regions: int
    """The same of whole regions."""
    why: str
    """Why it does not bear what was promised; empty if it does."""


def place_object(
    key: bytes,
    code: Code,
    sites: Sequence[Site],
    survivors: Trusted | None = None,
    *,
    tolerate: int | None = None,
    shard_bytes: int = 0,
    taken: Mapping[int, str] | None = None,
    flag: bool = False,
) -> Layout:
    """Choose a store for each shard of an object, so that the loss of any ``tolerate`` stores loses no data.

    Each shard gets a store of its own while there are as many, the stores spread evenly over regions; a code with local
    groups gets each in the fewest regions whose loss, one at a time, loses no data. Stores that are draining, at places
    that do not survive, or full are not chosen. Among the others a hash of key and store decides, weighted by capacity
    and, within bounds, by how empty a store is; so the same input gives the same layout, whatever its order.

    Parameters
    ----------
    key
        Of the object: any bytes that others don't share.
    code
    sites
        All stores that are known, also those that are not to be chosen.
    survivors
        The answer about the places; without one all survive.
    tolerate
        How many losses of stores are promised; all that the code bears if not given.
    shard_bytes
        Of one shard: with it, a store must have its reserve left.
    taken
        Stores of shards that stay where they are, by index. They need not survive, nor have room.
    flag
        Place also what can't keep the promise, and say so in ``why``.

    Raises
    ------
    NotEnoughPlaces
        The stores can't keep the promise, or there is none to choose from.
    InputError
        More is promised than the code bears, or an argument makes no sense.
    """
    columns = _columns(sites, survivors)
    staying = _taken(code, columns, taken or {})
    return _placed(key, code, columns, _tolerance(code, tolerate), shard_bytes, staying, flag)


def replace_lost(
    key: bytes,
    code: Code,
    held: Mapping[int, str],
    sites: Sequence[Site],
    survivors: Trusted | None = None,
    *,
    tolerate: int | None = None,
    shard_bytes: int = 0,
    flag: bool = False,
) -> Layout:
    """Choose new stores for the shards of an object that can't stay where they are, as :func:`place_object` does.

    Those of stores that are not among ``sites``, are draining or don't survive can't; and of several on one store only
    one can, if there are stores without any. All others stay: what differs from ``held`` is to be moved or rebuilt.

    Parameters
    ----------
    held
        The store of each shard that there is, by index.

    Other parameters and errors are those of :func:`place_object`.
    """
    columns = _columns(sites, survivors)
    staying = {index: columns.at[store] for index, store in held.items() if store in columns.at}
    staying = {index: site for index, site in staying.items() if columns.keeps[site]}
    unused = set(np.flatnonzero(columns.with_room(shard_bytes)).tolist()) - set(staying.values())
    for _ in range(len(unused) - (code.n - len(staying))):
        crowded = [site for site, shards in Counter(staying.values()).most_common(1) if shards > 1]
        if not crowded:
            break
        del staying[max(index for index, site in staying.items() if site == crowded[0])]
    return _placed(key, code, columns, _tolerance(code, tolerate), shard_bytes, staying, flag)


def _placed(
    key: bytes, code: Code, columns: Columns, promised: int, shard_bytes: int, taken: Mapping[int, int], flag: bool
) -> Layout:
    if not isinstance(key, bytes):
        raise InputError(f"key is {key!r}; expected bytes")
    if not is_int(shard_bytes) or shard_bytes < 0:
        raise InputError(f"shard_bytes is {shard_bytes!r}; expected a number of bytes")
    dealer = Dealer(columns, code, shard_bytes)
    need = ceil(code.n / max(1, code.tolerance // promised)) if promised else 1
    if not dealer.roomy and len(taken) < code.n:
        raise NotEnoughPlaces(0, need, f"there is no store to put shards on{_not_chosen(columns, dealer)}")
    dealt = dealer.deal(key_of(key), taken)
    stores = {index: columns.stores[dealt[index]] for index in range(code.n)}
    regions = {index: columns.regions[columns.region[dealt[index]]] for index in range(code.n)}
    bears, used, why = survivable(code, stores), len(set(stores.values())), ""
    if bears < promised:
        why = f"{code.spec} on {used} stores bears the loss of any {bears} of them, not of {promised}"
        why += _not_chosen(columns, dealer)
        if not flag:
            raise NotEnoughPlaces(used, need, why)
    return Layout(stores, bears, survivable(code, regions), why)


def _not_chosen(columns: Columns, dealer: Dealer) -> str:
    """Why stores were not to be chosen, as the end of a message."""
    numbers = {
        "draining": int(columns.draining.sum()),
        "at places that do not survive": int((~columns.surviving & ~columns.draining).sum()),
        "away": int(columns.away.sum()),
        "full": int(columns.open.sum()) - dealer.roomy,
    }
    told = ", ".join(f"{number} {state}" for state, number in numbers.items() if number)
    return f" (of {len(columns)} stores {told})" if told else ""


def _columns(sites: Sequence[Site], survivors: Trusted | None) -> Columns:
    return Columns(sites, None if survivors is None else survivors.ids)


def _tolerance(code: Code, tolerate: int | None) -> int:
    if tolerate is None:
        return code.tolerance
    if not is_int(tolerate) or tolerate < 0:
        raise InputError(f"tolerate is {tolerate!r}; expected how many losses are to be borne, 0 or more")
    if tolerate > code.tolerance:
        raise InputError(
            f"{code.spec} bears any {code.tolerance} losses, not {tolerate}: choose a code with more parity, or "
            "tolerate less"
        )
    return tolerate


def _taken(code: Code, columns: Columns, taken: Mapping[int, str]) -> dict[int, int]:
    for index, store in taken.items():
        if index not in range(code.n) or store not in columns.at:
            raise InputError(f"shard {index!r} of {code.n} is said to be at store {store!r}: one of them is unknown")
    return {index: columns.at[store] for index, store in taken.items()}


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


def seconds_away(survivors: Trusted, reader: str, trips: Mapping[str, float]) -> dict[str, float]:
    """How far each place that survives is from a reader, as the time that the way there and back takes at least.

    Parameters
    ----------
    survivors
        The answer about the places.
    reader
        The place that reads; it is no way from itself.
    trips
        What the reader measured itself, in seconds, by place. Where it did not, the great circle between the regions
        tells, if the reader's is known.

    Returns
    -------
    dict
        Seconds. What is equally far is in the order of :func:`read_order`, by differences that are no time.
    """
    by_region = {region: list(ids) for region, ids in survivors.by_region.items()}
    regions = list(by_region)
    home = next((region for region, ids in by_region.items() if reader in ids), None)
    away: dict[str, float] = {}
    if home is not None:
        chords = np.sqrt(_distances(regions, regions.index(home)))
        ways = 2 * np.arcsin(np.clip(chords / 2, 0.0, 1.0)) * _EARTH_KM / _KM_PER_SECOND
        away = {place: float(way) for region, way in zip(regions, ways, strict=True) for place in by_region[region]}
    places = dict(enumerate(survivors.ids))
    order = read_order(places, survivors, reader)
    seconds = {place: trips.get(place, away.get(place, 0.0) + _NEIGHBOUR_SECONDS) for place in places.values()}
    seconds |= {reader: 0.0}
    return {place: seconds[place] + _TIE_SECONDS * order[at] for at, place in places.items()}


def _distances(regions: Sequence[str], origin: int) -> Any:
    """Squared chords from one cell's centre to the others': they grow as distances over the globe do."""
    lat, lon = (np.radians(column) for column in centers(strings_to_cells(regions)))
    points = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    return ((points - points[:, [origin]]) ** 2).sum(axis=0)
