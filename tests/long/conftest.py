"""The large counts: ``make test-long-NAME COUNT=… SEED=…`` runs one, and each says what it did.

A test takes the fixture ``large``, asks it for its ``count`` and ``seed``, and a line with both and with the
seconds stands in the summary.
"""

import os
import time

import pytest
from large import Large

lines: list[str] = []


@pytest.fixture
def large(request):
    run = Large(int(os.environ.get("SEED") or 1), f"make {request.path.stem.replace('_', '-', 2)}")
    before = time.monotonic()
    yield run
    seconds = time.monotonic() - before
    lines.append(
        f"{request.node.nodeid}: count {run.counted:,}, seed {run.seed}, {seconds:.1f} s{''.join(f'; {note}' for note in run.notes)}"
    )


def pytest_terminal_summary(terminalreporter):
    if lines:
        terminalreporter.section("large counts")
        for line in lines:
            terminalreporter.line(line)
