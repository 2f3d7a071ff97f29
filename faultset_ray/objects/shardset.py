"""A handle on the shards of one encoded object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from faultset_ray import codes
from faultset_ray.errors import InputError
from faultset_ray.objects.survival import survivable
from faultset_ray.shards.format import Header

Free = Callable[["ShardSet"], Any]
"""Removes the shards of a set; what it returns is an awaitable for an asynchronous driver."""

_drivers: dict[str, Free] = {}
"""By system, what frees shards through the driver that this process connected last."""


def attach_driver(system: str, free: Free) -> None:
    """Let handles of a system that come by pickle find a driver."""
    _drivers[system] = free


def detach_driver(system: str, free: Free) -> None:
    """Forget a driver that closes, unless another of its system came after it."""
    if _drivers.get(system) == free:
        del _drivers[system]


@dataclass(frozen=True, slots=True)
class HeldShard:
    """Where one shard is."""

    store: str
    """UUID of the store."""
    servant: str
    """Name of the store's servant."""
    place: str
    region: str
    durability: str


@dataclass(frozen=True, slots=True)
class ShardSet:
    """What ``driver.encode`` returns: where the shards are, and what they must decode to.

    A plain value: it pickles, and any driver of the same system can decode it. The shards stay until
    :meth:`free`, or until the system ends.
    """

    system: str
    header: Header
    """Of the write; its index is 0."""
    size: int
    """Bytes of the object."""
    sha256: str
    """Of the object, in hex."""
    shards: Mapping[int, HeldShard]
    _free: Free | None = field(default=None, compare=False, repr=False)

    @property
    def spec(self) -> str:
        """The code's canonical text."""
        return self.header.spec

    @property
    def write_id(self) -> str:
        """Which write this is, in hex."""
        return self.header.write_id.hex()

    @property
    def locations(self) -> dict[int, tuple[str, str]]:
        """``{index: (place, region)}``."""
        return {index: (held.place, held.region) for index, held in self.shards.items()}

    @property
    def survivable(self) -> int:
        """How many places may be lost, whichever they are, without losing data."""
        return survivable(codes.get(self.spec), {index: held.store for index, held in self.shards.items()})

    @property
    def durability(self) -> str:
        """``"fsync"`` when every shard outlives its machine's power, else ``"none"``."""
        return "fsync" if all(held.durability == "fsync" for held in self.shards.values()) else "none"

    def free(self) -> Any:
        """Remove the shards, through the driver that made them (an awaitable for an ``AsyncDriver``).

        A handle that was unpickled uses a driver of its system that this process has.

        Raises
        ------
        InputError
            This process has no driver of the system: connect to it first.
        """
        free = self._free or _drivers.get(self.system)
        if free is None:
            raise InputError(
                f"this process has no driver of system {self.system!r}; connect to it, then free the shards"
            )
        return free(self)

    def __hash__(self) -> int:
        return hash((self.system, self.header.write_id))

    def __getstate__(self) -> tuple[Any, ...]:
        return (self.system, self.header, self.size, self.sha256, dict(self.shards))

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        names = ("system", "header", "size", "sha256", "shards")
        for name, value in (*zip(names, state, strict=True), ("_free", None)):
            object.__setattr__(self, name, value)
