"""Deal the shards of objects to sites: the constraints of placement, object by object."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from faultset_ray.codes.base import Code
from faultset_ray.errors import NotEnoughPlaces
from faultset_ray.kernels.rendezvous import scores
from faultset_ray.objects.sites import Columns
from faultset_ray.objects.survival import Parts, by_group, partitions

_KEYS_AT_ONCE: Final = 256
_FIRST_SITES: Final = 4
"""Times n: so many sites of a thousand in a hundred regions are looked at first."""


_Positions = NDArray[np.int64]


class Dealer:
    """Deals shards of one code and size to the sites that have room, ranked by rendezvous hashing.

    Each shard gets a site of its own while there are as many; then sites are dealt to again, as evenly. Of a code with
    groups each part of :func:`~faultset_ray.objects.survival.partitions` comes into a region of its own, if there are
    such regions; all else is spread so that no region holds two shards more than another that has a site to spare.

    To take what stands first by rank finds what is possible, without augmenting paths. Limits by region make a
    partition matroid, in which any choice can be completed. Parts choose the largest first, and the regions that have
    room for one part have it for any smaller one: so there are enough left while there were at the start.

    Parameters
    ----------
    columns
        The sites. Their free bytes are looked at now.
    code
    shard_bytes
        Of one shard.
    exact
        Nobody else places anything meanwhile: see :meth:`Columns.weights`.
    """

    def __init__(self, columns: Columns, code: Code, shard_bytes: int, *, exact: bool = False) -> None:
        self._code = code
        self._indices = by_group(code)
        self._room = (columns.free - columns.reserve) // max(1, shard_bytes)
        self._region = columns.region
        self._regions = len(columns.regions)
        self._roomy = np.flatnonzero(columns.with_room(shard_bytes))
        self._hashes = columns.hashes[self._roomy]
        self._weights = columns.weights(shard_bytes, exact=exact)[self._roomy]

    @property
    def roomy(self) -> int:
        """How many sites are open and have room for a shard."""
        return len(self._roomy)

    def deal(self, key: int, taken: Mapping[int, int]) -> dict[int, int]:
        """Choose the site of each shard of one object.

        Parameters
        ----------
        key
            See :func:`~faultset_ray.kernels.rendezvous.key_of`.
        taken
            Positions of the sites of shards that stay, by index.

        Returns
        -------
        dict
            The position of each shard's site, by index, ``taken`` among them.

        Raises
        ------
        NotEnoughPlaces
            The sites have no room for all.
        """
        (order,) = self._ranked(np.array([key], np.uint64), self.roomy)
        return self._dealt(order, taken)

    def deal_many(self, keys: NDArray[np.uint64]) -> NDArray[np.int32]:
        """:meth:`deal` for many new objects, as int32[o, n]; the bytes of one don't count for the next.

        Raises
        ------
        NotEnoughPlaces
            The sites have no room for all shards of an object.
        """
        n = self._code.n
        apart = not self._code.groups and np.count_nonzero(self._sizes(self._roomy)) >= n
        out = np.empty((len(keys), n), np.int32)
        for begin in range(0, len(keys), _KEYS_AT_ONCE):
            some = keys[begin : begin + _KEYS_AT_ONCE]
            for row, order in enumerate(self._ranked(some, _FIRST_SITES * n if apart else self.roomy), begin):
                if apart and np.count_nonzero(self._sizes(order)) < n:
                    dealt = self.deal(int(keys[row]), {})
                else:
                    dealt = self._dealt(order, {})
                out[row] = [dealt[index] for index in range(n)]
        return out

    def _ranked(self, keys: NDArray[np.uint64], most: int) -> Iterator[_Positions]:
        """The first of the sites with room, by rank, for each key."""
        score = scores(keys, self._hashes, self._weights)
        if most < self.roomy:
            first = np.argpartition(score, most, axis=1)[:, :most]
            order = np.take_along_axis(first, np.argsort(np.take_along_axis(score, first, axis=1), axis=1), axis=1)
        else:
            order = np.argsort(score, axis=1)
        yield from self._roomy[order]

    def _dealt(self, order: _Positions, taken: Mapping[int, int]) -> dict[int, int]:
        chosen = dict(taken)
        self._gather(order, chosen)
        rest = [index for index in self._indices if index not in chosen]
        while rest:
            candidates = self._least_used(order, taken, chosen)
            if not len(candidates):
                raise NotEnoughPlaces(self.roomy, self._code.n, "their disks are full")
            sites = self._spread(candidates, chosen.values(), min(len(rest), len(candidates)))
            chosen |= zip(rest, sites, strict=False)
            rest = rest[len(sites) :]
        return chosen

    def _least_used(self, order: _Positions, taken: Mapping[int, int], chosen: Mapping[int, int]) -> _Positions:
        """Of the sites with room for one more shard, those that hold the fewest of this object."""
        if not chosen:
            return order
        copies = np.bincount(list(chosen.values()), minlength=len(self._region))
        new = copies - np.bincount(list(taken.values()), minlength=len(self._region)) if taken else copies
        fitting = order[self._room[order] > new[order]]
        least: _Positions = fitting[copies[fitting] == copies[fitting].min(initial=self._code.n)]
        return least

    def _gather(self, order: _Positions, chosen: dict[int, int]) -> None:
        """Put each part of a code's groups into one region, as far as there are regions for that."""
        if not self._code.groups:
            return
        free = order[~np.isin(order, list(chosen.values()))]
        parts = self._parts(self._sizes(free) + self._sizes(list(chosen.values())))
        sites = self._by_region(free)
        used = Counter(self._region[list(chosen.values())].tolist())
        for part in sorted(parts, key=len, reverse=True):
            missing = [index for index in part if index not in chosen]
            homes = Counter(self._region[[chosen[index] for index in part if index in chosen]].tolist())
            if homes:  # with others of the part, but not of other parts
                regions = [region for region in homes if homes[region] == used[region]]
            else:
                regions = [region for region in sites if region not in used and len(sites[region]) >= len(part)]
            if missing and regions:
                now = dict(zip(missing, sites.get(regions[0], ()), strict=False))
                chosen |= now
                used[regions[0]] += len(now)

    def _parts(self, sizes: _Positions) -> Parts:
        """The fewest parts that so many sites by region have room for, each in a region of its own."""
        rooms = np.sort(sizes)[::-1]
        for parts in partitions(self._code):
            needs = sorted(map(len, parts), reverse=True)
            if len(needs) <= len(rooms) and (needs <= rooms[: len(needs)]).all():
                return parts
        return ()

    def _by_region(self, order: _Positions) -> dict[int, list[int]]:
        """The sites of each region by rank, and regions by the rank of their first."""
        found: dict[int, list[int]] = {}
        for site, region in zip(order.tolist(), self._region[order].tolist(), strict=True):
            found.setdefault(region, []).append(site)
        return found

    def _spread(self, candidates: _Positions, chosen: Iterable[int], count: int) -> list[int]:
        """Choose so many candidates, the first by rank, so that regions hold the same number as far as they have it."""
        held, sizes = self._sizes(list(chosen)), self._sizes(candidates)
        level = 1
        while np.clip(level - held, 0, sizes).sum() < count:
            level += 1
        # Up to the level below, regions are filled; of those that can have one more, the first by rank do.
        due = int(np.clip(level - 1 - held, 0, sizes).sum())
        filling: list[tuple[int, int]] = []
        topping: list[int] = []
        holds = held.tolist()
        for site, region in zip(candidates.tolist(), self._region[candidates].tolist(), strict=True):
            if holds[region] < level - 1:
                filling.append((holds[region], site))
            elif holds[region] == level - 1 and len(topping) < count - due:
                topping.append(site)
            else:
                continue
            holds[region] += 1
            if len(filling) + len(topping) == count:
                break
        # One region after another, so that shards beside each other in a group lie apart.
        return [site for _, site in sorted(filling, key=lambda entry: entry[0])] + topping

    def _sizes(self, sites: _Positions | list[int]) -> _Positions:
        """How many of these sites are in each region, int64[g]."""
        return np.bincount(self._region[np.asarray(sites, np.int64)], minlength=self._regions)
