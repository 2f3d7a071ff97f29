"""The arithmetic under health: decay to the bit, and how far the sketch may be off."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultset_ray.kernels.health import SAMPLE_WEIGHT, decay, sketch_add, sketch_p95

DECAYS = {
    (0, 10): "0x1.0000000000000p+0",
    (-5, 10): "0x1.0000000000000p+0",
    (10, 10): "0x1.0000000000000p-1",
    (1, 10): "0x1.ddb6801175202p-1",
    (3, 10): "0x1.9fdf8bccd0a63p-1",
    (7777, 10000): "0x1.2aa5c4cccd571p-1",
    (9999, 10000): "0x1.00048af1ca946p-1",
    (35, 1000000): "0x1.fffcd1f96a313p-1",
    (2**40, 2**35 + 1): "0x1.00000001ca04ap-32",
    (123456, 1000): "0x0.0p+0",
}


def test_decay_has_the_same_bits_with_and_without_numba():
    """Golden values: ``make test`` runs this both ways."""
    for (elapsed, half_life), expected in DECAYS.items():
        assert float(decay(elapsed, half_life)).hex() == expected


@given(st.integers(0, 10**11), st.integers(1, 10**10))
def test_decay_is_two_to_the_minus_age(elapsed, half_life):
    exact = 2.0 ** -(elapsed / half_life) if elapsed / half_life < 64 else 0.0
    assert decay(elapsed, half_life) == pytest.approx(exact, rel=3e-10, abs=0)


def p95_of(latencies, halvings=()):
    rows = np.zeros((1, 8), np.uint64)
    fades = dict(halvings)
    for index, latency in enumerate(latencies):
        sketch_add(rows, 0, np.float64(latency).view(np.uint64), fades.get(index, 0))
    return sketch_p95(rows, 0), rows[0].astype("<u8").view(np.uint8)


@given(st.lists(st.floats(0.5, 32_768, exclude_max=True), min_size=1, max_size=63))
def test_p95_of_recent_samples_is_within_a_ninth(latencies):
    exact = sorted(latencies)[math.ceil(0.95 * len(latencies)) - 1]
    assert abs(p95_of(latencies)[0] / exact - 1) <= 1 / 9 + 1e-12


@given(st.lists(st.tuples(st.sampled_from([1.0, 3.0, 9.0, 40.0, 200.0]), st.integers(0, 2)), min_size=1, max_size=150))
def test_the_weight_of_every_bucket_is_right_to_a_quarter_of_a_sample(samples):
    """Where no bucket is full: a full one halves all, as if a half-life had passed."""
    weights = dict.fromkeys([1.0, 3.0, 9.0, 40.0, 200.0], 0.0)
    rows = np.zeros((1, 8), np.uint64)
    for latency, halvings in samples:
        full = max(weights.values()) * 2.0**-halvings * SAMPLE_WEIGHT > 255 - 2 * SAMPLE_WEIGHT
        sketch_add(rows, 0, np.float64(latency).view(np.uint64), halvings)
        if full:
            return
        weights = {value: weight * 2.0**-halvings for value, weight in weights.items()}
        weights[latency] += 1
    counted = rows[0].astype("<u8").view(np.uint8)
    counted = sorted(counted[counted > 0].tolist())
    exact = sorted(SAMPLE_WEIGHT * weight for weight in weights.values())
    padded = [0] * (len(exact) - len(counted)) + counted
    assert all(found <= weight + 1e-9 and weight - found < 1 for found, weight in zip(padded, exact, strict=True))


@pytest.mark.parametrize(
    ("intervals", "least", "most", "spoiled", "detected", "recovered"),
    [(1, 1.75, 1.75, 3, 1, 3), (10, 10.25, 19.5, 10, 1, 44), (20, 20.25, 39.5, 0, 2, 88), (30, 29, 59, 0, 3, 132)],
)
def test_how_many_samples_p95_goes_by(intervals, least, most, spoiled, detected, recovered):
    """By how many intervals of measuring a half-life is long; docs/guides/policies.md says these numbers."""
    slow, weights, found = 500.0, [], []

    def hear(sketch, at, latency):
        sketch_add(sketch, 0, np.float64(latency).view(np.uint64), int(at % intervals == 0))
        return bool(sketch_p95(sketch, 0) > 100)

    for phase in range(intervals):
        sketch, begins = np.zeros((1, 8), np.uint64), 6 * intervals + phase
        for at in range(begins):
            hear(sketch, at, 50.0)
            weights += [sketch.view(np.uint8).sum() / SAMPLE_WEIGHT] if at >= 4 * intervals else []
        one = sketch.copy()
        after_one = [hear(one, begins + at, 50.0 if at else slow) for at in range(4 * intervals)]
        turned = [hear(sketch, begins + at, slow) for at in range(6 * intervals)].index(True) + 1
        back = [hear(sketch, begins + 6 * intervals + at, 50.0) for at in range(6 * intervals)].index(False) + 1
        found.append((sum(after_one), turned, back))
    assert (min(weights), max(weights)) == pytest.approx((least, most), abs=0.5)
    assert tuple(max(column) for column in zip(*found, strict=True)) == (spoiled, detected, recovered)


def test_a_full_bucket_fades_all_and_the_quantile_stays():
    value, weights = p95_of([10.0] * 1_000 + [300.0] * 10)
    assert value == pytest.approx(300, rel=1 / 9), "more than a twentieth of the last samples"
    assert weights.max() <= 255
    value, _ = p95_of([300.0] * 1_000 + [10.0] * 1_000)
    assert value == pytest.approx(10, rel=1 / 9), "the older ones have faded"


def test_what_is_out_of_range_is_at_the_ends():
    assert p95_of([0.0])[0] == p95_of([-0.0])[0] == p95_of([0.3])[0] < 1
    assert p95_of([math.inf])[0] == p95_of([1e9])[0] > 16_384
