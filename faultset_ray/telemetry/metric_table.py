"""Every metric that there is: its name, kind, unit, tags and meaning. The documentation's page is made of this.

Names get the prefix ``faultset_``; Prometheus sees them on a Ray node as ``ray_faultset_…``, counters with ``_total``
behind. A tag's values are few: a closed list, or the first ``most`` that a process tells; all others are ``other``.
Ids of nodes, names of objects and UUIDs of stores are never tags.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Tag:
    """What a metric is told apart by."""

    name: str
    values: tuple[str, ...] = ()
    """All there are; empty where they are open."""
    most: int = 0
    """How many different ones of an open tag a process tells."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric."""

    name: str
    kind: Kind
    unit: str
    """Of its values; the name ends with it where it is a unit of measure."""
    tags: tuple[Tag, ...]
    text: str
    """What it means, in a sentence."""
    section: str
    bounds: tuple[float, ...] = ()
    """Upper ends of a histogram's buckets."""
    beside: str = ""
    """Of a gauge: the ``what`` of the timestamp that says whether it is of now."""

    @property
    def series(self) -> tuple[str, ...]:
        """The names under which Prometheus sees it on a Ray node."""
        name = f"ray_faultset_{self.name}"
        if self.kind == "histogram":
            return f"{name}_bucket", f"{name}_sum", f"{name}_count"
        return (f"{name}_total",) if self.kind == "counter" else (name,)


METRICS: Final[dict[str, Metric]] = {}
"""By name, without the prefix."""

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
LONG_SECONDS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)

FLEET: Final = Tag("fleet", most=32)
REGION: Final = Tag("region", most=64)
CODE: Final = Tag("code", most=16)
ENGINE: Final = Tag("engine", ("gfni512", "gfni256", "avx2", "portable", "naive"))
OUTCOMES: Final = ("ok", "not_found", "refused", "lost", "unavailable", "error", "cancelled")
OUTCOME: Final = Tag("outcome", OUTCOMES)
VERB: Final = Tag("verb", ("put", "get", "read", "delete", "undelete"))
STATES: Final = ("unknown", "healthy", "suspect", "ejected", "probation")
REASONS: Final = ("over_threshold", "failures", "relapse")
TIERS: Final = ("own", "neighbours", "parent", "nearest", "everywhere", "panic")
MARGINS: Final = ("lost", "0", "1", "2", "3+", "whole")
QUEUES: Final = ("repair", "damage", "writes", "garbage", "moves")
METHODS: Final = ("GET", "HEAD", "PUT", "POST", "DELETE")


def _add(
    section: str,
    kind: Kind,
    name: str,
    unit: str,
    tags: tuple[Tag, ...],
    text: str,
    bounds: tuple[float, ...] = (),
    beside: str = "",
) -> Metric:
    assert name not in METRICS, name
    METRICS[name] = Metric(name, kind, unit, tags, text, section, bounds, beside)
    return METRICS[name]


WHAT: Final = Tag("what", ("ranges", "stores", "objects"))
"""What a look is at."""

_S = "System"
UPKEEP_TIMESTAMP = _add(
    _S, "gauge", "upkeep_timestamp_seconds", "seconds", (WHAT,),
    "When the driver with the lease last looked at all ranges, stores or objects, in seconds since 1970; 0 in a "
    "process that has given the lease up. Every other gauge counts only beside a fresh one of the same process.",
)  # fmt: skip
COORDINATOR_STARTS = _add(
    _S, "counter", "coordinator_starts", "", (), "Times that a coordinator began to serve a system's state."
)
RANGE_RESTORES = _add(
    _S,
    "counter",
    "range_restores",
    "",
    (FLEET,),
    "Ranges that were brought up anew, as their servant was gone or silent.",
)
ROUNDS_FAILED = _add(
    _S, "counter", "upkeep_failures", "", (Tag("what", ("steward", "caretaker")),),
    "Rounds of the background's work that were cut short by an error; they are tried again.",
)  # fmt: skip

_C = "Control plane"
NODES = _add(
    _C,
    "gauge",
    "nodes",
    "",
    (FLEET, Tag("state", STATES)),
    "Nodes by state, of the ranges that answer.",
    beside="ranges",
)
SURVIVORS = _add(
    _C,
    "gauge",
    "survivors",
    "",
    (FLEET,),
    "Nodes that survive, by state and mark, of the ranges that answer.",
    beside="ranges",
)
RANGES = _add(
    _C,
    "gauge",
    "ranges",
    "",
    (FLEET, Tag("state", ("answering", "silent"))),
    "Ranges of a fleet that answer, and that do not.",
    beside="ranges",
)
REGIONS_SHORT = _add(
    _C,
    "gauge",
    "regions_short",
    "",
    (FLEET,),
    "Regions below the policy's survivors_min, or not yet well above.",
    beside="ranges",
)
REGIONS_PANIC = _add(
    _C,
    "gauge",
    "regions_panic",
    "",
    (FLEET,),
    "Regions in panic: the fallback finds too few for them too.",
    beside="ranges",
)
OBSERVATION_AGE = _add(
    _C, "gauge", "observation_age_seconds", "seconds", (FLEET, Tag("which", ("newest", "oldest"))),
    "Age of the newest observation of a fleet, and of the oldest one that still counts.",
    beside="ranges",
)  # fmt: skip
CHECKPOINT_LAG = _add(
    _C, "gauge", "checkpoint_lag_seconds", "seconds", (FLEET,),
    "For how long the oldest observation waits that is in no whole checkpoint; the worst range.",
    beside="ranges",
)  # fmt: skip
UNSAVED_CHANGES = _add(
    _C,
    "gauge",
    "unsaved_changes",
    "",
    (FLEET,),
    "Changes of nodes that are in no checkpoint, and so not told to watchers.",
    beside="ranges",
)
EJECTIONS = _add(
    _C, "counter", "ejections", "", (FLEET, Tag("reason", REASONS)), "Nodes that were ejected, by the rule that held."
)
READMISSIONS = _add(_C, "counter", "readmissions", "", (FLEET,), "Nodes that were out and survive again.")
FLAPS = _add(
    _C,
    "counter",
    "flaps",
    "",
    (FLEET,),
    "Ejections of nodes that had come back, and whose last ejection still counts for the hold-down; "
    "it always does where the policy has none.",
)
SHORTAGES = _add(_C, "counter", "shortages", "", (FLEET,), "Times that a region fell below the policy's survivors_min.")
PANICS = _add(_C, "counter", "panics", "", (FLEET,), "Times that a region came into panic.")
FREEZES = _add(
    _C,
    "counter",
    "freezes",
    "",
    (FLEET,),
    "Times that a range froze its ejections, as the observer seems to be at fault.",
)
DETECTION = _add(
    _C, "histogram", "detection_seconds", "seconds", (FLEET,),
    "From a node's turning suspect, or else from its last sample, to its ejection.", LONG_SECONDS,
)  # fmt: skip
SPILL = _add(
    _C, "counter", "spill", "", (Tag("tier", TIERS[1:]),),
    "Nodes that regions short of survivors were given, by where they come from; counted when the region is looked at.",
)  # fmt: skip
ANSWERS = _add(
    _C,
    "counter",
    "answers",
    "",
    (FLEET, Tag("outcome", ("whole", "partial", "failed"))),
    "Questions for survivors, by what was answered.",
)
ANSWER_SECONDS = _add(
    _C, "histogram", "answer_seconds", "seconds", (FLEET,), "How long a question for survivors took.", SECONDS
)
OBSERVATIONS = _add(
    _C, "counter", "observations", "", (FLEET, Tag("outcome", ("taken", "passed_over"))),
    "Samples that ranges took, and that they did not: too old, of unknown nodes, or the range did not answer.",
)  # fmt: skip

_O = "Objects"
OPERATIONS = _add(
    _O, "counter", "operations", "", (VERB, OUTCOME),
    "Operations on objects that ended, by outcome; `read` is of an opened object, as over HTTP or as a file.",
)  # fmt: skip
OPERATION_SECONDS = _add(
    _O, "histogram", "operation_seconds", "seconds", (VERB,),
    "How long operations took, whatever came of them.", SECONDS,
)  # fmt: skip
OPERATION_BYTES = _add(
    _O,
    "counter",
    "operation_bytes",
    "bytes",
    (Tag("verb", ("put", "get", "read")),),
    "Bytes of objects that were put, and that were given out.",
)
CODED_BYTES = _add(
    _O, "counter", "coded_bytes", "bytes", (Tag("verb", ("encode", "decode")), CODE, ENGINE),
    "Data bytes that drivers and tasks encoded, and that they decoded; a `get` of sound data shards decodes nothing.",
)  # fmt: skip
CODED_SECONDS = _add(
    _O, "counter", "coded_seconds", "seconds", (Tag("verb", ("encode", "decode")), CODE, ENGINE),
    "How long that took, digests of encoded blocks and the wait for a thread included.",
)  # fmt: skip
BLOCK_READS = _add(_O, "counter", "block_reads", "", (), "Blocks that were asked of stores since they are needed.")
HEDGES = _add(_O, "counter", "hedges", "", (), "Blocks that were asked for in place of late ones.")
CORRUPTIONS = _add(
    _O, "counter", "corruptions", "", (Tag("found_by", ("read", "scrub")),),
    "Shards that were found damaged or missing; one that many reads meet counts once a minute and driver.",
)  # fmt: skip

_U = "Upkeep"
OBJECTS = _add(
    _U, "gauge", "objects", "", (Tag("margin", MARGINS),),
    "Objects by how many further losses they bear: whole, or lacking shards and bearing 3 or more, 2, 1, 0, or lost.",
    beside="objects",
)  # fmt: skip
OBJECT_BYTES = _add(_U, "gauge", "object_bytes", "bytes", (), "Bytes of all objects, without parity.", beside="objects")
STORES = _add(
    _U, "gauge", "stores", "", (Tag("state", ("here", "leaving", "away", "gone")),),
    "Stores that answer and stay, that are being emptied, that don't answer, and that are repaired around.",
    beside="stores",
)  # fmt: skip
STORE_BYTES = _add(
    _U, "gauge", "store_bytes", "bytes", (REGION, Tag("kind", ("held", "free"))),
    "Bytes of sealed shards on the stores of a region, and what is free on their disks, once for each store.",
    beside="stores",
)  # fmt: skip
STORE_FREE_RATIO = _add(
    _U,
    "gauge",
    "store_free_ratio",
    "ratio",
    (),
    "Free share of the fullest store's disk, 0 to 1; 0 too while no store answers.",
    beside="stores",
)
QUEUE_DEPTH = _add(
    _U, "gauge", "queue_depth", "", (Tag("queue", QUEUES),),
    "What waits: objects to mend, damaged shards, open writes, garbage, moves of shards.",
    beside="objects",
)  # fmt: skip
REPAIRS = _add(
    _U, "counter", "repairs", "", (Tag("outcome", ("mended", "failed", "waiting", "lost")),),
    "Objects that were mended, could not be, wait for stores, or have too few shards within reach; each try counts.",
)  # fmt: skip
REPAIRED_SHARDS = _add(_U, "counter", "repaired_shards", "", (), "Shards that were made anew or copied in repairs.")
REPAIRED_BYTES = _add(_U, "counter", "repaired_bytes", "bytes", (), "Bytes of these shards.")
WRITES_ENDED = _add(
    _U,
    "counter",
    "writes_ended",
    "",
    (Tag("outcome", ("committed", "given_up")),),
    "Open writes that were ended for drivers that are gone.",
)
SCRUB_TIMESTAMP = _add(
    _U, "gauge", "scrub_timestamp_seconds", "seconds", (Tag("depth", ("light", "deep")),),
    "When the newest pass of the background's scrub began, in seconds since 1970; 0 before the first.",
    beside="objects",
)  # fmt: skip

_H = "HTTP"
ROUTE: Final = Tag(
    "route",
    (
        "/v1/health", "/v1/ready", "/v1/openapi.json", "/v1/failover", "/v1/faultset", "/v1/survivors", "/v1/watch",
        "/v1/why/{node_id}", "/v1/objects", "/v1/objects/{name}", "/v1/fleet", "/v1/fleet/observe", "/v1/status",
    ),
)  # fmt: skip
HTTP_REQUESTS = _add(
    _H, "counter", "http_requests", "", (ROUTE, Tag("method", METHODS), Tag("status", most=32)),
    "Requests that were answered, by status; 499 for a client that left before, 500 for an answer that broke off.",
)  # fmt: skip
HTTP_SECONDS = _add(
    _H, "histogram", "http_seconds", "seconds", (ROUTE,), "From a request's head to the end of its answer.", SECONDS
)
