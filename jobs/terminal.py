"""What people see: tables and messages on stdout, unless data goes there; and how far a verb is, on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TextIO

from rich.console import Console

console: Final = Console(highlight=False, markup=False)
"""For people, on stdout; brackets in names are only brackets."""


def moment(at_ms: float) -> str:
    """A moment by this machine's clock: with its day, unless that is today's."""
    at, today = time.localtime(at_ms / 1000), time.localtime()
    return time.strftime("%H:%M:%S" if at[:3] == today[:3] else "%Y-%m-%d %H:%M:%S", at)


def shows_progress(errors: Console) -> bool:
    """Whether what changes in place is of use there: a terminal that can do so, whatever is forced by variables."""
    return errors.is_terminal and errors.file.isatty() and not errors.is_dumb_terminal and not console.quiet


class Stdout:
    """Where the result goes: stdout as it is, or as it was before all else was led to stderr."""

    _kept: TextIO | None = None

    @property
    def stream(self) -> TextIO:
        """What the result is to be written to."""
        return self._kept or sys.stdout

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep stdout for the result: what others print meanwhile, as Ray of nodes and workers, goes to stderr."""
        self._kept, sys.stdout = sys.stdout, sys.stderr
        try:
            yield
        finally:
            self._kept, sys.stdout = None, self._kept


stdout: Final = Stdout()
