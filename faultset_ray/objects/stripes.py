"""One stripe: encoded with its digests, and its data again. What all ways of coding an object come down to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from faultset_ray import codes
from faultset_ray.errors import UnsupportedOperation
from faultset_ray.shards.digest import granule_digests
from faultset_ray.shards.format import Header
from faultset_ray.shards.memory import empty

Bytes = NDArray[np.uint8]


def encode_rows(rows: Bytes, header: Header, stripe: int, threads: int) -> tuple[Bytes, list[Bytes]]:
    """Encode one stripe on so many threads, and digest all its blocks.

    Returns
    -------
    parity : uint8[n-k, L]
    digests : list of uint8[granules, 4]
        Of each of the n blocks.

    Raises
    ------
    UnsupportedOperation
        If the code, a plug-in, does not write into the ``out`` that it is given.
    """
    parity = empty(header.n - header.k, rows.shape[1])
    made = codes.get(header.spec).encode(rows, parity, threads=threads)
    if made is not parity:  # what it holds is whatever the memory held
        raise UnsupportedOperation(header.spec, "encode", "encode returned something other than the out it was given")
    return parity, [*row_digests(rows, header, stripe), *row_digests(parity, header, stripe, header.k)]


def row_digests(rows: Bytes, header: Header, stripe: int, first: int = 0) -> list[Bytes]:
    """Digests of a stripe's rows from shard ``first`` on: uint8[granules, 4] each."""
    return [granule_digests(replace(header, index=index), stripe, row) for index, row in enumerate(rows, first)]


def data_rows(nbytes: int, block_len: int) -> range:
    """The rows that hold a stripe's data, of so many bytes; the others of the k are padding, and nobody's need."""
    return range(-(-nbytes // block_len))


def decode_rows(spec: str, rows: Mapping[int, Bytes], nbytes: int, threads: int) -> Bytes:
    """Decode one stripe from rows that determine its data: uint8[nbytes], without the padding."""
    code = codes.get(spec)
    block_len = next(iter(rows.values())).size
    data, wanted = empty(code.k, block_len), data_rows(nbytes, block_len)
    if len(wanted) == code.k:
        return code.decode(rows, data, threads=threads).reshape(-1)[:nbytes]
    rest = [index for index in wanted if index not in rows]
    data[rest] = code.reconstruct(rows, rest, threads=threads)
    for index in rows.keys() & set(wanted):
        data[index] = rows[index]
    return data.reshape(-1)[:nbytes]


def undecoded(rows: Mapping[int, Bytes], nbytes: int) -> list[Bytes] | None:
    """A stripe's data, of so many bytes, where nothing is to be decoded, all rows that hold some being there; views."""
    wanted = data_rows(nbytes, next(iter(rows.values())).size)
    return trimmed([rows[index] for index in wanted], nbytes) if all(index in rows for index in wanted) else None


def trimmed(rows: Sequence[Bytes], nbytes: int) -> list[Bytes]:
    """A stripe's data, of all rows that hold some, without the padding of the last one; views."""
    pieces = []
    for row in rows:
        pieces.append(row[: max(0, nbytes)])
        nbytes -= row.size
    return pieces
