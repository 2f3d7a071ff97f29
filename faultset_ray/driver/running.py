"""Bringing a named system up so that it runs by itself, and down so that nothing of it does; data stays on disks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from faultset_ray.backend.protocol import Addr, At, Backend, Servant
from faultset_ray.config import Config
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.asynchronous import AsyncDriver
from faultset_ray.driver.authority import ATTENDANT, COORDINATOR, systems_there
from faultset_ray.driver.deadline import Deadline
from faultset_ray.driver.stores import servant_of, store_addr
from faultset_ray.driver.systems import keeps_state
from faultset_ray.errors import CallTimeout, ClusterError, StoresWouldBeLost, UnknownSystem
from faultset_ray.limits import STORE_INFO_SECONDS
from faultset_ray.objects.place_store import PlaceStore
from faultset_ray.objects.store_values import StoreInfo
from faultset_ray.telemetry import events

_GONE_SECONDS = 30.0
_LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Running:
    """A system that runs."""

    system: str
    was_up: bool
    """Whether its coordinator was there before."""
    epoch: int
    state_dir: str | None
    """On the head: what it remembers is in here; None where that is in memory."""
    places: int
    stores: tuple[StoreInfo, ...]
    attended: bool
    """Whether a servant looks after it while no driver is connected."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A system that does not run any more."""

    system: str
    was_up: bool
    """Whether anything of it ran before."""
    servants: tuple[str, ...]
    """What was ended, by name."""
    stores: tuple[StoreInfo, ...]
    """Those that answered, as they were: their files stay, where they are durable."""
    state_dir: str | None
    """On the head: what it remembers is in here; None where that was not found out, or was in memory."""
    orderly: bool
    """Whether all that was new could be saved first."""


async def bring_up(
    backend: Backend, system: str, config: Config, attendant: type[Servant] | None, *args: Any
) -> Running:
    """Have a system's coordinator, stores and attendant run; those that do are left as they are. Closes the backend.

    Parameters
    ----------
    attendant
        The role of who looks after the system, made of ``args``; None for nobody.

    Raises
    ------
    ClusterError
        What connecting raises, and what keeps a servant from starting.
    """
    was_up = await backend.find(Coordinator, COORDINATOR) is not None
    durable = keeps_state(backend, system, None)
    driver = await AsyncDriver.start(backend, system, durable=durable, config=config)
    async with driver:
        about = await backend.call(_coordinator(), Coordinator.about)
        stores = await driver.stores()
        if attendant is not None:
            await backend.spawn(attendant, ATTENDANT, *args, at=At(place=backend.home))
        places = len(await backend.places())
    state_dir = _state_dir(about.state_root, system)
    return Running(system, was_up, about.epoch, state_dir, places, tuple(stores), attendant is not None)


async def bring_down(backend: Backend, system: str, config: Config, *, force: bool = False) -> Ended:
    """End everything of a system that runs, what is new of it saved first; again does nothing. Closes the backend.

    Parameters
    ----------
    force
        End stores too whose shards go with their processes.

    Raises
    ------
    UnknownSystem
        Nothing of it runs, and none of that name has left its state.
    StoresWouldBeLost
        Stores without a directory hold shards; nothing was ended.
    CallTimeout
        Some servants are there still.
    """
    try:
        names = await _servants(backend)
        if not names:
            kept = await backend.run(systems_there, At(place=backend.home), None)
            if system not in kept:
                raise UnknownSystem(system, kept)
            return Ended(system, False, (), (), None, True)
        stores = await _stores(backend, names)
        fleeting = {info.place: info.shards for info in stores if info.durability == "none" and info.shards}
        if fleeting and not force:
            raise StoresWouldBeLost(system, fleeting)
        state_root, orderly = await _shut_down(backend, system, config)
        await asyncio.gather(*(backend.stop(Addr(name)) for name in await _servants(backend)))
        await _gone(backend, system)
    finally:
        await backend.close()
    return Ended(system, True, tuple(names), tuple(stores), _state_dir(state_root, system), orderly)


def _coordinator() -> Addr[Coordinator]:
    return Addr(COORDINATOR)


async def _servants(backend: Backend) -> list[str]:
    """The names of all servants of the system that run."""
    return sorted({name for load in await backend.loads() for name in load.servants})


async def _stores(backend: Backend, servants: Sequence[str]) -> list[StoreInfo]:
    """What the stores among the servants that run tell of themselves; those that don't answer are left out."""
    net = backend.within(STORE_INFO_SECONDS)
    running = frozenset(servants)
    places = [place.id for place in await backend.places() if servant_of(place.id) in running]
    asked = (net.call(store_addr(place), PlaceStore.info) for place in places)
    answers = await asyncio.gather(*asked, return_exceptions=True)
    found = []
    for place, answer in zip(places, answers, strict=True):
        if isinstance(answer, ClusterError):
            events.STORE_SILENT_AT_END.tell(place=place, error=answer)
        elif isinstance(answer, BaseException):
            raise answer
        else:
            found.append(answer)
    return found


async def _shut_down(backend: Backend, system: str, config: Config) -> tuple[str | None, bool]:
    """Have a driver shut the system down; where its state was, and whether all went as it should."""
    state_root = None
    lent = cast("Backend", _Lent(backend))
    durable = keeps_state(backend, system, None)
    try:
        driver = await AsyncDriver.start(lent, system, durable=durable, create=False, config=config)
        about = await backend.call(_coordinator(), Coordinator.about)
        state_root = about.state_root
        await driver.shutdown()
    except ClusterError as error:
        events.SYSTEM_NOT_IN_ORDER.tell(system=system, error=error)
        return state_root, False
    return state_root, True


async def _gone(backend: Backend, system: str) -> None:
    """Wait until nothing of the system runs any more."""
    deadline = Deadline(backend, _GONE_SECONDS)
    while left := await _servants(backend):
        if deadline.left_s() <= 0:
            raise CallTimeout(f"{len(left)} servants of {system!r}, {left[0]} among them", "close", _GONE_SECONDS)
        await backend.sleep(_LOOK_SECONDS)


def _state_dir(root: str | None, system: str) -> str | None:
    return None if root is None else str(Path(root, system))


class _Lent:
    """A backend that goes on when a driver that had it leaves."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    async def close(self) -> None:
        """It is not the driver's to close."""


def servants_by_kind(names: Sequence[str]) -> dict[str, int]:
    """How many servants of each kind there are, by what their names begin with."""
    kinds = [name.partition("/")[0] for name in names]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}
