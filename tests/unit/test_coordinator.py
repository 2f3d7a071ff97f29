"""What the coordinator refuses, and that a refusal changes nothing."""

import numpy as np
import pytest

from faultset_ray.coordinator.directory import Update
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.errors import InputError, UnknownFleet
from faultset_ray.geohash import encode_many
from faultset_ray.model import Fleet
from faultset_ray.policy import Policy


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


@pytest.mark.parametrize("policy", [None, Policy(threshold_ms=5.0)])
def test_who_registers_a_new_fleet_makes_its_directory_of_what_he_gave(policy):
    nodes = Fleet(["a", "b", "c"], [1, -40, 2], [2, 150, 2], [3.0, np.nan, 5.0], name="f")
    cells = encode_many(nodes.lat, nodes.lon, 3)
    coordinator = Coordinator("s")
    founded = coordinator.register(nodes, cells, 3, 4, 77, policy, b"r", brief=True)
    made, whole = founded.directory.directory(nodes, cells, 3), coordinator.directory("f")
    for name in ("precision", "ranges", "version", "policy", "policy_version"):
        assert getattr(made, name) == getattr(whole, name), name
    for name in ("cells", "registered_ms", "living", "marks"):
        theirs = getattr(whole, name)
        assert (getattr(made, name).tolist(), getattr(made, name).dtype) == (theirs.tolist(), theirs.dtype), name
    for name in ("ids", "lat", "lon", "latency_ms"):
        np.testing.assert_array_equal(getattr(made.fleet, name), getattr(whole.fleet, name))
    assert made.fleet.name == whole.fleet.name
    again = coordinator.register(nodes, cells, 3, 4, 78, policy, b"r", brief=True)
    assert again.directory is whole, "a repeated request is answered with what there is"


def test_fleets_are_apart():
    coordinator = Coordinator("s")
    register(coordinator, ["a", "b"], name="x")
    assert register(coordinator, ["b"], name="w", precision=5).handles.tolist() == [0]
    assert coordinator.fleets() == ["w", "x"]
    with pytest.raises(UnknownFleet) as caught:
        coordinator.directory("y")
    assert (caught.value.fleet, caught.value.known) == ("y", ["w", "x"])


def test_who_has_a_directory_gets_what_changed_since():
    coordinator = Coordinator("s")
    old = register(coordinator, [f"n{number}" for number in range(40)]).directory
    coordinator.set_policy("f", Policy(threshold_ms=5.0))
    news = coordinator.directory("f", old.version)
    assert (isinstance(news, Update), len(news.nodes["handles"])) == (True, 0)
    assert old.updated(news).cells is old.cells, "nothing of the nodes is copied"
    register(coordinator, ["n7", "new"])
    coordinator.remove("f", ["n3"])
    news = coordinator.directory("f", old.version)
    assert news.nodes["handles"].tolist() == [3, 7, 40]
    now = old.updated(news)
    assert (now.version, now.policy.threshold_ms, now.fleet.ids[40]) == (4, 5.0, "new")
    assert np.flatnonzero(~now.living).tolist() == [3]
    assert not isinstance(coordinator.directory("f", 99), Update), "a version of another life"
    register(coordinator, [f"n{number}" for number in range(20)])
    assert not isinstance(coordinator.directory("f", old.version), Update), "much of it changed"
