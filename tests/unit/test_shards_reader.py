import os
from pathlib import Path

import numpy as np
import pytest
from naive import shards as naive

from faultset_ray.errors import CodingError, CorruptShard, InputError
from faultset_ray.shards.digest import verify_block
from faultset_ray.shards.reader import ShardReader, inspect

WRITE_ID = bytes(range(16))
DATA = np.random.default_rng(4).integers(0, 256, 2 * 2 * 4160 + 1000, dtype=np.uint8).tobytes()
FILES = naive.xor_shards(DATA, 2, 4160, WRITE_ID, 4096)
BLOCKS = [blocks[1] for blocks in naive.data_blocks(DATA, 2, 4160)]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.shard"
    path.write_bytes(FILES[1])
    return path


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def damage(path):
    """What a full check finds: a typed error, or the corrupt granules."""
    try:
        with ShardReader(path) as reader:
            return list(reader.check())
    except CodingError as error:
        return error


def test_reads_what_was_written(path):
    with ShardReader(path) as reader:
        assert (reader.header.index, reader.header.k, reader.header.n) == (1, 2, 3)
        assert (reader.trailer.size, reader.trailer.stripes) == (len(DATA), 3)
        for stripe, expected in enumerate(BLOCKS):
            block, digests = reader.read(stripe)
            assert block.tobytes() == expected
            assert verify_block(reader.header, stripe, block, digests) == ()
        assert list(reader.check()) == []


@pytest.mark.parametrize(("first", "count", "span"), [(0, 1, (0, 4096)), (1, 1, (4096, 4160)), (1, None, (4096, 4160))])
def test_reads_whole_granules_of_a_block(path, first, count, span):
    with ShardReader(path) as reader:
        block, digests = reader.read(1, first, count)
        assert block.tobytes() == BLOCKS[1][slice(*span)]
        assert verify_block(reader.header, 1, block, digests, first) == ()


@pytest.mark.parametrize(
    ("stripe", "first", "count"),
    [(3, 0, None), (-1, 0, None), (True, 0, None), (0, 2, None), (0, -1, 1), (0, 0, 0), (0, 0, 3)],
)
def test_refuses_what_is_not_there(path, stripe, first, count):
    with ShardReader(path) as reader, pytest.raises(InputError):
        reader.read(stripe, first, count)


def test_every_flipped_byte_is_found_where_it_is(path):
    """Each byte of a small shard, with a different bit each."""
    whole = FILES[1]
    layout = ShardReader(path).layout
    granule_of = {}
    for stripe, block in enumerate(BLOCKS):
        at = layout.offset(stripe)
        for byte in range(len(block)):
            granule_of[at + byte] = (stripe, byte // 4096)
        for byte in range(layout.granules(len(block)) * 4):
            granule_of[at + len(block) + byte] = (stripe, byte // 4)
    with path.open("r+b", buffering=0) as file:
        for at, byte in enumerate(whole):
            os.pwrite(file.fileno(), bytes([byte ^ 1 << at % 8]), at)
            found = damage(path)
            if at in granule_of:
                assert found == [granule_of[at]], at
            else:
                assert isinstance(found, CorruptShard), at
            os.pwrite(file.fileno(), bytes([byte]), at)
    assert damage(path) == []


def test_every_shorter_file_is_refused(path):
    for length in range(len(FILES[1]) - 1, -1, -1):
        os.truncate(path, length)
        assert isinstance(damage(path), CorruptShard), length


@pytest.mark.parametrize("more", [b"\0", b"\0" * 64, b"\0" * 4164, FILES[1][-160:], FILES[1]])
def test_a_longer_file_is_refused(path, more):
    path.write_bytes(FILES[1] + more)
    assert isinstance(damage(path), CorruptShard)


def test_parts_of_other_shards_are_found(path):
    """Sound in themselves, but not in this place."""
    this, other = FILES[1], FILES[2]
    newer = naive.xor_shards(DATA, 2, 4160, bytes(16), 4096)[1]
    record = 4160 + 8
    first, second = slice(256, 256 + record), slice(256 + record, 256 + 2 * record)
    for mixed, found in [
        (this[:256] + other[first] + this[256 + record :], [(0, 0), (0, 1)]),
        (this[:256] + newer[first] + this[256 + record :], [(0, 0), (0, 1)]),
        (this[:256] + this[second] + this[first] + this[256 + 2 * record :], [(0, 0), (0, 1), (1, 0), (1, 1)]),
    ]:
        path.write_bytes(mixed)
        assert damage(path) == found
    for mixed in (other[:256] + this[256:], this[:-160] + other[-160:], this[:-160] + newer[-160:]):
        path.write_bytes(mixed)
        assert isinstance(damage(path), CorruptShard)


def test_another_sound_table_is_not_the_one_that_was_sealed(path):
    """A whole stripe rewritten with fitting digests: only the table digest tells."""
    block = bytes(4160)
    record = block + naive.digests(WRITE_ID, 1, 0, block, 4096)
    path.write_bytes(FILES[1][:256] + record + FILES[1][256 + len(record) :])
    found = damage(path)
    assert isinstance(found, CorruptShard)
    assert "table" in found.reason


def test_a_file_cut_while_it_is_read(path):
    with ShardReader(path) as reader:
        os.truncate(path, 5000)
        with pytest.raises(CorruptShard, match="shorter"):
            reader.read(1)


def test_what_is_no_file_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.shard")
    for path in (tmp_path, tmp_path / "pipe.shard"):
        with pytest.raises(CorruptShard, match="regular"):
            ShardReader(path)
        assert inspect(path).reason == "is not a regular file"


def test_a_link_is_followed_only_if_asked(tmp_path, path):
    link = tmp_path / "link.shard"
    link.symlink_to(path)
    assert inspect(link).reason == ""
    with pytest.raises(OSError, match="symbolic"):
        ShardReader(link, follow=False)


def test_inspecting_tells_why(path):
    assert inspect(path).trailer.size == len(DATA)
    path.write_bytes(FILES[1][:-1])
    unsealed = inspect(path)
    assert unsealed.header.index == 1
    assert unsealed.trailer is None
    assert unsealed.reason.startswith("has no trailer")
    path.write_bytes(b"hello")
    assert inspect(path).header is None


def test_files_are_closed(path):
    before = open_files()
    reader = ShardReader(path)
    assert open_files() == before + 1
    del reader
    assert open_files() == before
    path.write_bytes(b"broken")
    damage(path)
    assert open_files() == before
