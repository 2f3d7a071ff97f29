"""Parity matrices of Reed–Solomon codes: uint8[m, k], to stand below the identity.

Each is byte-compatible with the systems that its docstring names. All are over the field of
:mod:`faultset_ray.kernels.gf_tables`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import numpy as np

from faultset_ray.kernels.gf_tables import EXP, INV, MUL, Bytes, power
from faultset_ray.kernels.solve import express


def cauchy(k: int, m: int) -> Bytes:
    """``P[i][j] = 1 / (i ⊕ j)``, i = k … k+m-1: MDS for every k + m ≤ 256.

    The matrix of ISA-L's ``gf_gen_cauchy1_matrix``, pyeclib's ``isa_l_rs_cauchy`` and Ceph's isa cauchy.
    """
    parity: Bytes = INV[np.arange(k, k + m)[:, None] ^ np.arange(k)[None, :]]
    return parity


def isal_vand(k: int, m: int) -> Bytes:
    """``P[i][j] = 2^(i·j)``: ISA-L's ``gf_gen_rs_matrix``, pyeclib's ``isa_l_rs_vand``, Ceph's isa reed_sol_van.

    Not MDS outside of :func:`isal_vand_is_mds`: some k shards don't determine the data.
    """
    parity: Bytes = EXP[np.arange(m)[:, None] * np.arange(k)[None, :] % 255]
    return parity


def isal_vand_is_mds(k: int, m: int) -> bool:
    """Whether any k shards of :func:`isal_vand` determine the data, by exhaustive search of others."""
    n = k + m
    return k <= 3 or m <= 3 or (k == 4 and n <= 25) or (k == 5 and n <= 10) or (m == 4 and k <= 21)


def backblaze(k: int, m: int) -> Bytes:
    """Points 0, 1, 2, …: Backblaze's JavaReedSolomon, klauspost/reedsolomon's default, MinIO, SeaweedFS."""
    return _systematic(range(k + m), k)


def zfec(k: int, m: int) -> Bytes:
    """Points 0, 2⁰, 2¹, …: zfec and Tahoe-LAFS."""
    return _systematic([0, *map(int, EXP[: k + m - 1])], k)


def vandinv(k: int, m: int) -> Bytes:
    """Points 2⁰, 2¹, …: pyeclib's ``isa_l_rs_vand_inv``."""
    return _systematic(map(int, EXP[: k + m]), k)


def jerasure(k: int, m: int) -> Bytes:
    """Jerasure's ``reed_sol_vandermonde_coding_matrix``, w = 8; Ceph's jerasure reed_sol_van.

    Points 0, 1, 2, …, the last one at infinity; then columns are scaled to make the first parity row
    all ones, and each later row to begin with one.
    """
    rows = _vandermonde(range(k + m - 1), k)
    infinity = np.zeros((1, k), dtype=np.uint8)
    infinity[0, -1] = 1
    parity = _over(np.concatenate([rows, infinity]), k)
    parity = MUL[parity, INV[parity[0]][None, :]]
    scaled: Bytes = MUL[parity, INV[parity[:, 0]][:, None]]
    return scaled


def _vandermonde(points: Iterable[int], k: int) -> Bytes:
    return np.array([[power(point, exponent) for exponent in range(k)] for point in points], dtype=np.uint8)


def _over(rows: Bytes, k: int) -> Bytes:
    """Return the rows past the k-th as combinations of the first k: multiplied by their inverse."""
    parity = express(rows[:k], rows[k:])
    assert parity is not None  # distinct points: the first k rows are independent
    return parity


def _systematic(points: Iterable[int], k: int) -> Bytes:
    return _over(_vandermonde(points, k), k)


PARITY: Final[Mapping[str, Callable[[int, int], Bytes]]] = {
    "backblaze": backblaze,
    "cauchy": cauchy,
    "isal_vand": isal_vand,
    "jerasure": jerasure,
    "vandinv": vandinv,
    "zfec": zfec,
}
"""Constructors by the name that ``matrix=`` takes."""
