"""A thousand stores in a hundred regions that come and go under COUNT objects."""

import pytest

from benchmarks.simulations.placement import CODE, OBJECTS, REGIONS, STORES, steps

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]


@pytest.mark.parametrize(("spec", "together", "extra"), [(CODE, 1, 1.02), ("lrc:12+2+2", 3, 2.0)])
def test_long_placement(large, spec, together, extra):
    """Balance within 5 %; of a code without groups hardly a byte more is moved than any plan moves."""
    for step in steps(STORES, REGIONS, large.count(OBJECTS), spec, large.seed):
        assert 0.95 <= step.emptiest <= step.fullest <= 1.05
        assert step.moved <= extra * step.least
        assert step.worst_store == 1
        assert step.worst_region <= together
        large.notes.append(
            f"{step.what}: fullest {step.fullest:.3f}, emptiest {step.emptiest:.3f} of the mean, moved {step.moved:.3%}, at least {step.least:.3%}"
        )
