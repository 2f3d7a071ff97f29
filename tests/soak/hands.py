"""A driver of the soak, in a process of its own that may be killed: ``python -m soak.hands JOURNAL SEED MODE``.

``MODE`` is ``work``: until it is told to end, each hand puts, gets and deletes objects that no other touches. Or
``check``: everything is as the journals in a directory say, or may.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar
from zlib import crc32

import numpy as np

from faultset_ray.driver.asynchronous import AsyncDriver, connect_async
from faultset_ray.errors import FaultsetError, ObjectNotFound
from soak.ledger import Ledger, payload

T = TypeVar("T")

SYSTEM = "soak"
HANDS = 3
NAMES = 12
CODES = ("rs:2+2", "copy:3")
STRIPE = 1 << 20
CHECK_SECONDS = 300.0


class Hand:
    """Works on names of its own, one step after the other."""

    def __init__(self, driver: AsyncDriver, ledger: Ledger, seed: int, owner: str) -> None:
        self.driver = driver
        self.ledger = ledger
        self.seed = seed
        self.names = [f"{owner}/ø {number}" for number in range(NAMES)]
        begun = sum(ledger.versions.values())  # a driver that is started again does not do the same once more
        self.dice = np.random.default_rng([seed, crc32(owner.encode()), begun])

    async def work(self, ended: asyncio.Event) -> None:
        while not ended.is_set():
            step = self.dice.choice([self.put, self.put, self.get, self.get, self.get, self.delete])
            name = str(self.dice.choice(self.names))
            try:
                await step(name)
            except FaultsetError as error:
                self.ledger.note(do="failed", counts="failed", step=step.__name__, why=repr(error)[:300])
                await asyncio.sleep(0.2)

    async def put(self, name: str) -> None:
        version = self.ledger.versions.get(name, 0) + 1
        data = payload(self.seed, name, version)
        self.ledger.note(do="put", name=name, version=version)
        await self.driver.put(name, data, code=str(self.dice.choice(CODES)), tolerate=2, stripe_bytes=STRIPE)
        self.ledger.note(do="is", name=name, version=version, counts="puts", bytes=len(data))

    async def delete(self, name: str) -> None:
        before = self.ledger.now(name)
        self.ledger.note(do="delete", name=name)
        try:
            await self.driver.delete(name)
        except ObjectNotFound:  # it deleted nothing: what a killed driver has begun may still come
            self.ledger.note(do="got", name=name, counts=self.ledger.judge(name, before, None))
        else:
            self.ledger.note(do="is", name=name, version=None, counts="deletes")

    async def get(self, name: str) -> None:
        await read(self.driver, self.ledger, name)


async def read(driver: AsyncDriver, ledger: Ledger, name: str) -> str:
    """Read an object, and note what is to be said of it."""
    try:
        found = await driver.get(name)
    except ObjectNotFound:
        found = None
    verdict = ledger.judge(name, ledger.now(name), found)
    about = {} if verdict == "gets" else {"may_be": sorted(map(str, ledger.now(name))), "found": told(found)}
    ledger.note(do="got", name=name, counts=verdict, bytes=len(found or b""), **about)
    return verdict


def told(found: bytes | None) -> str:
    return "absent" if found is None else f"{len(found)} bytes from {found[:8].hex()}"


async def work(path: Path, seed: int) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    ledger = Ledger(path, seed)
    driver = await connect_async(system=SYSTEM)
    ledger.note(do="began", counts="drivers")
    await asyncio.gather(*(Hand(driver, ledger, seed, f"{path.stem}/{number}").work(ended) for number in range(HANDS)))
    await driver.close()
    ledger.note(do="ended")


async def check(journals: Sequence[Path], seed: int, *, settle: bool) -> None:
    """Read all that was ever written; with ``settle``, once nothing is open, and mended as well."""
    driver = await connect_async(system=SYSTEM)
    until = time.monotonic() + CHECK_SECONDS
    if settle:
        # who works with objects looks after them too: open writes are ended in a minute
        await at_last(until, lambda: driver.put("check", b"", code="copy:3"))
        while (await at_last(until, driver.status)).tally.open_writes:
            assert time.monotonic() < until, "writes stay open"
            await asyncio.sleep(1.0)
    for path in journals:
        ledger = Ledger(path, seed)
        for name in sorted(ledger.may_be):
            if len(ledger.now(name)) > 1:
                ledger.note(do="told", name=name, counts="undecided")
            await at_last(until, partial(read, driver, ledger, name))
        ledger.close()
    if settle:
        await at_last(until, lambda: driver.scrub(deep=True))
        while (mended := await at_last(until, driver.repair)).failed:  # the steward may be at it as well
            assert time.monotonic() < until, mended
            await asyncio.sleep(1.0)
        found = await at_last(until, lambda: driver.scrub(deep=True))
        assert (found.missing, found.corrupt) == (0, 0), found
    await driver.close()


async def at_last(until: float, call: Callable[[], Awaitable[T]]) -> T:
    """Ask again for as long as stores that were killed may still be starting."""
    while True:
        try:
            return await call()
        except FaultsetError:
            if time.monotonic() > until:
                raise
        await asyncio.sleep(1.0)


if __name__ == "__main__":
    where, number, mode = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    if mode == "work":
        asyncio.run(work(where, number))
    else:
        asyncio.run(check(sorted(where.glob("*.journal")), number, settle=mode == "settle"))
