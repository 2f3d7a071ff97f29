"""The result of each verb, as its last line of JSON has it: declared once, and made into JSON Schemas.

Where a result is one of the library's own values, that is named; else its keys stand here. A field that is not always
there is ``NotRequired``. What a verb prints is held to these by tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NotRequired, TypedDict

from faultset_ray.checkup.findings import Finding, Level
from faultset_ray.coordinator.objects import Lost, StoreRow, Tally, Unfinished
from faultset_ray.driver.emptying import Decommissioned
from faultset_ray.driver.object_values import ObjectInfo
from faultset_ray.driver.repairs import Repaired
from faultset_ray.driver.watch import Change, RegionChange
from faultset_ray.objects.store_values import StoreInfo
from jobs.bench_results import Bench
from jobs.fleet_results import Failover, Map, Mark, Observe, Plan, Regions, Register, Replay, Survivors, Watch, Why


class Put(TypedDict):
    """What ``faultset put`` tells."""

    system: str
    name: str
    generation: int
    size: int
    code: str
    n_durable: int
    survivable: int
    durability: Literal["fsync", "none"]
    seconds: float


class Get(TypedDict):
    """What ``faultset get`` tells."""

    system: str
    name: str
    file: str
    size: int
    seconds: float


class Ls(TypedDict):
    """What ``faultset ls`` tells."""

    system: str
    prefix: str
    deleted: bool
    objects: list[ObjectInfo]


class Location(TypedDict):
    """Where a shard is."""

    store: str
    place: str
    path: str


class Stat(TypedDict):
    """What ``faultset stat`` tells."""

    system: str
    name: str
    size: int
    generation: int
    spec: str
    created_ms: int
    durability: str
    sha256: str
    tolerate: int
    health: Literal["healthy", "degraded", "lost"]
    survivable: int
    locations: Mapping[str, Location]
    missing: Mapping[str, str]


class Rm(TypedDict):
    """What ``faultset rm`` tells."""

    system: str
    undo: bool
    generations: Mapping[str, int]
    failed: Mapping[str, str]


class Pass(TypedDict):
    """One pass over the stores."""

    began_ms: int
    done_ms: int | None


class Passes(TypedDict):
    """The newest pass of each kind; null before the first."""

    light: Pass | None
    deep: Pass | None


class Store(StoreRow):
    """One store of a system."""

    here: bool
    leaving: bool


class Status(Tally):
    """What ``faultset status`` tells."""

    system: str
    healthy: int
    margins: Mapping[str, int]
    lost: list[str]
    leaving: int
    orphans: int
    scrub: Passes
    stores: list[Store]


class OrphanRow(TypedDict):
    """A shard that no object needs."""

    store: str
    write_id: str
    index: int
    file_bytes: int


class Scrub(TypedDict):
    """What ``faultset scrub`` tells."""

    system: str
    deep: bool
    stores: int
    shards: int
    bytes: int
    missing: int
    corrupt: int
    records: int
    leftovers: int
    silent: list[str]
    orphans: list[OrphanRow]
    dropped: int
    freed_bytes: int
    seconds: float


class Decommission(Decommissioned):
    """What ``faultset decommission`` tells."""

    system: str
    which: str
    seconds: float


class DecommissionCancelled(TypedDict):
    """What ``faultset decommission --cancel`` tells."""

    system: str
    which: str
    cancelled: list[str]
    """The stores that take part again."""


class TwicePair(TypedDict):
    """Two writes of one generation."""

    name: str
    other: str
    generation: int
    write_id: str


class Rebuild(TypedDict):
    """What ``faultset rebuild`` tells."""

    system: str
    catalog: str
    epoch: int
    objects: int
    deleted: int
    garbage: int
    damage: int
    orphans: int
    lost: list[Lost]
    unfinished: list[Unfinished]
    twice: list[TwicePair]
    unreadable: int
    foreign: list[str]
    seconds: float


class Serve(TypedDict):
    """What ``faultset serve`` tells."""

    system: str
    host: str
    port: int
    served: bool
    """False if it was ended before it answered."""


class LocalNode(TypedDict):
    """A Ray node that ``faultset up --local`` started."""

    number: int
    pid: int


class StartedNodes(TypedDict):
    """The Ray nodes of this machine under a name."""

    address: str
    dashboard: str
    nodes: list[LocalNode]
    config: str
    folder: str
    store_dir: str
    environment: Mapping[str, str]


class Up(TypedDict):
    """What ``faultset up`` tells."""

    system: str
    was_up: bool
    epoch: int
    state_dir: str | None
    places: int
    stores: list[StoreInfo]
    attended: bool
    local: StartedNodes | None


class EndedNodes(TypedDict):
    """What ``faultset down --local`` ended; of a name without nodes, only where it looked."""

    address: NotRequired[str]
    dashboard: NotRequired[str]
    nodes: NotRequired[list[LocalNode]]
    config: NotRequired[str]
    folder: str
    store_dir: NotRequired[str]
    environment: NotRequired[Mapping[str, str]]
    ended: list[int]


class Down(TypedDict):
    """What ``faultset down`` tells."""

    system: str
    was_up: bool
    servants: list[str]
    stores: list[StoreInfo]
    state_dir: str | None
    orderly: bool
    local: EndedNodes | None


class Submit(TypedDict):
    """What ``faultset submit`` tells."""

    submission_id: str
    address: str
    status: str
    driver_exit_code: int | None
    error_type: str | None


class Doctor(TypedDict):
    """What ``faultset doctor`` tells."""

    level: Level
    counts: Mapping[str, int]
    findings: list[Finding]


class Encode(TypedDict):
    """What ``faultset encode`` tells."""

    shards: list[str]
    code: str
    size: int
    sha256: str
    seconds: float


class Decode(TypedDict):
    """What ``faultset decode`` tells."""

    file: str
    code: str
    size: int
    sha256: str
    unusable: Mapping[str, str]
    seconds: float


class ShardRow(TypedDict):
    """One shard that is not sound; `corrupt` are its damaged granules."""

    file: str | None
    reason: str
    corrupt: Sequence[int]


class CopyRow(ShardRow):
    """A further copy of a shard that is not sound."""

    index: int


class Verify(TypedDict):
    """What ``faultset verify`` tells."""

    code: str
    size: int
    sha256: str | None
    write_id: str
    recoverable: bool
    damaged: Mapping[str, ShardRow]
    damaged_copies: list[CopyRow]
    seconds: float


class RepairFiles(Verify):
    """What ``faultset repair DIR`` tells."""

    repaired: Mapping[str, str]
    removed: list[str]


class RepairObjects(Repaired):
    """What ``faultset repair`` tells."""

    system: str
    waiting: int
    seconds: float


class Victim(TypedDict):
    """A node that was killed."""

    place: str
    region: str
    pids: list[int]


class Drill(TypedDict):
    """What ``faultset drill`` tells."""

    seed: int
    nodes: int
    code: str
    file: str
    seconds: Mapping[str, float]
    survivors_before: list[str]
    sha256_in: str
    size: int
    durability: str
    survivable: int
    killed: list[Victim]
    lost_shards: list[int]
    survivors_after: list[str]
    sha256_out: str
    bytes_back: bool
    survivors_equal_oracle: bool
    passed: bool


SettingRow = TypedDict("SettingRow", {"value": Any, "from": str, "where": str, "reader": str})


class ConfigShow(TypedDict):
    """What ``faultset config show`` tells."""

    file: str | None
    settings: Mapping[str, SettingRow]


class Problem(TypedDict):
    """One thing that is wrong with settings."""

    code: str
    message: str
    where: str
    key: str
    reason: str
    nearest: NotRequired[str | None]


class ConfigCheck(TypedDict):
    """What ``faultset config check`` tells."""

    file: str | None
    problems: list[Problem]
    warnings: list[Problem]


class TokenRow(TypedDict):
    """One token, without its secret."""

    id: str
    scopes: list[str]
    expires_ms: int | None
    note: str


class TokenAdd(TokenRow):
    """What ``faultset token add`` tells."""

    token: str


class TokenList(TypedDict):
    """What ``faultset token list`` tells."""

    file: str
    tokens: list[TokenRow]


class TokenRevoke(TypedDict):
    """What ``faultset token revoke`` tells."""

    file: str
    revoked: str


RESULTS: Final[Mapping[str, Any]] = {
    "failover": Failover,
    "register": Register,
    "observe": Observe,
    "survivors": Survivors,
    "why": Why,
    "plan": Plan,
    "watch": Watch,
    "mark": Mark,
    "regions": Regions,
    "map": Map,
    "replay": Replay,
    "put": Put,
    "get": Get,
    "ls": Ls,
    "stat": Stat,
    "rm": Rm,
    "status": Status,
    "scrub": Scrub,
    "repair": RepairFiles | RepairObjects,
    "decommission": Decommission | DecommissionCancelled,
    "rebuild": Rebuild,
    "serve": Serve,
    "up": Up,
    "down": Down,
    "submit": Submit,
    "doctor": Doctor,
    "encode": Encode,
    "decode": Decode,
    "verify": Verify,
    "drill": Drill,
    "bench": Bench,
    "config show": ConfigShow,
    "config check": ConfigCheck,
    "token add": TokenAdd,
    "token list": TokenList,
    "token revoke": TokenRevoke,
}
"""What each verb's last line is, unless it failed before it knew."""

LINES: Final[Mapping[str, Any]] = {"watch": Change | RegionChange}
"""What the lines before it are, with ``--json``."""
