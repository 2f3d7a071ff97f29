"""What the control plane's verbs tell of a live fleet: watch, plan, why."""

import numpy as np
import pytest

import faultset_ray as fs
from faultset_ray.control.states import Mark, State

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
        ("a", "unmarked", True, True, Mark.NONE),
        ("a", "over_threshold", True, False, Mark.NONE),
    ]


def test_a_change_tells_the_region_of_then(driver):
    driver.register(NODES, 3)
    versions = driver.survivors().versions
    observe(driver, a=SLOW)
    driver.register([("a", -33.9, 151.2, FAST)], 3)
    driver.survivors()
    changes = [change for change in driver.watch(versions, idle_s=0.5) if change.id == "a"]
    told = [(change.region, change.before, change.after) for change in changes]
    assert told == [("u33", State.HEALTHY, State.EJECTED), ("r3g", State.EJECTED, State.HEALTHY)]
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
    [change] = driver.watch(versions, idle_s=0.5)
    assert (change.id, change.rule.label, change.value, change.threshold) == ("a", "capped", 2, 1)
    assert (driver.why("a").blocked_by.label, driver.why("b").state.label) == ("cap", "ejected")
