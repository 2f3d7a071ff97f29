"""``cluster.yaml`` is what Ray's cluster launcher takes, and what the architecture needs."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from actors.attach import IDLE_WORKERS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def config():
    """As ``ray up`` sees it: defaults filled in, set-up commands merged, the schema checked."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(yaml.safe_load((ROOT / "cluster.yaml").read_text()))
    validate_config(prepared)
    return prepared


@pytest.fixture
def workers(config):
    return {name: kind for name, kind in config["available_node_types"].items() if name != config["head_node_type"]}


def stores(workers):
    return {name: kind for name, kind in workers.items() if kind.get("labels", {}).get("faultset.io/store") == "true"}


def test_the_schema_check_would_fail(config):
    import jsonschema
    from ray.autoscaler._private.util import validate_config

    with pytest.raises(jsonschema.ValidationError):
        validate_config({**config, "max_workers": "many"})


def test_head_takes_no_work_and_keeps_its_disk(config):
    head = config["available_node_types"][config["head_node_type"]]
    assert head["resources"] == {"CPU": 0}
    assert head["max_workers"] == 0
    assert "--num-cpus=0" in config["head_start_ray_commands"][-1]
    assert "faultset.io/store" not in head.get("labels", {})
    assert head["node_config"]["BlockDeviceMappings"][0]["Ebs"]["DeleteOnTermination"] is False
    assert config["provider"]["cache_stopped_nodes"] is True


def test_stores_stand_in_distinct_labelled_regions(workers):
    from ray._private.label_utils import validate_node_label_syntax

    kinds = stores(workers)
    regions = [kind["labels"]["faultset.io/region"] for kind in kinds.values()]
    assert len(set(regions)) == len(regions) >= 3
    subnets = [tuple(kind["node_config"]["SubnetIds"]) for kind in kinds.values()]
    assert len(set(subnets)) == len(subnets), "two regions in one subnet are one region"
    for kind in workers.values():
        validate_node_label_syntax(kind["labels"])
        assert re.fullmatch("[0-9b-hjkmnp-z]{1,12}", kind["labels"]["faultset.io/cell"])
        assert (
            {"faultset.io/region", "faultset.io/cell"}
            <= kind["labels"].keys()
            <= {
                "faultset.io/region",
                "faultset.io/cell",
                "faultset.io/store",
                "faultset.io/elastic",
            }
        )


def test_stores_keep_their_disks_and_compute_comes_and_goes(workers):
    for name, kind in workers.items():
        disk = kind["node_config"]["BlockDeviceMappings"][0]["Ebs"]
        if name in stores(workers):
            assert kind["min_workers"] == kind["max_workers"] >= 1, "a store that load brought could never leave"
            assert disk["DeleteOnTermination"] is False
            assert "InstanceMarketOptions" not in kind["node_config"]
            assert "faultset.io/elastic" not in kind["labels"]
        else:
            assert kind["labels"]["faultset.io/elastic"] == "true"
            assert kind["min_workers"] == 0


def test_worker_counts_agree(config, workers):
    assert all(kind["min_workers"] <= kind["max_workers"] for kind in workers.values())
    assert sum(kind["max_workers"] for kind in workers.values()) == config["max_workers"]
    assert 0 < config["idle_timeout_minutes"] <= 15


def test_rays_own_settings_are_tuned(config):
    (command,) = [text for text in config["head_start_ray_commands"] if "--head" in text]
    (option,) = [word for word in shlex.split(command) if word.startswith("--system-config=")]
    tuned = json.loads(option.partition("=")[2])
    assert tuned == {
        "health_check_initial_delay_ms": 1000,
        "health_check_period_ms": 500,
        "health_check_timeout_ms": 1000,
        "health_check_failure_threshold": 4,
        **IDLE_WORKERS,
    }


def test_every_node_has_the_project_and_the_token(config):
    assert config["file_mounts"]["~/faultset-ray/"] == "./"
    assert "~/.ray/auth_token" in config["file_mounts"]
    for commands in (config["head_setup_commands"], config["worker_setup_commands"]):
        assert any("pip install" in command and command.endswith("~/faultset-ray") for command in commands)
    for commands in (config["head_start_ray_commands"], config["worker_start_ray_commands"]):
        assert "RAY_AUTH_MODE=token" in commands[-1]
    assert "--dashboard-host=127.0.0.1" in config["head_start_ray_commands"][-1]
    assert "FAULTSET_STORE_DIR=" in config["worker_start_ray_commands"][-1]
