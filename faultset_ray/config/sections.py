"""Every setting there is: what it means, what it may be, who reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from faultset_ray.config.http import Http
from faultset_ray.config.kinds import (
    Choice,
    Flag,
    Number,
    Plugins,
    Policies,
    Size,
    Text,
    Texts,
    Whole,
    WholeSize,
)
from faultset_ray.config.tree import Section, section, setting
from faultset_ray.limits import (
    DELETE_GRACE_SECONDS,
    FORMAT_SHARDS_MAX,
    OBSERVE_SECONDS,
    REPAIR_AFTER_SECONDS,
    REPAIR_BYTES_PER_SECOND,
    REPAIR_CONCURRENT,
    REPAIR_SOON_SECONDS,
    SCRUB_BYTES_PER_SECOND,
    SCRUB_DEEP_SECONDS,
    SCRUB_LIGHT_SECONDS,
    STRIPE_BYTES_MAX,
    SURVIVORS_SECONDS,
)
from faultset_ray.policy import Policy

_YEAR = 31_536_000.0
_CODE = Text('a code, such as "rs:4+2"', r"[!-~]{1,63}")
_SECONDS = Number(0.0, above=True)
_PATH = Text("the path of a directory")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster(Section):
    """Which cluster, and which system on it."""

    address: str | None = setting(
        None,
        Text('HOST:PORT of the head node, or "auto"'),
        "The Ray cluster to use.",
        variables=("FAULTSET_CLUSTER_ADDRESS", "RAY_ADDRESS"),
    )
    backend: Literal["auto", "ray", "local"] = setting(
        "auto",
        Choice("auto", "ray", "local"),
        "What runs it: a Ray cluster, or this process alone. With `auto` it is Ray; but `encode`, `decode` and "
        "`failover` run in their own process where no cluster is named.",
    )
    system: str | None = setting(
        None,
        Text("1 to 64 letters, digits, dots, dashes and underscores", r"(?!\.\.?$)(?!private-)[A-Za-z0-9._-]{1,64}"),
        "The system's name. Unset, commands use `default`, and a driver has a private system.",
        variables=("FAULTSET_SYSTEM",),
    )
    state_dir: str | None = setting(
        None,
        _PATH,
        "On the head node: where coordinators of named systems keep their state. Unset, "
        "`~/.local/state/faultset-ray` (`XDG_STATE_HOME`).",
        reader="place",
        variables=("FAULTSET_STATE_DIR",),
    )
    region_actors: int | None = setting(
        None,
        Whole(1, 1_000_000),
        "Into so many region actors a new fleet is cut. Unset, one for each 150,000 nodes, within bounds.",
    )
    threads: int | None = setting(
        None,
        Whole(1, 4096),
        "Threads for CPU-bound work where this process alone runs it. Unset, the processors that it may use.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Codes(Section):
    """How data is coded."""

    put: str = setting("rs:4+2", _CODE, "The code of objects that are put.")
    tolerate: int | None = setting(
        None,
        Whole(0, FORMAT_SHARDS_MAX),
        "Losses of stores that an object put with `codes.put` is to bear. Unset, as many as the code does.",
    )
    encode: str = setting("rs:10+4", _CODE, "The code of what is encoded into shards without a name.")
    stripe_bytes: int | None = setting(
        None,
        WholeSize(1, STRIPE_BYTES_MAX),
        "Data bytes of one stripe. Unset, 16 MiB, or what fills 32 MiB of shards.",
    )
    engine: str | None = setting(
        None,
        Choice("gfni512", "gfni256", "avx2", "portable", "naive"),
        "The engine that codes run on. Unset, the fastest that the machine has; all give the same bytes.",
        reader="process",
        variables=("FAULTSET_ENGINE",),
    )
    disable_numba: bool = setting(
        False,
        Flag(),
        "Do without compiled kernels: the same results, slower. It is read as they are loaded, so that only "
        "the variable sets it.",
        reader="process",
        variables=("FAULTSET_DISABLE_NUMBA",),
        in_file=False,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores(Section):
    """Where shards lie."""

    dir: str | None = setting(
        None,
        _PATH,
        "Directory for the store of a machine, below which it makes its own. Unset, its shards lie in a temporary "
        "directory and are gone with its process.",
        reader="place",
        variables=("FAULTSET_STORE_DIR",),
    )
    durability: Literal["fsync", "none"] | None = setting(
        None,
        Choice("fsync", "none"),
        "`fsync`: objects are put only on stores that outlive their machines' power. Unset, or `none`: on any.",
    )
    delete_grace_s: float = setting(
        DELETE_GRACE_SECONDS, Number(0.0, _YEAR), "Seconds in which a deleted object can be brought back."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe(Section):
    """How `driver.probe()` measures the places, and servers."""

    every_s: float = setting(0.2, _SECONDS, "Seconds between two pings of a place.")
    timeout_s: float = setting(1.0, _SECONDS, "What does not answer for so many seconds is not reached.")
    rate: float = setting(200.0, Number(0.0, above=True), "Probes a second at most, of all kinds together.")
    concurrent: int = setting(16, Whole(1, 65_536), "Targets that are measured at once from one place.")
    labels: Mapping[str, str] = setting(
        {}, Texts(), "Only places with these labels probe. Empty: all that hold a store or are not elastic."
    )
    targets: Mapping[str, str] = setting(
        {},
        Texts(),
        "Servers that the places measure, as `tcp://HOST:PORT`, `http://…` or `https://…` by the id of their node.",
        in_repr=False,
    )
    fleet: str = setting("default", Text("the name of a fleet"), "The registered fleet that `targets` are nodes of.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair(Section):
    """How objects are mended in the background."""

    bytes_per_s: float = setting(
        REPAIR_BYTES_PER_SECOND, Size(1.0), "Bytes that are read and written a second at most."
    )
    concurrent: int = setting(REPAIR_CONCURRENT, Whole(1, 1024), "Objects that are mended or moved at once.")
    soon_s: float = setting(
        REPAIR_SOON_SECONDS,
        Number(0.0, _YEAR),
        "A store that does not answer for so many seconds is away: objects that bear no further loss are mended.",
    )
    after_s: float = setting(
        REPAIR_AFTER_SECONDS,
        Number(0.0, _YEAR),
        "A store that was not reached for so many seconds is given up: all it held is made anew elsewhere. Not "
        "before `soon_s`.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrub(Section):
    """How stores are read in the background, for damage that nobody has met yet."""

    bytes_per_s: float = setting(SCRUB_BYTES_PER_SECOND, Size(1.0), "Bytes that are read a second at most.")
    light_every_s: float = setting(
        SCRUB_LIGHT_SECONDS, Number(1.0, _YEAR), "Seconds from one pass over both ends of each shard to the next."
    )
    deep_every_s: float = setting(
        SCRUB_DEEP_SECONDS, Number(1.0, _YEAR), "Seconds from one pass over every byte to the next."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Health(Section):
    """How places and stores are kept sound."""

    probe: Probe = section(Probe, "What `driver.probe()` does where its arguments don't say otherwise.")
    repair: Repair = section(
        Repair, "What the background mends. The driver that has the system's lease goes by its own: give all one."
    )
    scrub: Scrub = section(Scrub, "What the background reads, for damage that nobody met; by the lease as well.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits(Section):
    """How long is waited."""

    survivors_s: float = setting(
        SURVIVORS_SECONDS,
        _SECONDS,
        "Deadline of `survivors`, `why`, `plan`, `mark`, `remove` and `set_policy`, in seconds.",
    )
    observe_s: float = setting(
        OBSERVE_SECONDS, _SECONDS, "Deadline of `observe`, and of finding where a `watch` begins, in seconds."
    )
    register_s: float | None = setting(
        None, _SECONDS, "Deadline of `register`, in seconds. Unset, as long as new region actors need for a place."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Security(Section):
    """How a driver shows a Ray cluster who it is. Set, they become Ray's own variables when a driver connects."""

    ray_auth_mode: str | None = setting(
        None,
        Text('a mode of Ray\'s, such as "disabled" or "token"', r"\w{1,32}"),
        "Whether Ray wants a token. Unset, Ray decides.",
        variables=("RAY_AUTH_MODE",),
    )
    ray_token_path: str | None = setting(
        None,
        Text("the path of a file"),
        "A file on this machine with Ray's token. Unset, `~/.ray/auth_token`.",
        variables=("RAY_AUTH_TOKEN_PATH",),
    )
    ray_token: str | None = setting(
        None,
        Text("a token"),
        "Ray's token itself. No file may have it: name the token's own file there.",
        variables=("RAY_AUTH_TOKEN",),
        secret=True,
        in_file=False,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Log(Section):
    """What commands log to stderr."""

    level: Literal["debug", "info", "warning", "error"] = setting(
        "warning", Choice("debug", "info", "warning", "error"), "The least that is logged.", reader="command"
    )
    format: Literal["text", "json"] = setting(
        "text", Choice("text", "json"), "Lines for people, or one JSON object a line.", reader="command"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracing(Section):
    """What is told to OpenTelemetry."""

    setup: str | None = setting(
        None,
        Text('"MODULE:FUNCTION"', r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*"),
        "A function without arguments, called once in the driver's process and in each that runs its actors or tasks: "
        "it sets OpenTelemetry's provider. `faultset_ray.telemetry.exporting:setup` makes one by the variables "
        "`OTEL_*`. Unset, spans go to the provider that a process has, if it has one.",
        reader="process",
    )
    names: bool = setting(
        False,
        Flag(),
        "Whether spans tell the names of objects, and the texts of errors, which may hold them.",
        reader="process",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Root(Section):
    """The whole tree; :class:`~faultset_ray.config.Config` adds where its values come from."""

    cluster: Cluster = section(Cluster, "Which cluster, and which system on it.")
    codes: Codes = section(Codes, "How data is coded.")
    stores: Stores = section(Stores, "Where shards lie, and how long deleted ones stay.")
    health: Health = section(Health, "How places and stores are kept sound.")
    limits: Limits = section(Limits, "How long is waited.")
    security: Security = section(
        Security, "How a driver shows a Ray cluster who it is. What is set is given to Ray when it connects."
    )
    http: Http = section(
        Http, "What `faultset serve` and `jobs.serve:app` serve HTTP by; they hand it to their replicas."
    )
    log: Log = section(Log, "What commands log to stderr.")
    tracing: Tracing = section(Tracing, "What is told to OpenTelemetry: how traces leave a process, what they name.")
    policies: Mapping[str, Policy] = setting(
        {},
        Policies(),
        "The policy of a fleet, by its name: a fleet that is registered gets it, unless `register` is given another. "
        "Each is a table of the fields of a policy.",
    )
    plugins: Mapping[str, Mapping[str, Any]] = setting(
        {},
        Plugins(),
        "Options of codes from other distributions, by the name of their entry point: handed to the code's "
        "`configure` before it is first used, in each process that uses it.",
        in_repr=False,
        reader="process",
    )
