"""What the coordinator refuses, and that a refusal changes nothing."""

import numpy as np
import pytest

from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.errors import InputError, UnknownFleet
from faultset_ray.geohash import encode_many
from faultset_ray.model import Fleet


def register(coordinator, ids, name="f", precision=3, now_ms=1):
    fleet = Fleet(ids, np.zeros(len(ids)), np.zeros(len(ids)), np.ones(len(ids)), name=name)
    return coordinator.register(fleet, encode_many(fleet.lat, fleet.lon, precision), precision, 4, now_ms)


def test_another_precision_is_refused():
    coordinator = Coordinator("s")
    register(coordinator, ["a"])
    with pytest.raises(InputError, match=r"fleet 'f' is registered at precision 3, not 4"):
        register(coordinator, ["b"], precision=4)
    found = coordinator.directory("f")
    assert (found.version, found.fleet.ids.tolist()) == (1, ["a"])


def test_fleets_are_apart():
    coordinator = Coordinator("s")
    register(coordinator, ["a", "b"], name="x")
    assert register(coordinator, ["b"], name="w", precision=5).handles.tolist() == [0]
    assert coordinator.fleets() == ["w", "x"]
    with pytest.raises(UnknownFleet) as caught:
        coordinator.directory("y")
    assert (caught.value.fleet, caught.value.known) == ("y", ["w", "x"])
