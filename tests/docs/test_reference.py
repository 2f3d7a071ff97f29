"""The reference lists what there is: exported names, verbs, errors, variables."""

import re
from dataclasses import fields
from pathlib import Path

import faultset_ray as fs
from faultset_ray.control.states import Blocked, Rule

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "docs" / "reference.md").read_text()


def test_every_exported_name():
    listed = set(re.findall(r"`fs\.(\w+)`", REFERENCE))
    assert listed == set(fs.__all__) - {"__version__"}


def test_every_driver_verb():
    listed = set(re.findall(r"`(\w+)\([^`]*\)`", REFERENCE.partition("| Driver verb |")[2].partition("## Commands")[0]))
    verbs = {name for name in dir(fs.Driver) if callable(getattr(fs.Driver, name)) and not name.startswith("_")}
    assert listed == verbs


def test_variables_are_read_by_the_code():
    listed = set(re.findall(r"`(FAULTSET_\w+)`", REFERENCE))
    sources = "".join(
        path.read_text() for folder in ("faultset_ray", "actors") for path in (ROOT / folder).rglob("*.py")
    )
    assert listed <= set(re.findall(r"FAULTSET_[A-Z_]+", sources))


def test_every_rule_and_what_blocks():
    why = REFERENCE.partition("### Why")[2].partition("## Codes")[0]
    listed = {name for row in re.findall(r"^\| (`.*?`) \|", why, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert listed == {member.label for member in (*Rule, *Blocked)}


def test_every_field_of_a_policy():
    table = REFERENCE.partition("| Field | Default |")[2].partition("###")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [field.name for field in fields(fs.Policy)]
