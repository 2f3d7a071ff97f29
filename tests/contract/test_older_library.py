"""The integration tests of the older library, under their names: its callers need change only the import."""

import asyncio
import subprocess
import sys

import pytest

from faultset_ray import FaultsetError, faultset, faultset_async

NODES = [
    {"id": "tokyo", "lat": 35.0, "lon": 139.0, "latency": 50.0},
    {"id": "london", "lat": 51.5, "lon": -0.1, "latency": 200.0},
    {"id": "new-york", "lat": 40.7, "lon": -74.0, "latency": 75.0},
    {"id": "chiba", "lat": 35.0, "lon": 140.0, "latency": 150.0},
]
FAR = [node | {"latency": 250.0 + index} for index, node in enumerate(NODES)]
COMMAND = [sys.executable, "-m", "faultset_ray.app_faultset", "--threshold", "100.0", "--precision", "5", "--nodes"]


def run(*options):
    spec = ",".join(":".join(map(str, node.values())) for node in NODES)
    return subprocess.run([*COMMAND, spec, *options], capture_output=True, text=True, timeout=120, check=False)


def test_sync_basic():
    survivors = faultset(NODES, threshold=100.0, precision=5)
    assert isinstance(survivors, list)
    assert survivors == ["tokyo", "new-york"]


def test_async_basic():
    assert asyncio.run(faultset_async(NODES, threshold=100.0, precision=5)) == ["tokyo", "new-york"]


def test_sync_empty():
    with pytest.raises(FaultsetError, match="nodes list is empty"):
        faultset([], threshold=50.0, precision=6)


def test_async_empty():
    with pytest.raises(FaultsetError, match="nodes list is empty"):
        asyncio.run(faultset_async([], threshold=50.0, precision=6))


def test_sync_all_filtered():
    with pytest.raises(FaultsetError, match="all clusters yielded no survivors"):
        faultset(FAR, threshold=100.0, precision=12)


def test_async_all_filtered():
    with pytest.raises(FaultsetError, match="all clusters yielded no survivors"):
        asyncio.run(faultset_async(FAR, threshold=100.0, precision=12))


def test_cli_sync():
    result = run()
    assert (result.returncode, result.stdout, result.stderr) == (0, "Healthy nodes: ['tokyo', 'new-york']\n", "")


def test_cli_async():
    result = run("--async")
    assert (result.returncode, result.stdout, result.stderr) == (0, "Healthy nodes: ['tokyo', 'new-york']\n", "")
