import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import shards as naive

from faultset_ray.shards.digest import granule_digests, verify_block
from faultset_ray.shards.format import Header
from faultset_ray.shards.reader import ShardReader
from faultset_ray.shards.writer import ShardWriter


@settings(max_examples=60)
@given(
    size=st.integers(0, 40_000) | st.sampled_from([0, 1, 63, 64, 65, 8320, 16640]),
    k=st.integers(1, 4),
    block_bytes=st.sampled_from([64, 4096, 4160, 8192]),
    draw=st.data(),
)
def test_every_object_comes_back_and_the_file_is_the_oracles(size, k, block_bytes, draw):
    data = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8).tobytes()
    write_id = draw.draw(st.binary(min_size=16, max_size=16))
    expected = naive.xor_shards(data, k, block_bytes, write_id, 4096)
    stripes = naive.data_blocks(data, k, block_bytes)
    index = draw.draw(st.integers(0, k - 1))
    header = Header(index, k, k + 1, block_bytes, write_id, f"xor:{k}+1", granule_bytes=4096)
    order = draw.draw(st.permutations(range(len(stripes)))) if len(stripes) < 50 else range(len(stripes))
    with TemporaryDirectory() as directory:
        path = Path(directory) / "x.shard"
        writer = ShardWriter(path, header)
        for stripe in order:
            block = np.frombuffer(stripes[stripe][index], np.uint8)
            writer.append(stripe, block, granule_digests(header, stripe, block))
        writer.seal(size, len(stripes), hashlib.sha256(data).digest(), durable=False)
        assert path.read_bytes() == expected[index]
        with ShardReader(path) as reader:
            assert reader.header == header
            assert reader.trailer.size == size
            assert list(reader.check()) == []
            for stripe in range(len(stripes)):
                granules = header.layout.granules(len(stripes[stripe][index]))
                first = draw.draw(st.integers(0, granules - 1))
                count = draw.draw(st.integers(1, granules - first))
                block, digests = reader.read(stripe, first, count)
                assert block.tobytes() == stripes[stripe][index][first * 4096 : (first + count) * 4096]
                assert verify_block(header, stripe, block, digests, first) == ()
