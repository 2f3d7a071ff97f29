"""When the observer is suspected rather than the fleet."""

import pytest

from faultset_ray.control.census import Freeze, RangeCensus, advise
from faultset_ray.limits import FREEZE_SECONDS, FREEZE_WINDOW_SECONDS

NOW = 10_000_000
HOLD_MS = round(FREEZE_SECONDS * 1000)
WINDOW_MS = round(FREEZE_WINDOW_SECONDS * 1000)


def ranges(*bad, nodes=10, since_ms=NOW - 500):
    return [RangeCensus(number, nodes, count, since_ms + number) for number, count in enumerate(bad)]


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
    assert advice == Freeze(NOW - 500 + first, NOW + HOLD_MS)


def test_ranges_that_degraded_long_ago_did_not_do_so_at_once():
    long_ago = ranges(9, 9, 9, since_ms=NOW - WINDOW_MS - 100)
    assert advise(long_ago, 0.5, None, NOW) is None
    assert advise(long_ago + ranges(9, 9, 9), 0.5, None, NOW) is not None


def test_a_freeze_goes_on_while_it_is_found_so_then_holds_then_ends():
    counted = ranges(9, 9, 9)
    advice = advise(counted, 0.5, None, NOW)
    later = advise(counted, 0.5, advice, NOW + 10_000)
    assert later == Freeze(advice.since_ms, NOW + 10_000 + HOLD_MS)
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
