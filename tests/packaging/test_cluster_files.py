"""``deploy/clusters``: what Ray's launcher takes, and the same commands as in ``cluster.yaml``, which the other tests are about."""

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
OTHERS = ("deploy/clusters/gcp.yaml", "deploy/clusters/local.yaml")
SAME = (
    "cluster_name",
    "file_mounts",
    "rsync_exclude",
    "rsync_filter",
    "setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)


def written(name):
    return yaml.safe_load((ROOT / name).read_text())


def prepared(name):
    """As ``ray up`` sees it."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(written(name))
    validate_config(config)
    return config


@pytest.fixture
def gcp():
    return prepared("deploy/clusters/gcp.yaml")


@pytest.fixture
def local():
    return prepared("deploy/clusters/local.yaml")


def test_there_are_no_others():
    assert {f"deploy/clusters/{path.name}" for path in (ROOT / "deploy" / "clusters").iterdir()} == set(OTHERS)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("field", SAME)
def test_nodes_are_set_up_and_started_as_on_aws(name, field):
    """With the health checks, the token and the directories that are tested there."""
    given, expected = written(name)[field], written("cluster.yaml")[field]
    if name.endswith("local.yaml") and field == "worker_start_ray_commands":
        given = [command.replace(" --labels-file=/etc/faultset/labels.yaml", "") for command in given]
    assert given == expected


@pytest.mark.parametrize("name", OTHERS)
def test_the_head_is_set_up_but_for_what_the_cloud_needs(name):
    ours = [command for command in written(name)["head_setup_commands"] if "google-api-python-client" not in command]
    assert ours == [command for command in written("cluster.yaml")["head_setup_commands"] if "boto3" not in command]


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_to_be_filled_in_can_not_be_overlooked(name):
    text = (ROOT / name).read_text()
    assert "FILL-IN" in text.partition("cluster_name:")[2]
    assert "# FILL-IN:" in text.partition("cluster_name:")[0]


def test_stores_in_google_share_no_fault_domain(gcp):
    from ray._private.label_utils import validate_node_label_syntax

    workers = {name: kind for name, kind in gcp["available_node_types"].items() if name != gcp["head_node_type"]}
    stores = {name: kind for name, kind in workers.items() if kind["labels"].get("faultset.io/store") == "true"}
    regions = {kind["labels"]["faultset.io/region"] for kind in stores.values()}
    domains = {kind["node_config"]["scheduling"]["availabilityDomain"] for kind in stores.values()}
    assert len(regions) == len(domains) == len(stores) == 3
    policies = {policy for kind in stores.values() for policy in kind["node_config"]["resourcePolicies"]}
    assert len(policies) == 1, "a fault domain is one of a placement policy's"
    for name, kind in workers.items():
        validate_node_label_syntax(kind["labels"])
        (disk,) = kind["node_config"]["disks"]
        assert disk["autoDelete"] is (name not in stores)
        if name in stores:
            assert kind["min_workers"] == kind["max_workers"] == 2, "a store that load brought could never leave"
            assert disk["initializeParams"]["diskSizeGb"] == 500
        else:
            assert kind["labels"]["faultset.io/elastic"] == "true"
            assert kind["min_workers"] == 0
    assert sum(kind["max_workers"] for kind in workers.values()) == gcp["max_workers"]


def test_the_head_in_google_takes_no_work_and_keeps_its_disk(gcp):
    head = gcp["available_node_types"][gcp["head_node_type"]]
    assert head["resources"] == {"CPU": 0}
    assert "faultset.io/store" not in head.get("labels", {})
    assert head["node_config"]["disks"][0]["autoDelete"] is False
    assert gcp["provider"]["cache_stopped_nodes"] is True


def test_all_hosts_of_ones_own_are_used_and_say_where_they_stand(local):
    (kind,) = local["available_node_types"].values()
    hosts = local["provider"]["worker_ips"]
    assert kind["min_workers"] == local["max_workers"] == len(set(hosts)) == 6
    assert local["provider"]["head_ip"] not in hosts
    assert "--labels-file=/etc/faultset/labels.yaml" in local["worker_start_ray_commands"][-1]
    assert "--labels-file" not in local["head_start_ray_commands"][-1]


def test_the_labels_that_the_file_shows_are_labels(tmp_path):
    from ray._private.label_utils import parse_node_labels_from_yaml_file

    shown = (ROOT / "deploy" / "clusters" / "local.yaml").read_text().partition("cluster_name:")[0]
    lines = [line.removeprefix("#   ") for line in shown.splitlines() if line.startswith("#   faultset.io/")]
    (tmp_path / "labels.yaml").write_text("\n".join(lines))
    labels = parse_node_labels_from_yaml_file(str(tmp_path / "labels.yaml"))
    assert labels == {"faultset.io/store": "true", "faultset.io/region": "rack-1", "faultset.io/cell": "u0yjj"}
