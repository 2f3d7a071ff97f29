"""Probabilities of loss: beside closed forms where there are some, and beside objects lived through where not."""

import math
import random
from itertools import combinations

import pytest
from naive import durability as naive
from naive import placement

from faultset_ray import codes
from faultset_ray.errors import InputError
from faultset_ray.objects.durability import HOURS_A_YEAR, Rates, annual_loss, nines, reads, repair_hours


@pytest.mark.parametrize("spec", ["copy:2", "copy:3", "xor:4+1", "rs:4+2", "rs:10+4"])
def test_the_classic_mean_time_to_data_loss(spec):
    """Where repairs are much faster than failures, it is m! (k-1)! / n! · mu^m / lambda^(m+1)."""
    code = codes.get(spec)
    rates = Rates(store_losses_a_year=1e-3, detect_hours=1.0, store_bytes=0.0)
    failures, repairs = 1e-3 / HOURS_A_YEAR, 1.0
    m = code.n - code.k
    hours = math.factorial(m) * math.factorial(code.k - 1) / math.factorial(code.n) * repairs**m / failures ** (m + 1)
    assert annual_loss(code, rates) == pytest.approx(HOURS_A_YEAR / hours, rel=0.01)


@pytest.mark.parametrize("spec", ["rs:4+2", "lrc:4+2+2", "lrc:6+3+2"])
def test_without_repair_every_store_lives_or_dies_alone(spec):
    code, year = codes.get(spec), 0.3
    rates = Rates(store_losses_a_year=year, detect_hours=1e15)
    dead = 1 - math.exp(-year)
    expected = 0.0
    for lost in range(code.n + 1):
        fatal = sum(not placement.decodes(code, left) for left in combinations(range(code.n), code.n - lost))
        expected += fatal * dead**lost * (1 - dead) ** (code.n - lost)
    assert annual_loss(code, rates) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("spec", "store_losses", "region_losses", "per_region"),
    [
        ("copy:3", 4.0, 0.0, 1),
        ("copy:3", 0.5, 2.0, 2),
        ("rs:4+2", 1.5, 0.0, 1),
        ("rs:4+2", 1.0, 1.0, 1),
        ("rs:4+2", 0.8, 0.3, 2),
        ("rs:3+2", 0.5, 0.02, 3),
        ("lrc:4+2+2", 3.5, 0.0, 1),
        ("lrc:4+2+1", 1.0, 0.3, 2),
        ("lrc:6+3+2", 2.0, 0.5, 3),
    ],
)
def test_objects_lived_through(spec, store_losses, region_losses, per_region):
    code, runs, dice = codes.get(spec), 4000, random.Random(f"{spec} {per_region}")
    rates = Rates(store_losses, region_losses, store_bytes=0.0, detect_hours=HOURS_A_YEAR / 40)
    lived = sum(naive.lost_within(code, 1.0, store_losses, region_losses, 40.0, per_region, dice) for _ in range(runs))
    expected = annual_loss(code, rates, per_region=per_region)
    assert 0.02 < expected < 0.3, "else so many runs tell little"
    spread = math.sqrt(runs * expected * (1 - expected))
    assert abs(lived - runs * expected) < 4 * spread


def test_a_repair_takes_as_long_as_what_it_reads():
    rates = Rates(store_bytes=3.6e12, repair_bytes_a_second=1e8, detect_hours=0.5)
    for spec, number in [("copy:3", 1), ("rs:10+4", 10), ("xor:5+1", 5), ("lrc:12+2+2", (14 * 6 + 2 * 12) / 16)]:
        assert reads(codes.get(spec)) == pytest.approx(number)
        assert repair_hours(codes.get(spec), rates) == pytest.approx(0.5 + 10 * number)


def test_losses_that_come_together_count_for_most():
    code, rates = codes.get("rs:6+3"), Rates(region_losses_a_year=0.001)
    losses = [annual_loss(code, rates, per_region=number) for number in range(1, 10)]
    assert losses[:4] == sorted(losses[:4])
    assert losses[2] > 1000 * losses[0]
    assert losses[3] == pytest.approx(2 * 0.001, rel=0.01), "two regions of four, of which none may be lost"
    assert losses[8] == pytest.approx(0.001, rel=0.01)


def test_better_rates_are_never_worse():
    code, usual = codes.get("lrc:12+2+2"), annual_loss(codes.get("lrc:12+2+2"), Rates())
    assert 0 < annual_loss(code, Rates(store_losses_a_year=0.01)) < usual
    assert annual_loss(code, Rates(repair_bytes_a_second=1e9)) < usual < annual_loss(code, Rates(detect_hours=24.0))
    assert annual_loss(code, Rates(store_losses_a_year=0.0)) == 0.0
    assert annual_loss(codes.get("copy:2"), Rates(store_losses_a_year=1e6)) == pytest.approx(1.0)
    assert (nines(0.001), nines(0.0)) == (pytest.approx(3.0), math.inf)


@pytest.mark.parametrize(
    "wrong",
    [{"store_losses_a_year": -1}, {"detect_hours": True}, {"store_bytes": math.nan}, {"repair_bytes_a_second": 0}],
)
def test_rates_that_make_no_sense(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Rates(**wrong)


@pytest.mark.parametrize("per_region", [0, 7, True, 1.5])
def test_regions_that_make_no_sense(per_region):
    with pytest.raises(InputError, match="per_region"):
        annual_loss(codes.get("rs:4+2"), Rates(), per_region=per_region)
