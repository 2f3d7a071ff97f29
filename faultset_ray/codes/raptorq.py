"""RaptorQ (RFC 6330): packets without end, of which any few more than the data's number suffice.

A rateless packet codec, beside the :class:`~faultset_ray.codes.base.Code` contract: there is no n, and a
packet names itself (4 bytes of source block and symbol number, then the symbol). The work is done by the
Rust package ``raptorq`` (extra ``faultset-ray[raptorq]``), whose packets these are, in its order; why, and how
fast it is, stands in the guide to codes.

Packets carry no digest: a damaged one gives wrong data. Check packets or data where they may be damaged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

from faultset_ray.errors import (
    CorruptShard,
    FaultsetError,
    InputError,
    LimitExceeded,
    NotEnoughShards,
    UnsupportedOperation,
)

from . import check

MTU_MAX: Final = 65_535
SYMBOLS_MAX: Final = 255 * 56_403
"""Source blocks times symbols of one. RFC 6330 bears 256 blocks, but their number is told in 8 bits (section 3.3.2)."""
REPAIR_MAX: Final = 1 << 20
"""Repair packets of a source block in one call; a block has 56,403 symbols at most, and all are made in memory."""
_ID_BYTES: Final = 4
_REPAIR_FIRST: Final = 16


def _package() -> Any:
    try:
        import raptorq
    except ImportError:
        reason = 'it needs the package raptorq: pip install "faultset-ray[raptorq]"'
        raise UnsupportedOperation("raptorq", "encode and decode", reason) from None
    return raptorq


def symbol_bytes(mtu: int) -> int:
    """Return the bytes of a symbol for packets made with ``mtu``, which counts without the 4 bytes before it."""
    return _symbol_bytes(_mtu(mtu))


@cache
def _symbol_bytes(mtu: int) -> int:
    return len(_package().Encoder.with_defaults(b"\0", mtu).get_encoded_packets(0)[0]) - _ID_BYTES


def _mtu(mtu: object) -> int:
    checked = check.integer("mtu", mtu)
    if not 1 <= checked <= MTU_MAX:
        raise InputError(f"mtu is {checked}; expected 1 to {MTU_MAX} bytes")
    return checked


def _symbols(size: object, mtu: int) -> int:
    """Return how many symbols hold ``size`` bytes."""
    total = check.integer("size", size)
    if total < 1:
        raise InputError(f"size is {total}; RaptorQ codes 1 byte or more")
    symbols = -(-total // symbol_bytes(mtu))
    if symbols > SYMBOLS_MAX:
        raise LimitExceeded("symbols of the object", symbols, SYMBOLS_MAX)
    return symbols


@contextmanager
def _refused_as(error: FaultsetError) -> Iterator[None]:
    """Raise an error of ours where the package panics, which is a ``BaseException`` of no type that it exports."""
    try:
        yield
    except BaseException as caught:
        if type(caught).__name__ != "PanicException":
            raise
        raise error from None


class Encoder:
    """Makes packets of some bytes.

    Parameters
    ----------
    data : bytes or another contiguous buffer
        1 byte or more; kept by the package.
    mtu : int
        Bytes of a symbol at the most; larger ones are rounded down to a multiple of 8.
    """

    def __init__(self, data: bytes, mtu: int) -> None:
        data = _bytes("data", data)
        checked = _mtu(mtu)
        _symbols(len(data), checked)
        with _refused_as(InputError(f"the package raptorq can't encode {len(data):,} bytes with mtu {checked}")):
            self._encoder = _package().Encoder.with_defaults(data, checked)

    def packets(self, repair: int = 0) -> list[bytes]:
        """Return, source block by source block, its source packets and ``repair`` repair packets.

        Raises
        ------
        LimitExceeded
            For more than :data:`REPAIR_MAX`.
        """
        count = check.integer("repair", repair)
        if count < 0:
            raise InputError(f"repair is {count}; expected 0 or more")
        if count > REPAIR_MAX:
            raise LimitExceeded("repair packets", count, REPAIR_MAX)
        made: list[bytes] = self._encoder.get_encoded_packets(count)
        return made

    def repair_packets(self) -> Iterator[bytes]:
        """Yield repair packets that :meth:`packets` without repair has not, up to :data:`REPAIR_MAX` a block."""
        seen = {packet[:_ID_BYTES] for packet in self.packets()}
        count = _REPAIR_FIRST
        while True:
            for packet in self.packets(count):
                if packet[:_ID_BYTES] not in seen:
                    seen.add(packet[:_ID_BYTES])
                    yield packet
            if count == REPAIR_MAX:
                return
            count = min(2 * count, REPAIR_MAX)


class Decoder:
    """Takes packets one after the other until they suffice.

    Parameters
    ----------
    size : int
        Bytes of the data.
    mtu : int
        As given to the encoder.
    """

    def __init__(self, size: int, mtu: int) -> None:
        checked = _mtu(mtu)
        self.need = _symbols(size, checked)
        """Packets that suffice at the least."""
        total = check.integer("size", size)
        with _refused_as(InputError(f"the package raptorq can't decode {total:,} bytes with mtu {checked}")):
            self._decoder = _package().Decoder.with_defaults(total, checked)
        self._length = _ID_BYTES + symbol_bytes(checked)
        self._seen = set[bytes]()
        self._data: bytes | None = None

    @property
    def have(self) -> int:
        """Distinct packets taken so far."""
        return len(self._seen)

    def add(self, packet: bytes) -> bytes | None:
        """Take a packet, bytes or another buffer; return the data once the packets taken suffice, and from then on.

        Raises
        ------
        CorruptShard
            If the packet can't be one of this data's: its length or its source block is wrong.
        InputError
            If it is no bytes.
        """
        packet = _bytes("packet", packet)
        if len(packet) != self._length:
            raise CorruptShard("packet", f"it is {len(packet)} bytes; packets of this data are {self._length} bytes")
        if self._data is None and packet[:_ID_BYTES] not in self._seen:
            self._data = self._take(packet)
            self._seen.add(packet[:_ID_BYTES])
        return self._data

    def _take(self, packet: bytes) -> bytes | None:
        with _refused_as(CorruptShard("packet", f"source block {packet[0]} is none of this data's", 0)):
            data: bytes | None = self._decoder.decode(packet)
        return data


def _bytes(what: str, buffer: object) -> bytes:
    if isinstance(buffer, bytes):
        return buffer
    try:
        view = memoryview(buffer)  # type: ignore[arg-type] # what it is shows here
        if view.format != "O":
            return bytes(view)
    except (TypeError, ValueError, BufferError):
        pass
    raise InputError(f"{what} is a {type(buffer).__name__}; expected bytes")


def encode_packets(data: bytes, mtu: int, repair: int) -> list[bytes]:
    """Return the source packets of ``data`` and ``repair`` repair packets for each source block.

    The same packets in the same order as the package's
    ``Encoder.with_defaults(data, mtu).get_encoded_packets(repair)``.

    Raises
    ------
    InputError, LimitExceeded
        If an argument is out of range.
    UnsupportedOperation
        If the package is not installed.
    """
    return Encoder(data, mtu).packets(repair)


def decode_packets(packets: Iterable[bytes], size: int, mtu: int) -> bytes:
    """Return the ``size`` bytes of which these are packets, in any order, repeated or not.

    Raises
    ------
    NotEnoughShards
        If the packets don't suffice.
    CorruptShard
        If one can't be a packet of this data.
    InputError, LimitExceeded, UnsupportedOperation
        As :func:`encode_packets`.
    """
    decoder = Decoder(size, mtu)
    if isinstance(packets, str | bytes | bytearray | memoryview) or not isinstance(packets, Iterable):
        raise InputError(f"packets is a {type(packets).__name__}; expected an iterable of packets")
    for packet in packets:
        data = decoder.add(packet)
        if data is not None:
            return data
    raise NotEnoughShards(decoder.have, decoder.need, {}, "RaptorQ packets")
