"""The main job: a real cluster on this machine loses a whole region, and nothing else is lost.

``python -m jobs.drill``, ``faultset drill``, ``make drill``.
"""

from __future__ import annotations

import hashlib
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from faultset_ray.errors import FaultsetError, InputError, RegionTimeout
from jobs import completing, drill_report, oracle
from jobs.get import fetch
from jobs.output import INTERNAL, Json, app, fail, finish, run, with_error, working

if TYPE_CHECKING:  # Ray is loaded by the commands that use it
    import numpy as np

    from actors.local_cluster import LocalCluster, LocalNode
    from faultset_ray.control.answer import Survivors
    from faultset_ray.driver.sync import Driver
    from faultset_ray.model import Fleet

R = TypeVar("R")

OBSERVER = "westeurope"
PER_REGION = 20
PRECISION = 3
OBJECT = "drill"
RESTORED_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Victim:
    """A node that was killed."""

    place: str
    region: str
    pids: Sequence[int]


class Clock:
    """Seconds of each named step, in order."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def time(self, step: str, work: Callable[[], R]) -> R:
        """Do the work, and note how long it took."""
        with working(step):
            begun = time.perf_counter()
            done = work()
            self.seconds[step] = round(time.perf_counter() - begun, 3)
        return done


def default_file() -> Path:
    """A real binary of some 170 MB that is installed with numba: LLVM."""
    import llvmlite

    [library] = (Path(llvmlite.__file__).parent / "binding").glob("libllvmlite.*")
    return library


def drill(
    seed: Annotated[int, typer.Option(help="Of the fleet, of where the nodes stand and of which are killed.")] = 0,
    nodes: Annotated[int, typer.Option(help="Ray nodes to start, each a raylet of its own.")] = 7,
    code: Annotated[str, typer.Option(help="The erasure code.", autocompletion=completing.codes)] = "rs:4+3",
    kill: Annotated[
        int, typer.Option(help="Nodes of the region that is lost: each is killed with -9, with all its processes.")
    ] = 3,
    file: Annotated[
        Path | None, typer.Option(help="File to store; by default LLVM's library, 170 MB, which numba brings.")
    ] = None,
    threshold: Annotated[float, typer.Option(help="Survivors answer within so many ms.")] = 100.0,
    report: Annotated[Path | None, typer.Option(help="Write the JSON report to this file too.")] = None,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Start Ray nodes in some regions, ask for survivors, store a file on them, kill a region, and get every byte back.

    The file is an object of a named system, each of its shards durable on the store of another node.
    Ends with 0 only if the file is whole again and the survivors equal the oracle's.
    """
    path = file or default_file()
    _check(seed, nodes, kill, code, path, threshold, report)
    result: dict[str, Any] = {"seed": seed, "nodes": nodes, "code": code, "file": str(path)}
    try:
        _drill(result, seed, nodes, code, kill, path, threshold)
    except FaultsetError as error:
        _write(report, with_error(result, error))
        raise fail(error, result) from error
    _write(report, result)
    finish(result)
    if not result["passed"]:
        raise typer.Exit(INTERNAL)


def _drill(result: dict[str, Any], seed: int, nodes: int, code: str, kill: int, path: Path, threshold: float) -> None:
    from actors.local_cluster import LocalCluster
    from faultset_ray import codes
    from faultset_ray.datasets import azure_fleet

    clock = Clock()
    result["seconds"] = clock.seconds
    dice = random.Random(seed)  # noqa: S311 - a drill is to be repeatable
    fleet = azure_fleet(OBSERVER, PER_REGION, seed)
    regions = _homes(fleet, threshold, nodes, kill, dice)
    clock.time("compile", lambda: _compile(fleet, threshold, code))
    with tempfile.TemporaryDirectory(prefix="faultset-drill-") as scratch:
        stores = Path(scratch, "stores")
        stores.mkdir()
        specs = [_spec(region) for region in regions]
        cluster = clock.time(f"start {nodes} Ray nodes", lambda: LocalCluster(specs, store_dir=str(stores)))
        with cluster:
            region_of = dict(zip(cluster.node_ids, regions, strict=True))
            driver = clock.time("connect", lambda: _connected(cluster, nodes, scratch))
            with driver:
                registered = clock.time(f"register {len(fleet):,} nodes", lambda: driver.register(fleet, PRECISION))
                before = clock.time("survivors", lambda: _survivors(driver, registered, threshold))
                drill_report.survivors("Survivors", registered, before)
                clock.time("put", lambda: driver.put(OBJECT, path, code=code))
                stored = driver.stat(OBJECT)
                drill_report.shards(stored, region_of)
                result |= {"survivors_before": before.ids.tolist(), "sha256_in": stored.sha256, "size": stored.size}
                result |= {"durability": stored.durability, "survivable": stored.survivable}

                doomed = [place for place in cluster.node_ids if kill and region_of[place] == regions[0]]
                victims = clock.time("kill", lambda: [Victim(id_, region_of[id_], cluster.kill(id_)) for id_ in doomed])
                lost = [index for index, (_, place, _) in sorted(stored.locations.items()) if place in doomed]
                result["killed"] = [
                    {"place": victim.place, "region": victim.region, "pids": list(victim.pids)} for victim in victims
                ]
                result["lost_shards"] = lost
                drill_report.killed(victims, lost)

                after = clock.time(
                    "survivors without them",
                    lambda: _without(driver, registered, [v.region for v in victims], threshold),
                )
                drill_report.survivors("Survivors without the killed", registered, after)
                result["survivors_after"] = after.ids.tolist()
                out = Path(scratch, "again")
                clock.time("get", lambda: fetch(driver, OBJECT, out))
                result["sha256_out"] = _sha256(out)
    expected = _expected(fleet, [victim.region for victim in victims], threshold)
    whole = result["sha256_in"] == _sha256(path) == result["sha256_out"]
    equal = (result["survivors_before"], result["survivors_after"]) == expected
    result["bytes_back"] = whole
    result["survivors_equal_oracle"] = equal
    result["passed"] = whole and equal
    drill_report.verdict(result, codes.get(code).k, clock.seconds)


def _compile(fleet: Fleet, threshold: float, code: str) -> None:
    """Have the kernels on disk, where all processes find them: many that compile at once take each other's CPU."""
    from faultset_ray import codes, pack_shards, unpack_shards
    from faultset_ray.driver.sync import connect

    with connect(backend="local", region_actors=1) as driver:
        _survivors(driver, driver.register(fleet, PRECISION), threshold)
    shards = pack_shards(b"x", code)
    unpack_shards(shards[min(1, codes.get(code).tolerance) :])


def _connected(cluster: LocalCluster, nodes: int, scratch: str) -> Driver:
    from faultset_ray.driver.sync import connect

    return connect(cluster.address, system="drill", region_actors=nodes, state_dir=str(Path(scratch, "state")))


def _homes(fleet: Fleet, threshold: float, nodes: int, kill: int, dice: random.Random) -> list[str]:
    """The Azure region of each Ray node: `kill` of them in the first, fewer in each other one.

    The first are regions with survivors, so that one that is killed is missed.
    """
    from faultset_ray.datasets import azure_regions

    others = max(1, kill - 1)
    sizes = [kill] * (kill > 0) + [min(others, nodes - at) for at in range(kill, nodes, others)]
    near = fleet.latency_ms <= threshold
    trusted = sorted({node_id.rpartition("-")[0] for node_id in fleet.ids[near]})
    rest = [name for name in azure_regions().names if name not in trusted]
    chosen = dice.sample(trusted, min(len(sizes), len(trusted)))
    chosen += dice.sample(rest, len(sizes) - len(chosen))
    return [region for region, size in zip(chosen, sizes, strict=True) for _ in range(size)]


def _spec(region: str) -> LocalNode:
    from actors.local_cluster import LocalNode
    from faultset_ray import geohash
    from faultset_ray.backend.protocol import LABEL_CELL, LABEL_REGION, LABEL_STORE
    from faultset_ray.datasets import azure_regions

    regions = azure_regions()
    at = regions.names.index(region)
    cell = geohash.encode(float(regions.lat[at]), float(regions.lon[at]), 5)
    return LocalNode({LABEL_STORE: "true", LABEL_REGION: region, LABEL_CELL: cell})


def _survivors(driver: Driver, fleet: Fleet, threshold: float) -> Survivors:
    return driver.survivors(threshold_ms=threshold, fleet=fleet.name, partial=False)


def _without(driver: Driver, fleet: Fleet, dead_regions: Sequence[str], threshold: float) -> Survivors:
    """The survivors, once what stood in the dead regions was seen to be silent.

    Region actors that died with their Ray nodes are replaced by the driver as it finds them gone.
    """
    import numpy as np

    assert fleet.handles is not None
    silent = fleet.handles[in_regions(fleet, dead_regions)]
    nothing = np.full(len(silent), np.nan)
    deadline = time.monotonic() + RESTORED_SECONDS
    while True:
        answer = driver.survivors(threshold_ms=threshold, fleet=fleet.name)
        if answer.whole and driver.observe(silent, nothing, fleet=fleet.name) == len(silent):
            return _survivors(driver, fleet, threshold)
        if time.monotonic() > deadline:
            raise RegionTimeout(answer.missing_regions, len(answer.by_region), RESTORED_SECONDS)
        time.sleep(0.1)


def in_regions(fleet: Fleet, regions: Sequence[str]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which nodes stand in the given Azure regions, by their ids: bool[n]."""
    import numpy as np

    return np.isin([node_id.rpartition("-")[0] for node_id in fleet.ids], list(regions))


def _expected(fleet: Fleet, dead_regions: Sequence[str], threshold: float) -> tuple[list[str], list[str]]:
    dead = in_regions(fleet, dead_regions)
    alive = [node for node, is_dead in zip(fleet, dead, strict=True) if not is_dead]
    return oracle.survivors(fleet, threshold, PRECISION), oracle.survivors(alive, threshold, PRECISION)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(seed: int, nodes: int, kill: int, code: str, path: Path, threshold: float, report: Path | None) -> None:
    """Refuse what can't be done before a cluster is started for it."""
    from faultset_ray import codes
    from faultset_ray.columns import check_threshold
    from faultset_ray.datasets import azure_regions

    codes.get(code)
    check_threshold(threshold)
    if not path.is_file():
        raise InputError(f"--file {path} is not a file")
    if report is not None and not report.parent.is_dir():
        raise InputError(f"--report {report}: {report.parent} is not a directory")
    most = len(azure_regions().names)
    if not 1 <= nodes <= most:
        raise InputError(f"--nodes is {nodes}; expected 1 to {most}, one for each Azure region at most")
    if not 0 <= kill < nodes:
        raise InputError(f"--kill is {kill}; expected 0 to {nodes - 1}: one node must be left")
    if seed < 0:
        raise InputError(f"--seed is {seed}; expected 0 or more")


def _write(report: Path | None, result: dict[str, Any]) -> None:
    if report is not None:
        report.write_text(dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run(app(drill))
