"""The field GF(2^8) of every code here: polynomial x^8 + x^4 + x^3 + x^2 + 1 (0x11D), generator 2.

Addition is XOR. Tables are read-only uint8 arrays, built once in under a millisecond.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

POLYNOMIAL: Final = 0x11D


def _powers() -> Bytes:
    """2^0 … 2^509, so that a sum of two logarithms needs no reduction; 0 after them."""
    powers = np.zeros(2 * 510 + 1, dtype=np.uint8)
    value = 1
    for exponent in range(510):
        powers[exponent] = value
        value <<= 1
        if value & 0x100:
            value ^= POLYNOMIAL
    return powers


EXP: Final[Bytes] = _powers()
"""``EXP[LOG[a] + LOG[b]] == a·b`` for all a, b, zero included."""
LOG: Final = np.full(256, 510, dtype=np.int64)
"""Logarithm base 2; that of 0 points past the powers, at zeros."""
LOG[EXP[:255]] = np.arange(255)

MUL: Final[Bytes] = EXP[LOG[:, None] + LOG[None, :]]
"""The multiplication table, ``MUL[a, b]``."""
INV: Final[Bytes] = EXP[(255 - LOG) % 255]
"""``INV[a]·a == 1``; ``INV[0]`` is 0."""
INV[0] = 0

for _table in (EXP, LOG, MUL, INV):
    _table.setflags(write=False)


def matmul(left: Bytes, right: Bytes) -> Bytes:
    """Matrix product over the field: uint8[a, b] · uint8[b, c] → uint8[a, c]. For small matrices."""
    product = np.zeros((left.shape[0], right.shape[1]), dtype=np.uint8)
    for column in range(left.shape[1]):
        product ^= MUL[left[:, column, None], right[None, column, :]]
    return product
