"""The catalog of objects, verb by verb, where one example says it: stores, damage, moves, a lost catalog."""

from dataclasses import replace

import pytest
from hand_clock import at, by_hand
from naive.object_stores import NaiveStore, rebuilt

from faultset_ray.coordinator.objects import Commit, Damage, Intent, Lost, Orphan, ShardMove, Twice, Unfinished
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.errors import CatalogLost, InputError, ObjectNotFound, StaleEpoch, StoreInUse, WriteInProgress
from faultset_ray.objects.entry import RetiredStores
from faultset_ray.objects.record import Record, object_id
from faultset_ray.objects.store_values import StoreInfo

STORES = tuple(f"s{number}" for number in range(6))
LAYOUT = STORES[:4]


@pytest.fixture
def coordinator():
    served = by_hand(Coordinator("s", identity=b"a" * 16))
    yield served
    served.close()


def intent(number, name="name", kind="put", **more):
    return Intent(bytes([number]) * 16, kind, name, "rs:2+2", 2, 4, 64, 1, LAYOUT, "d", **more)


def commit(number, layout=LAYOUT):
    return Commit(bytes([number]) * 16, 10, bytes(32), layout, 5)


def put(coordinator, number, name="name", layout=LAYOUT):
    [ticket] = coordinator.open_writes([intent(number, name)])
    [entry] = coordinator.commit_writes([commit(number, layout)])
    assert entry.record.generation == ticket.generation
    return entry


def info(uuid, place="p", catalog=b"a" * 16):
    return StoreInfo(uuid, place, "r", "fsync", "/there", 5, 50, catalog=catalog.hex(), epoch=1, used_bytes=7, shards=2)


def test_generations_follow_the_epoch(tmp_path):
    first = by_hand(Coordinator("s", True, str(tmp_path)))
    one = put(first, 1)
    first.close()
    second = by_hand(Coordinator("s", True, str(tmp_path)))
    two = put(second, 2)
    assert (one.record.generation, two.record.generation) == (1 << 32 | 1, 2 << 32 | 1)
    assert first._identity is None
    assert (second.fence().epoch, len(second.fence().catalog)) == (2, 16)
    [again] = second.open_writes([intent(1)])
    assert (again.generation, again.fence) == (one.record.generation, second.fence()), "an old write, today's fence"


def test_stores_are_known_by_what_they_said_last(coordinator):
    rows = at(coordinator, 100).stores_seen([info("x"), info("y", catalog=b"")])
    assert list(rows) == ["x", "y"]
    assert (rows["x"].place, rows["x"].path, rows["x"].state, rows["x"].unseen_s) == ("p", "/there", "active", 0)
    assert (rows["x"].capacity_bytes, rows["x"].used_bytes, rows["x"].free_bytes, rows["x"].shards) == (50, 7, 5, 2)
    rows = at(coordinator, 600).stores_seen([info("x", "q")])
    assert (rows["x"].place, rows["x"].unseen_s, rows["y"].unseen_s) == ("q", 0, 0.5)
    put(coordinator, 1)
    assert set(coordinator.stores()) == {"x", "y", *LAYOUT}, "stores that a layout names are known too"
    assert "z" not in at(coordinator, 1).stores_seen([info("z", catalog=b"b" * 16)])


def test_states_of_stores(coordinator):
    coordinator.stores_seen([info("x")])
    coordinator.set_store_state("x", "draining")
    assert coordinator.stores_seen([info("x", "q")])["x"].state == "draining"
    coordinator.set_store_state("x", "retired")
    assert coordinator.stores_seen([info("x", "q")])["x"].state == "retired"
    assert coordinator.stores_seen([info("x", "p")])["x"].state == "returning", "another node took its directory up"
    coordinator.set_store_state("x", "active")
    assert coordinator.stores()["x"].state == "returning", "it has still to let go of what it had"
    coordinator.store_returned("x")
    assert coordinator.stores()["x"].state == "active"
    for uuid, state in (("nobody", "active"), ("x", "gone")):
        with pytest.raises(InputError):
            coordinator.set_store_state(uuid, state)


def test_records_are_kept_where_the_catalog_will_tell_when_to_forget_them(coordinator):
    entry = put(coordinator, 1)
    [slow, lost] = coordinator.open_writes([intent(2, "slow"), intent(3, "lost")])
    coordinator.abort_writes([b"\3" * 16])
    [gone] = coordinator.open_writes([intent(4, kind="delete")])
    coordinator.commit_writes([commit(4)])
    generations = [each.generation for each in (entry.record, slow, lost, gone)] + [77]
    assert coordinator.keeps("s0", generations) == [True, True, True, True, False]
    assert coordinator.keeps("s5", generations) == [False, True, False, False, False]


def test_the_list_of_retired_stores_grows_older_with_each_change(coordinator):
    coordinator.stores_seen([info("x"), info("y")])
    assert coordinator.retired_stores() is None
    entry = put(coordinator, 1)
    coordinator.set_store_state("x", "retired")
    first = coordinator.retired_stores()
    assert first.stores == {"x": entry.record.generation}
    assert coordinator.retired_stores(first.version) is None
    coordinator.set_store_state("y", "retired")
    coordinator.store_returned("x")
    last = coordinator.retired_stores(first.version)
    assert (last.stores, last.version - first.version) == ({"y": entry.record.generation}, 2)
    assert RetiredStores.unpack(last.pack()) == last


def test_nothing_is_waited_for_of_a_retired_store(coordinator):
    old = put(coordinator, 1)
    put(coordinator, 2)
    late = 10**9
    items = at(coordinator, late).garbage(10)
    assert {item.store for item in items} == set(LAYOUT)
    called = (old.record.object_id, old.record.generation)
    assert {(item.write_id, item.index, item.records) for item in items} == {(b"\1" * 16, None, (called,))}
    coordinator.collected([item for item in items if item.store != "s3"])
    assert [item.store for item in at(coordinator, late).garbage(10)] == ["s3"]
    with pytest.raises(StoreInUse):
        coordinator.set_store_state("s3", "retired")
    move = ShardMove(b"\2" * 16, 3, "s3", "s4")
    coordinator.open_shard_moves([move])
    with pytest.raises(StoreInUse):
        coordinator.set_store_state("s4", "retired")
    coordinator.commit_shard_moves([move])
    coordinator.set_store_state("s3", "retired")
    assert at(coordinator, late).garbage(10) == []
    assert coordinator._ledger.catalog.all("SELECT generation FROM generations") == [(1 << 32 | 2,)]
    put(coordinator, 3)
    assert {item.store for item in at(coordinator, 2 * late).garbage(10)} == {*LAYOUT[:3], "s4"}


def test_a_store_that_an_open_write_names_is_not_let_go(coordinator):
    coordinator.open_writes([intent(1)])
    with pytest.raises(StoreInUse) as caught:
        coordinator.set_store_state("s0", "retired")
    assert (caught.value.store, caught.value.name) == ("s0", "name")
    coordinator.abort_writes([b"\1" * 16])
    coordinator.set_store_state("s0", "retired")


def test_a_store_that_was_to_have_a_shard_drops_it(coordinator):
    entry = put(coordinator, 1, layout=("s0", "s1", "s4", ""))
    assert entry.layout == ("s0", "s1", "s4", "")
    items = coordinator.garbage(10)
    record = ((entry.record.object_id, entry.record.generation),)
    assert [(item.store, item.write_id, item.index, item.records) for item in items] == [
        ("s2", b"\1" * 16, 2, record),
        ("s3", b"\1" * 16, 3, record),
    ]
    assert coordinator.whose("s2", [(b"\1" * 16, 2), (b"\1" * 16, 1), (b"\7" * 16, 0)]) == ["garbage", "garbage", ""]
    assert coordinator.whose("s1", [(b"\1" * 16, 1), (b"\1" * 16, 0)]) == ["live", "surplus"]


def test_damage_is_noted_once_and_only_where_the_shard_is(coordinator):
    put(coordinator, 1, layout=("s0", "s1", "s2", ""))
    damage = [
        Damage(b"\1" * 16, 0, "s0", "granule 3"),
        Damage(b"\1" * 16, 0, "s5", "elsewhere"),
        Damage(b"\1" * 16, 9, "s0", "no such shard"),
        Damage(b"\1" * 16, 3, "", "was never written"),
        Damage(b"\7" * 16, 0, "s0", "no such write"),
    ]
    assert at(coordinator, 10).report_damage(damage) == 2
    assert at(coordinator, 20).report_damage([replace(damage[0], reason="again")]) == 1
    unwritten = replace(damage[3], reason="it was not written")
    assert coordinator.damage(10) == [unwritten, damage[0]], "known from the commit on"
    assert (coordinator.tally().damage, coordinator.tally().oldest_damage_ms) == (2, 5), "since it was written"
    coordinator.damage_settled([damage[0]])
    [move] = [ShardMove(b"\1" * 16, 3, "", "s5")]
    coordinator.open_shard_moves([move])
    coordinator.commit_shard_moves([move])
    assert coordinator.damage(10) == []


def test_moves(coordinator):
    entry = put(coordinator, 1)
    move = ShardMove(b"\1" * 16, 1, "s1", "s5")
    other = replace(move, target="s4")
    wrong = [replace(move, source="s2"), replace(move, target=""), replace(move, index=4), replace(move, write_id=b"")]
    answers = coordinator.open_shard_moves([move, other, *wrong])
    assert answers[0] == entry
    assert [type(answer) for answer in answers[1:]] == [
        *(WriteInProgress, StaleEpoch, InputError, InputError, ObjectNotFound),
    ]
    assert coordinator.shard_moves() == [move]
    assert (coordinator.shard_moves(0), coordinator.shard_moves(1)) == ([move], [])
    assert coordinator.whose("s5", [(b"\1" * 16, 1)]) == ["open"]
    [moved] = coordinator.commit_shard_moves([move])
    assert (moved.layout, moved.layout_version) == (("s0", "s5", "s2", "s3"), 1)
    [item] = coordinator.garbage(10)
    assert (item.store, item.index) == ("s1", 1)
    back = ShardMove(b"\1" * 16, 1, "s5", "s1")
    assert isinstance(coordinator.open_shard_moves([back])[0], WriteInProgress), "it may be about to drop it"
    coordinator.collected([item])
    assert coordinator.open_shard_moves([back]) == [moved]
    coordinator.abort_shard_moves([back])
    assert [item.store for item in coordinator.garbage(10)] == ["s1"]
    assert isinstance(coordinator.commit_shard_moves([back])[0], StaleEpoch)
    coordinator.set_store_state("s4", "draining")
    assert isinstance(coordinator.open_shard_moves([replace(back, target="s4")])[0], InputError)


def test_of_two_moves_planned_with_one_layout_the_first_counts(coordinator):
    """Together they would bring two shards to one store, and the object would bear less than was promised."""
    entry = put(coordinator, 1)
    first, second = (ShardMove(b"\1" * 16, at, f"s{at}", "s5", entry.layout_version) for at in (1, 2))
    assert coordinator.open_shard_moves([first, second]) == [entry, entry]
    [moved] = coordinator.commit_shard_moves([first])
    assert coordinator.commit_shard_moves([first]) == [moved], "asked again"
    assert isinstance(coordinator.commit_shard_moves([second])[0], StaleEpoch)
    coordinator.abort_shard_moves([second])
    assert isinstance(coordinator.open_shard_moves([second])[0], StaleEpoch)
    assert coordinator.shard_moves() == []
    assert ("s5", 2) in {(item.store, item.index) for item in coordinator.garbage(10)}


def test_a_shard_beside_another_keeps_the_record(coordinator):
    put(coordinator, 1, layout=("s0", "s0", "s2", "s3"))
    move = ShardMove(b"\1" * 16, 1, "s0", "s5")
    coordinator.open_shard_moves([move])
    coordinator.commit_shard_moves([move])
    found = {(item.store, item.index): item.records for item in coordinator.garbage(10)}
    assert found["s0", 1] == ()
    assert found["s1", 1] != (), "which was to have the shard at first, and has no other"


def test_a_shard_on_its_way_beside_another_keeps_the_record(coordinator):
    entry = put(coordinator, 1)
    first, second = (ShardMove(b"\1" * 16, at, f"s{at}", "s5", entry.layout_version) for at in (1, 2))
    coordinator.open_shard_moves([first, second])
    coordinator.abort_shard_moves([first])
    [garbage] = coordinator.garbage(10)
    assert (garbage.store, garbage.index, garbage.records) == ("s5", 1, ())
    [moved] = coordinator.commit_shard_moves([second])
    assert moved.layout == ("s0", "s1", "s5", "s3"), "the record of this one is there"

    coordinator.collected(coordinator.garbage(10))
    again = ShardMove(b"\1" * 16, 1, "s1", "s4", moved.layout_version)
    coordinator.open_shard_moves([again])
    coordinator.abort_shard_moves([again])
    [garbage] = coordinator.garbage(10)
    assert (garbage.store, [generation for _, generation in garbage.records]) == ("s4", [entry.record.generation])


def test_a_tombstone_waits_for_what_is_older(coordinator):
    put(coordinator, 1)
    [slow] = coordinator.open_writes([intent(2)])
    coordinator.open_writes([intent(3, kind="delete", grace_ms=0)])
    [gone] = coordinator.commit_writes([commit(3)])
    late = 10**9
    coordinator.collected(at(coordinator, late).garbage(10))
    assert at(coordinator, late).garbage(10) == [], "the tombstone stays, as a write from before it is open"
    assert coordinator._objects().entries.deleted(b"name") is None
    [hidden] = at(coordinator, late).commit_writes([commit(2)])
    assert hidden.record.generation == slow.generation < gone.record.generation
    assert coordinator.lookup(["name"]) == [None]
    later = late + 10**9
    coordinator.collected(at(coordinator, later).garbage(10))
    [*items] = at(coordinator, later).garbage(10)
    assert {item.records for item in items} == {((gone.record.object_id, gone.record.generation),)}
    assert {item.write_id for item in items} == {b""}
    coordinator.collected(items)
    assert coordinator._ledger.catalog.one("SELECT COUNT(*) FROM generations") == (0,)


def test_the_grace_of_a_deletion_is_not_cut_short_by_older_garbage(coordinator):
    put(coordinator, 1)
    newer = put(coordinator, 2)
    coordinator.open_writes([intent(3, kind="delete", grace_ms=10**6)])
    coordinator.commit_writes([commit(3)])
    coordinator.collected(at(coordinator, 10**5).garbage(10))
    hidden = coordinator._objects().entries.deleted(b"name")
    assert (hidden.record, hidden.purge_ms) == (newer.record, 10**6)
    assert at(coordinator, 10**5).undelete("name", b"\4" * 16, "d").entry.record.write_id == newer.record.write_id


def test_what_is_coming_back_or_moving_is_not_dropped(coordinator):
    entry = put(coordinator, 1)
    coordinator.open_writes([intent(2, kind="delete", grace_ms=0)])
    coordinator.commit_writes([commit(2)])
    coming = at(coordinator, 59_000).undelete("name", b"\3" * 16, "d")
    late = 10**9
    assert at(coordinator, late).garbage(10) == []
    assert coordinator._objects().entries.deleted(b"name") is None, "its time is over, for those who ask now"
    [back] = at(coordinator, late).commit_writes([commit(3)])
    assert back == coming.entry
    assert back.record == replace(entry.record, generation=coming.ticket.generation)
    move = ShardMove(b"\1" * 16, 0, "s0", "s5")
    assert coordinator.open_shard_moves([move]) == [back]
    at(coordinator, late).open_writes([intent(4, kind="delete", grace_ms=0)])
    at(coordinator, late).commit_writes([commit(4)])
    assert at(coordinator, 2 * late).garbage(10) == [], "a shard is being moved still"
    coordinator.abort_shard_moves([move])
    assert {item.store for item in at(coordinator, 2 * late).garbage(10)} == {*LAYOUT, "s5"}
    assert isinstance(coordinator.commit_shard_moves([move])[0], ObjectNotFound)
    drops = at(coordinator, 2 * late).garbage(10)
    generations = {(entry.record.object_id, each.record.generation) for each in (entry, back)}
    assert {(item.write_id, item.index, frozenset(item.records)) for item in drops} == {
        (b"\1" * 16, None, frozenset(generations))
    }


def test_notes(coordinator):
    assert coordinator.note("scrub") == b""
    coordinator.set_note("scrub", b"\0x")
    assert coordinator.note("scrub") == b"\0x"


def test_a_lost_catalog_is_told_and_never_taken_for_an_empty_one(coordinator):
    with pytest.raises(CatalogLost) as caught:
        coordinator.stores_seen([info("x", catalog=b"b" * 16), info("y")])
    assert (caught.value.system, caught.value.stores) == ("s", ["x"])
    for ask in (
        lambda: coordinator.lookup(["name"]),
        lambda: coordinator.open_writes([intent(1)]),
        coordinator.fence,
        coordinator.stores,
    ):
        with pytest.raises(CatalogLost):
            ask()
    coordinator.rebuild_begin([info("x", catalog=b"b" * 16)])
    assert coordinator.rebuild_end().catalog == (b"b" * 16).hex()
    assert coordinator.lookup(["name"]) == [None]
    assert coordinator.fence().catalog == b"b" * 16


def test_a_catalog_that_became_empty_is_not_lost(coordinator):
    put(coordinator, 1)
    coordinator.open_writes([intent(2, kind="delete", grace_ms=0)])
    coordinator.commit_writes([commit(2)])
    for _ in range(2):
        coordinator.collected(at(coordinator, 10**9).garbage(10))
    assert coordinator._ledger.catalog.one("SELECT COUNT(*) FROM generations") == (0,)
    assert "x" not in coordinator.stores_seen([info("x", catalog=b"b" * 16)])
    assert coordinator.lookup(["name"]) == [None]


def test_a_rebuild_is_refused_where_there_are_objects(coordinator):
    with pytest.raises(StaleEpoch):
        coordinator.rebuild_end()
    put(coordinator, 1)
    with pytest.raises(InputError, match="is not lost"):
        coordinator.rebuild_begin([])


def stored(*writes):
    """Stores with writes: name, number, generation, indices, and whether they are recorded."""
    stores = {uuid: NaiveStore(uuid, b"c" * 16) for uuid in LAYOUT}
    for name, number, generation, indices, recorded in writes:
        write_id = bytes([number]) * 16
        record = Record("put", name, generation, write_id, 10, bytes(32), "rs:2+2", 2, 4, 64, 1, 5, "fsync")
        for index in indices:
            stores[LAYOUT[index]].write(write_id, index, generation, object_id(name))
            if recorded:
                stores[LAYOUT[index]].record(record)
    return stores


def test_what_a_rebuild_tells(coordinator):
    high = 7 << 32 | 3
    stores = stored(("whole", 1, 5, range(4), True), ("lost", 2, high, [1], True), ("never", 3, 9, [0, 2], False))
    stores["s2"].faults[b"\1" * 16, 2] = "no trailer"
    stores["s3"].records[b"", 0] = b"\x89FSRREC\nrubbish"
    stores["s0"].write(b"\1" * 16, 1, 5, object_id("whole"))
    foreign = NaiveStore("other", b"d" * 16)
    foreign.write(b"\1" * 16, 0, 5, object_id("whole"))
    found = rebuilt(coordinator, [*stores.values(), foreign], 100)
    assert (found.catalog, found.epoch, found.foreign) == ((b"c" * 16).hex(), 8, ("other",))
    assert (found.objects, found.deleted, found.unreadable) == (2, 0, 1)
    assert found.lost == (Lost("lost", high, 1, 2),)
    assert found.orphans == tuple(
        Orphan(LAYOUT[index], b"\3" * 16, index, 9, object_id("never"), 100) for index in (0, 2)
    )
    assert found.garbage == 1, "shard 1 is there twice"
    assert found.damage == 1 + 3
    whole, lost = coordinator.lookup(["whole", "lost"])
    assert whole.layout == LAYOUT, "where it is beside no other shard of the write"
    assert lost.layout == ("", "s1", "", "")
    assert [(item.store, item.index, item.records) for item in coordinator.garbage(10)] == [("s0", 1, ())]
    [ticket] = coordinator.open_writes([intent(9)])
    assert ticket.generation == 8 << 32 | 1


def test_what_is_being_dropped_under_a_tombstone_is_not_lost(coordinator):
    stores = stored(("name", 1, 5, [1], True))
    stores["s0"].record(Record("delete", "name", 6, b"\2" * 16, 0, bytes(32), "", 0, 0, 0, 1, 5, "fsync"))
    found = rebuilt(coordinator, list(stores.values()))
    assert (found.objects, found.deleted, found.lost, found.damage) == (0, 0, (), 0)
    late = 10**12
    [item] = at(coordinator, late).garbage(10)
    assert (item.store, item.write_id, item.index) == ("s1", b"\1" * 16, None)
    coordinator.collected([item])
    [item] = at(coordinator, late).garbage(10)
    assert (item.store, item.write_id, item.records) == ("s0", b"", ((object_id("name"), 6),))
    coordinator.collected([item])
    assert coordinator._ledger.catalog.one("SELECT COUNT(*) FROM generations") == (0,)


def test_a_record_that_was_left_behind_is_forgotten_unless_it_is_all_there_is(coordinator):
    """A shard that moved away leaves its record for a while; of a lost object every record counts."""
    stores = stored(("name", 1, 5, range(3), True), ("lost", 2, 6, [0], True))
    stores["s3"].records |= stores["s0"].records
    assert [lost.name for lost in rebuilt(coordinator, list(stores.values())).lost] == ["lost"]
    assert [(item.store, item.write_id, item.records) for item in coordinator.garbage(10)] == [
        ("s3", b"\1" * 16, ((object_id("name"), 5),))
    ]


def test_headers_that_contradict_each_other_mix_nothing_up(coordinator):
    """No coordinator gives one generation to two writes; what a header says is not worth an object."""
    stores = stored(("one", 1, 5, range(4), True), ("two", 2, 9, range(4), True), ("three", 3, 11, range(4), True))
    for number in (2, 3):
        stores["s0"].write(bytes([number]) * 16, 0, 5, object_id("two"))
        stores["s1"].write(bytes([number]) * 16, 1, 4, object_id("two"))
    assert rebuilt(coordinator, list(stores.values())).lost == ()
    found = coordinator.lookup(["one", "two", "three"])
    assert [(entry.record.generation, entry.record.write_id[0], entry.layout) for entry in found] == [
        (5, 1, LAYOUT),
        (9, 2, LAYOUT),
        (11, 3, LAYOUT),
    ]


def test_older_generations_of_a_lost_object_stay(coordinator):
    stores = stored(("name", 1, 5, range(4), True), ("name", 2, 6, [1], True))
    for uuid in ("s0", "s2"):  # more than may be lost: it was acknowledged
        stores[uuid].records |= {key: raw for key, raw in stores["s1"].records.items() if key[1] == 6}
    assert [lost.generation for lost in rebuilt(coordinator, list(stores.values())).lost] == [6]
    assert at(coordinator, 10**12).garbage(10) == [], "whoever looks into it may want them"
    assert coordinator.lookup(["name"])[0].record.generation == 6, "old bytes are never given out for new ones"


def test_what_was_never_acknowledged_hides_nothing(coordinator):
    stores = stored(("name", 1, 5, range(4), True), ("name", 2, 6, [1], True), ("name", 3, 7, [2], True))
    found = rebuilt(coordinator, list(stores.values()))
    assert (found.objects, found.lost, found.damage) == (1, (), 0)
    assert found.unfinished == (Unfinished("name", 7, 1, 1, 2, 5), Unfinished("name", 6, 1, 1, 2, 5))
    assert coordinator.lookup(["name"])[0].record.generation == 5
    assert at(coordinator, 10**12).garbage(10) == []


def test_two_writes_of_one_generation_are_named(coordinator):
    stores = stored(("one", 1, 5, range(4), True), ("two", 2, 5, range(4), True))
    assert rebuilt(coordinator, list(stores.values())).twice == (Twice(5, "one", "two", b"\2" * 16),)


def test_stores_in_any_order_make_the_same_catalog():
    stores = list(stored(*((f"n{number}", number, number, range(4), True) for number in range(1, 60))).values())
    dumps = []
    for order in (stores, stores[::-1]):
        coordinator = by_hand(Coordinator("s", identity=b"a" * 16))
        coordinator.stores_seen([store.info() for store in stores if not store.catalog])
        rebuilt(coordinator, order, page=13)
        dumps.append(coordinator.list_objects())
        coordinator.close()
    assert dumps[0] == dumps[1]
    assert len(dumps[0]) == 59


def test_what_can_not_be_written_is_refused():
    coordinator = Coordinator("s", identity=bytes(16))
    good = Intent(bytes(16), "put", "a", "rs:2+2", 2, 4, 64, 1, ("x", "y", "z", ""), "d")
    bad = [replace(good, name="\ud800"), replace(good, name=""), replace(good, k=5), replace(good, layout=("x",))]
    bad += [replace(good, kind="undelete"), replace(good, write_id=b"short")]
    answers = coordinator.open_writes([*bad, good])
    assert all(isinstance(answer, InputError) for answer in answers[:-1])
    assert answers[-1].generation == (1 << 32) + 1
    [answer] = coordinator.commit_writes([Commit(bytes(16), 1, bytes(32), ("x", "", "", ""), 0)])
    assert "with 1 shards" in str(answer)
    for wrong in ({"size": -1}, {"size": 1 << 49}, {"sha256": b""}):
        given = replace(Commit(bytes(16), 1, bytes(32), good.layout, 0), **wrong)
        assert isinstance(coordinator.commit_writes([given])[0], InputError)
    with pytest.raises(InputError):
        coordinator.lookup(["\ud800"])
