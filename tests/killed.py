"""A coordinator in a process that is killed at any moment: what it acknowledged must be in its files."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np

from faultset_ray.control.checkpoint import Checkpoint
from faultset_ray.control.health import Health
from faultset_ray.control.journal import Events
from faultset_ray.control.states import Mark
from faultset_ray.coordinator.objects import Commit, Intent
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.geohash import encode_many
from faultset_ray.model import Fleet
from faultset_ray.policy import Policy

SYSTEM = "killed"
PRECISION = 2
OBJECTS = 30


def checkpoint(epoch: int, version: int, since: int = -1, handles=range(200), value: float | None = None) -> Checkpoint:
    """A checkpoint that says its version, or another value, as the last latency of each node."""
    own = np.array([*handles], np.uint32)
    health = Health.empty(own, own.astype(np.uint64) << np.uint64(40) | np.uint64(2))
    health.last[:] = version if value is None else value
    return Checkpoint(
        epoch=epoch,
        version=version,
        since=since,
        at_ms=version * 10,
        roster=0,
        floor=0,
        samples=0,
        health=health.to_columns(),
        events=Events.none(),
        epochs=np.array([epoch]),
        begins=np.array([0]),
    )


def latencies(kept: Checkpoint) -> dict[int, float]:
    """The last latency of each node of a checkpoint, by handle."""
    health = Health.from_columns(kept.health)
    return dict(zip(health.handles.tolist(), health.last.tolist(), strict=True))


def fleet_of(numbers: range, latency_ms: float) -> Fleet:
    lat = [(number * 37) % 160 - 80.0 for number in numbers]
    lon = [(number * 91) % 340 - 170.0 for number in numbers]
    return Fleet([f"n{number}" for number in numbers], lat, lon, [latency_ms] * len(numbers), name="f")


def write(state_dir: str, seed: int) -> None:
    """Change things as fast as possible, and print each change once it is acknowledged; in the child."""
    dice = random.Random(seed)
    coordinator = Coordinator(SYSTEM, True, state_dir)
    found = coordinator.directory("f") if "f" in coordinator.fleets() else None
    count = 0 if found is None else len(found.fleet)
    while True:
        action = (
            "register"
            if count < 40
            else dice.choice(("register", "mark", "remove", "succeed", "save", "policy", "put", "put"))
        )
        some = range(first := dice.randrange(max(count - 20, 1)), first + dice.randrange(1, 20))
        request = dice.randbytes(16)
        if action == "register":
            some = range(count, count + dice.randrange(1, 3000))
            nodes = fleet_of(some, float(some.start))
            cells = encode_many(nodes.lat, nodes.lon, PRECISION)
            coordinator.register(nodes, cells, PRECISION, 6, 1, request=request)
            count = some.stop
        elif action == "mark":
            known = coordinator.directory("f")
            some = [number for number in some if known.living[number]]
            coordinator.mark("f", [f"n{number}" for number in some], Mark.DRAIN, request)
        elif action == "remove":
            coordinator.remove("f", [f"n{number}" for number in some], request)
        elif action == "put":
            some = [dice.randrange(1 << 30), *sorted({dice.randrange(OBJECTS) for _ in range(10)})]
            put(coordinator, some[1:], some[0], dice)
        else:
            info = dice.choice(coordinator.directory("f").ranges)
            some = [info.id, info.epoch]
            if action == "succeed":
                coordinator.succeed("f", info.id, info.epoch)
            elif action == "policy":
                some = [dice.randrange(1, 1000)]
                coordinator.set_policy("f", Policy(threshold_ms=float(some[0])), request)
            else:
                kept = coordinator.checkpoint("f", info.id)
                version = kept.version + 1 if kept else 0
                whole = kept is None or dice.random() < 0.5
                some = [
                    info.id,
                    coordinator.save(
                        "f", info.id, info.epoch, checkpoint(info.epoch, version, -1 if whole else version - 1)
                    ),
                ]
        sys.stdout.write(json.dumps([action, [count] if action == "register" else list(some)]) + "\n")
        sys.stdout.flush()


def put(coordinator: Coordinator, numbers: list[int], size: int, dice: random.Random) -> None:
    """Write objects of a size, all in one batch."""
    intents = [
        Intent(dice.randbytes(16), "put", f"o{number}", "copy:2", 1, 2, 64, 1, ("x", "y"), "d") for number in numbers
    ]
    assert not any(isinstance(ticket, Exception) for ticket in coordinator.open_writes(intents))
    commits = [Commit(intent.write_id, size, bytes(32), intent.layout, 0) for intent in intents]
    assert not any(isinstance(entry, Exception) for entry in coordinator.commit_writes(commits))


class Model:
    """What was acknowledged so far."""

    def __init__(self) -> None:
        self.count = 0
        self.marked: set[int] = set()
        self.removed: set[int] = set()
        self.epochs: dict[int, int] = {}
        self.saved: dict[int, int] = {}
        self.policy = 100
        self.objects: dict[int, int] = {}

    def take(self, action: str, values: list[int]) -> None:
        if action == "register":
            self.count = values[0]
        elif action == "mark":
            self.marked |= set(values)
        elif action == "remove":
            self.removed |= set(values)
            self.marked -= set(values)
        elif action == "succeed":
            self.epochs[values[0]] = values[1] + 1
        elif action == "save":
            self.saved[values[0]] = values[1]
        elif action == "put":
            self.objects |= dict.fromkeys(values[1:], values[0])
        else:
            self.policy = values[0]

    def check(self, state_dir: str) -> None:
        """Everything acknowledged is there; what is there beyond is at most the one change under way."""
        coordinator = Coordinator(SYSTEM, True, state_dir)
        if self.count == 0 and not coordinator.fleets():
            return
        found = coordinator.directory("f")
        beyond = len(found.fleet) - self.count
        assert beyond >= 0
        assert found.fleet.ids.tolist() == [f"n{number}" for number in range(len(found.fleet))]
        again = fleet_of(range(len(found.fleet)), 0.0)
        assert (found.cells == encode_many(again.lat, again.lon, PRECISION)).all()
        removed, marked = set(np.flatnonzero(~found.living).tolist()), set(np.flatnonzero(found.marks).tolist())
        assert self.removed & set(range(self.count)) <= removed
        assert self.marked - removed <= marked
        surprises = [beyond > 0, bool(removed - self.removed), bool(marked - self.marked)]
        for info in found.ranges:
            epoch = self.epochs.get(info.id, 1)
            assert info.epoch in (epoch, epoch + 1)
            kept = coordinator.checkpoint("f", info.id)
            version = self.saved.get(info.id, -1)
            now = kept.version if kept else -1
            assert now in (version, version + 1)
            assert kept is None or set(latencies(kept).values()) == {float(now)}
            surprises += [info.epoch != epoch, now != version]
            self.epochs[info.id], self.saved[info.id] = info.epoch, now
        surprises.append(found.policy.threshold_ms != self.policy)
        looked_up = enumerate(coordinator.lookup([f"o{number}" for number in range(OBJECTS)]))
        objects = {number: entry.record.size for number, entry in looked_up if entry is not None}
        assert self.objects.keys() <= objects.keys()
        fresh = {size for number, size in objects.items() if size != self.objects.get(number)}
        assert len(fresh) <= 1, "a batch is one change"
        surprises.append(bool(fresh))
        self.objects = objects
        assert sum(surprises) <= 1, "one change can have been under way"
        self.count, self.removed, self.marked = len(found.fleet), removed, marked
        self.policy = int(found.policy.threshold_ms)
        coordinator.close()


def kill_often(state_dir: Path, kills: int, seed: int) -> int:
    """Start, kill and check so many times; how many changes were acknowledged."""
    dice = random.Random(seed)
    model, changes = Model(), 0
    for life in range(kills):
        child = subprocess.Popen(
            [sys.executable, "-c", f"import killed; killed.write({str(state_dir)!r}, {seed * 10_007 + life})"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        killer = threading.Timer(dice.uniform(0.0, 0.4), child.kill)
        try:
            for number, line in enumerate(child.stdout, 1):
                if number == 1:
                    killer.start()
                if line.endswith("\n"):  # the last one may be cut short
                    model.take(*json.loads(line))
                    changes += 1
        finally:
            killer.cancel()
            child.kill()
            child.wait()
            child.stdout.close()
        assert child.returncode == -signal.SIGKILL, "it ended by itself"
        model.check(str(state_dir))
    return changes
