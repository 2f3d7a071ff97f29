"""Fleets over HTTP: plain failover, registration, observations, and the answers about them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request, Response

from faultset_ray.driver.described import told_status, told_survivors
from faultset_ray.errors import InputError
from faultset_ray.http import shapes
from faultset_ray.http.asking import Driver, as_json, problems
from faultset_ray.http.headers import name_of
from faultset_ray.pipeline import failover_async, faultset_async
from faultset_ray.policy import Policy

router = APIRouter(tags=["fleets"])

FleetQuery = Annotated[shapes.FleetName, Query(description="Name of the fleet.")]
DeadlineQuery = Annotated[
    shapes.Deadline | None,
    Query(description="Seconds; regions that have not answered by then are named. By default limits.survivors_s."),
]


@router.post("/v1/failover", response_model=shapes.SurvivorsList, responses=problems())
async def failover(asked: shapes.FailoverAsked) -> dict[str, Any]:
    """The ids whose latency is at most the threshold, ascending by latency. Nothing is kept."""
    return {"survivors": await failover_async(asked.ids, _numbers(asked.latencies), asked.threshold)}


@router.post("/v1/faultset", response_model=shapes.SurvivorsList, responses=problems(404))
async def faultset(asked: shapes.FaultsetAsked) -> dict[str, Any]:
    """Cluster nodes by geohash, fail over in each cluster, and merge. Nothing is kept."""
    survivors = await faultset_async(
        _columns(asked.nodes), asked.threshold, asked.precision, order=asked.order, on_duplicate=asked.on_duplicate
    )
    return {"survivors": survivors}


@router.post("/v1/fleet", response_model=shapes.Registered, responses=problems(404))
async def register(driver: Driver, asked: shapes.RegisterAsked) -> dict[str, Any]:
    """Register nodes: new ones are added, known ones take these values."""
    policy = None if asked.policy is None else Policy.of(asked.policy)
    fleet = await driver.register(
        _columns(asked.nodes),
        asked.precision,
        fleet=asked.fleet,
        on_duplicate=asked.on_duplicate,
        policy=policy,
        deadline_s=asked.deadline_s,
    )
    assert fleet.handles is not None
    return {
        "fleet": fleet.name,
        "nodes": len(fleet),
        "precision": asked.precision,
        "handles": fleet.handles.tolist(),
        "policy": None if policy is None else asdict(policy),
    }


@router.post("/v1/fleet/observe", response_model=shapes.Observed, responses=problems(404))
async def observe(driver: Driver, asked: shapes.ObserveAsked) -> dict[str, Any]:
    """Report measurements. Those older than what is known are passed over; nothing is retried."""
    if (asked.ids is None) == (asked.handles is None):
        raise InputError("give either ids or handles of the nodes that were measured")
    handles = (
        np.array(asked.handles, np.uint32)
        if asked.ids is None
        else await driver.handles(asked.ids, fleet=asked.fleet, deadline_s=asked.deadline_s)
    )
    taken = await driver.observe(
        handles,
        _numbers(asked.latency_ms),
        ok=None if asked.ok is None else np.array(asked.ok, np.bool_),
        at_ms=None if asked.at_ms is None else np.array(asked.at_ms, np.int64),
        fleet=asked.fleet,
        deadline_s=asked.deadline_s,
    )
    return {
        "fleet": asked.fleet,
        "observations": len(handles),
        "taken": int(taken),
        "missing_regions": taken.missing_regions,
    }


@router.get(
    "/v1/survivors", response_class=Response, responses={200: {"model": shapes.SurvivorsShape}, **problems(404)}
)
async def survivors(
    driver: Driver,
    fleet: FleetQuery = "default",
    threshold: Annotated[
        shapes.Threshold | None, Query(description="Ask the plain rule, in place of the fleet's policy.")
    ] = None,
    region: Annotated[list[str] | None, Query(description="Only these regions (geohashes).")] = None,
    partial: Annotated[bool, Query(description="With false, a region that does not answer is an error.")] = True,
    deadline_s: DeadlineQuery = None,
) -> Response:
    """Who survives, region by region, and which regions did not answer, are short, or are in panic."""
    answer = await driver.survivors(threshold_ms=threshold, fleet=fleet, deadline_s=deadline_s, partial=partial)
    return await as_json(told_survivors, answer, region)


@router.get(
    "/v1/why/{node_id:rest}",  # noqa: FAST003 - taken as it was sent, from the raw path
    response_class=Response,
    responses={200: {"model": shapes.VerdictShape}, **problems(404)},
    openapi_extra={
        "parameters": [
            {"name": "node_id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        ]
    },
)
async def why(
    request: Request, driver: Driver, fleet: FleetQuery = "default", deadline_s: DeadlineQuery = None
) -> Response:
    """Explain one node: state, rule, value against threshold (then and now), since and until when."""
    node_id = name_of(request.scope["raw_path"], "/v1/why/")
    verdict = await driver.why(node_id, fleet=fleet, deadline_s=deadline_s)
    return await as_json(verdict.to_dict)


@router.get("/v1/status", response_class=Response, responses=problems())
async def status(driver: Driver) -> Response:
    """How the objects fare, as ``faultset status --json``: margins, stores, what is under way."""
    return await as_json(told_status, await driver.status())


def _numbers(given: list[float | None]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A column; null is NaN."""
    return np.array(given, np.float64)


def _columns(nodes: list[shapes.NodeRow] | shapes.NodeColumns) -> dict[str, Any]:
    if isinstance(nodes, shapes.NodeColumns):
        return {"id": nodes.id, "lat": nodes.lat, "lon": nodes.lon, "latency_ms": _numbers(nodes.latency_ms)}
    return {
        "id": [row["id"] for row in nodes],
        "lat": [row["lat"] for row in nodes],
        "lon": [row["lon"] for row in nodes],
        "latency_ms": _numbers([row["latency_ms"] for row in nodes]),
    }
