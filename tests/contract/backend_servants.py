"""Servants and tasks that the backend contract suite runs on every backend."""

from __future__ import annotations

import threading
from typing import ClassVar

import numpy as np

from faultset_ray.backend.protocol import Addr, Net, Servant, sizeable
from faultset_ray.errors import NotEnoughShards


class Counter(Servant):
    def __init__(self, start: int = 0) -> None:
        self.value = start

    def add(self, amount: int) -> int:
        self.value += amount
        return self.value

    def total(self, array: np.ndarray) -> int:
        return int(array.sum())

    def echo(self, array: np.ndarray) -> np.ndarray:
        return array

    @sizeable
    def ones(self, lengths: list[int]) -> dict[int, np.ndarray]:
        if self.value < 0:
            self.fail_typed()
        return {length: np.ones(length, np.uint32) for length in lengths}

    def fail_typed(self) -> None:
        raise NotEnoughShards(7, 10, {2: "missing", 5: "unreachable"}, "ledger")

    def fail_foreign(self) -> None:
        raise KeyError("no such thing")

    async def later(self, net_seconds: float) -> float:
        return net_seconds


class Skewed(Servant):
    def version(self) -> str:
        return "0.0.0"


class Broken(Servant):
    def __init__(self) -> None:
        raise ValueError("cannot start")


class Hanging(Servant):
    """Answers nothing until it is let go."""

    concurrency: ClassVar[int] = 2

    def __init__(self) -> None:
        self._let_go = threading.Event()

    def hang(self) -> str:
        self._let_go.wait(60)
        return "let go"

    def release(self) -> None:
        self._let_go.set()

    def close(self) -> None:
        self._let_go.set()


async def add_through(net: Net, to: Addr[Counter], amount: int) -> int:
    return await net.call(to, Counter.add, amount)


async def sum_here(net: Net, array: np.ndarray) -> int:
    return await net.compute(lambda: int(array.sum()))


async def make_ones(net: Net, count: int) -> np.ndarray:
    return np.ones(count, np.uint8)


async def sum_all(net: Net, *arrays: np.ndarray) -> int:
    return sum(int(array.sum()) for array in arrays)


async def fail_in_task(net: Net) -> None:
    raise NotEnoughShards(1, 2, {0: "missing"})


async def report_cpus(net: Net) -> float:
    return net.cpus
