"""An object larger than a driver's memory is put and read back in bounded memory."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from faultset_ray.backend.local import LocalBackend
from faultset_ray.backend.protocol import Place
from faultset_ray.driver.sync import connect
from faultset_ray.limits import MIB

pytestmark = pytest.mark.long

ABOVE_IDLE_MIB_MAX = 512
"""Stripes under way, in the driver and in the stores of the same process."""


def held_mib() -> int:
    """Memory of this process that no file backs; large buffers are shared maps of nothing."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return sum(int(words[1]) for words in lines if words[0] in {"RssAnon:", "RssShmem:"}) // 1024


class Made:
    """So many MiB, made as they are read."""

    def __init__(self, count):
        self.left = count * MIB
        self.seed = np.random.default_rng(1).integers(0, 256, MIB, np.uint8)
        self.hash = hashlib.sha256()
        self.most = 0

    def read(self, nbytes):
        piece = np.roll(self.seed, self.left // MIB)[: min(nbytes, self.left, MIB)].tobytes()
        self.left -= len(piece)
        self.hash.update(piece)
        self.most = max(self.most, held_mib())
        return piece


@pytest.mark.timeout(3600)
def test_a_large_object_in_bounded_memory(large, monkeypatch, tmp_path):
    monkeypatch.setenv("FAULTSET_STORE_DIR", str(tmp_path))
    count = large.count(4096)
    places = [Place("head"), *(Place(f"p{at}", {"faultset.io/store": "true"}) for at in range(6))]
    with connect(backend=LocalBackend(places)) as driver:
        driver.put("first", bytes(40 * MIB))
        idle = held_mib()
        made = Made(count)
        receipt = driver.put("large", made)
        assert (receipt.size, receipt.survivable) == (count * MIB, 2)
        found, most = hashlib.sha256(), 0
        for piece in driver.get_stream("large"):
            found.update(piece.data)
            most = max(most, held_mib())
    large.notes.append(f"{made.most - idle} MiB above idle while put, {most - idle} MiB while read")
    assert found.digest() == made.hash.digest()
    assert max(made.most, most) - idle <= ABOVE_IDLE_MIB_MAX
