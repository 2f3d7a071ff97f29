"""Objects that lost shards, or have some where they can't stay: found, and mended with the one least safe first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from faultset_ray.backend.protocol import Backend
from faultset_ray.coordinator.objects import Damage
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.authority import Authority
from faultset_ray.driver.inventory import Inventory
from faultset_ray.driver.moving import Mover
from faultset_ray.driver.spreading import spread_anew
from faultset_ray.driver.stores import ref_of
from faultset_ray.errors import BackendClosed, CodingError, FaultsetError, NotEnoughShards, StaleEpoch, WriteInProgress
from faultset_ray.limits import (
    REPAIR_AGAIN_SECONDS,
    REPAIR_AGAIN_SECONDS_MAX,
    REPAIR_QUEUE_MAX,
    UPKEEP_PAGE,
)
from faultset_ray.objects.bucket import Bucket
from faultset_ray.objects.checking import check_shard
from faultset_ray.objects.entry import Entry
from faultset_ray.objects.gather import AWAY
from faultset_ray.objects.needs import Need, Needs, mending, need_of
from faultset_ray.telemetry import events
from faultset_ray.telemetry import metric_table as table
from faultset_ray.telemetry.metrics import count

_MET_SECONDS: Final = 0.5
"""How soon an object is looked at again that somebody else moves a shard of."""


@dataclass(slots=True)
class Repaired:
    """What came of a repair."""

    objects: int = 0
    """How many were mended."""
    shards: int = 0
    bytes: int = 0
    """Of the shards that were made or copied."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why others could not be, by name."""
    lost: dict[str, str] = field(default_factory=dict)
    """The ones of these of which too few shards are within reach."""
    wanting: list[str] = field(default_factory=list)
    """Names of objects that no move would make safer now, for want of stores."""

    @property
    def waiting(self) -> int:
        """How many objects wait for stores."""
        return len(self.wanting)

    def add(self, more: Repaired) -> None:
        """Count another round: what is left is what that one left."""
        self.objects += more.objects
        self.shards += more.shards
        self.bytes += more.bytes
        self.failed, self.lost, self.wanting = more.failed, more.lost, more.wanting


class Repairs:
    """Finds what objects need, and does it."""

    def __init__(self, backend: Backend, authority: Authority, mover: Mover, concurrent: int) -> None:
        self._backend = backend
        self._concurrent = concurrent
        """Objects that are mended at once."""
        self._authority = authority
        self._mover = mover
        self._again: dict[bytes, tuple[float, float]] = {}
        """When an object that could not be mended is tried again, and how long was waited, by write id."""

    async def needs(
        self,
        inventory: Inventory,
        *,
        at_once: bool = False,
        due: bool = False,
        which: Callable[[Need], bool] = lambda _need: True,
    ) -> Needs:
        """What objects need: all are counted, and the most urgent kept, ``REPAIR_QUEUE_MAX`` at most.

        Parameters
        ----------
        at_once
            Give up stores that don't answer now; by default only those that are gone for good, it seems, and for
            an object that would bear no further loss, those that are away.
        due
            Keep only objects that are to be tried now: one that failed waits for a while.
        which
            Those to look for; all by default.
        """
        found = Needs(REPAIR_QUEUE_MAX)
        damaged = await self._reported()
        suspects = inventory.rows.keys() - inventory.here.keys() if at_once else inventory.away
        looked_at: set[str] = set()
        """Stores all of whose objects were considered."""

        def consider(entry: Entry) -> None:
            if looked_at.isdisjoint(entry.layout):
                bad = {report.index for report in damaged.get(entry.record.write_id, ())}
                need = _need(entry, inventory, bad, at_once)
                if need is not None and which(need):
                    found.add(need, keep=not due or self._is_due(need))

        for uuid in sorted(suspects | inventory.retired | inventory.leaving):
            after = 0
            while True:
                entries, after = await self._authority.ask(Coordinator.by_store, uuid, after, UPKEEP_PAGE)
                for entry in entries:
                    consider(entry)
                if not after:
                    break
            looked_at.add(uuid)
        reported = list(damaged)
        for start in range(0, len(reported), UPKEEP_PAGE):
            page = reported[start : start + UPKEEP_PAGE]
            of_none: list[Damage] = []
            for write_id, owner in zip(page, await self._authority.ask(Coordinator.entries, page), strict=True):
                if owner is None:
                    of_none += damaged[write_id]
                else:
                    consider(owner)
            if of_none:
                await self._authority.ask(Coordinator.damage_settled, of_none)
        return found

    async def mend(
        self,
        needs: Iterable[Need],
        inventory: Inventory,
        bucket: Bucket | None = None,
        *,
        going: Callable[[], bool] = lambda: True,
        told: Callable[[Repaired], None] = lambda _done: None,
        at_once: bool = False,
    ) -> Repaired:
        """Mend objects in the order given, some at a time.

        Each is looked at anew when its turn comes: it may have been mended meanwhile.

        Parameters
        ----------
        bucket
            What the bytes that are moved wait for.
        going
            Asked before each object whether to go on: not when stores came or went, since then needs are others.
        told
            Called after each object with what was done so far.
        at_once
            As for :meth:`needs`; and what failed before is tried again without waiting.
        """
        done = Repaired()
        queue = iter(needs)

        async def worker() -> None:
            for need in queue:
                if not going():
                    return
                await self._one(need, inventory, bucket, done, at_once=at_once)
                told(done)

        await asyncio.gather(*(worker() for _ in range(self._concurrent)))
        if done.shards and inventory.rows.keys() - inventory.here.keys():
            await spread_anew(self._authority)
        return done

    # -- Inside

    async def _reported(self) -> dict[bytes, list[Damage]]:
        """All damage that was reported, by write id."""
        found: dict[bytes, list[Damage]] = {}
        skip = 0
        while True:
            reports = await self._authority.ask(Coordinator.damage, REPAIR_QUEUE_MAX, skip)
            for report in reports:
                found.setdefault(report.write_id, []).append(report)
            skip += len(reports)
            if len(reports) < REPAIR_QUEUE_MAX:
                return found

    def _is_due(self, need: Need) -> bool:
        """Whether an object is to be tried now: one that failed waits for a while."""
        due_s, _ = self._again.get(need.entry.record.write_id, (0.0, 0.0))
        return self._backend.uptime_s() >= due_s

    async def _one(
        self, need: Need, inventory: Inventory, bucket: Bucket | None, done: Repaired, *, at_once: bool
    ) -> None:
        write_id, name = need.entry.record.write_id, need.entry.record.name
        if not at_once and not self._is_due(need):
            return
        until_s = self._backend.uptime_s() + REPAIR_AGAIN_SECONDS
        try:
            while True:
                try:
                    shards, nbytes = await self._mended(need, inventory, bucket, done, at_once=at_once)
                    break
                except (StaleEpoch, WriteInProgress):
                    # A new caretaker gave its moves up, or another driver mends it: soon it is to be seen what is left.
                    if self._backend.uptime_s() >= until_s:
                        raise
                await self._backend.sleep(_MET_SECONDS)
        except BackendClosed:
            raise
        except FaultsetError as error:
            _, waited_s = self._again.get(write_id, (0.0, 0.0))
            wait_s = min(max(2 * waited_s, REPAIR_AGAIN_SECONDS), REPAIR_AGAIN_SECONDS_MAX)
            self._again[write_id] = self._backend.uptime_s() + wait_s, wait_s
            events.REPAIR_FAILED.tell(object=name, again_s=wait_s, error=error)
            done.failed[name] = str(error)
            count(table.REPAIRS, 1, "lost" if isinstance(error, NotEnoughShards) else "failed")
            if isinstance(error, NotEnoughShards):
                done.lost[name] = str(error)
                await self._report(need.entry, error)
            return
        if not shards:
            return
        self._again.pop(write_id, None)
        done.objects += 1
        done.shards += shards
        done.bytes += nbytes
        count(table.REPAIRS, 1, "mended")
        count(table.REPAIRED_SHARDS, shards)
        count(table.REPAIRED_BYTES, nbytes)

    async def _mended(
        self, need: Need, inventory: Inventory, bucket: Bucket | None, done: Repaired, *, at_once: bool
    ) -> tuple[int, int]:
        """Make an object's shards again, as it is now; how many, and their bytes."""
        [entry] = await self._authority.ask(Coordinator.entries, [need.entry.record.write_id])
        now = None if entry is None else _need(entry, inventory, _damaged(need, entry, inventory), at_once)
        if now is not None:
            now = await self._sure(now, inventory)
        if now is None:
            return 0, 0
        record = now.entry.record
        shard_bytes = record.header.layout.file_bytes(record.size)
        targets = mending(now, inventory.sites, shard_bytes)
        if targets:
            await self._mover.move(now.entry, targets, now.lost, bucket)
        elif now.margin < 0:
            have = record.n - len(now.lost)
            done.failed[record.name] = done.lost[record.name] = (
                f"{have} of its shards are within reach, and it takes {record.k}"
            )
            count(table.REPAIRS, 1, "lost")
        else:
            done.wanting.append(record.name)
            count(table.REPAIRS, 1, "waiting")
        return len(targets), len(targets) * shard_bytes

    async def _report(self, entry: Entry, error: NotEnoughShards) -> None:
        """Tell the coordinator of shards that were found damaged or missing: the object counts as what it is."""
        layout = entry.layout
        reports = [
            Damage(entry.record.write_id, index, layout[index], why)
            for index, why in sorted(error.missing.items())
            if why not in AWAY and layout[index]
        ]
        if reports:
            await self._authority.ask(Coordinator.report_damage, reports)

    async def _sure(self, need: Need, inventory: Inventory) -> Need | None:
        """What an object needs, without the shards that were reported but read back sound: who reads may be wrong."""
        record, layout = need.entry.record, need.entry.layout
        file_bytes = record.header.layout.file_bytes(record.size)
        sound = []
        for index in sorted(need.lost):
            info = inventory.here.get(layout[index])
            if info is not None:
                try:
                    fault = await check_shard(self._backend, ref_of(info), record.write_id, index, file_bytes)
                except CodingError:
                    continue
                if not fault:
                    sound.append(Damage(record.write_id, index, layout[index], ""))
        if not sound:
            return need
        await self._authority.ask(Coordinator.damage_settled, sound)
        lost = need.lost - {damage.index for damage in sound}
        return replace(need, lost=lost) if lost or need.leaving else None


def _damaged(need: Need, entry: Entry, inventory: Inventory) -> set[int]:
    """Of the shards that were lost when it was looked, those that are where they were, on stores that answer."""
    return {
        index
        for index in need.lost
        if entry.layout[index] == need.entry.layout[index] and entry.layout[index] in inventory.here
    }


def _need(entry: Entry, inventory: Inventory, bad: Collection[int], at_once: bool) -> Need | None:
    """What an object needs now; its margin is without all stores that are away, also those not given up yet."""
    if at_once:
        away = frozenset(set(entry.layout) - inventory.here.keys())
        return need_of(entry, away, inventory.leaving, bad)
    worst = need_of(entry, inventory.lost(urgent=True), inventory.leaving, bad)
    if worst is None or worst.margin <= 0:
        return worst
    need = need_of(entry, inventory.lost(urgent=False), inventory.leaving, bad)
    return None if need is None else replace(need, margin=worst.margin)
