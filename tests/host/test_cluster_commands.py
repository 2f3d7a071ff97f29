"""The commands of ``cluster.yaml`` and ``deploy/clusters/local.yaml``, run as Ray's launcher would, on a head and a store
that share no host.

The two hosts are network namespaces joined by a virtual cable. Only what needs a machine of one's own is left
out: the autoscaler's bootstrap file, ``ray stop``, and the raised limit of open files.
"""

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
HEAD_IP, STORE_IP = "10.211.0.1", "10.211.0.2"

# Own /tmp/ray and /dev/shm, so that nothing of another cluster on this machine is seen or touched.
HOST = "mkdir -p /tmp/ray && mount -t tmpfs ray /tmp/ray && mount -t tmpfs shm /dev/shm && ip link set lo up"

PROBE = """
import json, os, ray, time
ray.init(address=f"{os.environ['RAY_HEAD_IP']}:6379", log_to_driver=False)

@ray.remote(num_cpus=1, label_selector={"faultset.io/store": "true"})
def look():
    import faultset_ray
    return faultset_ray.__version__, faultset_ray.__file__, os.environ["FAULTSET_STORE_DIR"]

deadline = time.monotonic() + 60
while len(ray.nodes()) < 2:
    assert time.monotonic() < deadline, f"the store did not join: {ray.nodes()}"
    time.sleep(0.2)
nodes = {node["NodeManagerAddress"]: [node["Labels"], node["Resources"].get("CPU", 0)] for node in ray.nodes()}
print(json.dumps({"nodes": nodes, "look": ray.get(look.remote(), timeout=60)}))
"""

pytestmark = [
    pytest.mark.host,
    pytest.mark.needs("root", "namespaces", "ip", "bash", "git", "mount"),
    pytest.mark.timeout(600),
]


def plug_in(device: str, ip: str) -> str:
    """A default route too: Ray finds its own address by asking for the route to the world."""
    return f"ip addr add {ip}/24 dev {device}; ip link set {device} up; ip route add default dev {device}"


def without_cloud(commands: list[str]) -> str:
    text = "\n".join(command for command in commands if not command.endswith("ray stop"))
    for needless in ("ulimit -n 65536;", "--autoscaling-config=~/ray_bootstrap_config.yaml"):
        text = text.replace(needless, "")
    return text.replace("/etc/faultset/", "$HOME/")


@pytest.fixture
def home(tmp_path):
    """A home directory with what ``file_mounts`` brings: the last commit, and a token."""
    (tmp_path / "faultset-ray").mkdir()
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", tmp_path / "faultset-ray"], input=archive, check=True)
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("0123456789abcdef" * 4)
    return tmp_path


def prepared(name):
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(yaml.safe_load((ROOT / name).read_text()))
    validate_config(config)
    return config


def on_aws(config, home):
    """What the launcher tells a node of its type, and the labels and CPUs that come of it."""
    kind = config["available_node_types"]["store-a"]
    told = {"RAY_OVERRIDE_LABELS": kind["labels"], "RAY_OVERRIDE_RESOURCES": kind["resources"]}
    return {name: json.dumps(value) for name, value in told.items()}, kind["labels"], kind["resources"]["CPU"]


def on_own_hosts(config, home):
    """There a host tells itself where it stands."""
    labels = {"faultset.io/store": "true", "faultset.io/region": "rack-1", "faultset.io/cell": "u0yjj"}
    (home / "labels.yaml").write_text(yaml.safe_dump(labels))
    return {}, labels, os.cpu_count()


@pytest.mark.parametrize(("name", "kind"), [("cluster.yaml", on_aws), ("deploy/clusters/local.yaml", on_own_hosts)])
def test_head_and_store_come_up_as_described(home, name, kind):
    config = prepared(name)
    told, labels, cpus = kind(config, home)
    setup = list(dict.fromkeys(config["head_setup_commands"] + config["worker_setup_commands"]))
    exports = "\n".join(f"export {variable}={shlex.quote(value)}" for variable, value in told.items())
    (home / "probe.py").write_text(PROBE)
    (home / "store.sh").write_text(
        f"set -euo pipefail\n{HOST}\nexport RAY_HEAD_IP={HEAD_IP}\n{exports}\n"
        "touch ~/store-is-there; until ip link show cable1 >/dev/null 2>&1; do sleep 0.1; done\n"
        f"{plug_in('cable1', STORE_IP)}\n"
        f"{without_cloud(config['worker_start_ray_commands'])}\nsleep infinity\n"
    )
    (home / "head.sh").write_text(
        f"set -euo pipefail\n{HOST}\n"
        "unshare --net --mount bash ~/store.sh & store=$!\n"
        "until test -e ~/store-is-there; do sleep 0.1; done\n"
        "ip link add cable0 type veth peer name cable1; ip link set cable1 netns $store\n"
        f"{plug_in('cable0', HEAD_IP)}\n"
        f"{without_cloud(config['head_start_ray_commands'])}\n"
        f"cd / && RAY_HEAD_IP={HEAD_IP} ~/.faultset/bin/python ~/probe.py > ~/found.json\n"
    )
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    environment = {**inherited, "HOME": str(home), "RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
    for command in setup:
        shell(["bash", "-c", command], environment)
    shell(
        [
            "unshare",
            "--net",
            "--pid",
            "--fork",
            "--mount-proc",
            "--mount",
            "--kill-child",
            "bash",
            str(home / "head.sh"),
        ],
        environment,
    )

    found = json.loads((home / "found.json").read_text().splitlines()[-1])
    head_labels, head_cpus = found["nodes"][HEAD_IP]
    store_labels, store_cpus = found["nodes"][STORE_IP]
    assert head_cpus == 0
    assert "faultset.io/store" not in head_labels
    assert store_cpus == cpus
    assert labels.items() <= store_labels.items()
    _, module, store_dir = found["look"]
    assert Path(module).is_relative_to(home / ".faultset"), "the installed project, not this checkout"
    assert Path(store_dir) == home / "faultset-store"
    assert (home / "faultset-store").stat().st_mode & 0o777 == 0o700


def shell(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
