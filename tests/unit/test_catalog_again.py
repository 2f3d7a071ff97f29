"""Writes that are opened a second time, for other stores, when they may be over."""

from dataclasses import replace

import pytest
from hand_clock import at, by_hand
from unit.test_catalog import commit, intent, put

from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.errors import WriteAborted


@pytest.fixture
def coordinator():
    served = by_hand(Coordinator("s", identity=b"a" * 16))
    yield served
    served.close()


def test_a_write_that_was_collected_is_not_opened_again_under_another_generation(coordinator):
    [ticket] = coordinator.open_writes([intent(1)])
    again = intent(1, generation=ticket.generation)
    assert coordinator.open_writes([again]) == [ticket]
    coordinator.abort_writes([b"\1" * 16])
    known = [*coordinator.open_writes([again]), *coordinator.commit_writes([commit(1)])]
    assert [refused.left_nothing for refused in known] == [True, True]
    coordinator.collected(coordinator.garbage(99))
    assert coordinator._ledger.catalog.one("SELECT COUNT(*) FROM intents") == (0,)
    for conditions in ({}, {"if_absent": True}, {"if_generation": 7}):
        [refused] = coordinator.open_writes([replace(again, **conditions)])
        assert isinstance(refused, WriteAborted), "whatever would hold for a new one"
        assert (refused.write, refused.name, refused.left_nothing) == ((b"\1" * 16).hex(), "name", False)
    assert coordinator._ledger.catalog.one("SELECT COUNT(*) FROM intents") == (0,)
    [anew] = coordinator.open_writes([intent(1)])
    assert anew.generation > ticket.generation, "whose driver never heard of the first has written nothing under it"
    [refused] = coordinator.open_writes([again])
    assert isinstance(refused, WriteAborted)


def test_a_deletion_that_is_over_deletes_nothing_that_came_after_it(coordinator):
    """It was carried on and collected while its driver stood still, which then asks for other stores."""
    put(coordinator, 1)
    [ticket] = coordinator.open_writes([intent(2, kind="delete", grace_ms=0)])
    coordinator.commit_writes([commit(2)])
    late = 10**9
    while items := at(coordinator, late).garbage(10):
        coordinator.collected(items)
    assert coordinator._ledger.catalog.one("SELECT COUNT(*) FROM generations") == (0,)
    newer = put(coordinator, 3)
    [refused] = coordinator.open_writes([intent(2, kind="delete", grace_ms=0, generation=ticket.generation)])
    assert isinstance(refused, WriteAborted)
    [refused] = coordinator.commit_writes([commit(2)])
    assert isinstance(refused, WriteAborted)
    assert not refused.left_nothing, "it was carried on, for all that its driver can know"
    assert coordinator.lookup(["name"]) == [newer]
