"""Recorded measurements of a fleet, in columns and in files (see docs/formats.md)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from faultset_ray import columns
from faultset_ray.control import trace_files
from faultset_ray.errors import InputError
from faultset_ray.errors.base import shown
from faultset_ray.geohash import cells_to_strings, strings_to_cells
from faultset_ray.plain import check_path
from faultset_ray.telemetry import events


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Samples in order of time. The arrays are read-only.

    Made by :meth:`of` and :meth:`read`, which check; the constructor does not.
    """

    ids: columns.Strings
    """object[n] of str: the nodes."""
    cells: NDArray[np.uint64]
    """uint64[n]: their regions."""
    at_ms: NDArray[np.int64]
    """int64[m], ascending: when each sample was taken."""
    nodes: NDArray[np.uint32]
    """uint32[m]: of which node it is, an index into ``ids``."""
    latency_ms: NDArray[np.float64]
    """float64[m]: NaN where the node did not answer."""
    ok: NDArray[np.bool_]
    """bool[m]: False for a failed sample."""
    bad: NDArray[np.bool_] | None = None
    """bool[m]: whether the node was truly bad then, if that is known."""
    torn: tuple[int, ...] = ()
    """Lines of the file that were passed over, since they were cut off: a recording was ended by force there."""

    @classmethod
    def of(
        cls,
        ids: Any,
        at_ms: Any,
        nodes: Any,
        latency_ms: Any,
        *,
        ok: Any = None,
        bad: Any = None,
        regions: Sequence[str] | None = None,
    ) -> Self:
        """Make a trace; samples are put in order of time, those of one moment stay in their order.

        Parameters
        ----------
        ids : sequence of str, length n
            Distinct.
        at_ms, nodes, latency_ms : int[m], int[m], float[m]
            Times from 0 on, indices into ``ids``, and milliseconds (NaN or None for no answer).
        ok, bad : bool[m], optional
            By default no sample failed that has a latency, and nothing is known about truth.
        regions : sequence of str, length n, optional
            Geohashes; by default all nodes are in one region.

        Raises
        ------
        InputError
            In its many forms, for values that can't be.
        """
        columns.length("ids", ids)
        names = columns.identifiers(ids)
        if len(set(names.tolist())) < len(names):
            raise InputError(f"{len(names)} nodes of a trace have {len(set(names.tolist()))} distinct ids")
        cells = (
            np.full(len(names), strings_to_cells([trace_files.NOWHERE])[0])
            if regions is None
            else strings_to_cells(regions)
        )
        times, indices = _whole("at_ms", at_ms, 1 << 62), _whole("node", nodes, len(names))
        latencies = columns.numbers("latency_ms", latency_ms)
        columns.check_lengths(ids=names, regions=cells)
        flags = {"ok": _flags("ok", ok), "bad": _flags("bad", bad)}
        given = {name: column for name, column in flags.items() if column is not None}
        columns.check_lengths(at_ms=times, node=indices, latency_ms=latencies, **given)
        columns.check_latencies(latencies)
        order = np.argsort(times, kind="stable")
        succeeded = ~np.isnan(latencies) if flags["ok"] is None else flags["ok"] & ~np.isnan(latencies)
        return cls(
            columns.frozen(names),
            columns.frozen(cells),
            columns.frozen(times[order]),
            columns.frozen(indices.astype(np.uint32)[order]),
            columns.frozen(latencies[order]),
            columns.frozen(succeeded[order]),
            None if flags["bad"] is None else columns.frozen(flags["bad"][order]),
        )

    @classmethod
    def read(cls, path: str | PathLike[str]) -> Self:
        """Read a ``.npz``, ``.csv`` or ``.jsonl`` file.

        A line of a ``.jsonl`` file that was cut off is passed over, is in ``torn``, and is logged.

        Raises
        ------
        OSError
            If the file can't be read.
        InputError
            If it is no such trace; the line is named.
        """
        path = check_path("a trace is read from", path, ".npz, .csv or .jsonl")
        readers = {".npz": trace_files.read_npz, ".csv": trace_files.read_csv, ".jsonl": trace_files.read_jsonl}
        if path.suffix not in readers:
            raise InputError(f"{path}: traces are read from {', '.join(readers)} files, told by the suffix")
        try:
            found = readers[path.suffix](path)
            torn = found.pop("torn", ())
            if torn:
                events.TRACE_TORN.tell(path=path, lines=torn)
            return replace(cls.of(**found), torn=torn)
        except UnicodeDecodeError as error:
            raise InputError(f"{path} is not UTF-8: {error.reason}") from None
        except InputError as error:
            if str(path) in str(error):
                raise
            raise InputError(f"{path}: {error}") from None

    def write(self, path: str | PathLike[str]) -> None:
        """Write a ``.npz``, ``.csv`` or ``.jsonl`` file, overwriting one that is there.

        Raises
        ------
        OSError
            If the file can't be written.
        InputError
            If it has another suffix, or is a ``.csv`` file, and an id has no form in UTF-8.
        """
        path = check_path("a trace is written to", path, ".npz, .csv or .jsonl")
        fields = ["at_ms", "node", "region", "latency_ms", "ok", *(["bad"] if self.bad is not None else [])]
        if path.suffix == ".npz":
            trace_files.write_npz(path, self._arrays())
        elif path.suffix == ".csv":
            columns.check_text(self.ids)
            trace_files.write_csv(path, self.rows(), fields)
        elif path.suffix == ".jsonl":
            trace_files.write_jsonl(path, self.rows())
        else:
            raise InputError(f"{path}: traces are written to .npz, .csv and .jsonl files, told by the suffix")

    def _arrays(self) -> dict[str, NDArray[Any]]:
        named: dict[str, NDArray[Any]] = {
            "ids": self.ids.astype(np.str_),
            "regions": np.array(self.regions, np.str_),
            "at_ms": self.at_ms,
            "node": self.nodes,
            "latency_ms": self.latency_ms,
            "ok": self.ok,
        }
        return named if self.bad is None else {**named, "bad": self.bad}

    def __len__(self) -> int:
        return len(self.at_ms)

    def __repr__(self) -> str:
        truth = "" if self.bad is None else ", with truth"
        return f"Trace({len(self):,} samples of {len(self.ids):,} nodes{truth})"

    @property
    def regions(self) -> list[str]:
        """The nodes' regions, as geohashes."""
        return [str(text) for text in cells_to_strings(self.cells)]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the samples as mappings, the fields as in files."""
        regions = self.regions
        truth: Sequence[bool | None] = [None] * len(self) if self.bad is None else self.bad.tolist()
        listed = (self.at_ms.tolist(), self.nodes.tolist(), self.latency_ms.tolist(), self.ok.tolist(), truth)
        for at_ms, node, latency_ms, ok, bad in zip(*listed, strict=True):
            row = {
                "at_ms": at_ms,
                "node": self.ids[node],
                "region": regions[node],
                "latency_ms": None if math.isnan(latency_ms) else latency_ms,
                "ok": ok,
            }
            yield row if bad is None else {**row, "bad": bad}


def _array(name: str, values: Any) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except (ValueError, OverflowError):
        raise InputError(f"{name} is {shown(values)}; expected values of one dimension") from None


def _whole(name: str, values: Any, bound: int) -> NDArray[np.int64]:
    column = _array(name, values)
    if column.ndim != 1 or (column.size and column.dtype.kind not in "iu"):
        raise InputError(f"{name} is {column.dtype}{list(column.shape)}; expected integers of one dimension")
    out = np.flatnonzero((column < 0) | (column >= bound))
    if out.size:
        raise InputError(f"{name} of sample {out[0]} is {column[out[0]]}; expected 0 to {bound - 1}")
    return column.astype(np.int64)


def _flags(name: str, values: Any) -> NDArray[np.bool_] | None:
    if values is None:
        return None
    column = _array(name, values)
    if column.ndim != 1 or (column.size and column.dtype != np.bool_):
        raise InputError(f"{name} is {column.dtype}{list(column.shape)}; expected booleans of one dimension")
    return column.astype(np.bool_)
