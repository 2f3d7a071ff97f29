import time
import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from naive import shards as naive

from faultset_ray.errors import CodingError, CorruptShard, InputError, UnsupportedFormat
from faultset_ray.shards.format import Header, Trailer, unpack_sealed

WRITE_ID = bytes(range(16))
HEADER = Header(2, 4, 7, 6144, WRITE_ID, "rs:4+3", generation=9, object_id=b"\x11" * 32, granule_bytes=4096)
PACKED = HEADER.pack()
SIZE = 2 * 4 * 6144 - 100
TRAILER = Trailer(SIZE, 2, b"\x22" * 32, b"\x33" * 32)
FILE_BYTES = HEADER.layout.file_bytes(SIZE)


def resealed(raw: bytes, at: int, new: bytes) -> bytes:
    """A header with some bytes replaced and a CRC that fits them."""
    body = raw[:at] + new + raw[at + len(new) : 252]
    return body + naive.u(naive.crc32c(body), 4)


def resealed_trailer(at: int, new: bytes, head: bytes = PACKED) -> bytes:
    raw = TRAILER.pack(head)
    body = raw[:at] + new + raw[at + len(new) : 156]
    return body + naive.u(naive.crc32c(head[:252] + body), 4)


def test_packs_as_the_oracle_does():
    assert naive.header(2, 4, 7, 6144, WRITE_ID, "rs:4+3", 9, b"\x11" * 32, 4096) == PACKED
    assert naive.trailer(PACKED, SIZE, 2, b"\x22" * 32, b"")[:64] == TRAILER.pack(PACKED)[:64]


def test_comes_back():
    assert Header.unpack(PACKED + b"and more") == HEADER
    assert unpack_sealed(PACKED, TRAILER.pack(PACKED), FILE_BYTES) == (HEADER, TRAILER)


def test_every_flipped_bit_of_a_header_is_found():
    for bit in range(256 * 8):
        raw = bytearray(PACKED)
        raw[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptShard) as caught:
            Header.unpack(bytes(raw), "x.shard")
        assert caught.value.what == "x.shard"
        assert caught.value.offset in {0, 252}


def test_every_flipped_bit_of_a_trailer_is_found():
    for bit in range(160 * 8):
        raw = bytearray(TRAILER.pack(PACKED))
        raw[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptShard):
            unpack_sealed(PACKED, bytes(raw), FILE_BYTES)


def test_a_trailer_fits_no_other_header():
    other = replace(HEADER, index=3).pack()
    with pytest.raises(CorruptShard, match="CRC"):
        unpack_sealed(other, TRAILER.pack(PACKED), FILE_BYTES)


@pytest.mark.parametrize("length", [0, 1, 255])
def test_a_short_header_is_named(length):
    with pytest.raises(CorruptShard, match=f"{length} of 256") as caught:
        Header.unpack(PACKED[:length])
    assert caught.value.offset == length


@pytest.mark.parametrize(
    ("at", "new", "field", "found", "known"),
    [
        (8, naive.u(2, 2), "shard format", "2", "1"),
        (12, naive.u(9, 1), "granule digest kind", "9", "1 = crc32c"),
        (13, naive.u(3, 1), "object digest kind", "3", "1 = sha256"),
        (96, b"\xab" * 16, "MAC key", "ab" * 16, "no MAC"),
    ],
)
def test_what_a_later_version_may_bring_is_refused_by_name(at, new, field, found, known):
    with pytest.raises(UnsupportedFormat) as caught:
        Header.unpack(resealed(PACKED, at, new))
    assert (caught.value.field, caught.value.found, caught.value.known) == (field, found, known)


@pytest.mark.parametrize(
    ("at", "new", "offset"),
    [
        (10, naive.u(255, 2), 10),
        (14, b"\1", 176),
        (36, b"\1", 176),
        (251, b"\1", 176),
        (16, naive.u(7, 4), 16),
        (20, naive.u(0, 4), 20),
        (20, naive.u(8, 4), 20),
        (24, naive.u(0, 4), 24),
        (24, naive.u(65_536, 4), 24),
        (28, naive.u(0, 4), 28),
        (28, naive.u(6145, 4), 28),
        (28, naive.u(0xFFFFFFC0, 4), 28),
        (32, naive.u(0, 4), 32),
        (32, naive.u(2048, 4), 32),
        (32, naive.u(4097, 4), 32),
        (32, naive.u(1 << 31, 4), 32),
        (112, naive.u(0, 1), 112),
        (112, naive.u(5, 1), 112),
        (112, naive.u(64, 1), 112),
        (112, naive.u(255, 1), 112),
        (113, b"\xff", 112),
        (113, b" ", 112),
    ],
)
def test_a_sound_crc_saves_no_bad_field(at, new, offset):
    with pytest.raises(CorruptShard) as caught:
        Header.unpack(resealed(PACKED, at, new))
    assert caught.value.offset == offset


@pytest.mark.parametrize(
    ("at", "new", "file_bytes"),
    [
        (8, naive.u((1 << 48) + 1, 8), FILE_BYTES),
        (8, naive.u((1 << 64) - 1, 8), FILE_BYTES),
        (8, naive.u(SIZE - 3000, 8), FILE_BYTES),
        (16, naive.u(3, 8), FILE_BYTES),
        (24, b"\1", FILE_BYTES),
        (96, b"\1", FILE_BYTES),
        (155, b"\1", FILE_BYTES),
        (8, naive.u(SIZE, 8), FILE_BYTES + 1),
        (8, naive.u(SIZE, 8), FILE_BYTES - 1),
        (8, naive.u(SIZE, 8), 300),
    ],
)
def test_a_trailer_must_agree_with_header_and_length(at, new, file_bytes):
    with pytest.raises(CorruptShard):
        unpack_sealed(PACKED, resealed_trailer(at, new), file_bytes)


@pytest.mark.parametrize(
    "change",
    [
        {"index": 7},
        {"index": -1},
        {"index": True},
        {"k": 0},
        {"k": 8},
        {"n": 65_536},
        {"block_bytes": 100},
        {"block_bytes": 32 << 20},
        {"granule_bytes": 1000},
        {"spec": ""},
        {"spec": "x" * 64},
        {"spec": "rs:4+3 "},
        {"spec": "rs:4+é"},
        {"generation": -1},
        {"generation": 1 << 64},
        {"write_id": b"short"},
        {"object_id": b""},
    ],
)
def test_packs_only_what_it_would_read(change):
    with pytest.raises(InputError):
        replace(HEADER, **change).pack()


@pytest.mark.parametrize("change", [{"granule_digest": 2}, {"object_digest": 0}, {"key_id": b"k" * 16}])
def test_packs_no_kind_that_it_does_not_know(change):
    with pytest.raises(UnsupportedFormat):
        replace(HEADER, **change).pack()


hostile_field = st.sampled_from(range(8, 252)).flatmap(
    lambda at: st.tuples(st.just(at), st.binary(min_size=1, max_size=252 - at))
)


@settings(max_examples=400)
@given(st.lists(hostile_field, max_size=4), st.binary(max_size=160), st.integers(0, 1 << 62))
@example([(28, b"\xff" * 8)], b"", 0)
def test_hostile_ends_cost_little_and_raise_only_our_errors(changes, tail, file_bytes):
    head = PACKED
    for at, new in changes:
        head = resealed(head, at, new)
    tail = TRAILER.pack(head)[: 160 - len(tail)] + tail
    tail = tail[:156] + naive.u(naive.crc32c(head[:252] + tail[:156]), 4)
    costs_little(head, tail, file_bytes)
    assert isinstance(costs_little(head, tail[:100], file_bytes), CodingError)


def costs_little(head, tail, file_bytes):
    """The error, if any; the best of three, since the machine has other things to do."""
    seconds, peaks = [], []
    for _ in range(3):
        error = None
        tracemalloc.start()
        started = time.process_time()
        try:
            unpack_sealed(head, tail, file_bytes)
        except CodingError as caught:
            error = caught
        seconds.append(time.process_time() - started)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert min(peaks) < 1 << 20
    assert min(seconds) < 0.005
    return error
