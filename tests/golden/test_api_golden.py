"""What was public stays: names, parameters, codes of errors, verbs and options (docs/versioning.md).

More of each may come. What may go with a new version, goes with a new ``api.json``.
"""

import copy
import json

import pytest
from golden.api.make import WRITTEN, describe

RELEASED = json.loads(WRITTEN.read_text())


def series(version):
    """The part of a version within which nothing goes: ``0.1`` of 0.1.7, ``2`` of 2.1.0."""
    major, minor, _ = version.split(".")
    return (major, minor) if major == "0" else (major,)


def broken(before, now):
    """What someone who wrote for ``before`` finds missing or different in ``now``, in words."""
    yield from (f"{name} is gone" for name in before["names"] if name not in now["names"])
    for name, old in before["calls"].items():
        if name not in now["calls"]:
            yield f"{name} can't be called any more"
        else:
            yield from (f"{name}: {what}" for what in broken_call(old, now["calls"][name]))
    for name, old in before["errors"].items():
        if now["errors"].get(name) != old:
            yield f"{name}: code and exit code were {old}, are {now['errors'].get(name)}"
    for name, old in before["verbs"].items():
        if name not in now["verbs"]:
            yield f"the verb {name} is gone"
        else:
            yield from (f"faultset {name}: {what}" for what in broken_verb(old, now["verbs"][name]))


def broken_call(old, new):
    new_by_name = {name: (kind, optional) for name, kind, optional in new}
    for name, kind, optional in old:
        if name not in new_by_name:
            yield f"takes no {name}"
        elif new_by_name[name][0] != kind and (kind, new_by_name[name][0]) != ("KEYWORD_ONLY", "POSITIONAL_OR_KEYWORD"):
            yield f"{name} was {kind}, is {new_by_name[name][0]}"
        elif optional and not new_by_name[name][1]:
            yield f"{name} must be given"
    known = {name for name, _, _ in old}
    yield from (f"{name} is new, and must be given" for name, _, optional in new if name not in known and not optional)
    by_place = ("POSITIONAL_ONLY", "POSITIONAL_OR_KEYWORD")
    before = [name for name, kind, _ in old if kind in by_place]
    after = [name for name, kind, _ in new if kind in by_place]
    if after[: len(before)] != before and not set(before) - set(after):
        yield f"{', '.join(before)} stand in another order"


def broken_verb(old, new):
    for names, _ in old:
        if not any(set(names) <= set(those) for those, _ in new):
            yield f"has no {'/'.join(names)}"
    known = {tuple(names) for names, _ in old}
    for names, required in new:
        before = next((must for those, must in old if set(those) <= set(names)), None)
        if required and not before:
            yield f"{'/'.join(names)} must be given" + ("" if tuple(names) in known else ", and is new")


def test_nothing_public_is_gone():
    now = describe()
    assert series(now["version"]) == series(RELEASED["version"]), "a version that may change: python -m golden.api.make"
    assert list(broken(RELEASED, now)) == []


def without(path, key):
    spoilt = copy.deepcopy(RELEASED)
    node = spoilt
    for step in path:
        node = node[step]
    if isinstance(node, list):
        node.remove(next(each for each in node if key in (each, each[0], tuple(each[0]))))
    else:
        del node[key]
    return spoilt


@pytest.mark.parametrize(
    ("path", "key", "said"),
    [
        (("names",), "faultset", "faultset is gone"),
        (("calls",), "Driver.put", "Driver.put can't be called any more"),
        (("calls", "Driver.get"), "name", "Driver.get: takes no name"),
        (("errors",), "NotEnoughShards", "NotEnoughShards: code and exit code were"),
        (("verbs",), "scrub", "the verb scrub is gone"),
        (("verbs", "scrub"), ("--deep",), "faultset scrub: has no --deep"),
    ],
)
def test_what_goes_is_told(path, key, said):
    assert any(what.startswith(said) for what in broken(RELEASED, without(path, key)))


def test_what_comes_is_no_harm_unless_it_must_be_given():
    more = copy.deepcopy(RELEASED)
    more["names"].append("another")
    more["calls"]["Driver.get"].append(["another", "KEYWORD_ONLY", True])
    more["verbs"]["scrub"].append([["--another"], False])
    assert list(broken(RELEASED, more)) == []
    more["calls"]["Driver.get"][-1][2] = False
    more["verbs"]["scrub"][-1][1] = True
    assert list(broken(RELEASED, more)) == [
        "Driver.get: another is new, and must be given",
        "faultset scrub: --another must be given, and is new",
    ]


def test_another_order_and_a_needed_option_are_told():
    assert list(
        broken_call(
            [["a", "POSITIONAL_OR_KEYWORD", False], ["b", "POSITIONAL_OR_KEYWORD", True]],
            [["b", "POSITIONAL_OR_KEYWORD", True], ["a", "POSITIONAL_OR_KEYWORD", False]],
        )
    ) == ["a, b stand in another order"]
    assert list(broken_call([["a", "KEYWORD_ONLY", True]], [["a", "KEYWORD_ONLY", False]])) == ["a must be given"]


def test_series_of_versions():
    assert series("0.1.0") == series("0.1.9") != series("0.2.0")
    assert series("1.0.0") == series("1.9.0") != series("2.0.0")
