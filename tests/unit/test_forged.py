"""One shard that is sound in itself, and was never encoded: found by trial over every path that can try again."""

import asyncio
import io

import numpy as np
import pytest
from damaging import forged

import faultset_ray as fs
from faultset_ray.backend.local import LocalBackend
from faultset_ray.errors import DigestMismatch
from faultset_ray.objects.files import decode_directory
from faultset_ray.objects.repair import repair_directory
from faultset_ray.objects.verify import verify_directory

CONTENT = np.random.default_rng(1).bytes(9000)
SHARDS = fs.pack_shards(CONTENT, "rs:3+1", stripe_bytes=3072)
"""Of three stripes."""
FORGED = [forged(shard, 9) for shard in SHARDS]
LATE = [forged(shard, 9, 2) for shard in SHARDS]


def in_memory(pile, _):
    return fs.unpack_shards(pile)


def streamed(pile, _):
    out = io.BytesIO()
    fs.decode_stream([io.BytesIO(shard) for shard in pile], out)
    return out.getvalue()


def run(work):
    async def main():
        backend = LocalBackend()
        try:
            return await work(backend)
        finally:
            await backend.close()

    return asyncio.run(main())


def written(pile, directory):
    (directory / "pile").mkdir(exist_ok=True)
    for number, shard in enumerate(pile):
        (directory / "pile" / f"{number:03d}.shard").write_bytes(shard)
    return directory / "pile"


def in_files(pile, directory):
    run(lambda backend: decode_directory(backend, written(pile, directory), directory / "out"))
    return (directory / "out").read_bytes()


def to_a_pipe(pile, directory):
    out = io.BytesIO()
    run(lambda backend: decode_directory(backend, written(pile, directory), out))
    return out.getvalue()


PATHS = [in_memory, streamed, in_files, to_a_pipe]


def ranged(pile, _):
    return fs.read_range(pile, 0, 9000)


@pytest.mark.parametrize("path", [*PATHS, ranged])
@pytest.mark.parametrize("index", range(4))
def test_a_forged_copy_hides_no_genuine_one(tmp_path, path, index):
    for bad in (FORGED[index], LATE[index]):
        rest = [shard for at, shard in enumerate(SHARDS) if at != index]
        needed = rest[1:] if index else rest[:2]  # with the genuine copy just enough
        for pile in ([bad, SHARDS[index], *needed], [SHARDS[index], *needed, bad], [bad, bad, SHARDS[index], *needed]):
            assert path(pile, tmp_path) == CONTENT
            assert path([*pile, *rest[:1]], tmp_path) == CONTENT


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("index", range(4))
def test_a_forged_shard_is_spared(tmp_path, path, index):
    pile = [LATE[index] if at == index else shard for at, shard in enumerate(SHARDS)]
    assert path(pile, tmp_path) == CONTENT


@pytest.mark.parametrize("index", range(3))
def test_what_was_written_can_not_be_taken_back(tmp_path, index):
    """A file can."""
    pile = [FORGED[index] if at == index else shard for at, shard in enumerate(SHARDS)]
    assert in_files(pile, tmp_path) == CONTENT
    assert in_memory(pile, tmp_path) == CONTENT
    out = io.BytesIO()
    with pytest.raises(DigestMismatch):
        fs.decode_stream([io.BytesIO(shard) for shard in pile], out)
    assert len(out.getvalue()) < len(CONTENT)


@pytest.mark.parametrize("path", PATHS)
def test_the_suspects_are_named(tmp_path, path):
    with pytest.raises(DigestMismatch, match="forged of shards 0, 1 and 2") as caught:
        path([LATE[0], *SHARDS[1:3]], tmp_path)
    assert caught.value.suspects == [0, 1, 2]
    with pytest.raises(DigestMismatch, match=r"forged of shards 1$") as caught:
        path([SHARDS[0], FORGED[1], LATE[1], SHARDS[2]], tmp_path)
    assert caught.value.suspects == [1]


@pytest.mark.parametrize("bad", [FORGED, LATE])
@pytest.mark.parametrize("index", range(4))
def test_a_forged_file_is_found_and_made_anew(tmp_path, bad, index):
    directory = written([bad[index] if at == index else shard for at, shard in enumerate(SHARDS)], tmp_path)
    report = run(lambda backend: verify_directory(backend, directory))
    if index == 3:  # a parity shard that is not read is not found out
        assert report.damaged == ()
        return
    assert report.failure is None
    assert report.damaged == (index,)
    assert report.shards[index].reason.startswith("forged")
    assert run(lambda backend: repair_directory(backend, directory)).paths.keys() == {index}
    assert [path.read_bytes() for path in sorted(directory.iterdir())] == SHARDS


def test_a_forged_copy_of_a_file_is_told_and_removed(tmp_path):
    directory = written([FORGED[1], *SHARDS], tmp_path)
    report = run(lambda backend: verify_directory(backend, directory))
    assert (report.failure, report.damaged) == (None, ())
    assert [(state.index, state.path.name) for state in report.copies] == [(1, "000.shard")]
    assert run(lambda backend: repair_directory(backend, directory)).removed == (directory / "000.shard",)
    assert [path.read_bytes() for path in sorted(directory.iterdir())] == SHARDS
