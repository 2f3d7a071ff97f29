"""The coordinator: who is registered under which handle, which range is whose, and in which epoch."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from faultset_ray.backend.protocol import Servant
from faultset_ray.backend.real import RealWorld
from faultset_ray.control.census import Condition, Freeze, advise
from faultset_ray.control.checkpoint import Checkpoint
from faultset_ray.control.states import Mark
from faultset_ray.coordinator.catalog import CATALOG_ID_BYTES
from faultset_ray.coordinator.directory import About, Changed, Directory, Founded, Lease, Registered, Update
from faultset_ray.coordinator.home import StateHome, state_root
from faultset_ray.coordinator.ledger import Known, Ledger, leaving_of, touched_by
from faultset_ray.coordinator.moves import Move, Retired, moved, planned
from faultset_ray.coordinator.object_verbs import ObjectVerbs
from faultset_ray.coordinator.roster import Columns, Kind, Roster
from faultset_ray.errors import InputError, LimitExceeded, StaleEpoch, UnknownNode
from faultset_ray.limits import CLAIM_SECONDS, FLEET_NODES_MAX, LEASE_AHEAD_MS, UPDATE_SHARE_MAX
from faultset_ray.model import Fleet
from faultset_ray.policy import Policy
from faultset_ray.telemetry import metric_table as table
from faultset_ray.telemetry.metrics import count


class Coordinator(ObjectVerbs, Servant):
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
    identity : bytes, optional
        16 bytes, by which stores know a catalog that begins here; by default random ones.

    The state is read with the first call, so that it is a call that fails if it can't be.
    """

    def __init__(
        self, system: str, durable: bool = False, state_dir: str | None = None, identity: bytes | None = None
    ) -> None:
        self.system = system
        self._durable = durable
        self._state_dir = state_dir
        self._identity = identity
        self._ledger: Ledger | None = None

    def about(self, state_dir: str | None = None) -> About:
        """Say what this coordinator is, having read its state.

        Raises
        ------
        StateInUse, UnsupportedState, StateFailure
            It can't serve what is in its directory.
        InputError
            It keeps its state elsewhere than in ``state_dir``.
        """
        catalog = self._serve().catalog
        home = catalog.home
        root = str(home.root) if home else None
        if state_dir is not None and root != str(state_root(state_dir)):
            raise InputError(f"system {self.system!r} keeps its state in {root or 'memory'}, not in {state_dir}")
        return About(self.system, catalog.epoch, root)

    def close(self) -> None:
        """Close the state; it stays."""
        if self._ledger is not None:
            self._ledger.catalog.close()

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
        driver: str = "",
        *,
        brief: bool = False,
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
            The driver's clock, here as elsewhere; one that is far ahead of the host's is not believed.
        policy : Policy, optional
            The fleet's policy from now on; by default it stays as it is.
        driver : str
            Who brings up the first servants of a fleet that is new, and so has claimed their epochs.
        brief : bool
            Whether to answer with a :class:`~faultset_ray.coordinator.directory.Founded`, if the fleet is new.

        Raises
        ------
        InputError
            The fleet is registered at another precision.
        """
        ledger, now_ms = self._serve(), self._believed(now_ms)
        known = ledger.fleets.get(fleet.name)
        if known is not None and known.directory.precision != precision:
            raise InputError(
                f"fleet {fleet.name!r} is registered at precision {known.directory.precision}, not {precision}; "
                "register at the same one, or under another name"
            )
        if known is not None and ledger.catalog.seen(request):
            handles = known.roster.last_handles(fleet.ids)
            return Registered(handles.astype(np.uint32), touched_by(known.directory, cells), known.directory)
        before = Roster() if known is None else known.roster
        handles = before.handles(fleet.ids, len(fleet))
        new = handles < 0
        nodes = len(before) + int(new.sum())
        if nodes > FLEET_NODES_MAX:
            raise LimitExceeded("the number of nodes that a fleet ever had", nodes, FLEET_NODES_MAX)
        left = before["cells"][handles[~new]]
        latency_ms, registered_ms = fleet.latency_ms.copy(), np.full(len(fleet), now_ms, np.int64)
        silent = ~new & np.isnan(latency_ms)  # no measurement says nothing: the one before stays, with its time
        latency_ms[silent] = before["latency_ms"][handles[silent]]
        registered_ms[silent] = before["registered_ms"][handles[silent]]
        handles[new] = np.arange(len(before), nodes)
        batch: Columns = {
            "handles": handles.astype(np.uint32),
            "ids": fleet.ids,
            "lat": fleet.lat,
            "lon": fleet.lon,
            "latency_ms": latency_ms,
            "cells": cells,
            "registered_ms": registered_ms,
        }
        if known is None:
            known = ledger.found(fleet.name, batch, precision, ranges_max, policy, request)
            touched = tuple(info.id for info in known.directory.ranges)
            for info in known.directory.ranges:
                known.claims.take(info.id, info.epoch, driver, now_ms, CLAIM_SECONDS)
            leaving: dict[int, NDArray[np.uint32]] = {}
            if brief:
                now = known.directory
                return Registered(batch["handles"], touched, Founded(now.ranges, now.policy, now_ms, now.birth))
        else:
            leaving = leaving_of(known.directory, batch["handles"][~new], left, cells[~new])
            touched = touched_by(known.directory, np.concatenate([left, cells]))
            ledger.change(known, Kind.REGISTER, batch, touched, request, policy)
        return Registered(batch["handles"], touched, known.directory, leaving)

    def remove(self, fleet: str, ids: Sequence[str], request: bytes | None = None) -> Changed:
        """Let go of nodes; ids that the fleet doesn't have are passed over."""
        ledger = self._serve()
        known = ledger.known(fleet)
        given = list(dict.fromkeys(ids))
        if ledger.catalog.seen(request):
            handles = known.roster.last_handles(given)
        else:
            handles = known.roster.handles(given, len(given))
        return self._changed(known, Kind.REMOVE, {"handles": handles[handles >= 0].astype(np.uint32)}, request)

    def mark(self, fleet: str, ids: Sequence[str], mark: Mark, request: bytes | None = None) -> Changed:
        """Mark nodes until they are marked otherwise or removed.

        Raises
        ------
        UnknownNode
            The fleet has no node of one of the ids; nothing was changed.
        """
        ledger = self._serve()
        known = ledger.known(fleet)
        given = list(dict.fromkeys(ids))
        handles = known.roster.handles(given, len(given))
        if (handles < 0).any() and not ledger.catalog.seen(request):
            unknown = np.flatnonzero(handles < 0)
            raise UnknownNode(given[unknown[0]], fleet, len(unknown))
        handles = handles[handles >= 0].astype(np.uint32)
        batch: Columns = {"handles": handles, "marks": np.full(len(handles), int(mark), np.uint8)}
        return self._changed(known, Kind.MARK, batch, request)

    def set_policy(self, fleet: str, policy: Policy, request: bytes | None = None) -> Directory:
        """Decide by another policy from now on."""
        ledger = self._serve()
        known = ledger.known(fleet)
        if not ledger.catalog.seen(request):
            now = known.directory
            version = now.version + 1
            with ledger.catalog.transaction():
                ledger.catalog.note(request)
                ledger.catalog.put_ranges(known.key, version, now.ranges)
                ledger.catalog.put_policy(known.key, version, policy)
            known.directory = replace(now, version=version, policy=policy, policy_version=version)
        return known.directory

    def directory(self, fleet: str, version: int = 0, birth: str = "") -> Directory | Update | None:
        """The directory of a fleet, or what changed since ``version``, or None when it is still of that version.

        To an asker who knows a version of another birth it is a new one.
        """
        known = self._serve().known(fleet)
        found = known.directory
        if version == 0 or version > found.version or (birth and birth != found.birth):
            return found
        if found.version == version:
            return None
        nodes = known.roster.changed_since(version)
        if len(nodes["handles"]) > UPDATE_SHARE_MAX * len(known.roster):
            return found
        return Update(version, found.version, found.ranges, found.policy, found.policy_version, nodes)

    def fleets(self) -> list[str]:
        """The names of the fleets that are registered."""
        ledger = self._serve()
        return sorted(ledger.fleets)

    # -- Ranges

    def succeed(self, fleet: str, range_id: int, epoch: int, driver: str = "", now_ms: int = 0) -> Directory:
        """Start a new epoch of a range whose servant of ``epoch`` is gone, unless another driver is bringing it up.

        Of several drivers that ask, the first one is heard; all get the same new epoch, and who was heard claimed it.
        """
        ledger, now_ms = self._serve(), self._believed(now_ms)
        known = ledger.known(fleet)
        info = known.directory.find(range_id)
        if info is not None and info.epoch == epoch and not known.claims.is_busy(range_id, epoch, driver, now_ms):
            next_one = replace(info, epoch=epoch + 1)
            ledger.put_ranges(known, tuple(next_one if each is info else each for each in known.directory.ranges))
            known.claims.take(range_id, epoch + 1, driver, now_ms, CLAIM_SECONDS)
        return known.directory

    def claim(self, fleet: str, range_id: int, epoch: int, driver: str, now_ms: int, seconds: float) -> bool:
        """Whether a driver may bring up the servant of an epoch; see :meth:`Claims.take`."""
        claims = self._serve().known(fleet).claims
        return claims.take(range_id, epoch, driver, self._believed(now_ms), seconds)

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
        ledger = self._serve()
        known = ledger.known(fleet)
        coming = (info for move in known.moves.values() for info in move.targets)
        info = known.directory.find(range_id) or next((info for info in coming if info.id == range_id), None)
        if info is None or info.epoch != epoch or checkpoint.epoch != epoch:
            raise StaleEpoch(f"range {range_id} of fleet {fleet!r}", checkpoint.epoch, info.epoch if info else 0)
        if checkpoint.birth not in ("", known.directory.birth):
            raise StaleEpoch(f"range {range_id} of a fleet {fleet!r} whose state was lost", epoch, epoch + 1)
        return ledger.keeping.save(known.key, range_id, checkpoint)

    def checkpoint(self, fleet: str, range_id: int) -> Checkpoint | None:
        """The state of a range that was kept last, whole; None where none was."""
        ledger = self._serve()
        return ledger.keeping.load(ledger.known(fleet).key, range_id)

    def saved_ms(self, fleet: str) -> dict[int, int]:
        """When the newest checkpoint of each range was made; a range is left out where that is not known."""
        ledger = self._serve()
        return ledger.keeping.made_ms(ledger.known(fleet).key)

    def saved_versions(self, fleet: str) -> dict[int, tuple[int, int]]:
        """Epoch and version of the newest checkpoint of each range that has one."""
        ledger = self._serve()
        return ledger.keeping.versions(ledger.known(fleet).key)

    def lease(self, driver: str, seconds: float, now_ms: int) -> Lease:
        """Ask to be the steward for ``seconds`` from ``now_ms`` on, or, with 0, no longer to be it.

        The lease that holds now is returned, whoever has it.
        """
        ledger = self._serve()
        holder, until_ms = ledger.catalog.one("SELECT holder, until_ms FROM system")
        if holder in ("", driver) or not now_ms < until_ms <= now_ms + LEASE_AHEAD_MS:
            holder, until_ms = (driver, now_ms + round(seconds * 1000)) if seconds > 0 else ("", now_ms)
            with ledger.catalog.transaction():
                ledger.catalog.do("UPDATE system SET holder = ?, until_ms = ?", holder, until_ms)
        return Lease(holder, until_ms)

    def census(self, fleet: str, counted: Sequence[Condition], now_ms: int) -> Freeze | None:
        """Take what a steward counted in the ranges; whether ejections are to be frozen, and until when."""
        ledger = self._serve()
        known = ledger.known(fleet)
        known.freeze = advise(counted, known.directory.policy.freeze_at, known.freeze, self._believed(now_ms))
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
        ledger = self._serve()
        known = ledger.known(fleet)
        busy = {info.id: move for move in known.moves.values() for info in move.sources}
        for move in {busy[range_id].id: busy[range_id] for range_id in range_ids if range_id in busy}.values():
            if {info.id for info in move.sources} == set(range_ids) and [info.lower for info in move.targets] == [
                *bounds
            ]:
                return move
            raise InputError(f"ranges {[info.id for info in move.sources]} are in move {move.id}, which is not ended")
        sources, targets = planned(known.directory.ranges, range_ids, bounds, known.next_range)
        with ledger.catalog.transaction():
            move = ledger.shelf.begin(known.key, Move(0, fleet, sources, targets))
            ledger.catalog.do("UPDATE fleets SET next_range = next_range + ? WHERE key = ?", len(targets), known.key)
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
        ledger = self._serve()
        known = ledger.known(fleet)
        move = known.moves.get(move_id)
        if move is None:
            if ledger.shelf.state(known.key, move_id) != "committed":
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
        with ledger.catalog.transaction():
            ledger.shelf.end(move_id, "committed")
            for info in move.sources:
                ledger.shelf.retire(known.key, info.id, Retired(children, last[info.id].without_health()))
            after = ledger.keeping.forgetting(known.key, tuple(info.id for info in move.sources))
            ledger.catalog.put_ranges(known.key, version, ranges)
        after()
        del known.moves[move_id]
        known.directory = replace(known.directory, ranges=ranges, version=version)
        return known.directory

    def abort_move(self, fleet: str, move_id: int) -> Directory:
        """Give a move up, unless it is committed: the old ranges stay. Their servants may have to be unsealed."""
        ledger = self._serve()
        known = ledger.known(fleet)
        move = known.moves.get(move_id)
        if move is not None:
            with ledger.catalog.transaction():
                ledger.shelf.end(move_id, "aborted")
                after = ledger.keeping.forgetting(known.key, tuple(info.id for info in move.targets))
            after()
            del known.moves[move_id]
        return known.directory

    def moves(self, fleet: str) -> tuple[Move, ...]:
        """The moves that are not ended, oldest first; after a crash they are to be carried on or given up."""
        return tuple(self._serve().known(fleet).moves.values())

    def retired(self, fleet: str, range_id: int) -> Retired | None:
        """What is left of a range that gave way to others; None if that was too long ago."""
        ledger = self._serve()
        return ledger.shelf.retired(ledger.known(fleet).key, range_id)

    # -- Inside

    def _serve(self) -> Ledger:
        """The state; refuses where another coordinator has taken it over."""
        if self._ledger is None:
            home = StateHome(state_root(self._state_dir), self.system) if self._durable else None
            identity = self._identity or secrets.token_bytes(CATALOG_ID_BYTES)
            self._ledger = Ledger(self.system, home, identity, self.clock or RealWorld())
            count(table.COORDINATOR_STARTS)
        else:
            self._ledger.catalog.check()
        return self._ledger

    def _believed(self, now_ms: int) -> int:
        """The time by a caller's clock or, where that is too far ahead, the host's."""
        return now_ms - self.ahead_ms(now_ms)

    def _changed(self, known: Known, kind: Kind, batch: Columns, request: bytes | None) -> Changed:
        """A removal or a mark."""
        ledger = self._serve()
        touched = touched_by(known.directory, known.roster["cells"][batch["handles"]])
        if touched and not ledger.catalog.seen(request):
            ledger.change(known, kind, batch, touched, request)
        return Changed(batch["handles"], touched, known.directory)
