"""Waiting for what a test has begun, and ports for what it is going to begin."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE_SECONDS = 0.001
_PAUSE_SECONDS_MAX = 0.02


def until(condition: Callable[[], T], seconds: float = 60.0) -> T:
    """Ask again and again until the answer is truthy, and return it."""
    ends, pause_s = time.monotonic() + seconds, _PAUSE_SECONDS
    while not (answer := condition()):
        assert time.monotonic() < ends, f"not within {seconds:g} s: {condition}"
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _PAUSE_SECONDS_MAX)
    return answer


def free_port() -> int:
    """A TCP port of this machine that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
