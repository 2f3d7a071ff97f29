"""Threads that share a piece of work with their caller without Python between them.

Handing a part to a thread through a queue costs tens of microseconds and the GIL, as much as folding
it. Here helpers stay in compiled code: one looks for work for some 100 microseconds after it had some,
then sleeps on a POSIX semaphore. All meet in one *board* of words in memory:

- work is a C function ``f(arguments, part, parts)``, to be called once for each part;
- each member, the caller too, has a *ticket*: which parts of its own range are left, and how many helpers
  may take some. A part is taken by compare-and-swap of a ticket: from the front of one's own, then from
  the end of the others', so that each goes through memory in order, a helper that is late costs nothing,
  and what it finds on the board is of the work that it took a part of;
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

_BUSY, _DONE, _CLOSED = 0, 64, 128
_FUNCTION, _ARGUMENTS, _PARTS, _COUNT = 192, 200, 208, 216
_MEMBERS: Final = 256
"""Words that several threads write are on cache lines of their own; then come two for each member, the caller first."""
_LEFT, _ASLEEP, _SEMAPHORE, _MEMBER_BYTES = 0, 64, 80, 128  # a sem_t has 16 to 32 bytes
_BITS: Final = 28
_MASK: Final = (1 << _BITS) - 1

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
    return _MEMBERS + (1 + helpers) * _MEMBER_BYTES


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
def _line(board: int, number: int) -> int:
    """Where the lines of a helper lie; of the caller, -1."""
    return board + _MEMBERS + (number + 1) * _MEMBER_BYTES


@kernel()
def _has_parts(ticket: int) -> bool:
    """Whether a ticket has parts left."""
    return (ticket >> _BITS & _MASK) < (ticket & _MASK)


@kernel()
def _take_parts(board: int, number: int) -> bool:
    """Do parts while there are any for a helper of this number, -1 being the caller; whether there were."""
    found = False
    members = _get(board + _COUNT)
    for step in range(members):
        owner = (number + 1 + step) % members - 1
        left = _line(board, owner) + _LEFT
        while True:
            ticket = _get(left)
            first, last, helpers = ticket >> _BITS & _MASK, ticket & _MASK, ticket >> 2 * _BITS
            if first >= last or number >= helpers:
                break
            mine = step == 0
            if _swap(left, ticket, ticket + (1 << _BITS) if mine else ticket - 1):
                found = True
                part = first if mine else last - 1
                _call(_get(board + _FUNCTION), _get(board + _ARGUMENTS), part, _get(board + _PARTS))
                _add(board + _DONE, 1)
    return found


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
    _set(board + _COUNT, helpers + 1)
    for number in range(helpers, -1, -1):
        first, last = parts * number // (helpers + 1), parts * (number + 1) // (helpers + 1)
        _set(_line(board, number - 1) + _LEFT, helpers << 2 * _BITS | first << _BITS | last)
    for number in range(helpers):
        mine = _line(board, number)
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
    mine = _line(board, number)
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
            if _has_parts(_get(mine + _LEFT)) or _get(board + _CLOSED):
                _set(mine + _ASLEEP, 0)  # what came meanwhile may not have seen it asleep
            while _get(mine + _ASLEEP):  # a signal ends a wait too
                _sem_wait(mine + _SEMAPHORE)
            looks = 0


@kernel()
def asleep(board: int, number: int) -> bool:
    """Whether a helper waits to be woken."""
    return bool(_get(_line(board, number) + _ASLEEP))


@kernel()
def close(board: int, helpers: int) -> None:
    """Send the helpers home once they have done what they began."""
    _set(board + _CLOSED, 1)
    for number in range(helpers):
        mine = _line(board, number)
        if _swap(mine + _ASLEEP, 1, 0):
            _sem_post(mine + _SEMAPHORE)
