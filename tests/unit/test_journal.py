"""The journal and checkpoints: no event twice, none left out, and a gap is told."""

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faultset_ray.control.alarms import Alarms
from faultset_ray.control.checkpoint import Checkpoint, divided, folded, newest_rows, since_of
from faultset_ray.control.health import Health
from faultset_ray.control.journal import Events, Journal
from faultset_ray.control.messages import Members
from faultset_ray.control.passage import Passage, Rows, Taken
from faultset_ray.control.states import Mark, Rule, State
from faultset_ray.errors import HistoryLost
from faultset_ray.policy import Policy


def events(first: int, count: int) -> Events:
    version = np.arange(first, first + count, dtype=np.int64)
    numbers = version.astype(np.float64)
    byte = (version % 5).astype(np.uint8)
    flag = version % 2 == 0
    mark = (version % 3).astype(np.uint8)
    return Events(
        version,
        version * 10,
        version.astype(np.uint32),
        byte,
        byte,
        byte,
        numbers,
        numbers,
        flag,
        ~flag,
        mark,
        version.astype(np.uint64) * 7,
    )


def home(handles: range, shift: int = 0) -> Health:
    """Nodes of which every third is in the region that the events name, the others elsewhere."""
    own = np.array(handles, np.uint32)
    return Health.empty(own, own.astype(np.uint64) * np.uint64(7) + (own % 3 + shift > 0).astype(np.uint64))


@given(
    sizes=st.lists(st.integers(0, 9), max_size=30),
    gaps=st.integers(0, 2),
    bytes_min=st.integers(1, 3_000),
    rosters=st.lists(st.tuples(st.integers(0, 90), st.integers(0, 90), st.integers(0, 1)), max_size=4),
    since=st.integers(0, 99),
    limit=st.one_of(st.none(), st.integers(0, 12)),
    until=st.one_of(st.none(), st.integers(0, 99)),
)
@settings(max_examples=150)
def test_a_journal_gives_all_or_says_what_it_forgot(sizes, gaps, bytes_min, rosters, since, limit, until):
    """Every column as it was, whoever is in the range by then; versions may leave gaps."""
    journal, version, told = Journal(home(range(0)), bytes_min=bytes_min), 0, []
    for number, size in enumerate(sizes):
        if number % 6 == 5 and rosters:
            first, last, shift = rosters.pop()
            journal.rehome(home(range(first, last), shift))
        told.append(events(version + 1, size))
        journal.append(told[-1])
        version += size + gaps
        assert journal.nbytes <= max(bytes_min, 15 * 90) or len(journal._blocks) == 1, (
            "or what came last is all there is"
        )
    kept = [v for block in told for v in block.version.tolist() if v > journal.floor]
    assert len(journal) == len(kept)
    if since < journal.floor:
        with pytest.raises(HistoryLost):
            journal.since(since, limit, until)
    else:
        expected = [v for v in kept if v > since][: limit if limit is not None else version]
        expected = [v for v in expected if until is None or v <= until]
        found = journal.since(since, limit, until)
        assert found.version.tolist() == expected
        whole = Events.joined(told)
        rows = np.searchsorted(whole.version, found.version)
        for name, column in found.to_columns().items():
            assert column.dtype == getattr(whole, name).dtype
            assert column.tobytes() == getattr(whole, name)[rows].tobytes(), name


def test_what_no_change_can_be_is_not_packed():
    made = replace(events(1, 3), rule=np.full(3, 32, np.uint8))
    assert max(Rule) < 32
    assert max(State) < 8
    with pytest.raises(ValueError, match="rule of a change is 32"):
        Journal(home(range(3))).append(made)


def test_few_changes_at_a_time_are_kept_in_few_blocks():
    """A block costs more than its events: ten changes a second for a day must not fill memory."""
    journal = Journal(home(range(5)))
    for version in range(1, 3_000):
        journal.append(events(version, 1))
    assert len(journal._blocks) < 20
    assert len(journal) == 2_999


def table(handles: list[int], last: float = 1.0) -> dict:
    health = Health.empty(np.array(handles, np.uint32), np.array(handles, np.uint64) << np.uint64(56) | np.uint64(1))
    health.last[:] = last
    return health.to_columns()


def checkpoint(version: int, since: int, handles: list[int], floor: int = 0) -> Checkpoint:
    first = max(since, floor)
    ones = np.ones(1, np.int64)
    return Checkpoint(
        epoch=1,
        version=version,
        since=since,
        at_ms=version,
        roster=1,
        floor=floor,
        samples=0,
        health=table(handles, float(version)),
        events=events(first + 1, version - first),
        epochs=ones,
        begins=ones * 0,
        alarms=Alarms(np.array([handles[0] << 56 | 1], np.uint64)),
    )


def test_increments_fold_into_the_whole():
    whole = checkpoint(10, -1, [1, 4, 7], floor=3)
    made = folded([whole, checkpoint(15, 8, [4]), checkpoint(15, 12, [4]), checkpoint(20, 15, [2, 7])])
    assert (made.whole, made.version, made.floor) == (True, 20, 3)
    assert made.events.version.tolist() == list(range(4, 21))
    assert made.health["handles"].tolist() == [1, 2, 4, 7]
    assert made.health["last"].tolist() == [10.0, 20.0, 15.0, 20.0]
    assert folded([whole]) is whole
    with pytest.raises(AssertionError, match="gap"):
        folded([whole, checkpoint(15, 12, [4])])


def test_the_newest_row_of_each_node_counts():
    merged = newest_rows([table([1, 4, 7, 8]), table([], 2.0), table([4, 9], 3.0)], np.array([8, 3], np.uint32))
    assert merged["handles"].tolist() == [1, 4, 7, 9]
    assert merged["last"].tolist() == [1.0, 3.0, 1.0, 3.0]


def test_checkpoints_are_divided_by_cells():
    bounds = np.array([0, 4 << 56, 8 << 56], np.uint64)
    parts = divided([checkpoint(10, -1, [1, 9]), checkpoint(5, -1, [4, 7])], bounds)
    assert [part.health["handles"].tolist() for part in parts] == [[1], [4, 7], [9]]
    assert [part.health["last"].tolist() for part in parts] == [[10.0], [5.0, 5.0], [10.0]]
    assert [(part.alarms.flagged >> np.uint64(56)).tolist() for part in parts] == [[1], [4], []]
    assert {(part.epoch, part.version, part.since, part.at_ms, len(part.events)) for part in parts} == {
        (1, 0, -1, 10, 0)
    }


@pytest.mark.parametrize(
    ("epoch", "version", "since"), [(1, 4, 4), (1, 9, 5), (2, 9, 8), (3, 9, 9), (4, 9, 9), (0, 9, 0), (2, 3, 3)]
)
def test_what_was_not_saved_did_not_happen(epoch, version, since):
    assert since_of(np.array([1, 2, 3]), np.array([0, 5, 8]), epoch, version) == since


def test_checkpoints_are_plain_arrays():
    before = checkpoint(15, 8, [4]).succeeded(2)
    file = io.BytesIO()
    np.savez(file, **before.to_columns())
    file.seek(0)
    with np.load(file, allow_pickle=False) as columns:
        after = Checkpoint.from_columns(columns)
    assert (after.epoch, after.version, after.since, after.roster) == (2, 15, 8, 1)
    assert (after.epochs.tolist(), after.begins.tolist()) == ([1, 2], [0, 15])
    assert after.events.version.tolist() == list(range(9, 16))
    assert after.health["handles"].tolist() == [4]
    assert after.nbytes == before.nbytes
    with pytest.raises(ValueError, match="format 9"):
        Checkpoint.from_columns({**before.to_columns(), "checkpoint": np.array([9] * 8)})


def test_checkpoints_of_format_1_are_read():
    """Their events lack what came later: marks follow from the rules, regions are not told."""
    made = checkpoint(3, -1, [1, 2, 3])
    columns = {
        name: column
        for name, column in made.to_columns().items()
        if name.removeprefix("events/") not in {"survived", "survives", "mark", "cell"}
    }
    columns["checkpoint"] = np.array([1, *columns["checkpoint"][1:]])
    columns["events/before"] = np.array([State.HEALTHY, State.SUSPECT, State.EJECTED], np.uint8)
    columns["events/after"] = np.array([State.HEALTHY, State.EJECTED, State.EJECTED], np.uint8)
    columns["events/rule"] = np.array([Rule.DRAINED, Rule.OVER_THRESHOLD, Rule.PINNED], np.uint8)
    read = Checkpoint.from_columns(columns).events
    assert read.survived.tolist() == [True, True, False]
    assert read.survives.tolist() == [False, False, True]
    assert read.mark.tolist() == [Mark.DRAIN, Mark.NONE, Mark.PIN]
    assert read.cell.tolist() == [0, 0, 0]


def rows(handles: list[int], rosters: list[int]) -> Rows:
    return Rows(Health.from_columns(table(handles, 9.0)), np.array(rosters, np.int64))


def test_what_left_and_what_goes_on_is_saved_too():
    passage = Passage(rows([2, 5], [3, 4]), Taken.none().noted(rows([7], [2])), np.array([2, 5], np.uint32))
    passage = replace(passage, gone_at=np.array([11, 12], np.int64))
    alarms = Alarms(np.array([33], np.uint64), np.array([33], np.uint64), (5, 9), frozen=True)
    before = replace(checkpoint(15, 8, [4]), passage=passage, alarms=alarms, policy='{"a": 1}')
    after = Checkpoint.from_columns(before.to_columns())
    assert after.passage.parked.handles.tolist() == [2, 5]
    assert after.passage.parked.rosters.tolist() == [3, 4]
    assert len(after.passage.taken.news(rows([7, 8], [2, 1]))) == 1
    assert len(after.passage.taken.news(rows([7], [3]))) == 1
    assert (after.alarms.panicking.tolist(), after.alarms.freeze, after.alarms.frozen) == ([33], (5, 9), True)
    assert after.policy == '{"a": 1}'
    assert after.passage.saved(11).gone.tolist() == [5]
    assert folded([checkpoint(10, -1, [2, 4, 5]), before]).health["handles"].tolist() == [4], "who left is gone"


def test_parked_rows_go_where_their_cells_go_and_the_latest_counts():
    bounds = np.array([0, 4 << 56, 8 << 56], np.uint64)
    older = replace(checkpoint(10, -1, [1]), passage=Passage(rows([2, 9], [3, 4])))
    newer = replace(checkpoint(10, -1, [7]), passage=Passage(rows([5, 9], [6, 7])))
    parts = divided([newer, older], bounds)
    assert [part.passage.parked.handles.tolist() for part in parts] == [[2], [5], [9]]
    assert [part.passage.parked.rosters.tolist() for part in parts] == [[3], [6], [7]]


def test_a_row_that_comes_before_its_node_waits_for_it():
    rules, nobody = Policy().rules, Health.from_columns(table([]))
    early, health, told = Passage().adopted(nobody, rows([3], [7]), rules)
    assert (early.parked.handles.tolist(), len(health), len(told)) == ([3], 0, 0)
    again, _, _ = early.adopted(nobody, rows([3], [7]), rules)
    assert again.parked.handles.tolist() == [3]
    handles, cells = np.array([3], np.uint32), np.array([9 << 56 | 1], np.uint64)
    members = Members(7, handles, cells, np.array([np.nan]), np.array([0]), np.zeros(1, np.uint8))
    passage, health, told = again.enrolled(nobody, members, Rows.none(), rules, 1)
    assert (health.last.tolist(), [Rule(rule) for rule in told.rule]) == ([9.0], [Rule.MOVED])
    assert len(passage.parked) == 0
    assert len(passage.adopted(health, rows([3], [7]), rules)[2]) == 0, "it comes once"


def test_an_alarm_begins_and_ends_once():
    health = Health.from_columns(table([1, 2]))
    policy = Policy(survivors_min=1, panic="all", freeze_at=0.5)
    alarms, told = Alarms().counted(health, policy, 0)
    assert [Rule(rule) for rule in told.rule] == [Rule.SHORT, Rule.SHORT]
    alarms, told = alarms.panicked(np.append(health.cells, np.uint64(99)))
    assert told.cells.tolist() == health.cells.tolist()
    alarms, told = alarms.counted(health, policy, 0)
    assert len(told) == 0
    health.state[0] = State.HEALTHY
    alarms, told = alarms.counted(health, policy, 0)
    assert (len(told), alarms.full.tolist(), alarms.full_ms.tolist()) == (0, [health.cells[0]], [0])
    assert [alarms.rested(policy, now_ms) for now_ms in (9_999, 10_000)] == [False, True]
    again = Alarms.from_columns(Alarms.joined([alarms.set_back(-5), Alarms()]).of(lambda cells: cells > 0).to_columns())
    assert (again.full.tolist(), again.full_ms.tolist()) == (alarms.full.tolist(), [5])
    assert len(alarms.of(lambda cells: cells == 0).full_ms) == 0
    alarms, told = alarms.counted(health, policy, 10_000)
    assert [(Rule(rule), cell) for rule, cell in zip(told.rule, told.cells.tolist(), strict=True)] == [
        (Rule.CALM, health.cells[0]),
        (Rule.ENOUGH, health.cells[0]),
    ]
    alarms, told = replace(alarms, freeze=(0, 10)).looked(policy, 9)
    assert [Rule(rule) for rule in told.rule] == [Rule.FROZEN]
    assert len(alarms.looked(policy, 9)[1]) == 0
    assert [Rule(rule) for rule in alarms.looked(policy, 10)[1].rule] == [Rule.THAWED]
    assert [Rule(rule) for rule in alarms.looked(Policy(), 9)[1].rule] == [Rule.THAWED]
    assert alarms.flagged.tolist() == alarms.panicking.tolist() == [health.cells[1]]
