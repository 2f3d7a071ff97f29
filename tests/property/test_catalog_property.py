"""The catalog of objects against dicts: whoever writes, deletes, moves and crashes in whatever order, what was
committed is what is read, its shards stay, the rest goes, and the stores alone are enough to make it anew."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from hand_clock import HandClock, by_hand
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from naive.object_stores import NaiveStore, Open, Past, rebuilt

from faultset_ray.coordinator.objects import Commit, Intent, ShardMove, Ticket
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.errors import ObjectNotFound, PreconditionFailed, StaleEpoch, WriteAborted, WriteInProgress
from faultset_ray.objects.record import Record, grace_of, object_id

NAMES = ["a", "a\x00é", "日本"]
K, N = 2, 4
names = st.sampled_from(NAMES)
picks = st.integers(0, 99)
DAY_MS = 86_400_000
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Thousands of transactions: what waits for a disk is tested elsewhere."""


class CatalogMachine(RuleBasedStateMachine):
    durable = True
    now_ms = property(lambda self: self.clock.ms)

    def __init__(self):
        super().__init__()
        self.root = tempfile.mkdtemp(dir=MEMORY)
        self.stores = {f"store-{number}": NaiveStore(f"store-{number}") for number in range(5)}
        self.clock = HandClock(1_000)
        self.coordinator = by_hand(Coordinator("s", self.durable, self.root, b"catalog-of-tests"), self.clock)
        self.adopt()
        self.count = 0
        self.open: dict[bytes, Open] = {}
        self.aborted: dict[bytes, Open] = {}
        self.past: dict[str, list[Past]] = {name: [] for name in NAMES}
        self.moves: dict[tuple[bytes, int], ShardMove] = {}

    def adopt(self):
        for store in self.stores.values():
            store.catalog = self.coordinator.fence().catalog

    def teardown(self):
        self.everything_that_is_not_read_goes()
        self.coordinator.close()
        shutil.rmtree(self.root, ignore_errors=True)

    # -- The model

    def token(self):
        self.count += 1
        return self.count.to_bytes(16, "big")

    def newest(self, name):
        return max(self.past[name], key=lambda past: past.generation, default=None)

    def visible(self, name):
        newest = self.newest(name)
        return None if newest is None or newest.record.kind == "delete" else newest.record

    def opened(self, name):
        return [write.intent for write in self.open.values() if write.intent.name == name]

    def refused(self, intent):
        """The class of error that an intent meets."""
        others = self.opened(intent.name)
        if others and (intent.conditional or any(other.conditional for other in others)):
            return WriteInProgress
        visible = self.visible(intent.name)
        found = None if visible is None else visible.generation
        if (intent.if_absent and found is not None) or (
            intent.if_generation is not None and intent.if_generation != found
        ):
            return PreconditionFailed
        return ObjectNotFound if intent.kind == "delete" and found is None else None

    def ask(self, intent):
        expected = self.refused(intent)
        [answer] = self.coordinator.open_writes([intent])
        if expected is not None:
            assert type(answer) is expected
            if expected is PreconditionFailed:
                visible = self.visible(intent.name)
                assert answer.found == (visible.generation if visible else None)
            return None
        assert isinstance(answer, Ticket), answer
        assert answer.generation > max((past.generation for past in self.past[intent.name]), default=0)
        self.open[intent.write_id] = Open(intent, answer.generation)
        return self.open[intent.write_id]

    def condition(self, name, which):
        visible = self.visible(name)
        if which == "absent":
            return {"if_absent": True}
        if which == "this":
            return {"if_generation": visible.generation if visible else 77}
        return {}

    # -- Writes

    @rule(name=names, which=st.sampled_from(["", "", "", "absent", "this"]), pick=picks, driver=st.sampled_from("xy"))
    def open_put(self, name, which, pick, driver):
        layout = tuple(f"store-{(pick + number) % len(self.stores)}" for number in range(N))[:: 1 - 2 * (pick % 2)]
        condition = self.condition(name, which)
        intent = Intent(self.token(), "put", name, "rs:2+2", K, N, 64, 1, layout, driver, **condition)
        write = self.ask(intent)
        if write is None:
            return
        lacking = pick % 4 if pick % 3 == 0 else -1  # one store fails its shard, or takes it and does not say so
        write.layout = tuple("" if index == lacking else uuid for index, uuid in enumerate(layout))
        if pick % 2:
            write.intent = intent = replace(intent, layout=(*layout[:-1], min(set(self.stores) - set(layout))))
            [again] = self.coordinator.open_writes([intent])
            assert again.generation == write.generation
            write.layout = (*write.layout[:-1], intent.layout[-1])
        for index, uuid in enumerate(layout):
            self.stores[uuid].write(intent.write_id, index, write.generation, object_id(name))
        for index, uuid in enumerate(write.layout):
            if uuid:
                self.stores[uuid].write(intent.write_id, index, write.generation, object_id(name))
        write.record = Record(
            *("put", name, write.generation, intent.write_id, pick, bytes(32), "rs:2+2", K, N, 64, 1),
            *(self.now_ms, "fsync"),
        )

    @rule(name=names, which=st.sampled_from(["", "", "this"]), grace_ms=st.sampled_from([0, 500_000]))
    def open_delete(self, name, which, grace_ms):
        visible = self.visible(name)
        entry = self.coordinator.lookup([name])[0]
        layout = tuple(filter(None, entry.layout))[:3] if visible else ("store-0", "store-1")
        intent = Intent(
            *(self.token(), "delete", name, "", 0, 0, 0, 1, layout, "x"),
            grace_ms=grace_ms,
            **self.condition(name, which),
        )
        write = self.ask(intent)
        if write is not None:
            write.layout = layout
            write.record = Record(
                *("delete", name, write.generation, intent.write_id, grace_of(intent.grace_ms), bytes(32)),
                *("", 0, 0, 0, 1, self.now_ms, "fsync"),
            )

    @rule(name=names)
    def open_undelete(self, name):
        newest, request = self.newest(name), self.token()
        try:
            coming = self.coordinator.undelete(name, request, "y")
        except WriteInProgress:
            assert any(other.conditional for other in self.opened(name))
        except PreconditionFailed as refused:
            assert refused.found == self.visible(name).generation  # noqa: PT017 - of several that may come
        except ObjectNotFound:
            assert newest is None or newest.purge_ms <= self.now_ms
        else:
            again = self.coordinator.undelete(name, request, "y")
            assert (again.ticket.generation, again.entry) == (coming.ticket.generation, coming.entry)
            hidden = max(
                (past for past in self.past[name] if past.record.kind == "put"), key=lambda past: past.generation
            )
            generation = coming.ticket.generation
            assert coming.entry.record == replace(hidden.record, generation=generation)
            intent = Intent(request, "undelete", name, "", 0, 0, 0, 1, coming.entry.layout, "y")
            self.open[request] = Open(intent, generation, coming.entry.record, tuple(filter(None, intent.layout)))

    @initialize()
    def not_empty(self):
        for pick, name in enumerate(NAMES):
            self.put_at_once(name, pick)

    def at_once(self, begin, *given):
        """A whole write, so that histories of many are tried too."""
        before = set(self.open)
        begin(*given)
        for write_id in set(self.open) - before:
            self.commit_now(self.open[write_id])

    @rule(name=names, pick=picks)
    def put_at_once(self, name, pick):
        self.at_once(self.open_put, name, "", pick, "x")

    @precondition(lambda self: self.there())
    @rule(pick=picks, grace_ms=st.sampled_from([0, 500_000]))
    def delete_at_once(self, pick, grace_ms):
        self.at_once(self.open_delete, self.some(NAMES, self.visible, pick), "", grace_ms)

    @precondition(lambda self: self.coordinator.list_objects(deleted=True))
    @rule(pick=picks)
    def undelete_at_once(self, pick):
        deleted = self.coordinator.list_objects(deleted=True)
        self.at_once(self.open_undelete, deleted[pick % len(deleted)].record.name)

    @precondition(lambda self: self.coordinator.list_objects())
    @rule(index=st.integers(0, N - 1), pick=picks)
    def move_at_once(self, index, pick):
        before = set(self.moves)
        self.open_move(self.some(NAMES, self.visible, pick), index, pick)
        for key in set(self.moves) - before:
            self.end_move(list(self.moves).index(key), True)

    def some(self, names, holds, pick):
        """One of the names of which something holds, or any."""
        found = [name for name in names if holds(name)] or names
        return found[pick % len(found)]

    @precondition(lambda self: self.open)
    @rule(pick=picks, some=st.booleans())
    def record(self, pick, some):
        write = list(self.open.values())[pick % len(self.open)]
        if write.intent.kind == "put" or not some:  # of the others, what was begun is carried on
            for uuid in [uuid for uuid in write.layout if uuid][: 1 if some else N]:
                self.stores[uuid].record(write.record)
            write.recorded = True

    @precondition(lambda self: any(write.recorded for write in self.open.values()))
    @rule(pick=picks)
    def commit(self, pick):
        ready = [write for write in self.open.values() if write.recorded]
        self.commit_now(ready[pick % len(ready)])

    def commit_now(self, write):
        for uuid in filter(None, write.layout):
            self.stores[uuid].record(write.record)
        given = Commit(
            *(write.intent.write_id, write.record.size, write.record.sha256, write.layout, write.record.created_ms)
        )
        [entry] = self.coordinator.commit_writes([given])
        assert entry.record == write.record
        assert self.coordinator.commit_writes([given]) == [entry]
        [ticket] = self.coordinator.open_writes([write.intent])
        assert ticket.generation == write.generation
        self.past[write.intent.name].append(Past(write.generation, write.record, entry.purge_ms))
        del self.open[write.intent.write_id]

    @precondition(lambda self: self.open)
    @rule(pick=picks)
    def abort(self, pick):
        write = list(self.open.values())[pick % len(self.open)]
        if write.intent.kind == "put" or not write.recorded:
            self.abort_now(write)

    def abort_now(self, write):
        write_id = write.intent.write_id
        assert self.coordinator.abort_writes([write_id]) == [True]
        assert self.coordinator.abort_writes([write_id]) == [True]
        given = Commit(write_id, 0, bytes(32), write.layout, 0)
        assert isinstance(self.coordinator.commit_writes([given])[0], WriteAborted)
        self.aborted[write_id] = self.open.pop(write_id)

    @precondition(lambda self: self.open)
    @rule(driver=st.sampled_from("xy"))
    def renew(self, driver):
        mine = [write.intent.write_id for write in self.open.values() if write.intent.driver == driver]
        self.coordinator.renew_writes([*mine, b"nobody's"])
        self.clock.ms += 59_999
        assert not {late.write_id for late in self.coordinator.unresolved()} & {*mine}
        self.clock.ms += 1
        assert {late.write_id for late in self.coordinator.unresolved()} >= {*mine}
        self.clock.ms -= 60_000

    @precondition(lambda self: self.open)
    @rule()
    def resolve(self):
        """As the caretaker does."""
        for late in self.coordinator.unresolved():
            write = self.open[late.write_id]
            assert (late.kind, late.name, late.generation) == (
                *(write.intent.kind, write.intent.name, write.generation),
            )
            assert set(filter(None, write.layout)) <= set(late.stores)
            stores = [self.stores[uuid] for uuid in late.stores]
            if late.kind == "undelete":
                assert late.record == write.record
            if late.kind != "put" or any(store.held(late.write_id)[1] for store in stores):
                self.commit_now(write)
            elif not any(store.silent for store in stores):
                self.abort_now(write)

    # -- Upkeep

    @rule(seconds=st.sampled_from([1, 50, 70, 600]))
    def wait(self, seconds):
        self.clock.ms += seconds * 1000

    @rule(pick=picks)
    def falls_silent_or_comes_back(self, pick):
        store = self.stores[f"store-{pick % len(self.stores)}"]
        store.silent = not store.silent

    @rule(limit=st.sampled_from([1, 100]))
    def collect(self, limit):
        items = self.coordinator.garbage(limit)
        done = [item for item in items if not self.stores[item.store].silent]
        for item in done:
            self.stores[item.store].let_go(item)
        self.coordinator.collected(done)
        self.coordinator.collected(done)
        if not self.coordinator.tally().aborting:
            self.aborted.clear()

    @precondition(lambda self: self.coordinator.list_objects())
    @rule(name=names, index=st.integers(0, N - 1), pick=picks)
    def open_move(self, name, index, pick):
        entry = self.coordinator.lookup([name])[0]
        if entry is None:
            return
        source, target = entry.layout[index], f"store-{pick % len(self.stores)}"
        move = ShardMove(entry.record.write_id, index, source, target)
        [answer] = self.coordinator.open_shard_moves([move])
        busy = self.moves.get((move.write_id, index))
        if busy == move or not isinstance(answer, WriteInProgress):
            assert answer == entry
            self.moves[move.write_id, index] = move
        else:
            assert busy is not None or any(
                item.store == target and item.write_id == move.write_id for item in self.coordinator.garbage(1000)
            )

    @precondition(lambda self: self.moves)
    @rule(pick=picks, commit=st.booleans())
    def end_move(self, pick, commit):
        key = list(self.moves)[pick % len(self.moves)]
        move = self.moves.pop(key)
        entry = self.coordinator.entries([move.write_id])[0]
        if commit and entry is not None:
            target = self.stores[move.target]
            [generation, *_] = [
                header[0] for store in self.stores.values() for (of, _), header in store.shards.items() if of == key[0]
            ]
            target.write(*key, generation, entry.record.object_id)
            for record in entry.records:
                target.record(record)
            [moved] = self.coordinator.commit_shard_moves([move])
            assert moved.layout[move.index] == move.target
            assert moved.layout_version == entry.layout_version + 1
            assert self.coordinator.commit_shard_moves([move]) == [moved]
            return
        self.coordinator.abort_shard_moves([move])
        [answer] = self.coordinator.commit_shard_moves([move])
        if entry is None:
            assert isinstance(answer, ObjectNotFound)
        else:
            assert answer == entry if move.target == move.source else isinstance(answer, StaleEpoch)

    @precondition(lambda self: self.durable)
    @rule(clean=st.booleans())
    def restart(self, clean):
        if clean:
            self.coordinator.close()
        else:
            self.coordinator._ledger.catalog.home.close()  # as the kernel does for a process that is gone
        self.coordinator = by_hand(Coordinator("s", self.durable, self.root, bytes(16)), self.clock)

    @precondition(lambda self: not self.open and not self.aborted and not self.moves and self.there())
    @rule()
    def lose_the_catalog(self):
        """The stores alone are enough."""
        before, settled = self.there(), not self.coordinator.tally().garbage
        self.coordinator.close()
        shutil.rmtree(self.root, ignore_errors=True)
        self.coordinator = by_hand(Coordinator("s", self.durable, self.root, bytes(16)), self.clock)
        found = rebuilt(self.coordinator, list(self.stores.values()))
        assert found.epoch > max(
            (past.generation >> 32 for history in self.past.values() for past in history), default=0
        )
        assert self.coordinator.fence().catalog == b"catalog-of-tests"
        assert (found.orphans, found.lost, found.unreadable, found.foreign) == ((), (), 0, ())
        assert found.objects == sum(self.visible(name) is not None for name in NAMES)
        after = {entry.record.generation: entry for entry in self.there()}
        for entry in before:
            anew = after[entry.record.generation]
            assert (anew.record, anew.deleted_ms) == (entry.record, entry.deleted_ms)
            assert anew.layout == entry.layout or not settled, "only a copy still to be dropped may be taken for it"

    def there(self):
        """Every object, and every one that may come back."""
        return [*self.coordinator.list_objects(), *self.coordinator.list_objects(deleted=True)]

    # -- What holds

    @invariant()
    def the_newest_committed_generation_is_read(self):
        expected = [self.visible(name) for name in NAMES]
        assert [entry and entry.record for entry in self.coordinator.lookup(NAMES)] == expected
        there = sorted((record for record in expected if record), key=lambda record: record.name.encode())
        assert [entry.record for entry in self.coordinator.list_objects()] == there
        within = [record for record in there if record.name.startswith("a")]
        assert [entry.record for entry in self.coordinator.list_objects("a", "a")] == [
            record for record in within if record.name > "a"
        ]
        assert self.coordinator.tally().objects == len(there)

    @invariant()
    def what_is_read_or_may_come_back_has_its_shards_and_records(self):
        entries = [*self.coordinator.lookup(NAMES), *map(self.in_grace, NAMES, self.hidden())]
        for entry in filter(None, entries):
            stores = {uuid for uuid in entry.layout if uuid}
            for index, uuid in enumerate(entry.layout):
                assert not uuid or (entry.record.write_id, index) in self.stores[uuid].shards
            assert sum(map(bool, entry.layout)) >= K
            assert any(entry.record.pack() in self.stores[uuid].records.values() for uuid in stores)
            assert self.coordinator.entries([entry.record.write_id]) == [entry]

    @invariant()
    def the_newest_record_on_any_store_says_the_same(self):
        """Also on those that are silent, and may be all that is left."""
        busy = {write.intent.name for write in (*self.open.values(), *self.aborted.values())}
        records = [Record.unpack(raw) for store in self.stores.values() for raw in store.records.values()]
        for name in set(NAMES) - busy:
            newest = max(
                (each for each in records if each.name == name), key=lambda each: each.generation, default=None
            )
            assert (newest if newest and newest.kind == "put" else None) == self.visible(name)

    @invariant()
    def what_was_deleted_can_come_back_for_a_while(self):
        for name, hidden in zip(NAMES, self.hidden(), strict=True):
            newest = self.newest(name)
            if newest is None or newest.record.kind == "put":
                assert hidden is None
            elif newest.purge_ms > self.now_ms:
                assert hidden is not None

    def in_grace(self, name, hidden):
        """What was deleted for as long as it must be kept: afterwards it goes store by store, silent ones last."""
        newest = self.newest(name)
        return hidden if newest is not None and (newest.purge_ms or 0) > self.now_ms else None

    def hidden(self):
        """What an undeletion would bring back, by name."""
        entries = self.coordinator._objects().entries
        return [entries.deleted(name.encode()) for name in NAMES]

    @invariant()
    def each_store_is_known_by_its_shards(self):
        entries = [*self.coordinator.lookup(NAMES), *self.hidden()]
        for uuid in self.stores:
            expected = [entry for entry in entries if entry is not None and uuid in entry.layout]
            found, after = [], 0
            while True:
                page, after = self.coordinator.by_store(uuid, after, 1)
                found += page
                if not after:
                    break
            key = lambda entry: entry.record.name  # noqa: E731
            assert sorted(found, key=key) == sorted(expected, key=key)
            shards = list(self.stores[uuid].shards)
            for (write_id, index), whose in zip(shards, self.coordinator.whose(uuid, shards), strict=True):
                live = any(entry.record.write_id == write_id and entry.layout[index] == uuid for entry in expected)
                assert not live or whose == "live"
                assert whose or (write_id, index) in self.moves or write_id in self.aborted

    def everything_that_is_not_read_goes(self):
        for move in self.moves.values():
            self.coordinator.abort_shard_moves([move])
        for write in list(self.open.values()):
            self.commit_now(write) if write.recorded else self.abort_now(write)
        for store in self.stores.values():
            store.silent = False
        self.clock.ms += 2 * DAY_MS
        while self.coordinator.garbage(1000):  # a tombstone goes when what is older has gone
            self.collect(1000)
            self.clock.ms += DAY_MS
        self.the_newest_committed_generation_is_read()
        assert self.coordinator.garbage(1000) == []
        tally = self.coordinator.tally()
        assert (tally.deleted, tally.open_writes, tally.aborting, tally.garbage, tally.moves) == (0, 0, 0, 0, 0)
        entries = [entry for entry in self.coordinator.lookup(NAMES) if entry is not None]
        live = {entry.record.write_id for entry in entries}
        for uuid, store in self.stores.items():
            assert set(store.shards) == {
                (entry.record.write_id, index)
                for entry in entries
                for index, each in enumerate(entry.layout)
                if each == uuid
            }
            records = [Record.unpack(raw) for raw in store.records.values()]
            assert {record.write_id for record in records if record.kind == "put"} <= live
            # The tombstone below an undeletion stays, since what it hid is there again.
            assert all(self.coordinator.keeps(uuid, [record.generation for record in records]))
        rows = self.coordinator._ledger.catalog.all("SELECT COUNT(*) FROM generations WHERE state <> 'superseded'")
        assert rows == [(len(entries),)]


class InMemory(CatalogMachine):
    durable = False


CatalogMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=50)
InMemory.TestCase.settings = settings(max_examples=10, stateful_step_count=25)
test_catalog_against_dicts = CatalogMachine.TestCase
test_catalog_in_memory_against_dicts = InMemory.TestCase
