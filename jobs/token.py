"""Tokens of the HTTP API: ``python -m jobs.token``, ``faultset token``."""

from __future__ import annotations

import secrets
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from faultset_ray.errors import InputError
from faultset_ray.http.tokens import SCOPES, SECRET_BYTES, Token, read
from faultset_ray.http.tokens import add as add_to
from faultset_ray.http.tokens import revoke as revoke_from
from jobs import completing
from jobs.output import Json, finish, run
from jobs.settings import session, settled
from jobs.terminal import console

_DAY_MS = 86_400_000
_DAYS_MAX = 36_500

application = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Tokens of the HTTP API, in a file of hashes that it looks at with each request.",
)

unchecked = partial(settled, checked=False)
"""They read settings only where no file is named, so that none can keep them from working."""

File = Annotated[Path | None, typer.Option("--file", help="The file of tokens. By default http.tokens of the config.")]


@application.command()
@unchecked
def add(
    scope: Annotated[
        list[str], typer.Option(help=f"{', '.join(SCOPES)}; may be repeated.", autocompletion=completing.words(*SCOPES))
    ],
    file: File = None,
    days: Annotated[
        float | None, typer.Option(min=0, max=_DAYS_MAX, help="Valid for so many days; by default until it is revoked.")
    ] = None,
    note: Annotated[str, typer.Option(help="For whom, for those who read the list.")] = "",
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Make a token. It is shown now and never again: the file has its hash alone."""
    expires_ms = None if days is None else _now_ms() + round(days * _DAY_MS)
    secret = secrets.token_hex(4), secrets.token_urlsafe(SECRET_BYTES)
    token, bearer = add_to(_path(file), secret, scope, expires_ms, note)
    console.print(bearer, soft_wrap=True)
    finish({**_told(token), "token": bearer})


@application.command(name="list")
@unchecked
def list_tokens(
    file: File = None,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """List the tokens of a file: ids, scopes, until when. No secret is known to it."""
    path = _path(file)
    tokens = list(read(path).values())
    for token in tokens:
        until = "" if token.expires_ms is None else time.strftime(" until %Y-%m-%d %H:%M:%S", _local(token.expires_ms))
        over = " (over)" if token.expires_ms is not None and token.expires_ms <= _now_ms() else ""
        console.print(f"{token.id}  {','.join(token.scopes)}{until}{over}  {token.note}", soft_wrap=True)
    finish({"file": str(path), "tokens": [_told(token) for token in tokens]})


@application.command()
@unchecked
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="The token's id: its digits between fst_ and _.")],
    file: File = None,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Take a token out of the file: from the next request on it is refused."""
    if token_id.startswith("fst_"):
        raise InputError("name the token by its id, the digits behind fst_; a secret is not to be written on a line")
    path = _path(file)
    token = revoke_from(path, token_id)
    console.print(f"{token.id} is refused from now on")
    finish({"file": str(path), "revoked": token.id})


def _path(file: Path | None) -> Path:
    """The file that is named, by an option or a config."""
    path = file or session.config.http.tokens
    if path is None:
        raise InputError("no file of tokens is named: give --file, or set FAULTSET_TOKENS or http.tokens of a config")
    return Path(path)


def _told(token: Token) -> dict[str, object]:
    return {"id": token.id, "scopes": token.scopes, "expires_ms": token.expires_ms, "note": token.note}


def _now_ms() -> int:
    return int(1000 * time.time())


def _local(at_ms: int) -> time.struct_time:
    return time.localtime(min(at_ms / 1000, 2**40))


if __name__ == "__main__":
    run(application)
