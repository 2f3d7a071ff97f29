"""What the shell may put in for a word that was begun: codes, settings, fleets, and words that an option takes.

A verb's module names these at its options, so nothing here loads more than it must.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout, suppress
from itertools import pairwise
from typing import Final

import typer

VARIABLE: Final = "_FAULTSET_COMPLETE"
"""Says to typer which shell asks."""
_BREAKS: Final = {":", "="}

CODES: Final = {
    "rs:4+2": "any 4 of 6 shards",
    "rs:6+3": "any 6 of 9 shards",
    "rs:10+4": "any 10 of 14 shards",
    "rs:16+4": "any 16 of 20 shards",
    "lrc:12+2+2": "12 of data; a lost shard is made of 6 others",
    "copy:2": "two copies",
    "copy:3": "three copies",
    "xor:2+1": "any 2 of 3 shards",
    "ldpc:1000+500": "a thousand shards of data",
}
"""Codes to begin with; there are many others of these kinds."""


def codes() -> list[tuple[str, str]]:
    """Codes, each with what it is."""
    return [*CODES.items()]


def fleets() -> list[str]:
    """Fleets that the config has policies for, and the one that is meant by default."""
    from faultset_ray.errors import FaultsetError
    from jobs.settings import session

    with suppress(FaultsetError, OSError):  # a shell that completes can't tell what is wrong with a file
        return [*dict.fromkeys(["default", *session.config.policies])]
    return ["default"]


def settings() -> list[tuple[str, str]]:
    """Settings as ``--set`` takes them, up to the value; behind that, the values where there are few."""
    from faultset_ray.config.loading import known

    found: list[tuple[str, str]] = []
    for key, own in known().items():
        values = getattr(own.kind, "words", ())
        found += [(f"{key}={value}", own.help) for value in values] or [(f"{key}=", own.help)]
    return found


def words(*of: str) -> Callable[[], list[str]]:
    """What completes an argument that is one of some words."""
    return lambda: [*of]


def in_bash(application: typer.Typer) -> None:
    """Answer bash, which takes ``rs:4+2`` for three words and ``a=b`` too, and puts in what follows the last break."""
    given = os.environ["COMP_WORDS"].split("\n")
    at = int(os.environ["COMP_CWORD"])
    parts = [*given, ""][: at + 1]
    joined = [*_joined(parts)]
    last = "" if parts[-1] in _BREAKS else parts[-1]
    whole = joined[-1].partition("=")[2] if joined[-1].startswith("-") and "=" in joined[-1] else joined[-1]
    already = whole[: len(whole) - len(last)]
    os.environ |= {"COMP_WORDS": "\n".join(joined), "COMP_CWORD": str(len(joined) - 1)}
    answer = io.StringIO()
    with redirect_stdout(answer), suppress(SystemExit):
        application(prog_name="faultset")
    for line in answer.getvalue().splitlines():
        typer.echo(line.removeprefix(already))


def _joined(parts: list[str]) -> Iterator[str]:
    """Words as they were typed: what stands around a break belongs together."""
    word = parts[0]
    for before, part in pairwise(parts):
        if part in _BREAKS or (before in _BREAKS and part):
            word += part
        else:
            yield word
            word = part
    yield word
