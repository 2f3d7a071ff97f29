"""What the control plane's verbs tell of a live fleet: watch, plan, why."""

import json
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from told import told

import faultset_ray as fs
from faultset_ray.control.region import Region
from faultset_ray.control.states import Mark, State
from faultset_ray.driver.keeper import address, orders

SLOW, FAST = 900.0, 5.0
NODES = [("a", 52.5, 13.4, FAST), ("b", 52.5, 13.4, FAST), ("c", 48.9, 2.4, FAST)]


@pytest.fixture
def driver():
    with fs.connect(backend="local", region_actors=1) as driver:
        yield driver


def observe(driver, **latencies):
    """One sample of each node named, taken in and decided about."""
    fleet = driver.fleet()
    handle_of = dict(zip(fleet.ids.tolist(), fleet.handles.tolist(), strict=True))
    handles = np.array([handle_of[node] for node in latencies], np.uint32)
    assert driver.observe(handles, list(latencies.values())) == len(latencies)
    return driver.survivors()


def test_no_observations_are_none_taken(driver):
    driver.register(NODES)
    for empty in ([], (), np.empty(0, np.uint32), np.empty(0)):
        assert driver.observe(empty, [], ok=[], at_ms=[]) == driver.observe(empty, []) == 0


def test_a_fleet_is_registered_under_the_name_that_is_given(driver):
    nodes = fs.Fleet(*zip(*NODES, strict=True), name="own")
    assert driver.register(nodes).name == "own"
    assert driver.register(nodes, fleet="other").name == "other"
    assert driver.register(NODES).name == "default"
    for name in ("own", "other", "default"):
        assert driver.fleet(name).ids.tolist() == list("abc")
    assert nodes.name == "own"


def test_a_deadline_may_be_infinite(driver):
    driver.register(NODES)
    assert driver.survivors(deadline_s=math.inf).whole
    assert driver.why("a", deadline_s=1e300).survives


def test_what_is_infinite_is_told_as_json_can_hold_it(driver):
    driver.register(NODES, 3)
    watch = driver.watch(driver.survivors().versions, idle_s=0.5)
    observe(driver, a=math.inf)
    for each in (driver.why("a").to_dict(), next(watch).to_dict()):
        assert json.loads(json.dumps(each, allow_nan=False))["value"] == "inf"
    driver.set_policy(fs.Policy(threshold_ms=math.inf))
    assert driver.why("b").to_dict()["threshold"] == "inf"
    assert driver.why("b").threshold == math.inf


def test_a_change_tells_who_survives_by_mark_and_state(driver):
    driver.register(NODES, 3)
    watch = driver.watch(driver.survivors().versions, idle_s=0.5)
    driver.mark(["a"], "drain")
    observe(driver, a=SLOW, b=SLOW)
    driver.mark(["a"], "pin")
    driver.mark(["a"], None)
    driver.survivors()
    told = [(change.id, change.rule.label, change.survived, change.survives, change.mark) for change in watch]
    assert told == [
        ("a", "drained", True, False, Mark.DRAIN),
        ("a", "over_threshold", False, False, Mark.DRAIN),
        ("b", "over_threshold", True, False, Mark.NONE),
        ("a", "pinned", False, True, Mark.PIN),
        ("a", "unmarked", True, False, Mark.NONE),
    ]


def test_a_node_whose_mark_goes_is_told_once_as_it_is_then(driver):
    driver.register([(node, 52.5, 13.4, FAST) for node in "abcd"], 3, policy=fs.Policy(eject_max=0.25, hold_s=(9, 99)))
    observe(driver, a=SLOW)
    until_ms = driver.why("a").until_ms
    watch = driver.watch(driver.survivors().versions, idle_s=0.5)
    for _ in range(3):
        driver.mark(["a"], "drain")
        driver.mark(["a"], None)
    assert (driver.why("a").ejections, driver.why("a").until_ms) == (1, until_ms)
    driver.mark(["b"], "pin")
    driver.mark(["a"], "drain")
    driver.mark(["a"], None)
    told = [(change.id, change.rule.label, change.after.label, change.survives) for change in watch]
    assert told == [
        *[("a", "drained", "ejected", False), ("a", "unmarked", "ejected", False)] * 3,
        ("b", "pinned", "healthy", True),
        ("a", "capped", "suspect", True),
        ("a", "drained", "suspect", False),
        ("a", "over_threshold", "ejected", False),
        ("a", "unmarked", "suspect", True),
    ]
    assert driver.why("a").blocked_by.label == "cap"


def test_a_millisecond_more_of_threshold_makes_no_outage_of_a_spike(driver):
    policy = fs.Policy(threshold_ms=100.0, samples=(3, 5, 3), hold_s=(30, 600))
    driver.register(NODES, 3, policy=policy)
    observe(driver, a=150.0, b=150.0, c=150.0)
    tweaked = replace(policy, threshold_ms=101.0)
    assert len(driver.plan(tweaked)) == 0
    driver.set_policy(tweaked)
    assert len(driver.survivors()) == 3
    verdict = driver.why("a")
    assert (verdict.state, verdict.bad, verdict.bad_in_row) == (State.SUSPECT, 1, 1)


def test_a_change_tells_the_region_of_then(driver):
    driver.register(NODES, 3)
    versions = driver.survivors().versions
    observe(driver, a=SLOW)
    driver.register([("a", -33.9, 151.2, FAST)], 3)
    driver.survivors()
    changes = [change for change in driver.watch(versions, idle_s=0.5) if change.id == "a"]
    told = [(change.region, change.before, change.after) for change in changes]
    assert told == [
        ("u33", State.HEALTHY, State.EJECTED),
        ("r3g", State.EJECTED, State.EJECTED),
        ("r3g", State.EJECTED, State.HEALTHY),
    ]
    assert changes[0].to_dict().keys() >= {"survived", "survives", "mark"}


def test_a_registration_without_a_measurement_keeps_the_one_before(driver):
    driver.register(NODES, 3)
    observe(driver, b=SLOW)
    unmeasured = [(node, lat, lon, float("nan")) for node, lat, lon, _ in [*NODES, ("d", 48.9, 2.4, FAST)]]
    driver.register(unmeasured, 3)
    assert driver.survivors().ids.tolist() == driver.survivors(threshold_ms=100).ids.tolist() == ["a", "c"]
    assert driver.why("b").last_latency_ms == SLOW
    assert driver.why("d").rule.label == "never_measured"
    assert driver.fleet().latency_ms.tolist()[:3] == [FAST] * 3


def test_the_cap_holds_after_a_removal(driver):
    nodes = [(node, 52.5, 13.4, FAST) for node in "abcd"]
    driver.register(nodes, 3, policy=fs.Policy(eject_max=0.5))
    assert observe(driver, a=SLOW, b=SLOW + 1).ids.tolist() == ["c", "d"]
    versions = driver.survivors().versions
    driver.remove(["c"])
    assert driver.survivors().ids.tolist() == ["d", "a"], "of three one may be out: the worse one"
    [change] = [change for change in driver.watch(versions, idle_s=0.5) if change.id != "c"]  # it may be told yet
    assert (change.id, change.rule.label, change.value, change.threshold) == ("a", "capped", 2, 1)
    assert (driver.why("a").blocked_by.label, driver.why("b").state.label) == ("cap", "ejected")


def test_a_plan_shows_shortage_loans_and_panic(driver):
    driver.register(NODES, 3, policy=fs.Policy(survivors_min=1))
    observe(driver, a=SLOW)
    plan = driver.plan(fs.Policy(survivors_min=2, fallback="everywhere", panic="all"))
    assert (len(plan), plan.joins, plan.leaves) == (0, [], []), "no node changes, but what regions are given does"
    told = {each.region: each for each in plan.shortages()}
    assert told.keys() == {"u33", "u09"}
    assert told["u33"].live.to_dict() == {"ids": ["b"], "tiers": ["own"], "short": None, "panic": None}
    assert told["u33"].planned.to_dict() == {
        "ids": ["b", "c"], "tiers": ["own", "nearest"], "short": (1, 2), "panic": None
    }  # fmt: skip
    panicking = driver.plan(fs.Policy(threshold_ms=1, survivors_min=2, panic="all"))
    assert (sorted(panicking.leaves), panicking.joins) == (["b", "c"], [])
    served = {each.region: each.planned for each in panicking.shortages()}
    assert served["u33"].ids == ("b", "a")
    assert [tier.name for tier in served["u33"].tiers] == ["PANIC"] * 2
    assert served["u33"].panic == "0 of the 2 needed survive, fallback 'none' adds 0"
    assert list(driver.plan(fs.Policy(survivors_min=1)).shortages()) == [], "the same policy changes nothing"


def test_panic_ends_at_the_need_though_the_region_is_still_short(driver, caplog):
    caplog.set_level("INFO", "faultset_ray.events")
    policy = fs.Policy(survivors_min=4, panic="all")
    driver.register([(node, 52.5, 13.4, FAST) for node in "abcdefgh"], 3, policy=policy)
    answer = observe(driver, **dict.fromkeys("abcde", SLOW))
    assert (answer.short, len(answer), list(answer.panic)) == ({"u33": (3, 4)}, 8, ["u33"])
    answer = observe(driver, e=FAST)
    assert (answer.short, answer.panic) == ({"u33": (4, 4)}, {}), "not well above its need yet"
    assert sorted(answer.ids) == list(answer.by_region["u33"]) == ["e", "f", "g", "h"]
    assert observe(driver, d=FAST).short == {}
    changed = [each["changes"] for each in told(caplog, "nodes_changed")]
    assert {"over_threshold": 5} in changed, "one event for all that a call changed"
    assert {"recovered": 1} in changed
    regions = [each["changes"] for each in told(caplog, "regions_changed")]
    assert regions[0] == {"short": 1}
    # a panic is told at the range's next beat, which may come before its end or not
    whole = sum(map(Counter, regions), Counter())
    assert (whole["short"], whole["enough"]) == (1, 1)
    assert whole["panic"] == whole["calm"]


def test_a_freeze_is_not_for_policies_that_know_none(driver):
    """A dry run of a policy without `freeze_at`, and setting it, go on as if nothing were frozen."""
    guarded = fs.Policy(freeze_at=0.5)
    driver.register(NODES, 3, policy=guarded)
    before_ms = driver.survivors().at_ms
    observe(driver, a=SLOW)
    freeze_all(driver, before_ms, before_ms + 3_600_000)
    answer = observe(driver, b=SLOW)
    assert sorted(answer.ids.tolist()) == ["a", "b", "c"], "the one is reinstated, the other stays"
    assert answer.frozen_until_ms == before_ms + 3_600_000
    assert driver.plan(fs.Policy(threshold_ms=90, freeze_at=0.5)).leaves == []
    plan = driver.plan(fs.Policy(threshold_ms=90))
    assert (sorted(plan.leaves), plan.planned.frozen_until_ms) == (["a", "b"], None)
    driver.set_policy(fs.Policy())
    answer = driver.survivors()
    assert (answer.ids.tolist(), answer.frozen_until_ms) == (["c"], None)


def freeze_all(driver, since_ms, until_ms):
    """As the steward does when the coordinator advises it."""
    core = driver._core

    async def told():
        directory = await core._keeper.directory("default")
        for info in directory.ranges:
            to = address("default", info)
            now_ms = core._backend.now_ms()
            await core._backend.call(to, Region.freeze, info.epoch, orders(directory), now_ms, since_ms, until_ms)

    driver._loop.run(told())
