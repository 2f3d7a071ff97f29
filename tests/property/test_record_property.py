"""Records: every one comes back as it was, and whatever else is offered is refused by its own error."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive.shards import crc32c

from faultset_ray.errors import CodingError, CorruptShard, InputError, InvalidObjectName, UnsupportedFormat
from faultset_ray.limits import OBJECT_BYTES_MAX, OBJECT_NAME_BYTES_MAX
from faultset_ray.objects.record import RECORD_BYTES_MAX, Record, object_id

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=OBJECT_NAME_BYTES_MAX // 4)
specs = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=63)
durabilities = st.sampled_from(["fsync", "none"])
generations = st.integers(0, (1 << 64) - 1)
times = st.integers(0, (1 << 63) - 1)
write_ids = st.binary(min_size=16, max_size=16)


@st.composite
def puts(draw):
    n = draw(st.integers(1, 300))
    k = draw(st.integers(1, n))
    block_bytes = 64 * draw(st.integers(1, (1 << 20) // k))
    tolerate = draw(st.integers(0, n - 1))
    return Record(
        "put", draw(names), draw(generations), draw(write_ids), draw(st.integers(0, OBJECT_BYTES_MAX)),
        draw(st.binary(min_size=32, max_size=32)), draw(specs), k, n, block_bytes, tolerate, draw(times),
        draw(durabilities),
    )  # fmt: skip


@st.composite
def tombstones(draw):
    of = draw(puts())
    code = draw(st.sampled_from([("", 0, 0, 0), (of.spec, of.k, of.n, of.block_bytes)]))
    return Record(
        "delete", of.name, of.generation, of.write_id, 0, bytes(32), *code,
        of.tolerate if code[2] else 0, of.created_ms, of.durability,
    )  # fmt: skip


records = puts() | tombstones()
PUT = Record("put", "näme", 7, b"w" * 16, 100, b"d" * 32, "rs:4+2", 4, 6, 64, 2, 5, "fsync")


@given(records)
def test_they_come_back(record):
    raw = record.pack()
    assert len(raw) <= RECORD_BYTES_MAX
    assert Record.unpack(raw) == record
    assert record.object_id == object_id(record.name) == hashlib.sha256(record.name.encode()).digest()


@given(puts())
def test_the_header_is_that_of_the_write(record):
    header = record.header
    assert (header.index, header.k, header.n, header.block_bytes) == (0, record.k, record.n, record.block_bytes)
    assert (header.write_id, header.object_id) == (record.write_id, record.object_id)
    assert (header.spec, header.generation) == (record.spec, record.generation)
    header.pack()


@given(records, st.data())
def test_any_change_is_refused(record, data):
    raw = bytearray(record.pack())
    kind = data.draw(st.sampled_from(["flip", "cut", "extend", "swap"]))
    if kind == "flip":
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "cut":
        del raw[data.draw(st.integers(0, len(raw) - 1)) :]
    elif kind == "extend":
        raw += data.draw(st.binary(min_size=1, max_size=2000))
    else:
        other = replace(record, generation=record.generation ^ 1).pack()
        at = data.draw(st.integers(17, len(raw) - 5))
        raw[at:] = other[at:]
    with pytest.raises(CorruptShard):
        Record.unpack(bytes(raw))


@given(st.binary(max_size=300) | st.binary(max_size=1300).map(lambda rest: b"\x89FSRREC\n\x01\x00" + rest))
def test_noise_is_refused(raw):
    with pytest.raises(CodingError):
        Record.unpack(raw)


@given(records, st.data())
def test_a_hostile_hand_that_makes_the_crc_fit_gets_a_record_within_bounds_or_none(record, data):
    """Fields of any value: what is unpacked can be packed again, the same; all else is refused."""
    raw = bytearray(record.pack()[:-4])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(8, len(raw) - 1))
        change = data.draw(st.binary(min_size=1, max_size=8))
        raw[at : at + len(change)] = change
    raw += struct.pack("<I", crc32c(bytes(raw)))
    try:
        found = Record.unpack(bytes(raw))
    except (CorruptShard, UnsupportedFormat):
        return
    assert found.pack() == raw


def sealed(body: bytes) -> bytes:
    return body + struct.pack("<I", crc32c(body))


@pytest.mark.parametrize(
    ("at", "value", "error", "text"),
    [
        (8, b"\x02\x00", UnsupportedFormat, "record format 2"),
        (10, b"\x03", UnsupportedFormat, "kind 3"),
        (11, b"\x02", UnsupportedFormat, "durability 2"),
        (12, b"\x01\x00", CorruptShard, "name is of 5 bytes, not 1"),
        (14, b"\x01", CorruptShard, "reserved"),
        (40, bytes(4), CorruptShard, "k is 0"),
        (44, b"\x03\x00\x00\x00", CorruptShard, "expected 1 to n = 3"),
        (48, b"\x41\x00\x00\x00", CorruptShard, "multiple of 64"),
        (48, b"\x00\x00\x00\x04", CorruptShard, "of them pass"),
        (52, b"\x06\x00\x00\x00", CorruptShard, "less than n"),
        (104, b"\x40", CorruptShard, "spec's length"),
        (104, b"\x05", CorruptShard, "spec's length"),
        (104, bytes(10), CorruptShard, "spec is ''"),
        (105, b"\xff", CorruptShard, "printable"),
        (187, b"\x01", CorruptShard, "reserved"),
        (188, b"\xff", CorruptShard, "not UTF-8"),
        (189, b"\xed\xa0\x80", CorruptShard, "not UTF-8"),
    ],
)
def test_what_is_wrong_is_named(at, value, error, text):
    body = bytearray(PUT.pack()[:-4])
    body[at : at + len(value)] = value
    with pytest.raises(error, match=text):
        Record.unpack(sealed(bytes(body)))


@pytest.mark.parametrize(
    "name",
    ["../x", "/", "a\0b", "\n", "🌍" * 256, "e\u0301", "\ufeff", "\u202e", " ", "CON", "x" * 1024],
)
def test_any_text_may_be_a_name(name):
    record = replace(PUT, name=name)
    assert Record.unpack(record.pack()).name == name
    assert len(object_id(name)) == 32


@pytest.mark.parametrize("name", ["", "x" * 1025, "🌍" * 257, "\ud800", "a\udfff", b"bytes", None, 5])
def test_what_is_no_name(name):
    with pytest.raises(InvalidObjectName):
        object_id(name)
    with pytest.raises(InvalidObjectName):
        replace(PUT, name=name).pack()


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "move"},
        {"durability": "maybe"},
        {"generation": -1},
        {"generation": 1 << 64},
        {"generation": True},
        {"size": OBJECT_BYTES_MAX + 1},
        {"created_ms": 1.5},
        {"k": 0},
        {"k": 7},
        {"n": 70_000},
        {"tolerate": 6},
        {"block_bytes": 65},
        {"block_bytes": 1 << 26},
        {"spec": ""},
        {"spec": "x" * 64},
        {"spec": "a b"},
        {"write_id": b"short"},
        {"sha256": b"short"},
        {"kind": "delete"},
    ],
)
def test_what_is_out_of_bounds_is_not_packed(change):
    with pytest.raises(InputError):
        replace(PUT, **change).pack()
