"""By which policy an answer was made, and what is told while nodes are on their way to another range."""

import numpy as np
import pytest
from waiting import until

import faultset_ray as fs
from faultset_ray.control.messages import Members, Orders
from faultset_ray.control.region import Region
from faultset_ray.control.states import Mark, Rule
from faultset_ray.driver.keeper import address
from faultset_ray.policy import Policy

NODES = [("a", 52.5, 13.4, 80.0), ("b", -33.9, 151.2, 80.0)]
STRICT = Policy(threshold_ms=50.0)


@pytest.mark.parametrize("told", [0, 1])
def test_an_answer_names_the_policy_that_decided_it(told):
    """One range knows the policy that another driver has just set, and this driver does not yet."""
    with fs.connect(backend="local", region_actors=2) as driver:
        driver.register(NODES, 3)
        assert driver.survivors().ids.tolist() == ["a", "b"]
        keeper = driver._core._keeper
        directory = driver._loop.run(keeper.directory("default"))
        info, newer = directory.ranges[told], Orders(directory.policy_version + 1, STRICT, birth=directory.birth)
        arguments = info.epoch, newer, keeper.backend.now_ms(), None
        driver._loop.run(keeper.backend.call(address("default", info), Region.survivors, *arguments))
        answer = driver.survivors()
        assert (answer.policy, answer.threshold_ms, answer.ids.tolist()) == (STRICT, 50.0, [])
        assert answer.whole
        plan = driver.plan(Policy())
        assert plan.live.policy == STRICT


def test_marks_are_counted_also_while_nodes_leave():
    """A drain in the middle of a registration leaves its region short, and who watches is told then."""
    cells = np.array([9 << 56 | 1, 9 << 56 | 1, 7 << 56 | 1], np.uint64)
    handles, orders = np.arange(3, dtype=np.uint32), Orders(1, Policy(survivors_min=2))
    region = Region(1)
    members = Members(1, handles, cells, np.full(3, 5.0), np.zeros(3, np.int64), np.zeros(3, np.uint8))
    region.load(1, orders, 1_000, members, None)
    region.survivors(1, orders, 1_100, None)
    region.part(1, orders, 1_200, 3, handles[2:])
    before = region.census(1, orders, 1_300).version
    region.mark(1, orders, 1_400, 1, 2, handles[:1], np.array([Mark.DRAIN], np.uint8))
    census = region.census(1, orders, 1_500)
    region.saved(1, census.version, None, 1_500)
    events = region.changes(1, orders, 1_600, (1, before), 100).events
    assert [Rule(rule) for rule in events.rule] == [Rule.DRAINED, Rule.SHORT]
    assert census.short == 2


def test_what_a_servant_without_nodes_is_told_is_not_called_known():
    """A successor that was not loaded yet knows none of the nodes: what it is told is lost, and that is said."""
    with fs.connect(backend="local", region_actors=2) as driver:
        fleet = driver.register(NODES, 3)
        keeper = driver._core._keeper
        info = driver._loop.run(keeper.directory("default")).ranges[0]
        servant = address("default", info)
        driver._loop.run(keeper.backend.stop(servant))
        driver._loop.run(keeper.backend.spawn(Region, servant.name, info.epoch))
        taken = driver.observe(fleet.handles, [10.0, 10.0])
        assert (taken, taken.whole, len(taken.missing_regions)) == (1, False, 1)


def test_a_node_is_explained_by_the_successor_of_the_range_that_was_asked(monkeypatch):
    """The directory is a moment old, or the coordinator slow: the range was replaced since."""
    with fs.connect(backend="local", region_actors=2) as driver:
        driver.register(NODES, 3)
        keeper = driver._core._keeper
        before = driver._loop.run(keeper.known("default", 5.0))
        info = before.directory.ranges[before.directory.positions(np.array([0]))[0]]
        driver._loop.run(keeper.backend.stop(address("default", info)))
        until(lambda: driver.survivors().whole)
        asked, known = [], keeper.known

        async def late(*arguments):
            asked.append(arguments)
            return before if len(asked) == 1 else await known(*arguments)

        monkeypatch.setattr(keeper, "known", late)
        assert driver.why("a").survives
        assert len(asked) == 2
