"""Streams of every kind into shard streams and back; what they take up; what reaches the other end after damage."""

import asyncio
import hashlib
import io
import itertools
import os
import threading

import numpy as np
import pytest

import faultset_ray as fs
from faultset_ray.errors import AmbiguousObjectError, DigestMismatch, InputError, NotEnoughShards

CODE, N, STRIPE = "rs:4+2", 6, 8192
SIZES = [0, 1, 64, 255, 256, 8191, 8192, 8193, 16_384, 50_001]


def content_of(size, seed=1):
    return np.random.default_rng(seed).bytes(size)


def packed(content, code=CODE):
    return fs.pack_shards(content, code, stripe_bytes=STRIPE)


def chunks(data, sizes=(1, 0, 5000, 63, 20_000)):
    sizes = itertools.cycle(sizes)
    while data:
        size = next(sizes)
        yield data[:size]
        data = data[size:]


async def awaited(data):
    for chunk in chunks(data):
        await asyncio.sleep(0)
        yield chunk


class Unseekable(io.RawIOBase):
    """Gives a few bytes at a time."""

    def __init__(self, data):
        self._file = io.BytesIO(data)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self._file.readinto(memoryview(buffer)[:999])


class OnlyRead:
    def __init__(self, data):
        self._file = io.BytesIO(data)

    def read(self, nbytes):
        return self._file.read(min(nbytes, 777))


class RawRead(OnlyRead, io.RawIOBase):
    """A file that Python takes for a raw one, and that can only ``read``."""


class AwaitedRead(OnlyRead):
    async def read(self, nbytes):
        await asyncio.sleep(0)
        return super().read(nbytes)


class AwaitedWrite(bytearray):
    async def write(self, data):
        await asyncio.sleep(0)
        self.extend(data)


class Short(bytearray):
    """Takes a part, as a raw pipe may."""

    def write(self, data):
        self.extend(data[:1000])
        return min(len(data), 1000)


class Drained(bytearray):
    def write(self, data):
        self.extend(data)

    async def drain(self):
        await asyncio.sleep(0)


def stream_reader(data):
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return reader


READERS = {
    "bytes": bytes,
    "array": lambda data: np.frombuffer(data, np.uint8),
    "file": io.BytesIO,
    "pipe": Unseekable,
    "read": OnlyRead,
    "raw read": RawRead,
    "chunks": chunks,
    "awaited chunks": awaited,
    "awaited read": AwaitedRead,
    "stream reader": stream_reader,
}
WRITERS = {"file": io.BytesIO, "short": Short, "awaited": AwaitedWrite, "drained": Drained}


def written(writer):
    return writer.getvalue() if isinstance(writer, io.BytesIO) else bytes(writer)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("reader", READERS)
def test_every_kind_of_stream(reader, writer):
    content = content_of(50_001)

    async def there_and_back():
        shards = [WRITERS[writer]() for _ in range(N)]
        manifest = await fs.encode_stream_async(READERS[reader](content), shards, CODE, stripe_bytes=STRIPE)
        raw = [written(shard) for shard in shards]
        out = WRITERS[writer]()
        back = await fs.decode_stream_async([READERS[reader](shard) for shard in raw[1:5]], out)
        assert manifest == back
        return manifest, raw, written(out)

    manifest, raw, out = asyncio.run(there_and_back())
    assert out == content
    assert fs.unpack_shards(raw) == content
    assert (manifest.size, manifest.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert {len(shard) for shard in raw} == {manifest.shard_bytes}
    assert manifest.to_dict()["spec"] == "rs:4+2,matrix=cauchy"


@pytest.mark.parametrize("size", SIZES)
def test_sizes_of_unknown_length(size):
    content = content_of(size)
    shards = [io.BytesIO() for _ in range(N)]
    assert fs.encode_stream(Unseekable(content), shards, CODE, stripe_bytes=STRIPE).size == size
    raw = [shard.getvalue() for shard in shards]
    assert fs.unpack_shards(raw[2:]) == content
    for kind in (io.BytesIO, Unseekable):
        for left in ([0, 1, 2, 3], [5, 2, 0, 4, 1], [5, 5, 4, 3, 2]):
            out = io.BytesIO()
            fs.decode_stream([kind(raw[index]) for index in left], out)
            assert out.getvalue() == content


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [io.BytesIO, Unseekable])
def test_damage(size, kind):
    """Two shards spoiled in each way: read around; three: an error, and never the last byte."""
    content = content_of(size)
    raw = packed(content)
    ways = [
        lambda shard: shard[: len(shard) // 2],
        lambda shard: b"",
        lambda shard: bytes(len(shard)),
        lambda shard: shard[:300] + bytes([shard[300] ^ 1]) + shard[301:] if size else b"",
    ]
    for way in ways:
        spoiled = [way(raw[0]), raw[1], way(raw[2]), *raw[3:]]
        out = io.BytesIO()
        fs.decode_stream([kind(shard) for shard in spoiled], out)
        assert out.getvalue() == content
        spoiled[4] = way(raw[4])
        out = io.BytesIO()
        with pytest.raises(NotEnoughShards) as caught:
            fs.decode_stream([kind(shard) for shard in spoiled], out)
        assert len(out.getvalue()) < max(1, size)
        assert content.startswith(out.getvalue())
        assert caught.value.need in (4, 1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [io.BytesIO, Unseekable])
def test_ends_that_are_damaged_cost_nothing_while_one_is_sound(size, kind):
    content = content_of(size)
    raw = packed(content)
    for way in (
        lambda shard: shard[:-1],
        lambda shard: shard + bytes(160),
        lambda shard: shard + shard,
        lambda shard: shard[:-100] + bytes([shard[-100] ^ 1]) + shard[-99:],
        lambda shard: shard[:-160] + shard[:64] + shard[-160:],
    ):
        out = io.BytesIO()
        fs.decode_stream([kind(way(shard)) for shard in raw[:5]] + [kind(raw[5])], out)
        assert out.getvalue() == content
        out = io.BytesIO()
        with pytest.raises(NotEnoughShards):
            fs.decode_stream([kind(way(shard)) for shard in raw], out)
        assert len(out.getvalue()) < max(1, size)
        assert content.startswith(out.getvalue())


def test_the_last_byte_waits_for_the_digest(monkeypatch):
    content = content_of(3 * STRIPE)
    raw = packed(content)
    from faultset_ray.objects import coding

    for kind in (io.BytesIO, Unseekable):
        out = io.BytesIO()
        with monkeypatch.context() as patched:
            patched.setattr(coding, "undecoded", lambda rows, nbytes: [np.zeros(nbytes, np.uint8)])
            with pytest.raises(DigestMismatch):
                fs.decode_stream([kind(shard) for shard in raw], out)
        assert len(out.getvalue()) < len(content)


@pytest.mark.parametrize("kind", [io.BytesIO, Unseekable])
def test_piles(kind):
    one, two = packed(content_of(20_000)), packed(content_of(20_000, 2))

    def decode(*pile, **options):
        out = io.BytesIO()
        fs.decode_stream([kind(shard) for shard in pile], out, **options)
        return out.getvalue()

    assert decode(*one[:3], *two[1:], b"no shard") == content_of(20_000, 2)
    with pytest.raises(AmbiguousObjectError):
        decode(*one, *two)
    with pytest.raises(NotEnoughShards) as caught:
        decode(*one[:3])
    assert (caught.value.have, caught.value.need) == (3, 4)
    spoiled = [shard[:300] + bytes([shard[300] ^ 1]) + shard[301:] for shard in two[:3]]
    assert decode(*one, *spoiled, *two[3:]) == content_of(20_000), "of the other one too little is sound"
    with pytest.raises(NotEnoughShards):
        decode(
            *(shard[:300] + bytes([shard[300] ^ 1]) + shard[301:] for shard in one[:3]), *one[3:], *spoiled, *two[3:]
        )


@pytest.mark.parametrize("kind", [io.BytesIO, Unseekable])
def test_one_of_several_is_named(kind):
    content, other = content_of(20_000), content_of(300, 2)
    outs = [io.BytesIO() for _ in range(N)]
    manifest = fs.encode_stream(content, outs, fs.codes.get(CODE), stripe_bytes=STRIPE, name="é/ü")
    pile = [out.getvalue() for out in outs] + fs.pack_shards(other, CODE, name="other")
    object_id = hashlib.sha256("é/ü".encode()).hexdigest()
    for name in ("é/ü", manifest.write_id, manifest.write_id.upper(), object_id):
        out = io.BytesIO()
        fs.decode_stream([kind(shard) for shard in pile], out, object=name)
        assert out.getvalue() == content == fs.unpack_shards(pile, object=name)
        assert fs.read_range(pile, 5, 500, object=name) == content[5:500]
    assert fs.unpack_shards(pile, object="other") == other
    for call in (
        lambda name: fs.decode_stream([kind(shard) for shard in pile], io.BytesIO(), object=name),
        lambda name: fs.unpack_shards(pile, object=name),
        lambda name: fs.read_range(pile, 0, 1, object=name),
    ):
        with pytest.raises(InputError, match=f"no shard of object 'else'.*{manifest.write_id}"):
            call("else")
        with pytest.raises(AmbiguousObjectError, match=f"{manifest.write_id}.*{object_id}"):
            call(None)
        with pytest.raises(InputError):
            call(7)


@pytest.mark.parametrize("kind", [io.BytesIO, Unseekable])
def test_copies_complete_one_another(kind):
    """Granule by granule, whatever they are read from."""
    content = content_of(2 * 4 * 3 * 65_536)
    shards = fs.pack_shards(content, CODE, stripe_bytes=4 * 3 * 65_536)[:4]

    def flipped(shard, at):
        return shard[:at] + bytes([shard[at] ^ 1]) + shard[at + 1 :]

    pile = [flipped(shard, at) for shard in shards for at in (300, 300 + 65_536)]
    assert fs.unpack_shards(pile) == content
    out = io.BytesIO()
    fs.decode_stream(list(map(kind, pile)), out)
    assert out.getvalue() == content


def test_paths(tmp_path):
    content = content_of(20_000)
    raw = packed(content)
    paths = [tmp_path / f"{index}" for index in range(N)]
    for path, shard in zip(paths, raw, strict=True):
        path.write_bytes(shard)
    out = io.BytesIO()
    fs.decode_stream([tmp_path / "gone", str(paths[1]), *paths[2:], tmp_path], out)
    assert out.getvalue() == content
    out = io.BytesIO()
    fs.decode_stream([*paths[:2], Unseekable(raw[3]), paths[4]], out)
    assert out.getvalue() == content


def test_real_pipes_of_many_shards():
    """All are read and written at the same time, by no more threads than that needs."""
    content = content_of(3_000_000)
    pipes = [os.pipe() for _ in range(24)]
    failed = []

    def produce():
        files = [os.fdopen(write, "wb", buffering=0) for _, write in pipes]
        try:
            fs.encode_stream(Unseekable(content), files, "rs:20+4", stripe_bytes=400_000)
        except Exception as error:  # noqa: BLE001 - told below
            failed.append(error)
        for file in files:
            file.close()

    producer = threading.Thread(target=produce)
    producer.start()
    out = io.BytesIO()
    readers = [os.fdopen(read, "rb", buffering=0) for read, _ in pipes]
    fs.decode_stream(readers, out)
    producer.join()
    for reader in readers:
        reader.close()
    assert not failed
    assert out.getvalue() == content


def test_nothing_is_read_while_nobody_takes():
    """Back-pressure: with the writers held up, no more than what is under way is taken of the reader."""

    async def main():
        taken = 0
        gate = asyncio.Event()

        async def source():
            nonlocal taken
            for _ in range(400):
                taken += 1 << 20
                yield bytes(1 << 20)
                await asyncio.sleep(0)

        class Held:
            async def write(self, data):
                if len(data) > 256:
                    await gate.wait()

        encoding = fs.encode_stream_async(source(), [Held() for _ in range(N)], CODE)
        work = asyncio.ensure_future(encoding)
        seen = [-1, -1, -1]
        while not (taken and seen == [taken] * 3):
            seen = [*seen[1:], taken]
            await asyncio.wait([work], timeout=0.1)
        assert taken <= 160 << 20
        gate.set()
        assert (await work).size == 400 << 20

    asyncio.run(main())


class Noticed:
    """A shard that can be sought in, and tells where it was read."""

    def __init__(self, raw):
        self._file = io.BytesIO(raw)
        self.read_bytes = 0

    def seekable(self):
        return True

    def seek(self, *args):
        return self._file.seek(*args)

    def read(self, nbytes):
        found = self._file.read(nbytes)
        self.read_bytes += len(found)
        return found


@pytest.mark.parametrize("lost", [(), (0,), (1, 3)])
def test_ranges(lost):
    content = content_of(1_200_000)
    shards = fs.pack_shards(content, CODE, stripe_bytes=600_000)
    left = [shard for index, shard in enumerate(shards) if index not in lost]
    rng = np.random.default_rng(3)
    cuts = [(0, 0), (0, 1), (0, len(content)), (len(content),) * 2, (599_999, 600_001)]
    cuts += [tuple(sorted(rng.integers(0, len(content), 2).tolist())) for _ in range(30)]
    for start, stop in cuts:
        assert fs.read_range(left, start, stop) == content[start:stop]


def test_ranges_read_the_granules_that_they_need():
    content = content_of(4 * 20 * 65_536)
    raw = fs.pack_shards(content, CODE)
    ends = 256 + 160
    shards = [Noticed(shard) for shard in raw]
    at = 7 * 65_536 + 100  # in granule 7 of row 0
    assert fs.read_range(shards, at, at + 1000) == content[at : at + 1000]
    assert [shard.read_bytes - ends for shard in shards] == [65_536 + 4, 0, 0, 0, 0, 0]
    shards = [Noticed(shard) for shard in raw[1:]]
    assert fs.read_range(shards, at, at + 1000) == content[at : at + 1000]
    assert sorted(shard.read_bytes - ends for shard in shards) == [0, *[65_536 + 4] * 4]
    corrupt = bytearray(raw[0])
    corrupt[256 + at] ^= 1
    shards = [Noticed(corrupt), *(Noticed(shard) for shard in raw[1:])]
    assert fs.read_range(shards, at, at + 1000) == content[at : at + 1000]
    assert sum(shard.read_bytes - ends for shard in shards) == 5 * (65_536 + 4)


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (3, 2), (0, 101), (101, 101)])
def test_ranges_that_are_not_there(start, stop):
    with pytest.raises(InputError):
        fs.read_range(packed(bytes(100)), start, stop)


@pytest.mark.parametrize(
    "call",
    [
        lambda: fs.encode_stream(b"x", [io.BytesIO()] * 5, CODE),
        lambda: fs.encode_stream(b"x", [None] * 6, CODE),
        lambda: fs.encode_stream(b"x", [io.BytesIO()] * 6, CODE),
        lambda: fs.encode_stream(7, [io.BytesIO() for _ in range(6)], CODE),
        lambda: fs.encode_stream("path", [io.BytesIO() for _ in range(6)], CODE),
        lambda: fs.encode_stream(["text"], [io.BytesIO() for _ in range(6)], CODE),
        lambda: fs.encode_stream(b"x", [io.BytesIO() for _ in range(6)], "rs:0+1"),
        lambda: fs.decode_stream(b"x", io.BytesIO()),
        lambda: fs.decode_stream([7], io.BytesIO()),
        lambda: fs.decode_stream(packed(b"x"), None),
        lambda: fs.read_range([Unseekable(b"x")], 0, 1),
    ],
)
def test_bad_input(call):
    with pytest.raises(InputError):
        call()


def test_a_writer_that_fails_ends_it():
    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(28, "No space left on device")

    for writers in ([io.BytesIO() for _ in range(5)] + [Full()],):
        with pytest.raises(OSError, match="No space"):
            fs.encode_stream(content_of(50_000), writers, CODE, stripe_bytes=STRIPE)
    with pytest.raises(OSError, match="No space"):
        fs.decode_stream(packed(content_of(50_000)), Full())


@pytest.mark.parametrize("reads", [0, 20])
def test_a_reader_that_fails_is_a_lost_shard(reads):
    class Bad(Unseekable):
        count = 0

        def readinto(self, buffer):
            self.count += 1
            if self.count > reads:
                raise OSError(5, "Input/output error")
            return super().readinto(buffer)

    content = content_of(200_000)
    raw = packed(content)
    out = io.BytesIO()
    fs.decode_stream([Bad(raw[0]), *map(Unseekable, raw[1:])], out)
    assert out.getvalue() == content


def test_inside_a_running_loop():
    async def main():
        out = io.BytesIO()
        fs.decode_stream(packed(b"within"), out)
        return out.getvalue()

    assert asyncio.run(main()) == b"within"


def test_an_event_loop_goes_on_meanwhile():
    """A ticker of 1 ms goes on ticking while much is encoded and decoded."""
    piece = content_of(1 << 20)

    async def source():
        for _ in range(128):
            yield piece

    async def main():
        loop = asyncio.get_running_loop()
        ticks = []

        async def ticker():
            while True:
                ticks.append(loop.time())
                await asyncio.sleep(0.001)

        shards = [io.BytesIO() for _ in range(N)]
        ticking = asyncio.ensure_future(ticker())
        await fs.encode_stream_async(source(), shards, CODE)
        out = io.BytesIO()
        await fs.decode_stream_async([Unseekable(shard.getvalue()) for shard in shards[2:]], out)
        ticking.cancel()
        assert out.getvalue() == piece * 128
        return np.diff(ticks)

    gaps = asyncio.run(main())
    assert np.median(gaps) < 0.02
    assert gaps.max() < 1
