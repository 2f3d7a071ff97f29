"""Absurd arguments to every verb of objects: a typed error that names the argument, and nothing is changed."""

import math
import re

import numpy as np
import pytest

import faultset_ray as fs
from faultset_ray.errors import FaultsetError, InputError


class Odd:
    """Nothing that anyone expects."""


ODD = Odd()
LOOP: list = []
LOOP.append(LOOP)
UNPRINTABLE = 10**5000
"""Python refuses to write so long a number."""
NO_NAME = [None, 3, True, b"a", "", "\ud800", "x" * 1025, [], {}, ODD, UNPRINTABLE, LOOP]
NO_FLAG = [None, 0, 1, "x", "true", b"", [], [True], {}, ODD, math.nan, np.ones(2), UNPRINTABLE, LOOP]
NO_NUMBER = ["1", b"1", True, math.nan, -1, [], [1], {}, ODD, 1j, np.zeros(2), LOOP, -UNPRINTABLE]
NO_DATA = [None, 3, 1.5, True, {}, {b"a": 1}, {b"a"}, frozenset([b"a"]), ODD, Odd, np.array([ODD]), UNPRINTABLE]
PUT = {"name": "new", "data": b"x", "code": "copy:2", "tolerate": 0}
KNOWN = {"name": "here"}

ARGUMENTS = [
    ("put", PUT, "name", NO_NAME),
    ("put", PUT, "data", NO_DATA),
    ("put", PUT, "code", [3, b"rs:4+2", [], {}, ODD, "", "rs", UNPRINTABLE, LOOP]),
    ("put", PUT, "tolerate", [*NO_NUMBER, 2, UNPRINTABLE]),
    ("put", PUT, "if_absent", NO_FLAG),
    ("put", PUT, "if_generation", [each for each in NO_NUMBER if not isinstance(each, int) or each is True]),
    ("put", PUT, "durability", [3, True, b"fsync", "disk", "", [], ["fsync"], {}, ODD, np.zeros(2), UNPRINTABLE, LOOP]),
    ("put", PUT, "stripe_bytes", [*NO_NUMBER, 0, UNPRINTABLE]),
    ("put", PUT, "busy_s", NO_NUMBER),
    ("get", KNOWN, "name", NO_NAME),
    (
        "get",
        KNOWN,
        "range",
        [3, "ab", [0, 1], (0,), (0, 1, 2), (1, 0), (-1, 1), (0, 9), (0.0, 1.0), (None, 1), ODD, {}],
    ),
    ("open", KNOWN, "name", NO_NAME),
    ("stat", KNOWN, "name", NO_NAME),
    ("list", {}, "prefix", [None, 3, True, b"a", "\ud800", [], {}, ODD, UNPRINTABLE, LOOP]),
    ("list", {}, "deleted", NO_FLAG),
    ("delete", KNOWN, "name", NO_NAME),
    ("delete", KNOWN, "if_generation", [each for each in NO_NUMBER if not isinstance(each, int) or each is True]),
    ("delete", KNOWN, "grace_s", [*NO_NUMBER, math.inf, UNPRINTABLE]),
    ("delete", KNOWN, "busy_s", NO_NUMBER),
    ("undelete", {}, "name", NO_NAME),
    ("repair", {}, "bytes_per_s", [*NO_NUMBER, 0]),
    ("scrub", {}, "deep", NO_FLAG),
    ("scrub", {}, "drop_orphans", NO_FLAG),
    ("scrub", {}, "bytes_per_s", [*NO_NUMBER, 0]),
    ("decommission", {}, "which", [*NO_NAME, "nowhere"]),
    ("decommission", {"which": "nowhere"}, "force", NO_FLAG),
    ("decommission", {"which": "nowhere"}, "timeout_s", NO_NUMBER),
    ("decommission", {"which": "nowhere"}, "bytes_per_s", [*NO_NUMBER, 0]),
]


@pytest.fixture(scope="module")
def driver():
    with fs.connect(backend="local") as driver:
        driver.put(**PUT | KNOWN)
        yield driver


@pytest.mark.parametrize(
    ("verb", "given", "name", "values"), ARGUMENTS, ids=[f"{verb}-{name}" for verb, _, name, _ in ARGUMENTS]
)
def test_a_verb_refuses_what_can_not_be(driver, verb, given, name, values):
    before = driver.stat("here"), driver.list()
    wrong = []
    for value in values:
        try:
            getattr(driver, verb)(**{**given, name: value})
        except FaultsetError as error:
            if len(str(error)) > 1000:
                wrong.append((type(value), "a long message"))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is listed
            wrong.append((type(value), f"{type(error).__name__}: {error}"[:200]))
        else:
            wrong.append((type(value), "was taken"))
    assert wrong == []
    assert (driver.stat("here"), driver.list()) == before, "nothing changed"


@pytest.mark.parametrize("value", [None, 3, {b"a": 1}, {b"a"}, ODD], ids=lambda value: type(value).__name__)
def test_what_is_nothing_to_store_is_told_what_is(driver, value):
    expected = "bytes, an array, the path of a file, something to read from, or chunks of bytes"
    with pytest.raises(InputError, match=re.escape(f"data is {type(value).__name__}; expected {expected}")):
        driver.put("new", value, code="copy:2", tolerate=0)


def test_a_prefix_that_no_name_has_is_told_as_a_prefix(driver):
    with pytest.raises(InputError, match=r"prefix is '\\ud800'"):
        driver.list("\ud800")
