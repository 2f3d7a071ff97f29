"""The commands on a file of 10 GiB, each in bounded memory: encode, verify, repair, decode."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.long

ABOVE_IDLE_MIB_MAX = 256
MIB = 1 << 20
HERE = Path(__file__).parent


def run(*arguments):
    """One command in a process of its own: its result with exit code, and MiB above idle."""
    command = [sys.executable, str(HERE / "command_process.py"), *map(str, arguments)]
    return json.loads(subprocess.run(command, cwd=HERE.parents[1], stdout=subprocess.PIPE, check=True).stdout)


def write_sparse(path, count, seed):
    """So many MiB: random where a multiple of 16 MiB begins, holes between."""
    rng = np.random.default_rng(seed)
    with path.open("wb") as file:
        for at in range(0, count, 16):
            file.seek(at * MIB)
            file.write(rng.bytes(MIB))
        file.truncate(count * MIB)


def same(one, other):
    with one.open("rb") as left, other.open("rb") as right:
        while a := left.read(8 * MIB):
            if a != right.read(len(a)):
                return False
        return not right.read(1)


@pytest.mark.timeout(7200)
def test_memory_is_bounded(large):
    count = large.count(10_240)  # MiB
    with tempfile.TemporaryDirectory(prefix="faultset-long-") as place:
        home = Path(place)
        need = 12 * count * MIB // 10 + count * MIB + (1 << 30)
        if shutil.disk_usage(home).free < need:
            pytest.skip(f"{home.parent} has less than {need >> 30} GiB to spare")
        file, shards = home / "file", home / "shards"
        write_sparse(file, count, large.seed)
        encoded = run("encode", file, "--code", "rs:10+2", "-o", shards)
        (shards / "file.001.shard").unlink()
        with (shards / "file.004.shard").open("r+b") as damaged:
            damaged.seek(300)
            damaged.write(b"damage")
        verified = run("verify", shards)
        repaired = run("repair", shards)
        for index in (0, 7):
            (shards / f"file.{index:03d}.shard").unlink()
        decoded = run("decode", shards, "-o", home / "again")
        results = {"encode": encoded, "verify": verified, "repair": repaired, "decode": decoded}
        large.notes.append(
            ", ".join(
                f"{verb} {result['above_idle_mib']} MiB above idle in {result['seconds']:.0f} s"
                for verb, result in results.items()
            )
        )
        assert [result["exit"] for result in results.values()] == [0, 4, 0, 0]
        assert sorted(verified["damaged"]) == sorted(repaired["repaired"]) == ["1", "4"]
        assert {result["size"] for result in results.values()} == {count * MIB}
        assert same(file, home / "again")
        for verb, result in results.items():
            assert result["above_idle_mib"] <= ABOVE_IDLE_MIB_MAX, verb
