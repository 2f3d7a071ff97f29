"""Where the rows of numpy arrays lie, found in nanoseconds.

``array.ctypes.data`` costs a microsecond, which for 14 rows is more than coding 16 KiB takes. Here a
compiled function is handed the ``id`` of a tuple of arrays, or of one array, and reads what it needs
from the objects themselves: the fields of ``PyArrayObject`` that numpy's C macros (``PyArray_DATA`` …)
have compiled into every extension since numpy 1.7, and of CPython's tuple. It checks type, dtype,
shape, strides and overlap before any byte is touched, and answers False where it finds anything else;
the caller then takes a slow path that explains or copies.

:func:`layout_is_known` compares the fields with numpy's public attributes once; where it fails
(another interpreter, a free-threaded one) the slow path serves everything.
"""

# ruff: noqa: ANN001, ANN201, ANN202, ARG001 - numba takes an intrinsic's signature from its argument names

from __future__ import annotations

import sys
from functools import cache
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import kernel

ROWS_MAX: Final = 255

_TUPLE_SIZE, _TUPLE_ITEMS = 16, 24
_TYPE, _DATA, _NDIM, _SHAPE, _STRIDES, _DTYPE, _FLAGS = 8, 16, 24, 32, 40, 56, 64
_WRITEABLE: Final = 0x400

KINDS: Final = np.array([id(np.ndarray), id(np.dtype(np.uint8)), id(tuple)], dtype=np.int64)
"""Handed to kernels by address: as constants they would be frozen into numba's disk cache."""

_I64 = ir.IntType(64)


def _load(bits: int) -> Any:
    @intrinsic
    def load(_context, address):  # type: ignore[no-untyped-def]
        def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, arguments: list[Any]) -> Any:
            pointer = builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer())
            value = builder.load(pointer, align=bits // 8)
            return value if bits == 64 else builder.sext(value, _I64)

        return types.int64(types.int64), generate

    return load


load64 = _load(64)
load32 = _load(32)


@intrinsic
def store64(_context, address, value):  # type: ignore[no-untyped-def]
    """Write a 64-bit integer at an address."""

    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, arguments: list[Any]) -> Any:
        builder.store(arguments[1], builder.inttoptr(arguments[0], _I64.as_pointer()), align=8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic
def copy(_context, target, source, count):  # type: ignore[no-untyped-def]
    """Copy bytes from address to address."""

    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, arguments: list[Any]) -> Any:
        byte = ir.IntType(8).as_pointer()
        cgutils.raw_memcpy(
            builder, builder.inttoptr(arguments[0], byte), builder.inttoptr(arguments[1], byte), arguments[2], 1
        )
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


def stack(size: int) -> Any:
    """Return the intrinsic that gives the address of ``size`` bytes on the stack of its caller."""

    @intrinsic
    def reserve(_context):  # type: ignore[no-untyped-def]
        def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, _arguments: list[Any]) -> Any:
            with builder.goto_entry_block():  # not alloca_once, which stores an undefined array of this size
                space = builder.alloca(ir.ArrayType(ir.IntType(8), size))
            space.align = 64
            return builder.ptrtoint(space, _I64)

        return types.int64(), generate

    return reserve


@kernel()
def _row(kinds: int, array: int, ndim: int, batch: int, length: int) -> bool:
    """Whether an object is a uint8 array whose first and last dimensions are these, with contiguous rows."""
    if load64(array + _TYPE) != load64(kinds) or load64(array + _DTYPE) != load64(kinds + 8):
        return False
    if load32(array + _NDIM) != ndim:
        return False
    shape, strides = load64(array + _SHAPE), load64(array + _STRIDES)
    last = 8 * (ndim - 1)
    if load64(shape + last) != length or (length > 1 and load64(strides + last) != 1):
        return False
    return ndim == 1 or load64(shape) == batch


@kernel()
def _extent(kinds: int, holder: int, batched: int) -> tuple[int, int]:
    """Return (stripes, length) of an array or of a tuple's first array; -1 where it is neither."""
    array, ndim = holder, 2 + batched
    if load64(holder + _TYPE) == load64(kinds + 16) and load64(holder + _TUPLE_SIZE) > 0:
        array, ndim = load64(holder + _TUPLE_ITEMS), 1 + batched
    if load64(array + _TYPE) != load64(kinds) or load32(array + _NDIM) != ndim:
        return -1, -1
    shape = load64(array + _SHAPE)
    return (load64(shape) if batched else 1), load64(shape + 8 * (ndim - 1))


@kernel()
def _locate(kinds: int, holder: int, count: int, batched: int, stripes: int, length: int, rows: int) -> bool:
    """Write the address of each row at ``rows``, and its step from stripe to stripe 255 words later.

    ``holder`` is a tuple of uint8[length] or, batched, uint8[stripes, length]; or an array
    uint8[count, length] or uint8[stripes, count, length].
    """
    steps = rows + 8 * ROWS_MAX
    if load64(holder + _TYPE) == load64(kinds):
        if not _row(kinds, holder, 2 + batched, stripes if batched else count, length):
            return False
        shape, strides = load64(holder + _SHAPE), load64(holder + _STRIDES)
        if load64(shape + 8 * batched) != count:
            return False
        step = load64(strides + 8 * batched)
        for index in range(count):
            store64(rows + 8 * index, load64(holder + _DATA) + index * step)
            store64(steps + 8 * index, load64(strides) if batched else 0)
        return True
    if load64(holder + _TYPE) != load64(kinds + 16) or load64(holder + _TUPLE_SIZE) != count:
        return False
    for index in range(count):
        array = load64(holder + _TUPLE_ITEMS + 8 * index)
        if not _row(kinds, array, 1 + batched, stripes, length):
            return False
        store64(rows + 8 * index, load64(array + _DATA))
        store64(steps + 8 * index, load64(load64(array + _STRIDES)) if batched else 0)
    return True


@kernel()
def _writable(kinds: int, holder: int) -> bool:
    """Whether what :func:`_locate` found may be written to."""
    if load64(holder + _TYPE) == load64(kinds):
        return bool(load32(holder + _FLAGS) & _WRITEABLE)
    for index in range(load64(holder + _TUPLE_SIZE)):
        if load32(load64(holder + _TUPLE_ITEMS + 8 * index) + _FLAGS) & _WRITEABLE == 0:
            return False
    return True


@kernel()
def _apart(source: int, source_step: int, target: int, target_step: int, stripes: int, length: int) -> bool:
    """Whether two rows, each taken over all its stripes, don't touch; no also where that isn't plain."""
    if source_step == target_step and source_step != 0:
        step = abs(source_step)
        distance = (source - target) % step
        return length <= distance <= step - length
    source_last = source + (stripes - 1) * source_step
    target_last = target + (stripes - 1) * target_step
    if max(source, source_last) + length <= min(target, target_last):
        return True
    return max(target, target_last) + length <= min(source, source_last)


@kernel()
def _nested(step: int, count: int, outer_step: int, outer_count: int, length: int) -> bool:
    """Whether rows at such steps don't touch, the steps of one dimension enclosing those of the other."""
    if count > 1 and outer_count > 1 and outer_step < step:
        step, count, outer_step, outer_count = outer_step, outer_count, step, count
    inner = length if count <= 1 else (count - 1) * step + length
    return (count <= 1 or step >= length) and (outer_count <= 1 or outer_step >= inner)


@kernel()
def _spread(kinds: int, holder: int, batched: int, targets: int, outputs: int, stripes: int, length: int) -> bool:
    """Whether no target touches another one, nor itself from stripe to stripe; no also where that isn't plain."""
    if load64(holder + _TYPE) == load64(kinds):
        strides = load64(holder + _STRIDES)
        step, stripe_step = abs(load64(strides + 8 * batched)), abs(load64(strides)) if batched else 0
        return _nested(step, outputs, stripe_step, stripes, length)
    for index in range(outputs):
        first, step = load64(targets + 8 * index), load64(targets + 8 * (ROWS_MAX + index))
        if stripes > 1 and abs(step) < length:
            return False
        for other in range(index):
            second, other_step = load64(targets + 8 * other), load64(targets + 8 * (ROWS_MAX + other))
            if not _apart(first, step, second, other_step, stripes, length):
                return False
    return True


@kernel()
def _disjoint(sources: int, inputs: int, targets: int, outputs: int, stripes: int, length: int) -> bool:
    """Whether no source touches a target: all targets' span first, then pair by pair."""
    low, high = 1 << 62, 0
    for index in range(outputs):
        first = load64(targets + 8 * index)
        last = first + (stripes - 1) * load64(targets + 8 * (ROWS_MAX + index))
        low = min(low, first, last)
        high = max(high, first + length, last + length)
    for index in range(inputs):
        first = load64(sources + 8 * index)
        step = load64(sources + 8 * (ROWS_MAX + index))
        last = first + (stripes - 1) * step
        if min(first, last) >= high or max(first, last) + length <= low:
            continue
        for output in range(outputs):
            target, target_step = load64(targets + 8 * output), load64(targets + 8 * (ROWS_MAX + output))
            if not _apart(first, step, target, target_step, stripes, length):
                return False
    return True


@kernel()
def locate(
    kinds: int, source: int, inputs: int, target: int, outputs: int, batched: int, sources: int, targets: int
) -> tuple[int, int]:
    """Find all rows of a fold; return (stripes, length), or (-1, -1) where the slow path must look.

    ``kinds`` is the address of :data:`KINDS`; ``sources`` and ``targets`` are addresses of 510 words
    each, see :func:`_locate`.
    """
    stripes, length = _extent(kinds, target, batched)
    if length < 0 or not _locate(kinds, target, outputs, batched, stripes, length, targets):
        return -1, -1
    if not _writable(kinds, target) or not _locate(kinds, source, inputs, batched, stripes, length, sources):
        return -1, -1
    if stripes > 0 and length > 0:
        if not _spread(kinds, target, batched, targets, outputs, stripes, length):
            return -1, -1
        if not _disjoint(sources, inputs, targets, outputs, stripes, length):
            return -1, -1
    return stripes, length


@kernel()
def _fields(holder: int) -> tuple[int, int, int, int, int, int, int]:
    array = load64(holder + _TUPLE_ITEMS)
    shape, strides = load64(array + _SHAPE), load64(array + _STRIDES)
    return (
        load64(array + _TYPE),
        load64(array + _DATA),
        load32(array + _NDIM),
        load64(shape),
        load64(strides + 8),
        load64(array + _DTYPE),
        load32(array + _FLAGS) & _WRITEABLE,
    )


@cache
def layout_is_known() -> bool:
    """Whether this interpreter and this numpy lay objects out as assumed here."""
    if sys.implementation.name != "cpython" or object.__basicsize__ != 16 or tuple.__basicsize__ != _TUPLE_ITEMS:
        return False
    if np.ndarray.__basicsize__ < _FLAGS + 4:
        return False
    for writeable in (True, False):
        array = np.zeros((3, 10), dtype=np.uint8)[:, ::2]
        array.setflags(write=writeable)
        holder = (array,)
        found = _fields(id(holder))
        if found != (id(np.ndarray), array.ctypes.data, 2, 3, 2, id(array.dtype), _WRITEABLE * writeable):
            return False
    return True
