"""Records written by the first version: every later one reads them, and writes the same bytes."""

from __future__ import annotations

import hashlib
from dataclasses import astuple
from pathlib import Path

import pytest
from naive import records as naive

from faultset_ray.objects.record import Record

GOLDEN = Path(__file__).parent / "records"
PUT = Record(
    "put",
    "ledger/0001 ünïcode 🌍",
    (3 << 32) | 7,
    bytes(range(16)),
    14_100,
    hashlib.sha256(b"an object").digest(),
    "rs:4+2,matrix=cauchy",
    4,
    6,
    6144,
    2,
    1_800_000_000_123,
    "fsync",
)
CASES = [
    ("v1-put.record", PUT),
    ("v1-delete.record", Record("delete", "a", 1 << 63, b"w" * 16, 0, bytes(32), "", 0, 0, 0, 0, 0, "none")),
    ("v1-delete-grace.record", Record("delete", "a", 9, b"w" * 16, 86_400_000, bytes(32), "", 0, 0, 0, 2, 5, "fsync")),
]


@pytest.mark.parametrize(("name", "record"), CASES, ids=[case[0] for case in CASES])
def test_is_read_and_written(name, record):
    raw = (GOLDEN / name).read_bytes()
    assert Record.unpack(raw) == record
    assert record.pack() == raw


@pytest.mark.parametrize(("name", "record"), CASES, ids=[case[0] for case in CASES])
def test_the_oracle_writes_it_too(name, record):
    kind, *fields, durability = astuple(record)
    raw = naive.record({"put": 1, "delete": 2}[kind], *fields, {"none": 0, "fsync": 1}[durability])
    assert raw == (GOLDEN / name).read_bytes()
