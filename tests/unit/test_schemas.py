"""Schemas of what verbs print. What they do print is held to them wherever a test runs a verb: see ``conftest.py``."""

import json
import sys

import pytest
from schemas import check, validator
from unit.test_jobs_flags import verbs

from faultset_ray.control.states import Mark, Rule, State
from faultset_ray.driver.watch import Change
from faultset_ray.plain import plain
from jobs import output
from jobs.cli import application
from jobs.results import LINES, RESULTS
from jobs.schemas import schema_of

GET = {"system": "s", "name": "a", "file": "b", "size": 1, "seconds": 0.1}
ERROR = {"code": "call_timeout", "message": "late", "seconds": 2.0}


def test_every_verb_has_one():
    assert {name for name, _ in verbs()} - {"schema"} == set(RESULTS)


@pytest.mark.parametrize("verb", RESULTS)
def test_every_object_is_closed(verb):
    """So that no key comes or goes without anybody noticing."""

    def walk(node):
        if isinstance(node, dict):
            if "properties" in node:
                yield node
            for each in node.values():
                yield from walk(each)
        elif isinstance(node, list):
            for each in node:
                yield from walk(each)

    objects = [*walk(validator(verb).schema)]
    assert objects
    open_ones = [each for each in objects if each.get("additionalProperties") is not False]
    assert all(set(each["properties"]) == {"code", "message"} for each in open_ones), "an error has its own numbers"
    assert len(open_ones) == 1


@pytest.mark.parametrize(
    ("result", "fits"),
    [
        (GET, True),
        ({**GET, "more": 1}, False),
        ({key: value for key, value in GET.items() if key != "size"}, False),
        ({**GET, "size": "1"}, False),
        ({**GET, "seconds": "inf"}, True),
        ({"error": ERROR}, True),
        ({**GET, "error": ERROR}, True),
        ({"error": {"code": "x"}}, False),
        ({"error": ERROR, "more": 1}, False),
        ({}, False),
    ],
)
def test_what_fits(result, fits):
    assert validator("get").is_valid(result) == fits
    if not fits:
        with pytest.raises(AssertionError, match="faultset get"):
            check("get", result)


def test_lines_of_a_watch():
    change = Change(
        *("a", 1, "u33", 5, State.HEALTHY, State.EJECTED, Rule.FAILURES, float("inf"), None),
        *(True, False, Mark.NONE, 0, 7),
    )
    line = plain(change.to_dict())
    check("watch", line, line=True)
    assert not validator("watch", line=True).is_valid({**line, "rule": "nothing"})
    assert set(LINES) == {"watch"}


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (tuple[int, str], [1, "a"], [1, "a", 2]),
        (tuple[int, ...], [1, 2, 3], ["a"]),
        (dict[str, int | None], {"a": None}, {"a": "b"}),
        (State, "healthy", 1),
        (float, 1.5, "1.5"),
    ],
)
def test_types(kind, good, bad):
    checker = validator("get").evolve(schema=schema_of(kind))
    assert checker.is_valid(good)
    assert not checker.is_valid(bad)


def test_the_command(monkeypatch, capsys):
    def told(*arguments):
        monkeypatch.setattr(sys, "argv", ["faultset", "schema", *arguments])
        with pytest.raises(SystemExit) as ended:
            output.run(application)
        return ended.value.code or 0, json.loads(capsys.readouterr().out)

    for verb in (["put"], ["config", "show"]):
        code, schema = told(*verb)
        assert (code, schema) == (0, json.loads(json.dumps(validator(" ".join(verb)).schema)))
    assert told("watch", "--line")[1]["title"].startswith("faultset watch, a line")
    code, result = told("putt")
    assert (code, result["error"]["code"]) == (2, "input_error")
