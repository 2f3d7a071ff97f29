"""``fold``: out ^= M · rows over GF(2^8), the one primitive of encode, decode, repair and update."""

from __future__ import annotations

from collections.abc import Sequence

from .gf_tables import MUL, Bytes
from .jit import HAVE_NUMBA, kernel


@kernel()
def _add_product(table: Bytes, row: Bytes, target: Bytes) -> None:
    for position in range(row.shape[0]):
        target[position] ^= table[row[position]]


def _add_product_numpy(table: Bytes, row: Bytes, target: Bytes) -> None:
    target ^= table[row]


def fold(matrix: Bytes, rows: Sequence[Bytes], out: Sequence[Bytes] | Bytes, *, accumulate: bool = False) -> None:
    """Write ``matrix · rows`` into ``out``, or XOR it onto ``out``.

    Parameters
    ----------
    matrix : uint8[r, c]
        Coefficients.
    rows : c arrays uint8[L]
        Read only; they need not lie beside each other. None may overlap ``out``.
    out : r arrays uint8[L]
        Overwritten, or with ``accumulate`` added to.
    """
    add_product = _add_product if HAVE_NUMBA else _add_product_numpy
    for coefficients, target in zip(matrix, out, strict=True):
        if not accumulate:
            target[...] = 0
        for coefficient, row in zip(coefficients, rows, strict=True):
            if coefficient:
                add_product(MUL[coefficient], row, target)
