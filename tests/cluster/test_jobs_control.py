"""The verbs of the control plane, each a process of its own, on a named system of a real cluster."""

from __future__ import annotations

import json

import pytest

from actors.local_cluster import LocalNode
from cluster.support import token_of_ray, verb

pytestmark = [pytest.mark.ray, pytest.mark.cluster]

NODES = [LocalNode(cpus=2)]
POLICY = 'threshold_ms = 100.0\nsamples = [2, 3, 2]\neject_max = 0.7\nsurvivors_min = 2\nfallback = "nearest"\n'
CITIES = {"fra": (50.11, 8.68), "par": (48.86, 2.35)}


@pytest.fixture
def told(attached, tmp_path):
    """What a verb says, line by line."""
    system = {"FAULTSET_SYSTEM": "verbs", "FAULTSET_STATE_DIR": str(tmp_path / "state")}
    environ = token_of_ray() | system | {"RAY_ADDRESS": attached.address}

    def call(*arguments: object, code: int = 0) -> list[dict]:
        return [json.loads(line) for line in verb(environ, *arguments, code=code).stdout.splitlines()]

    return call


def test_an_outage_told_verb_by_verb(told, tmp_path):
    fleet, policy, position = tmp_path / "fleet.csv", tmp_path / "policy.toml", tmp_path / "position.json"
    rows = [f"{city}-{i},{lat},{lon},{20 + i}" for city, (lat, lon) in CITIES.items() for i in range(4)]
    fleet.write_text("\n".join(["id,lat,lon,latency_ms", *rows]) + "\n")
    policy.write_text(POLICY)
    [made] = told("register", fleet, "--precision", 3, "--policy", policy)
    assert (made["nodes"], made["system"], made["policy"]["survivors_min"]) == (8, "verbs", 2)
    assert told("watch", "--position", position, "--idle", 0.1)[-1]["changes"] == 0
    [refused] = told("survivors", "--system", "verbz", code=2)
    assert (refused["error"]["code"], refused["error"]["known"]) == ("unknown_system", ["verbs"])

    for _ in range(2):  # two bad ones of three
        assert told("observe", "--sample", "fra-1=fail", "--sample", "fra-3=500")[0]["taken"] == 2
    [answer] = told("survivors")
    assert answer["by_region"] == {"u0y": ["fra-0", "fra-2"], "u09": [f"par-{i}" for i in range(4)]}
    assert answer["missing_regions"] == {}
    [why] = told("why", "fra-1")
    assert [(each["state"], each["survives"]) for each in why["verdicts"]] == [("ejected", False)]
    *changes, last = told("watch", "--position", position, "--count", 2)
    assert {each["id"] for each in changes if each["after"] == "suspect"} == {"fra-1", "fra-3"}
    *changes, last = told("watch", "--position", position, "--idle", 0.5)
    assert {each["id"] for each in changes if each["after"] == "ejected"} == {"fra-1", "fra-3"}
    assert last["changes"] == len(changes)

    assert told("mark", "drain", "fra-0")[0]["marked"] == 1
    [answer] = told("survivors")
    assert answer["short"] == {"u0y": [1, 2]}
    assert answer["by_region"]["u0y"][0] == "fra-2"
    assert answer["by_region"]["u0y"][1].startswith("par-"), "borrowed from the nearest"
    assert told("regions")[0]["regions"]["u0y"] == {"nodes": 4, "survivors": 1}
    policy.write_text("threshold_ms = 1000.0\n")
    assert told("plan", policy)[0]["joins"] == ["fra-3"]
    assert told("survivors", "--threshold", 1, code=1)[0]["survivors"] == []
