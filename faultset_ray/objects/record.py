"""Commit records: what stores keep beside shards to say that a write is there, or that an object is gone.

The bytes are in ``docs/formats.md``. Unpacking checks the magic, the CRC, then every field, and allocates nothing
that depends on what it reads.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from google_crc32c import value as crc32c

from faultset_ray.columns import is_int
from faultset_ray.errors import CodingError, CorruptShard, InputError, InvalidObjectName, UnsupportedFormat
from faultset_ray.errors.base import shown
from faultset_ray.limits import (
    FORMAT_SHARDS_MAX,
    OBJECT_BYTES_MAX,
    OBJECT_NAME_BYTES_MAX,
    SPEC_BYTES_MAX,
    STRIPE_BYTES_MAX,
)
from faultset_ray.shards.format import Header
from faultset_ray.shards.layout import BLOCK_ALIGN

Kind = Literal["put", "delete"]

RECORD_VERSION: Final = 1
RECORD_MAGIC: Final = b"\x89FSRREC\n"
_FIXED: Final = struct.Struct("<8sHBBHHQQQIIII16s32sB63s20s")
_CRC: Final = struct.Struct("<I")
RECORD_BYTES_MAX: Final = _FIXED.size + OBJECT_NAME_BYTES_MAX + _CRC.size

_KINDS: Final[dict[int, Kind]] = {1: "put", 2: "delete"}
_DURABILITIES: Final = {0: "none", 1: "fsync"}
_OFFSETS = {
    "version": 8,
    "kind": 10,
    "durability": 11,
    "name": _FIXED.size,
    "generation": 16,
    "size": 24,
    "created": 32,
    "k": 40,
    "n": 44,
    "block bytes": 48,
    "tolerate": 52,
    "ids": 56,
    "spec": 104,
}


def object_id(name: str) -> bytes:
    """SHA-256 of a name's UTF-8: what an object is called on disk.

    Raises
    ------
    InvalidObjectName
        If it is not a text of 1 to 1,024 bytes in UTF-8, which lone surrogates have no form in.
    """
    return hashlib.sha256(_encoded(name)).digest()


@dataclass(frozen=True, slots=True)
class Record:
    """One write of an object, or its deletion, as stores keep it.

    Parameters
    ----------
    kind
        ``"put"``, or ``"delete"`` for a tombstone.
    name
        1 to 1,024 bytes in UTF-8.
    generation
        Order among the writes and deletions of one name: the coordinator's epoch << 32, and a sequence.
    write_id
        16 bytes: whose shards these are; of a tombstone, its own. An object that was undeleted has a record of a
        new generation with the write id of old, which is why its shards' headers have an older generation.
    size, sha256
        Of the object. Of a tombstone, for how long the deletion can be undone, in ms (0 where that is not known), and
        zeros.
    spec, k, n, block_bytes
        The code, and how the object is cut. A tombstone may have ``""`` and zeros.
    tolerate
        Stores that may be lost without the object being lost.
    created_ms
        When, by the clock of who wrote it.
    durability
        ``"fsync"`` or ``"none"``.
    """

    kind: Kind
    name: str
    generation: int
    write_id: bytes
    size: int
    sha256: bytes
    spec: str
    k: int
    n: int
    block_bytes: int
    tolerate: int
    created_ms: int
    durability: str

    @property
    def object_id(self) -> bytes:
        """SHA-256 of the name's UTF-8."""
        return object_id(self.name)

    @property
    def header(self) -> Header:
        """The header of the write's shard 0."""
        return Header(
            0, self.k, self.n, self.block_bytes, self.write_id, self.spec, self.generation, object_id(self.name)
        )

    def pack(self) -> bytes:
        """At most 1,216 bytes.

        Raises
        ------
        InvalidObjectName
            As :func:`object_id`.
        InputError
            If another field is out of the bounds of the format.
        """
        name = _encoded(self.name)
        for field, reason in _faults(self):
            raise InputError(f"record of {self.name!r}: {field} {reason}")
        spec = self.spec.encode("ascii")
        body = _FIXED.pack(
            RECORD_MAGIC,
            RECORD_VERSION,
            _number_of(_KINDS, self.kind),
            _number_of(_DURABILITIES, self.durability),
            len(name),
            0,
            self.generation,
            self.size,
            self.created_ms,
            self.k,
            self.n,
            self.block_bytes,
            self.tolerate,
            self.write_id,
            self.sha256,
            len(spec),
            spec,
            b"",
        )
        body += name
        return body + _CRC.pack(crc32c(body))

    @classmethod
    def unpack(cls, raw: bytes, what: str = "record") -> Record:
        """Read a record back.

        Parameters
        ----------
        raw
            The whole record and nothing else.
        what
            How errors name it.

        Raises
        ------
        CorruptShard
            If it is not a record, or not as it was written; with the offset of the first fault.
        UnsupportedFormat
            If it is sound, but of another version or kind.
        """
        if raw[: len(RECORD_MAGIC)] != RECORD_MAGIC:
            raise CorruptShard(what, "is not a record: no magic", 0)
        if not _FIXED.size + _CRC.size < len(raw) <= RECORD_BYTES_MAX:
            expected = f"{_FIXED.size + _CRC.size + 1} to {RECORD_BYTES_MAX}"
            raise CorruptShard(what, f"is of {len(raw)} bytes; expected {expected}", len(raw))
        body = raw[: -_CRC.size]
        if _CRC.pack(crc32c(body)) != raw[-_CRC.size :]:
            raise CorruptShard(what, "the CRC does not match", len(body))
        _, version, kind, durability, name_bytes, gap, *numbers, write_id, sha256, spec_bytes, spec, rest = (
            _FIXED.unpack_from(raw)
        )
        if version != RECORD_VERSION:
            raise UnsupportedFormat(what, "record format", str(version), str(RECORD_VERSION))
        for field, found, known in (("kind", kind, _KINDS), ("durability", durability, _DURABILITIES)):
            if found not in known:
                listed = ", ".join(f"{number} = {name}" for number, name in known.items())
                raise UnsupportedFormat(what, field, str(found), listed)
        if gap or any(rest):
            raise CorruptShard(what, "reserved bytes are not zero", 14)
        if name_bytes != len(body) - _FIXED.size:
            raise CorruptShard(what, f"the name is of {len(body) - _FIXED.size} bytes, not {name_bytes}", 12)
        if spec_bytes > SPEC_BYTES_MAX or any(spec[spec_bytes:]):
            raise CorruptShard(what, "the spec's length does not fit the spec", _OFFSETS["spec"])
        try:
            name = body[_FIXED.size :].decode()
        except UnicodeDecodeError as error:
            raise CorruptShard(what, "the name is not UTF-8", _FIXED.size + error.start) from error
        generation, size, created_ms, k, n, block_bytes, tolerate = numbers
        record = cls(
            _KINDS[kind],
            name,
            generation,
            write_id,
            size,
            sha256,
            spec[:spec_bytes].decode("latin-1"),
            k,
            n,
            block_bytes,
            tolerate,
            created_ms,
            _DURABILITIES[durability],
        )
        for field, reason in _faults(record):
            raise CorruptShard(what, f"{field} {reason}", _OFFSETS[field])
        return record


def grace_of(grace_ms: int) -> int:
    """The size of a tombstone: 0 says nothing, and a deletion for good is one for a millisecond."""
    return max(grace_ms, 1)


def sound(raw: bytes) -> Record | None:
    """A record; None where it is damaged, or of a later version: it says nothing then, and the others do."""
    try:
        return Record.unpack(raw)
    except CodingError:
        return None


def _encoded(name: str) -> bytes:
    if not isinstance(name, str):
        raise InvalidObjectName(shown(name), "must be a text")
    try:
        raw = name.encode()
    except UnicodeEncodeError as error:
        raise InvalidObjectName(name, f"has a lone surrogate at character {error.start}") from error
    if not 1 <= len(raw) <= OBJECT_NAME_BYTES_MAX:
        raise InvalidObjectName(name, f"is of {len(raw)} bytes in UTF-8; expected 1 to {OBJECT_NAME_BYTES_MAX}")
    return raw


def _number_of(known: dict[int, Kind] | dict[int, str], name: str) -> int:
    return next(number for number, each in known.items() if each == name)


def _faults(record: Record) -> Iterator[tuple[str, str]]:
    """``(field, reason)`` of every bound that a record breaks."""
    numbers = {
        "generation": (record.generation, (1 << 64) - 1),
        "size": (record.size, OBJECT_BYTES_MAX),
        "created": (record.created_ms, (1 << 63) - 1),
        "k": (record.k, FORMAT_SHARDS_MAX),
        "n": (record.n, FORMAT_SHARDS_MAX),
        "block bytes": (record.block_bytes, STRIPE_BYTES_MAX),
        "tolerate": (record.tolerate, FORMAT_SHARDS_MAX),
    }
    for field, (number, most) in numbers.items():
        if not is_int(number) or not 0 <= number <= most:
            yield field, f"is {number!r}; expected 0 to {most}"
            return
    if record.kind not in _KINDS.values():
        yield "kind", f"is {record.kind!r}; expected put or delete"
    if record.durability not in _DURABILITIES.values():
        yield "durability", f"is {record.durability!r}; expected fsync or none"
    if (len(record.write_id), len(record.sha256)) != (16, 32):
        yield "ids", "must be of 16 (write) and 32 (SHA-256) bytes"
    if record.kind == "delete" and any(record.sha256):
        yield "ids", "of a tombstone: its SHA-256 must be zero"
    if record.kind == "delete" and (record.spec, record.k, record.n, record.block_bytes) == ("", 0, 0, 0):
        return
    if not 1 <= record.k <= record.n:
        yield "k", f"is {record.k}; expected 1 to n = {record.n}"
    if record.tolerate >= record.n:
        yield "tolerate", f"is {record.tolerate}; expected less than n = {record.n}"
    if record.block_bytes < BLOCK_ALIGN or record.block_bytes % BLOCK_ALIGN:
        yield "block bytes", f"is {record.block_bytes}; expected a multiple of {BLOCK_ALIGN}"
    if record.k * record.block_bytes > STRIPE_BYTES_MAX:
        yield "block bytes", f"is {record.block_bytes}; k = {record.k} of them pass {STRIPE_BYTES_MAX}"
    if not 1 <= len(record.spec) <= SPEC_BYTES_MAX or not all("!" <= char <= "~" for char in record.spec):
        yield "spec", f"is {record.spec!r}; expected 1 to {SPEC_BYTES_MAX} printable ASCII characters"
