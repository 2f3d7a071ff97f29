"""Shard format v1: the bytes of the header and of the trailer (``docs/formats.md`` has them in tables).

Everything is little-endian and of fixed size. Unpacking checks the CRC first, then every field, and
allocates nothing that depends on what it reads.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from google_crc32c import value as crc32c

from faultset_ray.columns import is_int
from faultset_ray.errors import CorruptShard, InputError, UnsupportedFormat
from faultset_ray.limits import (
    FORMAT_SHARDS_MAX,
    GRANULE_BYTES,
    GRANULE_BYTES_MAX,
    GRANULE_BYTES_MIN,
    OBJECT_BYTES_MAX,
    SPEC_BYTES_MAX,
    STRIPE_BYTES_MAX,
)
from faultset_ray.shards.layout import BLOCK_ALIGN, HEADER_BYTES, TRAILER_BYTES, StripeLayout

FORMAT_VERSION: Final = 1
# As PNG's: a byte past ASCII, then what text-mode transfers mangle.
HEADER_MAGIC: Final = b"\x89FSR\r\n\x1a\n"
TRAILER_MAGIC: Final = b"FSRSEAL\n"

GRANULE_DIGESTS: Final = {1: ("crc32c", 4)}
"""Name and bytes of each kind of granule digest."""
OBJECT_DIGESTS: Final = {1: "sha256"}

_HEADER = struct.Struct("<8sHHBBHIIIIIIQ32s16s16sB63s76sI")
_TRAILER = struct.Struct("<8sQQ8s32s32s32s28sI")
_CRC_BYTES = 4
_NO_KEY = bytes(16)
_UNSEALED = "has no trailer at its end: it was not sealed, or its length changed"
_OFFSETS = {
    "version": 8,
    "header length": 10,
    "granule digest kind": 12,
    "object digest kind": 13,
    "index": 16,
    "k": 20,
    "n": 24,
    "block bytes": 28,
    "granule bytes": 32,
    "key id": 96,
    "spec": 112,
    "reserved": 176,
}


@dataclass(frozen=True, slots=True)
class Header:
    """What every shard file starts with; all shards of one write differ in `index` alone.

    Parameters
    ----------
    index, k, n
        This shard, the data shards and all shards of the code.
    block_bytes
        Length of a full block, a multiple of 64; k of them are at most 64 MiB.
    write_id
        16 random bytes: which write this is, whatever the object is called.
    spec
        The code's canonical text, 1 to 63 printable ASCII characters without spaces.
    generation
        Order among the writes of one name.
    object_id
        SHA-256 of the object's name; zeros if it has none.
    granule_bytes
        Bytes under one digest: a power of two, 4 KiB to 1 MiB.
    """

    index: int
    k: int
    n: int
    block_bytes: int
    write_id: bytes
    spec: str
    generation: int = 0
    object_id: bytes = bytes(32)
    granule_bytes: int = GRANULE_BYTES
    granule_digest: int = 1
    object_digest: int = 1
    key_id: bytes = _NO_KEY

    @property
    def layout(self) -> StripeLayout:
        """Where the bytes of this shard lie."""
        return StripeLayout(self.k, self.block_bytes, self.granule_bytes, GRANULE_DIGESTS[self.granule_digest][1])

    @property
    def label(self) -> str:
        """How messages name this shard."""
        return f"shard {self.index} of write {self.write_id.hex()}"

    def pack(self) -> bytes:
        """256 bytes.

        Raises
        ------
        InputError
            If a field is out of the bounds of the format.
        UnsupportedFormat
            If a digest kind or key is not one of this version.
        """
        _refuse_unknown(self, "header")
        for field, reason in _faults(self):
            raise InputError(f"shard header: {field} {reason}")
        body = _HEADER.pack(
            HEADER_MAGIC,
            FORMAT_VERSION,
            HEADER_BYTES,
            self.granule_digest,
            self.object_digest,
            0,
            self.index,
            self.k,
            self.n,
            self.block_bytes,
            self.granule_bytes,
            0,
            self.generation,
            self.object_id,
            self.write_id,
            self.key_id,
            len(self.spec),
            self.spec.encode("ascii"),
            b"",
            0,
        )[:-_CRC_BYTES]
        return body + _crc(body)

    @classmethod
    def unpack(cls, raw: bytes, what: str = "shard") -> Header:
        """Read a header back.

        Parameters
        ----------
        raw
            The first bytes of a shard file; those past 256 are not looked at.
        what
            How errors name the shard.

        Raises
        ------
        CorruptShard
            If it is not a header, or not as it was written; with the offset of the first fault.
        UnsupportedFormat
            If it is sound, but of another version, digest kind or with a MAC.
        """
        if len(raw) < HEADER_BYTES:
            raise CorruptShard(what, f"ends within the header: {len(raw)} of {HEADER_BYTES} bytes", len(raw))
        if raw[: len(HEADER_MAGIC)] != HEADER_MAGIC:
            raise CorruptShard(what, "is not a shard file: no magic", 0)
        raw = raw[:HEADER_BYTES]
        fields = _HEADER.unpack(raw)
        if _crc(raw[:-_CRC_BYTES]) != raw[-_CRC_BYTES:]:
            raise CorruptShard(what, "the header's CRC does not match", HEADER_BYTES - _CRC_BYTES)
        _, version, length, granule_digest, object_digest, gap_a, index, k, n, block, granule, gap_b = fields[:12]
        generation, object_id, write_id, key_id, spec_bytes, spec, reserved, _ = fields[12:]
        if version != FORMAT_VERSION:
            raise UnsupportedFormat(what, "shard format", str(version), str(FORMAT_VERSION))
        if length != HEADER_BYTES:
            raise CorruptShard(what, f"header length is {length}, not {HEADER_BYTES}", _OFFSETS["header length"])
        if gap_a or gap_b or any(reserved):
            raise CorruptShard(what, "reserved bytes are not zero", _OFFSETS["reserved"])
        if spec_bytes > SPEC_BYTES_MAX or any(spec[spec_bytes:]):
            raise CorruptShard(what, "the spec's length does not fit the spec", _OFFSETS["spec"])
        header = cls(
            index=index,
            k=k,
            n=n,
            block_bytes=block,
            write_id=write_id,
            spec=spec[:spec_bytes].decode("latin-1"),
            generation=generation,
            object_id=object_id,
            granule_bytes=granule,
            granule_digest=granule_digest,
            object_digest=object_digest,
            key_id=key_id,
        )
        _refuse_unknown(header, what)
        for field, reason in _faults(header):
            raise CorruptShard(what, f"{field} {reason}", _OFFSETS[field])
        return header


def _crc(raw: bytes) -> bytes:
    crc: int = crc32c(raw)
    return crc.to_bytes(_CRC_BYTES, "little")


def _refuse_unknown(header: Header, what: str) -> None:
    """Name what a later version may have brought, rather than call it damage."""
    if header.granule_digest not in GRANULE_DIGESTS:
        known = ", ".join(f"{kind} = {name}" for kind, (name, _) in GRANULE_DIGESTS.items())
        raise UnsupportedFormat(what, "granule digest kind", str(header.granule_digest), known)
    if header.object_digest not in OBJECT_DIGESTS:
        known = ", ".join(f"{kind} = {name}" for kind, name in OBJECT_DIGESTS.items())
        raise UnsupportedFormat(what, "object digest kind", str(header.object_digest), known)
    if header.key_id != _NO_KEY:
        raise UnsupportedFormat(what, "MAC key", header.key_id.hex(), "no MAC")


def _faults(header: Header) -> Iterator[tuple[str, str]]:
    """``(field, reason)`` of every bound that a header breaks."""
    numbers = (header.index, header.k, header.n, header.block_bytes, header.granule_bytes, header.generation)
    if any(not is_int(number) for number in numbers):
        yield "numbers", f"must be integers, not {numbers}"
        return
    if not 1 <= header.n <= FORMAT_SHARDS_MAX:
        yield "n", f"is {header.n}; expected 1 to {FORMAT_SHARDS_MAX}"
    if not 1 <= header.k <= header.n:
        yield "k", f"is {header.k}; expected 1 to n = {header.n}"
    if not 0 <= header.index < header.n:
        yield "index", f"is {header.index}; expected 0 to {header.n - 1}"
    if header.block_bytes < BLOCK_ALIGN or header.block_bytes % BLOCK_ALIGN:
        yield "block bytes", f"is {header.block_bytes}; expected a multiple of {BLOCK_ALIGN}"
    if header.k * header.block_bytes > STRIPE_BYTES_MAX:
        yield "block bytes", f"is {header.block_bytes}; k = {header.k} of them pass {STRIPE_BYTES_MAX}"
    granule = header.granule_bytes
    if not GRANULE_BYTES_MIN <= granule <= GRANULE_BYTES_MAX or granule & (granule - 1):
        yield "granule bytes", f"is {granule}; expected a power of two, {GRANULE_BYTES_MIN} to {GRANULE_BYTES_MAX}"
    if not 1 <= len(header.spec) <= SPEC_BYTES_MAX or not all("!" <= char <= "~" for char in header.spec):
        yield "spec", f"is {header.spec!r}; expected 1 to {SPEC_BYTES_MAX} printable ASCII characters"
    if not 0 <= header.generation < 1 << 64:
        yield "generation", f"is {header.generation}; expected 0 to 2^64 - 1"
    if (len(header.object_id), len(header.write_id), len(header.key_id)) != (32, 16, 16):
        yield "ids", "must be of 32 (object), 16 (write) and 16 (key) bytes"


@dataclass(frozen=True, slots=True)
class Trailer:
    """What seals a shard file; a file without one is not a shard.

    Parameters
    ----------
    size, stripes
        Of the whole object.
    object_digest
        SHA-256 of the whole object, 32 bytes.
    table_digest
        SHA-256 over the header and all of this shard's granule digests in order, 32 bytes.
    """

    size: int
    stripes: int
    object_digest: bytes
    table_digest: bytes

    def pack(self, header: bytes) -> bytes:
        """160 bytes; the CRC covers the packed `header` too, so that a trailer fits no other file.

        But for the header's own CRC: anything followed by its CRC leaves a CRC register in the same state.
        """
        if len(self.object_digest) != 32 or len(self.table_digest) != 32:
            raise InputError("shard trailer: digests must be of 32 bytes")
        body = _TRAILER.pack(
            TRAILER_MAGIC, self.size, self.stripes, b"", self.object_digest, self.table_digest, b"", b"", 0
        )[:-_CRC_BYTES]
        return body + _crc(header[:-_CRC_BYTES] + body)

    @classmethod
    def unpack(cls, raw: bytes, header: bytes, what: str = "shard", offset: int = 0) -> Trailer:
        """Read a trailer back.

        Parameters
        ----------
        raw
            The last 160 bytes of a shard file.
        header
            The packed header of the same file.
        offset
            Where `raw` starts in the file, for errors.

        Raises
        ------
        CorruptShard
            If there is no trailer (the file was not sealed, or was cut), or it is not as written.
        """
        if len(raw) != TRAILER_BYTES or raw[: len(TRAILER_MAGIC)] != TRAILER_MAGIC:
            raise CorruptShard(what, _UNSEALED, offset)
        _, size, stripes, gap, object_digest, table_digest, mac, reserved, _ = _TRAILER.unpack(raw)
        if _crc(header[:-_CRC_BYTES] + raw[:-_CRC_BYTES]) != raw[-_CRC_BYTES:]:
            raise CorruptShard(what, "the trailer's CRC does not match", offset + TRAILER_BYTES - _CRC_BYTES)
        if size > OBJECT_BYTES_MAX:
            raise CorruptShard(what, f"object size is {size}; the limit is {OBJECT_BYTES_MAX}", offset + 8)
        if any(gap) or any(mac) or any(reserved):
            raise CorruptShard(what, "reserved bytes of the trailer are not zero", offset + 24)
        return cls(size, stripes, object_digest, table_digest)


def unpack_sealed(head: bytes, tail: bytes, file_bytes: int, what: str = "shard") -> tuple[Header, Trailer]:
    """Read both ends of a shard file, and check that they and the file's length agree.

    Parameters
    ----------
    head, tail
        The first 256 and the last 160 bytes of the file.
    file_bytes
        Length of the file.

    Raises
    ------
    CorruptShard, UnsupportedFormat
        As :meth:`Header.unpack` and :meth:`Trailer.unpack`, and if the file is not of the length that follows
        from the object's size.
    """
    header = Header.unpack(head, what)
    if file_bytes < HEADER_BYTES + TRAILER_BYTES:
        raise CorruptShard(what, _UNSEALED, file_bytes)
    offset = file_bytes - TRAILER_BYTES
    trailer = Trailer.unpack(tail, head[:HEADER_BYTES], what, offset)
    layout = header.layout
    if trailer.stripes != layout.stripes(trailer.size):
        expected = layout.stripes(trailer.size)
        raise CorruptShard(what, f"{trailer.stripes} stripes, where the size makes {expected}", offset + 16)
    if file_bytes != layout.file_bytes(trailer.size):
        expected = layout.file_bytes(trailer.size)
        raise CorruptShard(
            what, f"is of {file_bytes} bytes, not {expected}: cut or extended", min(file_bytes, expected)
        )
    return header, trailer
