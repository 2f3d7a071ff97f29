"""Hosts with network, files and memory of their own, joined by a bridge whose cables can be pulled; the head is one.

They are namespaces within those of the head, so all of them end with it. Ray that ended on a host, as it does after it
was declared dead, is started again there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SUBNET = "10.212.0"
HEAD_IP = f"{SUBNET}.1"
ADDRESS = f"{HEAD_IP}:6379"
OWN_FILES = "mkdir -p /tmp/ray && mount -t tmpfs ray /tmp/ray && mount -t tmpfs shm /dev/shm && ip link set lo up"
RAY = f"{sys.executable} -m ray.scripts.scripts start --disable-usage-stats"
SEPARATE = ["unshare", "--net", "--pid", "--fork", "--mount-proc", "--mount", "--kill-child"]


def run_on_hosts(
    home: Path, regions: Mapping[str, str], scenario: str, seconds: float, **environ: str
) -> dict[str, Any]:
    """Start a head and hosts, and run a module of :mod:`host` on the head; returns what it found.

    Parameters
    ----------
    home
        For files of the hosts; each has ``HOME/stores-HOST`` for its store.
    regions
        The region of each host, by its name.
    scenario
        The module's name; its arguments are the file that it leaves what it found in, as JSON, and the hosts.
    environ
        For the processes of all hosts.
    """
    for number, (after, host) in enumerate(pairwise(("head", *regions)), 2):
        script = _host_script(home, host, regions[host], f"{SUBNET}.{number}", after)
        (home / f"{host}.sh").write_text(script)
    found = home / "found.json"
    (home / "head.sh").write_text(_head_script(home, regions, [scenario, str(found), *regions]))
    token = home / "token"
    token.touch(mode=0o600)
    token.write_text("0123456789abcdef" * 4)
    ours = ("RAY_", "FAULTSET_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_memory_monitor_refresh_ms": "0",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
        "FAULTSET_STATE_DIR": str(home / "state"),
        **environ,
    }
    done = subprocess.run(
        [*SEPARATE, "bash", str(home / "head.sh")],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    logs = "\n".join(f"{path.name}: {path.read_text()[-2000:]}" for path in sorted(home.glob("*.log")))
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-6000:]}\n{logs}"
    return dict(json.loads(found.read_text()))


def addresses(hosts: list[str]) -> dict[str, str]:
    """The IP address of each host."""
    return {host: f"{SUBNET}.{number}" for number, host in enumerate(hosts, 2)}


def cable(host: str, state: str) -> None:
    """Pull the cable of a host (``"down"``), or put it back (``"up"``)."""
    subprocess.run(["ip", "link", "set", f"to-{host}", state], check=True)


def _host_script(home: Path, host: str, region: str, ip: str, after: str) -> str:
    """One after another, since Ray gives a node 30 s to start, however busy the machine is."""
    return (
        f"set -euo pipefail\n{OWN_FILES}\nmkdir -p {home}/stores-{host}\ntouch {home}/{host}\n"
        "until ip link show eth0 >/dev/null 2>&1; do sleep 0.1; done\n"
        f"ip addr add {ip}/24 dev eth0; ip link set eth0 up; ip route add default dev eth0\n"
        f"until test -e {home}/{after}-is-up; do sleep 0.1; done\n"
        f"(until grep -q 'Ray runtime started' {home}/{host}.log; do sleep 0.1; done; touch {home}/{host}-is-up) &\n"
        "while true; do\n"
        f"FAULTSET_STORE_DIR={home}/stores-{host} "
        f"{RAY} --block --address={ADDRESS} --node-ip-address={ip} --num-cpus=1 --object-store-memory=150000000 "
        f"--labels='faultset.io/store=true,faultset.io/region={region}' >> {home}/{host}.log 2>&1 || true\n"
        "sleep 1\ndone\n"
    )


def _head_script(home: Path, hosts: Mapping[str, str], scenario: list[str]) -> str:
    lines = [
        "set -euo pipefail",
        OWN_FILES,
        "ip link add bridge0 type bridge; ip link set bridge0 up",
        f"ip addr add {HEAD_IP}/24 dev bridge0; ip route add default dev bridge0",
    ]
    for host in hosts:
        lines += [
            f"touch {home}/{host}.log",
            f"unshare --net --mount bash {home}/{host}.sh & pid=$!",
            f"until test -e {home}/{host}; do sleep 0.1; done",
            f"ip link add to-{host} type veth peer name eth0 netns $pid",
            f"ip link set to-{host} master bridge0; ip link set to-{host} up",
        ]
    start = (
        f"{RAY} --head --node-ip-address={HEAD_IP} --port=6379 --num-cpus=0 --include-dashboard=false "
        f"--object-store-memory=200000000 > {home}/head.log 2>&1"
    )
    lines += [start, f"touch {home}/head-is-up", f"{sys.executable} -m host.{' '.join(scenario)}"]
    return "\n".join(lines) + "\n"
