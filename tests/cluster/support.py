"""What the tests on real Ray share: waiting for a condition, and looking at actors and processes."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from ray._private.state import actors

T = TypeVar("T")

PROJECT = str(Path(__file__).parents[2])
"""The checkout, as ``PYTHONPATH`` of driver processes."""


def until(condition: Callable[[], T], seconds: float = 60.0) -> T:
    """Ask again and again until the answer is truthy, and return it."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {condition}"
        time.sleep(0.02)
    return answer


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fail if the block takes longer."""
    begun = time.monotonic()
    yield
    took = time.monotonic() - begun
    assert took < seconds, f"took {took:.1f} s, at most {seconds:g} were allowed"


def living_actors(name_begins: str = "") -> dict[str, tuple[int, str]]:
    """Process id and NodeID of the actors that are alive, by name; this process must be connected to Ray."""
    return {
        actor["Name"]: (actor["Pid"], actor["Address"]["NodeID"])
        for actor in actors().values()
        if actor["State"] == "ALIVE" and actor["Name"].startswith(name_begins)
    }


def is_running(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Hold a process still."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def private_store_dirs() -> set[str]:
    """The temporary directories of stores on this machine."""
    return {path.name for path in Path(tempfile.gettempdir()).glob("faultset-store-*")}
