"""Settings take hold: in the verbs of a driver, in its process, in those that it starts, at places."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest
from fsspec.core import url_to_fs

import faultset_ray as fs
from faultset_ray.backend.local import LocalBackend
from faultset_ray.backend.protocol import Place
from faultset_ray.codes import engine
from faultset_ray.config import (
    Cluster,
    Codes,
    Config,
    Health,
    InvalidConfig,
    Limits,
    Probe,
    Repair,
    Security,
    Stores,
)
from faultset_ray.config.loading import known
from faultset_ray.config.process import apply, at_place, examine, variables
from faultset_ray.errors import InputError
from faultset_ray.kernels import gf_levels

ROOT = Path(__file__).parents[2]
SIX = [Place(f"p{index}", {"faultset.io/store": "true", "faultset.io/region": f"r{index}"}) for index in range(6)]
NODES = [("a", 52.5, 13.4, 20.0), ("b", 48.9, 2.4, 180.0)]


def connected(config, **options):
    return fs.connect(backend=LocalBackend(SIX, cpus=2), config=config, **options)


@pytest.fixture
def engine_kept(monkeypatch):
    """The engine in use is what it was, afterwards."""
    monkeypatch.setattr(gf_levels, "_wanted", "")
    gf_levels.chosen.cache_clear()
    yield
    gf_levels.chosen.cache_clear()


def test_nothing_is_a_setting_that_nobody_reads():
    """Each is read by name outside of the tree, from the section that it is in, or that was handed on."""
    sources = "".join(
        path.read_text()
        for folder in ("faultset_ray", "actors", "jobs")
        for path in (ROOT / folder).rglob("*.py")
        if path.parent.name != "config" or path.name == "process.py"
    )
    env = {"codes.disable_numba": 'environ.get("FAULTSET_DISABLE_NUMBA"'}  # read before there is any config
    unread = [
        own.key
        for own in known().values()
        if not re.search(
            re.escape(env[own.key])
            if own.key in env
            else rf'at_place\("{own.key}"\)|(?<!self)\.{own.key.rpartition(".")[2]}\b(?! =)',
            sources,
        )
    ]
    assert unread == []


# -- Verbs


def test_objects_are_put_as_the_config_says(monkeypatch):
    config = Config(codes=Codes(put="rs:2+2", tolerate=1, stripe_bytes=4096), stores=Stores(delete_grace_s=7))
    with connected(config) as driver:
        receipt = driver.put("a", bytes(10_000))
        assert receipt.spec.startswith("rs:2+2")
        stat = driver.stat("a")
        assert stat.tolerate == 1
        assert driver.put("b", b"x", code="rs:4+2").survivable == 2, "what is promised is of the config's code alone"
        assert driver.stat("b").tolerate == 2
        graces = []
        real = driver._core._objects.delete

        async def noted(name, generation, grace_s, patience):
            graces.append(grace_s)
            return await real(name, generation, grace_s, patience)

        monkeypatch.setattr(driver._core._objects, "delete", noted)
        driver.delete("a")
        driver.delete("b", grace_s=60)
        assert graces == [7.0, 60]
        assert driver.config is config


def test_durability_of_the_config_is_insisted_on():
    with connected(Config(stores=Stores(durability="fsync"))) as driver:
        with pytest.raises(fs.errors.NotEnoughPlaces):
            driver.put("a", b"x")
        driver.put("a", b"x", durability="none")


def test_shards_are_encoded_as_the_config_says():
    with connected(Config(codes=Codes(encode="rs:3+1"))) as driver:
        assert driver.encode(b"x").spec.startswith("rs:3+1")
        assert driver.encode(b"x", "rs:2+1").spec.startswith("rs:2+1")


def test_a_fleet_has_the_policy_of_its_name():
    strict = fs.Policy(threshold_ms=50.0, samples=(2, 3, 2))
    with connected(Config(policies={"edge": strict})) as driver:
        driver.register(NODES, fleet="edge")
        driver.register(NODES, fleet="other")
        assert driver.survivors(fleet="edge").policy == strict
        assert driver.survivors(fleet="other").policy == fs.Policy()
        driver.register(NODES, fleet="edge", policy=fs.Policy(threshold_ms=9.0))
        assert driver.survivors(fleet="edge").policy.threshold_ms == 9.0


def test_deadlines_are_the_configs(monkeypatch):
    asked = []
    with connected(Config(limits=Limits(survivors_s=7.5, observe_s=2.5, register_s=33.0))) as driver:
        fleet = driver.register(NODES)
        core = driver._core._fleets
        for verb, at in (("survivors", 2), ("observe", 5), ("register", 5), ("why", 2), ("remove", 2)):
            real = getattr(core, verb)

            async def noted(*args, verb=verb, at=at, real=real, **options):
                asked.append((verb, args[at]))
                return await real(*args, **options)

            monkeypatch.setattr(core, verb, noted)
        driver.survivors()
        driver.survivors(deadline_s=4.0)
        driver.observe(fleet.handles, [1.0, 2.0])
        driver.register(NODES)
        driver.why("a")
        driver.remove(["a"])
    assert asked == [
        ("survivors", 7.5),
        ("survivors", 4.0),
        ("observe", 2.5),
        ("register", 33.0),
        ("why", 7.5),
        ("remove", 7.5),
    ]


def test_probes_are_paced_as_the_config_says(monkeypatch):
    made = []

    class Noted:
        def __init__(self, _backend, _verbs, pace, labels, fleet, targets, *, policy):
            made.append((pace, labels, fleet and fleet.name, targets, policy))

        async def start(self):
            return self

        async def stop(self):
            pass

    monkeypatch.setattr("faultset_ray.driver.asynchronous.Probing", Noted)
    slow = fs.Policy(threshold_ms=2000.0)
    by = Probe(every_s=1, rate=5, labels={"faultset.io/store": "true"}, targets={"a": "tcp://h:1"}, fleet="servers")
    with connected(Config(health=Health(probe=by), policies={"places": slow})) as driver:
        driver.register(NODES, fleet="servers")
        driver.probe()
        driver.probe(every_s=3.0, labels={"x": "y"})
    [(pace, *rest), (other, labels, *_)] = made
    assert (pace.every_s, pace.timeout_s, pace.rate, pace.concurrent) == (1.0, 1.0, 5.0, 16)
    assert rest == [{"faultset.io/store": "true"}, "servers", {"a": "tcp://h:1"}, slow]
    assert (other.every_s, other.rate, labels) == (3.0, 5.0, {"x": "y"})


# -- Connecting


def test_connect_says_what_the_config_leaves_open(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("faultset.toml").write_text('[codes]\nput = "rs:2+1"\n')
    monkeypatch.setenv("FAULTSET_CODES_ENCODE", "rs:2+2")
    with fs.connect(backend="local") as driver:
        assert driver.config == Config(), "what its caller did not ask for is not read"
    with fs.connect(backend="local", config="faultset.toml") as driver:
        assert (driver.config.codes.put, driver.config.codes.encode) == ("rs:2+1", "rs:2+2")
    with fs.connect(config=Config(cluster=Cluster(backend="local", threads=3, address="host:1"))) as driver:
        assert driver._core._backend.cpus == 3
    with pytest.raises(InputError, match="a named system outlives"):
        fs.connect(backend="local", config=Config(cluster=Cluster(system="prod")))
    with pytest.raises(InputError, match="config is 3; expected a Config, or the path"):
        fs.connect(backend="local", config=3)
    with pytest.raises(InvalidConfig, match=r"no.toml: can't be read"):
        fs.connect(backend="local", config="no.toml")


def test_the_system_of_the_config_is_a_name(tmp_path):
    with connected(Config(cluster=Cluster(system="prod", region_actors=2)), state_dir=tmp_path) as driver:
        assert driver.system == "prod"
        driver.register([(f"n{lat}", lat, 0.0, 1.0) for lat in range(-60, 60, 10)], 2)
        assert len(driver.survivors().versions) == 2
    with connected(Config(cluster=Cluster(system="prod")), system="other", state_dir=tmp_path) as driver:
        assert driver.system == "other"


def test_files_go_by_the_config_of_their_driver(tmp_path):
    with connected(Config(codes=Codes(put="copy:3", tolerate=1))) as driver:
        files, _ = url_to_fs("faultset://a", driver=driver, skip_instance_cache=True)
        files.pipe_file("a", b"x")
        assert driver.stat("a").spec == "copy:3"
        _, (*_, config) = files.__reduce__()
        assert config is driver.config


# -- Processes


def test_what_processes_are_told():
    assert variables(Config()) == {}
    config = Config(codes=Codes(put="rs:2+1", engine="naive", disable_numba=True), plugins={"m": {"n": 1}})
    told = variables(config)
    assert told.keys() == {"FAULTSET_ENGINE", "FAULTSET_DISABLE_NUMBA", "FAULTSET_PLUGINS"}
    again = Config.load(environ=told)
    assert again == Config(codes=Codes(engine="naive", disable_numba=True), plugins={"m": {"n": 1}})
    assert json.loads(told["FAULTSET_PLUGINS"]) == {"m": {"n": 1}}


def test_the_engine_is_the_configs(engine_kept):
    fastest = engine.active()
    apply(Config())
    assert engine.active() == fastest
    apply(Config(codes=Codes(engine="naive")))
    assert engine.active() == "naive"


def test_what_can_not_work_here_is_named(engine_kept, monkeypatch):
    monkeypatch.setattr(gf_levels, "available", lambda: ("naive",))
    gf_levels.level.cache_clear()  # on a machine whose own level it is, it was found before
    config = Config(
        codes=Codes(put="rs:2+1", tolerate=2, encode="raid:5", engine="avx2"),
        plugins={"mirrr": {}},
        health=Health(repair=Repair(soon_s=10, after_s=5)),
    )
    problems = {problem.key: problem.reason for problem in examine(config)}
    assert list(problems) == [
        "codes.engine",
        "plugins.mirrr",
        "codes.tolerate",
        "codes.encode",
        "health.repair.after_s",
    ]
    assert "bears 1 losses" in problems["codes.tolerate"]
    assert "no plug-in" in problems["plugins.mirrr"]
    with pytest.raises(InvalidConfig, match=r"codes.engine engine 'avx2' is not available here"):
        connected(config)
    assert examine(Config()) == []


def test_rays_own_variables():
    from actors.attach import _variables

    assert _variables(Security()) == {}
    given = Security(ray_auth_mode="token", ray_token_path="/t", ray_token="x")
    assert _variables(given) == {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "/t", "RAY_AUTH_TOKEN": "x"}
    assert len(fields(Security)) == 3


# -- Places


def test_a_place_goes_by_its_own_environment_and_file(tmp_path, monkeypatch):
    own = tmp_path / "place.toml"
    own.write_text(f'[stores]\ndir = "{tmp_path}/file"\n[codes]\nputt = 1\n')
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faultset.toml").write_text('[stores]\ndir = "/nowhere"\n')
    assert at_place("stores.dir") is None, "what stands in a worker's working directory is nobody's"
    monkeypatch.setenv("FAULTSET_CONFIG", str(own))
    assert at_place("stores.dir") == f"{tmp_path}/file", "though something else in it is wrong"
    with connected(Config(stores=Stores(dir="/driver/of/another/machine"))) as driver:
        assert {Path(store.path).parents[1] for store in driver.stores()} == {tmp_path / "file"}
    monkeypatch.setenv("FAULTSET_STORE_DIR", str(tmp_path / "variable"))
    assert at_place("stores.dir") == str(tmp_path / "variable")


@pytest.mark.parametrize(
    ("text", "why"), [("[stores]\ndir = 3\n", "stores.dir is 3"), ("[", "is not TOML"), (None, "can't be read")]
)
def test_a_place_whose_file_is_wrong_has_no_store(tmp_path, monkeypatch, text, why):
    if text is not None:
        (tmp_path / "place.toml").write_text(text)
    monkeypatch.setenv("FAULTSET_CONFIG", str(tmp_path / "place.toml"))
    with pytest.raises(InvalidConfig, match=why):
        at_place("stores.dir")


def test_a_place_is_told_of_its_file_by_an_absolute_path(monkeypatch):
    monkeypatch.setenv("FAULTSET_CONFIG", "faultset.toml")
    with pytest.raises(InvalidConfig, match="at a place it must be an absolute path"):
        at_place("cluster.state_dir")
