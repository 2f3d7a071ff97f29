"""Nodes that left a range: removed, or registered in the cell of another one, which their rows then follow.

Actors don't call each other, so a driver carries the rows. The range that a node leaves parks its row, and
saves it with the rest, until a driver has looked where the node is now: with another range, which has the row and
has saved it, or nowhere. Whatever is cut short is thus found again by the next driver.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from faultset_ray.control.health import Changes, Health, absorb
from faultset_ray.control.messages import Members
from faultset_ray.control.states import Rule, State, survival
from faultset_ray.policy import Rules

Handles = NDArray[np.uint32]

_TAKEN_MAX: Final = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows of nodes on their way, ascending by handle; not changed once they are made."""

    health: Health
    rosters: NDArray[np.int64]
    """int64[n]: the roster with which each left; a node that left twice is known by the later one."""

    @classmethod
    def none(cls) -> Self:
        """No rows."""
        return cls(Health.empty(np.empty(0, np.uint32), np.empty(0, np.uint64)), np.empty(0, np.int64))

    @property
    def handles(self) -> Handles:
        """uint32[n]"""
        return self.health.handles

    def __len__(self) -> int:
        return len(self.rosters)

    def of(self, chosen: NDArray[np.bool_]) -> Rows:
        """Some of them."""
        return Rows(self.health.take(chosen), self.rosters[chosen])

    def without(self, handles: Handles) -> Rows:
        """The others."""
        return self.of(~np.isin(self.handles, handles))

    def parked(self, health: Health, roster: int) -> Rows:
        """These and others that leave with a roster; of a node that is in both, the row that leaves now."""
        if not len(health):
            return self
        return Rows.joined([self.without(health.handles), Rows(health, np.full(len(health), roster, np.int64))])

    def newer_than(self, others: Rows) -> Rows:
        """Those that left later than the same nodes of others did, and those that are not among them."""
        theirs = dict(zip(others.handles.tolist(), others.rosters.tolist(), strict=True))
        mine = zip(self.handles.tolist(), self.rosters.tolist(), strict=True)
        return self.of(np.array([roster > theirs.get(handle, -1) for handle, roster in mine], np.bool_))

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Self:
        """All of several; no node may be in two of them."""
        handles = np.concatenate([part.handles for part in parts])
        rosters = np.concatenate([part.rosters for part in parts])
        return cls(Health.joined([part.health for part in parts]), rosters[np.argsort(handles, kind="stable")])

    def to_columns(self) -> dict[str, NDArray[Any]]:
        """Plain arrays by name."""
        return {"rosters": self.rosters, **self.health.to_columns()}

    @classmethod
    def from_columns(cls, columns: Mapping[str, NDArray[Any]]) -> Self:
        """The opposite of :meth:`to_columns`."""
        return cls(Health.from_columns(columns), np.asarray(columns["rosters"], np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """Which rows a range was handed lately, so that one that comes again changes nothing."""

    handles: Handles
    """uint32[n], the latest last."""
    rosters: NDArray[np.int64]
    """int64[n]: the one with which each row had left."""

    @classmethod
    def none(cls) -> Self:
        """None so far."""
        return cls(np.empty(0, np.uint32), np.empty(0, np.int64))

    @classmethod
    def joined(cls, parts: Sequence[Taken]) -> Self:
        """Those of several ranges that give way; by ascending rosters."""
        rosters = np.concatenate([part.rosters for part in parts])
        order = np.argsort(rosters, kind="stable")
        return cls(np.concatenate([part.handles for part in parts])[order], rosters[order])

    def news(self, rows: Rows) -> Rows:
        """Those of some rows that were not handed over before."""
        known = dict(zip(self.handles.tolist(), self.rosters.tolist(), strict=True))
        given = zip(rows.handles.tolist(), rows.rosters.tolist(), strict=True)
        return rows.of(np.array([roster > known.get(handle, -1) for handle, roster in given], np.bool_))

    def noted(self, rows: Rows) -> Taken:
        """With these besides; the oldest are forgotten."""
        kept = ~np.isin(self.handles, rows.handles)
        return Taken(
            np.concatenate([self.handles[kept], rows.handles])[-_TAKEN_MAX:],
            np.concatenate([self.rosters[kept], rows.rosters])[-_TAKEN_MAX:],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Passage:
    """Who left a range, and who came with a row; a value. What makes another of it tells what changed by it."""

    parked: Rows = field(default_factory=Rows.none)
    """Of nodes that left and were not followed up yet."""
    taken: Taken = field(default_factory=Taken.none)
    gone: Handles = field(default_factory=lambda: np.empty(0, np.uint32))
    """uint32[g]: nodes that left since the last whole checkpoint that was saved: what it has of them does not count."""
    gone_at: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """int64[g]: the version of the range at which each did."""

    def left(self, health: Health, roster: int, version: int) -> Self:
        """Park the rows of nodes that a roster has no more."""
        if not len(health):
            return self
        parked = self.parked.parked(health, roster)
        gone = np.append(self.gone, health.handles)
        return replace(self, parked=parked, gone=gone, gone_at=np.append(self.gone_at, np.full(len(health), version)))

    def enrolled(
        self, known: Health, members: Members, arrivals: Rows, rules: Rules, version: int
    ) -> tuple[Self, Health, Changes]:
        """Take a newer roster: who is not in it leaves, and who is in it goes on with the row that came, if one did."""
        now = self.left(known.take(~np.isin(known.handles, members.handles)), members.roster, version)
        arrivals = self.taken.news(arrivals)
        arrivals = arrivals.of(np.isin(arrivals.handles, members.handles))
        back = now.parked.of(np.isin(now.parked.handles, members.handles)).without(arrivals.handles)
        back = self.taken.news(back)  # ranges that were merged may have handed a row to each other
        if len(arrivals) or len(back):
            coming = Rows.joined([arrivals, back])
            known = Health.joined([known.take(~np.isin(known.handles, coming.handles)), coming.health])
        health = known.enroll(members.handles, members.cells, members.latency_ms, members.registered_ms, rules)
        stayed = np.flatnonzero(health.find(known.handles) >= 0)
        slots = health.find(known.handles[stayed])
        elsewhere = known.cells[stayed] != health.cells[slots]
        here = np.isin(now.gone, members.handles)
        now = replace(
            now,
            parked=now.parked.without(members.handles),
            taken=self.taken.noted(arrivals).noted(back),
            gone=now.gone[~here],
            gone_at=now.gone_at[~here],
        )
        return now, health, _moved(health, slots[elsewhere], known.state[stayed[elsewhere]])

    def adopted(self, health: Health, arrivals: Rows, rules: Rules) -> tuple[Self, Health, Changes]:
        """Take rows that come later than their nodes, of which the newest sample counts too, or before them.

        Where it comes before the node, or after it was removed again, a row is parked.
        """
        news = self.taken.news(arrivals)
        absent = news.of(health.find(news.handles) < 0).newer_than(self.parked)
        parked = Rows.joined([self.parked.without(absent.handles), absent])
        news = news.of(health.find(news.handles) >= 0)
        now = replace(self, taken=self.taken.noted(news), parked=parked)
        slots = health.find(news.handles)
        if not len(slots):
            return now, health, _moved(health, slots, news.health.state)
        was, rows = health.take(slots), news.health.copy().with_sketch(wanted=len(health.sketch) > 0)
        rows.cells[:], rows.mark[:] = was.cells, was.mark
        health = Health.joined([health.take(~np.isin(health.handles, news.handles)), rows])
        later = np.flatnonzero(was.last_ms > rows.last_ms)
        answered = was.failures[later] == 0
        absorb(health, slots[later], was.last[later], answered, was.last_ms[later], rules)
        return now, health, _moved(health, slots, was.state)

    def followed(self, roster: int, removed: Handles, adopted: Handles) -> tuple[Self, Changes]:
        """Let go of rows that were parked up to a roster: of nodes that were removed, and that are safe elsewhere."""
        done = self.parked.of(self.parked.rosters <= roster)
        gone = done.of(np.isin(done.handles, removed))
        parked = self.parked.without(np.append(gone.handles, done.handles[np.isin(done.handles, adopted)]))
        told = replace(gone, rosters=np.full(len(gone), roster, np.int64))  # not once more for an older row of theirs
        after = np.full(len(gone), State.REMOVED, np.uint8)
        changes = _told(gone.health, gone.health.state.copy(), after, Rule.REMOVED)
        return replace(self, parked=parked, taken=self.taken.noted(told)), changes

    def saved(self, version: int) -> Self:
        """A whole checkpoint of that version was saved."""
        later = self.gone_at > version
        return replace(self, gone=self.gone[later], gone_at=self.gone_at[later])

    def of(self, inside: Callable[[NDArray[np.uint64]], NDArray[np.bool_]]) -> Self:
        """What of it a range has to know that takes over the cells that ``inside`` says are its own; whole."""
        nobody = self.gone[:0], self.gone_at[:0]
        return type(self)(self.parked.of(inside(self.parked.health.cells)), self.taken, *nobody)

    @classmethod
    def joined(cls, parts: Sequence[Passage]) -> Self:
        """Those of several ranges; of a node that left several of them, the row that left last."""
        parked = Rows.none()
        for part in parts:
            newer = part.parked.newer_than(parked)
            parked = Rows.joined([parked.without(newer.handles), newer])
        return cls(parked, Taken.joined([part.taken for part in parts]))

    def to_columns(self) -> dict[str, NDArray[Any]]:
        """Plain arrays by name."""
        return {
            "gone": self.gone,
            "gone_at": self.gone_at,
            **{f"parked/{name}": column for name, column in self.parked.to_columns().items()},
            "taken/handles": self.taken.handles,
            "taken/rosters": self.taken.rosters,
        }

    @classmethod
    def from_columns(cls, columns: Mapping[str, NDArray[Any]]) -> Self:
        """The opposite of :meth:`to_columns`; of a checkpoint that knew nothing of it, nothing."""
        if "gone" not in columns:
            return cls()
        return cls(
            Rows.from_columns(below("parked/", columns)),
            Taken(columns["taken/handles"], columns["taken/rosters"]),
            columns["gone"],
            columns["gone_at"],
        )


def below(prefix: str, columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The columns whose names begin so, by the rest of the name."""
    return {name.removeprefix(prefix): column for name, column in columns.items() if name.startswith(prefix)}


def _moved(health: Health, slots: NDArray[np.int64], before: NDArray[np.uint8]) -> Changes:
    """What is told of nodes that are in another region now than when they were in the states ``before``."""
    chosen = health.take(slots)
    return _told(chosen, before, chosen.state.copy(), Rule.MOVED)


def _told(health: Health, before: NDArray[np.uint8], after: NDArray[np.uint8], rule: Rule) -> Changes:
    nothing, mark = np.full(len(health), np.nan), health.mark.copy()
    return Changes(
        health.handles,
        before,
        after,
        np.full(len(health), rule, np.uint8),
        nothing,
        nothing,
        survival(before, mark),
        survival(after, mark) & (after != State.REMOVED),
        mark,
        health.cells,
    )
