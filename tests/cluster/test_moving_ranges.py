"""Ranges that split under load, and one whose node is killed, while the fleet is observed, asked and watched."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
from waiting import until

import faultset_ray as fs
from actors.local_cluster import LocalNode
from cluster.support import living_actors
from faultset_ray.control import ranges as planner
from faultset_ray.control.ranges import Sizing
from faultset_ray.control.states import State
from faultset_ray.driver import shaping
from faultset_ray.geohash import cells_to_strings, encode_many

pytestmark = pytest.mark.cluster

NODES = [LocalNode({"faultset.io/region": name}, cpus=1) for name in ("north", "south", "west")]
PRECISION = 2
COUNT = 2000
THRESHOLD_MS = 100.0


@pytest.fixture
def busy_ranges(monkeypatch):
    """A range is split past 600 observations a second, and soon."""
    monkeypatch.setattr(shaping, "Sizing", lambda **_: Sizing(samples_max=600.0))
    monkeypatch.setattr(planner, "SPLIT_SECONDS", 2.0)


class Truth:
    """A fleet of which this test alone knows every latency; half of the nodes survive, now these, now those."""

    def __init__(self, driver: fs.Driver, name: str) -> None:
        rng = np.random.default_rng(11)
        latency = rng.uniform(0, 200, COUNT).round()
        self.name = name
        self.driver = driver
        self.fleet = driver.register(
            fs.Fleet(
                [f"n{number:05d}" for number in rng.permutation(COUNT)],
                rng.uniform(-90, 90, COUNT),
                rng.uniform(-180, 180, COUNT),
                latency,
                name=name,
            ),
            PRECISION,
        )
        self.region_of = cells_to_strings(encode_many(self.fleet.lat, self.fleet.lon, PRECISION))
        columns = (self.fleet.ids, self.fleet.lat, self.fleet.lon)
        self._states = [
            (told, fs.faultset(fs.Fleet(*columns, told), THRESHOLD_MS, PRECISION)) for told in (latency, 200 - latency)
        ]
        self.rounds = 0

    def change(self) -> list[str]:
        """Observe all nodes anew until all were taken; who survives then."""
        self.rounds += 1
        latency, expected = self._states[self.rounds % 2]
        until(lambda: self.driver.observe(self.fleet.handles, latency, fleet=self.name) == COUNT)
        return expected

    def whole(self) -> fs.Survivors:
        """The answer, once every region gives one."""
        return until(lambda: (answer := self.driver.survivors(fleet=self.name)).whole and answer, 90)

    def check(self, answer: fs.Survivors, expected: list[str]) -> None:
        """Right in every region that answered, and the others are named."""
        named = ~np.isin(self.region_of, answer.missing_regions)
        known = set(self.fleet.ids[named].tolist())
        assert answer.ids.tolist() == [node for node in expected if node in known]


def names_of(truth: Truth, answer: fs.Survivors) -> set[str]:
    """What the servants behind an answer are called."""
    return {f"region/{truth.name}/{index}/{epoch}" for index, (epoch, _) in answer.versions.items()}


@contextmanager
def watched(truth: Truth):
    """Follow all changes on a thread of its own, and check at the end that they are whole and true.

    Each change of a node begins where the one before ended, versions grow, and the last says what the node is now.
    """
    changes = []
    watch = truth.driver.watch(since=truth.whole().versions, fleet=truth.name, idle_s=15.0)
    follower = threading.Thread(target=lambda: changes.extend(watch))
    follower.start()
    yield changes
    expected = set(truth.change())
    follower.join(120)
    assert not follower.is_alive()
    state: dict[str, State] = {}
    seen: dict[int, int] = {}
    for change in changes:
        assert state.get(change.id, change.before) == change.before, change
        state[change.id] = change.after
        assert seen.get(change.range, -1) < change.version, change
        seen[change.range] = change.version
    assert len(state) > COUNT // 2
    assert {node for node, now in state.items() if now == State.HEALTHY} == expected & state.keys()
    assert set(watch.versions) == set(truth.whole().versions)


def test_ranges_split_under_load(attached, busy_ranges):
    with fs.connect(attached.address, region_actors=2) as driver:
        truth = Truth(driver, "split")
        with watched(truth):
            first = truth.whole().versions.keys()

            def all_were_split():
                time.sleep(0.5)  # so the parts are not past the bound again
                expected = truth.change()
                answer = driver.survivors(fleet=truth.name)
                truth.check(answer, expected)
                assert answer.whole, "a split is no failure"
                return first.isdisjoint(answer.versions)

            until(all_were_split, 200)
        answer = truth.whole()
        assert len(first) == 2
        assert len(answer.versions) >= 4
        actors = until(
            lambda: (names := living_actors(f"region/{truth.name}/")).keys() == names_of(truth, answer) and names
        )
        assert len({node for _, node in actors.values()}) > 1, (
            "the parts are spread, and what they were parts of is gone"
        )


def test_a_region_s_node_is_killed_in_the_middle_of_a_watch(attached):
    """Last: it takes a node away from the module's cluster."""
    with fs.connect(attached.address, region_actors=4) as driver:
        truth = Truth(driver, "killed")
        before = truth.whole().versions
        with watched(truth) as changes:
            expected = truth.change()
            truth.check(truth.whole(), expected)
            until(lambda: changes, 30)
            hosts = {name: node for name, (_, node) in living_actors(f"region/{truth.name}/").items()}
            [victim] = {node for name, node in hosts.items() if name.startswith(f"region/{truth.name}/0/")}
            attached.kill(victim)
            broken = driver.survivors(fleet=truth.name, deadline_s=5.0)
            assert broken.missing_regions
            truth.check(broken, expected)
            truth.whole()
            for _ in range(3):
                expected = truth.change()
                truth.check(driver.survivors(fleet=truth.name), expected)
        after = truth.whole().versions
        assert after.keys() == before.keys()
        assert all(after[index] > before[index] for index in before), "versions never go back"
        assert after[0][0] > before[0][0], "its successor is of a later epoch"
