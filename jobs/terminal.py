"""What people see: tables and messages on stdout, unless data goes there; and how far a verb is, on stderr."""

from __future__ import annotations

from typing import Final

from rich.console import Console

console: Final = Console(highlight=False, markup=False)
"""For people, on stdout; brackets in names are only brackets."""


def shows_progress(errors: Console) -> bool:
    """Whether what changes in place is of use there: a terminal that can do so, whatever is forced by variables."""
    return errors.is_terminal and errors.file.isatty() and not errors.is_dumb_terminal and not console.quiet
