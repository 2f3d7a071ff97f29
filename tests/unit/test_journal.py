"""The journal and checkpoints: no event twice, none left out, and a gap is told."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faultset_ray.control.checkpoint import Checkpoint, folded, newest_rows, rows_of
from faultset_ray.control.journal import Events, Journal
from faultset_ray.errors import HistoryLost


def events(first: int, count: int) -> Events:
    version = np.arange(first, first + count, dtype=np.int64)
    numbers = version.astype(np.float64)
    byte = (version % 5).astype(np.uint8)
    return Events(version, version * 10, version.astype(np.uint32), byte, byte, byte, numbers, numbers)


@given(
    sizes=st.lists(st.integers(0, 9), max_size=12),
    events_max=st.integers(1, 20),
    since=st.integers(0, 60),
    limit=st.one_of(st.none(), st.integers(0, 12)),
    until=st.one_of(st.none(), st.integers(0, 60)),
)
@settings(max_examples=300, deadline=None)
def test_a_journal_gives_all_or_says_what_it_forgot(sizes, events_max, since, limit, until):
    journal, version = Journal(events_max=events_max), 0
    for size in sizes:
        journal.append(events(version + 1, size))
        version += size
    assert len(journal) == version - journal.floor
    assert len(journal) >= min(version, events_max)
    assert len(journal) <= events_max + max(sizes, default=0)
    if since < journal.floor:
        with pytest.raises(HistoryLost):
            journal.since(since, limit, until)
    else:
        expected = list(range(since + 1, version + 1))[: limit if limit is not None else version]
        found = journal.since(since, limit, until)
        assert found.version.tolist() == [v for v in expected if until is None or v <= until]
        assert found.handle.tolist() == found.version.tolist()


def checkpoint(version: int, since: int, handles: list[int], floor: int = 0) -> Checkpoint:
    first = max(since, floor)
    health = {
        "handle": np.array(handles, np.uint32),
        "last": np.full(len(handles), float(version)),
        "form": np.array(1),
    }
    ones = np.ones(1, np.int64)
    return Checkpoint(1, version, since, version, 1, floor, health, events(first + 1, version - first), ones, ones * 0)


def test_increments_fold_into_the_whole():
    whole = checkpoint(10, -1, [1, 4, 7], floor=3)
    made = folded([whole, checkpoint(15, 8, [4]), checkpoint(15, 12, [4]), checkpoint(20, 15, [2, 7])])
    assert (made.whole, made.version, made.floor) == (True, 20, 3)
    assert made.events.version.tolist() == list(range(4, 21))
    assert made.health["handle"].tolist() == [1, 2, 4, 7]
    assert made.health["last"].tolist() == [10.0, 20.0, 15.0, 20.0]
    assert folded([whole]) is whole
    with pytest.raises(AssertionError, match="gap"):
        folded([whole, checkpoint(15, 12, [4])])


def test_rows_by_handle():
    table = checkpoint(1, -1, [1, 4, 7]).health
    assert rows_of(table, np.array([0, 4, 7], np.uint32))["handle"].tolist() == [4, 7]
    assert rows_of(table, np.array([], np.uint32))["last"].tolist() == []
    assert newest_rows([table, rows_of(table, np.array([2], np.uint32))])["handle"].tolist() == [1, 4, 7]


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
    assert after.health["handle"].tolist() == [4]
    assert after.nbytes == before.nbytes
    with pytest.raises(ValueError, match="format 9"):
        Checkpoint.from_columns({**before.to_columns(), "checkpoint": np.array([9] * 7)})
