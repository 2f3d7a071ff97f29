"""Which store gets which shard: pure, and the same for the same input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

from faultset_ray.errors import NotEnoughPlaces
from faultset_ray.objects.store import StoreInfo

T = TypeVar("T")


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
