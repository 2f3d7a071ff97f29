"""Tables of nodes: from rows, columns, data frames and files to four columns of like length."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from faultset_ray import columns
from faultset_ray.errors import (
    EmptyNodesError,
    InputError,
    InvalidNodeError,
    LimitExceeded,
    MissingColumnError,
)
from faultset_ray.errors.base import shown
from faultset_ray.limits import FLEET_NODES_MAX

_FIELDS = ("id", "lat", "lon", "latency_ms")
_ALIASES = {"id": "ids", "latency_ms": "latency"}
"""Second names of fields."""


@dataclass(frozen=True, slots=True)
class Table:
    """Four columns whose values are yet unchecked, and where their rows come from."""

    ids: Any
    lat: Any
    lon: Any
    latency_ms: Any
    path: str = ""
    lines: Sequence[int] = ()
    """Line of the file for each row; empty if the table is not from a file."""

    def check_shape(self) -> None:
        """Raise unless there are nodes, not too many, and one value of each for every node."""
        table = {"id": self.ids, "lat": self.lat, "lon": self.lon, "latency_ms": self.latency_ms}
        for field, column in table.items():
            columns.length(f"column {field}", column)
        if len(self.ids) == 0:
            raise EmptyNodesError
        columns.check_lengths(**table)
        if len(self.ids) > FLEET_NODES_MAX:
            raise LimitExceeded("number of nodes", len(self.ids), FLEET_NODES_MAX)

    @contextmanager
    def locating(self) -> Iterator[None]:
        """Give errors about a node the line that it stands on."""
        try:
            yield
        except InvalidNodeError as error:
            if not self.lines:
                raise
            raise error.at(f"{self.path}, line {self.lines[error.index]}") from None


def read(source: Any) -> Table:
    """Read nodes from any source that :meth:`faultset_ray.model.Fleet.of` names; the shape is checked."""
    if isinstance(source, (str, os.PathLike)):
        table = _read_file(Path(source))
    elif isinstance(source, Mapping):
        table = _from_columns(source, list(source))
    elif hasattr(type(source), "collect"):
        raise InputError(f"nodes are a {type(source).__name__}; collect it into a data frame first")
    elif hasattr(source, "columns"):
        table = _from_columns(source, list(source.columns))
    elif hasattr(source, "__iter__"):
        table = _from_rows(list(source))
    else:
        raise InputError(f"nodes are {shown(source)}; expected rows, columns, a data frame or the path of a file")
    table.check_shape()
    return table


def _from_columns(source: Any, names: list[str]) -> Table:
    ids, lat, lon, latency_ms = (source[_column(field, names)] for field in _FIELDS)
    return Table(ids, lat, lon, latency_ms)


def _column(field: str, names: Sequence[str], where: str = "") -> str:
    for name in (field, _ALIASES.get(field, field)):
        if name in names:
            return name
    raise MissingColumnError(field, names, where)


def _from_rows(rows: list[Any]) -> Table:
    kinds = set(map(type, rows))
    if rows and all(issubclass(kind, Mapping) for kind in kinds):
        return _from_records(rows)
    if not all(issubclass(kind, (tuple, list)) for kind in kinds) or set(map(len, rows)) - {len(_FIELDS)}:
        for index, row in enumerate(rows):
            if not isinstance(row, (tuple, list)) or len(row) != len(_FIELDS):
                raise InvalidNodeError(index, None, "row", row, "(id, lat, lon, latency_ms), or mappings throughout")
    ids, lat, lon, latency_ms = (list(map(itemgetter(place), rows)) for place in range(len(_FIELDS)))
    return Table(ids, lat, lon, latency_ms)


def _from_records(rows: Sequence[Mapping[str, Any]], path: str = "", lines: Sequence[int] = ()) -> Table:
    """Turn mappings into columns; each row may use either name of a field."""
    table = []
    for field in _FIELDS:
        alias = _ALIASES.get(field, field)
        try:
            table.append([row[field] if field in row else row[alias] for row in rows])
        except KeyError:
            index = next(i for i, row in enumerate(rows) if field not in row and alias not in row)
            where = f"{path}, line {lines[index]}" if lines else f"node {index}"
            raise MissingColumnError(field, map(str, rows[index]), where) from None
    ids, lat, lon, latency_ms = table
    return Table(ids, lat, lon, latency_ms, path, lines)


def _read_file(path: Path) -> Table:
    readers = {".csv": _read_csv, ".jsonl": _read_jsonl, ".ndjson": _read_jsonl}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: nodes are read from {', '.join(readers)} files, told by the suffix")
    try:
        return reader(path)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8: {error.reason} at byte {error.start:,} of a block") from None


def _read_csv(path: Path) -> Table:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = [name.strip() for name in next(reader, [])]
            if not header:
                raise EmptyNodesError
            places = [header.index(_column(field, header, str(path))) for field in _FIELDS]
            rows, lines = [], []
            for row in reader:
                if row:
                    rows.append(row)
                    lines.append(reader.line_num)
        except csv.Error as error:
            raise InputError(f"{path}, line {reader.line_num}: {error}") from None
    for index, row in enumerate(rows):
        if len(row) != len(header):
            where = f"{path}, line {lines[index]}"
            raise InvalidNodeError(index, None, "row", row, f"{len(header)} fields like the header", where)
    ids, lat, lon, latency = ([row[place].strip() for row in rows] for place in places)
    texts = Table(ids, lat, lon, latency, str(path), lines)
    with texts.locating():
        return Table(
            ids,
            parse_numbers("lat", lat, ids),
            parse_numbers("lon", lon, ids),
            parse_numbers("latency_ms", [text or "nan" for text in latency], ids),
            str(path),
            lines,
        )


def parse_numbers(field: str, texts: Sequence[str], ids: Sequence[str]) -> list[float]:
    """Parse a column of decimal texts; the first that is no number is named in an InvalidNodeError."""
    try:
        return list(map(float, texts))
    except ValueError:
        for index, text in enumerate(texts):
            try:
                float(text)
            except ValueError:
                raise InvalidNodeError(index, ids[index], field, text, "a number") from None
        raise


def _read_jsonl(path: Path) -> Table:
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InputError(f"{path}, line {number}: {error}") from None
            if not isinstance(row, dict):
                raise InvalidNodeError(len(rows), None, "row", row, "a JSON object", f"{path}, line {number}")
            rows.append(row)
            lines.append(number)
    return _from_records(rows, str(path), lines)
