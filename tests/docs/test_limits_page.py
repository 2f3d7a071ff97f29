"""The page of limits has the numbers of the code."""

import re
from pathlib import Path

import pytest

from faultset_ray import limits

ROWS = re.findall(
    r"^\| .+? \| (.+?) \| `(\w+)` \|$",
    (Path(__file__).parents[2] / "docs" / "limits.md").read_text(),
    re.MULTILINE,
)
UNITS = {
    "KiB": limits.KIB,
    "MiB": limits.MIB,
    "MiB/s": limits.MIB,
    "GiB": 1024 * limits.MIB,
    "%": 0.01,
    "s": 1,
    "ms": 1,
    "bytes": 1,
    "bytes of UTF-8": 1,
    "": 1,
}
OF_A_NAME = {"s": "SECONDS", "ms": "_MS_", "%": "SHARE", "MiB": "BYTES", "GiB": "BYTES", "bytes": "BYTES"}


def test_no_name_stands_twice():
    assert len({name for _, name in ROWS}) == len(ROWS) > 40


@pytest.mark.parametrize(("bound", "name"), ROWS, ids=[name for _, name in ROWS])
def test_the_bound_is_that_of_the_code(bound, name):
    number, unit = re.fullmatch(r"([\d,]+(?:\^\d+)?) ?(.*)", bound).groups()
    base, _, power = number.replace(",", "").partition("^")
    value = int(base) ** int(power or 1)
    assert value * UNITS[unit] == pytest.approx(getattr(limits, name), rel=1e-12)
    assert OF_A_NAME.get(unit, "") in name
