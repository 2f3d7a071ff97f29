"""An object in memory into shards in memory, and back from whatever is left of them."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultset_ray import codes
from faultset_ray.codes.base import Code
from faultset_ray.errors import CodingError, CorruptShard, DigestMismatch, InputError, NotEnoughShards
from faultset_ray.objects.buffers import as_bytes
from faultset_ray.objects.gather import damage, pick_rows
from faultset_ray.objects.groups import Group, candidates, families_of, generation_of, object_id_of, only
from faultset_ray.objects.sealing import Sealing
from faultset_ray.objects.stripes import data_rows, decode_rows, encode_rows, undecoded
from faultset_ray.objects.views import Readable, View, view_memory, views_of
from faultset_ray.shards.digest import verify_block
from faultset_ray.shards.format import Header
from faultset_ray.shards.layout import layout_for, stripe_rows
from faultset_ray.shards.memory import joined

Bytes = NDArray[np.uint8]
Buffer = bytes | bytearray | memoryview | NDArray[Any]


def pack_shards(
    data: Buffer,
    code: str | Code,
    *,
    stripe_bytes: int | None = None,
    name: str | None = None,
    generation: int = 0,
) -> list[bytes]:
    """Encode an object into its n shards, each what a shard file holds.

    Parameters
    ----------
    data
        Bytes, or an array of any dtype; not changed.
    code
        Such as ``"rs:10+4"``, or what :func:`codes.get <faultset_ray.codes.get>` returns for it.
    stripe_bytes
        Data that are coded together at most; 16 MiB, or what fills 32 MiB of shards, by default.
    name
        What the object is called, to be told from others by; its SHA-256 stands in each shard.
    generation
        Order among the encodings of one name, 0 to 2^64 - 1: of a lower one, shards are told to be stale.

    Returns
    -------
    list of bytes
        By index. They know which they are, so order and names need not be kept.

    Raises
    ------
    InputError, InvalidCodeSpec, LimitExceeded
    """
    memory = as_bytes("data", data, "bytes or an array")
    found = codes.get(code)
    layout = layout_for(memory.size, found.k, found.n, stripe_bytes)
    write_id, object_id = secrets.token_bytes(16), object_id_of(name)
    header = Header(0, found.k, found.n, layout.block_bytes, write_id, found.spec, generation_of(generation), object_id)
    sealing = Sealing(header)
    shards: list[list[bytes | memoryview]] = [[head] for head in sealing.heads]
    stripes = layout.stripes(memory.size)
    for stripe in range(stripes):
        start, stop = layout.span(stripe, memory.size)
        rows = stripe_rows(memory[start:stop], found.k, layout.block_len(stripe, memory.size))
        parity, digests = encode_rows(rows, sealing.header, stripe, 1)
        for shard, parts in zip(shards, sealing.stripe((*rows, *parity), digests), strict=True):
            shard.extend(part.data for part in parts)
    trailers = sealing.trailers(memory.size, stripes, hashlib.sha256(memory.data).digest())
    return [b"".join((*shard, trailer)) for shard, trailer in zip(shards, trailers, strict=True)]


def unpack_shards(shards: Iterable[Buffer], *, object: str | None = None) -> bytes:  # noqa: A002 - the word for it
    """Decode the one object whose shards these are, whichever are left, in any order.

    Copies, strangers and damage may be among them. Each granule is verified before it is used, and one that
    is corrupt is made from the other shards; the object is verified as a whole before it is returned.

    Parameters
    ----------
    shards
        As from :func:`pack_shards` or read from shard files.
    object
        Which of several is meant: its write id or object id in hex, or the name that it was given.

    Raises
    ------
    NotEnoughShards
        It tells the write, how many shards are there and needed, and why each of the others is unusable.
    AmbiguousObjectError
        More than one object can be decoded from them.
    DigestMismatch
        The bytes are not those that were encoded: shards were forged.
    UnsupportedFormat
        They are of a code that is not known here.
    InputError
        Something among them is no bytes, or none is of ``object``.
    """
    pile = [
        view_memory(f"shard at {position}", as_bytes(f"shard at {position}", shard, "bytes of a shard"))
        for position, shard in enumerate(_iterated(shards))
    ]
    try:
        families = candidates(pile, wanted=object)
    except NotEnoughShards as error:
        raise _told(pile, object, error) from None
    decoded: list[tuple[Group, bytes]] = []
    failed: list[CodingError] = []
    for family in families:
        for group in family:
            try:
                decoded.append((group, _decode(group, pile)))
            except CodingError as error:
                failed.append(error)
            else:
                break
    chosen = only([group for group, _ in decoded], failed)
    return next(data for group, data in decoded if group is chosen)


def _iterated(shards: Iterable[Buffer]) -> Iterable[Buffer]:
    if isinstance(shards, (bytes, bytearray, memoryview, np.ndarray, str)) or not isinstance(shards, Iterable):
        raise InputError(f"shards is {type(shards).__name__}; expected an iterable of shards, each of bytes")
    return shards


def _told(pile: Sequence[View], wanted: str | None, error: NotEnoughShards) -> NotEnoughShards:
    """What is wrong with each shard of the write of which most is there; those that seemed sound are read for it."""
    families = families_of(pile, wanted)
    if not families:
        return error
    group = families[0][0]
    for index, shard in views_of(group, pile).items():
        why = _spoiled(group, index, shard)
        if why:
            group.reasons[index] = why
            del group.members[index]
    return group.not_enough()


def _spoiled(group: Group, index: int, shard: Readable) -> str:
    """What is wrong with the first block of a shard that is not sound."""
    header = replace(group.header, index=index)
    for stripe in range(header.layout.stripes(group.trailer.size)):
        try:
            block, digests = shard.read(stripe)
        except CorruptShard as error:
            return error.reason
        corrupt = verify_block(header, stripe, block, digests)
        if corrupt:
            return damage(group.header, index, stripe, block, digests, corrupt)
    return ""


def _decode(group: Group, pile: Sequence[View]) -> bytes:
    used: set[int] = set()
    try:
        return _assemble(group, views_of(group, pile), used)
    except DigestMismatch as error:
        # All granules have their digests, the object hasn't: perhaps one shard is to blame, and can be spared.
        for variant in group.variants(used):
            with contextlib.suppress(DigestMismatch, NotEnoughShards):
                return _assemble(variant, views_of(variant, pile), set())
        suspects = sorted(group.disputed or used)
        raise DigestMismatch(error.object_name, error.expected, error.found, suspects) from None


def _assemble(group: Group, shards: Mapping[int, Readable], used: set[int]) -> bytes:
    """Decode a write; ``used`` takes the shards of which it was made."""
    size, layout = group.trailer.size, group.header.layout
    hasher = hashlib.sha256()
    pieces: list[Bytes] = []
    for stripe in range(layout.stripes(size)):
        start, stop = layout.span(stripe, size)
        length = layout.block_len(stripe, size)
        rows = _rows(group, shards, stripe, length, data_rows(stop - start, length))
        used.update(rows)
        pieces += undecoded(rows, stop - start) or [decode_rows(group.header.spec, rows, stop - start, 1)]
    for piece in pieces:
        hasher.update(piece.data)
    if hasher.digest() != group.trailer.object_digest:
        raise DigestMismatch(group.label, group.trailer.object_digest.hex(), hasher.hexdigest())
    return joined(pieces)


def _rows(
    group: Group, shards: Mapping[int, Readable], stripe: int, block_len: int, wanted: Collection[int]
) -> Mapping[int, Bytes]:
    """Rows that determine those that hold a stripe's data; while these are sound, the code is not even built."""
    header = group.header
    if all(index in shards for index in wanted):
        rows = {}
        for index in wanted:
            try:
                rows[index], digests = shards[index].read(stripe)
            except CorruptShard:
                break
            if verify_block(replace(header, index=index), stripe, rows[index], digests):
                break
        else:
            return rows
    code = group.code()
    with group.decoding():
        return pick_rows(
            code, header, stripe, block_len, lambda index: shards[index].read(stripe), group.missing(), wanted
        )
