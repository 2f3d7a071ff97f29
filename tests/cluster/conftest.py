"""One cluster of real raylets for each module, as its ``NODES`` says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cluster.support import RayHead, dependencies_only

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def store_root():
    """What ``FAULTSET_STORE_DIR`` is at the nodes; a module that wants it overrides this."""


@pytest.fixture(scope="module")
def cluster(request, store_root):
    """A :class:`~actors.local_cluster.LocalCluster` of the module's ``NODES``."""
    from actors.local_cluster import LocalCluster

    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(TESTS)  # workers find this suite's tasks there, and the project by its shipping
    try:
        with LocalCluster(request.module.NODES, store_dir=store_root and str(store_root)) as running:
            yield running
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


@pytest.fixture(scope="module")
def attached(cluster):
    """The cluster, with this process connected to it: drivers then come and go quickly."""
    from actors.attach import attach

    assert attach(cluster.address) is False
    return cluster


@pytest.fixture(scope="session")
def head(tmp_path_factory):
    """A cluster that others started, whose interpreter has the dependencies but not the project."""
    with RayHead(dependencies_only(tmp_path_factory.mktemp("bare") / "venv")) as running:
        yield running
