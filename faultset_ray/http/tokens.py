"""Bearer tokens: a file of hashes, read anew when it changes, so that tokens come and go while the API runs."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import hmac
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from faultset_ray.errors import InputError
from faultset_ray.errors.base import listed, shown
from faultset_ray.shards.disk import fsync_directory

SCOPES: Final = ("read", "write", "admin")
"""``admin`` may do everything; ``write`` alone may not read."""
SECRET_BYTES: Final = 32
"""Of chance in a token: so much that a plain hash hides it, and nobody guesses one."""
_TOKEN: Final = re.compile(r"fst_([0-9a-f]{8})_([A-Za-z0-9_-]{43})")
_LOOSE: Final = stat.S_IRWXO | stat.S_IWGRP
_FILE_BYTES_MAX: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Token:
    """One token, as the file has it."""

    id: str
    """Eight digits in hex, for people and logs: it is no secret."""
    sha256: str
    """Of the secret, in hex."""
    scopes: tuple[str, ...]
    expires_ms: int | None
    """From then on it is refused; None: never."""
    note: str = ""

    def allows(self, scope: str) -> bool:
        """Whether its bearer may do what needs a scope."""
        return scope in self.scopes or "admin" in self.scopes


class TokenFile:
    """The tokens of a file, for those that are asked; see :func:`add` and :func:`revoke` for who changes it.

    Raises
    ------
    InputError
        The file can't be read, is no file of tokens, or others than its owner and group may read it, or write to it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._seen: tuple[int, ...] = ()
        self._tokens: Mapping[str, Token] = {}
        self.tokens()

    def tokens(self) -> Mapping[str, Token]:
        """By id, as the file is now."""
        seen = _identity(self.path)
        if seen != self._seen:
            self._tokens, self._seen = read(self.path), seen
        return self._tokens

    def find(self, given: str, now_ms: int) -> Token | None:
        """The token of what a client sent; None if it is unknown, revoked or expired.

        How long it takes says nothing of the secret.
        """
        parts = _TOKEN.fullmatch(given)
        if parts is None:
            return None
        token = self.tokens().get(parts[1])
        expected = token.sha256 if token is not None else hashed("")
        same = hmac.compare_digest(hashed(parts[2]), expected)
        if token is None or not same or (token.expires_ms is not None and now_ms >= token.expires_ms):
            return None
        return token


def hashed(secret: str) -> str:
    """What the file keeps of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def read(path: Path) -> dict[str, Token]:
    """All tokens of a file, by id.

    Raises
    ------
    InputError
        See :class:`TokenFile`.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            raw = file.read(_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise _unreadable(path, error) from None
    if mode & _LOOSE:
        raise InputError(f"tokens: {path} has mode {mode:04o}; nobody but its owner may write to it: chmod 600 it")
    try:
        listed_tokens = [_token(row) for row in json.loads(_bounded(raw))["tokens"]]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"tokens: {path} is no file of tokens: {shown(error)}") from None
    found = {token.id: token for token in listed_tokens}
    if len(found) < len(listed_tokens):
        raise InputError(f"tokens: {path} has an id twice")
    return found


def _bounded(raw: bytes) -> bytes:
    if len(raw) > _FILE_BYTES_MAX:
        raise ValueError(f"more than {_FILE_BYTES_MAX:,} bytes")
    return raw


def add(
    path: Path, secret: tuple[str, str], scopes: Iterable[str], expires_ms: int | None = None, note: str = ""
) -> tuple[Token, str]:
    """Add a token to a file, which is made if there is none.

    Parameters
    ----------
    secret
        The id (8 digits in hex) and what is secret (32 bytes in URL-safe base64, without padding), both of chance.

    Returns
    -------
    (Token, str)
        What the file has of it, and what its bearer sends: that is written down nowhere.
    """
    wanted = tuple(dict.fromkeys(scopes))
    if not wanted or (unknown := [scope for scope in wanted if scope not in SCOPES]):
        told = f"{unknown[0]!r} is no scope" if wanted else "no scope is given"
        raise InputError(f"tokens: {told}; expected {listed(SCOPES)}")
    bearer = "fst_{}_{}".format(*secret)
    if _TOKEN.fullmatch(bearer) is None:
        raise InputError("tokens: a secret is an id of 8 digits in hex, and 32 bytes in URL-safe base64")
    token = Token(secret[0], hashed(secret[1]), wanted, expires_ms, note)
    with _changing(path) as tokens:
        if token.id in tokens:
            raise InputError(f"tokens: {path} has a token {token.id} already; try again")
        tokens[token.id] = token
    return token, bearer


def revoke(path: Path, token_id: str) -> Token:
    """Take a token out of a file: from the next request on it is refused.

    Raises
    ------
    InputError
        There is no such token.
    """
    with _changing(path) as tokens:
        if token_id not in tokens:
            raise InputError(f"tokens: {path} has no token {shown(token_id)}; it has {listed(tokens)}")
        return tokens.pop(token_id)


@contextmanager
def _changing(path: Path) -> Iterator[dict[str, Token]]:
    """The tokens of a file to be changed, by one process at a time; the file appears whole or stays what it was.

    Who may read it stays the same: its mode, its owner and group (where the caller may give them), and links to it.
    """
    path = Path(os.path.realpath(path))
    if path.is_symlink():  # it leads to itself
        raise _unreadable(path, OSError(errno.ELOOP, os.strerror(errno.ELOOP)))
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _private(path.with_name(path.name + ".lock"), os.O_CREAT) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        tokens = read(path) if path.exists() else {}
        yield tokens
        fresh = path.with_name(path.name + ".new")
        fresh.unlink(missing_ok=True)
        with _private(fresh, os.O_CREAT | os.O_EXCL) as file:
            file.write(json.dumps({"tokens": [asdict(token) for token in tokens.values()]}, indent=1).encode())
            file.flush()
            if path.exists():
                _keep_readers(file.fileno(), path.stat())
            os.fsync(file.fileno())
        fresh.replace(path)
        fsync_directory(path.parent)


def _keep_readers(fd: int, before: os.stat_result) -> None:
    """Give a new file the owner, group and mode of the one that it replaces."""
    for owner, group in ((before.st_uid, -1), (-1, before.st_gid)):
        with suppress(PermissionError):  # only root gives files away; the group alone may be given by its members
            os.fchown(fd, owner, group)
    if os.fstat(fd).st_gid == before.st_gid:  # else the mode would let another group read
        os.fchmod(fd, stat.S_IMODE(before.st_mode))


def _private(path: Path, flags: int) -> BinaryIO:
    """A file that only its owner may read and write from its first moment."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CLOEXEC | flags, 0o600), "wb")


def _identity(path: Path) -> tuple[int, ...]:
    """What tells whether a file is another one, or was written to."""
    try:
        found = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode


def _unreadable(path: Path, error: OSError) -> InputError:
    hint = "; make it with `faultset token add`" if isinstance(error, FileNotFoundError) else ""
    return InputError(f"tokens: {path} can't be read: {error.strerror}{hint}")


def _token(row: Any) -> Token:
    token = Token(row["id"], row["sha256"], tuple(row["scopes"]), row["expires_ms"], row["note"])
    sound = (
        isinstance(token.id, str)
        and re.fullmatch(r"[0-9a-f]{8}", token.id)
        and isinstance(token.sha256, str)
        and re.fullmatch(r"[0-9a-f]{64}", token.sha256)
        and token.scopes
        and set(token.scopes) <= set(SCOPES)
        and (token.expires_ms is None or type(token.expires_ms) is int)
        and isinstance(token.note, str)
    )
    if not sound:
        raise ValueError("a row is not sound")
    return token
