"""The walks through the code name files, classes and functions that there are."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "internals.md").read_text()
NAMED = re.findall(r"`([\w/]+\.py)`, `([\w.]+)`", PAGE)


def names(path: Path) -> set[str]:
    """What a module defines, and its classes do."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            inside = (own for own in node.body if isinstance(own, ast.FunctionDef | ast.AsyncFunctionDef))
            found |= {f"{node.name}.{own.name}" for own in inside}
    return found


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_what_is_named_is_there(path, name):
    assert name in names(ROOT / "faultset_ray" / path)


def test_every_file_is_there():
    files = re.findall(r"`((?:tests/)?[\w/]+\.py)`", PAGE)
    assert len(files) > len(NAMED) > 20
    for file in files:
        assert any((ROOT / above / file).is_file() for above in ("", "faultset_ray")), file
