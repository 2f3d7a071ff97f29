"""Settings on a real cluster: processes go by their driver's config, places by their own file."""

import os
from pathlib import Path

import pytest
import spans

import faultset_ray as fs
from actors.local_cluster import LocalNode
from cluster import tasks
from faultset_ray.backend.protocol import ANYWHERE
from faultset_ray.config import Cluster, Codes, Config, Stores, Tracing
from faultset_ray.kernels import gf_levels
from faultset_ray.telemetry import tracing

pytestmark = pytest.mark.ray

NODES = [LocalNode({"faultset.io/store": "true", "faultset.io/region": f"r{index}"}) for index in range(2)]


@pytest.fixture(scope="module")
def store_root(tmp_path_factory):
    """No variable names a directory, but the file of the nodes does."""
    root = tmp_path_factory.mktemp("places")
    (root / "place.toml").write_text(f'[stores]\ndir = "{root}/stores"\n[codes]\nengine = "portable"\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("FAULTSET_CONFIG", "place.toml")
        (root / "spans").mkdir()
        patch.setenv(spans.DIRECTORY, str(root / "spans"))
        yield None


@pytest.fixture
def engine_kept(monkeypatch):
    """The engine of this process is what it was, afterwards."""
    monkeypatch.setattr(gf_levels, "_wanted", "")
    yield
    gf_levels.chosen.cache_clear()


def test_settings_reach_those_whom_they_are_for(attached, engine_kept):
    store_root_of_nodes = Path(os.environ["FAULTSET_CONFIG"]).parent / "stores"
    config = Config(
        cluster=Cluster(address=attached.address, state_dir="/of/another/machine"),
        codes=Codes(put="copy:2", engine="naive"),
        stores=Stores(dir="/of/another/machine"),
        tracing=Tracing(setup="spans:to_files"),
    )
    with spans.no_provider(), fs.connect(config=config) as driver:
        with tracing.span("mine"):
            told = driver._loop.run(driver._core._backend.run(tasks.engine_and_variables, ANYWHERE))
        assert told == ("naive", {"FAULTSET_ENGINE": "naive"}), "a task goes by its driver's config"
        assert driver.put("a", b"hello").spec == "copy:2"
        roots = {Path(store.path).parents[1] for store in driver.stores()}
        assert roots == {store_root_of_nodes}, "a place goes by its own file, not by the driver's"
    assert_traced(spans.Tree.of_files(os.environ[spans.DIRECTORY]))
    with fs.connect(attached.address) as driver:
        told = driver._loop.run(driver._core._backend.run(tasks.engine_and_variables, ANYWHERE))
        assert told[1] == {}, "another driver's processes are others"


def assert_traced(tree):
    """The spans of three kinds of processes are one tree: of the driver, its actors and its task."""

    def pid(span):
        return span["resource"]["attributes"]["process.pid"]

    [put] = tree.named("faultset.put")
    for name in ("store/write", "coordinator/commit_writes"):
        served = tree.named(name, "SERVER")
        assert {tuple(tree.path(span)) for span in served} == {
            (("faultset.put", "INTERNAL"), (name, "CLIENT"), (name, "SERVER"))
        }
        assert pid(put) == os.getpid() not in {pid(span) for span in served}
        assert {span["context"]["trace_id"] for span in served} == {put["context"]["trace_id"]}
        assert {span["attributes"]["rpc.system.name"] for span in served} == {"ray"}
    assert len({pid(span) for span in tree.named("store/write", "SERVER")}) == 2
    [task] = tree.named("engine_and_variables", "SERVER")
    path = [("mine", "INTERNAL"), ("run engine_and_variables", "CLIENT"), ("engine_and_variables", "SERVER")]
    assert tree.path(task) == path
    assert pid(task) != os.getpid()
