"""Stores that come and go: objects lie evenly, and little of them moves (the large count: tests/long)."""

import pytest

from benchmarks.simulations.placement import SLACK, Cluster, Unaware, steps, stores_of

FULLEST = 1.05


@pytest.mark.parametrize(("spec", "together", "extra"), [("rs:4+2", 1, 1.05), ("lrc:4+2+2", 3, 2.0)])
def test_stores_stay_even_and_little_moves(spec, together, extra):
    placed, *changes = steps(120, 12, 20_000, spec, seed=1)
    assert placed.fullest <= FULLEST
    assert len(changes) == 4
    for step in changes:
        assert step.fullest <= FULLEST
        assert step.emptiest >= 1 - SLACK - 0.01
        assert 0 < step.least * 0.99 <= step.moved <= extra * step.least
    assert {step.worst_store for step in [placed, *changes]} == {1}
    assert max(step.worst_region for step in [placed, *changes]) == together


def test_hashing_alone_is_not_even():
    assert Cluster(stores_of(120, 12, 1), 20_000, "rs:4+2", 1, Unaware).place().fullest > 1.1
