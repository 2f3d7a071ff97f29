"""Hosts in network namespaces, joined by a bridge: cables are pulled, and put back.

Ray's own checks are no quicker than they come: it notices after a minute.
"""

import sys

import pytest
from host.hosts import run_on_hosts

CUT_OFF_SECONDS = 5.0

pytestmark = [
    pytest.mark.host,
    pytest.mark.needs("root", "namespaces", "ip", "bash", "mount"),
    pytest.mark.timeout(700),
]


@pytest.fixture
def say(capsys):
    """Show what was found, also where the test passes."""

    def show(text):
        with capsys.disabled():
            sys.stdout.write(f"\n{text}\n")

    return show


def test_a_host_is_cut_off_and_healed(tmp_path, say):
    found = run_on_hosts(tmp_path, {name: name for name in ("north", "south", "west")}, "places_scenario", 300)
    say(
        f"cut-off host seen after {found['seen_s']:.2f} s, its return after {found['healed_s']:.2f} s; meanwhile "
        f"a read took {found['read_s']:.2f} s, a write {found['write_s']:.2f} s"
    )
    assert found["seen_s"] <= CUT_OFF_SECONDS
    assert found["ray_thinks_alive"], "our own probing saw it, not Ray"
    assert found["others"] == [True, True], "the rest is not in doubt"
    assert found["decoded"] == [True, True, True]
    assert found["avoided"]
    assert found["same_node"], "the same place came back"


def test_a_region_is_cut_off_and_healed(tmp_path, say):
    """Of five hosts two are one region. Cut off for seconds, then until Ray has declared its nodes dead."""
    regions = {"east1": "east", "east2": "east", "north": "north", "south": "south", "west": "west"}
    patient = {"RAY_health_check_failure_threshold": "8"}  # a hundred seconds: the first cut is to be over by then
    found = run_on_hosts(tmp_path, regions, "region_scenario", 600, **patient)
    say(", ".join(f"{name} {value:g}" for name, value in found.items()))
    assert found["reads"] > 100
