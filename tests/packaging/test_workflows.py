"""The workflows: pinned, allowed no more than they need, and nothing in them that ``make`` does not do as well."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = ROOT / ".github" / "workflows"
USES = re.compile(r"^ +- uses: ([\w.-]+/[\w.-]+(?:/[\w.-]+)*)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)$")


def workflow(name):
    return yaml.load((WORKFLOWS / f"{name}.yml").read_text(), Loader=yaml.BaseLoader)  # `on` stays a name


def jobs():
    return [
        (path.stem, name, job)
        for path in sorted(WORKFLOWS.glob("*.yml"))
        for name, job in workflow(path.stem)["jobs"].items()
    ]


def steps(key):
    return [(file, name, step) for file, name, job in jobs() for step in job["steps"] if key in step]


def targets_of(command, job):
    """The targets that a step makes: those of the matrix where it names a variable."""
    words = command.removeprefix("sudo ").split()
    assert words[0] == "make", command
    assert len(words) == 2, command
    return job["strategy"]["matrix"]["target"] if words[1] == '"$TARGET"' else [words[1]]


def makefile_targets():
    shown = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60).stdout
    long = {
        f"test-long-{path.stem.removeprefix('test_long_')}" for path in (ROOT / "tests" / "long").glob("test_long_*.py")
    }
    return set(re.findall(r"^  make ([a-z-]+)", shown, re.MULTILINE)), long


def test_these_are_the_workflows():
    assert {path.name for path in WORKFLOWS.iterdir()} == {"ci.yml", "nightly.yml"}


def test_actions_are_pinned_by_commit_one_for_each_version():
    pinned = {}
    for path in WORKFLOWS.glob("*.yml"):
        for line in path.read_text().splitlines():
            if "uses:" not in line:
                continue
            match = USES.match(line)
            assert match, line
            owner_and_name = "/".join(match[1].split("/")[:2])
            assert pinned.setdefault(owner_and_name, match.group(2, 3)) == match.group(2, 3)
    assert set(pinned) == {
        "actions/cache",
        "actions/checkout",
        "actions/download-artifact",
        "actions/setup-python",
        "actions/upload-artifact",
        "pypa/gh-action-pypi-publish",
    }


def test_a_job_may_read_and_one_may_publish():
    assert {file: workflow(file)["permissions"] for file in ("ci", "nightly")} == {"ci": {}, "nightly": {}}
    allowed = {(file, name): job["permissions"] for file, name, job in jobs()}
    assert allowed.pop(("ci", "publish")) == {"id-token": "write"}
    assert set(map(tuple, (permissions.items() for permissions in allowed.values()))) == {(("contents", "read"),)}


def test_no_credentials_stay_behind_and_none_are_needed():
    checkouts = [step for _, _, step in steps("uses") if step["uses"].startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] == "false" for step in checkouts)
    assert not any("secrets." in path.read_text() for path in WORKFLOWS.glob("*.yml"))


def test_every_job_ends_some_time():
    assert all(0 < int(job["timeout-minutes"]) <= 360 for _, _, job in jobs())


def test_every_command_is_one_target_of_the_makefile():
    shown, long = makefile_targets()
    used = [
        target
        for _, _, job in jobs()
        for step in job["steps"]
        if "run" in step
        for target in targets_of(step["run"], job)
    ]
    assert set(used) <= shown | long
    assert long <= set(used), "each large count runs at night"
    assert {
        "lint",
        "test-fast",
        "test-cluster",
        "wheel",
        "wheel-check",
        "soak",
        "fuzz",
        "bench-history",
        "test-host",
        "docs",
        "test-docs",
    } <= set(used)


def test_the_host_job_installs_what_it_looks_for_and_then_looks():
    steps = workflow("nightly")["jobs"]["host"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == ["sudo make host-tools", "sudo make test-host"]


def test_what_is_not_ours_never_becomes_part_of_a_script():
    for _, _, step in steps("run"):
        assert "${{" not in step["run"]


def test_the_order_of_a_change():
    stages = workflow("ci")["jobs"]
    assert [(name, job.get("needs")) for name, job in stages.items()] == [
        ("lint", None),
        ("test", "lint"),
        ("cluster", "test"),
        ("docs", "lint"),
        ("build", ["cluster", "docs"]),
        ("publish", "build"),
    ]
    assert stages["publish"]["if"] == "github.ref_type == 'tag'"
    assert workflow("ci")["on"]["push"]["tags"] == ["v*"]
    assert "schedule" in workflow("nightly")["on"]


def test_the_pythons_are_those_that_the_package_says():
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    said = [
        line.rpartition(" ")[2]
        for line in classifiers
        if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", line)
    ]
    assert workflow("ci")["jobs"]["test"]["strategy"]["matrix"]["python"] == said


def test_only_what_was_checked_is_published():
    built = [step.get("run") or step["uses"].partition("@")[0] for step in workflow("ci")["jobs"]["build"]["steps"]]
    assert built[2:] == ["make wheel", "make wheel-check", "make image", "actions/upload-artifact"]
    published = [step["uses"].partition("@")[0] for step in workflow("ci")["jobs"]["publish"]["steps"]]
    assert published == ["actions/download-artifact", "pypa/gh-action-pypi-publish"]


@pytest.mark.parametrize(("command", "problem"), [("make lint && true", "make lint"), ("pip install x", "pip")])
def test_a_command_that_is_no_target_would_be_seen(command, problem):
    with pytest.raises(AssertionError, match=problem):
        targets_of(command, {})
