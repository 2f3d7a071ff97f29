"""Settings: what each place may say, which place counts, what is refused, and how it is told."""

import copy
import json
import logging
import math
import os
import pickle
from dataclasses import FrozenInstanceError, fields, replace
from typing import get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

import faultset_ray as fs
from faultset_ray import config as tree
from faultset_ray.config import Codes, Config, InvalidConfig
from faultset_ray.config.loading import collect, known, nearest
from faultset_ray.config.tree import sections, value_of

VALUES = {
    # of each kind of setting a value that is not its default, as TOML, and as a variable's text
    "cluster.address": ("host:6379", '"host:6379"', "host:6379"),
    "cluster.backend": ("local", '"local"', "local"),
    "cluster.region_actors": (7, "7", "7"),
    "codes.put": ("rs:3+2", '"rs:3+2"', "rs:3+2"),
    "codes.stripe_bytes": (1 << 20, '"1 MiB"', "1MiB"),
    "stores.durability": ("fsync", '"fsync"', "fsync"),
    "health.probe.every_s": (2.0, "2", "2"),
    "health.probe.labels": ({"a.b/c": "x"}, '{"a.b/c" = "x"}', '{"a.b/c": "x"}'),
    "health.repair.bytes_per_s": (2.5e6, '"2.5 MB"', "2500000"),
    "limits.survivors_s": (math.inf, "inf", "inf"),
    "http.port": (9000, "9000", "9000"),
    "http.hosts": (("a.org", "*.b.org"), '["a.org", "*.b.org"]', "a.org, *.b.org"),
    "http.object_bytes_max": (1 << 30, '"1 GiB"', "1GiB"),
    "policies": ({"e": fs.Policy(threshold_ms=5.0)}, "{e = {threshold_ms = 5}}", '{"e": {"threshold_ms": 5}}'),
    "plugins": ({"m": {"n": [1, {"o": True}]}}, "{m = {n = [1, {o = true}]}}", '{"m": {"n": [1, {"o": true}]}}'),
}


def toml(key, text):
    section, _, name = key.rpartition(".")
    return f"[{section}]\n{name} = {text}\n" if section else f"{name} = {text}\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# -- Precedence


@pytest.mark.parametrize("key", VALUES)
def test_a_flag_before_a_variable_before_a_file_before_the_default(here, key):
    value, in_file, text = VALUES[key]
    own = known()[key]
    [variable, *_] = own.variables
    assert value != own.default
    assert value_of(Config.load(environ={}), key) == own.default
    (here / "faultset.toml").write_text(toml(key, in_file))
    from_file = Config.load(environ={})
    assert value_of(from_file, key) == value
    assert (from_file.source(key).kind, from_file.file) == ("file", "faultset.toml")
    assert from_file.source(key).name == f"faultset.toml, line {2 if '.' in key else 1}"
    (here / "faultset.toml").write_text("")
    from_variable = Config.load(environ={variable: text})
    assert value_of(from_variable, key) == value
    assert str(from_variable.source(key)) == f"variable {variable}"
    from_flag = Config.load(environ={}, flags=[f"{key}={text}"])
    assert (value_of(from_flag, key), from_flag.source(key).kind) == (value, "flag")
    assert from_file == from_variable == from_flag != Config()


def test_which_of_several_places_counts(here):
    (here / "faultset.toml").write_text('[codes]\nput = "rs:2+1"\nencode = "rs:2+2"\n[cluster]\nsystem = "a"\n')
    environ = {"FAULTSET_CODES_PUT": "rs:3+1", "FAULTSET_SYSTEM": "b"}
    found = Config.load(environ=environ, flags=["cluster.system=c", "cluster.system=d"])
    assert (found.codes.encode, found.codes.put, found.cluster.system) == ("rs:2+2", "rs:3+1", "d")


def test_which_file_is_read(here):
    for name in ("faultset.toml", "variable.toml", "argument.toml"):
        (here / name).write_text(f'[cluster]\nsystem = "{name}"\n')
    environ = {"FAULTSET_CONFIG": "variable.toml"}
    assert Config.load("argument.toml", environ=environ).cluster.system == "argument.toml"
    assert Config.load(environ=environ).cluster.system == "variable.toml"
    assert Config.load(environ={"FAULTSET_CONFIG": ""}).cluster.system == "faultset.toml"
    assert Config().cluster.system is None


def test_the_first_of_several_variables_counts():
    both = {"FAULTSET_CLUSTER_ADDRESS": "a:1", "RAY_ADDRESS": "b:2"}
    assert Config.load(environ=both).cluster.address == "a:1"
    assert Config.load(environ=both | {"FAULTSET_CLUSTER_ADDRESS": ""}).cluster.address == "b:2"


def test_an_empty_variable_is_none(here):
    assert Config.load(environ={name: "" for own in known().values() for name in own.variables}) == Config()


def test_a_file_that_is_found_must_be_ones_own(here, monkeypatch):
    path = here / "faultset.toml"
    path.write_text('[cluster]\naddress = "evil:6379"\n')
    path.chmod(0o666)
    with pytest.raises(InvalidConfig, match="everybody may write to it; name it with --config"):
        Config.load(environ={})
    assert Config.load("faultset.toml", environ={}).cluster.address == "evil:6379"
    path.chmod(0o644)
    assert Config.load(environ={}).cluster.address == "evil:6379"
    if os.geteuid():
        monkeypatch.setattr("os.geteuid", lambda: 54321)
    else:
        os.chown(path, 54321, -1)
    with pytest.raises(InvalidConfig, match="belongs to user"):
        Config.load(environ={})


# -- What is refused


REFUSED = [
    ("[codes]\nputt = 'rs:2+1'", "faultset.toml, line 2: codes.putt is no setting; did you mean codes.put?"),
    ("sytem = 'x'", "line 1: sytem is no setting; did you mean cluster.system?"),
    ("[healht.repair]\nsoon_s = 3", "line 1: healht is no setting; did you mean health?"),
    ("[health.repair]\n\nsoon = 3", "line 3: health.repair.soon is no setting; did you mean health.repair.soon_s?"),
    ("codes = 3", "line 1: codes is a section: expected a table, [codes]"),
    ("[codes]\nput = 3", 'line 2: codes.put is 3; expected a code, such as "rs:4+2"'),
    ("[codes]\nput = ''", "codes.put is ''; expected a code"),
    ("[codes]\ntolerate = -1", "codes.tolerate is -1; expected an integer from 0 to 65,535"),
    ("[codes]\ntolerate = 1.0", "codes.tolerate is 1.0; expected an integer"),
    ("[codes]\ntolerate = true", "codes.tolerate is True; expected an integer"),
    ("[codes]\nstripe_bytes = '1 MiBs'", "codes.stripe_bytes is '1 MiBs'; expected a number of bytes"),
    ("[codes]\nstripe_bytes = '1 GiB'", "expected a number of bytes from 1, at most 67,108,864"),
    ("[codes]\nstripe_bytes = '0.3 B'", "codes.stripe_bytes is '0.3 B'"),
    ("[codes]\nengine = 'sse'", "codes.engine is 'sse'; expected one of \"gfni512\""),
    ("[codes]\ndisable_numba = true", "may not stand in a file; set the variable FAULTSET_DISABLE_NUMBA"),
    ("[cluster]\nsystem = 'private-x'", "cluster.system is 'private-x'; expected 1 to 64 letters"),
    ("[cluster]\nbackend = ['ray']", "cluster.backend is ['ray']; expected one of"),
    ("[limits]\nsurvivors_s = 0", "limits.survivors_s is 0; expected a number above 0"),
    ("[limits]\nobserve_s = nan", "limits.observe_s is nan; expected a number above 0"),
    ("[health.probe]\nlabels = {a = 1}", "health.probe.labels is {'a': 1}; expected a table of texts"),
    ("[policies.e]\nsamples = [1]", "policies.e samples is [1]; expected"),
    ("[policies.e]\nthreshhold_ms = 1", "has no field 'threshhold_ms'; did you mean 'threshold_ms'?"),
    ("[policies]\ne = 1", "policies is {'e': 1}; expected a table of policies"),
    ("[plugins]\nm = 1", "plugins is not what it can be; expected a table of options"),
    ("[http]\nhosts = ['*']", "http.hosts is ['*']; expected names without ports, * only as *.name"),
    ("[http]\nhosts = 'a'", "http.hosts is 'a'; expected names"),
    ("[plugins.m]\nat = 2026-01-01", "plugins is not what it can be"),
    (
        "[security]\nray_token = 'hunter2'",
        "security.ray_token may not stand in a file; set the variable RAY_AUTH_TOKEN",
    ),
    ("[codes", "faultset.toml: is not TOML: "),
    ("a = 1\na = 2", "is not TOML: "),
    ("a = " + "[" * 5000, "is not TOML: "),
]


@pytest.mark.parametrize(("text", "why"), REFUSED)
def test_what_a_file_may_not_say(text, why):
    with pytest.raises(InvalidConfig) as caught:
        Config.from_toml(text, "faultset.toml")
    assert why in str(caught.value)
    assert "hunter2" not in str(caught.value)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.fields()) == (str(caught.value), caught.value.fields())
    assert caught.value.code == "invalid_config"


@pytest.mark.parametrize(
    ("environ", "flags", "why"),
    [
        ({"FAULTSET_CODES_TOLERATE": "two"}, [], "variable FAULTSET_CODES_TOLERATE: codes.tolerate is 'two'; expected"),
        ({"FAULTSET_CODES_TOLERATE": "1.5"}, [], "codes.tolerate is '1.5'"),
        ({"FAULTSET_LIMITS_SURVIVORS_S": "soon"}, [], "limits.survivors_s is 'soon'; expected a number above 0"),
        ({"FAULTSET_DISABLE_NUMBA": "perhaps"}, [], "codes.disable_numba is 'perhaps'; expected true or false"),
        ({"FAULTSET_POLICIES": "{"}, [], "policies is '{'; expected a table of policies"),
        ({"FAULTSET_PLUGINS": "[1]"}, [], "plugins is not what it can be"),
        ({}, ["codes.put"], "--set: codes.put is not KEY=VALUE"),
        ({}, ["codes.putt=3"], "--set: codes.putt is no setting; did you mean codes.put?"),
        ({}, ["security.ray_token=hunter2"], "may not be a flag; set the variable RAY_AUTH_TOKEN"),
        ({}, ["codes.put="], "codes.put is ''"),
        ({"FAULTSET_CONFIG": "no.toml"}, [], "no.toml: can't be read: No such file"),
        ({"FAULTSET_CONFIG": "/"}, [], "/: can't be read: Is a directory"),
    ],
)
def test_what_variables_and_flags_may_not_say(here, environ, flags, why):
    with pytest.raises(InvalidConfig) as caught:
        Config.load(environ=environ, flags=flags)
    assert why in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("raw", [b"\xff", b"#" * (1 << 20) + b"#"])
def test_what_no_file_of_settings_is(here, raw):
    (here / "bad.toml").write_bytes(raw)
    with pytest.raises(InvalidConfig, match=r"bad.toml: is (not UTF-8|larger than 1,048,576 bytes)"):
        Config.load("bad.toml", environ={})


def test_all_problems_are_found_at_once(here):
    (here / "faultset.toml").write_text("a = 1\n[codes]\nput = 2\n[limits]\nsurvivors_s = 'x'\n")
    found = collect(None, {"FAULTSET_ENGINE": "x", "FAULTSET_SYSTM": "y"}, ["b=1"])
    assert [problem.key for problem in found.problems] == ["a", "codes.put", "limits.survivors_s", "codes.engine", "b"]
    [unknown] = found.unknown
    assert unknown.nearest == "FAULTSET_SYSTEM"


def test_a_variable_of_no_setting_is_a_warning(here, caplog):
    theirs = ("HTTP_SERVICE_HOST", "HTTP_SERVICE_PORT_WEB", "HTTP_PORT_80_TCP_ADDR", "TEST_PYTHON")
    environ = {"FAULTSET_STORES_DIR": "/x", **{f"FAULTSET_{name}": "x" for name in theirs}, "OTHER": "x"}
    with caplog.at_level(logging.WARNING):
        assert Config.load(environ=environ) == Config()
    [message] = caplog.messages
    assert "variable FAULTSET_STORES_DIR" in message
    assert "did you mean FAULTSET_STORE_DIR?" in message


def test_what_kubernetes_says_of_a_service_called_faultset_http_is_no_port(here):
    assert Config.load(environ={"FAULTSET_HTTP_PORT": "tcp://10.0.0.1:80"}) == Config()
    assert Config.load(environ={"FAULTSET_HTTP_PORT": "81"}).http.port == 81
    with pytest.raises(InvalidConfig, match=r"http\.port is 'eighty'"):
        Config.load(environ={"FAULTSET_HTTP_PORT": "eighty"})
    with pytest.raises(InvalidConfig, match="is 'tcp://h:1'"):
        Config.load(environ={"FAULTSET_STORES_DURABILITY": "tcp://h:1"})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("codes.tolerance", "codes.tolerate"),
        ("store.dir", "stores.dir"),
        ("scrub.bytes_per_s", "health.scrub.bytes_per_s"),
        ("address", "cluster.address"),
        ("limits.survivors_seconds", "limits.survivors_s"),
    ],
)
def test_the_nearest_name(name, meant):
    assert nearest(name, known()) == meant


# -- The tree


def test_a_section_made_by_hand_is_checked_too():
    with pytest.raises(InvalidConfig, match=r"config: tolerate is 'x'; expected an integer"):
        Codes(tolerate="x")
    with pytest.raises(InvalidConfig, match="codes is 3; expected a Codes"):
        Config(codes=3)
    with pytest.raises(InvalidConfig):
        replace(Codes(), put="")
    assert Codes(stripe_bytes="1KiB").stripe_bytes == 1024
    assert Config(codes=Codes(put="rs:2+1")).source("codes.put").kind == "argument"


def test_it_is_a_value(here):
    config = Config.from_toml("[policies.a]\nthreshold_ms = 3\n")
    assert pickle.loads(pickle.dumps(config)) == copy.deepcopy(config) == config
    with pytest.raises(FrozenInstanceError):
        config.codes.put = "rs:1+1"
    with pytest.raises(KeyError):
        config.source("codes.putt")


def test_every_setting_has_a_type_that_its_values_have():
    def check(of, prefix):
        hints = get_type_hints(of)
        for each in fields(of):
            own = known().get(prefix + each.name)
            if each.name in sections(of):
                check(hints[each.name], f"{prefix}{each.name}.")
            elif own is not None:
                assert (type(None) in getattr(hints[each.name], "__args__", ())) == (own.default is None), own.key
                assert own.default is None or own.checked(own.default) == own.default, own.key
                assert own.help.endswith("."), own.key

    check(Config, "")


def test_no_two_settings_share_a_variable():
    names = [name for own in known().values() for name in own.variables]
    assert len(names) == len(set(names))


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
PLAIN = st.recursive(
    TEXTS | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def configs(draw):
    flag = draw(st.booleans())
    return Config(
        cluster=tree.Cluster(address=draw(TEXTS), threads=draw(st.none() | st.integers(1, 64))),
        codes=Codes(put=draw(st.sampled_from(["rs:4+2", "x:1"])), engine="naive" if flag else None),
        http=tree.Http(hosts=draw(st.lists(st.sampled_from(["a.org", "*.b", "[::1]"]), min_size=1, max_size=3))),
        stores=tree.Stores(dir=draw(st.none() | TEXTS)),
        health=tree.Health(
            probe=tree.Probe(labels=draw(st.dictionaries(TEXTS, TEXTS, max_size=3))),
            scrub=tree.Scrub(bytes_per_s=draw(st.floats(4096, 1e18))),
        ),
        limits=tree.Limits(survivors_s=draw(st.floats(0, math.inf, exclude_min=True))),
        policies=draw(st.dictionaries(TEXTS, st.builds(fs.Policy, threshold_ms=st.floats(0, math.inf)), max_size=2)),
        plugins=draw(st.dictionaries(TEXTS, st.dictionaries(TEXTS, PLAIN, max_size=3), max_size=2)),
    )


@given(configs())
def test_what_is_written_is_read(config):
    assert Config.from_toml(config.to_toml()) == config


def test_only_what_is_not_default_is_written():
    assert Config().to_toml() == ""
    assert Config(codes=Codes(put="rs:2+1")).to_toml() == '[codes]\nput = "rs:2+1"\n'
    assert "hunter2" not in Config(security=tree.Security(ray_token="hunter2")).to_toml()


# -- Secrets


def test_no_secret_is_ever_told():
    plugins = {"m": {"api_key": "canary", "nested": [{"Password": "canary"}], "rounds": 3}}
    config = Config.load(environ={"RAY_AUTH_TOKEN": "canary", "FAULTSET_PLUGINS": json.dumps(plugins)})
    assert config.security.ray_token == "canary"
    told = config.shown()
    assert "canary" not in json.dumps(told)
    assert told["security.ray_token"] == "***"
    assert told["plugins"]["m"]["rounds"] == 3
    assert Config().shown()["security.ray_token"] is None
