"""The inner loop of :func:`fold <faultset_ray.kernels.gf_fold.fold>`, emitted as LLVM vectors for each SIMD level.

A *tile* makes up to 8 outputs at once. Per step it loads some vectors of every source, multiplies
each by its coefficient for each output and keeps the sums in registers, so every source byte is read
once and every output byte written once. What differs between levels is the width of a vector and how
it is multiplied by a constant:

=========  ======  ==============================================================
level      bytes   product
=========  ======  ==============================================================
gfni512    64      one ``gf2p8affineqb``: multiplication is an 8 × 8 matrix of bits
gfni256    32      the same
avx2       32      two ``pshufb`` of 16-entry tables, one for each half of a byte
portable   16      x, 2x, 4x … 128x by doubling, each masked with a bit of the constant
=========  ======  ==============================================================

The affine trick: Plank, Greenan, Miller, "Screaming fast Galois field arithmetic using Intel SIMD
instructions" (FAST 2013) for ``pshufb``; Intel's GFNI technology guide for ``gf2p8affineqb``.
"""

# ruff: noqa: ANN001, ANN201, ANN202, ARG001 - numba takes an intrinsic's signature from its argument names

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

OUTPUTS_MAX: Final = 8
"""Outputs of one tile: their sums fit in the registers of every level."""

ACCUMULATE: Final = 1
"""Flag: start from what the outputs hold."""
STREAM: Final = 2
"""Flag: store past the caches. Outputs must be aligned to the vector width; to a line, where lines are to be whole."""
BACKWARD: Final = 4
"""Flag: go from the end to the beginning."""

_LINE: Final = 64
_PREFETCH: Final = 384
"""Bytes ahead; measured: 32 sources run 3 to 6 times as fast with it, 4 to 10 lose nothing."""

_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
Value = Any


class _Gfni:
    """Multiply bytes by constants with the affine instruction; a coefficient's table is its bit matrix."""

    unit = 8

    def __init__(self, width: int) -> None:
        self.width = width

    def prepare(self, _builder: ir.IRBuilder, vector: Value) -> Value:
        return vector

    def product(self, builder: ir.IRBuilder, vector: Value, table: Value) -> Value:
        kind = ir.VectorType(_I8, self.width)
        one = builder.load(builder.inttoptr(table, _I64.as_pointer()), align=8)
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(kind, [kind, kind, _I8]), f"llvm.x86.vgf2p8affineqb.{self.width * 8}"
        )
        return builder.call(function, [vector, _splat(builder, one, kind), _I8(0)])


class _Shuffle:
    """Multiply with two table look-ups a byte; a coefficient's table is 16 low and 16 high products."""

    unit = 32
    width = 32

    def prepare(self, builder: ir.IRBuilder, vector: Value) -> Value:
        low = ir.Constant(vector.type, [0x0F] * self.width)
        words = ir.VectorType(ir.IntType(16), self.width // 2)
        four = ir.Constant(words, [4] * (self.width // 2))
        high = builder.bitcast(builder.lshr(builder.bitcast(vector, words), four), vector.type)
        return builder.and_(vector, low), builder.and_(high, low)

    def product(self, builder: ir.IRBuilder, halves: Value, table: Value) -> Value:
        low, high = halves
        kind = low.type
        half = ir.VectorType(_I8, 16)
        both = ir.Constant(ir.VectorType(_I32, self.width), [lane % 16 for lane in range(self.width)])
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(kind, [kind, kind]), "llvm.x86.avx2.pshuf.b"
        )
        products = []
        for offset, index in ((0, low), (16, high)):
            address = builder.inttoptr(builder.add(table, _I64(offset)), half.as_pointer())
            entries = builder.load(address, align=16)
            table_vector = builder.shuffle_vector(entries, ir.Constant(half, ir.Undefined), both)
            products.append(builder.call(function, [table_vector, index]))
        return builder.xor(*products)


class _Shifts:
    """Multiply by doubling bytes, and masks of their lanes; a coefficient's table is 8 masks of 8 bytes."""

    unit = 64
    width = 16

    def prepare(self, builder: ir.IRBuilder, vector: Value) -> Value:
        kind = ir.VectorType(_I64, self.width // 8)
        zeros, reduction = (ir.Constant(vector.type, [byte] * self.width) for byte in (0, 0x1D))
        powers = [vector]
        for _ in range(7):
            value = powers[-1]
            carries = builder.sext(builder.icmp_signed("<", value, zeros), vector.type)
            powers.append(builder.xor(builder.add(value, value), builder.and_(carries, reduction)))
        return [builder.bitcast(power, kind) for power in powers]

    def product(self, builder: ir.IRBuilder, powers: Value, table: Value) -> Value:
        kind = powers[0].type
        total = None
        for bit, value in enumerate(powers):
            address = builder.inttoptr(builder.add(table, _I64(8 * bit)), _I64.as_pointer())
            masked = builder.and_(value, _splat(builder, builder.load(address, align=8), kind))
            total = masked if total is None else builder.xor(total, masked)
        return builder.bitcast(total, ir.VectorType(_I8, self.width))


def _prefetch(builder: ir.IRBuilder, pointer: Value, distance: Value) -> None:
    """Fetch what lies ahead of ``pointer``: past some ten streams the hardware no longer does."""
    ahead = builder.inttoptr(builder.add(builder.ptrtoint(pointer, _I64), distance), _I8.as_pointer())
    kind = ir.FunctionType(ir.VoidType(), [ahead.type, _I32, _I32, _I32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(function, [ahead, _I32(0), _I32(3), _I32(1)])  # to read, into L1, data


def _splat(builder: ir.IRBuilder, word: Value, kind: Value) -> Value:
    """Repeat a 64-bit word over a vector of type ``kind``."""
    count = kind.count * kind.element.width // 64
    lanes = ir.VectorType(_I64, count)
    single = builder.insert_element(ir.Constant(lanes, ir.Undefined), word, _I32(0))
    zeros = ir.Constant(ir.VectorType(_I32, count), [0] * count)
    return builder.bitcast(builder.shuffle_vector(single, single, zeros), kind)


@dataclass(frozen=True)
class Arguments:
    """The arguments of a tile, as 64-bit values."""

    tables: Value
    sources: Value
    targets: Value
    outputs: Value
    inputs: Value
    begin: Value
    end: Value
    flags: Value


def _emit_tile(builder: ir.IRBuilder, method: Any, vectors: Callable[[int], int], a: Arguments) -> None:
    """Branch to the loop for the number of outputs."""
    done = builder.append_basic_block("done")
    switch = builder.switch(a.outputs, done)
    for outputs in range(1, OUTPUTS_MAX + 1):
        block = builder.append_basic_block(f"outputs{outputs}")
        switch.add_case(_I64(outputs), block)
        builder.position_at_end(block)
        _emit_loop(builder, method, outputs, vectors(outputs), a)
        builder.branch(done)
    builder.position_at_end(done)


def _emit_loop(builder: ir.IRBuilder, method: Any, outputs: int, vectors: int, a: Arguments) -> None:
    kind = ir.VectorType(_I8, method.width)
    cells = [(output, vector) for output in range(outputs) for vector in range(vectors)]
    # of tables and vectors, the fewer stay in registers
    order = cells if vectors <= outputs else sorted(cells, key=lambda cell: cell[1])
    sums = {cell: cgutils.alloca_once(builder, kind) for cell in cells}
    step = _I64(vectors * method.width)

    def address(base: Value, index: Value, position: Value, vector: int) -> Value:
        slot = builder.inttoptr(builder.add(base, builder.mul(index, _I64(8))), _I64.as_pointer())
        start = builder.add(builder.load(slot, align=8), position)
        return builder.inttoptr(builder.add(start, _I64(vector * method.width)), kind.as_pointer())

    accumulate = builder.icmp_unsigned("!=", builder.and_(a.flags, _I64(ACCUMULATE)), _I64(0))
    stream = builder.icmp_unsigned("!=", builder.and_(a.flags, _I64(STREAM)), _I64(0))
    backward = builder.icmp_unsigned("!=", builder.and_(a.flags, _I64(BACKWARD)), _I64(0))
    last = builder.sub(builder.add(a.begin, a.end), step)
    ahead = builder.select(backward, _I64(-_PREFETCH), _I64(_PREFETCH))
    with cgutils.for_range_slice(builder, a.begin, a.end, step, intp=_I64) as (done, _):
        position = builder.select(backward, builder.sub(last, done), done)
        with builder.if_else(accumulate) as (then, otherwise):
            with then:
                for output, vector in cells:
                    value = builder.load(address(a.targets, _I64(output), position, vector), align=1)
                    builder.store(value, sums[output, vector])
            with otherwise:
                for cell in cells:
                    builder.store(ir.Constant(kind, [0] * method.width), sums[cell])
        with cgutils.for_range(builder, a.inputs, intp=_I64) as loop:
            source = loop.index
            for vector in range(0, vectors, max(1, _LINE // method.width)):
                _prefetch(builder, address(a.sources, source, position, vector), ahead)
            table = builder.add(a.tables, builder.mul(source, _I64(outputs * method.unit)))
            prepared = {}
            for output, vector in order:
                if vector not in prepared:
                    loaded = builder.load(address(a.sources, source, position, vector), align=1)
                    prepared[vector] = method.prepare(builder, loaded)
                entry = builder.add(table, _I64(output * method.unit))
                product = method.product(builder, prepared[vector], entry)
                total = builder.xor(builder.load(sums[output, vector]), product)
                builder.store(total, sums[output, vector])
        with builder.if_else(stream) as (then, otherwise):
            for branch, streaming in ((then, True), (otherwise, False)):
                with branch:
                    for output, vector in cells:
                        value = builder.load(sums[output, vector])
                        target = address(a.targets, _I64(output), position, vector)
                        store = builder.store(value, target, align=method.width if streaming else 1)
                        if streaming:
                            store.set_metadata("nontemporal", builder.module.add_metadata([_I32(1)]))


def _tile(method: Any, vectors: Callable[[int], int]) -> Any:
    """Return the numba intrinsic ``tile(tables, sources, targets, outputs, inputs, begin, end, flags)``."""

    @intrinsic
    def tile(_context, tables, sources, targets, outputs, inputs, begin, end, flags):  # type: ignore[no-untyped-def]
        def generate(context: Any, builder: ir.IRBuilder, _signature: Any, arguments: list[Value]) -> Value:
            _emit_tile(builder, method, vectors, Arguments(*arguments))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 8), generate

    return tile


@intrinsic
def call_tile(_context, tile, tables, sources, targets, outputs, inputs, begin, end, flags):  # type: ignore[no-untyped-def]
    """Call the :func:`tile` at an address."""

    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, arguments: list[Value]) -> Value:
        kind = ir.FunctionType(ir.VoidType(), [_I64] * 8)
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 9), generate


_tile_gfni512 = _tile(_Gfni(64), lambda _outputs: 2)
_tile_gfni256 = _tile(_Gfni(32), lambda outputs: 2 if outputs <= 4 else 1)
_tile_avx2 = _tile(_Shuffle(), lambda outputs: 4 if outputs <= 2 else 2 if outputs <= 4 else 1)
_tile_portable = _tile(_Shifts(), lambda _outputs: 2)


# One plain function for each level, since numba's disk cache goes by function.


def _gfni512(tables, sources, targets, outputs, inputs, begin, end, flags):  # type: ignore[no-untyped-def]
    _tile_gfni512(tables, sources, targets, outputs, inputs, begin, end, flags)


def _gfni256(tables, sources, targets, outputs, inputs, begin, end, flags):  # type: ignore[no-untyped-def]
    _tile_gfni256(tables, sources, targets, outputs, inputs, begin, end, flags)


def _avx2(tables, sources, targets, outputs, inputs, begin, end, flags):  # type: ignore[no-untyped-def]
    _tile_avx2(tables, sources, targets, outputs, inputs, begin, end, flags)


def _portable(tables, sources, targets, outputs, inputs, begin, end, flags):  # type: ignore[no-untyped-def]
    _tile_portable(tables, sources, targets, outputs, inputs, begin, end, flags)


_TILES: Final = {"gfni512": _gfni512, "gfni256": _gfni256, "avx2": _avx2, "portable": _portable}


@cache
def tile(level: str) -> Any:
    """Compile the tile of a level (0.2 s, then cached on disk); its ``address`` is a C function.

    ``void tile(tables, sources, targets, outputs, inputs, begin, end, flags)``, all 64-bit integers:
    addresses of the tables, of ``inputs`` source addresses and of ``outputs`` target addresses; the
    bytes to make, whose number must be a multiple of 128 (gfni512, avx2) or 64; :data:`ACCUMULATE`,
    :data:`STREAM` and :data:`BACKWARD`. Tables lie source by source, those of all outputs beside each other.
    """
    return numba.cfunc(types.void(*[types.int64] * 8), cache=True)(_TILES[level])
