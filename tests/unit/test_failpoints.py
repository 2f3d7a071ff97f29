"""Failpoints do nothing until a test arms them, and nothing again afterwards."""

import pytest

from faultset_ray import failpoints
from faultset_ray.errors import InputError


def test_an_armed_one_acts_and_only_within_its_context():
    reached = []
    failpoints.reach("put.sealed")
    with failpoints.arm("put.sealed", lambda: reached.append(1)):
        failpoints.reach("put.sealed")
        failpoints.reach("put.sealed")
        failpoints.reach("put.recorded")
    failpoints.reach("put.sealed")
    assert reached == [1, 1]


def test_an_action_that_raises_is_a_crash_there():
    def crash():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), failpoints.arm("move.copied", crash):
        failpoints.reach("move.copied")
    failpoints.reach("move.copied")


@pytest.mark.parametrize("name", ["put.nowhere", "", "put"])
def test_points_that_are_not(name):
    with pytest.raises(InputError, match="failpoint"), failpoints.arm(name, lambda: None):
        pass


def test_one_point_has_one_action():
    with failpoints.arm("put.opened", lambda: None), pytest.raises(InputError):
        failpoints.arm("put.opened", lambda: None).__enter__()
