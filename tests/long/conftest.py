"""The large counts: ``make test-long-NAME COUNT=… SEED=…`` runs one, and each says what it did.

A test takes the fixture ``large``, asks it for its ``count`` and ``seed``, and a line with both and with the
seconds stands in the summary.
"""

import os
import time
from collections import Counter
from dataclasses import dataclass, field

import pytest

lines: list[str] = []


@dataclass
class Large:
    seed: int
    target: str
    counted: int = 0
    notes: list[str] = field(default_factory=list)
    """What was measured, for the summary."""

    def count(self, default: int) -> int:
        self.counted = int(os.environ.get("COUNT") or default)
        return self.counted

    def drills(self, default: int, drill) -> Counter:
        """Run a drill for as many seeds; what happened in all of them."""
        happened: Counter = Counter()
        for seed in range(self.seed, self.seed + self.count(default)):
            try:
                happened.update(drill(seed))
            except Exception as error:
                raise AssertionError(f"seed {seed}: {self.target} SEED={seed} COUNT=1 replays it") from error
        del happened["trace"]  # a number that tells one run from another
        self.notes.append(", ".join(f"{number:,} {what}" for what, number in sorted(happened.items())))
        return happened


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
