"""Rules of the source that no linter knows: sizes, and that time and chance come from the backend."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINES_MAX = 500

# Clocks, pauses and chance. A name ending in "." stands for everything below it.
IMPURE = (
    "time.time",
    "time.time_ns",
    "time.monotonic",
    "time.monotonic_ns",
    "time.perf_counter",
    "time.perf_counter_ns",
    "time.sleep",
    "asyncio.sleep",
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "datetime.date.today",
    "random.",
    "numpy.random.",
    "os.urandom",
    "secrets.",
    "uuid.uuid1",
    "uuid.uuid4",
    "uuid.uuid7",
)

# (module, name) → why this one may.
ALLOWED = {
    ("faultset_ray/datasets/__init__.py", "numpy.random.Generator"): "seeded by its caller",
    ("faultset_ray/datasets/__init__.py", "numpy.random.PCG64"): "seeded by its caller",
    ("faultset_ray/coordinator/servant.py", "secrets.token_bytes"): "only where no driver gave a name",
    ("faultset_ray/driver/system_names.py", "secrets.token_hex"): "a private system's name, unlike any other's",
    ("faultset_ray/objects/pack.py", "secrets.token_bytes"): "a write's name, unlike any other's",
}


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def impure_names(source: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every use of :data:`IMPURE`, whatever it was imported as."""
    tree = ast.parse(source)
    aliases: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                aliases[name.asname or name.name.split(".")[0]] = name.name if name.asname else name.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for name in node.names:
                aliases[name.asname or name.name] = f"{node.module}.{name.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name) and (dotted := dotted_name(node, aliases)) and is_impure(dotted):
            yield node.lineno, dotted


def dotted_name(node: ast.expr, aliases: dict[str, str]) -> str | None:
    if isinstance(node, ast.Name):
        return aliases.get(node.id)
    if isinstance(node, ast.Attribute) and (head := dotted_name(node.value, aliases)):
        return f"{head}.{node.attr}"
    return None


def is_impure(dotted: str) -> bool:
    return any(dotted.startswith(name) if name.endswith(".") else dotted == name for name in IMPURE)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import time\ntime.sleep(1)", "time.sleep"),
        ("from time import monotonic as now\nnow()", "time.monotonic"),
        ("import numpy as np\nnp.random.default_rng()", "numpy.random.default_rng"),
        ("from numpy import random\nrandom.random()", "numpy.random.random"),
        ("import random\nrandom.shuffle([])", "random.shuffle"),
        ("import asyncio as a\nasync def f(): await a.sleep(0)", "asyncio.sleep"),
        ("from os import urandom\nf = urandom", "os.urandom"),
        ("from datetime import datetime\ndatetime.now()", "datetime.datetime.now"),
        ("import time\ntime.strftime('')", None),
        ("net.sleep(1); self.time.time()", None),
    ],
)
def test_the_rule_sees_what_it_should(source, found):
    assert [name for _, name in impure_names(source)] == ([found] if found else [])


def test_no_clock_pause_or_chance_outside_the_backends():
    """What decides must replay: these come from a backend, or as an argument."""
    used = {
        (str(path.relative_to(ROOT)), name): line
        for path in modules("faultset_ray")
        if not path.is_relative_to(ROOT / "faultset_ray" / "backend")
        for line, name in impure_names(path.read_text())
    }
    assert {
        f"{module}:{line} {name}" for (module, name), line in used.items() if (module, name) not in ALLOWED
    } == set()
    assert {key for key in ALLOWED if key not in used} == set(), "allowed, but used no more"


def test_nothing_is_cancelled_by_ray():
    """Where it meets a task's end, ray.cancel of Ray 2.60 fails a check of Ray's, and takes the driver's process along."""
    users = [
        path for path in modules("faultset_ray", "actors", "jobs", "examples") if "ray.cancel(" in path.read_text()
    ]
    assert users == []


def test_no_module_is_long():
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in modules("faultset_ray", "actors", "jobs", "tests", "benchmarks", "examples")
    }
    assert {name: lines for name, lines in lengths.items() if lines > LINES_MAX} == {}


def test_no_module_is_named_like_an_exported_function():
    """``faultset_ray.failover`` would be the function or the module, by the order of imports."""
    import faultset_ray

    names = {path.stem for path in (ROOT / "faultset_ray").iterdir()}
    functions = {name for name in faultset_ray.__all__ if callable(getattr(faultset_ray, name))}
    assert names & functions == set()


def test_layers_hold():
    linter = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stdout
