"""Traces as ``.npz``, ``.csv`` and ``.jsonl`` files: their text and arrays, to and from what :class:`Trace` takes."""

from __future__ import annotations

import csv
import json
import math
import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from faultset_ray import columns
from faultset_ray.errors import InputError
from faultset_ray.errors.base import shown
from faultset_ray.plain import distinct, finite, infinite

NOWHERE = "s"
"""The region of nodes of which a trace does not say where they are: all are in this one."""
_REQUIRED = ("at_ms", "node", "latency_ms")
_OPTIONAL = ("ok", "bad", "region")
_DIGITS_MAX = 19
"""Of a time, so that no text of any length becomes a number."""
_WORDS = ("true", "false", "null", "NaN", "Infinity", "-Infinity")
"""What of JSON is read whole or not at all; each begins with nothing."""
_BEGUN_NUMBER = re.compile(r"\.|[eE][+-]?")
"""What is left of a number that was cut off behind what might have been the whole of it."""
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


def read_npz(path: Path) -> dict[str, Any]:
    """Read named arrays into the arguments of :meth:`Trace.of`."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, BadZipFile, EOFError) as error:
        raise InputError(f"{path} is no .npz file without pickles: {error}") from None
    expected = {"ids", "at_ms", "node", "latency_ms"}
    if expected - arrays.keys() or arrays.keys() - expected - {"ok", "bad", "regions"}:
        raise InputError(f"{path} has the arrays {sorted(arrays)}; expected {sorted(expected)}, and ok, bad, regions")
    return {"nodes" if name == "node" else name: array for name, array in arrays.items()}


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write named arrays, compressed."""
    np.savez_compressed(path, allow_pickle=False, **arrays)


def read_csv(path: Path) -> dict[str, Any]:
    """Read lines under a header into the arguments of :meth:`Trace.of`."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True, restval=None, restkey="")
        try:
            _check_header(reader.fieldnames, path)
            rows = [(reader.line_num, _parsed(row, f"{path}, line {reader.line_num}")) for row in reader]
        except csv.Error as error:
            raise InputError(f"{path}, line {reader.line_num}: {error}") from None
    return _columns_of(path, rows)


def _check_header(names: Sequence[str] | None, path: Path) -> None:
    if not names:
        raise InputError(f"{path} has no header in its first line; expected the fields {', '.join(_REQUIRED)}")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"{path}: the header has {twice[0]!r} twice; of two columns it is not known which one counts")


def _parsed(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A line's fields as JSON would have them."""
    parsed: dict[str, Any] = {}
    for name, text in row.items():
        if not name or text is None:
            raise InputError(f"{where}: not as many fields as in the header")
        value = text.strip()
        if name == "latency_ms":
            parsed[name] = _number(value, where) if value else None
        elif name == "at_ms":
            digits = value.isascii() and value.isdecimal() and len(value) <= _DIGITS_MAX
            parsed[name] = int(value) if digits else value
        elif name in {"ok", "bad"}:
            parsed[name] = _FLAGS.get(value.lower(), value)
        else:
            parsed[name] = value
    return parsed


def _number(text: str, where: str) -> float:
    try:
        if "_" not in text and text.isascii():  # Python reads more as numbers than other programs write
            return float(text)
    except ValueError:
        pass
    raise InputError(f"{where}: latency_ms is {shown(text)}; expected a number, or nothing")


def read_jsonl(path: Path) -> dict[str, Any]:
    """Read objects, one a line, into the arguments of :meth:`Trace.of`, and ``torn``: lines that were cut off."""
    rows, torn = [], []
    with path.open("rb") as file:
        for line, raw in enumerate(file, 1):
            text = (raw.removeprefix(BOM_UTF8) if line == 1 else raw).strip()
            if not text:
                continue
            try:
                rows.append((line, json.loads(text.decode(), object_pairs_hook=distinct)))
            except (ValueError, RecursionError) as error:
                if not _cut_off(text):
                    raise InputError(f"{path}, line {line}: {_why(error)}") from None
                torn.append(line)
    return {**_columns_of(path, rows), "torn": tuple(torn)}


def _why(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8: {error.reason}"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


def _cut_off(line: bytes) -> bool:
    """Whether a line that can't be read is the beginning of an object, and nothing else."""
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        if error.end != len(line):
            return False
        text = line[: error.start].decode()  # within a character
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        rest = text[error.pos :]
        return text.startswith("{") and (
            error.msg.startswith("Unterminated string")
            or (error.msg.startswith("Invalid \\u") and '"' not in rest)
            or _BEGUN_NUMBER.fullmatch(rest) is not None
            or any(word.startswith(rest) for word in _WORDS)
        )
    except (ValueError, RecursionError):  # a number of too many digits, or what no recording has
        return False
    return False


def _columns_of(path: Path, rows: list[tuple[int, Any]]) -> dict[str, Any]:
    """Rows into the arguments of :meth:`Trace.of`; nodes are counted as they appear, and stay where they were first."""
    number: dict[str, int] = {}
    regions: list[str] = []
    for line, row in rows:
        _check_row(row, f"{path}, line {line}")
        if number.setdefault(row["node"], len(number)) == len(regions):
            regions.append(row.get("region", NOWHERE))
    found: dict[str, Any] = {
        "ids": list(number),
        "regions": regions,
        "at_ms": np.array([row["at_ms"] for _, row in rows], np.int64),
        "nodes": np.array([number[row["node"]] for _, row in rows], np.int64),
        "latency_ms": [math.nan if row["latency_ms"] is None else float(row["latency_ms"]) for _, row in rows],
        "ok": np.array([row.get("ok", True) for _, row in rows], np.bool_),
    }
    known = {"bad" in row for _, row in rows}
    if len(known) == 2:
        raise InputError(f"{path}: some samples say whether the node was bad and some do not")
    return {**found, "bad": np.array([row["bad"] for _, row in rows], np.bool_)} if known == {True} else found


def _check_row(row: Any, where: str) -> None:
    if not isinstance(row, dict) or set(_REQUIRED) - row.keys() or row.keys() - {*_REQUIRED, *_OPTIONAL}:
        fields = sorted(row) if isinstance(row, dict) else row
        raise InputError(
            f"{where}: expected the fields {', '.join(_REQUIRED)} (and {', '.join(_OPTIONAL)}), not {shown(fields)}"
        )
    latency_ms = infinite(row["latency_ms"])
    unknown = latency_ms is None or (isinstance(latency_ms, float) and math.isnan(latency_ms))
    sound = {
        "at_ms": columns.is_integer(row["at_ms"]) and 0 <= row["at_ms"] < 1 << 62,
        "node": isinstance(row["node"], str) and row["node"] != "",
        "latency_ms": unknown or columns.as_float(latency_ms) >= 0,
        "ok": isinstance(row.get("ok", True), bool),
        "bad": isinstance(row.get("bad", True), bool),
        "region": isinstance(row.get("region", NOWHERE), str),
    }
    for name, valid in sound.items():
        if not valid:
            raise InputError(f"{where}: {name} is {shown(row[name])}, which it can't be")


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]], names: list[str]) -> None:
    """Write rows under a header."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {name: str(value).lower() if isinstance(value, bool) else value for name, value in row.items()}
            for row in rows
        )


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows, one a line; what UTF-8 has no form for is escaped, with all else of its line that is not ASCII."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(_line({name: finite(value) for name, value in row.items()}) for row in rows)


def _line(row: Mapping[str, Any]) -> str:
    text = json.dumps(row, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(row, allow_nan=False)
    return text + "\n"
