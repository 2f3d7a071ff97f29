"""The shapes of requests and answers, for checks and for the description of the API."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from faultset_ray.driver.object_values import Deletion, ObjectInfo
from faultset_ray.limits import GEOHASH_PRECISION_MAX, NAME_CHARACTERS_MAX, SURVIVORS_SECONDS

Text = Annotated[str, Field(min_length=0)]
"""What can be written in UTF-8: with any bound on its length pydantic refuses halves of surrogate pairs, which JSON can
spell and no answer could say back. It looks at them without a call to Python for each."""
Milliseconds = Annotated[float | None, Field(description="null: no answer, or never measured.")]
FleetName = Annotated[Text, Field(min_length=1, max_length=NAME_CHARACTERS_MAX)]
Precision = Annotated[int, Field(ge=1, le=GEOHASH_PRECISION_MAX, description="Of the geohash of a region.")]
Threshold = Annotated[float, Field(ge=0, allow_inf_nan=False, description="ms; at most so much survives.")]
Deadline = Annotated[float, Field(ge=0.1, le=SURVIVORS_SECONDS * 6, allow_inf_nan=False, description="Seconds.")]
Duplicates = Annotated[
    Literal["keep", "min"] | None, Field(description="Of nodes with one id the first, or the one of lowest latency.")
]


Pair = Annotated[list[int], Field(min_length=2, max_length=2)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Problem(BaseModel):
    """A problem document (RFC 9457), with the error's numbers beside."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    code: str
    """Stable: match on it, never on the text."""
    detail: str


# -- Requests


class NodeRow(TypedDict):
    """One node."""

    id: Text
    lat: float
    lon: float
    latency_ms: Milliseconds


class NodeColumns(_Strict):
    """Nodes in columns of one length: shorter than rows, and quicker."""

    id: list[Text]
    lat: list[float]
    lon: list[float]
    latency_ms: list[float | None]


Nodes = Annotated[list[NodeRow], Field(min_length=1)] | NodeColumns


class FailoverAsked(_Strict):
    """One list of nodes, and what their latencies are compared with."""

    ids: Annotated[list[Text], Field(min_length=1)]
    latencies: Annotated[list[float | None], Field(min_length=1)]
    threshold: Threshold


class FaultsetAsked(_Strict):
    """Nodes to be clustered by geohash, and what their latencies are compared with."""

    nodes: Nodes
    threshold: Threshold
    precision: Precision = 6
    order: Literal["appearance", "latency"] = "appearance"
    on_duplicate: Duplicates = None


class RegisterAsked(_Strict):
    """Nodes to be made known."""

    nodes: Nodes
    precision: Precision = 6
    fleet: FleetName = "default"
    on_duplicate: Duplicates = None
    policy: Annotated[dict[str, Any] | None, Field(description="The fleet's policy from now on, by its fields.")] = None
    deadline_s: Annotated[Deadline | None, Field(description="Seconds; by default limits.register_s.")] = None


class ObserveAsked(_Strict):
    """Measurements of registered nodes, in columns of one length."""

    ids: list[Text] | None = None
    handles: Annotated[list[Annotated[int, Field(ge=0, lt=1 << 32)]] | None, Field(description="In place of ids.")] = (
        None
    )
    latency_ms: list[float | None]
    ok: Annotated[list[bool] | None, Field(description="false where a node failed, whatever its latency.")] = None
    at_ms: Annotated[
        list[Annotated[int, Field(ge=0, lt=1 << 62)]] | None, Field(description="When; now by default.")
    ] = None
    fleet: FleetName = "default"
    deadline_s: Annotated[Deadline | None, Field(description="Seconds; by default limits.observe_s.")] = None


# -- Answers


class Alive(BaseModel):
    """The process answers."""

    status: Literal["ok"]
    version: str


class SurvivorsList(BaseModel):
    """Ids of survivors, ascending by latency in each region."""

    survivors: list[str]


class Registered(BaseModel):
    """What was registered."""

    fleet: str
    nodes: int
    precision: int
    handles: list[int]
    policy: dict[str, Any] | None


class Observed(BaseModel):
    """What was taken of it."""

    fleet: str
    observations: int
    taken: int
    missing_regions: list[str]


class VersionsShape(BaseModel):
    """Where one is in the changes of a fleet: epoch and version of each range, in the history of that birth."""

    birth: str
    ranges: dict[str, Pair]


class SurvivorsShape(BaseModel):
    """As ``faultset survivors --json``."""

    survivors: list[str]
    named_in_panic: list[str]
    by_region: dict[str, list[str]]
    tiers: dict[str, list[int]]
    short: dict[str, Pair]
    panic: dict[str, str]
    panic_withheld: dict[str, str]
    missing_regions: dict[str, int | None]
    directory_age_ms: int
    clock_ahead_ms: int
    frozen_until_ms: int | None
    at_ms: int
    versions: VersionsShape


class VerdictShape(BaseModel):
    """As one of ``faultset why --json``."""

    model_config = ConfigDict(extra="allow")

    id: str
    region: str
    state: str
    survives: bool
    rule: str


class ReceiptShape(BaseModel):
    """As ``faultset put --json``."""

    name: str
    generation: int
    size: int
    code: str
    n_durable: int
    survivable: int
    durability: str


class ObjectList(BaseModel):
    """As ``faultset ls --json``, page by page."""

    prefix: str
    deleted: bool
    objects: list[ObjectInfo]
    next: str | None
    """What ``after`` is for the next page; null on the last."""


DeletionShape = Deletion
