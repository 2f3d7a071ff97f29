"""Our ratios against peers beside their targets: medians of pairs run one after the other on new input.

Then figures that have no peer, and objects on Ray. Printed, and kept in ``benchmarks/results/``; ends with 1 where a
target was missed.
"""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import answers
import driven
import numpy as np
import peers
import resident
import stored
from report import Report

import faultset_ray as fs
from faultset_ray import geohash


@dataclass(frozen=True)
class Case:
    name: str
    target: float
    """Our speed over the peer's, at least."""
    pairs: int
    make: Callable[[], Any]
    """Draws an input that neither side has seen."""
    ours: Callable[[Any], object]
    peer: Callable[[Any], object]
    for_peer: Callable[[Any], Any] = lambda given: given
    """Turns an input into what the peer takes, untimed."""


def lists(columns: tuple) -> list[list[float]]:
    return [column.tolist() for column in columns]


def geohash_case(precision: int) -> Case:
    return Case(
        f"geohash of 1,000,000 at precision {precision} : loop of pygeohash",
        120.0,
        9,
        lambda: peers.points(1_000_000),
        lambda columns: geohash.encode_many(*columns, precision),
        lambda columns: peers.pygeohash_loop(*columns, precision),
        lists,
    )


def pipeline_case(where: str, make: Callable[[int], fs.Fleet], precision: int) -> Case:
    return Case(
        f"faultset of 50,000 {where} at precision {precision} : Python with pygeohash",
        25.0,
        15,
        lambda: make(50_000),
        lambda fleet: fs.faultset(fleet, 100.0, precision),
        lambda nodes: peers.python_faultset(nodes, 100.0, precision),
        list,
    )


CASES = [
    geohash_case(6),
    geohash_case(12),
    Case(
        "failover of 1,000,000 : numpy mask and stable argsort",
        4.0,
        25,
        lambda: peers.latencies(1_000_000),
        lambda latency_ms: fs.failover_indices(latency_ms, 100.0),
        lambda latency_ms: peers.numpy_failover(latency_ms, 100.0),
    ),
    pipeline_case("on earth", peers.fleet, 6),
    pipeline_case("on earth", peers.fleet, 3),
    pipeline_case("in cities", peers.urban_fleet, 6),
    Case(
        "faultset of 1,000,000 at precision 3 : Python with pygeohash",
        50.0,
        5,
        lambda: peers.fleet(1_000_000),
        lambda fleet: fs.faultset(fleet, 100.0, 3),
        lambda nodes: peers.python_faultset(nodes, 100.0, 3),
        list,
    ),
    Case(
        "faultset of 1,000,000 at precision 3 : polars, cells given",
        3.0,
        9,
        lambda: peers.fleet(1_000_000),
        lambda fleet: fs.faultset(fleet, 100.0, 3),
        lambda frame: peers.polars_faultset(frame, 100.0),
        lambda fleet: peers.with_cells(fleet, 3),
    ),
    Case(
        "faultset of 1,000 : numpy lexsort",
        0.5,
        501,
        lambda: peers.fleet(1_000),
        lambda fleet: fs.faultset(fleet, 100.0, 6),
        lambda fleet: peers.numpy_faultset(fleet, 100.0, 6),
    ),
]


@dataclass(frozen=True)
class Figure:
    name: str
    unit: str
    limit: float | None
    """At most."""
    measure: Callable[[], float]


FIGURES = [
    *(
        Figure(
            f"absorb {samples:,} samples of 1,000,000 nodes, {statistic}",
            "ns a sample",
            100.0,
            partial(resident.absorb_ns, statistic, samples),
        )
        for statistic in ("last", "ewma", "p95")
        for samples in (100_000, 1_000_000)
    ),
    Figure("register 1,000,000 nodes, in one process", "s", 3.0, driven.register_s),
    Figure("register 1,000,000 nodes, on Ray", "s", 3.0, driven.register_s_on_ray),
    Figure("of that, until as many empty actors are up", "s", None, driven.empty_actors_s),
    Figure(
        "survivors of 1,000,000 on Ray, put together : an empty fan-out and the slowest range's own compute",
        "times",
        1.2,
        driven.survivors_ratio_on_ray,
    ),
    Figure(
        "the same, and every survivor's id looked up",
        "times",
        3.0,
        partial(driven.survivors_ratio_on_ray, ids=True),
    ),
    Figure(
        "the same by a policy that borrows and panics, without ids",
        "times",
        3.0,
        partial(driven.survivors_ratio_on_ray, driven.BORROWING),
    ),
    Figure("decide about 1,000,000 nodes", "ms", 10.0, partial(resident.decide_ms, "ewma")),
    Figure(
        "answer about 1,000,000 nodes in 370,000 regions, default policy",
        "times that without",
        1.2,
        answers.policy_costs,
    ),
    Figure("state of 1,000,000 nodes", "bytes a node", 200.0, partial(resident.bytes_a_node, "last")),
    Figure(
        "state of 1,000,000 nodes with the sketch of p95", "bytes a node", 200.0, partial(resident.bytes_a_node, "p95")
    ),
]


LINEAR = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)


def linearity(report: Report) -> None:
    """The time of a node as fleets grow, each fleet new: time goes with the number of nodes to the power of 1."""
    found = []
    for nodes in LINEAR:
        rounds = max(3, min(200, 1_000_000 // nodes))
        times = [seconds(lambda fleet: fs.faultset(fleet, 100.0, 3), peers.fleet(nodes)) for _ in range(rounds)]
        found.append(statistics.median(times))
        report.add(f"faultset of {nodes:,} at precision 3", 1e9 * found[-1] / nodes, unit="ns a node")
    power = float(np.polyfit(np.log(LINEAR), np.log(found), 1)[0])
    report.add(
        "faultset of 1,000 to 10,000,000: the power of the number of nodes that its time goes with", power, most=1.1
    )


def seconds(call: Callable[[Any], object], given: Any) -> float:
    start = time.perf_counter()
    result = call(given)
    took = time.perf_counter() - start
    del result  # who lets go of it, and when, is not what is measured
    return took


def main() -> int:
    report = Report("ratios")
    for case in CASES:
        case.ours(case.make())  # compile
        ours, peer = [], []
        for _ in range(case.pairs):
            ours.append(seconds(case.ours, case.make()))
            peer.append(seconds(case.peer, case.for_peer(case.make())))
        ratio = statistics.median(theirs / mine for mine, theirs in zip(ours, peer, strict=True))
        report.add(f"{case.name}, ours", 1e3 * statistics.median(ours), unit="ms")
        report.add(case.name, ratio, least=case.target)
    linearity(report)
    for figure in FIGURES:
        report.add(figure.name, figure.measure(), most=figure.limit, unit=figure.unit)
    return report.close() | stored.main()


if __name__ == "__main__":
    sys.exit(main())
