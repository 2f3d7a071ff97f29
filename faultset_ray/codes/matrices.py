"""Parity matrices of Reed–Solomon codes: uint8[m, k], to stand below the identity."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from faultset_ray.kernels.gf_tables import INV, Bytes


def cauchy(k: int, m: int) -> Bytes:
    """``P[i][j] = 1 / (i ⊕ j)``, i = k … k+m-1: MDS for every k + m ≤ 256.

    The matrix of ISA-L's ``gf_gen_cauchy1_matrix``, pyeclib's ``isa_l_rs_cauchy`` and Ceph's isa cauchy.
    """
    parity: Bytes = INV[np.arange(k, k + m)[:, None] ^ np.arange(k)[None, :]]
    return parity


PARITY: Final[Mapping[str, Callable[[int, int], Bytes]]] = {"cauchy": cauchy}
"""Constructors by the name that ``matrix=`` takes."""
