"""The writes that a driver has under way, as the coordinator is told of them: many in one call, and renewed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from math import inf
from typing import TypeVar

from faultset_ray.backend.protocol import Backend
from faultset_ray.coordinator.objects import Commit, Intent, Ticket, Undeletion
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.authority import Authority
from faultset_ray.errors import BackendClosed, ClusterError, FaultsetError, WriteAborted, WriteInProgress
from faultset_ray.limits import BUSY_SECONDS, INTENT_SECONDS
from faultset_ray.objects.batch import Batcher
from faultset_ray.objects.entry import Entry, Fence
from faultset_ray.telemetry import events, tracing

R = TypeVar("R")

_PAUSE_SECONDS = 0.02
_PAUSE_SECONDS_MAX = 1.0
_BATCH = 1024


class Writes:
    """Writes of one driver at its system's coordinator."""

    def __init__(self, backend: Backend, authority: Authority) -> None:
        self._backend = backend
        self._authority = authority
        self._name = backend.token(8).hex()
        self._opens: Batcher[Intent, Ticket] = Batcher(self._open_all, items=_BATCH)
        self._commits: Batcher[Commit, Entry] = Batcher(self._commit_all, items=_BATCH)
        self._open: dict[bytes, float] = {}
        """When each write was renewed last at the latest, by the uptime."""
        self._renewing: asyncio.Task[None] | None = None

    @property
    def driver(self) -> str:
        """Whose writes these are."""
        return self._name

    async def fence(self, _stale: Fence | None = None) -> Fence:
        """Ask for the fence of now."""
        return await self._authority.ask(Coordinator.fence)

    async def open(self, intent: Intent, busy_s: float = BUSY_SECONDS) -> Ticket:
        """Begin a write; where others of the name are under way and one has a condition, wait for them a while.

        Nothing goes by the wait but who is told: they may be over in a moment, and then the condition holds or not.

        Raises
        ------
        PreconditionFailed, ObjectNotFound
        WriteInProgress
            They went on for longer than ``busy_s``.
        """
        begun_s = self._backend.uptime_s()
        ticket = await self._patiently(lambda: self._opens.add(intent), busy_s)
        self._keep(ticket.write_id, begun_s)
        return ticket

    async def sure(self, write_id: bytes) -> None:
        """Have it that a write is open, before anything of it is done that can't be taken back.

        A driver that stood still for long may have been taken for gone, and its write been given up.

        Raises
        ------
        WriteAborted
            It was.
        """
        begun_s = self._backend.uptime_s()
        if begun_s - self._open.get(write_id, -inf) < INTENT_SECONDS / 2:
            return
        [is_open] = await self._authority.ask(Coordinator.renew_writes, [write_id])
        if not is_open:
            raise WriteAborted(write_id.hex())
        self._open[write_id] = begun_s

    async def undelete(self, name: str, write_id: bytes) -> Undeletion:
        """Begin to bring an object back."""

        async def ask() -> Undeletion:
            return await self._authority.ask(Coordinator.undelete, name, write_id, self._name)

        begun_s = self._backend.uptime_s()
        found = await self._patiently(ask, BUSY_SECONDS)
        self._keep(write_id, begun_s)
        return found

    async def commit(self, commit: Commit) -> Entry:
        """Make a write visible; it is renewed no more."""
        try:
            return await self._commits.add(commit)
        finally:
            self._open.pop(commit.write_id, None)

    async def abort(self, write_id: bytes) -> bool:
        """Give a write up; False where that is not sure: it was committed, or the coordinator could not be told.

        In the second case it finds out by itself in time.
        """
        self._open.pop(write_id, None)
        try:
            [given_up] = await self._authority.ask(Coordinator.abort_writes, [write_id])
        except ClusterError as error:
            events.WRITE_NOT_WITHDRAWN.tell(write_id=write_id, error=error)
            return False
        return given_up

    def leave(self, write_id: bytes) -> None:
        """Renew a write no more: whoever looks after the system carries it on or gives it up."""
        self._open.pop(write_id, None)

    async def close(self) -> None:
        """Give up what is under way."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
        await asyncio.gather(self._opens.close(), self._commits.close())

    # -- Inside

    async def _open_all(self, intents: list[Intent]) -> Sequence[Ticket | FaultsetError]:
        return await self._authority.ask(Coordinator.open_writes, intents)

    async def _commit_all(self, commits: list[Commit]) -> Sequence[Entry | FaultsetError]:
        return await self._authority.ask(Coordinator.commit_writes, commits)

    async def _patiently(self, ask: Callable[[], Awaitable[R]], busy_s: float) -> R:
        ends_s = self._backend.uptime_s() + busy_s
        pause_s = _PAUSE_SECONDS
        while True:
            try:
                return await ask()
            except WriteInProgress:
                if self._backend.uptime_s() >= ends_s:
                    raise
            await self._backend.sleep(pause_s)
            pause_s = min(2 * pause_s, _PAUSE_SECONDS_MAX)

    def _keep(self, write_id: bytes, begun_s: float) -> None:
        """Renew a write until it is committed or given up."""
        self._open[write_id] = begun_s
        if self._renewing is None or self._renewing.done():
            self._renewing = tracing.apart(self._renew())

    async def _renew(self) -> None:
        with suppress(BackendClosed):  # which a pause may say as well
            while True:
                await self._backend.sleep(INTENT_SECONDS / 4)
                if not self._open:
                    return
                try:
                    asked, begun_s = sorted(self._open), self._backend.uptime_s()
                    answers = await self._authority.ask(Coordinator.renew_writes, asked)
                    for write_id, is_open in zip(asked, answers, strict=True):
                        if is_open and write_id in self._open:
                            self._open[write_id] = begun_s
                except BackendClosed:
                    raise
                except ClusterError as error:
                    events.WRITES_NOT_RENEWED.tell(count=len(self._open), error=error)
