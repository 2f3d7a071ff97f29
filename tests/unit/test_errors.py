"""The tree of errors: one code a class, exit codes, texts, and pickles."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import re
from concurrent.futures import ProcessPoolExecutor

import pytest
from error_samples import classes, has_constructor, sample

from faultset_ray import errors
from faultset_ray.errors import FaultsetError, InputError

CLASSES = classes()
every = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
EXIT_CODES = {1, 2, 3, 4, 5, 70}


def same(one: FaultsetError, other: BaseException) -> None:
    assert type(other) is type(one)
    assert other.args == one.args
    assert str(other) == str(one)
    assert isinstance(other, FaultsetError)
    assert other.fields() == one.fields()


@every
def test_pickles_as_itself(cls):
    error = sample(cls)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        same(error, pickle.loads(pickle.dumps(error, protocol)))
    same(error, copy.copy(error))
    same(error, copy.deepcopy(error))


def test_crosses_processes():
    with ProcessPoolExecutor(1) as pool:
        for cls in CLASSES:
            same(sample(cls), pool.submit(sample, cls).result())


@every
def test_describes_itself(cls):
    error = sample(cls)
    assert (cls.__doc__ or "").startswith("Raised ")
    assert str(error).strip()
    assert "Error(" not in str(error)
    assert cls.exit_code in EXIT_CODES
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", cls.code)
    assert "code" in vars(cls), "an inherited code would not tell it from its base"
    json.dumps(error.fields(), default=str)


@every
def test_arguments_are_attributes(cls):
    error = sample(cls)
    if not has_constructor(cls):
        assert error.fields() == {}
        return
    for parameter, given in zip(inspect.signature(cls).parameters.values(), error.args, strict=True):
        assert parameter.kind is parameter.POSITIONAL_OR_KEYWORD, "keyword-only arguments are lost by pickles"
        assert getattr(error, parameter.name) == (list(given) if isinstance(given, tuple) else given)


def test_codes_are_distinct():
    codes = [cls.code for cls in CLASSES]
    assert len(set(codes)) == len(codes)


def test_all_are_exported():
    assert {cls.__name__ for cls in CLASSES} | {"OpenClusterWarning"} == set(errors.__all__)


def test_the_drawn_tree_is_the_real_one():
    drawn, path = {}, []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"( {4}|)([ │├└─]*)(\w+)(?: \((\w+)\))?(?:\s+exit (\d+))?$", line)
        if found and hasattr(errors, found[3]):
            depth = len(found[2]) // 4
            path[depth:] = [found[3]]
            drawn[found[3]] = (path[depth - 1] if depth else "Exception", found[4])
    real = {}
    for cls in CLASSES:
        first, *more = cls.__bases__
        real[cls.__name__] = (first.__name__, more[0].__name__ if more else None)
    assert drawn == real


def test_built_in_bases():
    """What older code catches."""
    assert issubclass(InputError, ValueError)
    assert issubclass(errors.NoSurvivorsError, ValueError)
    assert issubclass(errors.CodingError, ValueError)
    assert issubclass(errors.ClusterError, RuntimeError)
    assert str(errors.EmptyNodesError()) == "nodes list is empty"
    assert str(errors.NoSurvivorsError(5.0, {})).startswith("all clusters yielded no survivors")
