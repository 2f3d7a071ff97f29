"""When the observer is suspected rather than the fleet."""

import numpy as np
import pytest
from health_range import BAD, FAILED, GOOD, Range

from faultset_ray.control.census import Condition, Freeze, advise, condition
from faultset_ray.control.states import Mark
from faultset_ray.limits import FREEZE_SECONDS, FREEZE_WINDOW_SECONDS

NOW = 10_000_000
HOLD_MS = round(FREEZE_SECONDS * 1000)
WINDOW_MS = round(FREEZE_WINDOW_SECONDS * 1000)


def ranges(*bad, nodes=10, since_ms=NOW - 500):
    """Ranges of which so many nodes are bad, the first of them for two seconds longer than half of them."""
    return [
        Condition(nodes, count, since_ms + number if 2 * count > nodes else None, since_ms + number - 2000)
        for number, count in enumerate(bad)
    ]


@pytest.mark.parametrize(
    ("bad", "freeze_at", "frozen"),
    [
        ((9, 9, 9, 0, 0), 0.6, True),
        ((9, 9, 0, 0, 0), 0.6, False),
        ((5, 5, 5, 5, 5), 0.2, False),
        ((6, 0, 0, 0, 0), 0.2, True),
        ((10, 10), 1.0, True),
        ((10, 9, 5), 1.0, False),
        ((10, 10, 10), None, False),
        ((10,), 0.1, True),
        ((5,), 0.1, False),
        ((), 0.1, False),
        ((9, 9, 9), 2 / 3, True),
        ((9, 9, 0), 2 / 3, True),
    ],
)
def test_the_share_of_ranges_that_degrade_at_once(bad, freeze_at, frozen):
    advice = advise(ranges(*bad), freeze_at, None, NOW)
    if not frozen:
        assert advice is None
        return
    first = next(number for number, count in enumerate(bad) if 2 * count > 10)
    assert advice == Freeze(NOW - 2500, NOW + HOLD_MS, NOW - 500 + first)


def test_ranges_that_degraded_long_ago_did_not_do_so_at_once():
    long_ago = ranges(9, 9, 9, since_ms=NOW - WINDOW_MS - 100)
    assert advise(long_ago, 0.5, None, NOW) is None
    assert advise(long_ago + ranges(9, 9, 9), 0.5, None, NOW) is not None


def test_a_freeze_goes_on_while_it_is_found_so_then_holds_then_ends():
    counted = ranges(9, 9, 9)
    advice = advise(counted, 0.5, None, NOW)
    later = advise(counted, 0.5, advice, NOW + 10_000)
    assert later == Freeze(advice.since_ms, NOW + 10_000 + HOLD_MS, advice.degraded_ms)
    better = ranges(9, 0, 0)
    assert advise(better, 0.5, later, NOW + 20_000) == later
    assert advise(better, 0.5, later, later.until_ms) is None
    assert advise(better, None, later, NOW + 20_000) is None, "the policy was changed"


@pytest.mark.parametrize("turning", [False, True])
def test_an_outage_that_lasts_is_believed(turning):
    """Also where nodes go on turning bad, and for as long as so many ranges are degraded."""
    advice, now_ms = None, NOW
    while (advice := advise(outage(turning, now_ms), 0.5, advice, now_ms)) is None or now_ms < advice.until_ms:
        now_ms += 1000
        assert now_ms < NOW + 10 * WINDOW_MS
    assert WINDOW_MS - 2000 <= now_ms - NOW - HOLD_MS <= WINDOW_MS
    for _ in range(100):
        now_ms += 60_000
        assert advise(outage(turning, now_ms), 0.5, advice, now_ms).until_ms <= now_ms
    advice = advise(ranges(9, 0, 0), 0.5, advice, now_ms)
    assert advice is None
    assert advise(ranges(9, 9, 9, since_ms=now_ms), 0.5, advice, now_ms).until_ms > now_ms, "the next one"


def outage(turning, now_ms):
    return ranges(9, 9, 9, since_ms=now_ms - 500 if turning else NOW - 500)


def test_the_condition_of_a_range_tells_when_half_of_it_and_when_the_first_went():
    """Of twelve nodes one has been bad for long, and from NOW on two more turn bad each second."""
    nodes = Range([12])
    nodes.now_ms = NOW - WINDOW_MS - 2000
    nodes.hear({slot: BAD if slot == 11 else GOOD for slot in range(12)})
    assert condition(nodes.health, slice(None), nodes.now_ms) == Condition(12, 1, None, nodes.now_ms)
    nodes.now_ms = NOW - 1000
    for second in range(4):
        nodes.hear({2 * second: FAILED, 2 * second + 1: BAD})
        degraded_ms = NOW + 2000 if second >= 2 else None
        assert condition(nodes.health, slice(None), nodes.now_ms) == Condition(12, 3 + 2 * second, degraded_ms, NOW)
    nodes.health.set_marks(np.array([0, 1]), Mark.DRAIN)
    assert condition(nodes.health, slice(None), nodes.now_ms) == Condition(10, 7, NOW + 3000, NOW + 1000)
    assert condition(nodes.health, np.arange(8, 12), nodes.now_ms) == Condition(4, 1, None, None)


def test_what_is_taken_back_goes_from_the_first_node_of_all():
    """Also of a range that is not degraded; and the advice ages by the ranges, not by that node."""
    early = NOW - WINDOW_MS + 1000
    counted = [*ranges(9, 9, 9), Condition(10, 2, None, early)]
    advice = advise(counted, 0.5, None, NOW)
    assert advice == Freeze(early, NOW + HOLD_MS, NOW - 500)
    later = advise(ranges(9, 9, 9, 9), 0.5, advice, NOW + 60_000)
    assert later == Freeze(early, NOW + 60_000 + HOLD_MS, NOW - 500)
