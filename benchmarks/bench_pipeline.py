"""faultset of a fleet of 1,000, 50,000 and 1,000,000 nodes, beside plain Python and numpy."""

import pytest
from peers import fleet, numpy_faultset, python_faultset

import faultset_ray as fs

ROUNDS = {1_000: 500, 50_000: 30, 1_000_000: 3}


@pytest.mark.parametrize("count", ROUNDS)
def test_faultset(benchmark, count):
    benchmark.group = f"faultset of {count:,}"
    benchmark.pedantic(fs.faultset, setup=lambda: ((fleet(count), 100.0, 6), {}), rounds=ROUNDS[count], warmup_rounds=1)


@pytest.mark.parametrize("count", [1_000, 50_000])
def test_python(benchmark, count):
    benchmark.group = f"faultset of {count:,}"
    setup = lambda: ((list(fleet(count)), 100.0, 6), {})  # noqa: E731
    benchmark.pedantic(python_faultset, setup=setup, rounds=ROUNDS[count] // 6)


@pytest.mark.parametrize("count", ROUNDS)
def test_numpy(benchmark, count):
    benchmark.group = f"faultset of {count:,}"
    benchmark.pedantic(numpy_faultset, setup=lambda: ((fleet(count), 100.0, 6), {}), rounds=ROUNDS[count])
