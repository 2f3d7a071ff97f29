"""What the HTTP API goes by: where it listens, whom it believes, and its limits."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

from faultset_ray.config.kinds import Hosts, Number, Text, Whole, WholeSize
from faultset_ray.config.tree import Section, setting
from faultset_ray.errors import InvalidConfig
from faultset_ray.limits import MIB, OBJECT_BYTES_MAX

_SECONDS: Final = Number(0.0, 31_536_000.0, above=True)
_BYTES: Final = WholeSize(1, OBJECT_BYTES_MAX)
_COUNT: Final = Whole(1, 1_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Http(Section):
    """Settings of the HTTP API.

    Raises
    ------
    InvalidConfig
        A value can't be used.
    """

    host: str = setting("127.0.0.1", Text("an address"), "The address to listen on.", reader="command")
    port: int = setting(8000, Whole(1, 65_535), "The port to listen on.", reader="command")
    tokens: str | None = setting(
        None,
        Text("the path of a file"),
        "The file of tokens that `faultset token` writes, on the machines of the replicas. Unset, only clients of "
        "this machine are answered.",
        reader="command",
        variables=("FAULTSET_HTTP_TOKENS", "FAULTSET_TOKENS"),
    )
    hosts: tuple[str, ...] = setting(
        ("localhost", "127.0.0.1", "[::1]"),
        Hosts(),
        "What a request's `Host` may be; `*.example.org` stands for all below it.",
        reader="command",
    )
    replicas: int = setting(1, _COUNT, "Processes that answer; each has the limits to itself.", reader="command")
    json_bytes_max: int = setting(16 * MIB, _BYTES, "Of a body that is JSON.", reader="command")
    object_bytes_max: int = setting(64 * 1024 * MIB, _BYTES, "Of an object that is put.", reader="command")
    unpaced_bytes_max: int = setting(
        16 * MIB,
        _BYTES,
        "Of both, and of what one GET answers, where the server in front takes in more than is asked of it.",
        reader="command",
    )
    requests_max: int = setting(
        256, _COUNT, "Requests that are answered at once; one more is refused.", reader="command"
    )
    transfers_max: int = setting(
        8,
        _COUNT,
        "Of these, objects of more than 1 MiB that are put or fetched: each may take up to 96 MiB of memory.",
        reader="command",
    )
    watches_max: int = setting(32, _COUNT, "Of these, watches.", reader="command")
    request_s: float = setting(
        60.0, _SECONDS, "How long anything may take that is neither a transfer nor a watch.", reader="command"
    )
    busy_s: float = setting(
        2.0,
        Number(0.0, 3600.0),
        "How long a PUT or DELETE waits for another write of its name that it must not meet.",
        reader="command",
    )
    idle_s: float = setting(
        30.0,
        _SECONDS,
        "How long a client may send nothing of a body that it began, or read nothing of an answer.",
        reader="command",
    )
    rate_min_bytes_per_s: int = setting(
        16 * 1024,
        WholeSize(0, OBJECT_BYTES_MAX),
        "How fast a client at least sends or reads the bytes of a transfer, while it is waited for: what it takes "
        "longer comes off `idle_s`, what it is quicker makes up for that. 0: it may be as slow as it likes.",
        reader="command",
    )
    heartbeat_s: float = setting(
        15.0, _SECONDS, "After how long a silent watch says that it is still there.", reader="command"
    )

    def unguarded(self) -> InvalidConfig | None:
        """What is wrong with being reached from other machines, if it would be and has no file of tokens."""
        if self.tokens is not None or is_loopback(self.host):
            return None
        reason = (
            f"is {self.host!r}, which other machines reach, and there is no file of tokens: make one with "
            "`faultset token add`, and name it as http.tokens, or listen on 127.0.0.1"
        )
        return InvalidConfig("", "http.host", reason)

    def check_guarded(self) -> None:
        """Refuse to be reached from other machines without a file of tokens.

        Raises
        ------
        InvalidConfig
        """
        problem = self.unguarded()
        if problem is not None:
            raise problem


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address, or be it."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
