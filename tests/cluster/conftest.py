"""One cluster of real raylets for each module, as its ``NODES`` says."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from cluster.support import RayHead, dependencies_only

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def store_root():
    """What ``FAULTSET_STORE_DIR`` is at the nodes; a module that wants it overrides this."""


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """The temporary directory of this process and of those that it starts, for the module."""
    path = tmp_path_factory.mktemp("scratch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(path))
        patch.setattr(tempfile, "tempdir", None)
        yield path


@pytest.fixture(scope="module")
def cluster(request, store_root, scratch):
    """A :class:`~actors.local_cluster.LocalCluster` of the module's ``NODES``."""
    from actors.local_cluster import LocalCluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(TESTS))  # workers find this suite's tasks there, and the project by its shipping
        with LocalCluster(request.module.NODES, store_dir=store_root and str(store_root)) as running:
            directory = Path(os.environ["RAY_AUTH_TOKEN_PATH"]).parent
            yield running
        assert not directory.exists(), "a cluster takes its files along"


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
