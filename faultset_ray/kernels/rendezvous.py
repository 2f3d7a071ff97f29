"""Weighted rendezvous hashing: each key ranks all sites, and a heavier site stands first for more keys.

Thaler and Ravishankar, "Using name-based mappings to increase hit rates" (IEEE/ACM ToN 1998), with the weights of
Schindelhauer and Schomaker, "Weighted distributed hash tables" (SPAA 2005): the score of a site is -ln(u) / weight,
u drawn from (0, 1) by a hash of key and site, and the least score is the first. Scores of one key are independent
exponential variables, so sites are first in proportion to their weights, and so are groups of sites.
"""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from faultset_ray.kernels.jit import HAVE_NUMBA, kernel

_FIRST = np.uint64(0xFF51AFD7ED558CCD)
_SECOND = np.uint64(0xC4CEB9FE1A85EC53)
_FOLD = np.uint64(33)
_BITS: Final = 52
_DROP = np.uint64(64 - _BITS)
_STEP: Final = 2.0**-_BITS
_LN2: Final = math.log(2.0)
_CELLS_MAX: Final = 1 << 18
"""Scores in hand at once where nothing is compiled: they stay in the cache."""


@lru_cache(1 << 16)
def key_of(name: bytes) -> int:
    """Return the 64 bits by which a name of any length is ranked."""
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little")


def scores(keys: NDArray[np.uint64], sites: NDArray[np.uint64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far back each site stands for each key: the least score is the first.

    The same bits with numba and without: only additions, products and quotients of doubles in one order.

    Parameters
    ----------
    keys : uint64[o]
    sites : uint64[s]
        See :func:`key_of`.
    weights : float64[s]
        Above 0.

    Returns
    -------
    float64[o, s]
        0 or more; of different sites different but for once in 2**52.
    """
    out = np.empty((len(keys), len(sites)))
    if HAVE_NUMBA:
        _scores(keys, sites, weights, out)
    else:
        rows = max(1, _CELLS_MAX // max(1, len(sites)))
        for begin in range(0, len(keys), rows):
            _scores_numpy(keys[begin : begin + rows], sites, weights, out[begin : begin + rows])
    return out


@kernel()
def _scores(keys: Any, sites: Any, weights: Any, out: Any) -> None:
    for i in range(len(keys)):
        for j in range(len(sites)):
            mixed = keys[i] ^ sites[j]
            mixed = (mixed ^ (mixed >> _FOLD)) * _FIRST
            mixed = (mixed ^ (mixed >> _FOLD)) * _SECOND
            mixed ^= mixed >> _FOLD
            part, exponent = math.frexp((np.float64(np.int64(mixed >> _DROP)) + 0.5) * _STEP)
            z = (part - 1.0) / (part + 1.0)
            out[i, j] = -(exponent * _LN2 + 2.0 * z * _series(z * z)) / weights[j]


def _scores_numpy(keys: Any, sites: Any, weights: Any, out: Any) -> None:
    mixed = keys[:, None] ^ sites[None, :]
    mixed = (mixed ^ (mixed >> _FOLD)) * _FIRST
    mixed = (mixed ^ (mixed >> _FOLD)) * _SECOND
    mixed ^= mixed >> _FOLD
    part, exponent = np.frexp(((mixed >> _DROP).astype(np.float64) + 0.5) * _STEP)
    z = (part - 1.0) / (part + 1.0)
    out[:] = -(exponent * _LN2 + 2.0 * z * _series(z * z)) / weights


@kernel(inline=True)
def _series(square: Any) -> Any:
    """Return artanh(z) / z of z * z, for z from -1/3 to 0, to nine digits."""
    tail = 1 / 11 + square * (1 / 13 + square * (1 / 15))
    return 1.0 + square * (1 / 3 + square * (1 / 5 + square * (1 / 7 + square * (1 / 9 + square * tail))))
