"""Whatever happens to shards: the right bytes, or an error that says why; never wrong bytes, never anything else."""

import io
import random
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive.damage import KINDS, spoil
from running import run as run_on_local

import faultset_ray as fs
from faultset_ray.errors import CodingError, DigestMismatch, NotEnoughShards
from faultset_ray.objects.files import decode_directory
from faultset_ray.shards.format import Header, unpack_sealed

CASES = [
    ("rs:4+2", 1500, 512),
    ("rs:2+2", 100, 1024),
    ("xor:3+1", 700, 4096),
    ("copy:3", 300, 128),
    ("lrc:4+2+2", 900, 512),
    ("ldpc:6+6,left_degree=3", 1000, 512),
]


ANY_K = {fs.codes.get(spec).spec: not spec.startswith(("lrc", "ldpc")) for spec, *_ in CASES}
"""Whether any k shards are enough."""


def versions(code, size, stripe_bytes, seed=0):
    """Three contents and their shards: an object, another, and an older state of the first."""
    rng = random.Random(f"{code} {seed}")
    content, other = rng.randbytes(size), rng.randbytes(size)
    older = content[: size // 2] + other[size // 2 :]
    contents = content, other, older
    names = [("it", 7), ("other", 7), ("it", 6)]
    return contents, [
        fs.pack_shards(data, code, stripe_bytes=stripe_bytes, name=name, generation=generation)
        for data, (name, generation) in zip(contents, names, strict=True)
    ]


def check(seed, contents, sets, counts):
    """One damaged pile; a whole stranger may have come in where too little is left of the object."""
    pile = spoil(random.Random(seed), *sets)
    try:
        found = fs.unpack_shards(pile)
    except CodingError as error:
        outcome, text = error.code, str(error)
    else:
        outcome, text = ("decoded", "stranger", "stranger")[contents.index(found)], ""
    assert len(text) < 20_000
    untouched = set(map(bytes, pile))
    k = Header.unpack(sets[0][0]).k
    whole = [
        at for at, shards in enumerate(sets) if ANY_K[Header.unpack(shards[0]).spec] and len(untouched & {*shards}) >= k
    ]
    if len(whole) > 1:
        assert outcome == "ambiguous_object"
    elif whole and outcome != "ambiguous_object":  # then a stranger that is damaged a little can be decoded too
        assert found == contents[whole[0]], (seed, outcome)
    counts["stale told"] = counts.get("stale told", 0) + ("stale: of generation 6" in text)
    counts[outcome] = counts.get(outcome, 0) + 1


def run(count, seed):
    counts: dict[str, int] = {}
    cases = [versions(*case) for case in (*CASES, *CASES[:4])]  # the quick codes twice
    for number in range(count):
        contents, sets = cases[number % len(cases)]
        check(seed * 1_000_003 + number, contents, sets, counts)
    return counts


def test_a_thousand_damaged_piles():
    counts = run(1000, 1)
    assert sum(counts.values()) - counts["stale told"] == 1000
    assert counts["decoded"] > 300
    assert counts["not_enough_shards"] > 30
    assert counts["stale told"] > 5


class Pipe(io.RawIOBase):
    """Can't be sought in, and gives a little at a time."""

    def __init__(self, data):
        self._file = io.BytesIO(data)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self._file.readinto(memoryview(buffer)[:777])


def streamed(pile, kind):
    out = io.BytesIO()
    fs.decode_stream([kind(shard) for shard in pile], out)
    return out.getvalue()


def in_files(pile, directory):
    for number, shard in enumerate(pile):
        (directory / f"{number:04d}.shard").write_bytes(shard)
    out = io.BytesIO()
    run_on_local(lambda backend: decode_directory(backend, directory, out))
    return out.getvalue()


def outcome(read):
    """The bytes, or the class of the error."""
    try:
        return read()
    except CodingError as error:
        return type(error)


def compare(count, seed, directory):
    """One damaged pile after the other by every path that shards are read by; how often each result came."""
    cases = [versions(*case) for case in CASES]
    counts = {}
    for number in range(count):
        contents, sets = cases[number % len(cases)]
        pile = spoil(random.Random(seed * 1_000_003 + number), *sets)
        place = directory / f"{number}"
        place.mkdir()
        paths = {
            "memory": lambda: fs.unpack_shards(pile),  # noqa: B023 - called at once
            "seekable": lambda: streamed(pile, io.BytesIO),  # noqa: B023
            "pipes": lambda: streamed(pile, Pipe),  # noqa: B023
            "files": lambda: in_files(pile, place),  # noqa: B023
            "range": lambda: fs.read_range(pile, 0, len(contents[0])),  # noqa: B023
        }
        found = {name: outcome(read) for name, read in paths.items()}
        if found["memory"] is DigestMismatch:  # which a range can't check: its granules are sound
            assert found.pop("range") in {*contents, DigestMismatch}  # where it had to choose, it did
        assert len(set(found.values())) == 1, (seed, number, found)
        shutil.rmtree(place)
        one = found["memory"]
        counts[one if isinstance(one, type) else bytes] = counts.get(one if isinstance(one, type) else bytes, 0) + 1
    return counts


def test_all_paths_agree(tmp_path):
    counts = compare(200, 1, tmp_path)
    assert counts[bytes] > 80
    assert counts[NotEnoughShards] > 10


def test_every_kind_does_damage():
    """So that the counts above mean something."""
    _, sets = versions(*CASES[0])
    for kind in set(KINDS):
        changed = [kind(random.Random(seed), sets[0][0], sets[0], sets[1], sets[2]) for seed in range(20)]
        assert any(made != [sets[0][0]] for made in changed), kind.__name__


@pytest.mark.parametrize("part", ["header", "trailer"])
def test_every_bit_of_both_ends(part):
    (content, _, _), (shards, _, _) = versions("rs:2+1", 500, 4096)
    size = len(shards[0])
    for at in range(256) if part == "header" else range(size - 160, size):
        for bit in range(8):
            damaged = bytearray(shards[0])
            damaged[at] ^= 1 << bit
            with pytest.raises(CodingError):
                unpack_sealed(bytes(damaged[:256]), bytes(damaged[-160:]), size)
            assert fs.unpack_shards([damaged, *shards[1:]]) == content
            if part == "trailer":
                assert fs.unpack_shards([damaged, shards[1]]) == content, "the other one tells where it ends"
                with pytest.raises(CodingError):
                    fs.unpack_shards([damaged, damaged])
            else:
                with pytest.raises(CodingError):
                    fs.unpack_shards([damaged, shards[1]])


def parse(raw):
    """The parser takes a header that packs to the same bytes, or says why not."""
    try:
        header = Header.unpack(raw)
    except CodingError:
        return False
    assert header.pack() == raw[:256]
    return True


HEAD = Header(3, 4, 6, 4096, bytes(range(16)), "rs:4+2,matrix=cauchy", 5, bytes(32)).pack()


@settings(max_examples=400)
@given(st.binary(max_size=600))
def test_the_parser_on_anything(raw):
    assert not parse(raw)
    assert not parse(HEAD[:12] + raw)


@settings(max_examples=400)
@given(st.lists(st.tuples(st.integers(0, 251), st.integers(0, 255)), max_size=8))
def test_the_parser_on_headers_with_a_sound_crc(changes):
    from google_crc32c import value as crc32c

    head = bytearray(HEAD[:252])
    for at, byte in changes:
        head[at] = byte
    raw = bytes(head) + crc32c(bytes(head)).to_bytes(4, "little")
    parse(raw)
    with pytest.raises(CodingError):
        fs.unpack_shards([raw + bytes(200)])
