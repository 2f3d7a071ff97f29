import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import faultset_ray as fs
from faultset_ray import codes
from faultset_ray.errors import InputError, LimitExceeded, NotEnoughShards, ShardSizeError


@settings(max_examples=80)
@given(st.binary(max_size=200), st.integers(1, 9), st.integers(1, 5), st.data())
def test_bytes_come_back_from_any_k_shards(data, k, m, draw):
    shards = fs.encode_shards(data, k, m)
    assert len(shards) == k + m
    assert {len(shard) for shard in shards} == {-(-len(data) // k)}
    lost = draw.draw(st.lists(st.sampled_from(range(k + m)), unique=True, max_size=m))
    holed = [None if index in lost else shard for index, shard in enumerate(shards)]
    assert fs.decode_shards(holed, k, m, len(data)) == data


def test_arrays():
    data = np.random.default_rng(0).integers(0, 256, (5, 100), dtype=np.uint8)
    parity = fs.encode_rs(data, 3)
    assert parity.shape == (3, 100)
    assert np.array_equal(fs.decode_rs({0: data[0], 4: data[4], 5: parity[0], 6: parity[1], 7: parity[2]}, 5, 3), data)


@given(st.binary(max_size=100), st.integers(1, 20))
def test_split_and_join(data, k):
    rows = codes.split(data, k)
    assert rows.shape == (k, -(-len(data) // k))
    assert codes.join(rows, len(data)) == data
    assert not codes.join(rows, rows.size)[len(data) :].strip(b"\0")


def test_split_does_not_copy_what_fits():
    data = bytes(120)
    assert codes.split(data, 4).base is not None
    assert not codes.split(data, 4).flags.writeable


def test_errors():
    shards = fs.encode_shards(b"hello", 3, 2)
    with pytest.raises(ShardSizeError):
        fs.decode_shards(shards[:4], 3, 2, 5)
    with pytest.raises(ShardSizeError):
        fs.decode_shards([*shards[:4], b""], 3, 2, 5)
    with pytest.raises(ShardSizeError):
        fs.decode_shards(shards, 3, 2, 7)
    with pytest.raises(NotEnoughShards):
        fs.decode_shards([None, None, None, *shards[3:]], 3, 2, 5)
    for size in (True, -1, 5.0):
        with pytest.raises(InputError):
            fs.decode_shards(shards, 3, 2, size)
    with pytest.raises(InputError):
        fs.encode_shards("text", 3, 2)
    for uncounted in (None, iter(shards), 5):
        with pytest.raises(InputError, match="sequence of bytes"):
            fs.decode_shards(uncounted, 3, 2, 5)
    for unmapped in ([np.zeros(4, np.uint8)] * 4, None):
        with pytest.raises(InputError, match="mapping"):
            fs.decode_rs(unmapped, 4, 2)


@pytest.mark.parametrize("data", [b"", b"abc"])
@pytest.mark.parametrize("k", [65_536, 10**12, 10**30])
def test_split_has_a_limit(data, k):
    with pytest.raises(LimitExceeded):
        codes.split(data, k)


def test_join_makes_up_no_bytes():
    with pytest.raises(ShardSizeError):
        codes.join(np.zeros((2, 2), np.uint8), 5)
