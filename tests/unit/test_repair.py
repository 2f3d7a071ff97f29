"""Lost and damaged shards are made again byte for byte, in their places; or nothing changes."""

import itertools
import os
import shutil

import pytest
from running import run
from unit.test_verify import CONTENT, flip, path_of, shards  # noqa: F401 - a fixture

import faultset_ray as fs
from faultset_ray.errors import NotEnoughShards
from faultset_ray.objects.repair import repair_directory
from faultset_ray.objects.verify import verify_directory
from faultset_ray.shards import writer as writer_module


def repair(directory):
    return run(lambda backend: repair_directory(backend, directory))


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_nothing_to_do(shards):  # noqa: F811
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in shards.iterdir()}
    assert repair(shards).paths == {}
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in shards.iterdir()} == before


WAYS = {
    "lost": lambda path: path.unlink(),
    "a block": lambda path: flip(path, 300),
    "the header": lambda path: flip(path, 100),
    "the trailer": lambda path: flip(path, -100),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:1000]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"more"),
    "empty": lambda path: path.write_bytes(b""),
    "other": lambda path: path.write_bytes(fs.pack_shards(b"other", "rs:4+2")[int(path.name[2:5])]),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("pair", [(0, 1), (2, 5), (4, 5)])
def test_every_damage(shards, way, pair):  # noqa: F811
    before = contents(shards)
    for index in pair:
        WAYS[way](path_of(shards, index))
    done = repair(shards)
    assert done.paths == {index: path_of(shards, index) for index in pair}
    assert done.before.damaged == pair
    assert contents(shards) == before
    assert run(lambda backend: verify_directory(backend, shards)).damaged == ()


@pytest.mark.parametrize("code", ["lrc:4+2+2", "ldpc:8+8,left_degree=3", "xor:3+1", "copy:3"])
@pytest.mark.parametrize("size", [0, 1, 5000])
def test_other_codes_and_sizes(tmp_path, code, size):
    directory = tmp_path / "d"
    directory.mkdir()
    for index, shard in enumerate(fs.pack_shards(CONTENT[:size], code, stripe_bytes=1024)):
        path_of(directory, index).write_bytes(shard)
    before = contents(directory)
    for lost in itertools.islice(sorted(before), 0, None, 2):
        (directory / lost).unlink()
        repair(directory)
        assert contents(directory) == before


def test_granules_of_all_shards_together(shards):  # noqa: F811
    """No shard is sound, no two are corrupt in the same granule."""
    before = contents(shards)
    for index in range(6):
        stripe, granule = divmod(index, 3)
        flip(path_of(shards, index), 256 + stripe * (3 * 65_536 + 12) + granule * 65_536 + 9)
    assert len(repair(shards).paths) == 6
    assert contents(shards) == before


def test_a_renamed_shard_stays_where_it_is(shards):  # noqa: F811
    before = contents(shards)
    path_of(shards, 0).rename(shards / "elsewhere.shard")
    assert repair(shards).paths == {}
    flip(shards / "elsewhere.shard", 300)
    assert repair(shards).paths == {0: shards / "elsewhere.shard"}
    assert (shards / "elsewhere.shard").read_bytes() == before["f.000.shard"]


def test_too_little_left_changes_nothing(shards):  # noqa: F811
    for index in range(3):
        flip(path_of(shards, index), 300)
    before = contents(shards)
    with pytest.raises(NotEnoughShards):
        repair(shards)
    assert contents(shards) == before


@pytest.mark.parametrize(("call", "fails_at"), [("pwritev", 1), ("pwritev", 4), ("fsync", 1), ("fsync", 2)])
def test_a_disk_that_fails_leaves_what_was_there(shards, monkeypatch, call, fails_at):  # noqa: F811
    path_of(shards, 1).unlink()
    flip(path_of(shards, 3), 300)
    before = contents(shards)
    count = itertools.count(1)
    whole = getattr(os, call)

    def failing(*args):
        if next(count) == fails_at:
            raise OSError(28, "No space left on device")
        return whole(*args)

    with monkeypatch.context() as patched:
        patched.setattr(writer_module.os, call, failing)
        with pytest.raises(OSError, match="No space"):
            repair(shards)
    assert contents(shards) == before


def test_links_are_not_followed_to_what_they_name(shards, tmp_path):  # noqa: F811
    """A shard that was a link to a damaged file becomes a file; what it named stays."""
    shutil.move(path_of(shards, 2), tmp_path / "target")
    path_of(shards, 2).symlink_to(tmp_path / "target")
    flip(tmp_path / "target", 300)
    damaged = (tmp_path / "target").read_bytes()
    repair(shards)
    assert not path_of(shards, 2).is_symlink()
    assert (tmp_path / "target").read_bytes() == damaged


def test_a_sound_shard_under_the_name_of_a_lost_one_stays(shards):  # noqa: F811
    sound = path_of(shards, 1).read_bytes()
    path_of(shards, 0).unlink()
    path_of(shards, 1).rename(path_of(shards, 0))
    made = repair(shards).paths
    assert path_of(shards, 0).read_bytes() == sound
    assert made == {0: shards / "f-2.000.shard"}
    assert run(lambda backend: verify_directory(backend, shards)).damaged == ()


@pytest.mark.parametrize(("source", "target"), [(0, 2), (5, 2), (3, 4)])
def test_a_shard_copied_over_another(shards, source, target):  # noqa: F811
    """The lost one takes its place back; of the copied one that under its own name stays."""
    before = contents(shards)
    shutil.copy(path_of(shards, source), path_of(shards, target))
    report = run(lambda backend: verify_directory(backend, shards))
    assert report.shards[source].path == path_of(shards, source)
    assert report.shards[target].path == path_of(shards, target)
    assert report.shards[target].reason == f"wrong index: f.{target:03d}.shard holds shard {source}"
    assert repair(shards).paths == {target: path_of(shards, target)}
    assert contents(shards) == before


def test_a_damaged_shard_copied_over_another(shards):  # noqa: F811
    before = contents(shards)
    shutil.copy(path_of(shards, 0), path_of(shards, 2))
    flip(path_of(shards, 2), 300)
    done = repair(shards)
    assert (done.paths, done.removed) == ({2: path_of(shards, 2)}, ())
    assert contents(shards) == before


def test_two_damaged_shards_one_copied_over_the_other(shards):  # noqa: F811
    shutil.copy(path_of(shards, 0), path_of(shards, 2))
    flip(path_of(shards, 0), 300)
    flip(path_of(shards, 2), 300, 400 + 65_536)
    done = repair(shards)
    assert done.paths == {0: path_of(shards, 0), 2: path_of(shards, 2)}
    assert run(lambda backend: verify_directory(backend, shards)).damaged == ()


def test_what_a_link_names_is_no_further_copy(shards):  # noqa: F811
    """Shard 0 lies in the place of shard 2, and a link under its own name leads there: it is not overwritten."""
    sound = path_of(shards, 0).read_bytes()
    path_of(shards, 0).replace(path_of(shards, 2))
    path_of(shards, 0).symlink_to("f.002.shard")
    assert repair(shards).paths == {2: shards / "f-2.002.shard"}
    assert path_of(shards, 2).read_bytes() == sound
    assert run(lambda backend: verify_directory(backend, shards)).damaged == ()


def test_damage_of_another_object_beside_stays(shards):  # noqa: F811
    """A header that can't be read tells of no object; its name does."""
    write_id = run(lambda backend: verify_directory(backend, shards)).write_id
    for index, shard in enumerate(fs.pack_shards(b"other", "rs:4+2")):
        (shards / f"e.{index:03d}.shard").write_bytes(shard)
    flip(shards / "e.002.shard", 100)
    damaged = (shards / "e.002.shard").read_bytes()
    path_of(shards, 2).unlink()
    done = run(lambda backend: repair_directory(backend, shards, wanted=write_id))
    assert done.before.shards[2].path is None
    assert done.paths == {2: path_of(shards, 2)}
    assert (shards / "e.002.shard").read_bytes() == damaged
