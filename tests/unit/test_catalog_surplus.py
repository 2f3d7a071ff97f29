"""Copies of shards that the layout has elsewhere: which of them a store may be told to drop."""

import pytest
from hand_clock import by_hand
from unit.test_catalog import commit, intent, put

from faultset_ray.coordinator.objects import Damage, ShardMove
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.errors import WriteInProgress


@pytest.fixture
def coordinator():
    served = by_hand(Coordinator("s", identity=b"a" * 16))
    yield served
    served.close()


def test_a_store_drops_what_the_layout_has_elsewhere_and_nothing_else(coordinator):
    entry = put(coordinator, 1)
    write, shards = b"\1" * 16, [(b"\1" * 16, index) for index in range(4)]
    coordinator.open_writes([intent(2, "other")])
    assert coordinator.drop_surplus("s0", [(write, 0), (b"\2" * 16, 1), (b"\7" * 16, 1)]) == 0
    coordinator.open_shard_moves([ShardMove(write, 1, "s1", "s5")])
    assert coordinator.whose("s5", shards) == ["surplus", "open", "surplus", "surplus"]
    assert coordinator.drop_surplus("s5", shards[:2]) == 1
    [item] = coordinator.garbage(9)
    assert (item.store, item.index, item.generation) == ("s5", 0, entry.record.generation)
    assert item.records == (), "what is on its way there needs them"
    assert coordinator.drop_surplus("s5", shards) == 0, "it is told already"
    [refused] = coordinator.open_shard_moves([ShardMove(write, 0, "s0", "s5")])
    assert isinstance(refused, WriteInProgress), "the drop would take what it brings"


def test_a_copy_stays_where_the_shard_itself_is_damaged_or_is_nobodys(coordinator):
    put(coordinator, 1)
    copy, damage = [(b"\1" * 16, 0)], Damage(b"\1" * 16, 0, "s0", "gone")
    coordinator.report_damage([damage])
    assert coordinator.drop_surplus("s5", copy) == 0
    coordinator.damage_settled([damage])
    put(coordinator, 2)
    assert coordinator.whose("s5", copy) == [""], "an undeletion may need it"
    assert coordinator.drop_surplus("s5", copy) == 0
    coordinator.open_writes([intent(3, kind="delete")])
    coordinator.commit_writes([commit(3)])
    assert coordinator.drop_surplus("s5", [(b"\2" * 16, 0)]) == 1, "it is its object's while that can be undone"
