"""Large memory is handed out again once nobody can see it any more, and not before."""

import gc
import mmap
import pickle
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from faultset_ray.shards import memory

MIB = 1 << 20
MOST = 8 * MIB


@pytest.fixture
def kept(monkeypatch):
    kept = memory._Kept(MOST)
    monkeypatch.setattr(memory, "_kept", kept)
    return kept


def address(array):
    return array.ctypes.data


@pytest.mark.parametrize(
    ("first", "second"), [((MIB,), (MIB,)), ((MIB + 64,), (MIB,)), ((4, MIB), (3, MIB + 4096 * 64))]
)
def test_what_was_done_with_is_handed_out_again(kept, first, second):
    array = memory.empty(*first)
    where, nbytes = address(array), array.nbytes
    array[:] = 7
    del array
    assert kept.nbytes == nbytes
    again = memory.empty(*second)
    assert (address(again), again.shape, again.dtype, kept.nbytes) == (where, second, np.uint8, 0)
    again[:] = 9
    assert (again == 9).all()


@pytest.mark.parametrize("asked", [MIB // 2, MIB + 1, 2 * MIB], ids=["much smaller", "a little larger", "larger"])
def test_memory_serves_only_what_fits_well(kept, asked):
    memory.empty(MIB)  # and nobody wants it
    assert memory.empty(asked).size == asked
    assert kept.nbytes >= MIB


SHOWN = {
    "the array": lambda array: array,
    "a row": lambda array: array[1],
    "a part of a row": lambda array: array[1][5:9],
    "another shape": lambda array: array.reshape(-1)[3:].reshape(1, -1),
    "another type": lambda array: array.view("<u4"),
    "a memoryview": lambda array: array.data,
    "a memoryview of a part": lambda array: array[1].data.cast("B")[7:],
    "an array of a memoryview": lambda array: np.frombuffer(array.data.cast("B"), np.uint8)[9:],
    "what pickle takes out of band": lambda array: pickle.PickleBuffer(array[1]),
}


@pytest.mark.parametrize("shown", SHOWN.values(), ids=SHOWN)
def test_what_somebody_can_see_is_not_handed_out(kept, shown):
    array = memory.empty(2, MIB)
    array[:] = 1
    seen = shown(array)
    del array
    gc.collect()
    assert kept.nbytes == 0
    other = memory.empty(2, MIB)
    other[:] = 2
    assert set(bytes(seen)) == {1}
    del seen
    assert kept.nbytes == 2 * MIB


def test_no_more_is_kept_than_may_be_and_the_oldest_goes(kept):
    arrays = [memory.empty(nbytes) for nbytes in (3 * MIB, 4 * MIB, 2 * MIB, 9 * MIB)]
    while arrays:
        del arrays[0]
        assert kept.nbytes <= MOST
    assert [len(each) for each in kept._memory] == [4 * MIB, 2 * MIB]  # 9 MiB alone are too many


def test_small_arrays_are_not_kept(kept):
    memory.empty(1000)
    assert kept.nbytes == 0


def test_many_threads_never_see_each_other(kept):
    def work(number):
        for _ in range(200):
            array = memory.empty(MIB // 2)
            array[::4096] = number
            if (array[::4096] != number).any():
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    assert kept.nbytes == sum(map(len, kept._memory)) <= MOST


def test_memory_that_comes_while_others_are_at_it_goes_to_the_system(kept):
    array = memory.empty(MIB)
    with kept._lock:
        del array
        assert memory.empty(MIB).size == MIB
    assert kept.nbytes == 0


@pytest.mark.parametrize("nbytes", [0, 1, 4_097, 2 * MIB, 5 * MIB + 3])
def test_whole_bytes_are_filled_in_any_order(nbytes):
    wanted = np.random.default_rng(nbytes).integers(0, 256, nbytes, np.uint8)
    cut = nbytes // 3
    whole = memory.Whole(nbytes)
    whole.array[cut:] = wanted[cut:]
    whole.array[:cut] = wanted[:cut]
    found = whole.finish()
    assert type(found) is bytes
    assert found == wanted.tobytes()
    assert memory.joined([wanted[:cut], wanted[cut:cut], wanted[cut:]]) == found


def test_whole_bytes_are_given_out_where_they_were_written():
    whole = memory.Whole(5 * MIB)
    where = address(whole.array)
    whole.append(memoryview(bytes(range(256)) * 20_480))
    found = whole.finish()
    assert address(np.frombuffer(found, np.uint8)) == where
    assert found == bytes(range(256)) * 20_480


def test_more_than_the_whole_is_refused():
    whole = memory.Whole(4)
    whole.append(memoryview(b"abc"))
    with pytest.raises(ValueError, match="broadcast"):
        whole.append(memoryview(b"de"))


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="the system has no huge pages")
def test_large_whole_bytes_are_in_huge_pages_where_the_system_has_them():
    given = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not given.exists() or "[never]" in given.read_text():
        pytest.skip("the system has no huge pages")
    whole = memory.Whole(64 * MIB)
    where = address(whole.array) + 32 * MIB
    [flags] = [flags for first, last, flags in mappings() if first <= where < last]
    assert "hg" in flags


def mappings():
    """All of this process: from, to, and what was advised."""
    first = last = 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if found := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            first, last = (int(end, 16) for end in found.groups())
        elif line.startswith("VmFlags:"):
            yield first, last, line.split()[1:]
