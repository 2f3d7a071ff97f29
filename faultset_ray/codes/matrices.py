"""Parity matrices of Reed–Solomon codes: uint8[m, k], to stand below the identity.

Each is byte-compatible with the systems that its docstring names. All are over the field of
:mod:`faultset_ray.kernels.gf_tables`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from faultset_ray.kernels.gf_tables import EXP, INV, LOG, MUL, Bytes


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
    points = np.arange(k + m, dtype=np.uint8)
    return _interpolate(points[:k], points[k:])


def zfec(k: int, m: int) -> Bytes:
    """Points 0, 2⁰, 2¹, …: zfec and Tahoe-LAFS."""
    points = np.zeros(k + m, dtype=np.uint8)
    points[1:] = EXP[: k + m - 1]
    return _interpolate(points[:k], points[k:])


def vandinv(k: int, m: int) -> Bytes:
    """Points 2⁰, 2¹, …: pyeclib's ``isa_l_rs_vand_inv``."""
    return _interpolate(EXP[:k], EXP[k : k + m])


def jerasure(k: int, m: int) -> Bytes:
    """Jerasure's ``reed_sol_vandermonde_coding_matrix``, w = 8; Ceph's jerasure reed_sol_van.

    Points 0, 1, 2, …, the last one at infinity, where a polynomial's value is its leading coefficient; then
    columns are scaled to make the first parity row all ones, and each later row to begin with one.
    """
    points = np.arange(k + m - 1, dtype=np.uint8)
    leading = EXP[-_denominators(points[:k]) % 255]
    parity = np.concatenate([_interpolate(points[:k], points[k:]), leading[None, :]])
    parity = MUL[parity, INV[parity[0]][None, :]]
    scaled: Bytes = MUL[parity, INV[parity[:, 0]][:, None]]
    return scaled


def _interpolate(known: Bytes, wanted: Bytes) -> Bytes:
    """The matrix from a polynomial's values at k points to those at others, all distinct.

    Of degree k - 1, after Lagrange: ``P[i][j] = Π over l ≠ j of (y_i - x_l) / (x_j - x_l)``. It is the
    Vandermonde matrix of all points times the inverse of its first k rows, without an inversion.
    """
    differences = LOG[wanted[:, None] ^ known[None, :]]
    parity: Bytes = EXP[(differences.sum(axis=1)[:, None] - differences - _denominators(known)[None, :]) % 255]
    return parity


def _denominators(points: Bytes) -> npt.NDArray[np.int64]:
    """Logarithms of Π over l ≠ j of (x_j - x_l)."""
    logarithms: npt.NDArray[np.int64] = LOG[points[:, None] ^ points[None, :]].sum(axis=1) - LOG[0]  # of l = j
    return logarithms


PARITY: Final[Mapping[str, Callable[[int, int], Bytes]]] = {
    "backblaze": backblaze,
    "cauchy": cauchy,
    "isal_vand": isal_vand,
    "jerasure": jerasure,
    "vandinv": vandinv,
    "zfec": zfec,
}
"""Constructors by the name that ``matrix=`` takes."""
