"""A store is asked for the same thing again: what a failure left half done is done for good then."""

import errno
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from stores import FENCE

from faultset_ray.errors import StoreFailure
from faultset_ray.shards.digest import granule_digests
from faultset_ray.shards.format import Header

WRITE_ID = bytes(range(16))
BLOCK = np.arange(4160, dtype=np.uint16).astype(np.uint8)


def put(store):
    """A sealed shard."""
    header = Header(0, 1, 2, BLOCK.size, WRITE_ID, "copy:2", granule_bytes=4096)
    store.append(header.pack(), 0, BLOCK, granule_digests(header, 0, BLOCK))
    store.seal(WRITE_ID, 0, BLOCK.size, 1, hashlib.sha256(BLOCK).digest())


@pytest.fixture
def syncs(monkeypatch):
    """What is synced, and what fails the next time that it is to be."""
    synced, failing, fsync = [], [], os.fsync

    def note(fd):
        path = Path(f"/proc/self/fd/{fd}").readlink()
        if path in failing:
            failing.remove(path)
            raise OSError(errno.EIO, "")
        synced.append(path)
        fsync(fd)

    monkeypatch.setattr(os, "fsync", note)
    return synced, failing


@pytest.mark.parametrize("index", [0, None])
def test_what_is_removed_again_is_removed_for_good(durable, syncs, index):
    """The directory's fsync failed, or never came: what was unlinked may be there again after a power failure."""
    put(durable)
    bucket = Path(durable.info().path) / "shards" / WRITE_ID[:1].hex()
    synced, failing = syncs
    failing.append(bucket)
    synced.clear()
    with pytest.raises(StoreFailure):
        durable.drop([(WRITE_ID, index)], FENCE)
    assert durable.stat(WRITE_ID, 0) is None
    assert bucket not in synced
    assert durable.drop([(WRITE_ID, index)], FENCE) == [0]
    assert bucket in synced


def test_what_is_set_aside_again_is_so_for_good(durable, syncs):
    put(durable)
    home = Path(durable.info().path)
    bucket, aside = home / "shards" / WRITE_ID[:1].hex(), home / "quarantine"
    synced, failing = syncs
    failing.append(bucket)
    with pytest.raises(StoreFailure):
        durable.quarantine(WRITE_ID, 0, "rotten", FENCE)
    synced.clear()
    durable.quarantine(WRITE_ID, 0, "rotten", FENCE)
    assert {bucket, aside} <= {*synced}
