"""``deploy/k8s``: what Kubernetes, KubeRay and Ray's autoscaler take, and what the architecture needs."""

import copy
import json
import re
import shlex
import tomllib
from functools import reduce
from pathlib import Path

import jsonschema
import pytest
import yaml
from manifests import MANIFESTS, ROOT, check, documents

import faultset_ray as fs
from faultset_ray.config import Config
from faultset_ray.config.tree import settings

STORE = "faultset.io/store"
REGION = "faultset.io/region"


def of_kind(kind):
    return [document for _, document in documents() if document["kind"] == kind]


@pytest.fixture
def cluster():
    (found,) = of_kind("RayCluster")
    return found


@pytest.fixture
def spec(cluster):
    return cluster["spec"]


@pytest.fixture
def stores(spec):
    return [group for group in spec["workerGroupSpecs"] if group["labels"].get(STORE) == "true"]


def pods(spec):
    return [group["template"] for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])]


def environ(template):
    (container,) = template["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"]}


def claims(template):
    volumes = template["spec"].get("volumes", [])
    return [volume["persistentVolumeClaim"]["claimName"] for volume in volumes if "persistentVolumeClaim" in volume]


@pytest.mark.parametrize(
    ("name", "document"), documents(), ids=lambda value: value if isinstance(value, str) else value["kind"]
)
def test_each_document_is_what_its_kind_says(name, document):
    check(document)


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("RayCluster", ("spec", "enableInTreeAutoscalling"), True),
        ("RayCluster", ("spec", "workerGroupSpecs", 0, "minReplicas"), "one"),
        ("RayCluster", ("spec", "workerGroupSpecs", 0, "idleTimeoutMinutes"), 5),
        ("RayCluster", ("spec", "authOptions", "mode"), "Token"),
        ("RayCluster", ("spec", "headGroupSpec", "template", "spec", "securityContext", "runAsNonroot"), True),
        ("RayCluster", ("spec", "headGroupSpec", "template", "spec", "containers", 0, "volumeMounts", 0, "path"), "/x"),
        ("RayJob", ("spec", "submissionMode"), "HttpMode"),
        ("RayService", ("spec", "upgradeStrategy", "type"), "Never"),
        ("NetworkPolicy", ("spec", "ingress", 0, "form"), []),
        ("PodDisruptionBudget", ("spec", "minAvailible"), 5),
        ("PersistentVolumeClaim", ("spec", "accessModes"), "ReadWriteOnce"),
    ],
)
def test_the_check_would_fail(kind, path, value):
    document = copy.deepcopy(of_kind(kind)[0])
    *parents, last = path
    reduce(lambda node, key: node[key], parents, document)[last] = value
    with pytest.raises(jsonschema.ValidationError):
        check(document)


def test_rays_autoscaler_reads_from_it_what_is_meant(cluster, stores):
    """By Ray's own code, the one that runs beside the head."""
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr

    applied = copy.deepcopy(cluster)
    applied["metadata"]["namespace"] = "default"
    read = _derive_autoscaling_config_from_ray_cr(applied)
    kinds = read["available_node_types"]
    assert kinds[read["head_node_type"]]["resources"]["CPU"] == 0
    assert kinds[read["head_node_type"]]["labels"] == {}
    for group in stores:
        kind = kinds[group["groupName"]]
        assert kind["min_workers"] == kind["max_workers"] == 1, "a store that load brought could never leave"
        assert kind["resources"]["CPU"] == 4
        assert kind["labels"] == group["labels"]
    compute = kinds["compute"]
    assert (compute["min_workers"], compute["max_workers"]) == (0, 12)
    assert compute["labels"]["faultset.io/elastic"] == "true"
    assert STORE not in compute["labels"]
    assert read["max_workers"] == 12 + len(stores)
    assert read["idle_timeout_minutes"] == 5


def test_a_region_is_a_zone_and_each_has_as_many_stores(spec, stores):
    zones = {}
    for group in spec["workerGroupSpecs"]:
        zone = group["template"]["spec"]["nodeSelector"]["topology.kubernetes.io/zone"]
        assert group["labels"][REGION] == zone
        if group in stores:
            zones.setdefault(zone, []).append(group)
    assert sorted(map(len, zones.values())) == [2, 2, 2]


def test_no_two_stores_are_on_one_machine(stores):
    for group in stores:
        (rule,) = group["template"]["spec"]["affinity"]["podAntiAffinity"][
            "requiredDuringSchedulingIgnoredDuringExecution"
        ]
        assert rule["topologyKey"] == "kubernetes.io/hostname"
        assert rule["labelSelector"]["matchLabels"].items() <= group["template"]["metadata"]["labels"].items()


def test_each_store_and_the_head_have_a_volume_of_their_own(spec, stores):
    used = [claim for template in pods(spec) for claim in claims(template)]
    assert sorted(used) == sorted(claim["metadata"]["name"] for claim in of_kind("PersistentVolumeClaim"))
    assert len(set(used)) == len(used) == 1 + len(stores)
    for template in pods(spec):
        (container,) = template["spec"]["containers"]
        kept = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
        named = environ(template)
        places = {"FAULTSET_STORE_DIR", "FAULTSET_STATE_DIR", "RAY_gcs_storage_path"} & named.keys()
        assert {named[place] for place in places} == kept
    assert "FAULTSET_STATE_DIR" in environ(spec["headGroupSpec"]["template"])
    assert all("FAULTSET_STORE_DIR" in environ(group["template"]) for group in stores)


def test_drained_machines_take_one_store_at_a_time(spec, stores):
    (budget,) = of_kind("PodDisruptionBudget")
    assert budget["spec"]["minAvailable"] == len(stores) - 1
    wanted = budget["spec"]["selector"]["matchLabels"].items()
    chosen = [template for template in pods(spec) if wanted <= template["metadata"]["labels"].items()]
    assert chosen == [group["template"] for group in stores]


def test_who_reaches_the_nodes_is_said_for_all_of_them(spec):
    (policy,) = of_kind("NetworkPolicy")
    covered = policy["spec"]["podSelector"]["matchLabels"].items()
    assert all(covered <= template["metadata"]["labels"].items() for template in pods(spec))
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    among_themselves, *others = policy["spec"]["ingress"]
    assert among_themselves == {"from": [{"podSelector": policy["spec"]["podSelector"]}]}
    assert others
    for rule in others:
        assert rule["ports"]
        assert all(peer.get("podSelector") or peer.get("namespaceSelector") for peer in rule["from"]), "from anywhere"
        assert 6379 not in {port["port"] for port in rule["ports"]}


def test_rays_own_settings_are_those_of_the_other_clusters(spec):
    (command,) = [
        text
        for text in yaml.safe_load((ROOT / "cluster.yaml").read_text())["head_start_ray_commands"]
        if "--head" in text
    ]
    (option,) = [word for word in shlex.split(command) if word.startswith("--system-config=")]
    named = environ(spec["headGroupSpec"]["template"])
    expected = json.loads(option.partition("=")[2])
    assert {name: int(named[f"RAY_{name}"]) for name in expected} == expected
    for template in pods(spec):  # unlike an option of `ray start`, a variable is its own node's alone
        assert environ(template)["RAY_idle_worker_killing_time_threshold_ms"] == "600000"


def test_ray_knows_the_settings_by_these_names(spec):
    import ray

    server = (Path(ray.__file__).parent / "core" / "src" / "ray" / "gcs" / "gcs_server").read_bytes()
    named = {name for template in pods(spec) for name in environ(template) if re.match("RAY_[a-z]", name)}
    asked = {name.removeprefix("RAY_") for name in named}
    assert len(asked) == 8
    assert {name for name in asked if name.encode() + b"\0" not in server} == set()


def test_our_settings_are_known_by_these_names_and_go_by_the_place():
    """In all descriptions of clusters; one of a driver's would be read by nobody there."""
    known = {name: own.reader for own in settings(Config).values() for name in own.variables}
    files = (*MANIFESTS.glob("*.yaml"), *(ROOT / "deploy" / "clusters").glob("*.yaml"), ROOT / "cluster.yaml")
    named = set(re.findall(r"\bFAULTSET_[A-Z_]+", "".join(path.read_text() for path in files)))
    assert {name: known.get(name) for name in named} == {"FAULTSET_STATE_DIR": "place", "FAULTSET_STORE_DIR": "place"}


def test_nobody_is_root(spec):
    user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for template in pods(spec):
        security = template["spec"]["securityContext"]
        assert security["runAsNonRoot"] is True
        assert (security["runAsUser"], security["runAsGroup"]) == tuple(map(int, user.groups()))
        assert security["fsGroup"] == security["runAsGroup"], "who owns the volumes"
        for container in template["spec"]["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }


def test_tokens_are_asked_for(spec):
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"


def test_versions_are_those_that_are_tested(spec):
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    assert spec["rayVersion"] == pins["ray"]
    images = {container["image"] for template in pods(spec) for container in template["spec"]["containers"]}
    assert images == {f"FILL-IN/faultset-ray:{fs.__version__}"}


def test_the_image_has_the_extras_that_a_node_may_need():
    """Those that add no heavy library: what a driver brings along may open objects as files, serve them, be traced."""
    offered = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (installed,) = re.findall(r"faultset_ray-\*\.whl\)\[([\w,]+)\]", (ROOT / "Dockerfile").read_text())
    assert set(installed.split(",")) == {"fsspec", "otel", "serve"} & offered.keys()


def test_the_job_runs_in_that_cluster_and_its_verb_takes_the_options(cluster):
    from typer.main import get_command

    from jobs.cli import application

    (job,) = of_kind("RayJob")
    assert job["spec"]["clusterSelector"] == {"ray.io/cluster": cluster["metadata"]["name"]}
    program, verb, *options = shlex.split(job["spec"]["entrypoint"])
    assert program == "faultset"
    get_command(application).commands[verb].make_context(verb, options)  # parses, and runs nothing


def test_the_service_has_the_same_cluster(spec):
    (service,) = of_kind("RayService")
    assert service["spec"]["rayClusterConfig"] == spec
    assert service["spec"]["upgradeStrategy"] == {"type": "None"}, "a second cluster would want the same volumes"


@pytest.fixture
def served():
    from ray.serve.schema import ServeDeploySchema

    (service,) = of_kind("RayService")
    given = yaml.safe_load(service["spec"]["serveConfigV2"])
    (application,) = ServeDeploySchema.model_validate(given).applications  # as Ray Serve reads it
    return application


def test_the_service_serves_the_application_of_the_project(served):
    from ray.serve import Application

    from jobs import serve

    assert served.import_path == "jobs.serve:app"
    assert served.route_prefix == "/"
    made = serve.app(served.args)  # refuses what it does not know, and to be there without tokens
    assert isinstance(made, Application)
    (changed,) = served.deployments
    assert changed.name == made._bound_deployment.name
    assert changed.ray_actor_options.num_cpus == made._bound_deployment.ray_actor_options["num_cpus"]
    assert changed.ray_actor_options.label_selector == {STORE: "true"}


def test_its_tokens_and_its_pace_are_where_it_may_run(served, spec):
    from actors.proxying import IMPORT_PATH, VARIABLE

    directory, _, _ = served.args["tokens"].rpartition("/")
    for template in pods(spec):
        assert environ(template)[VARIABLE] == IMPORT_PATH
    for group in spec["workerGroupSpecs"]:
        pod = group["template"]["spec"]
        (mount,) = [mount for mount in pod["containers"][0]["volumeMounts"] if mount["mountPath"] == directory]
        (volume,) = [volume for volume in pod["volumes"] if volume["name"] == mount["name"]]
        assert mount["readOnly"] is True
        assert volume["secret"]["optional"] is True, "the cluster comes up without the HTTP API too"
        assert oct(volume["secret"]["defaultMode"]) == "0o440", "tokens that others may write are refused"


def test_every_file_is_applied_by_a_command_that_is_shown():
    shown = "".join(path.read_text() for path in MANIFESTS.glob("*.yaml"))
    for path in MANIFESTS.glob("*.yaml"):
        assert f"-f deploy/k8s/{path.name}" in shown
