"""Every SIMD level against multiplication bit by bit: shapes, tails, alignments, threads, accumulation."""

from dataclasses import replace

import emulating
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import gf

from faultset_ray.codes import engine
from faultset_ray.codes.engine import Folder
from faultset_ray.codes.threads import recruit
from faultset_ray.errors import InputError
from faultset_ray.kernels import gf_fold, gf_levels
from faultset_ray.kernels.gf_tables import INV, MUL, matmul

emulating.install()
LEVELS = emulating.LEVELS
COMPILED = [level for level in LEVELS if level != "naive"]


def test_tables_are_the_field():
    assert [[gf.mul(a, b) for b in range(256)] for a in range(256)] == MUL.tolist()
    assert all(gf.mul(a, int(INV[a])) == 1 for a in range(1, 256))


@pytest.mark.parametrize("level", LEVELS)
def test_every_product(level):
    every = np.arange(256, dtype=np.uint8)
    for a in range(256):
        out = np.empty((1, 256), dtype=np.uint8)
        Folder(np.array([[a]], dtype=np.uint8), level).fold([every], list(out))
        assert out[0].tolist() == [gf.mul(a, b) for b in range(256)]


shapes = st.tuples(st.integers(1, 20), st.integers(1, 20))
lengths = st.one_of(st.integers(0, 300), st.sampled_from([511, 512, 513, 1023, 4096, 4097]))


@pytest.mark.parametrize("level", LEVELS)
@settings(max_examples=60)
@given(shapes, lengths, st.integers(0, 2**32), st.lists(st.integers(0, 65), min_size=1), st.integers(1, 3))
def test_fold_is_the_matrix_product(level, shape, length, seed, offsets, threads):
    rng = np.random.default_rng(seed)
    outputs, inputs = shape
    matrix = rng.integers(0, 256, shape, dtype=np.uint8)
    matrix[rng.random(shape) < 0.2] = 0

    def rows(count, fill):  # each at its own place, with guards around it
        found = []
        for index in range(count):
            offset = offsets[index % len(offsets)]
            whole = (
                rng.integers(0, 256, length + 130, dtype=np.uint8) if fill else np.full(length + 130, 0xA5, np.uint8)
            )
            found.append((whole, whole[offset : offset + length]))
        return found

    sources, targets = [row for _, row in rows(inputs, fill=True)], rows(outputs, fill=False)
    expected = matmul(matrix, np.array(sources).reshape(inputs, length))
    before = [row.copy() for row in sources]
    folder = Folder(matrix, level)
    out = [row for _, row in targets]
    folder.fold(sources, out, threads)
    assert np.array_equal(np.array(out).reshape(expected.shape), expected)
    for whole, row in targets:
        row[...] = 0xA5
        assert (whole == 0xA5).all(), "bytes beside the target were written"
    if folder.try_fold(tuple(sources), tuple(out), threads):
        assert np.array_equal(np.array(out).reshape(expected.shape), expected)
    else:
        assert level == "naive"
        folder.fold(sources, out)
    folder.fold(sources, out, threads, accumulate=True)
    assert not np.array(out).any()
    assert all(np.array_equal(a, b) for a, b in zip(sources, before, strict=True))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("outputs", "inputs"), [(55, 200), (9, 255), (254, 1), (17, 3)])
def test_large_matrices(level, outputs, inputs):
    rng = np.random.default_rng(1)
    matrix = rng.integers(0, 256, (outputs, inputs), dtype=np.uint8)
    rows = rng.integers(0, 256, (inputs, 333), dtype=np.uint8)
    out = np.empty((outputs, 333), dtype=np.uint8)
    Folder(matrix, level).fold(list(rows), list(out))
    assert np.array_equal(out, matmul(matrix, rows))


@pytest.mark.parametrize("level", COMPILED)
@pytest.mark.parametrize("offset", [0, 1, 16, 63])
@pytest.mark.parametrize("more", [0, 64, 77])
def test_stores_past_the_caches(level, offset, more):
    """Large enough to stream; rows at equal and at different distances from a cache line."""
    length = -(-gf_levels.level(level).stream_bytes_min // 384) * 64 + more
    rng = np.random.default_rng(2)
    rows = rng.integers(0, 256, (4, length), dtype=np.uint8)
    matrix = rng.integers(0, 256, (2, 4), dtype=np.uint8)
    space = np.full(2 * length + 200, 0xA5, dtype=np.uint8)
    out = space[offset : offset + 2 * length].reshape(2, length)
    Folder(matrix, level).fold(list(rows), list(out))
    expected = np.empty((2, length), dtype=np.uint8)
    gf_fold.fold_plain(matrix, tuple(rows), tuple(expected), accumulate=False)
    assert np.array_equal(out, expected)
    assert (space[:offset] == 0xA5).all()
    assert (space[offset + 2 * length :] == 0xA5).all()


@pytest.mark.parametrize("level", COMPILED)
@pytest.mark.parametrize("stream_bytes_min", [1, 1 << 40])
@pytest.mark.parametrize("inputs", [8, 9, 16, 33])
@pytest.mark.parametrize("outputs", [1, 2, 5, 8, 11])
def test_rows_that_all_lie_at_the_same_place_of_a_page(monkeypatch, level, stream_bytes_min, inputs, outputs):
    """Of which some levels add up a few at a time, and make what they stream in a buffer: several pieces of it."""
    found = replace(gf_levels.level(level), stream_bytes_min=stream_bytes_min, crowd=8)
    monkeypatch.setattr(gf_levels, "level", lambda _name: found)
    rng = np.random.default_rng(5)
    length = 5 * 4096 + 77
    rows = rng.integers(0, 256, (inputs, 6 * 4096), dtype=np.uint8)[:, :length]
    space = np.full((outputs, 6 * 4096), 0xA5, np.uint8)
    out = space[:, :length]
    matrix = rng.integers(0, 256, (outputs, inputs), dtype=np.uint8)
    folder = Folder(matrix, level)
    for threads in (1, 2):
        folder.fold(list(rows), list(out), threads)
        assert np.array_equal(out, matmul(matrix, rows))
        folder.fold(list(rows), list(out), threads, accumulate=True)
        assert not out.any()
    assert (space[:, length:] == 0xA5).all()


def told(folder, rows, out, **how):
    """The flags that a fold's tiles are called with, all together, and all bits of where those that stream begin.

    A tile of ours notes them and makes nothing.
    """
    import numba

    from faultset_ray.kernels.gf_rows import load64, store64

    @numba.cfunc(numba.types.void(*[numba.types.int64] * 8))
    def note(tables, _sources, targets, _outputs, _inputs, begin, _end, flags):
        store64(tables, load64(tables) | flags)
        if flags & gf_fold.STREAM:
            store64(tables + 8, load64(tables + 8) | (load64(targets) + begin))

    noted = np.zeros(2, np.int64)
    words = folder._control._words
    before = words[:2].copy()
    words[:2] = note.address, noted.ctypes.data
    folder.fold(list(rows), list(out), **how)
    words[:2] = before
    return noted.tolist()


def three_rows(length, offset):
    """Next to each other, the first so many bytes behind the beginning of a line."""
    space = np.zeros(3 * length + 128, np.uint8)
    at = -space.ctypes.data % 64 + offset
    return space[at : at + 3 * length].reshape(3, length)


@pytest.mark.skipif(LEVELS == ("naive",), reason="nothing is compiled")
def test_only_large_folds_that_overwrite_store_past_the_caches():
    def streams(nbytes, **how):
        rows = three_rows(nbytes // 3, 0)
        flags, _ = told(Folder(np.ones((1, 2), np.uint8)), rows[:2], rows[2:], **how)
        return flags & gf_fold.STREAM != 0

    alone = gf_levels.chosen().stream_bytes_min
    for least, threads in [(alone, 1), (max(alone, gf_fold.SHARED_STREAM_BYTES_MIN), 2)]:
        if threads > 1 and recruit(threads)[1] == 0:
            continue  # one CPU
        assert not streams(least - 3 * 64, threads=threads)
        assert streams(least + 3 * 64, threads=threads)
        assert not streams(2 * least, threads=threads, accumulate=True)


@pytest.mark.parametrize("level", COMPILED)
@pytest.mark.parametrize("offset", [0, 16, 32, 63])
def test_what_goes_past_the_caches_begins_with_a_line(level, offset):
    """Else every line of it would go in two pieces, with other rows' between them."""
    rows = three_rows(gf_levels.level(level).stream_bytes_min // 3 // 64 * 64 + 64, offset)
    flags, begins = told(Folder(np.ones((1, 2), np.uint8), level), rows[:2], rows[2:])
    assert flags & gf_fold.STREAM
    assert begins % 64 == 0


@pytest.mark.parametrize("level", COMPILED)
def test_batches_with_steps_of_any_size(level):
    rng = np.random.default_rng(3)
    matrix = rng.integers(0, 256, (3, 5), dtype=np.uint8)
    folder = Folder(matrix, level)
    for length in (0, 1, 64, 130, 1000):
        block = rng.integers(0, 256, (7, 9, length), dtype=np.uint8)
        expected = np.array([matmul(matrix, stripe[:5]) for stripe in block]).reshape(7, 3, length)
        for threads in (1, 2, 9):
            out = np.empty((7, 3, length), dtype=np.uint8)
            assert folder.try_fold(block[:, :5], out, threads, batched=True)
            assert np.array_equal(out, expected)
            out[...] = 0
            rows = tuple(block[:, index] for index in range(5))
            assert folder.try_fold(rows, tuple(out[:, index] for index in range(3)), threads, batched=True)
            assert np.array_equal(out, expected)
            assert folder.try_fold(block[::-1, :5], out[::-1], threads, batched=True)
            assert np.array_equal(out, expected)


@pytest.mark.skipif(LEVELS == ("naive",), reason="nothing is compiled")
def test_the_quick_way_refuses_whatever_is_unusual():
    folder = Folder(np.ones((2, 3), dtype=np.uint8))
    rows = np.zeros((3, 64), dtype=np.uint8)
    out = np.zeros((2, 64), dtype=np.uint8)
    locked = out.copy()
    locked.setflags(write=False)
    assert folder.try_fold(rows, out)
    for source in [
        None, 3, "text", [rows], (), tuple(rows[:2]), (*rows, rows[0]), rows[:2], rows[:, :32], rows[:, ::2],
        rows.astype(np.int8), rows.astype(np.uint16), rows[None], rows[0], (*rows[:2], None),
        (*rows[:2], rows[2, :63]), (*rows[:2], rows[2].astype(bool)), np.asfortranarray(rows),
        out[[0, 1, 1]][:, :0], (rows[0], rows[1], out[0]),
    ]:  # fmt: skip
        assert not folder.try_fold(source, out)
    for target in [
        None,
        (),
        out[:1],
        out[:, :63],
        locked,
        (out[0],),
        (out[0], locked[1]),
        np.asfortranarray(out),
        rows[1:],
    ]:
        assert not folder.try_fold(rows, target)
    assert not out.any()


def test_engines_are_named_and_refused_by_name(monkeypatch):
    assert engine.active() in LEVELS
    assert LEVELS[-1] == "naive"
    assert set(LEVELS) <= set(gf_levels.LEVELS)
    with pytest.raises(InputError, match="engine 'warp' is not available here; there are: "):
        Folder(np.ones((1, 1), dtype=np.uint8), "warp")
    monkeypatch.setenv("FAULTSET_ENGINE", "warp")
    with pytest.raises(InputError, match="warp"):
        gf_levels.chosen.__wrapped__()
    monkeypatch.setenv("FAULTSET_ENGINE", "naive")
    assert gf_levels.chosen.__wrapped__() is None


@pytest.mark.parametrize("threads", [0, 65, True, 1.0, "1", None])
def test_threads_out_of_range(threads):
    with pytest.raises(InputError):
        Folder(np.ones((1, 1), dtype=np.uint8)).fold([np.zeros(1, np.uint8)], [np.zeros(1, np.uint8)], threads)


@pytest.mark.skipif(LEVELS == ("naive",), reason="nothing is compiled")
@settings(max_examples=200)
@given(st.integers(1, 3), st.integers(0, 40), st.integers(0, 40), st.integers(1, 12), st.sampled_from([10, 12, 25]))
def test_the_quick_way_never_takes_rows_that_touch(stripes, here, there, length, step):
    """Rows and targets cut from one buffer at every distance; numpy says whether they share memory."""
    buffer = np.zeros(200, dtype=np.uint8)

    def strided(offset, stride):
        return np.lib.stride_tricks.as_strided(buffer[offset:], (stripes, 1, length), (stride, length, 1))

    for source, target in ((strided(here, step), strided(there, step)), (strided(here, 30), strided(there, step))):
        if Folder(np.ones((1, 1), dtype=np.uint8)).try_fold(source, target, batched=True):
            assert not np.shares_memory(source, target)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("behind", [0, 16, 129, 2047, 2048, 4095])
@pytest.mark.parametrize("inputs", [5, 17])
def test_outputs_anywhere_behind_inputs_in_their_pages(level, behind, inputs):
    """By that it is decided in which direction columns are made."""
    rng = np.random.default_rng(behind)
    matrix = rng.integers(0, 256, (3, inputs), dtype=np.uint8)
    for length in (100, 1000, 8000, 100_000):
        step = -(-length // 4096) * 4096
        space = rng.integers(0, 256, step * (inputs + 5), dtype=np.uint8)
        rows = [space[index * step : index * step + length] for index in range(inputs)]
        out = [space[behind + index * step :][:length] for index in range(inputs + 1, inputs + 4)]
        expected = matmul(matrix, np.array(rows))
        Folder(matrix, level).fold(rows, out)
        assert np.array_equal(out, expected)
