"""Conditions and ranges of HTTP (RFC 9110), for objects whose tag is their generation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from email.utils import formatdate
from typing import Final
from urllib.parse import unquote_to_bytes

from faultset_ray.errors import InvalidObjectName
from faultset_ray.http.problems import InvalidHeader, RangeRefused

_TAG: Final = re.compile(r'\s*(?P<weak>W/)?"(?P<tag>[\x21\x23-\x7e\x80-\xff]*)"\s*(?:,|$)')
_RANGE: Final = re.compile(r"(\d{0,19})-(\d{0,19})")
_GENERATION: Final = re.compile(r"[1-9]\d{0,18}")
ANY: Final = "*"


def etag(generation: int) -> str:
    """The strong tag of a generation."""
    return f'"{generation}"'


def tags(name: str, value: str | None) -> Sequence[str] | None:
    """The tags that ``If-Match`` or ``If-None-Match`` names, without quotes; ``("*",)`` for any; None without it.

    A weak one is as good as none for ``If-Match``, and stands for the strong one in ``If-None-Match``.

    Raises
    ------
    InvalidHeader
    """
    if value is None:
        return None
    if value.strip() == ANY:
        return (ANY,)
    found, at = [], 0
    while at < len(value):
        tag = _TAG.match(value, at)
        if tag is None or tag.end() == at:
            raise InvalidHeader(f'{name} is no list of tags, as "7" or "7", "8", nor *')
        if not tag["weak"] or name != "If-Match":
            found.append(tag["tag"])
        at = tag.end()
    if not value.strip():
        raise InvalidHeader(f"{name} is empty")
    return tuple(found)


def generations(wanted: Sequence[str]) -> list[int]:
    """The tags that are generations; others name none of ours."""
    return [int(tag) for tag in wanted if _GENERATION.fullmatch(tag)]


def matches(wanted: Sequence[str], generation: int) -> bool:
    """Whether a generation is one of those that tags name."""
    return ANY in wanted or str(generation) in wanted


def span_of(value: str | None, size: int) -> tuple[int, int] | None:
    """What ``Range`` asks for: (start, stop); None for all, also where it asks for several ranges or is no range.

    Raises
    ------
    RangeRefused
        There is no byte of it.
    """
    unit, _, rest = (value or "").partition("=")
    found = _RANGE.fullmatch(rest.strip()) if unit.strip().lower() == "bytes" else None
    if found is None or found[1] + found[2] == "":
        return None
    if not found[1]:
        start, stop = max(0, size - int(found[2])), size
    else:
        start, stop = int(found[1]), min(size, int(found[2]) + 1) if found[2] else size
        if found[2] and int(found[2]) < start:
            return None  # no valid range, by the standard
    if start >= stop:
        raise RangeRefused(f"the object has {size:,} bytes", headers={"Content-Range": f"bytes */{size}"}, size=size)
    return start, stop


def http_date(at_ms: int) -> str:
    """A time as headers write it."""
    return formatdate(at_ms / 1000, usegmt=True)


def name_of(raw_path: bytes, prefix: str) -> str:
    """What follows a prefix in the path that a client sent, decoded: any UTF-8 text.

    Raises
    ------
    InvalidObjectName
        It is no UTF-8.
    """
    rest = raw_path.partition(b"?")[0].partition(prefix.encode())[2]
    raw = unquote_to_bytes(rest)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise InvalidObjectName(raw.decode("utf-8", "replace"), "is no UTF-8") from None
