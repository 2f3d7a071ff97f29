import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import shards as naive

from faultset_ray.errors import InputError, LimitExceeded, ShardSizeError
from faultset_ray.limits import MIB, OBJECT_BYTES_MAX, STRIPE_BYTES_MAX
from faultset_ray.shards.layout import StripeLayout, layout_for, stripe_rows


@given(st.binary(max_size=2000), st.integers(1, 6), st.sampled_from([64, 128, 192]))
def test_cuts_as_the_oracle_does(data, k, block_bytes):
    layout = StripeLayout(k, block_bytes, granule_bytes=4096)
    expected = naive.data_blocks(data, k, block_bytes)
    assert layout.stripes(len(data)) == len(expected)
    for stripe, blocks in enumerate(expected):
        start, stop = layout.span(stripe, len(data))
        length = layout.block_len(stripe, len(data))
        rows = stripe_rows(np.frombuffer(data, np.uint8)[start:stop], k, length)
        assert [row.tobytes() for row in rows] == blocks
    files = naive.xor_shards(data, k, block_bytes, bytes(16), 4096)
    assert {len(file) for file in files} == {layout.file_bytes(len(data))}


@pytest.mark.parametrize(
    ("size", "k", "stripe_bytes", "blocks"),
    [
        (0, 4, MIB, []),
        (1, 4, MIB, [64]),
        (257, 4, MIB, [128]),
        (MIB, 4, MIB, [MIB // 4]),
        (MIB + 1, 4, MIB, [131136, 131072]),
        (10 * MIB, 1, 4 * MIB, [3495296, 3495296, 3495168]),
    ],
)
def test_stripes_are_evenly_filled(size, k, stripe_bytes, blocks):
    layout = layout_for(size, k, k, stripe_bytes)
    assert [layout.block_len(stripe, size) for stripe in range(layout.stripes(size))] == blocks


@given(st.integers(0, OBJECT_BYTES_MAX) | st.none(), st.integers(1, 65_535), st.integers(1, STRIPE_BYTES_MAX))
def test_every_chosen_layout_is_within_the_format(size, k, stripe_bytes):
    layout = layout_for(size, k, k, stripe_bytes)
    assert layout.block_bytes % 64 == 0
    assert layout.block_bytes >= 64
    assert layout.stripe_bytes <= STRIPE_BYTES_MAX
    assert layout.stripe_bytes < stripe_bytes + 128 * k
    if size:
        last = layout.stripes(size) - 1
        assert 64 <= layout.block_len(last, size) <= layout.block_bytes
        assert layout.span(last, size)[1] == size


@given(st.integers(1, 255), st.integers(0, 254))
def test_the_shards_of_a_stripe_are_bounded_by_default(k, m):
    n = min(255, k + m)
    layout = layout_for(None, k, n)
    assert layout.stripe_bytes < 16 * MIB + 128 * k
    assert n * layout.block_bytes < 32 * MIB + 128 * n
    if n <= 2 * k:
        assert layout.stripe_bytes >= 16 * MIB


def test_rows_of_several_stripes_are_not_a_page_apart():
    assert layout_for(None, 4, 6, 16 * MIB).block_bytes == 4 * MIB + 64
    assert layout_for(64 * MIB, 4, 6, 16 * MIB).block_bytes == 4 * MIB + 64
    assert layout_for(None, 4, 6, 64 * MIB).block_bytes == 16 * MIB, "the limit comes first"


def test_rows_are_a_view_where_the_data_fill_them():
    data = np.arange(128, dtype=np.uint8)
    assert np.shares_memory(stripe_rows(data, 2, 64), data)
    assert not np.shares_memory(stripe_rows(data[:127], 2, 64), data)
    with pytest.raises(ShardSizeError):
        stripe_rows(data, 1, 64)


@pytest.mark.parametrize(
    ("size", "k", "stripe_bytes", "error"),
    [
        (-1, 4, MIB, InputError),
        (True, 4, MIB, InputError),
        (1.5, 4, MIB, InputError),
        (1, 0, MIB, InputError),
        (1, True, MIB, InputError),
        (1, 4, 0, InputError),
        (OBJECT_BYTES_MAX + 1, 4, MIB, LimitExceeded),
        (1, 4, STRIPE_BYTES_MAX + 1, LimitExceeded),
        (1, STRIPE_BYTES_MAX // 64 + 1, MIB, LimitExceeded),
    ],
)
def test_refuses_what_is_out_of_bounds(size, k, stripe_bytes, error):
    with pytest.raises(error):
        layout_for(size, k, k, stripe_bytes)
