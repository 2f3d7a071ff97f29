"""Reed–Solomon in single calls on arrays and bytes, without a code object.

All use the default matrix: ``rs:k+m,matrix=cauchy``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from faultset_ray.errors import InputError, LimitExceeded, ShardSizeError
from faultset_ray.kernels.gf_tables import Bytes
from faultset_ray.limits import FORMAT_SHARDS_MAX

from . import check
from .base import Code
from .registry import get


def _rs(k: object, m: object) -> Code:
    return get(f"rs:{check.integer('k', k)}+{check.integer('m', m)}")


def encode_rs(data: Bytes, m: int) -> Bytes:
    """Make m parity rows of k data rows: uint8[k, L] → uint8[m, L].

    Raises
    ------
    InvalidCodeSpec
        If k or m is 0 or k + m > 255.
    InputError
        If ``data`` is not a uint8 array of two dimensions, or m not an integer.
    """
    if not isinstance(data, np.ndarray) or data.ndim != 2:
        raise InputError("data must be a numpy array of uint8 with 2 dimensions, one row a shard")
    return _rs(data.shape[0], m).encode(data)


def decode_rs(shards: Mapping[int, Bytes], k: int, m: int) -> Bytes:
    """Return the data rows from any k shards by index: {index: uint8[L]} → uint8[k, L].

    Raises
    ------
    NotEnoughShards
        If there are fewer than k.
    InvalidShardIndex, ShardSizeError, InputError, InvalidCodeSpec
        As :meth:`Code.decode <faultset_ray.codes.base.Code.decode>` and :func:`encode_rs`.
    """
    return _rs(k, m).decode(shards)


def encode_shards(data: bytes, k: int, m: int) -> list[bytes]:
    """Return the k + m shards of some bytes, each ceil(len / k) long; the last data shards are zero-padded."""
    code = _rs(k, m)
    rows = split(data, code.k)
    return [row.tobytes() for row in (*rows, *code.encode(rows))]


def decode_shards(shards: Sequence[bytes | None], k: int, m: int, size: int) -> bytes:
    """Return the ``size`` bytes whose :func:`encode_shards` these are.

    Parameters
    ----------
    shards : k + m items
        By index; None for one that is lost.
    size : int
        Length of the original in bytes.

    Raises
    ------
    ShardSizeError
        If there are not k + m items (InputError: they can't be counted), or the shards are not ceil(size / k) long.
    NotEnoughShards
        If fewer than k are there.
    """
    code = _rs(k, m)
    total = _size(size)
    try:
        count = len(shards)
    except TypeError:
        raise InputError(f"shards are a {type(shards).__name__}; expected a sequence of bytes or None") from None
    if count != code.n:
        raise ShardSizeError("number of shards", count, f"{code.n}, with None for a lost one")
    rows = {index: _buffer(f"shard {index}", shard) for index, shard in enumerate(shards) if shard is not None}
    length = -(-total // code.k)
    wrong = {index: row.size for index, row in rows.items() if row.size != length}
    if wrong:
        raise ShardSizeError("size of shards in bytes", wrong, f"{length} each for {total} bytes over {code.k} shards")
    return join(code.decode(rows), total)


def split(data: bytes, k: int) -> Bytes:
    """Lay bytes out in k rows of ceil(len / k): uint8[k, L], zero-padded.

    A read-only view of ``data`` if its length is a multiple of k, else a copy.

    Raises
    ------
    InputError
        If k is no integer of 1 or more (LimitExceeded: above 65,535), or ``data`` no buffer of bytes.
    """
    rows = check.integer("k", k)
    if rows < 1:
        raise InputError(f"k is {rows}; expected 1 or more")
    if rows > FORMAT_SHARDS_MAX:
        raise LimitExceeded("k", rows, FORMAT_SHARDS_MAX)
    flat = _buffer("data", data)
    length = -(-flat.size // rows)
    if flat.size != rows * length:
        padded = np.zeros(rows * length, dtype=np.uint8)
        padded[: flat.size] = flat
        flat = padded
    return flat.reshape(rows, length)


def join(rows: Bytes, size: int) -> bytes:
    """Return the first ``size`` bytes of uint8[k, L], row after row: undoes :func:`split`."""
    total = _size(size)
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.ndim != 2:
        raise InputError("rows must be a numpy array of uint8 with 2 dimensions")
    if total > rows.size:
        raise ShardSizeError("size in bytes", total, f"at most the {rows.size} bytes of {rows.shape[0]} rows")
    return rows.reshape(-1)[:total].tobytes()


def _size(size: object) -> int:
    total = check.integer("size", size)
    if total < 0:
        raise InputError(f"size is {total}; expected 0 or more")
    return total


def _buffer(what: str, data: object) -> Bytes:
    if isinstance(data, np.ndarray) and data.dtype.hasobject:
        raise InputError(f"{what} is an array of Python objects; expected bytes or a contiguous buffer")
    try:
        return np.frombuffer(data, dtype=np.uint8)  # type: ignore[call-overload, no-any-return]
    except (TypeError, ValueError, BufferError):
        raise InputError(f"{what} is a {type(data).__name__}; expected bytes or a contiguous buffer") from None
