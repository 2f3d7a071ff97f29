import numpy as np
import pytest
from naive import shards as naive

from faultset_ray.errors import InputError, ShardSizeError
from faultset_ray.shards.digest import granule_digests, verify_block
from faultset_ray.shards.format import Header

HEADER = Header(2, 4, 7, 16384, bytes(range(16)), "rs:4+3", granule_bytes=4096)
BLOCK = np.random.default_rng(7).integers(0, 256, 3 * 4096 + 64, dtype=np.uint8)


def test_digests_are_those_of_the_oracle():
    digests = granule_digests(HEADER, 5, BLOCK)
    assert digests.shape == (4, 4)
    assert digests.dtype == np.uint8
    assert digests.tobytes() == naive.digests(HEADER.write_id, 2, 5, BLOCK.tobytes(), 4096)


def test_crc32c_of_rfc_3720():
    assert naive.crc32c(bytes(32)) == 0x8A9136AA
    assert naive.crc32c(b"123456789") == 0xE3069283


def test_a_part_has_the_digests_of_the_whole():
    whole = granule_digests(HEADER, 0, BLOCK)
    part = granule_digests(HEADER, 0, BLOCK[2 * 4096 :], first_granule=2)
    assert np.array_equal(part, whole[2:])
    assert verify_block(HEADER, 0, BLOCK[4096 : 3 * 4096], whole[1:3], first_granule=1) == ()


def test_corrupt_granules_are_named_by_their_place_in_the_block():
    digests = granule_digests(HEADER, 0, BLOCK)
    damaged = BLOCK.copy()
    damaged[[4096, 3 * 4096 + 63]] ^= 1
    assert verify_block(HEADER, 0, damaged, digests) == (1, 3)
    assert verify_block(HEADER, 0, damaged[4096:], digests[1:], first_granule=1) == (1, 3)


def test_a_block_that_was_moved_fails_whole():
    digests = granule_digests(HEADER, 0, BLOCK)
    other_write = Header(2, 4, 7, 16384, bytes(16), "rs:4+3", granule_bytes=4096)
    other_index = Header(1, 4, 7, 16384, bytes(range(16)), "rs:4+3", granule_bytes=4096)
    assert verify_block(other_write, 0, BLOCK, digests) == (0, 1, 2, 3)
    assert verify_block(other_index, 0, BLOCK, digests) == (0, 1, 2, 3)
    assert verify_block(HEADER, 1, BLOCK, digests) == (0, 1, 2, 3)
    assert verify_block(HEADER, 0, BLOCK, digests, first_granule=1) == (1, 2, 3, 4)


def test_read_only_blocks_are_fine_and_nothing_is_changed():
    block = BLOCK.copy()
    block.flags.writeable = False
    digests = granule_digests(HEADER, 0, block)
    digests.flags.writeable = False
    assert verify_block(HEADER, 0, block, digests) == ()
    assert np.array_equal(block, BLOCK)


def test_refuses_other_shapes():
    digests = granule_digests(HEADER, 0, BLOCK)
    for block in (BLOCK.astype(np.uint16), BLOCK[::2], BLOCK.reshape(1, -1)):
        with pytest.raises(InputError):
            granule_digests(HEADER, 0, block)
    for stripe in (-1, 1 << 64, True):
        with pytest.raises(InputError):
            granule_digests(HEADER, stripe, BLOCK)
    for wrong in (digests[:3], digests.reshape(-1), digests.astype(np.uint32)):
        with pytest.raises(ShardSizeError):
            verify_block(HEADER, 0, BLOCK, wrong)
