"""A file into a directory of shard files and back, through every loss that the code bears."""

import asyncio
import collections
import contextlib
import hashlib
import io
import itertools
import os
import shutil
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from running import run

from faultset_ray.errors import (
    AmbiguousObjectError,
    DigestMismatch,
    InputError,
    InvalidCodeSpec,
    LimitExceeded,
    NotEnoughShards,
)
from faultset_ray.objects import coding
from faultset_ray.objects import files as files_module
from faultset_ray.objects.files import decode_directory, encode_file
from faultset_ray.objects.stream import decode_stream
from faultset_ray.shards import reader as reader_module
from faultset_ray.shards import writer as writer_module

CODE = "rs:4+3"


def encode(path, directory, code=CODE, **options):
    return run(lambda backend: encode_file(backend, path, code, directory, **options))


def decode(directory, out):
    return run(lambda backend: decode_directory(backend, directory, out))


def content_of(size, seed=1):
    return np.random.default_rng(seed).bytes(size)


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    """A file of several stripes, and its shards."""
    base = tmp_path_factory.mktemp("encoded")
    path = base / "data.bin"
    path.write_bytes(content_of(90_001))
    encode(path, base / "shards", stripe_bytes=32_768)
    return path, base / "shards"


@pytest.fixture
def copied(encoded, tmp_path):
    """The same, to be damaged."""
    path, shards = encoded
    return path, Path(shutil.copytree(shards, tmp_path / "shards"))


def names(directory):
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize("stripe_bytes", [256, 4096, 1 << 20])
@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 255, 256, 257, 4095, 12_289])
def test_sizes(tmp_path, size, stripe_bytes):
    content = content_of(size)
    (tmp_path / "f").write_bytes(content)
    done = encode(tmp_path / "f", tmp_path / "new" / "dir", stripe_bytes=stripe_bytes)
    digest = hashlib.sha256(content).hexdigest()
    assert (done.size, done.sha256, done.spec) == (size, digest, "rs:4+3,matrix=cauchy")
    assert names(tmp_path / "new/dir") == [path.name for path in done.paths] == [f"f.{i:03d}.shard" for i in range(7)]
    for path in done.paths[1:4]:
        path.unlink()
    back = decode(tmp_path / "new/dir", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == content
    assert (back.size, back.sha256, back.spec) == (size, digest, done.spec)
    assert back.unusable == dict.fromkeys([1, 2, 3], "missing")


def test_every_erasure_pattern(encoded, tmp_path):
    path, shards = encoded
    content = path.read_bytes()
    all_shards = sorted(shards.iterdir())
    assert len(all_shards) == 7
    patterns = [lost for count in range(8) for lost in itertools.combinations(range(7), count)]

    async def each(backend):
        for number, lost in enumerate(patterns):
            directory, out = tmp_path / f"{number}", tmp_path / "out"
            directory.mkdir()
            for index, shard in enumerate(all_shards):
                if index not in lost:
                    (directory / shard.name).symlink_to(shard)
            out.unlink(missing_ok=True)
            if len(lost) <= 3:
                assert (await decode_directory(backend, directory, out)).unusable == dict.fromkeys(lost, "missing")
                assert out.read_bytes() == content
            else:
                with pytest.raises(NotEnoughShards) as caught:
                    await decode_directory(backend, directory, out)
                assert not out.exists()
                if len(lost) < 7:
                    assert (caught.value.have, caught.value.need) == (7 - len(lost), 4)
                    assert caught.value.missing == dict.fromkeys(lost, "missing")

    run(each)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 1 << 40), bit=st.integers(0, 7), shard=st.integers(0, 6))
def test_a_flipped_bit_anywhere_is_read_around(copied, tmp_path, position, bit, shard):
    path, shards = copied
    damaged = shards / f"data.bin.{shard:03d}.shard"
    sound = damaged.read_bytes()
    position %= len(sound)
    try:
        with damaged.open("r+b") as file:
            file.seek(position)
            file.write(bytes([sound[position] ^ 1 << bit]))
        done = decode(shards, tmp_path / "out")
    finally:
        damaged.write_bytes(sound)
    assert (tmp_path / "out").read_bytes() == path.read_bytes()
    assert done.unusable.keys() <= {shard}


def flip(shards, index, position=300):
    path = shards / f"data.bin.{index:03d}.shard"
    damaged = bytearray(path.read_bytes())
    damaged[position] ^= 1
    path.write_bytes(damaged)


def test_damage_that_is_apart_is_read_around_and_too_much_leaves_nothing(copied, tmp_path):
    path, shards = copied
    out = tmp_path / "out"
    out.write_bytes(b"older")
    for index, position in enumerate([300, 9000, -200 - 2000, 300, 300, 9000, 9000]):
        flip(shards, index, position)  # at most three in one stripe
    done = decode(shards, out)
    assert out.read_bytes() == path.read_bytes()
    assert all(why.startswith("corrupt: stripe") for why in done.unusable.values())
    for index in (1, 5):
        flip(shards, index)
    out.write_bytes(b"older")
    (shards / "strange.shard").write_bytes(bytes(5000))
    with pytest.raises(NotEnoughShards) as caught:
        decode(shards, out)
    assert caught.value.missing == dict.fromkeys([0, 1, 3, 4, 5], "corrupt: stripe 0, granule 0")
    [strange] = caught.value.unusable.values()
    assert "strange.shard: " in strange, "what tells of no shard is told too, though enough headers were sound"
    assert names(tmp_path) == ["out", "shards"]
    assert out.read_bytes() == b"older"


def test_a_disk_that_can_not_read_a_shard_has_damaged_that_one(copied, tmp_path, monkeypatch):
    path, shards = copied
    whole = reader_module.os.preadv
    bad = set()

    def preadv(descriptor, buffers, offset):
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        if name.endswith(("001.shard", "002.shard")):
            bad.add(name)
            raise OSError(5, "Input/output error")
        return whole(descriptor, buffers, offset)

    monkeypatch.setattr(reader_module.os, "preadv", preadv)
    done = decode(shards, tmp_path / "out")
    assert len(bad) == 2
    assert (tmp_path / "out").read_bytes() == path.read_bytes()
    assert done.unusable.keys() == {1, 2}
    assert all("can't be read: Input/output error" in why for why in done.unusable.values())


async def zeros(backend, header, rows, nbytes):
    return [np.zeros(nbytes, np.uint8)]


def test_all_is_sound_and_yet_not_what_was_encoded(copied, tmp_path, monkeypatch):
    """The last line of defence: an encoder that digested other bytes than the object's."""
    _, shards = copied
    monkeypatch.setattr(coding, "data_of", zeros)
    with pytest.raises(DigestMismatch):
        decode(shards, tmp_path / "out")
    assert names(tmp_path) == ["shards"]


@pytest.mark.parametrize("code", ["rs:4+3", "rs:2+1", "rs:9+9"])
def test_encoding_again_is_refused_and_changes_nothing(copied, code):
    path, shards = copied
    (shards / "data.bin.004.shard").unlink()
    before = {name: (shards / name).read_bytes() for name in names(shards)}
    with pytest.raises(InputError, match=r"already holds shards of data\.bin \(6, such as data\.bin\.000\.shard\)"):
        encode(path, shards, code)
    assert {name: (shards / name).read_bytes() for name in names(shards)} == before


def test_shards_that_appeared_meanwhile_are_not_replaced(tmp_path, monkeypatch):
    (tmp_path / "f").write_bytes(b"f" * 999)
    other = tmp_path / "d" / "f.003.shard"
    whole = files_module.encode_object

    async def slow(*args):
        found = await whole(*args)
        other.write_text("another's")
        return found

    monkeypatch.setattr(files_module, "encode_object", slow)
    with pytest.raises(InputError, match="already holds shards of f"):
        encode(tmp_path / "f", tmp_path / "d")
    assert (names(tmp_path / "d"), other.read_text()) == (["f.003.shard"], "another's")


def test_other_objects_may_lie_beside(tmp_path):
    for name in ("f", "f.g", "f.001.shard"):
        (tmp_path / name).write_bytes(name.encode() * 99)
        encode(tmp_path / name, tmp_path / "d")
    assert len(names(tmp_path / "d")) == 21
    with pytest.raises(AmbiguousObjectError) as caught:
        decode(tmp_path / "d", tmp_path / "out")
    assert len(caught.value.candidates) == 3
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("older", "newer", "ambiguous"),
    [("rs:4+3", "rs:2+1", True), ("rs:4+3", "rs:4+1", False), ("rs:2+1", "rs:4+3", False)],
)
def test_what_is_left_of_an_older_encode_is_never_mixed_in(tmp_path, older, newer, ambiguous):
    for code, content in ((older, b"old" * 500), (newer, b"new" * 500)):
        (tmp_path / "f").write_bytes(content)
        for path in encode(tmp_path / "f", tmp_path / code, code).paths:
            (tmp_path / "d").mkdir(exist_ok=True)
            path.replace(tmp_path / "d" / path.name)
    if ambiguous:
        with pytest.raises(AmbiguousObjectError):
            decode(tmp_path / "d", tmp_path / "out")
        assert not (tmp_path / "out").exists()
    else:
        decode(tmp_path / "d", tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == b"new" * 500


@pytest.mark.parametrize("undecodable", [(0, 1, 2, 4), (0, 1, 4, 6)])
def test_as_many_shards_as_data_need_not_suffice(tmp_path, undecodable):
    """Of lrc:4+2+2, shard 4 is the sum of 0 and 1: with both it tells nothing."""
    (tmp_path / "a").write_bytes(b"a" * 500)
    (tmp_path / "b").write_bytes(b"b" * 500)
    paths = encode(tmp_path / "a", tmp_path / "d", "lrc:4+2+2").paths
    for index, path in enumerate(paths):
        if index not in undecodable:
            path.rename(tmp_path / path.name)
    with pytest.raises(NotEnoughShards) as caught:
        decode(tmp_path / "d", tmp_path / "out")
    assert (caught.value.have, caught.value.need) == (4, 4)
    encode(tmp_path / "b", tmp_path / "d", "rs:4+3")
    for path in (tmp_path / "d").glob("b.00[0-2].shard"):
        path.unlink()
    decode(tmp_path / "d", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"b" * 500
    with ExitStack() as stack:
        readers = [stack.enter_context(path.open("rb")) for path in (tmp_path / "d").iterdir()]
        for some in (readers, [unseekable(reader) for reader in readers]):
            target = io.BytesIO()
            decode_stream(some, target)
            assert target.getvalue() == b"b" * 500
    back = next(path for path in paths if not path.exists() and paths.index(path) in {3, 5, 7})
    (tmp_path / back.name).rename(back)
    more = next(path for path in paths if not path.exists() and paths.index(path) in {2, 3, 5, 7})
    (tmp_path / more.name).rename(more)
    with pytest.raises(AmbiguousObjectError):
        decode(tmp_path / "d", tmp_path / "out")


def unseekable(file):
    """The same bytes, as from a pipe."""
    return SimpleNamespace(read=io.BytesIO(file.read()).read)


def test_other_files_in_the_directory_do_not_matter(copied, tmp_path):
    path, shards = copied
    (shards / "notes.txt").write_text("not a shard")
    (shards / "data.bin.009.shard").write_text("nor this")
    (shards / "sub.shard").mkdir()
    (shards / "data.bin.000.shard").rename(shards / "renamed.shard")
    assert decode(shards, tmp_path / "out").unusable == {}
    assert (tmp_path / "out").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("fails_at", "call"), [(1, "fsync"), (5, "fsync"), (3, "pwritev"), (12, "pwritev"), (30, "pwritev"), (4, "open")]
)
def test_a_disk_that_fails_while_writing_leaves_what_was_there(encoded, tmp_path, monkeypatch, fails_at, call):
    path, _ = encoded
    (tmp_path / "old").write_bytes(b"old" * 999)
    encode(tmp_path / "old", tmp_path / "d")
    before = {name: (tmp_path / "d" / name).read_bytes() for name in names(tmp_path / "d")}
    shutil.copy(path, tmp_path / "f")
    count = itertools.count(1)
    whole = getattr(os, call)

    def failing(*args, **kwargs):
        if call == "open" and not str(args[0]).startswith(str(tmp_path / "d")):
            return whole(*args, **kwargs)
        if next(count) == fails_at:
            raise OSError(28, "No space left on device")
        return whole(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(writer_module.os, call, failing)
        with pytest.raises(OSError, match="No space left"):
            encode(tmp_path / "f", tmp_path / "d", stripe_bytes=32_768)
    assert next(count) > fails_at
    assert {name: (tmp_path / "d" / name).read_bytes() for name in names(tmp_path / "d")} == before


def test_cancelling_leaves_nothing(encoded, tmp_path):
    path, _ = encoded

    async def cancelled(backend):
        begun = asyncio.Event()
        whole = backend.run

        async def slow(*args, **kwargs):
            begun.set()
            await asyncio.Event().wait()
            return await whole(*args, **kwargs)

        backend.run = slow
        task = asyncio.create_task(encode_file(backend, path, CODE, tmp_path / "d", stripe_bytes=8192))
        await begun.wait()
        assert len(names(tmp_path / "d")) == 7
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(cancelled)
    assert names(tmp_path / "d") == []


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"code": "rs:0+3"}, InvalidCodeSpec),
        ({"code": "parity"}, InvalidCodeSpec),
        ({"path": Path("/nowhere/f")}, InputError),
        ({"path": Path("/")}, InputError),
        ({"stripe_bytes": 0}, InputError),
        ({"stripe_bytes": True}, InputError),
        ({"stripe_bytes": 1 << 40}, LimitExceeded),
    ],
)
def test_bad_input_makes_nothing(tmp_path, arguments, error):
    (tmp_path / "f").write_bytes(b"x")
    given = {"path": tmp_path / "f", "code": CODE, **arguments}
    with pytest.raises(error):
        encode(given.pop("path"), tmp_path / "d", **given)
    assert names(tmp_path) == ["f"]


def test_places_that_are_taken(tmp_path):
    (tmp_path / "f").write_bytes(b"x")
    with pytest.raises(InputError, match="f is no directory"):
        encode(tmp_path / "f", tmp_path / "f")
    (tmp_path / "d" / "f.002.shard").mkdir(parents=True)
    with pytest.raises(InputError, match=r"already holds shards of f \(1, such as f\.002\.shard\)"):
        encode(tmp_path / "f", tmp_path / "d")
    with pytest.raises(InputError, match="is a directory; it is not replaced"):
        encode(tmp_path / "f", tmp_path / "d", force=True)
    assert names(tmp_path / "d") == ["f.002.shard"]


@pytest.mark.parametrize("moves", [0, 1, 6, 7, 8, 13, 14])
def test_a_crash_while_shards_are_replaced_loses_neither(tmp_path, monkeypatch, moves):
    """Whichever move is the last one: one of both is there whole, and named by its id."""
    (tmp_path / "f").write_bytes(b"old")
    encode(tmp_path / "f", tmp_path / "d")
    old = {shard.read_bytes()[80:96] for shard in (tmp_path / "d").iterdir()}
    (tmp_path / "f").write_bytes(b"new")
    move, count = Path.replace, itertools.count(1)

    class Crash(BaseException):
        pass

    def replace(self, target):
        if next(count) > moves:
            raise Crash
        return move(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", replace)
        with contextlib.suppress(Crash):
            encode(tmp_path / "f", tmp_path / "d", force=True)
    writes = collections.Counter(path.read_bytes()[80:96] for path in (tmp_path / "d").glob("*.shard"))
    assert max(writes.values()) == 7
    assert (set(writes) & old != set()) == (moves < 7)
    encode(tmp_path / "f", tmp_path / "d", force=True)
    assert len(names(tmp_path / "d")) == 7


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.write_bytes(b"")])
def test_no_directory_to_decode(tmp_path, make):
    make(tmp_path / "d")
    with pytest.raises(InputError, match="expected the one that holds the shard files"):
        decode(tmp_path / "d", tmp_path / "out")


def test_an_empty_directory(tmp_path):
    (tmp_path / "d").mkdir()
    with pytest.raises(NotEnoughShards):
        decode(tmp_path / "d", tmp_path / "out")
