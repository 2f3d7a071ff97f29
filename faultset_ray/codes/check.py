"""What every code checks about its arguments, once, before a kernel sees them."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np

from faultset_ray.errors import InputError, InvalidShardIndex, NotEnoughShards, ShardSizeError
from faultset_ray.kernels.gf_tables import Bytes

THREADS_MAX: Final = 64


def shard_index(index: object, n: int) -> int:
    """Return ``index`` as an int of 0 … n-1; bools, floats and texts are refused."""
    if isinstance(index, bool | np.bool_):
        raise InvalidShardIndex(index, n, "a bool")
    try:
        number = operator.index(index)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidShardIndex(index, n, type(index).__name__) from None
    if not 0 <= number < n:
        raise InvalidShardIndex(index, n, "out of range")
    return number


def several(indices: Iterable[object]) -> Iterable[object]:
    """Return what can be gone through, other than text and bytes."""
    if isinstance(indices, str | bytes | bytearray) or not isinstance(indices, Iterable):
        raise InputError(f"shard indices are {repr(indices)[:100]}; expected several integers")
    return indices


def shard_indices(indices: Iterable[object], n: int) -> tuple[int, ...]:
    """Return distinct shard indices, in the order given."""
    checked = tuple(shard_index(index, n) for index in several(indices))
    if len(set(checked)) != len(checked):
        repeated = next(index for position, index in enumerate(checked) if index in checked[:position])
        raise InvalidShardIndex(repeated, n, "given twice")
    return checked


def integer(what: str, value: object) -> int:
    """Return ``value`` as an int; a bool is an :class:`InputError`, as is all that isn't an integer."""
    try:
        if not isinstance(value, bool | np.bool_):
            return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        pass
    raise InputError(f"{what} is {repr(value)[:100]}; expected an integer")


def thread_count(threads: object) -> int:
    """Return ``threads`` if it is 1 to 64."""
    count = integer("threads", threads)
    if not 1 <= count <= THREADS_MAX:
        raise InputError(f"threads is {count}; expected 1 to {THREADS_MAX}")
    return count


def array(what: str, value: Any, ndim: int) -> Bytes:
    """Return ``value`` as a plain numpy array if it is one of uint8 with so many dimensions."""
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8 or value.ndim != ndim:
        found = f"{value.ndim}-d array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
        raise InputError(f"{what} is a {found}; expected a {ndim}-d numpy array of uint8")
    return np.asarray(value)


def _contiguous(rows: Bytes) -> Bytes:
    """Return ``rows`` itself if the bytes of each lie beside each other, else a copy."""
    return rows if rows.shape[-1] <= 1 or rows.strides[-1] == 1 else np.ascontiguousarray(rows)


def mapping(rows: object) -> None:
    """Refuse what is no mapping of index to row."""
    if not isinstance(rows, Mapping):
        raise InputError(f"shards are a {type(rows).__name__}; expected a mapping of index to row")


def row(what: str, value: Any) -> Bytes:
    """Return contiguous uint8[L]."""
    return _contiguous(array(what, value, 1))


def blocks(what: str, value: Any, count: int) -> Bytes:
    """Return uint8[count, L] with contiguous rows."""
    checked = array(what, value, 2)
    if checked.shape[0] != count:
        raise ShardSizeError(f"number of rows of {what}", checked.shape[0], f"{count}")
    return _contiguous(checked)


def shard_rows(rows: Mapping[int, Bytes], n: int) -> tuple[dict[int, Bytes], int]:
    """Return rows by checked index and their common length (0 for no rows)."""
    mapping(rows)
    checked: dict[int, Bytes] = {}
    for key, given in rows.items():
        index = shard_index(key, n)
        if index in checked:
            raise InvalidShardIndex(index, n, "given twice")
        checked[index] = row(f"shard {index}", given)
    sizes = {index: found.size for index, found in checked.items()}
    if len(set(sizes.values())) > 1:
        raise ShardSizeError("size of shards in bytes", sizes, "one size for all")
    return checked, next(iter(sizes.values()), 0)


def stripe_rows(rows: Mapping[int, Bytes], n: int) -> tuple[dict[int, Bytes], int, int]:
    """Return rows of several stripes by checked index, uint8[b, L] each, and their common b and L."""
    mapping(rows)
    checked = {shard_index(key, n): array(f"shard {key}", row, 2) for key, row in rows.items()}
    for what, axis, expected in (("number of stripes", 0, "number"), ("size of shards in bytes", 1, "size")):
        sizes = {index: row.shape[axis] for index, row in checked.items()}
        if len(set(sizes.values())) > 1:
            raise ShardSizeError(what, sizes, f"one {expected} for all")
    count, length = next((row.shape for row in checked.values()), (0, 0))
    return checked, count, length


def output(out: Any, shape: tuple[int, ...], sources: Iterable[Bytes], what: str = "out") -> Bytes:
    """Return ``out`` if it can take the result, or a new array if it is None."""
    if out is None:
        return np.empty(shape, dtype=np.uint8)
    checked = array(what, out, len(shape))
    if checked.shape != shape:
        raise InputError(f"{what} has shape {checked.shape}; expected {shape}")
    if not checked.flags.writeable or (shape[-1] > 1 and checked.size and checked.strides[-1] != 1):
        raise InputError(f"{what} must be writable and its rows contiguous")
    if checked.size and not _are_rows_apart(checked):
        raise InputError(f"rows of {what} overlap, or lie between one another; expected rows with memory of their own")
    if checked.size and any(np.shares_memory(checked, source) for source in sources):
        raise InputError(f"{what} overlaps the rows it is made from")
    return checked


def _are_rows_apart(array: Bytes) -> bool:
    """Whether no two rows share memory, as long as the steps of one dimension enclose those of the other."""
    extent = array.shape[-1]
    for step, count in sorted(zip(map(abs, array.strides[:-1]), array.shape[:-1], strict=True)):
        if count > 1 and step < extent:
            return False
        extent += (count - 1) * step
    return True


def not_enough(have: Iterable[int], need: int, n: int, wanted: Iterable[int] = ()) -> NotEnoughShards:
    """Return the error that names every shard that isn't there.

    With ``need`` or more there, that is those of ``wanted`` that they don't determine.
    """
    present = set(have)
    missing = {index: "missing" for index in range(n) if index not in present}
    if len(present) >= need:
        missing.update({index: "not determined by those there" for index in wanted if index not in present})
    return NotEnoughShards(len(present), need, missing)
