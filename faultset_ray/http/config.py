"""What the HTTP API is told once: where it listens, whom it believes, and its limits."""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass, fields
from typing import Final

from faultset_ray.errors import InputError
from faultset_ray.limits import MIB, OBJECT_BYTES_MAX

LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")
"""What a client on the same machine calls it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpConfig:
    """Settings of the HTTP API.

    Raises
    ------
    InputError
        A value can't be used; or it would listen to other machines, and there is no file of tokens.
    """

    host: str = "127.0.0.1"
    """The address that it listens on."""
    port: int = 8000
    tokens: str | None = None
    """The file of tokens that ``faultset token`` writes. Without one only clients of this machine are answered."""
    hosts: tuple[str, ...] = LOOPBACK
    """Names that a request's ``Host`` may have, without the port; ``*.example.org`` stands for all below it."""
    json_bytes_max: int = 16 * MIB
    """Bytes of a request's body that is JSON."""
    object_bytes_max: int = 64 * 1024 * MIB
    """Bytes of an object that is put."""
    unpaced_bytes_max: int = 16 * MIB
    """The same, and of what one GET answers, where the server in front takes in more than is asked of it; see
    :mod:`faultset_ray.http.pacing`."""
    requests_max: int = 256
    """Requests that are answered at once; one more is refused."""
    transfers_max: int = 8
    """Of these, objects of more than 1 MiB that are put or fetched: each may take some stripes of memory."""
    watches_max: int = 32
    """Of these, watches."""
    request_s: float = 60.0
    """How long anything may take that is neither an object's bytes nor a watch."""
    idle_s: float = 30.0
    """How long a client may send nothing of a body that it began, or read nothing of an answer."""
    heartbeat_s: float = 15.0
    """After how long a silent watch says that it is still there."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_max"):
                _check(type(value) is int and 0 < value <= OBJECT_BYTES_MAX, field.name, value, "an integer above 0")
            elif field.name.endswith("_s"):
                fits = isinstance(value, (int, float)) and not isinstance(value, bool)
                _check(fits and value > 0 and math.isfinite(value), field.name, value, "seconds, above 0")
        _check(isinstance(self.host, str) and bool(self.host), "host", self.host, "an address")
        _check(type(self.port) is int and 0 <= self.port < 1 << 16, "port", self.port, "0 to 65535")
        _check(
            self.tokens is None or (isinstance(self.tokens, str) and bool(self.tokens)), "tokens", self.tokens, "a path"
        )
        names = isinstance(self.hosts, tuple) and all(map(_is_host, self.hosts))
        _check(names, "hosts", self.hosts, "a tuple of names without ports; * only as *.name")
        if self.tokens is None and not is_loopback(self.host):
            raise InputError(
                f"host is {self.host!r}, which other machines reach, and there is no file of tokens: make one with "
                "`faultset token add`, and name it, or listen on 127.0.0.1"
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address, or be it."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _is_host(name: object) -> bool:
    if not isinstance(name, str) or not name or name != name.strip():
        return False
    rest = name.removeprefix("*.")
    return bool(rest) and "*" not in rest and (":" not in rest or rest.startswith("["))


def _check(fits: bool, name: str, value: object, expected: str) -> None:
    if not fits:
        raise InputError(f"http: {name} is {value!r}; expected {expected}")
