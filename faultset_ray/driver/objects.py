"""Objects of a system, as one driver writes and reads them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from math import inf
from typing import Any

from faultset_ray import codes
from faultset_ray.backend.protocol import Backend
from faultset_ray.columns import as_int, check_flag, is_int
from faultset_ray.coordinator.objects import Commit, Damage, Intent
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.authority import Authority
from faultset_ray.driver.object_values import Deletion, ObjectInfo, ObjectStat, Receipt
from faultset_ray.driver.places import Places
from faultset_ray.driver.put import Put, spread, tell
from faultset_ray.driver.records import newest_record
from faultset_ray.driver.room import Durability, Room, Wish
from faultset_ray.driver.stores import StoreDirectory
from faultset_ray.driver.writes import Writes
from faultset_ray.errors import ClusterError, CoordinatorUnavailable, InputError, NotEnoughShards, ObjectNotFound
from faultset_ray.errors.base import shown
from faultset_ray.failpoints import reach
from faultset_ray.limits import (
    AWAY_SECONDS,
    LIST_PAGE,
    LOOKUP_SECONDS,
    SMALL_OBJECT_BYTES,
    STORE_BATCH_BYTES,
    STORE_INFO_SECONDS,
)
from faultset_ray.objects.batch import Batcher
from faultset_ray.objects.encode import StoreRef
from faultset_ray.objects.entry import Entry
from faultset_ray.objects.gather import AWAY, Bytes
from faultset_ray.objects.get import Reading
from faultset_ray.objects.intake import Intake, SoFar, teller
from faultset_ray.objects.lines import Lines
from faultset_ray.objects.operations import counted, counted_stream
from faultset_ray.objects.place_store import PlaceStore
from faultset_ray.objects.record import Record, grace_of, object_id
from faultset_ray.objects.small import Small, encode_wholes
from faultset_ray.objects.store_shards import shard_file
from faultset_ray.objects.store_values import Held, Whole
from faultset_ray.objects.survival import survivable
from faultset_ray.shards.layout import layout_for
from faultset_ray.telemetry import events
from faultset_ray.telemetry import metric_table as table
from faultset_ray.telemetry.event import Event
from faultset_ray.telemetry.metrics import count

_TRIES = 3
_REPORTED_MAX = 10_000
_OWN_MAX = 10_000
_REPORT_AGAIN_SECONDS = 60.0


class Objects:
    """See the verbs of :class:`~faultset_ray.driver.object_verbs.AsyncObjectVerbs`."""

    def __init__(
        self,
        backend: Backend,
        system: str,
        authority: Authority,
        places: Places,
        stores: StoreDirectory,
        in_use: Callable[[], None],
        trips: Callable[[], Mapping[str, float]],
    ) -> None:
        self._backend = backend
        self._system = system
        self._authority = authority
        self._writes = Writes(backend, authority)
        self._lines = Lines(backend, self._writes.fence)
        self._room = Room(backend, authority, places, stores, self._lines, trips)
        self._stores = stores
        self._in_use = in_use
        """Called by what writes: somebody is to look after the objects."""
        self._encodes: Batcher[Small, list[Whole]] = Batcher(
            partial(encode_wholes, backend), at_once=2, weight=STORE_BATCH_BYTES
        )
        self._lookups: Batcher[str, Entry | None] = Batcher(self._look_up)
        self._reports: Batcher[Damage, None] = Batcher(self._report_all)
        self._reported: dict[Damage, float] = {}
        """When it was reported, by the uptime."""
        self._telling: set[asyncio.Future[None]] = set()
        """Reports that are under way."""
        self._own: dict[str, int] = {}
        """The last generation of each name that this driver wrote: the stores have not forgotten it."""
        self._warned: set[str] = set()
        """What was warned of, once for all."""
        self._away_until_s = -inf
        """Until when, by the uptime, the coordinator is not asked, since it did not answer."""

    @property
    def lines(self) -> Lines:
        """This driver's calls to stores."""
        return self._lines

    # -- Writing

    @counted("put")
    async def put(
        self,
        name: str,
        data: Any,
        code: str,
        tolerate: int | None,
        stripe_bytes: int | None,
        *,
        if_absent: bool,
        if_generation: int | None,
        durability: Durability | None = None,
        progress: SoFar | None = None,
        busy_s: float,
    ) -> Receipt:
        """See :meth:`AsyncObjectVerbs.put <faultset_ray.driver.object_verbs.AsyncObjectVerbs.put>`."""
        self._in_use()
        found = codes.get(code)
        key = object_id(name)
        promised = found.tolerance if tolerate is None else as_int(tolerate)
        if_generation, stripe_bytes = as_int(if_generation), as_int(stripe_bytes)
        _check(promised, found.tolerance, if_absent=if_absent, if_generation=if_generation)
        if durability is not None and not (isinstance(durability, str) and durability in {"fsync", "none"}):
            raise InputError(f"durability is {shown(durability)}; expected 'fsync', 'none' or None")
        with Intake(self._backend, await self._backend.fetch(data), progress) as intake:
            size, first = intake.size, None
            layout = layout_for(size, found.k, found.n, stripe_bytes)
            if size is None:
                first = await intake.read(layout.stripe_bytes)
                if first.size < layout.stripe_bytes:  # it has ended already
                    size = first.size
                    layout = layout_for(size, found.k, found.n, stripe_bytes)
            wish = Wish(name, key, found, promised, layout, if_absent, if_generation, durability, busy_s)
            put = Put(self._backend, self._writes, self._lines, self._room, self._encodes, wish)
            if size is not None and size <= min(SMALL_OBJECT_BYTES, layout.stripe_bytes):
                whole = await intake.read(size) if first is None else first
                receipt = await put.small(whole, intake.sha256())
            else:
                receipt = await put.large(intake, size, first)
        self._wrote(name, receipt.generation)
        return self._acknowledged(receipt)

    @counted("delete")
    async def delete(self, name: str, if_generation: int | None, grace_s: float, busy_s: float) -> Deletion:
        """See :meth:`AsyncObjectVerbs.delete <faultset_ray.driver.object_verbs.AsyncObjectVerbs.delete>`."""
        if_generation = as_int(if_generation)
        _check(0, 0, if_absent=False, if_generation=if_generation)
        if isinstance(grace_s, bool) or not isinstance(grace_s, (int, float)) or not 0 <= grace_s < 1e10:
            raise InputError(f"grace_s is {shown(grace_s)}; expected seconds, 0 or more")
        self._in_use()
        entry = await self._catalogued(name)
        before, write_id = entry.record, self._backend.token(16)
        intent = Intent(
            write_id=write_id,
            kind="delete",
            name=name,
            spec=before.spec,
            k=before.k,
            n=before.n,
            block_bytes=before.block_bytes,
            tolerate=before.tolerate,
            layout=entry.layout,
            driver=self._writes.driver,
            if_generation=if_generation,
            durability=before.durability,
            grace_ms=round(1000 * grace_s),
        )
        await self._room.ready()
        ticket = await self._writes.open(intent, busy_s)
        reach("delete.opened")
        now_ms = self._backend.now_ms()
        record = replace(
            before,
            kind="delete",
            generation=ticket.generation,
            write_id=write_id,
            size=grace_of(intent.grace_ms),
            sha256=bytes(32),
            created_ms=now_ms,
        )
        await self._buried(record, entry, replace(intent, generation=ticket.generation))
        gone = await self._writes.commit(Commit(write_id, 0, bytes(32), entry.layout, now_ms))
        self._wrote(name, ticket.generation)
        reach("delete.committed")
        until_ms = gone.purge_ms if gone.purge_ms is not None else now_ms + intent.grace_ms
        return Deletion(name, ticket.generation, until_ms)

    @counted("undelete")
    async def undelete(self, name: str) -> Receipt:
        """See :meth:`AsyncObjectVerbs.undelete <faultset_ray.driver.object_verbs.AsyncObjectVerbs.undelete>`."""
        object_id(name)
        await self._room.ready()
        write_id = self._backend.token(16)
        found = await self._writes.undelete(name, write_id)
        reach("undelete.opened")
        record, layout = found.entry.record, found.entry.layout
        await self._recorded(record, found.entry, write_id)
        await self._writes.commit(Commit(write_id, record.size, record.sha256, layout, record.created_ms))
        self._wrote(name, record.generation)
        reach("undelete.committed")
        held = {index: store for index, store in enumerate(layout) if store}
        bears = survivable(codes.get(record.spec), held)
        receipt = Receipt(name, record.generation, record.size, record.spec, len(held), bears, record.durability)
        return self._acknowledged(receipt)

    def _acknowledged(self, receipt: Receipt) -> Receipt:
        """A receipt that also says what the catalog is on; that no store may be lost is not left to the receipt."""
        if not receipt.survivable:
            reason = "for more, name a code, and with tolerate= how many losses it is to bear"
            self._warn(events.PUT_FRAGILE, receipt.spec, object=receipt.name, code=receipt.spec, reason=reason)
        if self._authority.lasts:
            return receipt
        if receipt.durability == "fsync":
            reason = (
                "its objects outlive this process on their stores alone, and rebuild() finds them there; name a "
                "state_dir, or FAULTSET_STATE_DIR"
            )
            self._warn(events.CATALOG_IN_MEMORY, "catalog", system=self._system, reason=reason)
        return replace(receipt, catalog="memory")

    def _warn(self, event: Event, what: str, **fields: Any) -> None:
        if what not in self._warned:
            self._warned.add(what)
            event.tell(**fields)

    def _wrote(self, name: str, generation: int) -> None:
        """Remember what was acknowledged, of the names that were written last."""
        self._own[name] = max(generation, self._own.pop(name, 0))
        if len(self._own) > _OWN_MAX:
            del self._own[next(iter(self._own))]

    async def _buried(self, record: Record, entry: Entry, intent: Intent) -> None:
        """Have a tombstone on one store more than may be lost: those of the object, and others where they are away."""
        try:
            told = await tell(self._lines, record, await self._stores.refs(entry.layout), "delete")
            missing = record.tolerate + 1 - len(told.confirmed)
            if missing > 0:
                self._stores.doubt()
                answering = {site.store for site in await self._room.ready() if not site.draining}
                others = sorted(answering - told.confirmed - told.failed.keys())[:missing]
                await self._writes.open(replace(intent, layout=(*entry.layout, *others)))
                refs = await self._stores.refs({*entry.layout, *others})
                await spread(self._lines, record, refs, "delete")
        except BaseException:
            self._writes.leave(intent.write_id)
            raise
        reach("delete.recorded")

    async def _recorded(self, record: Record, entry: Entry, write_id: bytes) -> None:
        """Have an undeletion's record on the stores of its object; where that fails, the steward carries it on."""
        refs = await self._stores.refs(entry.layout)
        try:
            await spread(self._lines, record, refs, "undelete")
        except BaseException:
            self._writes.leave(write_id)
            raise
        reach("undelete.recorded")

    # -- Reading

    @counted("get")
    async def get(self, name: str, span: tuple[int, int] | None) -> bytes:
        """See :meth:`AsyncObjectVerbs.get <faultset_ray.driver.object_verbs.AsyncObjectVerbs.get>`."""
        span = _span(span)
        entry = await self._entry(name)
        for _ in range(_TRIES):
            reading = await self.reading(entry)
            try:
                return await reading.read(*(span or (0, entry.record.size)))
            except NotEnoughShards:
                newer = await self._entry(name)
                if newer.record.write_id == entry.record.write_id:
                    raise
                entry = newer  # it was overwritten, and what it was is gone
        raise AssertionError("unreachable: an object that is overwritten that fast keeps its last generations")

    @counted_stream("get")
    async def stream(
        self, name: str, span: tuple[int, int] | None, progress: SoFar | None = None
    ) -> AsyncGenerator[Bytes, None]:
        """See :meth:`AsyncObjectVerbs.get_stream <faultset_ray.driver.object_verbs.AsyncObjectVerbs.get_stream>`."""
        span, told = _span(span), teller(progress)
        entry = await self._entry(name)
        reading = await self.reading(entry)
        start, stop = span or (0, entry.record.size)
        done = 0
        async for pieces in reading.stream(start, stop):
            for piece in pieces:
                if piece.size:
                    yield piece
                    done += piece.size
                    told(done, stop - start)

    async def open(self, name: str) -> Reading:
        """The newest generation of an object, to be read as often as one likes."""
        return await self.reading(await self._entry(name))

    async def reading(self, entry: Entry) -> Reading:
        """Reads of one generation."""
        stores, away_s = await self._room.find(entry)
        return Reading(self._backend, self._lines, entry, stores, away_s, self._again, self._account)

    async def stat(self, name: str) -> ObjectStat:
        """See :meth:`AsyncObjectVerbs.stat <faultset_ray.driver.object_verbs.AsyncObjectVerbs.stat>`."""
        entry = await self._entry(name)
        record = entry.record
        stores, _ = await self._room.find(entry)
        found = await self._held(record.write_id, {ref.uuid: ref for ref in stores.values()})
        damaged = await self._damaged(record.write_id)
        missing, locations = {}, {}
        for index, uuid in enumerate(entry.layout):
            held = found.get(uuid, "unreachable" if uuid else "not written")
            if isinstance(held, Held) and index in held.indices and (index, uuid) in damaged:
                missing[index] = damaged[index, uuid]
            elif isinstance(held, Held) and index in held.indices:
                path = shard_file(self._room.path(uuid), record.write_id, index)
                locations[index] = uuid, self._room.place_of(uuid), path
            else:
                missing[index] = "missing" if isinstance(held, Held) else held
        bears = survivable(codes.get(record.spec), {index: uuid for index, (uuid, _, _) in locations.items()})
        return ObjectStat.of(
            entry,
            tolerate=record.tolerate,
            health="lost" if bears < 0 else "degraded" if missing else "healthy",
            survivable=bears,
            locations=locations,
            missing=missing,
        )

    async def listed(
        self, prefix: str, *, deleted: bool, after: str = "", limit: int | None = None
    ) -> list[ObjectInfo]:
        """See :meth:`AsyncObjectVerbs.list <faultset_ray.driver.object_verbs.AsyncObjectVerbs.list>`."""
        for what, text in (("prefix", prefix), ("after", after)):
            try:
                str.encode(text)
            except (TypeError, UnicodeEncodeError):
                raise InputError(f"{what} is {shown(text)}; expected a text that can be written in UTF-8") from None
        check_flag("deleted", deleted)
        most = as_int(limit)
        if most is not None and (not is_int(most) or most < 1):
            raise InputError(f"limit is {shown(limit)}; expected an integer of at least 1")
        await self._room.ready()
        found: list[ObjectInfo] = []
        while True:
            wanted = LIST_PAGE if most is None else min(LIST_PAGE, most - len(found))
            page = await self._authority.ask(Coordinator.list_objects, prefix, after, wanted, deleted=deleted)
            found += map(ObjectInfo.of, page)
            if len(page) < wanted or len(found) == most:
                return found
            after = page[-1].record.name

    async def close(self) -> None:
        """Give up what is under way."""
        await self._room.close()
        await self._lines.close()
        await self._writes.close()
        await asyncio.gather(self._encodes.close(), self._lookups.close(), self._reports.close())

    # -- Inside

    async def _entry(self, name: str) -> Entry:
        """The newest committed generation; while the coordinator is away, what the stores have of it."""
        object_id(name)
        if self._backend.uptime_s() >= self._away_until_s:
            try:
                known = await self._catalogued(name)
            except CoordinatorUnavailable as error:
                events.CATALOG_AWAY.tell(error=error)
                self._away_until_s = self._backend.uptime_s() + AWAY_SECONDS
            else:
                await self._room.learn(known)
                return known
        stores, own = await self._room.everywhere(), self._own.get(name, 0)
        entry = await newest_record(self._backend, self._system, stores, name, own)
        if entry is None:
            raise ObjectNotFound(name)
        return entry

    async def _catalogued(self, name: str) -> Entry:
        """What the catalog has of a name."""
        object_id(name)
        entry = await self._lookups.add(name)
        if entry is None:
            await self._room.ready()  # a catalog that was lost knows of nothing
            raise ObjectNotFound(name)
        return entry

    async def _look_up(self, names: list[str]) -> list[Entry | None]:
        return await self._authority.ask_within(LOOKUP_SECONDS, Coordinator.lookup, names)

    async def _again(self, reading: Reading, error: NotEnoughShards) -> bool:
        """Look for the shards of a reading anew; whether some may be read now that could not be before."""
        before = dict(reading.stores)
        entry = reading.entry
        answering = {info.uuid for info in await self._stores.look()}
        if self._stores.stale:
            with suppress(ClusterError):
                answering = {site.store for site in await self._room.ready()}
        try:
            [found] = await self._authority.ask(Coordinator.entries, [entry.record.write_id])
        except ClusterError:
            found = None
        entry = entry if found is None else found
        stores, away_s = await self._room.find(entry)
        reading.found(entry, stores, away_s)
        return any(
            ref != before.get(index) or (ref.uuid in answering and error.missing.get(index) in AWAY)
            for index, ref in stores.items()
        )

    async def _held(self, write_id: bytes, stores: Mapping[str, StoreRef]) -> dict[str, Held | str]:
        """What each store has of a write, or why that is not known."""
        net = self._backend.within(STORE_INFO_SECONDS)

        async def ask(ref: StoreRef) -> Held | str:
            try:
                [held] = await net.call(ref.addr, PlaceStore.held, [write_id])
            except ClusterError as error:
                return str(error)
            return held

        return dict(zip(stores, await asyncio.gather(*map(ask, stores.values())), strict=True))

    async def _damaged(self, write_id: bytes) -> dict[tuple[int, str], str]:
        """Why shards are known not to be sound, by index and store; nothing while the coordinator is away."""
        if self._backend.uptime_s() < self._away_until_s:
            return {}
        if self._telling:
            await asyncio.wait(self._telling)
        try:
            noted = await self._authority.ask_within(LOOKUP_SECONDS, Coordinator.damage_of, write_id)
        except CoordinatorUnavailable as error:
            events.DAMAGE_UNKNOWN.tell(error=error)
            return {}
        return {(damage.index, damage.store): damage.reason for damage in noted}

    def _account(self, reading: Reading) -> None:
        """Tell the coordinator of the shards that were found damaged."""
        entry = reading.entry
        damaged = {index: why for index, why in reading.unusable.items() if why not in AWAY and entry.layout[index]}
        write_id = entry.record.write_id
        self._report([Damage(write_id, index, entry.layout[index], why) for index, why in damaged.items()])

    def _report(self, reports: list[Damage]) -> None:
        """In the background: nobody waits for it, and what gets lost is found by a scrub."""
        now_s = self._backend.uptime_s()
        if len(self._reported) > _REPORTED_MAX:
            self._reported.clear()
        for damage in reports:
            if self._reported.get(damage, -inf) < now_s - _REPORT_AGAIN_SECONDS:
                self._reported[damage] = now_s
                count(table.CORRUPTIONS, 1, "read")
                events.SHARD_DAMAGED.tell(
                    index=damage.index, write_id=damage.write_id, store=damage.store, reason=damage.reason
                )
                telling = self._reports.add(damage)
                self._telling.add(telling)
                telling.add_done_callback(self._telling.discard)
                telling.add_done_callback(_told)

    async def _report_all(self, reports: list[Damage]) -> list[None]:
        await self._authority.ask(Coordinator.report_damage, reports)
        return [None] * len(reports)


def _told(future: asyncio.Future[None]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        events.DAMAGE_UNREPORTED.tell(error=error)


def _check(tolerate: Any, most: int, *, if_absent: Any, if_generation: Any) -> None:
    """Refuse what can't be asked for."""
    if not is_int(tolerate) or not 0 <= tolerate <= most:
        raise InputError(f"tolerate is {shown(tolerate)}; expected 0 to {most}, which the code bears")
    check_flag("if_absent", if_absent)
    if if_generation is not None and not is_int(if_generation):
        raise InputError(f"if_generation is {shown(if_generation)}; expected a generation")
    if if_absent and if_generation is not None:
        raise InputError("if_absent and if_generation exclude each other")


def _span(span: Any) -> tuple[int, int] | None:
    if span is None:
        return None
    if not isinstance(span, tuple) or len(span) != 2 or any(not is_int(as_int(at)) for at in span):
        raise InputError(f"range is {shown(span)}; expected (start, stop) in bytes")
    return as_int(span[0]), as_int(span[1])
