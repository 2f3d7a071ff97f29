import os
from pathlib import Path

import pytest
from naive import shards as naive

from faultset_ray.errors import AmbiguousObjectError, InputError, NotEnoughShards
from faultset_ray.objects.groups import candidates, object_id_of, only
from faultset_ray.shards.directory import scan, shard_path

ONE = naive.xor_shards(b"one" * 500, 3, 320, b"1" * 16)
TWO = naive.xor_shards(b"two" * 500, 3, 320, b"2" * 16)


def choose(pile, what="", wanted=None):
    """The first of each family, as if it could be decoded."""
    return only([family[0] for family in candidates(pile, what, wanted)], [])


def lay(directory: Path, files: dict[str, bytes]) -> Path:
    for name, raw in files.items():
        (directory / name).write_bytes(raw)
    return directory


def named(shards: list[bytes], base: str = "a", skip: tuple[int, ...] = ()) -> dict[str, bytes]:
    return {f"{base}.{index:03d}.shard": raw for index, raw in enumerate(shards) if index not in skip}


def test_names():
    assert shard_path(Path("d"), "f.bin", 7) == Path("d/f.bin.007.shard")
    assert shard_path(Path("d"), "f.bin", 1234) == Path("d/f.bin.1234.shard")


def test_one_whole_write(tmp_path):
    group = choose(scan(lay(tmp_path, named(ONE))))
    assert group.header.write_id == b"1" * 16
    assert group.trailer.size == 1500
    assert group.members == {index: [index] for index in range(4)}
    assert group.missing() == {}


def test_names_do_not_count(tmp_path):
    group = choose(scan(lay(tmp_path, {"x.shard": ONE[2], "y.000.shard": ONE[0], "z.000.shard": ONE[1], "n.txt": b""})))
    assert group.members == {2: [0], 0: [1], 1: [2]}
    assert group.missing() == {3: "missing"}


def test_the_only_decodable_write_is_taken(tmp_path):
    lay(tmp_path, named(ONE, skip=(1,)) | named(TWO, "b", skip=(0, 1)))
    group = choose(scan(tmp_path))
    assert group.header.write_id == b"1" * 16
    assert group.missing() == {1: "missing"}


def test_two_decodable_writes_are_ambiguous(tmp_path):
    lay(tmp_path, named(ONE, skip=(1,)) | named(TWO, "b"))
    with pytest.raises(AmbiguousObjectError) as caught:
        choose(scan(tmp_path))
    assert sorted(caught.value.candidates) == [f"{byte * 16} (xor:3+1, 1,500 bytes)" for byte in ("31", "32")]


def test_a_write_id_alone_joins_nothing(tmp_path):
    """The same write id under another header: forged, or a bug; never mixed."""
    forged = naive.xor_shards(b"forged" * 100, 3, 384, b"1" * 16)
    lay(tmp_path, named(ONE[:2]) | named(forged, "b", skip=(0, 1)))
    with pytest.raises(NotEnoughShards) as caught:
        choose(scan(tmp_path))
    assert (caught.value.have, caught.value.need) == (2, 3)
    assert caught.value.missing[2] == "forged: of this write by its id, but its header is another"


def test_ends_that_disagree_are_of_one_family(tmp_path):
    """What most shards say first; the granules of all of them are there for either."""
    forged = naive.xor_shards(b"one" * 500 + b"!", 3, 320, b"1" * 16)
    (family,) = candidates(scan(lay(tmp_path, named(ONE, skip=(3,)) | named(forged, skip=(0, 1, 2)))))
    assert [group.trailer.size for group in family] == [1500, 1501]
    assert [set(group.members) for group in family] == [{0, 1, 2, 3}] * 2


@pytest.mark.parametrize("damage", [lambda raw: raw[:-1], lambda raw: raw + b"x", lambda raw: raw[:-9] + bytes(9)])
def test_an_end_that_is_damaged_costs_no_granule(tmp_path, damage):
    group = choose(scan(lay(tmp_path, named([ONE[0], *map(damage, ONE[1:])]))))
    assert set(group.members) == {0, 1, 2, 3}
    with pytest.raises(NotEnoughShards):  # one must tell where the object ends
        choose(scan(lay(tmp_path, named(list(map(damage, ONE))))))


def test_one_of_several_is_named(tmp_path):
    files = scan(lay(tmp_path, named(ONE) | named(TWO, "b") | named(ONE[:1], "c")))
    assert choose(files, wanted="31" * 16).header.write_id == b"1" * 16
    assert choose(files, wanted=("32" * 16).upper()).header.write_id == b"2" * 16
    with pytest.raises(InputError, match="no shard of object 'x'.*" + "31" * 16):
        choose(files, wanted="x")
    with pytest.raises(InputError, match="object is int"):
        choose(files, wanted=7)


def test_names_are_hashed():
    assert object_id_of(None) == bytes(32)
    assert object_id_of("a").hex() == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"


def test_copies_count_once(tmp_path):
    lay(tmp_path, {"a.shard": ONE[0], "b.shard": ONE[0], "c.shard": ONE[0], "d.shard": ONE[1]})
    with pytest.raises(NotEnoughShards) as caught:
        choose(scan(tmp_path), "DIR")
    assert (caught.value.have, caught.value.need) == (2, 3)
    assert caught.value.object_name == f"DIR: write {'31' * 16}"
    assert caught.value.missing == {2: "missing", 3: "missing"}


def test_all_copies_are_kept(tmp_path):
    group = choose(scan(lay(tmp_path, named(ONE) | {"0.shard": ONE[2], "z.shard": ONE[2]})))
    assert group.members == {0: [1], 1: [2], 2: [0, 3, 5], 3: [4]}


def test_reasons_are_told_per_shard(tmp_path):
    flipped = bytearray(ONE[2])
    flipped[100] ^= 1
    lay(tmp_path, {"a.000.shard": b"x" * 600, "a.001.shard": ONE[1], "a.002.shard": bytes(flipped)})
    with pytest.raises(NotEnoughShards) as caught:
        choose(scan(tmp_path))
    missing = caught.value.missing
    assert caught.value.have == 1
    assert missing[0].startswith("is not a shard file")
    assert missing[2].startswith("the header's CRC does not match")
    assert missing[3] == "missing"


def test_a_damaged_shard_of_another_write_is_told_of_as_that(tmp_path):
    lay(tmp_path, named(ONE, skip=(0, 1)) | {"b.000.shard": TWO[0][:-1]})
    with pytest.raises(NotEnoughShards) as caught:
        choose(scan(tmp_path))
    assert caught.value.missing == {0: f"wrong object: of write {'32' * 16}", 1: "missing"}


@pytest.mark.parametrize(
    ("files", "need", "missing"),
    [
        ({}, None, set()),
        ({"a.shard": b"hello"}, None, set()),
        ({"a.007.shard": b"hello"}, None, {7}),
        ({"a.shard": ONE[2][:300]}, 3, {0, 1, 2, 3}),
    ],
)
def test_nothing_usable(tmp_path, files, need, missing):
    with pytest.raises(NotEnoughShards) as caught:
        choose(scan(lay(tmp_path, files)))
    assert (caught.value.have, caught.value.need, set(caught.value.missing)) == (0, need, missing)


def test_every_file_is_told_of(tmp_path):
    lay(tmp_path, named(ONE, skip=(3,)) | {"z.shard": b""})
    os.mkfifo(tmp_path / "pipe.shard")
    (tmp_path / "dangling.shard").symlink_to("nowhere")
    files = scan(tmp_path)
    assert [file.path.name for file in files if not file.reason] == ["a.000.shard", "a.001.shard", "a.002.shard"]
    assert {file.path.name for file in files if file.reason} == {"z.shard", "pipe.shard", "dangling.shard"}


def test_no_directory(tmp_path):
    with pytest.raises(InputError, match="there is no directory"):
        scan(tmp_path / "nowhere")
