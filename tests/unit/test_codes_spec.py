import pickle
import re
import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import numpy as np
import pytest

from faultset_ray import codes
from faultset_ray.codes import registry
from faultset_ray.codes.linear import LinearCode
from faultset_ray.codes.spec import parse
from faultset_ray.errors import InvalidCodeSpec


def test_canonical_text_writes_every_option_and_is_one_object():
    code = codes.get("rs:10+4")
    assert code.spec == "rs:10+4,matrix=cauchy"
    assert codes.get(code.spec) is code
    assert (code.k, code.n) == (10, 14)


def test_a_code_pickles_as_its_spec():
    code = codes.get("rs:200+55")
    assert len(pickle.dumps(code)) < 150
    assert pickle.loads(pickle.dumps(code)) is code


def test_options_are_sorted():
    assert str(parse("x:3,b=1,a=2")) == "x:3,a=2,b=1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rs",
        "rs:",
        "rs:10",
        "rs:10+4+2",
        "rs:0+4",
        "rs:10+0",
        "rs:200+56",
        "rs:010+4",
        "rs:+10+4",
        "rs:-1+4",
        "rs: 10+4",
        "rs:10+4 ",
        "rs:10+4\n",
        "RS:10+4",
        "rs:\uff11+4",
        "rs:10+4,",
        "rs:10+4,matrix",
        "rs:10+4,matrix=",
        "rs:10+4,matrix=nope",
        "rs:10+4,matrix=cauchy,matrix=cauchy",
        "rs:10+4,speed=1",
        "nope:10+4",
        "rs:99999999999999999999+1",
        "rs:10+4,matrix=" + "a" * 60,
    ],
)
def test_bad_specs_are_refused_with_the_text(text):
    with pytest.raises(InvalidCodeSpec) as caught:
        codes.get(text)
    assert caught.value.spec[:40] == text[:40]


@pytest.mark.parametrize("text", [None, 10, b"rs:10+4", ["rs:10+4"]])
def test_what_is_no_text_is_refused(text):
    with pytest.raises(InvalidCodeSpec):
        codes.get(text)


def test_the_numbers_are_in_the_text_of_the_error():
    with pytest.raises(InvalidCodeSpec, match=r"k = 200 and m = 56 give n = 256; .* n up to 255"):
        codes.get("rs:200+56")


def test_a_code_is_got_by_itself():
    code = codes.get("rs:4+2")
    assert codes.get(code) is code


class Odd(LinearCode):
    """Plug-ins that are at fault: what ``from_spec`` does is their name."""

    @classmethod
    def from_spec(cls, spec):
        code = cls(str(spec), np.ones((2, 3), np.uint8))
        match spec.name:
            case "raises":
                raise RuntimeError("no such luck")
            case "empty":
                return cls(str(spec), np.ones((2, 0), np.uint8))
            case "none":
                return None
            case "large":
                code.n = 1 << 20
            case "float":
                code.k = 3.0
            case "nameless":
                code.spec = None
        return code


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("raises", "Odd", "Odd raised RuntimeError: no such luck"),
        ("none", "Odd", "Odd raised AttributeError"),
        ("empty", "Odd", "k = 0, n = 2"),
        ("large", "Odd", "n = 1048576"),
        ("float", "Odd", "k = 3.0"),
        ("nameless", "Odd", "spec None"),
        ("absent", "Nothing", "'unit.plugin:Nothing' can't be loaded: AttributeError"),
        ("gone", "x.y", "can't be loaded"),
    ],
)
def test_plugins_that_are_at_fault_are_named(name, value, told, monkeypatch):
    module = ModuleType("unit.plugin")
    module.Odd = Odd
    monkeypatch.setitem(sys.modules, "unit.plugin", module)
    point = EntryPoint(name, f"unit.plugin:{value}", registry.GROUP)
    monkeypatch.setattr(registry, "_plugins", lambda: {name: point})
    with pytest.raises(InvalidCodeSpec, match=re.escape(told)):
        codes.get(f"{name}:3")


def test_a_plugin_that_fails_to_import(monkeypatch):
    point = EntryPoint("lost", "no_such_module_at_all:Code", registry.GROUP)
    monkeypatch.setattr(registry, "_plugins", lambda: {"lost": point})
    with pytest.raises(InvalidCodeSpec, match="'no_such_module_at_all:Code' can't be loaded: ModuleNotFoundError"):
        codes.get("lost:3")
