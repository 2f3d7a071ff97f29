"""Applying a matrix to rows: :class:`Folder`, on the fastest SIMD level that the machine has.

``FAULTSET_ENGINE=gfni512|gfni256|avx2|portable|naive`` forces a level; all give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from faultset_ray.kernels import gf_fold, gf_levels
from faultset_ray.kernels.gf_tables import Bytes
from faultset_ray.kernels.jit import HAVE_NUMBA

from .checks import Program
from .threads import recruit

if HAVE_NUMBA:
    from faultset_ray.kernels.gf_rows import layout_is_known


def available() -> tuple[str, ...]:
    """Return the engines that this process can run, fastest first."""
    return gf_levels.available()


def active() -> str:
    """Return the engine in use."""
    level = gf_levels.chosen()
    return "naive" if level is None else level.name


def choose(name: str) -> None:
    """Use an engine from now on, in this process; what was made for another one keeps it.

    Raises
    ------
    InputError
        If this machine has no such engine.
    """
    gf_levels.choose(name)


class _Quick:
    """What plainly right arguments go straight to: a kernel, and the address of what it knows of its matrix."""

    __slots__ = ("_kernel", "_quick")

    _kernel: Callable[..., bool]
    _quick: int
    """0 if there is none."""

    def try_fold(self, source: Any, target: Any, threads: int = 1, *, batched: bool = False) -> bool:
        """``target = matrix · source`` if the arguments are plainly right; else False, nothing touched.

        Of a :class:`Choice` they are all rows that are given, and all targets.

        Parameters
        ----------
        source : tuple of c uint8[L], or uint8[c, L]; batched: of uint8[b, L], or uint8[b, c, L]
        target : the same of r
        threads : int
            Share the columns (batched: the stripes) between so many threads.

        Returns
        -------
        bool
            False for anything unusual: the caller checks, explains or copies, and calls :meth:`fold`.
        """
        if not self._quick:
            return False
        if type(threads) is int and threads == 1:
            return bool(self._kernel(self._quick, id(source), id(target), batched, 0, 0, 0))
        board, helpers = recruit(threads)
        work = gf_fold.FOLD.address
        return bool(self._kernel(self._quick, id(source), id(target), batched, board, helpers, work))


class Folder(_Quick):
    """One matrix with its multiplication tables made, applied to many rows. Safe in several threads.

    Parameters
    ----------
    matrix : uint8[r, c]
        Read-only from here on. With r or c past 255, :meth:`fold` applies it block by block.
    engine : str, optional
        One of :func:`available` in place of the one in use.
    """

    __slots__ = ("_control", "_matrix")

    def __init__(self, matrix: Bytes, engine: str | None = None) -> None:
        self._matrix = matrix
        level = gf_levels.chosen() if engine is None else gf_levels.level(engine)
        small = matrix.size > 0 and max(matrix.shape) <= gf_fold.INPUTS_MAX
        self._control = gf_fold.Control(matrix, level) if level is not None and small else None
        self._quick = 0
        if self._control is not None and layout_is_known():
            self._kernel, self._quick = gf_fold.fold_objects, self._control.address

    @property
    def address(self) -> int:
        """Of what :func:`~faultset_ray.kernels.gf_fold.fold_chosen` takes; 0 if this is not for it."""
        return self._quick

    @staticmethod
    def is_compiled() -> bool:
        """Whether plain arguments go straight to a kernel."""
        return gf_levels.chosen() is not None and layout_is_known()

    def fold(
        self, rows: Sequence[Bytes], targets: Sequence[Bytes], threads: int = 1, *, accumulate: bool = False
    ) -> None:
        """``targets = matrix · rows``, or XORed onto them.

        Parameters
        ----------
        rows : c contiguous uint8[L]
            Checked by the caller; none overlaps a target.
        targets : r contiguous, writable uint8[L]
        """
        if max(self._matrix.shape) > gf_fold.INPUTS_MAX:
            self._fold_blocks(rows, targets, threads, accumulate)
            return
        board, helpers = recruit(threads)
        if self._control is None:
            gf_fold.fold_plain(self._matrix, tuple(rows), tuple(targets), accumulate)
            return
        sources = np.array([row.ctypes.data for row in rows], dtype=np.int64)
        sinks = np.array([row.ctypes.data for row in targets], dtype=np.int64)
        work = gf_fold.FOLD.address if helpers else 0
        flags = gf_fold.ACCUMULATE if accumulate else 0
        gf_fold.fold_addresses(self._control.address, sources, sinks, targets[0].size, flags, board, helpers, work)

    def _fold_blocks(self, rows: Sequence[Bytes], targets: Sequence[Bytes], threads: int, accumulate: bool) -> None:
        """:meth:`fold` for a matrix larger than the kernel takes."""
        side = gf_fold.INPUTS_MAX
        for top in range(0, len(targets), side):
            for left in range(0, max(1, len(rows)), side):
                block = Folder(np.ascontiguousarray(self._matrix[top : top + side, left : left + side]))
                add = accumulate or left > 0
                block.fold(rows[left : left + side], targets[top : top + side], threads, accumulate=add)


class Choice(_Quick):
    """A fold of some of the rows that are given, while others are copied; positions are fixed, bytes are not.

    Parameters
    ----------
    folder : Folder
        Of the rows read.
    given, made : int
        How many rows there are, and how many targets.
    reads : positions of its rows among those given
    wanted : positions of its targets
    copies : pairs of positions, of a row and of the target that it is copied to
    """

    __slots__ = ("_folder", "_places")

    def __init__(
        self,
        folder: Folder,
        given: int,
        made: int,
        reads: Sequence[int],
        wanted: Sequence[int],
        copies: Sequence[tuple[int, int]] = (),
    ) -> None:
        self._folder = folder
        self._quick = 0
        if (folder.address or (not wanted and Folder.is_compiled())) and max(given, made) <= gf_fold.INPUTS_MAX:
            self._places = gf_fold.Places(folder.address, given, made, reads, wanted, copies)
            self._kernel, self._quick = gf_fold.fold_chosen, self._places.address


_ONES: Final = np.ones((1, gf_fold.INPUTS_MAX), dtype=np.uint8)


def xor_program(program: Program, slots: Mapping[int, Bytes], threads: int = 1) -> None:
    """Run a program's steps on rows, all contiguous uint8[L] and checked by the caller.

    Parameters
    ----------
    program : Program
        Every slot that it names is in ``slots``; its targets are writable and overlap nothing.
    """
    board, helpers = recruit(threads)
    level = gf_levels.chosen()
    if not program.targets:
        return
    if level is None:
        for target, sources in zip(program.targets, program.sources, strict=True):
            slots[target][...] = 0
            for source in sources.tolist():
                np.bitwise_xor(slots[target], slots[source], out=slots[target])
        return
    control = gf_fold.Control(_ONES, level)
    addresses = np.zeros(1 + max(slots), dtype=np.int64)
    for slot, row in slots.items():
        addresses[slot] = row.ctypes.data
    targets = addresses[list(program.targets)]
    sources = addresses[np.concatenate(program.sources)]
    starts = np.concatenate([[0], np.cumsum([step.size for step in program.sources])]).astype(np.int64)
    length = slots[program.targets[0]].size
    work = gf_fold.STEPS.address if helpers else 0
    gf_fold.xor_steps(control.address, targets, starts, sources, length, board, helpers, work)
