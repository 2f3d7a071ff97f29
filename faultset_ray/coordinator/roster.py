"""The nodes of one fleet by handle, and the batches that change them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from faultset_ray.model import Fleet

Columns = Mapping[str, NDArray[Any]]

_DTYPES: Final = {
    "lat": np.float64,
    "lon": np.float64,
    "latency_ms": np.float64,
    "cells": np.uint64,
    "registered_ms": np.int64,
    "living": np.bool_,
    "marks": np.uint8,
}


class Kind(StrEnum):
    """What a batch does."""

    REGISTER = "register"
    REMOVE = "remove"
    MARK = "mark"
    WHOLE = "whole"
    """Registers every handle there ever was, removed ones too: what compaction leaves of all batches before it."""


class Roster:
    """Columns by handle, grown as handles are given; never shrunk, since a handle is never given twice."""

    def __init__(self) -> None:
        self._count = 0
        self._ids = np.empty(0, np.object_)
        self._columns: dict[str, NDArray[Any]] = {name: np.empty(0, dtype) for name, dtype in _DTYPES.items()}
        self._changed = np.empty(0, np.int64)
        """int64: the directory's version at which each node came or was changed."""
        self._handle_of: dict[str, int] | None = None
        """Of the living; made when it is first asked for."""

    def __len__(self) -> int:
        return self._count

    def handles(self, ids: Iterable[str], count: int) -> NDArray[np.int64]:
        """The living handle of each id, -1 where there is none: int64[count]."""
        if self._handle_of is None:
            living = np.flatnonzero(self["living"])
            self._handle_of = dict(zip(self.ids[living].tolist(), living.tolist(), strict=True))
        known = self._handle_of
        if not known:
            return np.full(count, -1, np.int64)
        return np.fromiter((known.get(node_id, -1) for node_id in ids), np.int64, count)

    def last_handles(self, ids: Iterable[str]) -> NDArray[np.int64]:
        """The newest handle that each id ever had, -1 where it never had one."""
        ever = dict(zip(self.ids.tolist(), range(self._count), strict=True))
        return np.array([ever.get(node_id, -1) for node_id in ids], np.int64)

    @property
    def ids(self) -> NDArray[np.object_]:
        """object[n] of str; a view, as all columns that are asked for."""
        return self._ids[: self._count]

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._columns[name][: self._count]

    def apply(self, kind: Kind, batch: Columns, version: int) -> None:
        """Do what a batch says, of which a directory of ``version`` comes; it was checked before it was logged."""
        self._do(kind, batch)
        self._changed[batch["handles"]] = version

    def changed_since(self, version: int) -> dict[str, NDArray[Any]]:
        """The columns of the nodes that came or were changed after ``version``, ascending by handle."""
        handles = np.flatnonzero(self._changed[: self._count] > version).astype(np.uint32)
        columns = {name: self[name][handles] for name in _DTYPES}
        return {"handles": handles, "ids": self.ids[handles], **columns}

    def _do(self, kind: Kind, batch: Columns) -> None:
        handles = batch["handles"]
        if kind is Kind.MARK:
            self["marks"][handles] = batch["marks"]
            return
        if kind is Kind.REMOVE:
            self["living"][handles] = False
            self["marks"][handles] = 0
            if self._handle_of is not None:
                for node_id in self.ids[handles].tolist():
                    del self._handle_of[node_id]
            return
        before = self._count
        self._grow(int(handles.max()) + 1 if len(handles) else 0)
        self.ids[handles] = batch["ids"]
        self["living"][handles] = True
        for name in _DTYPES:
            if name in batch:
                self[name][handles] = batch[name]
        if self._handle_of is not None:
            new = handles >= before
            self._handle_of.update(zip(batch["ids"][new].tolist(), handles[new].tolist(), strict=True))

    def whole(self) -> dict[str, NDArray[Any]]:
        """The batch that makes this roster from nothing; its arrays are views."""
        return {
            "handles": np.arange(self._count, dtype=np.uint32),
            "ids": self.ids,
            **{name: self[name] for name in _DTYPES},
        }

    def fleet(self, name: str) -> Fleet:
        """The nodes as a value, removed ones at their handles."""
        return Fleet.of_checked(
            self.ids.copy(), self["lat"].copy(), self["lon"].copy(), self["latency_ms"].copy(), name=name
        )

    def _grow(self, count: int) -> None:
        if count > len(self._ids):
            room = max(count, 2 * len(self._ids))
            self._ids, self._changed = _resized(self._ids, room), _resized(self._changed, room)
            self._columns = {name: _resized(column, room) for name, column in self._columns.items()}
        self._count = max(self._count, count)


def _resized(column: NDArray[Any], room: int) -> NDArray[Any]:
    resized = np.zeros(room, column.dtype)
    resized[: len(column)] = column
    return resized


def to_bytes(batch: Columns) -> bytes:
    """A batch as an ``.npz`` archive; ids become their UTF-8 bytes and where each of them ends."""
    plain: dict[str, Any] = dict(batch)
    if "ids" in plain:
        plain["ids"], plain["id_ends"] = _joined(plain["ids"].tolist())
    archive = io.BytesIO()
    np.savez(archive, **plain)
    return archive.getvalue()


def from_bytes(data: bytes) -> dict[str, NDArray[Any]]:
    """The opposite of :func:`to_bytes`; a damaged archive raises ``zipfile.BadZipFile`` or ``ValueError``."""
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        batch = dict(archive)
    if "ids" in batch:
        batch["ids"] = _apart(batch["ids"].tobytes(), batch.pop("id_ends"))
    return batch


def _joined(ids: list[str]) -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
    data = "".join(ids).encode("utf-8", "surrogatepass")
    lengths = np.fromiter(map(len, ids), np.uint64, len(ids))
    if int(lengths.sum()) != len(data):
        encoded = (len(node_id.encode("utf-8", "surrogatepass")) for node_id in ids)
        lengths = np.fromiter(encoded, np.uint64, len(ids))
    return np.frombuffer(data, np.uint8), np.cumsum(lengths, dtype=np.uint64)


def _apart(data: bytes, ends: NDArray[np.uint64]) -> NDArray[np.object_]:
    stops = ends.tolist()
    pieces = map(slice, [0, *stops[:-1]], stops)
    ids = np.empty(len(stops), np.object_)
    if data.isascii():
        ids[:] = list(map(data.decode("ascii").__getitem__, pieces))
    else:
        ids[:] = [data[piece].decode("utf-8", "surrogatepass") for piece in pieces]
    return ids
