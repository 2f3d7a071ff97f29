"""Shards written by the first version: every later one reads them, and writes the same bytes."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from naive import shards as naive

from faultset_ray.shards.digest import granule_digests, verify_block
from faultset_ray.shards.format import Header
from faultset_ray.shards.reader import ShardReader
from faultset_ray.shards.writer import ShardWriter

GOLDEN = Path(__file__).parent / "shards"
TEXT = b"".join(b"line %06d of an object that is cut into stripes\n" % line for line in range(300))
OBJECT_ID = hashlib.sha256("ledger/0001 ünïcode".encode()).digest()
SPEC = "xor:2+1"

# (name, object, header): two stripes of which the last is short, blocks of one and a half granules; and no bytes at all.
CASES = [
    (
        f"v1-text.{index:03d}.shard",
        TEXT,
        Header(index, 2, 3, 6144, bytes(range(16)), SPEC, (3 << 32) | 7, OBJECT_ID, granule_bytes=4096),
    )
    for index in range(3)
] + [("v1-empty.000.shard", b"", Header(0, 2, 3, 64, bytes(range(16, 32)), SPEC))]


def blocks_of(data: bytes, header: Header) -> list[bytes]:
    stripes = naive.data_blocks(data, header.k, header.block_bytes)
    return [[*blocks, naive.xor(blocks)][header.index] for blocks in stripes]


@pytest.mark.parametrize(("name", "data", "header"), CASES, ids=[case[0] for case in CASES])
def test_is_read(name, data, header):
    with ShardReader(GOLDEN / name) as reader:
        assert reader.header == header
        assert reader.trailer.object_digest == hashlib.sha256(data).digest()
        assert reader.trailer.size == len(data)
        assert list(reader.check()) == []
        read = [reader.read(stripe) for stripe in range(reader.trailer.stripes)]
    assert [block.tobytes() for block, _ in read] == blocks_of(data, header)
    assert all(verify_block(header, stripe, *pair) == () for stripe, pair in enumerate(read))


@pytest.mark.parametrize(("name", "data", "header"), CASES, ids=[case[0] for case in CASES])
def test_is_written(tmp_path, name, data, header):
    writer = ShardWriter(tmp_path / name, header)
    blocks = blocks_of(data, header)
    for stripe, raw in enumerate(blocks):
        block = np.frombuffer(raw, np.uint8)
        writer.append(stripe, block, granule_digests(header, stripe, block))
    writer.seal(len(data), len(blocks), hashlib.sha256(data).digest())
    assert (tmp_path / name).read_bytes() == (GOLDEN / name).read_bytes()


@pytest.mark.parametrize(("name", "data", "header"), CASES, ids=[case[0] for case in CASES])
def test_the_oracle_writes_it_too(name, data, header):
    head = naive.header(
        header.index,
        header.k,
        header.n,
        header.block_bytes,
        header.write_id,
        header.spec,
        header.generation,
        header.object_id,
        header.granule_bytes,
    )
    digest = hashlib.sha256(data).digest()
    assert naive.shard(head, blocks_of(data, header), len(data), digest) == (GOLDEN / name).read_bytes()


def test_the_object_of_the_first_version_comes_back():
    with ShardReader(GOLDEN / "v1-text.000.shard") as zero, ShardReader(GOLDEN / "v1-text.002.shard") as parity:
        rows = [
            (zero.read(stripe)[0], zero.read(stripe)[0] ^ parity.read(stripe)[0])
            for stripe in range(zero.trailer.stripes)
        ]
    data = b"".join(row.tobytes() for pair in rows for row in pair)[: len(TEXT)]
    assert data == TEXT
