"""Threads that share a piece of work with their caller without Python between them.

Handing a part to a thread through a queue costs tens of microseconds and the GIL, as much as folding
it. Here helpers stay in compiled code: one looks for work for some 100 microseconds after it had some,
then sleeps on a POSIX semaphore. All meet in one *board* of words in memory:

- work is a C function ``f(arguments, part, parts)``, to be called once for each part;
- the *ticket* says how many parts are left and how many helpers may take them. A part is taken by
  compare-and-swap of the ticket, by helpers and caller alike, so that a helper that is late costs
  nothing, and what it finds on the board is of the work that it took a part of;
- the caller waits for parts that were begun, and for nothing else. While one call shares its work,
  another does its own alone.
"""

# ruff: noqa: ANN001, ANN202, ARG001 - numba takes an intrinsic's signature from its argument names

from __future__ import annotations

import platform
from collections.abc import Callable
from functools import cached_property
from typing import Any, Final

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import kernel

_BUSY, _TICKET, _DONE, _CLOSED = 0, 64, 128, 192
_FUNCTION, _ARGUMENTS, _PARTS = 256, 264, 272
_HELPERS: Final = 320
"""Words that several threads write are on cache lines of their own; then comes a line for each helper."""
_ASLEEP, _SEMAPHORE, _HELPER_BYTES = 0, 16, 64  # a sem_t has 16 to 32 bytes

_LOOKS: Final = 4096
"""Looks at the board before a helper sleeps, or the caller gives its CPU to others: some 100 microseconds."""

_I32, _I64 = ir.IntType(32), ir.IntType(64)


class Work:
    """A function to be shared: ``f(arguments, part, parts)`` of 64-bit integers, which calls a kernel.

    Compiled as a C function when its address is first asked for, then cached on disk.
    """

    def __init__(self, function: Callable[[int, int, int], None]) -> None:
        self._function = function

    @cached_property
    def address(self) -> int:
        """Of the C function, which is kept."""
        self._compiled = numba.cfunc(types.void(*[types.int64] * 3), cache=True)(self._function)
        found: int = self._compiled.address
        return found


def board_bytes(helpers: int) -> int:
    """Return the size of a board for so many helpers; it must start at a multiple of 64, all zeros."""
    return _HELPERS + helpers * _HELPER_BYTES


def _word(builder: ir.IRBuilder, address: Any) -> Any:
    return builder.inttoptr(address, _I64.as_pointer())


@intrinsic
def _get(_context, address):  # type: ignore[no-untyped-def]
    """Read a word that other threads write."""

    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, arguments: list[Any]) -> Any:
        return builder.load_atomic(_word(builder, arguments[0]), "seq_cst", 8)

    return types.int64(types.int64), generate


@intrinsic
def _set(_context, address, value):  # type: ignore[no-untyped-def]
    """Write a word that other threads read; they then see all that was written before."""

    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, arguments: list[Any]) -> Any:
        builder.store_atomic(arguments[1], _word(builder, arguments[0]), "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic
def _add(_context, address, value):  # type: ignore[no-untyped-def]
    """Add to a word; return what it was."""

    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, arguments: list[Any]) -> Any:
        return builder.atomic_rmw("add", _word(builder, arguments[0]), arguments[1], "seq_cst")

    return types.int64(types.int64, types.int64), generate


@intrinsic
def _swap(_context, address, old, new):  # type: ignore[no-untyped-def]
    """Write a word if it is ``old``; whether it was."""

    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, arguments: list[Any]) -> Any:
        found = builder.cmpxchg(_word(builder, arguments[0]), *arguments[1:], "seq_cst", "seq_cst")
        return builder.extract_value(found, 1)

    return types.boolean(types.int64, types.int64, types.int64), generate


@intrinsic
def _pause(_context):  # type: ignore[no-untyped-def]
    """Tell the CPU that this is a loop that waits."""

    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, _arguments: list[Any]) -> Any:
        if platform.machine() in {"x86_64", "AMD64"}:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), generate


_sem_init = types.ExternalFunction("sem_init", types.int32(types.int64, types.int32, types.uint32))
_sem_post = types.ExternalFunction("sem_post", types.int32(types.int64))
_sem_wait = types.ExternalFunction("sem_wait", types.int32(types.int64))
_sched_yield = types.ExternalFunction("sched_yield", types.int32())


@intrinsic
def _call(_context, function, arguments, part, parts):  # type: ignore[no-untyped-def]
    """Call the C function at an address."""

    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, values: list[Any]) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [_I64] * 3)
        builder.call(builder.inttoptr(values[0], kind.as_pointer()), values[1:])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate


@kernel()
def _take_parts(board: int, number: int) -> bool:
    """Do parts while there are any for a helper of this number, -1 being the caller; whether there were."""
    found = False
    while True:
        ticket = _get(board + _TICKET)
        left, helpers = ticket & 0xFFFFFFFF, ticket >> 32
        if left == 0 or number >= helpers:
            return found
        if _swap(board + _TICKET, ticket, ticket - 1):
            found = True
            _call(_get(board + _FUNCTION), _get(board + _ARGUMENTS), left - 1, _get(board + _PARTS))
            _add(board + _DONE, 1)


@kernel()
def share(board: int, helpers: int, function: int, arguments: int, parts: int) -> None:
    """Do all parts of some work, helpers doing some of them.

    Parameters
    ----------
    board : address of a board; with ``helpers`` 0 it is not looked at
    helpers : at most the number of helpers that :func:`help_out` on it
    function, arguments : addresses
        Of ``void f(arguments, part, parts)``, all 64-bit integers, and of what it is to be given.
    parts : at most 2³¹
    """
    if helpers == 0 or not _swap(board + _BUSY, 0, 1):
        _call(function, arguments, 0, 1)
        return
    _set(board + _FUNCTION, function)
    _set(board + _ARGUMENTS, arguments)
    _set(board + _PARTS, parts)
    _set(board + _DONE, 0)
    _set(board + _TICKET, helpers << 32 | parts)
    for number in range(helpers):
        mine = board + _HELPERS + number * _HELPER_BYTES
        if _swap(mine + _ASLEEP, 1, 0):
            _sem_post(mine + _SEMAPHORE)
    _take_parts(board, -1)
    looks = 0
    while _get(board + _DONE) != parts:
        looks += 1
        if looks < _LOOKS:
            _pause()
        else:
            _sched_yield()
    _set(board + _BUSY, 0)


@kernel()
def help_out(board: int, number: int) -> None:
    """Do parts of others' work until the board is closed; for a thread of its own."""
    mine = board + _HELPERS + number * _HELPER_BYTES
    _sem_init(mine + _SEMAPHORE, 0, 0)
    looks = 0
    while _get(board + _CLOSED) == 0:
        looks += 1
        if _take_parts(board, number):
            looks = 0
        elif looks < _LOOKS:
            _pause()
        else:
            _set(mine + _ASLEEP, 1)
            if _get(board + _TICKET) & 0xFFFFFFFF or _get(board + _CLOSED):
                _set(mine + _ASLEEP, 0)  # what came meanwhile may not have seen it asleep
            while _get(mine + _ASLEEP):  # a signal ends a wait too
                _sem_wait(mine + _SEMAPHORE)
            looks = 0


@kernel()
def asleep(board: int, number: int) -> bool:
    """Whether a helper waits to be woken."""
    return bool(_get(board + _HELPERS + number * _HELPER_BYTES + _ASLEEP))


@kernel()
def close(board: int, helpers: int) -> None:
    """Send the helpers home once they have done what they began."""
    _set(board + _CLOSED, 1)
    for number in range(helpers):
        mine = board + _HELPERS + number * _HELPER_BYTES
        if _swap(mine + _ASLEEP, 1, 0):
            _sem_post(mine + _SEMAPHORE)
