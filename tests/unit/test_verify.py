"""How the shards of a directory are: sound, damaged where, and whether the object would come back."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from damaging import flip
from running import run

import faultset_ray as fs
from faultset_ray.errors import AmbiguousObjectError, DigestMismatch, InputError, NotEnoughShards
from faultset_ray.objects import coding
from faultset_ray.objects.verify import verify_directory

CONTENT = np.random.default_rng(1).bytes(4 * 3 * 65_536 * 2 - 777)


def verify(directory, **options):
    return run(lambda backend: verify_directory(backend, directory, **options))


def path_of(directory, index):
    return directory / f"f.{index:03d}.shard"


@pytest.fixture
def shards(tmp_path):
    """Two stripes of three granules, as 4+2."""
    directory = tmp_path / "d"
    directory.mkdir()
    for index, shard in enumerate(fs.pack_shards(CONTENT, "rs:4+2", stripe_bytes=4 * 3 * 65_536)):
        path_of(directory, index).write_bytes(shard)
    return directory


def test_all_sound(shards):
    before = {path: path.stat().st_mtime_ns for path in shards.iterdir()}
    done = []
    report = verify(shards, progress=lambda *told: done.append(told))
    assert (report.damaged, report.failure, report.size, report.spec) == (
        (),
        None,
        len(CONTENT),
        "rs:4+2,matrix=cauchy",
    )
    assert [(shard.index, shard.path.name) for shard in report.shards] == [(i, f"f.{i:03d}.shard") for i in range(6)]
    assert sum(more for more, _ in done) == len(CONTENT)
    assert {total for _, total in done} == {len(CONTENT)}
    assert {path: path.stat().st_mtime_ns for path in shards.iterdir()} == before


def test_damage_is_located(shards):
    record = 3 * 65_536 + 12
    flip(path_of(shards, 1), 256 + 65_536 + 1, 256 + record + 5)
    path_of(shards, 4).unlink()
    report = verify(shards)
    assert report.damaged == (1, 4)
    assert report.failure is None
    assert report.shards[1].corrupt == [(0, 1), (1, 0)]
    assert report.shards[1].reason == "corrupt: stripe 0, granule 1 and 1 more"
    assert (report.shards[4].path, report.shards[4].reason) == (None, "missing")


def test_what_the_digests_of_granules_do_not_cover(shards):
    flip(path_of(shards, 0), -100)  # the trailer
    report = verify(shards)
    assert report.damaged == (0,)
    assert report.shards[0].reason == "corrupt: the trailer's CRC does not match"


def test_too_much_of_one_granule(shards):
    for index in range(3):
        flip(path_of(shards, index), 300)
    report = verify(shards)
    assert report.damaged == (0, 1, 2)
    assert isinstance(report.failure, NotEnoughShards)
    assert report.failure.missing == dict.fromkeys(range(3), "corrupt: stripe 0, granule 0")
    for index in range(3):
        flip(path_of(shards, index), 300, 300 + index * 65_536)
    assert verify(shards).failure is None


def test_a_copy_is_as_good(shards):
    shutil.copy(path_of(shards, 2), shards / "copy.shard")
    flip(path_of(shards, 2), 300)
    report = verify(shards)
    assert (report.damaged, report.shards[2].path.name) == ((), "copy.shard")


async def zeros(backend, header, rows, nbytes):
    return [np.zeros(nbytes, np.uint8)]


def test_sound_shards_of_other_bytes(shards, monkeypatch):
    monkeypatch.setattr(coding, "data_of", zeros)
    report = verify(shards)
    assert report.damaged == ()
    assert isinstance(report.failure, DigestMismatch)


def test_a_disk_that_can_not_read(shards, monkeypatch):
    from faultset_ray.shards import reader

    whole = reader.os.preadv

    def preadv(descriptor, buffers, offset):
        if Path(f"/proc/self/fd/{descriptor}").readlink().name == "f.003.shard":
            raise OSError(5, "Input/output error")
        return whole(descriptor, buffers, offset)

    monkeypatch.setattr(reader.os, "preadv", preadv)
    report = verify(shards)
    assert (report.damaged, report.failure) == ((3,), None)
    assert report.shards[3].reason == "can't be read: Input/output error"


def test_what_lies_in_the_place_of_another_is_told(shards):
    """By the error too, where too little is left."""
    for index in (1, 2, 3):
        shutil.copy(path_of(shards, 0), path_of(shards, index))
    with pytest.raises(NotEnoughShards) as error:
        verify(shards)
    assert (error.value.have, error.value.need) == (3, 4)
    assert error.value.missing == {index: f"wrong index: f.{index:03d}.shard holds shard 0" for index in (1, 2, 3)}


def test_nothing_to_verify(shards, tmp_path):
    with pytest.raises(InputError):
        verify(tmp_path / "nowhere")
    for index in range(3):
        path_of(shards, index).unlink()
    with pytest.raises(NotEnoughShards):
        verify(shards)
    for directory in (tmp_path / "two",):
        directory.mkdir()
        for name in "ab":
            for index, shard in enumerate(fs.pack_shards(name.encode(), "xor:2+1")):
                (directory / f"{name}.{index:03d}.shard").write_bytes(shard)
        with pytest.raises(AmbiguousObjectError):
            verify(directory)
