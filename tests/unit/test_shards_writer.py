import os
import threading
from pathlib import Path

import numpy as np
import pytest
from naive import shards as naive

from faultset_ray.errors import IncompleteShard, InputError, LimitExceeded, ShardSizeError
from faultset_ray.shards.digest import granule_digests
from faultset_ray.shards.format import Header
from faultset_ray.shards.reader import inspect
from faultset_ray.shards.writer import ShardWriter

WRITE_ID = bytes(range(16))
HEADER = Header(1, 2, 3, 6144, WRITE_ID, "xor:2+1", granule_bytes=4096)
DATA = np.random.default_rng(3).integers(0, 256, 3 * 2 * 6144 + 1000, dtype=np.uint8).tobytes()
FILE = naive.xor_shards(DATA, 2, 6144, WRITE_ID, 4096)[1]
BLOCKS = [np.frombuffer(blocks[1], np.uint8) for blocks in naive.data_blocks(DATA, 2, 6144)]
DIGEST = FILE[-128:-96]


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def append(writer, stripe, block=None):
    block = BLOCKS[stripe] if block is None else block
    writer.append(stripe, block, granule_digests(HEADER, stripe, block))


@pytest.fixture
def writer(tmp_path):
    writer = ShardWriter(tmp_path / "a.shard", HEADER)
    yield writer
    writer.discard()


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]])
def test_any_order_makes_the_same_file(tmp_path, writer, order):
    for stripe in order:
        append(writer, stripe)
    writer.seal(len(DATA), 4, DIGEST)
    assert (tmp_path / "a.shard").read_bytes() == FILE
    assert [path.name for path in tmp_path.iterdir()] == ["a.shard"]


def test_appending_again_changes_nothing(tmp_path, writer):
    for stripe in [0, 0, 3, 1, 3, 0, 2, 2]:
        append(writer, stripe)
    sealed = writer.seal(len(DATA), 4, DIGEST)
    append(writer, 0)
    assert writer.seal(len(DATA), 4, DIGEST) == sealed
    assert (tmp_path / "a.shard").read_bytes() == FILE


def test_appending_other_bytes_is_refused(tmp_path, writer):
    append(writer, 0)
    append(writer, 3)
    for stripe, block in ((0, BLOCKS[1]), (0, BLOCKS[0][:64]), (3, BLOCKS[0])):
        with pytest.raises(InputError, match="other bytes"):
            append(writer, stripe, block)
    append(writer, 1)
    append(writer, 2)
    writer.seal(len(DATA), 4, DIGEST)
    assert (tmp_path / "a.shard").read_bytes() == FILE


def test_until_the_seal_there_is_no_shard(tmp_path, writer):
    for stripe in range(4):
        append(writer, stripe)
    assert not (tmp_path / "a.shard").exists()
    (unsealed,) = tmp_path.iterdir()
    assert "not sealed" in inspect(unsealed).reason


def test_sealing_needs_every_stripe(writer):
    for stripe in (0, 2, 3):
        append(writer, stripe)
    with pytest.raises(IncompleteShard) as caught:
        writer.seal(len(DATA), 4, DIGEST)
    assert (caught.value.have, caught.value.need, caught.value.first_missing) == (3, 4, 1)
    append(writer, 1)
    writer.seal(len(DATA), 4, DIGEST)


@pytest.mark.parametrize(
    ("size", "stripes"),
    [
        (len(DATA), 3),
        (len(DATA) - 1000, 3),
        (len(DATA) + 200, 4),
        (len(DATA) - 900, 4),
        (4 * 2 * 6144, 4),
        (0, 0),
    ],
)
def test_sealing_needs_a_size_that_fits(writer, size, stripes):
    for stripe in range(4):
        append(writer, stripe)
    with pytest.raises(ShardSizeError):
        writer.seal(size, stripes, DIGEST)


def test_full_blocks_do_not_pass_for_a_short_last_one(writer):
    append(writer, 0)
    with pytest.raises(ShardSizeError):
        writer.seal(100, 1, DIGEST)


def test_only_one_block_may_be_short(writer):
    append(writer, 3)
    with pytest.raises(ShardSizeError, match="one short stripe"):
        append(writer, 1, BLOCKS[1][:64])


@pytest.mark.parametrize(
    ("size", "error"),
    [(True, InputError), (-1, InputError), (1.0, InputError), ((1 << 48) + 1, LimitExceeded)],
)
def test_sizes_that_are_none(writer, size, error):
    with pytest.raises(error):
        writer.seal(size, 1, DIGEST)


def test_sealing_again_with_other_values_is_refused(writer):
    for stripe in range(4):
        append(writer, stripe)
    writer.seal(len(DATA), 4, DIGEST)
    with pytest.raises(InputError, match="sealed"):
        writer.seal(len(DATA), 4, bytes(32))


def test_an_object_digest_of_another_length_is_refused(writer):
    for stripe in range(4):
        append(writer, stripe)
    with pytest.raises(InputError):
        writer.seal(len(DATA), 4, b"short")


@pytest.mark.parametrize(
    ("stripe", "block", "digests", "error"),
    [
        (-1, np.zeros(64, np.uint8), np.zeros((1, 4), np.uint8), InputError),
        (True, np.zeros(64, np.uint8), np.zeros((1, 4), np.uint8), InputError),
        (1 << 60, np.zeros(64, np.uint8), np.zeros((1, 4), np.uint8), InputError),
        (0, np.zeros(64, np.uint16), np.zeros((1, 4), np.uint8), InputError),
        (0, np.zeros(128, np.uint8)[::2], np.zeros((1, 4), np.uint8), InputError),
        (0, np.zeros(64, np.uint8), np.zeros(4, np.uint8), InputError),
        (0, np.zeros(0, np.uint8), np.zeros((0, 4), np.uint8), ShardSizeError),
        (0, np.zeros(63, np.uint8), np.zeros((1, 4), np.uint8), ShardSizeError),
        (0, np.zeros(6208, np.uint8), np.zeros((2, 4), np.uint8), ShardSizeError),
        (0, np.zeros(64, np.uint8), np.zeros((2, 4), np.uint8), ShardSizeError),
    ],
)
def test_refuses_what_fits_no_stripe(tmp_path, writer, stripe, block, digests, error):
    with pytest.raises(error):
        writer.append(stripe, block, digests)
    (unsealed,) = tmp_path.iterdir()
    assert unsealed.stat().st_size == 256


def test_discarding_leaves_nothing(tmp_path, writer):
    append(writer, 2)
    assert writer.discard() > 6144
    assert writer.discard() == 0
    assert [path.name for path in tmp_path.iterdir()] == []
    with pytest.raises(IncompleteShard):
        append(writer, 0)
    with pytest.raises(IncompleteShard):
        writer.seal(len(DATA), 4, DIGEST)


def test_discarding_a_sealed_shard_keeps_it(tmp_path, writer):
    for stripe in range(4):
        append(writer, stripe)
    writer.seal(len(DATA), 4, DIGEST)
    assert writer.discard() == 0
    assert (tmp_path / "a.shard").read_bytes() == FILE


def test_releasing_closes_the_file_until_it_is_needed(tmp_path, writer):
    before = open_files()
    for stripe in range(4):
        append(writer, stripe)
        writer.release()
        writer.release()
        assert open_files() == before - 1
    writer.seal(len(DATA), 4, DIGEST)
    assert (tmp_path / "a.shard").read_bytes() == FILE
    assert open_files() == before - 1


def test_two_writers_at_one_place_do_not_mix(tmp_path, writer):
    with pytest.raises(FileExistsError):
        ShardWriter(tmp_path / "a.shard", HEADER)


def test_writes_that_take_only_a_part_are_gone_on_with(tmp_path, writer, monkeypatch):
    whole = os.pwritev

    def part(fd, buffers, offset):
        return whole(fd, [buffers[0][:1000]], offset)

    monkeypatch.setattr(os, "pwritev", part)
    for stripe in range(4):
        append(writer, stripe)
    writer.seal(len(DATA), 4, DIGEST)
    assert (tmp_path / "a.shard").read_bytes() == FILE


def test_many_threads_append_and_seal(tmp_path, writer):
    start = threading.Barrier(8)
    errors = []

    def work(turn):
        try:
            start.wait()
            for stripe in np.random.default_rng(turn).permutation(4):
                append(writer, int(stripe))
            writer.seal(len(DATA), 4, DIGEST)
        except Exception as error:  # noqa: BLE001 - told below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(turn,)) for turn in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert (tmp_path / "a.shard").read_bytes() == FILE
