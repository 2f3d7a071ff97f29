"""Samples into the health columns: smoothing by the time that passed, windows of good and bad, a latency sketch.

Nothing here calls a mathematical library or reorders arithmetic, so that a trace gives the same bits
wherever it is replayed.

The mean is weighted by exp2(-age / half-life), kept as in West, "Updating mean and variance estimates",
CACM 22(9), 1979: with total weight W it moves by (x - mean) / W. The sketch has buckets that are linear
within each power of two, as in HdrHistogram, so a bucket is a few bits of the float.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultset_ray.kernels.jit import kernel
from faultset_ray.limits import LATENCY_MS_MAX

NEVER = -1
"""A time that has not come: no sample yet."""
COUNT_MAX = 0xFFFF
SKETCH_BUCKETS = 72
"""Four for each power of two from 0.25 ms to 65.5 s."""
SAMPLE_WEIGHT = 4
"""What a new sample adds to its bucket: it fades in three half-lives."""

LAST, EWMA, PEAK, P95 = range(4)

_BUCKET_MAX = SKETCH_BUCKETS - 1
_WEIGHT_MAX = 255
_FADED_AFTER = 8
_MANTISSA_SHIFT = np.uint64(50)
_LOWEST = (1023 - 2) << 2
"""The leading bits of 0.25."""
_WINDOW_BITS = 0xFFFFFFFF
_HALVINGS_MAX = 64
_HALVES = np.ldexp(1.0, -np.arange(_HALVINGS_MAX))
_EDGES = np.ldexp(1.0 + np.arange(SKETCH_BUCKETS + 1) % 4 / 4, np.arange(SKETCH_BUCKETS + 1) // 4 - 2)
_MIDDLES = 2 * _EDGES[:-1] * _EDGES[1:] / (_EDGES[:-1] + _EDGES[1:])
"""The value of each bucket that is, relatively, equally far from both of its edges: at most 1/9."""


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
def sketch_add(row: Any, bits: Any, halvings: Any) -> None:
    """Let a node's sketch (uint8[72]) fade by ``halvings``, and add the latency with these bits."""
    bucket = min(max(np.int64(bits >> _MANTISSA_SHIFT) - _LOWEST, 0), _BUCKET_MAX)
    shift = min(halvings, _FADED_AFTER)
    if row[bucket] >> shift > _WEIGHT_MAX - SAMPLE_WEIGHT:
        shift += 1
    if shift > 0:
        for b in range(SKETCH_BUCKETS):
            row[b] = row[b] >> shift
    row[bucket] += SAMPLE_WEIGHT


@kernel()
def sketch_p95(row: Any) -> Any:
    """Return the 95th percentile: of the lowest bucket with at least 19/20 of the weight in or below it."""
    total = np.int64(0)
    for b in range(SKETCH_BUCKETS):
        total += np.int64(row[b])
    above = np.int64(0)
    bucket = _BUCKET_MAX
    while bucket > 0 and (above + np.int64(row[bucket])) * 20 <= total:
        above += np.int64(row[bucket])
        bucket -= 1
    return _MIDDLES[bucket]


@kernel()
def statistic_of(statistic: Any, slot: Any, last: Any, ewma: Any, peak: Any, sketch: Any) -> Any:
    """Return what a policy compares of a node; NaN where it was never measured."""
    if statistic == EWMA:
        return ewma[slot]
    if statistic == PEAK:
        return peak[slot]
    if statistic == P95 and not np.isnan(last[slot]):
        return sketch_p95(sketch[slot])
    return last[slot]


@kernel()
def absorb_samples(
    slots: Any,
    latency: Any,
    bits: Any,
    ok: Any,
    at_ms: Any,
    last: Any,
    ewma: Any,
    weight: Any,
    peak: Any,
    last_ms: Any,
    measured_ms: Any,
    window: Any,
    good: Any,
    failures: Any,
    sketch: Any,
    statistic: Any,
    threshold_ms: Any,
    recover_ms: Any,
    half_life_ms: Any,
) -> Any:
    """Take samples in order, in place; return how many were not older than what was known."""
    taken = 0
    for i in range(len(slots)):
        s = slots[i]
        at = at_ms[i]
        if s < 0 or at < last_ms[s]:
            continue
        taken += 1
        last_ms[s] = at
        value = latency[i]
        if not ok[i] or np.isnan(value):
            failures[s] = min(np.int64(failures[s]) + 1, COUNT_MAX)
            window[s] = (np.int64(window[s]) << 1 | 1) & _WINDOW_BITS
            good[s] = 0
            continue
        failures[s] = 0
        last[s] = value
        value = min(value, LATENCY_MS_MAX)
        before = measured_ms[s]
        measured_ms[s] = at
        if before == NEVER:
            weight[s] = 1.0
            ewma[s] = value
            peak[s] = value
        else:
            kept = decay(at - before, half_life_ms)
            weight[s] = weight[s] * kept + 1.0
            ewma[s] += (value - ewma[s]) / weight[s]
            peak[s] = max(value, peak[s] * kept)
        if len(sketch) > 0:
            halvings = 0 if before == NEVER else at // half_life_ms - before // half_life_ms
            sketch_add(sketch[s], bits[i], halvings)
        compared = statistic_of(statistic, s, last, ewma, peak, sketch)
        window[s] = (np.int64(window[s]) << 1 | np.int64(compared > threshold_ms)) & _WINDOW_BITS
        good[s] = min(np.int64(good[s]) + 1, COUNT_MAX) if compared <= recover_ms else 0
    return taken


@kernel()
def sketch_p95s(sketch: Any, slots: Any, places: Any, values: Any) -> None:
    """Write the 95th percentile of each of these slots to its place in ``values``."""
    for j in range(len(slots)):
        values[places[j]] = sketch_p95(sketch[slots[j]])


def bucket_of(latency: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the bucket of each latency: int64[n]."""
    leading = (latency.view(np.uint64) >> _MANTISSA_SHIFT).astype(np.int64)
    return np.clip(leading - _LOWEST, 0, _BUCKET_MAX)
