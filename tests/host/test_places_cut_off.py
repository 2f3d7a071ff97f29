"""Three hosts in network namespaces, joined by a bridge; the cable of one is pulled, and put back.

Ray's own checks are left as they come: it would notice after a minute.
"""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAD_IP = "10.212.0.1"
HOSTS = ("north", "south", "west")
CUT_OFF_SECONDS = 5.0

OWN_FILES = "mkdir -p /tmp/ray && mount -t tmpfs ray /tmp/ray && mount -t tmpfs shm /dev/shm && ip link set lo up"
RAY = f"{sys.executable} -m ray.scripts.scripts start --disable-usage-stats"

pytestmark = [
    pytest.mark.host,
    pytest.mark.needs("root", "namespaces", "ip", "bash", "mount"),
    pytest.mark.timeout(400),
]


def host_script(home: Path, host: str, ip: str, after: str) -> str:
    """One after another, since Ray gives a node 30 s to start, however busy the machine is."""
    return (
        f"set -euo pipefail\n{OWN_FILES}\ntouch {home}/{host}\n"
        "until ip link show eth0 >/dev/null 2>&1; do sleep 0.1; done\n"
        f"ip addr add {ip}/24 dev eth0; ip link set eth0 up; ip route add default dev eth0\n"
        f"until test -e {home}/{after}-is-up; do sleep 0.1; done\n"
        f"{RAY} --address={HEAD_IP}:6379 --node-ip-address={ip} --num-cpus=1 --object-store-memory=150000000 "
        f"""--labels='faultset.io/store=true,faultset.io/region={host}' > {home}/{host}.log 2>&1\n"""
        f"touch {home}/{host}-is-up\nsleep infinity\n"
    )


def head_script(home: Path) -> str:
    lines = [
        "set -euo pipefail",
        OWN_FILES,
        "ip link add bridge0 type bridge; ip link set bridge0 up",
        f"ip addr add {HEAD_IP}/24 dev bridge0; ip route add default dev bridge0",
    ]
    for host in HOSTS:
        lines += [
            f"unshare --net --mount bash {home}/{host}.sh & pid=$!",
            f"until test -e {home}/{host}; do sleep 0.1; done",
            f"ip link add to-{host} type veth peer name eth0 netns $pid",
            f"ip link set to-{host} master bridge0; ip link set to-{host} up",
        ]
    start = (
        f"{RAY} --head --node-ip-address={HEAD_IP} --port=6379 --num-cpus=0 --include-dashboard=false "
        f"--object-store-memory=200000000 > {home}/head.log 2>&1"
    )
    lines += [
        start,
        f"touch {home}/head-is-up",
        f"{sys.executable} {ROOT}/tests/host/places_scenario.py {HEAD_IP} {' '.join(HOSTS)} > {home}/found.json",
    ]
    return "\n".join(lines) + "\n"


def test_a_host_is_cut_off_and_healed(tmp_path, capsys):
    for number, (after, host) in enumerate(pairwise(("head", *HOSTS)), 2):
        (tmp_path / f"{host}.sh").write_text(host_script(tmp_path, host, f"10.212.0.{number}", after))
    (tmp_path / "head.sh").write_text(head_script(tmp_path))
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text("0123456789abcdef" * 4)
    ours = ("RAY_", "FAULTSET_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_memory_monitor_refresh_ms": "0",
        "PYTHONPATH": str(ROOT),
        "FAULTSET_STORE_DIR": str(tmp_path / "stores"),
    }
    separate = ["unshare", "--net", "--pid", "--fork", "--mount-proc", "--mount", "--kill-child"]
    done = subprocess.run(
        [*separate, "bash", str(tmp_path / "head.sh")],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    logs = "\n".join(f"{path.name}: {path.read_text()[-2000:]}" for path in sorted(tmp_path.glob("*.log")))
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}\n{logs}"

    found = json.loads((tmp_path / "found.json").read_text().splitlines()[-1])
    with capsys.disabled():
        sys.stdout.write(
            f"\ncut-off host seen after {found['seen_s']:.2f} s, its return after {found['healed_s']:.2f} s; meanwhile "
            f"a read took {found['read_s']:.2f} s, a write {found['write_s']:.2f} s\n"
        )
    assert found["seen_s"] <= CUT_OFF_SECONDS
    assert found["ray_thinks_alive"], "our own probing saw it, not Ray"
    assert found["others"] == [True, True], "the rest is not in doubt"
    assert found["decoded"] == [True, True, True]
    assert found["avoided"]
    assert found["same_node"], "the same place came back"
