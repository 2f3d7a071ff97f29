"""Samples into health: smoothing by the time that passed, windows of good and bad, a latency sketch.

What belongs to one node lies in one cache line of 64 bytes, since samples come for nodes in any order and each
line touched costs more than all the arithmetic. Kernels see the lines as four arrays over the same memory.

Nothing here calls a mathematical library or reorders arithmetic, so that a trace gives the same bits
wherever it is replayed.

The mean is weighted by exp2(-age / half-life), kept as in West, "Updating mean and variance estimates",
CACM 22(9), 1979: with total weight W it moves by (x - mean) / W. The sketch has buckets that are linear
within each power of two, as in HdrHistogram, so a bucket is a few bits of the float.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from faultset_ray.kernels.jit import HAVE_NUMBA, kernel
from faultset_ray.limits import LATENCY_MS_MAX

Line = TypeVar("Line", bound=np.generic)

NEVER = -1
"""A time that has not come: no sample yet."""
COUNT_MAX = 0xFFFF
SKETCH_BUCKETS = 64
"""Four for each power of two from 0.5 ms to 32.8 s, a byte each: a cache line too."""
SKETCH_WORDS = SKETCH_BUCKETS // 8
SAMPLE_WEIGHT = 4
"""What a new sample adds to its bucket: it fades in three half-lives."""

LINE_BYTES = 64
LAST, EWMA, PEAK, WEIGHT = range(4)
"""Positions in a line's float64; the first three are numbers of statistics too."""
P95 = 3
"""Number of the statistic that is no column."""
LAST_MS, MEASURED_MS = 4, 5
"""In its int64."""
WINDOW = 12
"""In its uint32."""
GOOD, FAILURES, THRESHOLD = 26, 27, 31
"""In its uint16; the last is a number in a table, see :class:`~faultset_ray.control.health.Health`."""
STATE, MARK, RULE, BLOCKED, EJECTIONS = range(56, 61)
"""In its uint8."""

SINCE_MS, UNTIL_MS, VALUE = range(3)
"""Positions in the three int64, or float64, of what is noted when a node's state is entered."""

_BUCKET_MAX = SKETCH_BUCKETS - 1
_WEIGHT_MAX = 255
_FADED_AFTER = 8
_MANTISSA_SHIFT = np.uint64(50)
_MAGNITUDE = np.uint64((1 << 63) - 1)
"""All bits of a float64 but the sign, so that -0.0 counts as 0.0."""
_LOWEST = (1023 - 1) << 2
"""The leading bits of 0.5."""
_KEPT = np.array([(0xFF >> shift) * 0x0101010101010101 for shift in range(_FADED_AFTER + 1)], np.uint64)
"""Bits of a word that are a byte's own after a shift."""
_FROM = np.array(
    [[sum(0xFF << 8 * b for b in range(8) if 8 * w + b >= low) for w in range(SKETCH_WORDS)] for low in range(65)],
    np.uint64,
)
"""Bits of each word that are buckets from the given one on."""
_BYTE, _EVEN_BYTES, _LOW_HALF = np.uint64(0xFF), np.uint64(0x00FF00FF00FF00FF), np.uint64(0xFFFF)
_EIGHT, _SIXTEEN, _THIRTY_TWO = np.uint64(8), np.uint64(16), np.uint64(32)
_SAMPLE = np.uint64(SAMPLE_WEIGHT)
_WINDOW_BITS = 0xFFFFFFFF
_TOUCHED_AHEAD = 32
_HALVINGS_MAX = 64
_HALVES = np.ldexp(1.0, -np.arange(_HALVINGS_MAX))
_EDGES = np.ldexp(1.0 + np.arange(SKETCH_BUCKETS + 1) % 4 / 4, np.arange(SKETCH_BUCKETS + 1) // 4 - 1)
_MIDDLES = 2 * _EDGES[:-1] * _EDGES[1:] / (_EDGES[:-1] + _EDGES[1:])
"""The value of each bucket that is, relatively, equally far from both of its edges: at most 1/9."""


def lines(n: int) -> NDArray[np.uint8]:
    """Make uint8[n, 64], each row a cache line."""
    memory = np.zeros((n + 1) * LINE_BYTES, np.uint8)
    start = -memory.ctypes.data % LINE_BYTES
    return memory[start : start + n * LINE_BYTES].reshape(n, LINE_BYTES)


def lines_of(rows: NDArray[Line], slots: NDArray[np.int64]) -> NDArray[Line]:
    """Copy some rows of 64 bytes into lines of their own."""
    taken = lines(len(slots)).view(rows.dtype)
    np.take(rows, slots, axis=0, out=taken, mode="clip")  # other modes make a copy more
    return taken


@kernel()
def decay(elapsed_ms: Any, half_life_ms: Any) -> Any:
    """Return 2 ** -(elapsed / half-life), within 3e-10, by + - × / and exact scaling alone."""
    if elapsed_ms <= 0:
        return 1.0
    halvings = elapsed_ms // half_life_ms
    if halvings >= _HALVINGS_MAX:
        return 0.0
    x = (elapsed_ms - halvings * half_life_ms) / half_life_ms
    square = x * x
    low = -0.6931471804363273 + 0.24022649483474864 * x
    middle = -0.055503913872750985 + 0.009616950709432 * x
    high = -0.0013299398823282923 + 0.00014889237621495814 * x - 1.1303843478320768e-05 * square
    return (1.0 + x * (low + square * (middle + square * high))) * _HALVES[halvings]


@kernel()
def sketch_add(sketch: Any, s: Any, bits: Any, halvings: Any) -> None:
    """Let a node's sketch fade by ``halvings``, and add the latency with these bits.

    The sketch is uint64[8]: bucket b is byte b % 8 of word b // 8, counted from the lowest.
    """
    bucket: Any = min(max(np.int64((bits & _MAGNITUDE) >> _MANTISSA_SHIFT) - _LOWEST, 0), _BUCKET_MAX)
    word, at = bucket >> 3, np.uint64((bucket & 7) << 3)
    shift = min(halvings, _FADED_AFTER)
    if np.int64((sketch[s, word] >> at) & _BYTE) >> shift > _WEIGHT_MAX - SAMPLE_WEIGHT:
        shift = min(shift + 1, _FADED_AFTER)
    if shift > 0:
        for w in range(SKETCH_WORDS):
            sketch[s, w] = (sketch[s, w] >> np.uint64(shift)) & _KEPT[shift]
    sketch[s, word] += _SAMPLE << at


@kernel()
def sketch_p95(sketch: Any, s: Any) -> Any:
    """Return the 95th percentile: of the lowest bucket with at least 19/20 of the weight in or below it."""
    total = np.int64(0)
    for w in range(SKETCH_WORDS):
        total += _weight_of(sketch[s, w])
    above, word = np.int64(0), SKETCH_WORDS - 1
    while word > 0 and (above + _weight_of(sketch[s, word])) * 20 <= total:
        above += _weight_of(sketch[s, word])
        word -= 1
    byte = 7
    while byte > 0:
        above += np.int64((sketch[s, word] >> np.uint64(byte << 3)) & _BYTE)
        if above * 20 > total:
            break
        byte -= 1
    return _MIDDLES[word * 8 + byte]


@kernel()
def sketch_above(sketch: Any, s: Any, first: Any, second: Any) -> Any:
    """Tell of two buckets (0 to 64) whether the 95th percentile is there or above, without the search for it."""
    total, above, further = np.uint64(0), np.uint64(0), np.uint64(0)
    for w in range(SKETCH_WORDS):
        word = sketch[s, w]
        total += (word & _EVEN_BYTES) + ((word >> _EIGHT) & _EVEN_BYTES)
        high = word & _FROM[first, w]
        above += (high & _EVEN_BYTES) + ((high >> _EIGHT) & _EVEN_BYTES)
        high = word & _FROM[second, w]
        further += (high & _EVEN_BYTES) + ((high >> _EIGHT) & _EVEN_BYTES)
    weight = _add_pairs(total)
    return _add_pairs(above) * 20 > weight, _add_pairs(further) * 20 > weight


@kernel()
def _add_pairs(pairs: Any) -> Any:
    pairs += pairs >> _THIRTY_TWO
    return np.int64((pairs + (pairs >> _SIXTEEN)) & _LOW_HALF)


@kernel()
def _weight_of(word: Any) -> Any:
    """Add up the bytes of a word."""
    return _add_pairs((word & _EVEN_BYTES) + ((word >> _EIGHT) & _EVEN_BYTES))


@kernel()
def statistic_of(statistic: Any, slot: Any, floats: Any, sketch: Any) -> Any:
    """Return what a policy compares of a node; NaN where it was never measured."""
    if statistic < P95:
        return floats[slot, statistic]
    return np.nan if np.isnan(floats[slot, LAST]) else sketch_p95(sketch, slot)


@kernel()
def absorb_samples(
    slots: Any,
    latency: Any,
    bits: Any,
    ok: Any,
    at_ms: Any,
    floats: Any,
    times: Any,
    words: Any,
    halves: Any,
    sketch: Any,
    statistic: Any,
    threshold_ms: Any,
    recover_ms: Any,
    half_life_ms: Any,
    bad_bucket: Any,
    unrecovered_bucket: Any,
) -> Any:
    """Take samples in order, in place; return how many were not older than what was known.

    The second value returned means nothing: without it the compiler would leave the touching out.
    """
    taken, touched = 0, np.int64(0)
    for i in range(len(slots)):
        if i % _TOUCHED_AHEAD == 0 and HAVE_NUMBA:
            touched ^= _touch(slots[i : i + _TOUCHED_AHEAD], times, sketch)
        s = slots[i]
        at = at_ms[i]
        if s < 0 or at < times[s, LAST_MS]:
            continue
        taken += 1
        times[s, LAST_MS] = at
        value = latency[i]
        if not ok[i] or np.isnan(value):
            halves[s, FAILURES] = min(np.int64(halves[s, FAILURES]) + 1, COUNT_MAX)
            words[s, WINDOW] = (np.int64(words[s, WINDOW]) << 1 | 1) & _WINDOW_BITS
            halves[s, GOOD] = 0
            continue
        halves[s, FAILURES] = 0
        floats[s, LAST] = value
        value = min(value, LATENCY_MS_MAX)
        before = times[s, MEASURED_MS]
        times[s, MEASURED_MS] = at
        if before == NEVER:
            floats[s, WEIGHT] = 1.0
            floats[s, EWMA] = value
            floats[s, PEAK] = value
        else:
            kept = decay(at - before, half_life_ms)
            floats[s, WEIGHT] = floats[s, WEIGHT] * kept + 1.0
            floats[s, EWMA] += (value - floats[s, EWMA]) / floats[s, WEIGHT]
            floats[s, PEAK] = max(value, floats[s, PEAK] * kept)
        if len(sketch) > 0:
            halvings = 0 if before == NEVER else at // half_life_ms - before // half_life_ms
            sketch_add(sketch, s, bits[i], halvings)
        if statistic < P95:
            bad, recovered = floats[s, statistic] > threshold_ms, floats[s, statistic] <= recover_ms
        else:
            bad, unrecovered = sketch_above(sketch, s, bad_bucket, unrecovered_bucket)
            recovered = not unrecovered
        words[s, WINDOW] = (np.int64(words[s, WINDOW]) << 1 | np.int64(bad)) & _WINDOW_BITS
        halves[s, GOOD] = min(np.int64(halves[s, GOOD]) + 1, COUNT_MAX) if recovered else 0
    return taken, touched


@kernel()
def _touch(slots: Any, times: Any, sketch: Any) -> Any:
    """Read from every line that is needed next, so that the processor waits for all of them at once."""
    touched = np.int64(0)
    for i in range(len(slots)):
        if slots[i] >= 0:
            touched ^= times[slots[i], LAST_MS]
            if len(sketch) > 0:
                touched ^= np.int64(sketch[slots[i], 0])
    return touched


@kernel()
def sketch_p95s(sketch: Any, slots: Any, places: Any, values: Any) -> None:
    """Write the 95th percentile of each of these slots to its place in ``values``."""
    for j in range(len(slots)):
        values[places[j]] = sketch_p95(sketch, slots[j])


def bucket_above(threshold_ms: float) -> int:
    """Return the lowest bucket (64 for none) whose value is above a threshold."""
    return int(np.searchsorted(_MIDDLES, threshold_ms, side="right"))


def sketches_of(latency: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Return sketches that know one latency each, none where it is NaN: uint64[n, 8]."""
    rows = lines(len(latency)).view(np.uint64)
    _add_each(rows, latency, latency.view(np.uint64))
    return rows


@kernel()
def _add_each(rows: Any, latency: Any, bits: Any) -> None:
    for s in range(len(rows)):
        if not np.isnan(latency[s]):
            sketch_add(rows, s, bits[s], 0)
