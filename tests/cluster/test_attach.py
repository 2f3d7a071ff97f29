"""Attaching to a cluster that others started: refusals at once, and our code on workers that don't have it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from waiting import free_port

import faultset_ray as fs
from cluster.support import PROJECT, RayHead, at_most, bare
from faultset_ray.errors import AuthError, ClusterUnreachable, InputError

pytestmark = [pytest.mark.ray, pytest.mark.cluster]
AT_ONCE = 3.0


@pytest.fixture
def environ(monkeypatch, tmp_path):
    """Set the variables that Ray's clients read; by default there are none, and no token at home."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return monkeypatch.setenv


def port_of(address: str) -> str:
    return address.rpartition(":")[2]


def refused(head: RayHead) -> str:
    with at_most(AT_ONCE), pytest.raises(AuthError) as caught:
        fs.connect(head.address)
    assert port_of(caught.value.address) == port_of(head.address), "Ray makes the host name canonical"
    assert "RAY_AUTH_TOKEN_PATH" in str(caught.value), "it says what to do"
    return caught.value.reason


def test_no_mode(head, environ):
    assert "RAY_AUTH_MODE is not set" in refused(head)


def test_another_mode(head, environ):
    environ("RAY_AUTH_MODE", "disabled")
    assert "RAY_AUTH_MODE is disabled" in refused(head)


def test_no_token(head, environ):
    environ("RAY_AUTH_MODE", "token")
    assert "none was found" in refused(head)


@pytest.mark.parametrize("where", ["variable", "path", "home"])
def test_a_wrong_token(head, environ, tmp_path, where):
    environ("RAY_AUTH_MODE", "token")
    wrong = "0" * 64
    if where == "variable":
        environ("RAY_AUTH_TOKEN", wrong)
    elif where == "path":
        (tmp_path / "token").write_text(wrong)
        environ("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    else:
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text(wrong)
    assert "does not accept the token" in refused(head)


def test_nobody_listens(environ):
    address = f"127.0.0.1:{free_port()}"
    with at_most(AT_ONCE), pytest.raises(ClusterUnreachable, match=port_of(address)):
        fs.connect(address)
    environ("RAY_ADDRESS", address)
    with at_most(AT_ONCE), pytest.raises(ClusterUnreachable, match=port_of(address)):
        fs.connect()


def test_ray_client_addresses_are_explained(environ):
    with at_most(AT_ONCE), pytest.raises(InputError, match="submit it as a job"):
        fs.connect("ray://127.0.0.1:10001")


WHOLE = """
import json, sys
import numpy as np
import faultset_ray as fs
{before}
with fs.connect({address!r}) as driver:
    driver.register([("a", 52.5, 13.4, 20.0), ("b", 48.9, 2.4, 180.0), ("c", 1.0, 2.0, 5.0)])
    payload = np.random.default_rng(0).bytes(500_000)
    shards = driver.encode(payload, "rs:2+1", stripe_bytes=1 << 17)
    same = driver.decode(shards) == payload
    ids = driver.survivors(threshold_ms=100.0, partial=False).ids.tolist()
{after}
print(json.dumps([same, ids]))
"""


def drive(head: RayHead, tmp_path, before: str = "", after: str = "", address: str | None = None):
    """Run a driver that has the project, where there is nothing else to find."""
    script = tmp_path / "driver.py"
    script.write_text(WHOLE.format(address=address, before=before, after=after))
    env = bare(**head.token, PYTHONPATH=PROJECT, RAY_ADDRESS=head.address)
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [True, ["a", "c"]]


def test_our_code_goes_to_workers_that_lack_it(head, tmp_path):
    drive(head, tmp_path, address=head.address)


def test_after_the_users_own_ray_init(head, tmp_path):
    """The connection is used, another cluster is refused, and the connection stays when the driver leaves."""
    elsewhere = f"127.0.0.1:{free_port()}"
    before = (
        "import ray\nray.init(runtime_env={'env_vars': {'MINE': '1'}})\n"
        f"try:\n    fs.connect({elsewhere!r})\n"
        "except fs.errors.InputError as error:\n    assert 'is connected to Ray at' in str(error)\n"
        "else:\n    sys.exit('attached to two clusters')"
    )
    after = "import os\nassert ray.get(ray.remote(lambda: os.environ['MINE']).remote()) == '1'"
    drive(head, tmp_path, before, after)


PUTS = """
import asyncio
import ray
import faultset_ray as fs
from actors.local_cluster import LocalCluster, LocalNode

async def both(address):
    async with await fs.connect_async(address):
        here = [ray.put(number) for number in range(3)]
        there = await asyncio.to_thread(lambda: [ray.put(number) for number in range(3, 6)])
        assert ray.get([*here, *there]) == [*range(6)]

with LocalCluster([LocalNode()]) as cluster, fs.connect(cluster.address):
    pass
with LocalCluster([LocalNode()]) as cluster:
    asyncio.run(both(cluster.address))
"""


def test_threads_of_a_process_that_was_of_another_cluster_may_all_put():
    """Ray ends a process in which two threads both give out the numbers of its job."""
    subprocess.run([sys.executable, "-c", PUTS], cwd=PROJECT, check=True, timeout=120)
