"""The one table of errors: every class with its code, its exit code and its HTTP status."""

import re
from pathlib import Path

from error_samples import classes

from faultset_ray import errors
from faultset_ray.http.problems import STATUSES

PAGE = (Path(__file__).parents[2] / "docs" / "errors.md").read_text()
ROWS = re.findall(r"^\| `(\w+)` \| `(\w+)` \| .+ \| (\d+) \| (\d{3}) \|$", PAGE, re.MULTILINE)


def test_every_error_is_in_it_as_it_is_in_the_code():
    assert sorted(ROWS) == sorted((cls.__name__, cls.code, str(cls.exit_code), str(STATUSES[cls])) for cls in classes())
    named = set(errors.__all__)
    assert {row[0] for row in ROWS} == {name for name in named if not name.endswith("Warning")}
    assert all(f"`{name}`" in PAGE for name in named)


def test_no_other_statuses():
    assert {int(row[3]) for row in ROWS} <= {400, 401, 403, 404, 409, 412, 413, 416, 422, 429, 503, 507}


def test_every_exit_code_is_explained():
    explained = {int(code) for code in re.findall(r"^\| (\d+) \| [a-z]", PAGE, re.MULTILINE)}
    assert {cls.exit_code for cls in classes()} | {0} <= explained


def test_what_is_also_an_error_of_python():
    pairs = ((errors.InputError, ValueError), (errors.CodingError, ValueError), (errors.ClusterError, RuntimeError))
    for base, own in pairs:
        assert all(issubclass(cls, own) for cls in classes() if issubclass(cls, base))
    assert issubclass(errors.ObjectNotFound, LookupError)
