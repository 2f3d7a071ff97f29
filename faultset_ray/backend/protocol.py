"""What the system runs on: places, servants, tasks, big values and a clock.

A backend knows nothing of survivors or shards, so it never grows with the features above it. There
are three under one contract suite: :class:`~faultset_ray.backend.local.LocalBackend` (this process),
:class:`~faultset_ray.backend.sim.SimBackend` (virtual time, seeded faults) and ``actors.backend:RayBackend``.

All randomness and all time come from here: what runs on the simulator replays exactly.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Concatenate, Generic, ParamSpec, Protocol, TypeVar

from faultset_ray._version import __version__
from faultset_ray.limits import CLOCK_SKEW_MS_MAX

LABEL_STORE = "faultset.io/store"
"""``"true"`` on a place that is meant to hold a store."""
LABEL_ELASTIC = "faultset.io/elastic"
"""``"true"`` on a place that an autoscaler takes away when nothing is on it."""
LABEL_REGION = "faultset.io/region"
"""The name of a place's fault domain."""
LABEL_CELL = "faultset.io/cell"
"""The geohash of where a place stands."""

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound="Servant")
F = TypeVar("F", bound=Callable[..., Any])


def sizeable(method: F) -> F:
    """Mark a servant's method that may answer with some hundred kilobytes or megabytes, and is waited for.

    A backend may bring such answers in another way than small ones (on Ray: :mod:`actors.pieces`).
    """
    method.__dict__["sizeable"] = True
    return method


def is_sizeable(method: Callable[..., Any]) -> bool:
    """Whether a method is marked so."""
    return "sizeable" in getattr(method, "__dict__", ())


class Clock(Protocol):
    """Tells the time of the machine that it is on."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch; it may be wrong, and set at any time."""
        ...

    def uptime_s(self) -> float:
        """Seconds since some moment, by a clock that is never set."""
        ...


class Servant:
    """Base of what a backend hosts: plain objects whose methods are called from afar.

    Arguments and results are plain values and numpy arrays; neither side changes an array after it
    has passed one (on Ray it arrives read-only).
    """

    concurrency: ClassVar[int] = 1
    """How many calls may run at once, each on a thread of its own."""
    clock: Clock | None = None
    """The clock of the machine that hosts the servant: its backend sets it."""

    def ahead_ms(self, now_ms: int) -> int:
        """By how much a caller's clock is too far ahead of the host's to be believed: 0, or more than
        ``CLOCK_SKEW_MS_MAX``.

        Behind it, any may be: a call may have been long on its way.
        """  # noqa: D205 - one sentence
        ahead = 0 if self.clock is None else now_ms - self.clock.now_ms()
        return ahead if ahead > CLOCK_SKEW_MS_MAX else 0

    def version(self) -> str:
        """The version of faultset-ray that this servant runs."""
        return __version__

    def close(self) -> None:
        """Release what the servant holds; called once before it is stopped on purpose."""


@dataclass(frozen=True, slots=True)
class Addr(Generic[S]):
    """The address of a servant: a plain value that every task of the same system can use."""

    name: str


@dataclass(frozen=True, slots=True)
class Place:
    """A machine that hosts servants and tasks (on Ray: one Ray node)."""

    id: str
    """On Ray the NodeID in hex."""
    labels: Mapping[str, str] = field(default_factory=dict)
    cpus: float = 1.0
    draining: bool = False
    host: str = ""
    """The address under which other places reach it; empty where all places are in one process."""

    @property
    def elastic(self) -> bool:
        """Whether the place leaves when nothing is on it."""
        return self.labels.get(LABEL_ELASTIC) == "true"

    @property
    def cell(self) -> str:
        """The geohash of where the place stands; empty when it carries no such label."""
        return self.labels.get(LABEL_CELL, "")

    @property
    def region(self) -> str:
        """The fault domain: the region label, else the cell, else the place itself."""
        return self.labels.get(LABEL_REGION) or self.cell or self.id


@dataclass(frozen=True, slots=True)
class Load:
    """What a place carries now: a look that may be out of date when it is read."""

    place: Place
    free_cpus: float
    """CPUs that nothing has asked for."""
    servants: frozenset[str]
    """Names of this system's servants there."""
    others: int = 0
    """How many servants of other systems, or of no system, are there: they too keep the place in use."""


@dataclass(frozen=True, slots=True)
class At:
    """Where something is to run, and what it asks for.

    With ``place`` it runs there or fails; with ``soft`` there if there is room now, else elsewhere.
    Without, the backend spreads over all places; with ``pack`` it fills those that are in use already,
    so that others stay or become empty and an autoscaler can take them away. What fits nowhere waits.
    It never runs at a place of ``avoid``, unless that is named by ``place``.
    """

    place: str | None = None
    soft: bool = False
    cpus: float = 0.0
    pack: bool = False
    avoid: frozenset[str] = frozenset()


ANYWHERE = At()


class Net(Protocol):
    """What a task sees of its backend: calls to servants, a clock, randomness and its CPUs."""

    cpus: float
    """CPUs that this task or driver may keep busy."""

    def call(
        self,
        to: Addr[S],
        method: Callable[Concatenate[S, P], R],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Awaitable[R]:
        """Call a servant's method within the deadline of :meth:`within` (default ``CALL_SECONDS``).

        Raises
        ------
        PlaceUnreachable
            The servant, its process or its place is gone.
        CallTimeout
            No answer in time; the call may still take effect.
        RemoteFailure
            The method raised something that is no ``FaultsetError``; those arrive as themselves.
        """
        ...

    def within(self, seconds: float) -> Net:
        """This net with another deadline for its calls."""
        ...

    def compute(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[R]:
        """Run a CPU-bound function without holding up the event loop of an in-process driver."""
        ...

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        ...

    def uptime_s(self) -> float:
        """Seconds since some moment, by a clock that is never set: to measure how long something takes."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; in the simulator, of virtual time."""
        ...

    def token(self, nbytes: int) -> bytes:
        """Random bytes, for identifiers."""
        ...


class Backend(Net, Protocol):
    """A substrate; see the module's text. All methods are safe to repeat."""

    home: str
    """The place that lasts as long as the backend does, for what must not be lost (on Ray: the head node)."""
    lasting: bool
    """Whether servants outlive the process that spawned them (on Ray: detached actors)."""
    here: str
    """The place where this process is, for what is to be read nearby."""

    async def places(self) -> Sequence[Place]:
        """The living places, in a stable order."""
        ...

    async def loads(self) -> Sequence[Load]:
        """What each living place carries now, in the order of :meth:`places`."""
        ...

    async def spawn(self, role: type[S], name: str, /, *args: Any, at: At = ANYWHERE) -> Addr[S]:
        """Get the servant called ``name``, or create it from ``role(*args)``.

        Returns once its constructor has run.

        Raises
        ------
        VersionSkew
            It runs another version of faultset-ray.
        PlaceUnreachable
            The place it was to run at is gone.
        CallTimeout
            It was not up ``SPAWN_SECONDS`` after it had a place, or there was none with room for ``PLACING_SECONDS``.
        """
        ...

    async def find(self, role: type[S], name: str) -> Addr[S] | None:
        """The servant of that name, or None when there is none."""
        ...

    async def stop(self, addr: Addr[Any]) -> None:
        """Close and end a servant; nothing happens when it is gone."""
        ...

    def run(
        self,
        task: Callable[Concatenate[Net, P], Awaitable[R]],
        at: At,
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Awaitable[R]:
        """Run a module-level coroutine function once, somewhere; it gets a :class:`Net` first.

        Not retried here: the caller knows whether it may be. Errors as in :meth:`Net.call`; the deadline
        is ``TASK_SECONDS``, waiting for resources included.
        """
        ...

    async def hold(
        self,
        task: Callable[Concatenate[Net, P], Awaitable[R]],
        at: At,
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Run a task as :meth:`run` does, and leave its result where it is made.

        What comes back may be passed as a direct argument to other tasks, as of :meth:`share`: the result then goes
        from the one's place to the other's, and not through the driver. An error of the task is raised here, or by the
        tasks that its result is passed to.
        """
        ...

    def share(self, value: R) -> R:
        """Put a big value up once; what comes back may be passed as a direct argument to calls and tasks."""
        ...

    async def fetch(self, value: Any) -> Any:
        """What a handle of this substrate's big values stands for; anything else as it is."""
        ...

    async def want(self, demand: Sequence[At]) -> None:
        """Tell an autoscaler what will be needed; an empty demand withdraws it."""
        ...

    async def close(self) -> None:
        """End what this backend owns; a second close does nothing."""
        ...
