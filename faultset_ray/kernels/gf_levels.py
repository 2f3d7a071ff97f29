"""SIMD levels: which this machine has, which one is used, and their multiplication tables.

``FAULTSET_ENGINE=`` one of :data:`LEVELS` forces a level; the choice is made once a process.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from faultset_ray.errors import InputError
from faultset_ray.limits import MIB

from .gf_tables import MUL, Bytes
from .jit import HAVE_NUMBA

LEVELS: Final = ("gfni512", "gfni256", "avx2", "portable", "naive")
"""Fastest first."""

_NEEDS: Final = {
    "gfni512": {"gfni", "avx512f", "avx512bw"},
    "gfni256": {"gfni", "avx2"},
    "avx2": {"avx2"},
    "portable": set[str](),
}


@dataclass(frozen=True)
class Level:
    """How a level multiplies."""

    name: str
    granule: int
    """Bytes that a tile makes at a time, or a multiple of them."""
    stream_bytes_min: int
    """Rows in and out together, from where one thread stores past the caches, measured; several do no earlier.

    Where a vector is a line of the cache, that is about a core's L2 (Zen 5). A line that comes in pieces may leave the
    CPU half full, and the more so where outputs lie at the same place of a page: that is worth it only where the rows
    are in no cache (Zen 3).
    """
    crowd: int
    """Rows that are read side by side where all lie at the same place of a page; more are added up in turn.

    A set of Zen 3's caches holds 8 lines, and a vector of 32 bytes wants each line twice: measured with AVX2, and taken
    for GFNI-256, whose vectors are as wide.
    """
    coefficients: npt.NDArray[Any]
    """The table of each of the 256 constants."""

    @property
    def unit(self) -> int:
        """Bytes of one constant's table."""
        return int(self.coefficients[0].nbytes)

    @property
    def tile(self) -> int:
        """Address of the compiled tile."""
        from .gf_simd import tile  # numba, only where it is wanted

        address: int = tile(self.name).address
        return address

    def tables(self, matrix: Bytes, outputs: int) -> npt.NDArray[Any]:
        """Lay out the tables of a matrix in tiles of ``outputs`` rows: tile, source, output; at the end that of 1.

        Sources are in the order 0, n - 1, 1, n - 2, … Rows often lie at equal steps, and the outputs behind them. Taken
        one after the other, a CPU that foresees steps fetches the outputs too, just where they are about to be stored
        past the caches: measured, 1.2 to 2 times the time on Zen 5.
        """
        places = np.arange(matrix.shape[1])
        inward = np.column_stack([places, places[::-1]]).reshape(-1)[: places.size]
        tiles = [matrix[first : first + outputs, inward].T.reshape(-1) for first in range(0, matrix.shape[0], outputs)]
        order = np.concatenate([*tiles, np.ones(1, dtype=np.uint8)])
        found: npt.NDArray[Any] = self.coefficients[order]
        return found


def _affine() -> npt.NDArray[np.uint64]:
    """Bit matrices for ``gf2p8affineqb``: byte 7 - i holds which bits of x go into bit i of the product."""
    images = MUL[:, [1 << bit for bit in range(8)]]  # of each bit of x
    words = np.zeros(256, dtype=np.uint64)
    for row in range(8):
        for bit in range(8):
            chosen = (images[:, bit] >> row & 1).astype(np.uint64)
            words |= chosen << np.uint64(8 * (7 - row) + bit)
    return words


def _nibbles() -> Bytes:
    """Products of the constant with 0 … 15 and with 0x00 … 0xf0."""
    low = np.arange(16)
    return np.concatenate([MUL[:, low], MUL[:, low << 4]], axis=1)


def _masks() -> npt.NDArray[np.uint64]:
    """A word of ones or zeros for each bit of the constant."""
    bits = np.arange(256)[:, None] >> np.arange(8)[None, :] & 1
    return (-bits.astype(np.int64)).view(np.uint64)


_MAKE: Final[dict[str, Callable[[], Level]]] = {
    "gfni512": lambda: Level("gfni512", 128, MIB, 255, _affine()),
    "gfni256": lambda: Level("gfni256", 64, 64 * MIB, 8, _affine()),
    "avx2": lambda: Level("avx2", 128, 64 * MIB, 8, _nibbles()),
    "portable": lambda: Level("portable", 64, 64 * MIB, 255, _masks()),
}


@cache
def available() -> tuple[str, ...]:
    """Levels that this process can run, fastest first."""
    if not HAVE_NUMBA:
        return ("naive",)
    from numba.core.registry import cpu_target

    # what numba compiles for, which NUMBA_CPU_NAME may have changed, not what the machine has
    features = cpu_target.target_context.codegen().magic_tuple()[2].split(",")
    present = {feature[1:] for feature in features if feature.startswith("+")}
    return (*(name for name, needs in _NEEDS.items() if needs <= present), "naive")


@cache
def level(name: str) -> Level | None:
    """Return a level by name; None is ``naive``.

    Raises
    ------
    InputError
        If there is no such level, or not on this machine.
    """
    if name not in available():
        raise InputError(f"engine {name!r} is not available here; there are: {', '.join(available())}")
    return None if name == "naive" else _MAKE[name]()


@cache
def chosen() -> Level | None:
    """Return the level in use: by :func:`choose`, else ``FAULTSET_ENGINE``, else the fastest; None is ``naive``."""
    return level(_wanted or os.environ.get("FAULTSET_ENGINE") or available()[0])


_wanted = ""


def choose(name: str) -> None:
    """Use a level from now on; what was made for another one keeps it. All give the same bytes.

    Raises
    ------
    InputError
        As :func:`level`; nothing is changed.
    """
    global _wanted  # noqa: PLW0603 - one level a process, as with the variable
    level(name)
    _wanted = name
    chosen.cache_clear()
