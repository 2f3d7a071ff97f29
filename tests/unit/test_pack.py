"""Objects in memory into shards and back: order, copies, damage, strangers; and what errors tell."""

import io
import itertools
import random
import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from damaging import forged
from naive import shards as naive

import faultset_ray as fs
from faultset_ray.codes.registry import _cached
from faultset_ray.errors import (
    AmbiguousObjectError,
    DigestMismatch,
    InputError,
    InvalidCodeSpec,
    LimitExceeded,
    NotEnoughShards,
    UnsupportedFormat,
)
from faultset_ray.objects.groups import _code
from faultset_ray.shards.digest import granule_digests
from faultset_ray.shards.format import Header, Trailer

CODE = "rs:4+2"


def content_of(size, seed=1):
    return np.random.default_rng(seed).bytes(size)


def flipped(shard, position, bit=0):
    damaged = bytearray(shard)
    damaged[position] ^= 1 << bit
    return bytes(damaged)


@pytest.mark.parametrize("code", ["rs:1+3", "rs:4+2", "xor:3+1", "copy:3", "lrc:6+2+2", "ldpc:20+30"])
@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 4095, 50_001])
def test_sizes(code, size):
    content = content_of(size)
    shards = fs.pack_shards(content, code, stripe_bytes=8192)
    n = fs.codes.get(code).n
    assert len(shards) == n
    assert len({len(shard) for shard in shards}) == 1
    random.Random(size).shuffle(shards)
    assert fs.unpack_shards(shards) == content
    assert fs.unpack_shards(iter(shards)) == content


def test_it_is_the_format_of_shard_files():
    content = content_of(5000)
    shards = fs.pack_shards(content, "xor:3+1", stripe_bytes=960)
    header = Header.unpack(shards[0])
    assert shards == naive.xor_shards(content, 3, header.block_bytes, header.write_id)


def test_every_erasure_pattern():
    content = content_of(9000)
    shards = fs.pack_shards(content, CODE, stripe_bytes=4096)
    for count in range(7):
        for left in itertools.combinations(range(6), count):
            pile = [shards[index] for index in left]
            if count >= 4:
                assert fs.unpack_shards(pile) == content
            else:
                with pytest.raises(NotEnoughShards) as caught:
                    fs.unpack_shards(pile)
                if count:
                    assert (caught.value.have, caught.value.need) == (count, 4)
                    assert caught.value.missing == {i: "missing" for i in range(6) if i not in left}
                    assert Header.unpack(shards[0]).write_id.hex() in caught.value.object_name


def test_rows_of_mere_padding_are_not_needed():
    """What a range of the whole object gives, decoding gives, too: of six rows the last two hold no byte of it."""
    spec, size = "ldpc:6+6,left_degree=3", 200
    content, code = content_of(size), fs.codes.get(spec)
    shards = fs.pack_shards(content, spec)
    spared = 0
    for left in itertools.combinations(range(12), 7):
        pile = [shards[index] for index in left]
        reads = [
            lambda: fs.unpack_shards(pile),  # noqa: B023 - called at once
            lambda: fs.read_range(pile, 0, size),  # noqa: B023
            lambda: decoded_stream(pile),  # noqa: B023
            lambda: decoded_stream([Pipe(shard) for shard in pile]),  # noqa: B023
        ]
        if is_determined(code, left, range(4)):
            assert [read() for read in reads] == [content] * 4
            spared += not is_determined(code, left, range(6))
        else:
            for read in reads:
                with pytest.raises(NotEnoughShards):
                    read()
    assert spared


def is_determined(code, have, wanted):
    try:
        code.reads([index for index in wanted if index not in have], have)
    except NotEnoughShards:
        return False
    return True


class Pipe(io.BytesIO):
    def seekable(self):
        return False


def decoded_stream(readers):
    out = io.BytesIO()
    fs.decode_stream([each if isinstance(each, Pipe) else io.BytesIO(each) for each in readers], out)
    return out.getvalue()


def _what_is_unreadable(tmp_path):
    """Readers of a pile of which nothing says what it is, and why; by position."""
    (tmp_path / "junk").write_bytes(b"junk")
    readers = [str(tmp_path / "absent"), tmp_path, tmp_path / "junk", b"\x89FSR\r\n\x1a\n" + bytes(300)]
    return readers, {
        0: "can't be read: No such file or directory",
        1: "can't be read: Is a directory",
        2: "ends within the header: 4 of 256 bytes at byte 4",
        3: "the header's CRC does not match at byte 252",
    }


@pytest.mark.parametrize(
    "call", [lambda pile: fs.decode_stream(pile, io.BytesIO()), lambda pile: fs.read_range(pile, 0, 1)]
)
def test_what_cannot_be_read_is_told_of_by_its_position(tmp_path, call):
    readers, why = _what_is_unreadable(tmp_path)
    with pytest.raises(NotEnoughShards) as caught:
        call(readers)
    error = caught.value
    assert (error.have, error.need, error.missing, error.unusable) == (0, None, {}, why)
    assert "need 1" not in str(error)
    for position, reason in why.items():
        assert f"{position}: {reason}" in str(error)


def test_what_says_nothing_of_itself_is_told_of_beside_what_is_missing():
    shards = fs.pack_shards(b"hello" * 999, "rs:2+1")
    with pytest.raises(NotEnoughShards) as caught:
        fs.unpack_shards([b"garbage", shards[1]])
    error = caught.value
    assert (error.have, error.need) == (1, 2)
    assert set(error.missing) == {0, 2}
    assert error.unusable == {0: "ends within the header: 7 of 256 bytes at byte 7"}
    assert "unusable at position 0: ends within" in str(error)
    with pytest.raises(NotEnoughShards) as caught:
        fs.unpack_shards([b"garbage", flipped(shards[0], 300), shards[1], flipped(shards[2], 300)])
    error = caught.value
    assert error.unusable.keys() == {0}, "though as many headers as are needed were sound"
    assert error.missing.keys() == {0, 2}
    for call in (lambda pile: fs.read_range(pile, 0, 9), lambda pile: fs.decode_stream(pile, io.BytesIO())):
        with pytest.raises(NotEnoughShards) as caught:
            call([b"garbage", flipped(shards[0], 300), shards[1], flipped(shards[2], 300)])
        assert caught.value.unusable.keys() == {0}
    with pytest.raises(NotEnoughShards) as caught:
        fs.unpack_shards([b"x"] * 1000)
    assert 1 <= len(caught.value.unusable) <= 256, "a pile of very many does not make an error of as many words"


@pytest.mark.parametrize("data", [np.arange(999, dtype=np.float64), bytearray(b"ab" * 99), memoryview(b"xyz")])
def test_buffers_are_bytes(data):
    packed = fs.pack_shards(data, CODE)
    assert fs.unpack_shards(map(bytearray, packed)) == bytes(data)
    assert fs.unpack_shards(np.frombuffer(shard, np.uint8) for shard in packed) == bytes(data)


def test_each_granule_is_made_of_those_that_are_sound_there():
    """All shards corrupt, no two in the same granule of a stripe: everything comes back."""
    content = content_of(4 * 7 * 65_536)
    shards = fs.pack_shards(content, CODE)
    damaged = [flipped(shard, 256 + index * 65_536 + 5) for index, shard in enumerate(shards)]
    assert fs.unpack_shards(damaged) == content
    same = [flipped(shard, 256 + 3 * 65_536 + 5) for shard in shards[:3]]
    with pytest.raises(NotEnoughShards) as caught:
        fs.unpack_shards([*same, *shards[3:]])
    assert caught.value.have == 3
    assert caught.value.missing == dict.fromkeys([0, 1, 2], "corrupt: stripe 0, granule 3")


def test_copies_complete_one_another():
    content = content_of(4 * 3 * 65_536)
    shards = fs.pack_shards(content, CODE)[:4]
    others = [flipped(shard, 300 + 65_536) for shard in shards]
    assert fs.unpack_shards([*(flipped(shard, 300) for shard in shards), *others]) == content
    with pytest.raises(NotEnoughShards):
        fs.unpack_shards(flipped(shard, 300) for shard in shards)


def test_of_several_objects_the_one_that_can_be_decoded():
    one, two = (fs.pack_shards(content_of(5000, seed), CODE) for seed in (1, 2))
    assert fs.unpack_shards([*one[:3], *two[:4]]) == content_of(5000, 2)
    corrupt = flipped(two[0], 300)
    assert fs.unpack_shards([*one[2:], corrupt, *two[1:4]]) == content_of(5000, 1)
    with pytest.raises(AmbiguousObjectError) as caught:
        fs.unpack_shards([*one, *two])
    assert len(caught.value.candidates) == 2
    with pytest.raises(NotEnoughShards) as caught:
        fs.unpack_shards([*one[:3], two[3], two[5]])
    write = Header.unpack(two[0]).write_id.hex()
    assert caught.value.missing == {
        3: f"wrong object: of write {write}",
        4: "missing",
        5: f"wrong object: of write {write}",
    }


def resealed(shard, **changes):
    """A shard whose ends were changed by someone who knows the format."""
    header = Header.unpack(shard)
    trailer = Trailer.unpack(shard[-160:], shard[:256])
    of_header = {name: value for name, value in changes.items() if hasattr(header, name)}
    of_trailer = {name: value for name, value in changes.items() if hasattr(trailer, name)}
    head = replace(header, **of_header).pack()
    return head + shard[256:-160] + replace(trailer, **of_trailer).pack(head)


def test_errors_tell_stale_forged_and_wrong_index():
    shards = fs.pack_shards(content_of(5000), CODE)
    name = bytes(31) + b"n"
    ours = [resealed(shard, object_id=name, generation=7) for shard in shards]
    stale = resealed(ours[3], generation=6, write_id=bytes(16))
    other = resealed(ours[4], write_id=b"\1" * 16, object_id=bytes(32))
    lied = resealed(ours[5], n=7)
    swapped = resealed(ours[2], index=1)
    with pytest.raises(NotEnoughShards) as caught:
        fs.unpack_shards([ours[0], swapped, stale, other, lied])
    assert caught.value.missing == {
        1: "wrong index: stripe 0 is that of shard 2",
        2: "missing",
        3: "stale: of generation 6, not 7",
        4: f"wrong object: of write {'01' * 16}",
        5: "forged: of this write by its id, but its header is another",
    }
    assert (caught.value.have, caught.value.need) == (1, 4)
    assert "stale: of generation 6" in str(caught.value)


def packed_shards(generation):
    return fs.pack_shards(b"x", CODE, name="it", generation=generation)


def streamed_shards(generation):
    shards = [io.BytesIO() for _ in range(6)]
    fs.encode_stream(b"x", shards, CODE, name="it", generation=generation)
    return [shard.getvalue() for shard in shards]


@pytest.mark.parametrize("make", [packed_shards, streamed_shards])
def test_a_generation_makes_older_shards_stale(make):
    old, new = make(3), make((1 << 64) - 1)
    assert {Header.unpack(shard).generation for shard in new} == {(1 << 64) - 1}
    with pytest.raises(NotEnoughShards) as caught:
        fs.unpack_shards([*new[:3], *old[3:5]])
    assert caught.value.missing[4] == f"stale: of generation 3, not {(1 << 64) - 1}"
    for wrong in (-1, 1 << 64, True, 1.5, "1", None):
        with pytest.raises(InputError, match="generation is"):
            make(wrong)


def test_what_another_end_says_does_not_count_while_granules_are_sound():
    """The end that most have is tried first, then the other; the digest of the object decides."""
    content = content_of(5000)
    shards = fs.pack_shards(content, CODE)
    lied = [resealed(shard, size=4999) for shard in shards]
    for count in range(1, 6):
        assert fs.unpack_shards([*shards[:count], *lied[count:]]) == content
    with pytest.raises(DigestMismatch):
        fs.unpack_shards(lied)


def test_a_code_stands_for_its_spec():
    assert fs.unpack_shards(fs.pack_shards(b"x", fs.codes.get(CODE))[2:]) == b"x"


def test_a_forged_shard_is_found_out_and_spared_if_it_can_be():
    content = content_of(5000)
    shards = fs.pack_shards(content, CODE)
    for index in range(6):
        pile = [forged(shard, 9) if index == at else shard for at, shard in enumerate(shards)]
        assert fs.unpack_shards(pile) == content
        if index < 4:
            with pytest.raises(DigestMismatch):
                fs.unpack_shards(pile[:4])
    with pytest.raises(DigestMismatch):
        fs.unpack_shards([forged(shard, 9) for shard in shards])


def test_unknown_codes_are_told_of_as_that():
    shards = [resealed(shard, spec="later:4+2") for shard in fs.pack_shards(content_of(5000), CODE)]
    assert fs.unpack_shards(shards) == content_of(5000), "all data are there"
    with pytest.raises(UnsupportedFormat, match="later:4"):
        fs.unpack_shards(shards[1:])
    lying = [resealed(shard, spec="rs:5+2,matrix=cauchy") for shard in fs.pack_shards(content_of(5000), CODE)]
    with pytest.raises(fs.CodingError, match="its code"):
        fs.unpack_shards(lying[1:])


@pytest.mark.parametrize("shards", [None, 7, b"one shard alone", "text", [b"x", 7], [b"x", "text"], [None]])
def test_what_is_no_bytes(shards):
    with pytest.raises(InputError):
        fs.unpack_shards(shards)


@pytest.mark.parametrize("shards", [[], [b""], [b"\0" * 999], [b"x"] * 9])
def test_what_is_no_shard(shards):
    with pytest.raises(NotEnoughShards) as caught:
        fs.unpack_shards(shards)
    assert caught.value.have == 0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("text", CODE), InputError),
        ((b"x", "rs:0+1"), InvalidCodeSpec),
        ((b"x", 7), InputError),
        ((np.array([object()]), CODE), InputError),
    ],
)
def test_bad_input(arguments, error):
    with pytest.raises(error):
        fs.pack_shards(*arguments)
    with pytest.raises(LimitExceeded):
        fs.pack_shards(b"x", CODE, stripe_bytes=1 << 40)


HOSTILE = [
    {"n": 65_535, "k": 65_535, "block_bytes": 64, "spec": "ldpc:60000+5535"},
    {"n": 65_535, "k": 2, "block_bytes": 1 << 25, "spec": "copy:65535"},
    {"n": 65_535, "k": 1, "block_bytes": 1 << 26, "index": 65_534, "spec": "nothing:1+65534"},
    {"n": 20_000, "k": 2, "block_bytes": 64, "spec": "ldpc:2+19998", "generation": (1 << 64) - 1},
    {"n": 20_000, "k": 1, "block_bytes": 64, "spec": "ldpc:1+19999", "index": 5},
    {"n": 2, "k": 1, "block_bytes": 64, "spec": "ldpc:10000+10000,left_degree=10", "index": 1},
    {"n": 64, "k": 1, "block_bytes": 64, "spec": "ldpc:1+63", "index": 60},
    {"n": 2, "k": 1, "block_bytes": 64, "spec": "rs:128+127,matrix=backblaze", "index": 1},
    {"n": 255, "k": 1, "block_bytes": 64, "spec": "rs:1+254,matrix=jerasure", "index": 254},
    {"n": 2, "k": 1, "block_bytes": 64, "spec": "lrc:125+1+129", "index": 1},
]


@pytest.mark.parametrize("fields", HOSTILE)
@pytest.mark.parametrize("sealed", [True, False])
def test_a_hostile_header_costs_little(fields, sealed):
    header = Header(**{"index": 0, "write_id": bytes(16), **fields})
    shard = header.pack()
    if sealed:
        layout, size = header.layout, header.k * 64
        block = np.zeros(layout.block_len(0, size), np.uint8)
        shard += block.tobytes() + granule_digests(header, 0, block).tobytes()
        assert len(shard) == layout.trailer_offset(size)
        shard += Trailer(size, layout.stripes(size), bytes(32), bytes(32)).pack(shard[:256])
    assert len(shard) < 1 << 20

    def refused():
        _cached.cache_clear()
        _code.cache_clear()
        with pytest.raises(fs.CodingError) as caught:
            fs.unpack_shards([shard])
        assert len(str(caught.value)) < 10_000

    refused()
    seconds = []
    for _ in range(5):
        begun = time.thread_time()
        refused()
        seconds.append(time.thread_time() - begun)
    tracemalloc.start()
    try:
        refused()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert min(seconds) < 0.005
    assert peak < 1 << 20
