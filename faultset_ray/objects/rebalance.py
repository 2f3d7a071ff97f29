"""Which shards are to move when stores come and go: those that must, and as few more as make the stores even."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from faultset_ray.codes.base import Code
from faultset_ray.errors import InputError, NotEnoughPlaces
from faultset_ray.objects.dealing import Dealer
from faultset_ray.objects.sites import Columns

_ROWS_AT_ONCE: Final = 256
_NOWHERE: Final = -1

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Held:
    """Objects of one code as columns: where each shard is."""

    keys: NDArray[np.uint64]
    """uint64[o]: see :func:`~faultset_ray.kernels.rendezvous.key_of`."""
    sites: NDArray[np.int32]
    """int32[o, n]: positions in the columns of sites; -1 where a shard is lost."""
    shard_bytes: NDArray[np.int64]
    """int64[o]: of one shard of each."""


@dataclass(frozen=True, slots=True)
class Moves:
    """Shards to move or to rebuild, each once, in the order of their planning."""

    rows: NDArray[np.int64]
    """int64[m]: which object."""
    indices: NDArray[np.int64]
    """int64[m]: which of its shards."""
    sources: NDArray[np.int64]
    """int64[m]: the site it leaves, -1 if it is lost."""
    targets: NDArray[np.int64]
    """int64[m]: the site it goes to."""
    stuck: NDArray[np.int64]
    """int64[r]: objects with a shard that must move, for which no site has room."""

    def __len__(self) -> int:
        return len(self.rows)


def rebalance(held: Held, columns: Columns, code: Code, *, slack: float = 0.05) -> Moves:
    """Plan moves after sites came or went.

    First what must move: shards that are lost or at sites that keep none, and where there are stores enough for all
    shards of an object, those that share one with another. Then, if an open site is fuller or emptier than the mean by
    more than ``slack``, shards go from the fullest to the emptiest until none is but by less than a shard, and no more
    bytes than that takes: what the fuller ones have too much, or the emptier ones too little.

    An object's shards stay on distinct stores, and no region gets more of them than one had. Of a code with local
    groups, what lies together in a region moves together or inside it, which takes more.

    Parameters
    ----------
    held
        The objects. Left as it is.
    columns
        The sites; their ``free`` becomes what it will be after the moves.
    code
        Of all these objects.
    slack : float
        Share of the mean, from 0 to 1.

    Raises
    ------
    InputError
        If arrays don't fit each other, or ``slack`` is out of its range.
    NotEnoughPlaces
        There is no site at all.
    """
    _check(held, columns, code, slack)
    plan = _Plan(held, columns, code)
    plan.displace()
    plan.level(slack)
    return plan.moves()


class _Plan:
    """Moves so far, and where everything is after them."""

    def __init__(self, held: Held, columns: Columns, code: Code) -> None:
        self._keys, self._bytes = held.keys, held.shard_bytes
        self._sites = held.sites.astype(np.int64)
        self._columns = columns
        self._code = code
        self._moves: dict[tuple[int, int], tuple[int, int]] = {}
        """Source and target, by row and index."""
        self._stuck: list[int] = []

    def displace(self) -> None:
        """Give a new site to each shard that can't stay."""
        displaced = (self._sites == _NOWHERE) | ~self._columns.keeps[self._sites]
        if np.count_nonzero(self._columns.open) >= self._code.n:
            order = np.argsort(self._sites, axis=1, kind="stable")
            ordered = np.take_along_axis(self._sites, order, axis=1)
            again = np.zeros_like(displaced)
            again[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
            displaced |= np.take_along_axis(again, np.argsort(order, axis=1), axis=1)
        rows = np.flatnonzero(displaced.any(axis=1))
        rows = rows[np.argsort(-self._bytes[rows], kind="stable")]  # small ones even out what large ones leave uneven
        for begin in range(0, len(rows), _ROWS_AT_ONCE):
            some = rows[begin : begin + _ROWS_AT_ONCE].tolist()
            dealer = Dealer(self._columns, self._code, int(self._bytes[some].max()), exact=True)
            for row in some:
                lost = displaced[row].tolist()
                taken = {index: site for index, site in enumerate(self._sites[row].tolist()) if not lost[index]}
                try:
                    dealt = dealer.deal(int(self._keys[row]), taken)
                except NotEnoughPlaces:
                    self._stuck.append(row)
                    continue
                for index in np.flatnonzero(displaced[row]).tolist():
                    self._move(row, index, dealt[index])

    def level(self, slack: float) -> None:
        """Move shards from sites above a level to those below another, where a site is out of the bounds."""
        region = self._columns.region
        if not self._code.groups:
            self._level_sites(self._columns.open, slack)
            return
        # What lies together goes from region to region together; then each region is levelled by itself.
        self._level_regions(slack / 2)
        for number in range(len(self._columns.regions)):
            self._level_sites(self._columns.open & (region == number), slack / 2)

    def _level_sites(self, among: NDArray[np.bool_], slack: float) -> None:
        """Level these sites, shard by shard."""
        give, want = _excess(*self._load(among), slack)
        for site in np.argsort(-give, kind="stable").tolist():
            if give[site] <= 0 or not want.any():
                break
            for at in np.flatnonzero(self._sites == site).tolist():
                row, index = divmod(at, self._code.n)
                size = int(self._bytes[row])
                if give[site] <= 0:
                    break
                if size <= give[site] and (target := self._receiver(row, site, size, want)) != _NOWHERE:
                    self._move(row, index, target)
                    give[site] -= size
                    want[target] = max(0.0, want[target] - size)

    def _level_regions(self, slack: float) -> None:
        """Level regions: what an object has in one goes to another in which it has nothing."""
        region, regions = self._columns.region, len(self._columns.regions)
        used, capacity = self._load(self._columns.open)
        give, want = _excess(
            np.bincount(region, used, regions).astype(np.float64),
            np.bincount(region, capacity, regions).astype(np.float64),
            slack,
        )
        for source in np.argsort(-give, kind="stable").tolist():
            if give[source] <= 0 or not want.any():
                break
            there = (region[self._sites] == source) & (self._sites != _NOWHERE)
            for row in np.flatnonzero(there.any(axis=1)).tolist():
                indices = np.flatnonzero(there[row]).tolist()
                size = len(indices) * int(self._bytes[row])
                if give[source] <= 0:
                    break
                if size > give[source] or not (targets := self._together(row, len(indices), size, want)):
                    continue
                for index, target in zip(indices, targets, strict=True):
                    self._move(row, index, target)
                give[source] -= size
                want[region[targets[0]]] = max(0.0, want[region[targets[0]]] - size)

    def _load(self, among: NDArray[np.bool_]) -> tuple[_Floats, _Floats]:
        """Used bytes and capacity of these sites, 0 of the others."""
        columns = self._columns
        return np.where(among, columns.capacity - columns.free, 0.0), np.where(among, columns.capacity, 0.0)

    def _receiver(self, row: int, source: int, size: int, want: _Floats) -> int:
        """The site that wants the most of those that may take a shard of an object from another; -1 if none may."""
        columns, sites = self._columns, self._placed(row)
        counts = np.bincount(columns.region[sites], minlength=len(columns.regions))
        home = columns.region[source]
        fewer = counts < counts[home]
        fewer[home] = True
        may = fewer[columns.region] & (2 * want >= size) & (columns.free - columns.reserve >= size)
        may[sites] = False
        return int(np.argmax(want * may)) if may.any() else _NOWHERE

    def _together(self, row: int, count: int, size: int, want: _Floats) -> list[int]:
        """The emptiest sites of the region, of those without a shard of the object, that wants the most."""
        columns = self._columns
        roomy = columns.with_room(size // count)
        may = (2 * want >= size) & (np.bincount(columns.region[roomy], minlength=len(want)) >= count)
        may[columns.region[self._placed(row)]] = False
        if not may.any():
            return []
        sites = np.flatnonzero(roomy & (columns.region == np.argmax(want * may)))
        chosen: list[int] = sites[np.argsort(columns.fill()[sites], kind="stable")[:count]].tolist()
        return chosen

    def _placed(self, row: int) -> NDArray[np.int64]:
        sites = self._sites[row]
        placed: NDArray[np.int64] = sites[sites != _NOWHERE]
        return placed

    def _move(self, row: int, index: int, target: int) -> None:
        size, source = int(self._bytes[row]), int(self._sites[row, index])
        self._columns.free[target] -= size
        if source != _NOWHERE:
            self._columns.free[source] += size
        self._sites[row, index] = target
        first, _ = self._moves.get((row, index), (source, target))
        self._moves[row, index] = first, target

    def moves(self) -> Moves:
        moves = [(*shard, *ends) for shard, ends in self._moves.items() if ends[0] != ends[1]]
        rows, indices, sources, targets = np.array(moves, np.int64).reshape(-1, 4).T
        return Moves(rows, indices, sources, targets, np.array(sorted(self._stuck), np.int64))


def _excess(used: _Floats, capacity: _Floats, slack: float) -> tuple[_Floats, _Floats]:
    """What each is to give and to get: nothing if all are within ``slack`` of the mean."""
    due = capacity * (used.sum() / max(1.0, capacity.sum()))
    amount = max((used - due * (1 + slack)).clip(0).sum(), (due * (1 - slack) - used).clip(0).sum())
    if amount <= 0:
        return np.zeros_like(used), np.zeros_like(used)
    give = (used + capacity * _water_level(-used, capacity, amount)).clip(0)
    return give, (capacity * _water_level(used, capacity, amount) - used).clip(0)


def _water_level(used: _Floats, capacity: _Floats, amount: float) -> float:
    """The share of each capacity up to which the emptiest are full when so much is poured in."""
    some = np.flatnonzero(capacity)
    order = some[np.argsort(used[some] / capacity[some], kind="stable")]
    levels = (amount + np.cumsum(used[order])) / np.cumsum(capacity[order])
    return float(levels.min())


def _check(held: Held, columns: Columns, code: Code, slack: float) -> None:
    if held.sites.shape != (len(held.keys), code.n) or held.shard_bytes.shape != held.keys.shape:
        raise InputError(
            f"sites are {held.sites.shape} and shard_bytes {held.shard_bytes.shape}; "
            f"expected ({len(held.keys)}, {code.n}) and ({len(held.keys)},)"
        )
    if held.sites.size and not _NOWHERE <= held.sites.min() <= held.sites.max() < len(columns):
        raise InputError(f"a shard is at site {held.sites.max()} of {len(columns)}")
    if not len(columns):
        raise NotEnoughPlaces(0, 1, "there is no store to move shards to")
    if not 0 <= slack <= 1:
        raise InputError(f"slack is {slack!r}; expected a share of the mean, from 0 to 1")
