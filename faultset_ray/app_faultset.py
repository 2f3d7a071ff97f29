"""The older library's command line: ``python -m faultset_ray.app_faultset``.

With nodes as ``id:lat:lon:latency`` it clusters them by geohash and fails over in each cluster; with bare
ids and ``--lats`` it fails over in one list. The survivors go to stdout, everything else to stderr.

Exit codes: 0 some node survives, 1 none does, 2 the input can't be used, 70 an internal error.
"""

# ruff: noqa: T201 - a command line prints

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from io import TextIOWrapper

from faultset_ray.errors import FaultsetError, InvalidNodeError, LengthMismatchError, NoSurvivorsError
from faultset_ray.fleet_io import parse_numbers
from faultset_ray.pipeline import failover, failover_async, faultset, faultset_async

LOG = logging.getLogger("faultset_ray.app_faultset")

_LEVELS = ("debug", "info", "warning", "error", "critical")
_FIELDS = ("lat", "lon", "latency_ms")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (by default the process's) and return the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # an id may be no text of this encoding
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=options.level.upper(), format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        survivors = _survivors(options)
        print(",".join(survivors) if options.plain else f"Healthy nodes: {survivors}", flush=True)
    except InvalidNodeError as error:
        column = "--lats" if options.lats is not None and error.field != "id" else "--nodes"
        return _fail(error.at(f"{column}, item {error.index + 1}"))
    except FaultsetError as error:
        return _fail(error)
    except Exception as error:
        LOG.debug("internal error", exc_info=True)
        print(f"error: internal error, {type(error).__name__}: {error}", file=sys.stderr)
        return FaultsetError.exit_code
    return 0 if survivors else NoSurvivorsError.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m faultset_ray.app_faultset",
        description="Which nodes survive a latency threshold, in each geohash cluster or in one list.",
        allow_abbrev=False,
    )
    parser.add_argument("-n", "--nodes", required=True, help="id:lat:lon:latency,... or, with --lats, id,...")
    parser.add_argument("--lats", "--latencies", help="milliseconds of each id, separated by commas")
    parser.add_argument("-t", "--threshold", "--th", type=float, required=True, help="highest latency that survives")
    parser.add_argument("-p", "--precision", type=int, default=5, help="geohash precision, 1 to 12 (default 5)")
    parser.add_argument("-a", "--async", dest="use_async", action="store_true", help="use the asyncio functions")
    parser.add_argument("--plain", action="store_true", help="print the bare ids, separated by commas")
    parser.add_argument("--level", type=str.lower, choices=_LEVELS, default="warning", help="log level")
    return parser


def _survivors(options: argparse.Namespace) -> list[str]:
    items = [item.strip() for item in options.nodes.split(",")] if options.nodes.strip() else []
    if options.lats is not None:
        return _in_one_list(items, options)
    ids, *texts = _split_nodes(items)
    nodes = (ids, *(parse_numbers(field, column, ids) for field, column in zip(_FIELDS, texts, strict=True)))
    LOG.debug("%d nodes, threshold %s ms, geohash precision %d", len(ids), options.threshold, options.precision)
    table = dict(zip(("id", *_FIELDS), nodes, strict=True))
    if options.use_async:
        return asyncio.run(faultset_async(table, options.threshold, options.precision))
    return faultset(table, options.threshold, options.precision)


def _in_one_list(ids: list[str], options: argparse.Namespace) -> list[str]:
    texts = [text.strip() for text in options.lats.split(",")] if options.lats.strip() else []
    if ids and len(ids) != len(texts):
        raise LengthMismatchError({"--nodes": len(ids), "--lats": len(texts)})
    latencies = parse_numbers("latency_ms", texts, ids)
    LOG.debug("%d nodes, threshold %s ms", len(ids), options.threshold)
    if options.use_async:
        return asyncio.run(failover_async(ids, latencies, options.threshold))
    return failover(ids, latencies, options.threshold)


def _split_nodes(items: list[str]) -> list[list[str]]:
    """Ids, latitudes, longitudes and latencies; an id may contain colons."""
    rows = [item.rsplit(":", len(_FIELDS)) for item in items]
    for index, row in enumerate(rows):
        if len(row) != 1 + len(_FIELDS):
            raise InvalidNodeError(index, None, "node", items[index], "id:lat:lon:latency (or give --lats)")
    return [[text.strip() for text in column] for column in zip(*rows, strict=True)] or [[], [], [], []]


def _fail(error: FaultsetError) -> int:
    print(f"error: {error}", file=sys.stderr)
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
