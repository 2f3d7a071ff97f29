"""``fold``: out ^= M · rows over GF(2^8), the one primitive of encode, decode, repair and update.

Compiled, level by level: tiles of up to 8 outputs over chunks that stay in cache, whole vectors in
place, the rest of a row through a bounce buffer, stores past the caches where the target is large.
Not compiled: one table look-up a byte and coefficient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from .gf_levels import Level
from .gf_tables import MUL, Bytes
from .jit import HAVE_NUMBA, kernel

ACCUMULATE: Final = 1
STREAM: Final = 2
BACKWARD: Final = 4

SHARED_STREAM_BYTES_MIN: Final = 1 << 24
"""Rows in and out together, from where several threads store past the caches at the earliest: into one that they
share they store faster together than past it, measured. For one thread see
:class:`Level <faultset_ray.kernels.gf_levels.Level>`."""
INPUTS_MAX: Final = 255
"""Rows in, and rows out, of one fold."""
_CHUNK_BYTES: Final = 1 << 19
"""Rows in of one chunk, which every tile of a large matrix reads again."""
_PARTS_EACH: Final = 4
"""Parts for each of several threads, so that a slow one is not waited for long."""
_PART_BYTES_MIN: Final = 1 << 16
"""Rows in and out of one part, some microseconds of work."""
_LINE: Final = 64
_PAGE: Final = 4096
_MADE_BYTES: Final = 1 << 15
"""Of outputs, what is made in a buffer of its own before it is stored past the caches."""
_BACKWARD_INPUTS_MAX: Final = 12
"""Measured: backward, more rows than these are no longer foreseen by the CPU."""


def fold_plain(matrix: Bytes, rows: tuple[Bytes, ...], out: tuple[Bytes, ...], accumulate: bool) -> None:
    """Fold with numpy expressions and no kernel: the engine ``naive``. All arrays uint8[…, L]."""
    for coefficients, target in zip(matrix, out, strict=True):
        if not accumulate:
            target[...] = 0
        for coefficient, row in zip(coefficients, rows, strict=True):
            if coefficient:
                np.bitwise_xor(target, MUL[coefficient][row], out=target)


class Control:
    """What the kernel needs to know of a matrix: its tables and their tile, at a fixed address."""

    __slots__ = ("_tables", "_words", "address")

    def __init__(self, matrix: Bytes, level: Level) -> None:
        outputs, inputs = matrix.shape
        size = -(-outputs // -(-outputs // OUTPUTS_MAX)) if outputs else 1
        self._tables = level.tables(matrix, size)
        shape = [outputs, inputs, size]
        method = [level.unit, level.granule, level.stream_bytes_min]
        words = [level.tile, self._tables.ctypes.data, *shape, *method, KINDS.ctypes.data, level.crowd]
        self._words = np.array(words, dtype=np.int64)
        self.address = self._words.ctypes.data


_HEAD: Final = 7
"""Words of :class:`Places` before the places."""


class Places:
    """Which of the rows given :func:`fold_chosen` reads and copies, and where to, at a fixed address.

    Parameters
    ----------
    control : int
        Address of a :class:`Control`; 0 if nothing is to be folded.
    given, made : int
        How many rows there are, and how many targets; at most :data:`INPUTS_MAX` each.
    reads : places among the rows of the control's inputs
    wanted : places among the targets of the control's outputs
    copies : pairs of such places, from and to
    """

    __slots__ = ("_words", "address")

    def __init__(
        self,
        control: int,
        given: int,
        made: int,
        reads: Sequence[int],
        wanted: Sequence[int],
        copies: Sequence[tuple[int, int]],
    ) -> None:
        head = [control, KINDS.ctypes.data, given, made, len(reads), len(wanted), len(copies)]
        words = [*head, *reads, *wanted, *(place for pair in copies for place in pair)]
        self._words = np.array(words, dtype=np.int64)
        self.address = self._words.ctypes.data


if HAVE_NUMBA:
    from .gf_rows import KINDS, ROWS_MAX, copy, load64, locate, stack, store64
    from .gf_simd import OUTPUTS_MAX, call_tile
    from .team import Work, share

    _addresses = stack(4 * 8 * ROWS_MAX)
    _chosen_addresses = stack(4 * 8 * ROWS_MAX)
    _stripe_addresses = stack(2 * 8 * ROWS_MAX)
    _words = stack(8 * 11)
    _bounce = stack((ROWS_MAX + OUTPUTS_MAX) * (128 + 8))

    _made = stack(_MADE_BYTES + OUTPUTS_MAX * (_LINE + 8))
    _job = stack(8 * 6)

    @kernel()
    def _column(length: int, part: int, parts: int) -> int:
        """Where one of equal parts of the columns begins, at a cache line."""
        return min(length, part * (-(-length // (parts * _LINE)) * _LINE))

    @kernel()
    def _parts(nbytes: int, helpers: int) -> int:
        """How many parts to make for so many helpers: some for each, and none too small to be worth it."""
        return 1 if helpers == 0 else max(1, min((helpers + 1) * _PARTS_EACH, nbytes // _PART_BYTES_MIN))

    @kernel()
    def _are_crowded(sources: int, inputs: int) -> bool:
        """Whether all rows lie at the same place of a page, as rows of an array often do.

        Then their bytes of one column share a set of each cache, which holds but some of them.
        """
        distances = 0
        for index in range(1, inputs):
            distances |= load64(sources + 8 * index) - load64(sources)
        return distances & (_PAGE - 1) == 0

    @kernel()
    def _tile_by_crowds(control: int, first: int, sources: int, targets: int, begin: int, end: int, flags: int) -> None:
        """As a tile of the outputs from ``first``, adding up some rows after the others.

        What is to be stored past the caches is added up in a buffer, and goes from there in whole lines.
        """
        tile, tables, inputs = load64(control), load64(control + 8), load64(control + 24)
        unit, granule, crowd = load64(control + 40), load64(control + 48), load64(control + 72)
        outputs = min(load64(control + 32), load64(control + 16) - first)
        stream = flags & STREAM
        piece = _MADE_BYTES // outputs // granule * granule
        made = _made()
        sums = made + outputs * (piece + _LINE)
        for low in range(begin, end, piece):
            high = min(low + piece, end)
            for index in range(outputs):
                here = made + index * (piece + _LINE) - low
                store64(sums + 8 * index, here if stream else load64(targets + 8 * index))
            added = flags & ACCUMULATE
            for some in range(0, inputs, crowd):
                table = tables + (first * inputs + some * outputs) * unit
                call_tile(tile, table, sources + 8 * some, sums, outputs, min(crowd, inputs - some), low, high, added)
                added |= ACCUMULATE
            if stream:
                one = tables + load64(control + 16) * inputs * unit
                for index in range(outputs):
                    call_tile(tile, one, sums + 8 * index, targets + 8 * index, 1, 1, low, high, STREAM)

    @kernel()
    def _tiles(control: int, sources: int, targets: int, begin: int, end: int, flags: int) -> None:
        """Make the bytes begin … end of all outputs, a multiple of the granule."""
        tile, tables, outputs, inputs = load64(control), load64(control + 8), load64(control + 16), load64(control + 24)
        size, unit, granule = load64(control + 32), load64(control + 40), load64(control + 48)
        crowded = inputs > load64(control + 72) and _are_crowded(sources, inputs)
        chunk = end - begin
        if outputs > size:
            chunk = max(4096, _CHUNK_BYTES // inputs // granule * granule)
        for low in range(begin, end, chunk):
            high = min(low + chunk, end)
            for first in range(0, outputs, size):
                if crowded:
                    _tile_by_crowds(control, first, sources, targets + 8 * first, low, high, flags)
                else:
                    table = tables + first * inputs * unit
                    count = min(size, outputs - first)
                    call_tile(tile, table, sources, targets + 8 * first, count, inputs, low, high, flags)

    @kernel()
    def _tail(control: int, sources: int, targets: int, begin: int, end: int, flags: int) -> None:
        """Make fewer bytes than a granule: copied in, made, copied out."""
        tile, tables, outputs, inputs = load64(control), load64(control + 8), load64(control + 16), load64(control + 24)
        size, unit, granule = load64(control + 32), load64(control + 40), load64(control + 48)
        count = end - begin
        rows = _bounce()
        addresses = rows + (ROWS_MAX + OUTPUTS_MAX) * 128
        for index in range(inputs):
            copy(rows + index * granule, load64(sources + 8 * index) + begin, count)
            store64(addresses + 8 * index, rows + index * granule)
        made = rows + inputs * granule
        for index in range(size):
            store64(addresses + 8 * (inputs + index), made + index * granule)
        for first in range(0, outputs, size):
            part = min(size, outputs - first)
            if flags & ACCUMULATE:
                for index in range(part):
                    copy(made + index * granule, load64(targets + 8 * (first + index)) + begin, count)
            table = tables + first * inputs * unit
            call_tile(tile, table, addresses, addresses + 8 * inputs, part, inputs, 0, granule, flags & ACCUMULATE)
            for index in range(part):
                copy(load64(targets + 8 * (first + index)) + begin, made + index * granule, count)

    @kernel()
    def _are_near(source: int, target: int) -> bool:
        """Whether outputs lie a little behind inputs by their place in a page, which a CPU compares first.

        Then what is loaded next seems to be what was stored last, and waits for it; backward, not.
        """
        return (target - source) & (_PAGE - 1) < _PAGE // 2

    @kernel()
    def _stripe(control: int, sources: int, targets: int, begin: int, end: int, flags: int) -> None:
        """Make the bytes begin … end of all outputs of one stripe."""
        granule = load64(control + 48)
        if load64(control + 24) <= _BACKWARD_INPUTS_MAX and _are_near(load64(sources), load64(targets)):
            flags |= BACKWARD
        if flags & STREAM:
            head = -(load64(targets) + begin) & (_LINE - 1)
            aligned = end - begin >= 2 * granule
            for index in range(load64(control + 16)):
                aligned = aligned and (load64(targets + 8 * index) + begin + head) & (_LINE - 1) == 0
            if not aligned:
                flags -= STREAM
            elif head:
                _tiles(control, sources, targets, begin, begin + granule, flags - STREAM)
                begin += head
        middle = begin + (end - begin) // granule * granule
        if middle > begin:
            _tiles(control, sources, targets, begin, middle, flags)
        if end > middle:
            _tail(control, sources, targets, middle, end, flags)

    @kernel()
    def _inward(index: int, count: int) -> int:
        """Return which row comes at a place of the order that :meth:`Level.tables` has."""
        return count - 1 - (index >> 1) if index & 1 else index >> 1

    @kernel()
    def _part_of_fold(job: int, part: int, parts: int) -> None:
        """Make one of equal parts of a fold: of its columns, or of its stripes where there are several."""
        control, sources, targets = load64(job), load64(job + 8), load64(job + 16)
        stripes, length, flags = load64(job + 24), load64(job + 32), load64(job + 40)
        outputs, inputs = load64(control + 16), load64(control + 24)
        here = _stripe_addresses()
        there = here + 8 * ROWS_MAX
        if stripes == 1:
            for index in range(inputs):
                store64(here + 8 * index, load64(sources + 8 * _inward(index, inputs)))
            _stripe(control, here, targets, _column(length, part, parts), _column(length, part + 1, parts), flags)
            return
        for stripe in range(stripes * part // parts, stripes * (part + 1) // parts):
            for index in range(inputs):
                source = sources + 8 * _inward(index, inputs)
                store64(here + 8 * index, load64(source) + stripe * load64(source + 8 * ROWS_MAX))
            for index in range(outputs):
                step = load64(targets + 8 * (ROWS_MAX + index))
                store64(there + 8 * index, load64(targets + 8 * index) + stripe * step)
            _stripe(control, here, there, 0, length, flags)

    @kernel()
    def _fold(
        control: int,
        sources: int,
        targets: int,
        stripes: int,
        length: int,
        flags: int,
        board: int,
        helpers: int,
        work: int,
    ) -> None:
        """Fold rows at the addresses that :func:`locate` writes."""
        nbytes = stripes * length * (load64(control + 16) + load64(control + 24))
        least = load64(control + 56)
        if not flags & ACCUMULATE and nbytes >= (max(least, SHARED_STREAM_BYTES_MIN) if helpers else least):
            flags |= STREAM
        job = _job()
        store64(job, control)
        store64(job + 8, sources)
        store64(job + 16, targets)
        store64(job + 24, stripes)
        store64(job + 32, length)
        store64(job + 40, flags)
        parts = _parts(nbytes, helpers)
        if parts == 1:
            _part_of_fold(job, 0, 1)
        else:
            share(board, helpers, work, job, parts)

    @kernel()
    def fold_objects(control: int, source: int, target: int, batched: int, board: int, helpers: int, work: int) -> bool:
        """Fold, given a :class:`Control`'s address and the ids of a tuple or array each; False if not understood.

        See :mod:`faultset_ray.kernels.gf_rows` for what is understood. Helpers at a board do parts of it
        (:func:`~faultset_ray.kernels.team.share`) by ``work``, the address of :data:`FOLD`.
        """
        outputs, inputs = load64(control + 16), load64(control + 24)
        sources = _addresses()
        targets = sources + 2 * 8 * ROWS_MAX
        stripes, length = locate(load64(control + 64), source, inputs, target, outputs, batched, sources, targets)
        if stripes < 0:
            return False
        _fold(control, sources, targets, stripes, length, 0, board, helpers, work)
        return True

    @kernel()
    def _chosen(found: int, places: int, count: int, chosen: int) -> None:
        """Write the addresses and steps of some of the rows found, by their places among them."""
        for index in range(count):
            place = load64(places + 8 * index)
            store64(chosen + 8 * index, load64(found + 8 * place))
            store64(chosen + 8 * (ROWS_MAX + index), load64(found + 8 * (ROWS_MAX + place)))

    @kernel()
    def fold_chosen(choice: int, source: int, target: int, batched: int, board: int, helpers: int, work: int) -> bool:
        """Fold some of the rows given into some of the targets, and copy others, as :class:`Places` says.

        ``source`` and ``target`` are ids as for :func:`fold_objects`; all rows given are looked at, also
        those that are not read. False if not understood; then nothing was written.
        """
        control, given, made = load64(choice), load64(choice + 16), load64(choice + 24)
        inputs, outputs, copies = load64(choice + 32), load64(choice + 40), load64(choice + 48)
        places = choice + 8 * _HEAD
        sources = _addresses()
        targets = sources + 2 * 8 * ROWS_MAX
        stripes, length = locate(load64(choice + 8), source, given, target, made, batched, sources, targets)
        if stripes < 0:
            return False
        pairs = places + 8 * (inputs + outputs)
        for index in range(copies):
            origin, goal = load64(pairs + 16 * index), load64(pairs + 16 * index + 8)
            for stripe in range(stripes):
                here = load64(sources + 8 * origin) + stripe * load64(sources + 8 * (ROWS_MAX + origin))
                there = load64(targets + 8 * goal) + stripe * load64(targets + 8 * (ROWS_MAX + goal))
                copy(there, here, length)
        if control:
            read = _chosen_addresses()
            wanted = read + 2 * 8 * ROWS_MAX
            _chosen(sources, places, inputs, read)
            _chosen(targets, places + 8 * inputs, outputs, wanted)
            _fold(control, read, wanted, stripes, length, 0, board, helpers, work)
        return True

    @kernel()
    def fold_addresses(
        control: int,
        sources: np.ndarray,
        targets: np.ndarray,
        length: int,
        flags: int,
        board: int,
        helpers: int,
        work: int,
    ) -> None:
        """Fold rows at int64 addresses, which the caller has checked; the rest as :func:`fold_objects`."""
        _fold(control, sources.ctypes.data, targets.ctypes.data, 1, length, flags, board, helpers, work)

    @kernel()
    def _part_of_steps(job: int, part: int, parts: int) -> None:
        """Make one of equal parts of the columns of :func:`xor_steps`."""
        targets, starts, sources = load64(job + 8), load64(job + 16), load64(job + 24)
        length = load64(job + 40)
        begin, end = _column(length, part, parts), _column(length, part + 1, parts)
        mine = _words()
        copy(mine, load64(job), 8 * 10)
        target = mine + 8 * 10
        for step in range(load64(job + 32)):
            store64(target, load64(targets + 8 * step))
            first, last = load64(starts + 8 * step), load64(starts + 8 * (step + 1))
            flags = 0
            while first < last or flags == 0:
                count = min(last - first, INPUTS_MAX)
                store64(mine + 24, count)
                _stripe(mine, sources + 8 * first, target, begin, end, flags)
                first += count
                flags = ACCUMULATE

    @kernel()
    def xor_steps(
        control: int,
        targets: np.ndarray,
        starts: np.ndarray,
        sources: np.ndarray,
        length: int,
        board: int,
        helpers: int,
        work: int,
    ) -> None:
        """Make each target in turn the XOR of its sources, all int64 addresses of so many bytes.

        ``control`` is that of a row of 255 ones; step i has ``sources[starts[i]:starts[i + 1]]``. ``work`` is
        the address of :data:`STEPS`.
        """
        job = _job()
        store64(job, control)
        store64(job + 8, targets.ctypes.data)
        store64(job + 16, starts.ctypes.data)
        store64(job + 24, sources.ctypes.data)
        store64(job + 32, targets.size)
        store64(job + 40, length)
        parts = _parts((targets.size + sources.size) * length, helpers)
        if parts == 1:
            _part_of_steps(job, 0, 1)
        else:
            share(board, helpers, work, job, parts)

    def _fold_work(job, part, parts):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        _part_of_fold(job, part, parts)

    def _steps_work(job, part, parts):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        _part_of_steps(job, part, parts)

    FOLD, STEPS = Work(_fold_work), Work(_steps_work)
