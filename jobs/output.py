"""How every job speaks: tables and messages for people, one JSON line for programs, one table of exit codes.

Exit codes: 0 ok · 1 no survivors · 2 usage · 3 not recoverable · 4 damaged but repairable ·
5 cluster unreachable, refused or timed out · 70 internal error.
"""

from __future__ import annotations

import json
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final, Literal, NoReturn

import typer
from rich.console import Console

from faultset_ray.errors import FaultsetError
from faultset_ray.errors.base import listed
from faultset_ray.plain import plain, told
from jobs.settings import session, settled
from jobs.terminal import console, shows_progress, stdout
from jobs.warned import warned_plainly

if TYPE_CHECKING:
    from faultset_ray.control.missing import Told

OK: Final = 0
NO_SURVIVORS: Final = 1
USAGE: Final = 2
NOT_RECOVERABLE: Final = 3
DAMAGED: Final = 4
UNREACHED: Final = 5
INTERNAL: Final = 70

_errors = Console(stderr=True, highlight=False)


def _only_json(wanted: bool) -> None:
    console.quiet = wanted


Json = Annotated[
    bool, typer.Option("--json", callback=_only_json, is_eager=True, help="Print the result alone, one line of JSON.")
]

ObjectName = Annotated[
    str | None,
    typer.Option("--object", help="Which of several is meant: the file's name when it was encoded, or its write id."),
]

BytesPerSecond = Annotated[
    float | None, typer.Option("--bytes-per-s", min=1, help="Move at most so many bytes a second; no limit by default.")
]


def data_on_stdout() -> BinaryIO:
    """Give stdout to data; all else goes to stderr from now on, also what Ray prints of nodes and workers."""
    console.stderr = True
    data = stdout.stream.buffer
    sys.stdout = sys.stderr
    return data


@contextmanager
def progress(title: str, total: int | None = None) -> Iterator[Callable[[int, int | None], None]]:
    """Show bytes go by on stderr, where that is a terminal; yields what is told of each more, and of all if known."""
    so_far = 0
    with reached(title) as told:

        def told_more(more: int, everything: int | None) -> None:
            nonlocal so_far
            so_far += more
            told(so_far, total if everything is None else everything)

        yield told_more


@contextmanager
def reached(title: str, of: Literal["bytes", "shards"] = "bytes") -> Iterator[Callable[[int, int | None], None]]:
    """As :func:`progress`, of what tells of all so far, and of all there is."""
    if not shows_progress(_errors):
        yield lambda _done, _total: None
        return
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TransferSpeedColumn,
    )

    figures: tuple[ProgressColumn, ...] = MofNCompleteColumn(), TextColumn(of)
    if of == "bytes":
        figures = DownloadColumn(binary_units=True), TransferSpeedColumn()
    with Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), *figures, console=_errors, transient=True
    ) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def working(step: str) -> Iterator[None]:
    """Show on stderr what is being done, where that is a terminal."""
    if not shows_progress(_errors):
        yield
        return
    with _errors.status(step):
        yield


def shown(name: str) -> str:
    """An object's name as people may see it: one that would move the cursor, or break the line, is quoted."""
    return name if name.isprintable() else repr(name)


def told_missing(taken: Told) -> list[str]:
    """The regions that did not hear in time, for programs; people are told of them here."""
    missing = taken.missing_regions
    if missing:
        console.print(f"{len(missing):,} regions did not answer in time: {listed(missing)}")
    return missing


def told_torn(lines: Sequence[int]) -> list[int]:
    """The lines of a trace that were passed over, for programs; people are told of them here."""
    if lines:
        console.print(f"passed over what was cut off, as where a recording was ended by force: line {listed(lines)}")
    return list(lines)


_finished = threading.Event()
"""Set once the JSON line is out."""


def finish(result: Mapping[str, Any]) -> None:
    """Print a job's result: one JSON object, the last line of stdout (of stderr where stdout has data)."""
    sys.stdout.flush()
    stream = sys.stderr if console.stderr else stdout.stream
    print(_line(plain(result)), file=stream, flush=True)
    _finished.set()


def _line(result: Mapping[str, Any]) -> str:
    """A result as it is printed; tests hold it to the verb's schema here."""
    return json.dumps(result, allow_nan=False)


def fail(error: FaultsetError, result: Mapping[str, Any] | None = None) -> typer.Exit:
    """Print an error for people and for programs; raise what is returned.

    Parameters
    ----------
    result
        What the job found out before it failed; the error is added to it.
    """
    _complain(error.code, str(error), with_error(result or {}, error))
    return typer.Exit(error.exit_code)


def with_error(result: Mapping[str, Any], error: FaultsetError) -> dict[str, Any]:
    """A result with the error that ended it, as JSON can hold it."""
    whole: dict[str, Any] = plain({**result, "error": told(error)})
    return whole


def _complain(code: str, message: str, result: Mapping[str, Any]) -> None:
    with suppress(OSError):  # of stderr's reader and stdout's, either may be gone: the exit code tells all the same
        _errors.print(f"[bold red]error[/] [dim]{code}[/] ", end="")
        _errors.print(message, markup=False, soft_wrap=True)
    with suppress(OSError):
        finish(result)


def app(job: Callable[..., None]) -> typer.Typer:
    """A command line of one job."""
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown")
    single.command()(settled(job))
    return single


def run(application: typer.Typer) -> None:
    """Run a command line; everything foreseeable ends with a message and the exit code for it."""
    console.stderr = console.quiet = False
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name may be no text of this encoding
    _finished.clear()
    session.forget()
    own = sys.stdout
    try:
        with warned_plainly():
            application(standalone_mode=True)
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # click's exit code for it, 1, means no survivors here
            _os_error(ended.__context__, "what was to read the output has closed it")
        if ended.code == USAGE and not _finished.is_set():  # typer has told what is wrong
            wrong = getattr(ended.__context__, "format_message", lambda: "the arguments can't be used")()
            with suppress(OSError):
                finish({"error": {"code": "usage", "message": f"{wrong.strip().rstrip('.')}; see --help"}})
        raise
    except FaultsetError as error:
        sys.exit(fail(error).exit_code)
    except OSError as error:
        _os_error(error, str(error))
    except Exception as error:  # noqa: BLE001 - a fault of ours; Python's own exit code 1 means no survivors here
        traceback.print_exc()
        message = f"{type(error).__name__}: {error}"
        _complain("internal_error", message, {"error": {"code": "internal_error", "message": message}})
        sys.exit(INTERNAL)
    finally:
        with suppress(OSError):  # who was to read is gone, and that was told: Python is not to try again at its end
            own.flush()
            sys.stdout = own


def _os_error(error: OSError, message: str) -> NoReturn:
    described = {"errno": error.errno, "code": "os_error", "message": message}
    _complain("os_error", message, {"error": described})
    sys.exit(USAGE)
