"""A store against a dictionary: what it acknowledged is there, whole, after any calls and crashes; nothing else is."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from stores import crash, shard_files, store_at

from faultset_ray.errors import InputError, ShardNotFound, StaleEpoch, WriteAborted
from faultset_ray.objects.entry import Fence
from faultset_ray.objects.record import Record, object_id
from faultset_ray.objects.store_values import Held, Whole
from faultset_ray.shards.digest import granule_digests, verify_block
from faultset_ray.shards.format import Header

MEMORY = Path("/dev/shm")  # this is about what is written, not about when it is durable
K, N, WRITES = 2, 3, 3
DIGEST = b"d" * 32
NAMES = ["a", "../b", "ü"]

writes = st.integers(0, WRITES - 1)
indices = st.integers(0, N - 1)
shards = st.tuples(writes, indices)
generations = st.integers(1, 3)


class Crash(BaseException):
    """The end of the process."""


def write_id(write: int) -> bytes:
    return bytes([write * 80]) * 16


def header(write: int, index: int) -> Header:
    return Header(index, K, N, 4096, write_id(write), "xor:2+1", write, object_id(NAMES[write % 3]))


def size_of(write: int) -> int:
    """Of the objects, one is empty."""
    return 0 if write == 2 else 5000 + write


def whole(write: int, index: int) -> Whole:
    if not size_of(write):
        return Whole(header(write, index).pack(), None, None, 0, DIGEST)
    block = np.full(2560, write * N + index, np.uint8)
    return Whole(
        header(write, index).pack(), block, granule_digests(header(write, index), 0, block), size_of(write), DIGEST
    )


def record(name: str, generation: int, write: int | None) -> Record:
    if write is None:
        return Record("delete", name, generation, bytes(16), 0, bytes(32), "", 0, 0, 0, 0, 5, "fsync")
    return Record(
        "put", name, generation, write_id(write), size_of(write), DIGEST, "xor:2+1", K, N, 4096, 1, 5, "fsync"
    )


class StoreMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.directory = tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)
        self.sealed: set[tuple[int, int]] = set()
        self.begun: set[tuple[int, int]] = set()
        self.aside: dict[tuple[int, int], str] = {}
        self.records: dict[tuple[bytes, int], Record] = {}
        self.refused: set[int] = set()
        self.epoch = 1

    @initialize()
    def start(self):
        self.store = store_at(self.directory.name)
        self.uuid = self.store.uuid
        self.store.admit(self.fence)

    @property
    def fence(self) -> Fence:
        return Fence(b"c" * 16, self.epoch)

    # -- Shards

    @rule(batch=st.lists(shards, min_size=1, max_size=6, unique=True))
    def write(self, batch):
        for shard, result in zip(batch, self.store.write([whole(*shard) for shard in batch], self.fence), strict=True):
            if shard in self.sealed or shard[0] not in self.refused:
                assert (result.write_id, result.index) == (write_id(shard[0]), shard[1])
                self.sealed.add(shard)
                self.begun.discard(shard)
            else:
                assert isinstance(result, WriteAborted)

    @rule(shard=shards)
    def append(self, shard):
        each = whole(*shard)
        try:
            if each.block is None:
                self.store.begin(each.header)
            else:
                self.store.append(each.header, 0, each.block, each.digests)
        except WriteAborted:
            assert shard[0] in self.refused
        else:
            assert shard[0] not in self.refused
            self.begun |= {shard} - self.sealed

    @rule(shard=shards)
    def seal(self, shard):
        size = size_of(shard[0])
        try:
            self.store.seal(write_id(shard[0]), shard[1], size, 1 if size else 0, DIGEST, self.fence)
        except WriteAborted:
            assert shard[0] in self.refused
            assert shard not in self.begun | self.sealed
        except ShardNotFound:
            assert shard not in self.begun | self.sealed
        else:
            assert shard in self.begun | self.sealed
            self.begun.discard(shard)
            self.sealed.add(shard)

    @rule(write=writes)
    def abort(self, write):
        here = any(shard[0] == write for shard in self.begun | self.sealed)
        recorded = any(each.write_id == write_id(write) for each in self.records.values())
        if recorded or (write and here):
            with pytest.raises(InputError, match="fence"):
                self.store.abort(write_id(write))
            with pytest.raises(InputError, match="fence"):
                self.store.delete(write_id(write))
            return
        self.store.abort(write_id(write))
        self.begun = {shard for shard in self.begun if shard[0] != write}
        self.refused.add(write)

    @rule(write=writes)
    def drop_a_write(self, write):
        held = {shard for shard in self.sealed | self.begun | set(self.aside) if shard[0] == write}
        [freed] = self.store.drop([(write_id(write), None)], self.fence)
        assert bool(freed) == bool(held)
        self.sealed -= held
        self.begun -= held
        self.aside = {shard: why for shard, why in self.aside.items() if shard not in held}
        self.records = {key: each for key, each in self.records.items() if each.write_id != write_id(write)}
        self.refused.add(write)

    @rule(batch=st.lists(shards, max_size=4))
    def drop_shards(self, batch):
        self.store.drop([(write_id(write), index) for write, index in batch], self.fence)
        self.sealed -= set(batch)
        self.begun -= set(batch)
        self.aside = {shard: why for shard, why in self.aside.items() if shard not in batch}

    @rule(shard=shards, why=st.text(max_size=5))
    def quarantine(self, shard, why):
        try:
            self.store.quarantine(write_id(shard[0]), shard[1], why, self.fence)
        except ShardNotFound:
            assert shard not in self.sealed | set(self.aside)
        else:
            if shard in self.sealed:
                self.sealed.discard(shard)
                self.aside[shard] = why

    # -- Records

    @rule(batch=st.lists(st.tuples(st.sampled_from(NAMES), generations, st.none() | writes), min_size=2, max_size=8))
    def record(self, batch):
        made = [record(*each) for each in batch]
        results = self.store.record([each.pack() for each in made], self.fence)
        for each, result in zip(made, results, strict=True):
            key = each.object_id, each.generation
            if each.kind == "put" and not any(write_id(write) == each.write_id for write, _ in self.sealed):
                assert isinstance(result, ShardNotFound)
            elif self.records.setdefault(key, each) == each:
                assert result is None
            else:
                assert isinstance(result, InputError)

    @rule(batch=st.lists(st.tuples(st.sampled_from(NAMES), generations), max_size=4, unique=True))
    def forget(self, batch):
        keys = [(object_id(name), generation) for name, generation in batch]
        assert self.store.forget(keys, self.fence) == sum(key in self.records for key in keys)
        for key in keys:
            self.records.pop(key, None)

    # -- Epochs and ends

    @rule()
    def next_epoch(self):
        self.epoch += 1
        assert self.store.admit(self.fence).epoch == self.epoch

    @rule()
    def stale(self):
        old = replace(self.fence, epoch=self.epoch - 1)
        for call in (
            lambda: self.store.write([whole(0, 0)], old),
            lambda: self.store.record([], old),
            lambda: self.store.drop([(write_id(0), None)], old),
        ):
            with pytest.raises(StaleEpoch) as caught:
                call()
            assert (caught.value.theirs, caught.value.ours) == (old.epoch, self.epoch)

    @rule(clean=st.booleans())
    def restart(self, clean):
        if clean:
            self.store.close()
        else:
            crash(self.store)
        self.store = store_at(self.directory.name)
        assert self.store.uuid == self.uuid
        self.begun, self.refused = set(), set()

    @rule(batch=st.lists(shards, min_size=1, max_size=5, unique=True), renames=st.integers(0, 5))
    def crash_during_a_write(self, batch, renames):
        rename, left = Path.rename, [renames]

        def counted(path, target):
            left[0] -= 1
            if left[0] < 0:
                raise Crash
            return rename(path, target)

        before = set(self.sealed)
        with mock.patch.object(Path, "rename", counted):
            try:
                self.write(batch)
            except Crash:
                pass
            else:
                return
        self.restart(clean=False)
        self.sealed = {
            (write, index) for write in range(WRITES) for index in self.store.held([write_id(write)])[0].indices
        }
        assert before <= self.sealed <= before | set(batch)

    # -- What is there

    @invariant()
    def equals_the_model(self):
        sound = {(file.header.write_id, file.header.index) for file in shard_files(self.store) if not file.reason}
        assert sound == {(write_id(write), index) for write, index in self.sealed}
        told = {(file.header.write_id, file.header.index): file.reason for file in shard_files(self.store)}
        for (write, index), why in self.aside.items():
            if (write, index) not in self.sealed:
                assert told[write_id(write), index] == f"quarantined: {why}"
        assert len(told) == len(self.sealed | set(self.aside))
        raws, cursor = self.store.scan_records(b"", 2)
        while cursor:
            more, cursor = self.store.scan_records(cursor, 2)
            raws += more
        assert raws == [self.records[key].pack() for key in sorted(self.records)]
        info = self.store.info()
        assert (info.shards, info.epoch) == (len(self.sealed), self.epoch)
        assert info.used_bytes == sum(header(*shard).layout.file_bytes(size_of(shard[0])) for shard in self.sealed)

    @invariant()
    def is_read(self):
        for write, index in self.sealed:
            each = whole(write, index)
            if each.block is not None:
                block, digests = self.store.read(write_id(write), index, 0)
                assert np.array_equal(block, each.block)
                assert verify_block(header(write, index), 0, block, digests) == ()
        for name in NAMES:
            newest = sorted((key for key in self.records if key[0] == object_id(name)), reverse=True)
            assert self.store.records([object_id(name)]) == [[self.records[key].pack() for key in newest]]
        recorded = {each.write_id for each in self.records.values()}
        assert self.store.held([write_id(write) for write in range(WRITES)]) == [
            Held(
                tuple(index for index in range(N) if (write, index) in self.sealed),
                write_id(write) in recorded,
            )
            for write in range(WRITES)
        ]

    def teardown(self):
        self.store.close()
        self.directory.cleanup()


StoreMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, phases=(Phase.generate,))
TestStore = StoreMachine.TestCase
