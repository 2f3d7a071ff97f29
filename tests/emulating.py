"""The SIMD levels that this CPU lacks, their one instruction of its own spelled out; all else is what runs elsewhere.

A level with GFNI differs from its emulation in ``gf2p8affineqb`` alone, which here is what Intel's manual says of
it: bit i of a byte of the result is the parity of the source's byte and row 7 - i of a matrix of bits. Tables, tiles,
tails, stores and what feeds them are the level's own.
"""

import sys
from functools import cache

from faultset_ray.kernels import gf_levels
from faultset_ray.kernels.jit import HAVE_NUMBA

EMULATED = tuple(name for name in ("gfni512", "gfni256") if HAVE_NUMBA and name not in gf_levels.available())
LEVELS = tuple(name for name in gf_levels.LEVELS if name in {*gf_levels.available(), *EMULATED})
"""Those that can be tested here, fastest first; before :func:`install` some of them are refused."""

_level = gf_levels.level


@cache
def level(name):
    """As the one that it stands for, of the emulated levels too."""
    return gf_levels._MAKE[name]() if name in EMULATED else _level(name)


def install():
    """From now on, levels are found by their names though this CPU lacks them; the one in use stays."""
    if not EMULATED or gf_levels.level is level:
        return
    import numba

    from faultset_ray.kernels import gf_simd

    gf_levels.level = level
    gf_simd._Gfni.product = _affine
    compiled = gf_simd.tile

    @cache
    def tile(name):
        if name not in EMULATED:
            return compiled(name)
        return numba.cfunc(numba.types.void(*[numba.types.int64] * 8))(gf_simd._TILES[name])  # not kept on disk

    gf_simd.tile = tile


def _affine(method, builder, vector, table):
    from llvmlite import ir
    from numba.core import cgutils

    kind = vector.type

    def all_bytes(value):
        return ir.Constant(kind, [value] * kind.count)

    def splat(byte):
        single = builder.insert_element(ir.Constant(kind, ir.Undefined), byte, ir.IntType(32)(0))
        return builder.shuffle_vector(
            single, single, ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count)
        )

    count_ones = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, [kind]), f"llvm.ctpop.v{kind.count}i8"
    )
    total = all_bytes(0)
    for bit in range(8):
        address = builder.inttoptr(builder.add(table, ir.IntType(64)(7 - bit)), ir.IntType(8).as_pointer())
        ones = builder.call(count_ones, [builder.and_(vector, splat(builder.load(address)))])
        total = builder.or_(total, builder.shl(builder.and_(ones, all_bytes(1)), all_bytes(bit)))
    return total


if __name__ == "__main__":
    sys.stdout.write(" ".join(LEVELS) + "\n")
