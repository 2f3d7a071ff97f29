"""The coordinator: who is registered under which handle, which range is whose, and in which epoch."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultset_ray.backend.protocol import Servant
from faultset_ray.control.checkpoint import Checkpoint
from faultset_ray.control.policy import Policy
from faultset_ray.control.ranges import plan_bounds, range_of
from faultset_ray.control.states import Mark
from faultset_ray.coordinator.catalog import Catalog
from faultset_ray.coordinator.census import Freeze, RangeCensus, advise
from faultset_ray.coordinator.directory import About, Changed, Directory, Lease, RangeInfo, Registered
from faultset_ray.coordinator.home import StateHome, state_root
from faultset_ray.coordinator.keeping import Keeping
from faultset_ray.coordinator.moves import Move, Retired, moved, planned
from faultset_ray.coordinator.roster import Kind, Roster
from faultset_ray.coordinator.shelf import Shelf
from faultset_ray.errors import InputError, StaleEpoch, UnknownFleet, UnknownNode
from faultset_ray.model import Fleet

Batch = dict[str, NDArray[Any]]

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class _Known:
    """One fleet in memory."""

    key: int
    """In the catalog."""
    roster: Roster
    directory: Directory
    next_range: int
    moves: dict[int, Move] = field(default_factory=dict)
    """Those that are not ended."""
    freeze: Freeze | None = None


class Coordinator(Servant):
    """The one authority of a system.

    What changes is on the disk before it is acknowledged, if the coordinator has a directory. A request
    id makes a change safe to repeat: the second time changes nothing, and is answered from what is known.

    Parameters
    ----------
    system : str
    durable : bool
        Whether to keep the state in a directory; else it is in memory.
    state_dir : str, optional
        The directory of the system's directory; by default ``FAULTSET_STATE_DIR`` of this process, else
        the user's own directory for state.

    The state is read with the first call, so that it is a call that fails if it can't be.
    """

    _catalog: Catalog
    _keeping: Keeping
    _shelf: Shelf
    _fleets: dict[str, _Known]

    def __init__(self, system: str, durable: bool = False, state_dir: str | None = None) -> None:
        self.system = system
        self._durable = durable
        self._state_dir = state_dir
        self._opened = False

    def about(self, state_dir: str | None = None) -> About:
        """Say what this coordinator is, having read its state.

        Raises
        ------
        StateInUse, UnsupportedState, StateFailure
            It can't serve what is in its directory.
        InputError
            It keeps its state elsewhere than in ``state_dir``.
        """
        self._serve()
        home = self._catalog.home
        root = str(home.root) if home else None
        if state_dir is not None and root != str(state_root(state_dir)):
            raise InputError(f"system {self.system!r} keeps its state in {root or 'memory'}, not in {state_dir}")
        return About(self.system, self._catalog.epoch, root)

    def close(self) -> None:
        """Close the state; it stays."""
        if self._opened:
            self._catalog.close()

    # -- Nodes

    def register(
        self,
        fleet: Fleet,
        cells: NDArray[np.uint64],
        precision: int,
        ranges_max: int,
        now_ms: int,
        policy: Policy | None = None,
        request: bytes | None = None,
    ) -> Registered:
        """Add nodes to the fleet of that name, or replace what is known of them.

        Parameters
        ----------
        fleet : Fleet
        cells : uint64[n]
            Cell of each node at ``precision``.
        ranges_max : int
            How many ranges a new fleet may be cut into.
        now_ms : int
            The driver's clock.
        policy : Policy, optional
            The fleet's policy from now on; by default it stays as it is.

        Raises
        ------
        InputError
            The fleet is registered at another precision.
        """
        self._serve()
        known = self._fleets.get(fleet.name)
        if known is not None and known.directory.precision != precision:
            raise InputError(
                f"fleet {fleet.name!r} is registered at precision {known.directory.precision}, not {precision}; "
                "register at the same one, or under another name"
            )
        if known is not None and self._catalog.seen(request):
            handles = known.roster.last_handles(fleet.ids)
            return Registered(handles.astype(np.uint32), _touched(known.directory, cells), known.directory)
        before = Roster() if known is None else known.roster
        handles = before.handles(fleet.ids, len(fleet))
        new = handles < 0
        left = before["cells"][handles[~new]]
        handles[new] = np.arange(len(before), len(before) + int(new.sum()))
        batch: Batch = {
            "handles": handles.astype(np.uint32),
            "ids": fleet.ids,
            "lat": fleet.lat,
            "lon": fleet.lon,
            "latency_ms": fleet.latency_ms,
            "cells": cells,
            "registered_ms": np.full(len(fleet), now_ms, np.int64),
        }
        if known is None:
            known = self._found(fleet.name, batch, precision, ranges_max, policy, request)
            touched = tuple(info.id for info in known.directory.ranges)
        else:
            touched = _touched(known.directory, np.concatenate([left, cells]))
            self._changed(known, Kind.REGISTER, batch, touched, request, policy)
        return Registered(batch["handles"], touched, known.directory)

    def remove(self, fleet: str, ids: Sequence[str], request: bytes | None = None) -> Changed:
        """Let go of nodes; ids that the fleet doesn't have are passed over."""
        known = self._known(fleet)
        given = list(dict.fromkeys(ids))
        if self._catalog.seen(request):
            handles = known.roster.last_handles(given)
        else:
            handles = known.roster.handles(given, len(given))
        return self._change(known, Kind.REMOVE, {"handles": handles[handles >= 0].astype(np.uint32)}, request)

    def mark(self, fleet: str, ids: Sequence[str], mark: Mark, request: bytes | None = None) -> Changed:
        """Mark nodes until they are marked otherwise or removed.

        Raises
        ------
        UnknownNode
            The fleet has no node of one of the ids; nothing was changed.
        """
        known = self._known(fleet)
        given = list(dict.fromkeys(ids))
        handles = known.roster.handles(given, len(given))
        if (handles < 0).any() and not self._catalog.seen(request):
            unknown = np.flatnonzero(handles < 0)
            raise UnknownNode(given[unknown[0]], fleet, len(unknown))
        handles = handles[handles >= 0].astype(np.uint32)
        batch: Batch = {"handles": handles, "marks": np.full(len(handles), int(mark), np.uint8)}
        return self._change(known, Kind.MARK, batch, request)

    def set_policy(self, fleet: str, policy: Policy, request: bytes | None = None) -> Directory:
        """Decide by another policy from now on."""
        known = self._known(fleet)
        if not self._catalog.seen(request):
            now = known.directory
            version = now.version + 1
            with self._catalog.transaction():
                self._catalog.note(request)
                self._catalog.put_ranges(known.key, version, now.ranges)
                self._catalog.put_policy(known.key, version, policy)
            known.directory = replace(now, version=version, policy=policy, policy_version=version)
        return known.directory

    def directory(self, fleet: str, version: int = 0) -> Directory | None:
        """The directory of a fleet; None when it is still of the given version."""
        found = self._known(fleet).directory
        return None if found.version == version else found

    def fleets(self) -> list[str]:
        """The names of the fleets that are registered."""
        self._serve()
        return sorted(self._fleets)

    # -- Ranges

    def succeed(self, fleet: str, range_id: int, epoch: int) -> Directory:
        """Start a new epoch of a range whose servant of ``epoch`` is gone.

        Of several drivers that ask, the first one is heard; all get the same new epoch.
        """
        known = self._known(fleet)
        info = known.directory.find(range_id)
        if info is not None and info.epoch == epoch:
            self._put(known, _replaced(known.directory.ranges, info, replace(info, epoch=epoch + 1)))
        return known.directory

    def save(self, fleet: str, range_id: int, epoch: int, checkpoint: Checkpoint) -> int:
        """Keep a checkpoint of a range, or of one that a move is going to bring.

        Returns
        -------
        int
            The version that is kept now. Where it is not the checkpoint's, that one was older, or an
            increment on something that is not kept: make a whole one.

        Raises
        ------
        StaleEpoch
            The servant that made it has a successor, or its range is no more.
        """
        known = self._known(fleet)
        coming = (info for move in known.moves.values() for info in move.targets)
        info = known.directory.find(range_id) or next((info for info in coming if info.id == range_id), None)
        if info is None or info.epoch != epoch or checkpoint.epoch != epoch:
            raise StaleEpoch(f"range {range_id} of fleet {fleet!r}", checkpoint.epoch, info.epoch if info else 0)
        return self._keeping.save(known.key, range_id, checkpoint)

    def checkpoint(self, fleet: str, range_id: int) -> Checkpoint | None:
        """The state of a range that was kept last, whole; None where none was."""
        return self._keeping.load(self._known(fleet).key, range_id)

    def lease(self, driver: str, seconds: float, now_ms: int) -> Lease:
        """Ask to be the steward for ``seconds`` from ``now_ms`` on, or, with 0, no longer to be it.

        The lease that holds now is returned, whoever has it.
        """
        self._serve()
        holder, until_ms = self._catalog.one("SELECT holder, until_ms FROM system")
        if holder in ("", driver) or until_ms <= now_ms:
            holder, until_ms = (driver, now_ms + round(seconds * 1000)) if seconds > 0 else ("", now_ms)
            with self._catalog.transaction():
                self._catalog.do("UPDATE system SET holder = ?, until_ms = ?", holder, until_ms)
        return Lease(holder, until_ms)

    def census(self, fleet: str, counted: Sequence[RangeCensus], now_ms: int) -> Freeze | None:
        """Take what a steward counted in the ranges; whether ejections are to be frozen, and until when."""
        known = self._known(fleet)
        known.freeze = advise(counted, known.directory.policy.freeze_at, known.freeze, now_ms)
        return known.freeze

    # -- Moves

    def begin_move(self, fleet: str, range_ids: Sequence[int], bounds: Sequence[int]) -> Move:
        """Write down that neighbouring ranges are to give way to new ones with these lower bounds.

        Asked again for the same ranges, it returns the move that was begun.

        Raises
        ------
        InputError
            There is no such move, or one of the ranges is in another.
        """
        known = self._known(fleet)
        busy = {info.id: move for move in known.moves.values() for info in move.sources}
        for move in {busy[range_id].id: busy[range_id] for range_id in range_ids if range_id in busy}.values():
            if {info.id for info in move.sources} == set(range_ids) and [info.lower for info in move.targets] == [
                *bounds
            ]:
                return move
            raise InputError(f"ranges {[info.id for info in move.sources]} are in move {move.id}, which is not ended")
        sources, targets = planned(known.directory.ranges, range_ids, bounds, known.next_range)
        with self._catalog.transaction():
            move = self._shelf.begin(known.key, Move(0, fleet, sources, targets))
            self._catalog.do("UPDATE fleets SET next_range = next_range + ? WHERE key = ?", len(targets), known.key)
        known.next_range += len(targets)
        known.moves[move.id] = move
        return move

    def commit_move(self, fleet: str, move_id: int, last: Mapping[int, Checkpoint]) -> Directory:
        """Make the new ranges those of the fleet; committed again, nothing happens.

        Parameters
        ----------
        last
            The last checkpoint of each range that gives way, made after it was sealed: its changes are
            kept for those who watch. Those of the new ranges were saved before.

        Raises
        ------
        StaleEpoch
            A servant of a range that gives way was replaced meanwhile, or the move was given up.
        """
        known = self._known(fleet)
        move = known.moves.get(move_id)
        if move is None:
            if self._shelf.state(known.key, move_id) != "committed":
                raise StaleEpoch(f"move {move_id} of fleet {fleet!r}", move_id, known.next_range)
            return known.directory
        for info in move.sources:
            now = known.directory.find(info.id)
            assert now is not None, "a source stays until its move is ended"
            if now.epoch != info.epoch or last[info.id].epoch != info.epoch:
                raise StaleEpoch(f"range {info.id} of fleet {fleet!r}", last[info.id].epoch, now.epoch)
        version = known.directory.version + 1
        ranges = moved(known.directory.ranges, move, version)
        children = tuple(info.id for info in move.targets)
        with self._catalog.transaction():
            self._shelf.end(move_id, "committed")
            for info in move.sources:
                self._shelf.retire(known.key, info.id, Retired(children, replace(last[info.id], health={})))
            after = self._keeping.forgetting(known.key, tuple(info.id for info in move.sources))
            self._catalog.put_ranges(known.key, version, ranges)
        after()
        del known.moves[move_id]
        known.directory = replace(known.directory, ranges=ranges, version=version)
        return known.directory

    def abort_move(self, fleet: str, move_id: int) -> Directory:
        """Give a move up, unless it is committed: the old ranges stay. Their servants may have to be unsealed."""
        known = self._known(fleet)
        move = known.moves.get(move_id)
        if move is not None:
            with self._catalog.transaction():
                self._shelf.end(move_id, "aborted")
                after = self._keeping.forgetting(known.key, tuple(info.id for info in move.targets))
            after()
            del known.moves[move_id]
        return known.directory

    def moves(self, fleet: str) -> tuple[Move, ...]:
        """The moves that are not ended, oldest first; after a crash they are to be carried on or given up."""
        return tuple(self._known(fleet).moves.values())

    def retired(self, fleet: str, range_id: int) -> Retired | None:
        """What is left of a range that gave way to others; None if that was too long ago."""
        return self._shelf.retired(self._known(fleet).key, range_id)

    # -- Inside

    def _serve(self) -> None:
        """Read the state if that is to be done, and refuse where another coordinator has taken it over."""
        if self._opened:
            self._catalog.check()
            return
        home = StateHome(state_root(self._state_dir), self.system) if self._durable else None
        try:
            self._catalog = Catalog(home, self.system)
            self._keeping = Keeping(self._catalog)
            self._shelf = Shelf(self._catalog)
            self._fleets = {known.directory.fleet.name: known for known in self._loaded()}
        except BaseException:
            if home is not None:
                home.close()
            raise
        self._opened = True
        if home is not None:
            _LOG.info("coordinator of %r, epoch %d, state in %s", self.system, self._catalog.epoch, home.path)

    def _known(self, fleet: str) -> _Known:
        self._serve()
        known = self._fleets.get(fleet)
        if known is None:
            raise UnknownFleet(fleet, sorted(self._fleets))
        return known

    def _found(
        self,
        name: str,
        batch: Batch,
        precision: int,
        ranges_max: int,
        policy: Policy | None,
        request: bytes | None,
    ) -> _Known:
        """A fleet's first registration."""
        bounds = plan_bounds(batch["cells"], ranges_max)
        ranges = tuple(RangeInfo(index, lower, 1, 1) for index, lower in enumerate(bounds.tolist()))
        with self._catalog.transaction():
            self._catalog.note(request)
            key = self._catalog.put_fleet(name, precision, len(ranges))
            self._catalog.put_policy(key, 1, policy or Policy())
            self._catalog.put_ranges(key, 1, ranges)
            self._catalog.log(key, Kind.REGISTER, batch)
        roster = Roster()
        roster.apply(Kind.REGISTER, batch)
        directory = _directory(name, roster, precision, ranges, 1, policy or Policy(), 1)
        known = self._fleets[name] = _Known(key, roster, directory, len(ranges))
        return known

    def _change(self, known: _Known, kind: Kind, batch: Batch, request: bytes | None) -> Changed:
        """A removal or a mark."""
        touched = _touched(known.directory, known.roster["cells"][batch["handles"]])
        if touched and not self._catalog.seen(request):
            self._changed(known, kind, batch, touched, request)
        return Changed(batch["handles"], touched, known.directory)

    def _changed(
        self,
        known: _Known,
        kind: Kind,
        batch: Batch,
        touched: tuple[int, ...],
        request: bytes | None,
        policy: Policy | None = None,
    ) -> None:
        """Write a batch down, then do what it says."""
        now = known.directory
        version = now.version + 1
        ranges = tuple(replace(info, roster=version) if info.id in touched else info for info in now.ranges)
        with self._catalog.transaction():
            self._catalog.note(request)
            self._catalog.log(known.key, kind, batch)
            self._catalog.put_ranges(known.key, version, ranges)
            if policy is not None:
                self._catalog.put_policy(known.key, version, policy)
        known.roster.apply(kind, batch)
        if kind is Kind.REGISTER:
            decided = (now.policy, now.policy_version) if policy is None else (policy, version)
            known.directory = _directory(now.fleet.name, known.roster, now.precision, ranges, version, *decided)
        else:
            living, marks = known.roster["living"].copy(), known.roster["marks"].copy()
            known.directory = replace(now, ranges=ranges, version=version, living=living, marks=marks)
        if self._catalog.log_is_long(known.key, len(known.roster)):
            self._catalog.compact(known.key, known.roster.whole())

    def _put(self, known: _Known, ranges: tuple[RangeInfo, ...]) -> None:
        version = known.directory.version + 1
        with self._catalog.transaction():
            self._catalog.put_ranges(known.key, version, ranges)
        known.directory = replace(known.directory, ranges=ranges, version=version)

    def _loaded(self) -> Iterator[_Known]:
        """The fleets as the catalog has them."""
        for row in self._catalog.fleets():
            roster = Roster()
            for kind, batch in self._catalog.batches(row.key):
                roster.apply(kind, batch)
            directory = _directory(
                row.name,
                roster,
                row.precision,
                self._catalog.ranges(row.key),
                row.version,
                Policy.from_json(row.policy),
                row.policy_version,
            )
            yield _Known(row.key, roster, directory, row.next_range, self._shelf.open(row.key, row.name))


def _touched(directory: Directory, cells: NDArray[np.uint64]) -> tuple[int, ...]:
    positions = np.unique(range_of(directory.bounds, cells))
    return tuple(directory.ranges[position].id for position in positions)


def _replaced(ranges: tuple[RangeInfo, ...], old: RangeInfo, new: RangeInfo) -> tuple[RangeInfo, ...]:
    return tuple(new if info is old else info for info in ranges)


def _directory(
    name: str,
    roster: Roster,
    precision: int,
    ranges: tuple[RangeInfo, ...],
    version: int,
    policy: Policy,
    policy_version: int,
) -> Directory:
    return Directory(
        roster.fleet(name),
        roster["cells"].copy(),
        precision,
        ranges,
        version,
        roster["registered_ms"].copy(),
        roster["living"].copy(),
        roster["marks"].copy(),
        policy,
        policy_version,
    )
