"""How every job speaks: tables and messages for people, one JSON line for programs, one table of exit codes.

Exit codes: 0 ok · 1 no survivors · 2 usage · 3 not recoverable · 4 damaged but repairable ·
5 cluster unreachable, refused or timed out · 70 internal error.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

import typer
from rich.console import Console

from faultset_ray.errors import FaultsetError

OK: Final = 0
NO_SURVIVORS: Final = 1
INTERNAL: Final = 70

console = Console(highlight=False)
"""For people, on stdout."""
_errors = Console(stderr=True, highlight=False)


def finish(result: Mapping[str, Any]) -> None:
    """Print a job's result: one JSON object, the last line of stdout."""
    sys.stdout.flush()
    print(json.dumps(_plain(result), allow_nan=False), flush=True)  # noqa: T201 - this is the result


def fail(error: FaultsetError, result: Mapping[str, Any] | None = None) -> typer.Exit:
    """Print an error for people and for programs; raise what is returned.

    Parameters
    ----------
    result
        What the job found out before it failed; the error is added to it.
    """
    _errors.print(f"[bold red]error[/] [dim]{error.code}[/] ", end="")
    _errors.print(str(error), markup=False, soft_wrap=True)
    described = {**error.fields(), "code": error.code, "message": str(error)}
    finish({**(result or {}), "error": described})
    return typer.Exit(error.exit_code)


def _plain(value: Any) -> Any:
    """A value as JSON can hold it: what is not finite, or not known to JSON, becomes text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)


def app(job: Callable[..., None]) -> typer.Typer:
    """A command line of one job."""
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown")
    single.command()(job)
    return single


def run(application: typer.Typer) -> None:
    """Run a command line; everything foreseeable ends with a message and the exit code for it."""
    try:
        application(standalone_mode=True)
    except FaultsetError as error:
        sys.exit(fail(error).exit_code)
    except OSError as error:
        _errors.print("[bold red]error[/] ", end="")
        _errors.print(str(error), markup=False, soft_wrap=True)
        sys.exit(2)
