"""Both state machines of health side by side, and random traces to drive them by."""

import math

import numpy as np
from naive import health as naive

from faultset_ray.control.decisions import decide, live_survivors, plain_survivors
from faultset_ray.control.dryrun import dry_run, rejudge
from faultset_ray.control.explain import explain
from faultset_ray.control.health import Health, absorb, needs_sketch
from faultset_ray.control.health_columns import COLUMNS
from faultset_ray.control.states import Blocked, Mark, Rule, State
from faultset_ray.policy import STATISTICS, Policy

THRESHOLD_MS = 50.0
LATENCIES_MS = (
    0.0,
    -0.0,
    0.2,
    10.0,
    30.0,
    49.0,
    50.0,
    math.nextafter(50.0, 51),
    55.0,
    90.0,
    5000.0,
    1e7,
    math.inf,
    math.nan,
)


class Pair:
    """The columns and the oracle, given the same; every step compares all they know."""

    def __init__(self, policy):
        self.policy, self.rules = policy, policy.rules
        none = np.empty(0, np.uint32)
        self.real = Health.empty(none, none.astype(np.uint64), sketch=needs_sketch(self.rules))
        self.naive = naive.Fleet(policy)

    def change_policy(self, policy):
        before, self.policy, self.rules = self.rules, policy, policy.rules
        self.real = self.real.with_sketch(wanted=needs_sketch(self.rules))
        rejudge(self.real, before, self.rules)
        self.naive.change_policy(policy)
        self.compare()

    def dry_run(self, policy, now_ms, freeze=None):
        run, copy = dry_run(self.real, self.rules, policy.rules, now_ms, freeze)
        rows, other = self.naive.dry_run(policy, now_ms, freeze)
        assert repr(rows_of(run)) == repr(rows)
        self.compare()
        there = Pair(policy)
        there.real, there.naive = copy, other
        there.compare()

    def enroll(self, rows):
        handles, cells, latency, at_ms = zip(*sorted(rows), strict=True) if rows else ((),) * 4
        self.real = self.real.enroll(
            np.array(handles, np.uint32), np.array(cells, np.uint64), np.array(latency, np.float64),
            np.array(at_ms, np.int64), self.rules,
        )  # fmt: skip
        self.naive.enroll(rows)
        self.compare()

    def absorb(self, samples):
        """samples: (handle, latency, ok, at_ms)"""
        handles, latency, ok, at_ms = zip(*samples, strict=True) if samples else ((),) * 4
        taken = absorb(
            self.real, self.real.find(np.array(handles, np.uint32)), np.array(latency, np.float64),
            np.array(ok, np.bool_), np.array(at_ms, np.int64), self.rules,
        )  # fmt: skip
        assert taken == sum(self.naive.absorb(*sample) for sample in samples)

    def decide(self, now_ms, freeze=None):
        self.same_changes(decide(self.real, self.rules, now_ms, freeze), self.naive.decide(now_ms, freeze))
        self.compare()
        self.same_answer(live_survivors(self.real, self.rules), self.naive.live())
        self.same_answer(plain_survivors(self.real, THRESHOLD_MS), self.naive.plain(THRESHOLD_MS))

    def set_mark(self, handles, mark):
        slots = self.real.find(np.array(handles, np.uint32))
        self.same_changes(self.real.set_marks(slots, mark), self.naive.set_mark(handles, mark.label))
        self.compare()

    def mark_and_decide(self, handles, mark, now_ms, freeze=None):
        marked = self.real.set_marks(self.real.find(np.array(handles, np.uint32)), mark)
        marked, decided = marked.settled(decide(self.real, self.rules, now_ms, freeze))
        expected = self.naive.mark_and_decide(handles, mark.label, now_ms, freeze)
        self.same_changes(marked, expected[0])
        self.same_changes(decided, expected[1])
        self.compare()

    def explain(self, handle, now_ms):
        [slot] = self.real.find(np.array([handle], np.uint32))
        if slot >= 0:
            found = explain(self.real, int(slot), self.rules, now_ms, "n", "u").to_dict()
            expected = {"id": "n", "region": "u", "tier": None, **self.naive.verdict(self.naive.nodes[handle], now_ms)}
            assert found == {name: "inf" if value == math.inf else value for name, value in expected.items()}

    def same_changes(self, real, expected):
        assert repr(rows_of(real)) == repr(expected)

    def compare(self):
        real, nodes = self.real, list(self.naive.nodes.values())
        expected = {
            "handles": [node.handle for node in nodes],
            "cells": [node.cell for node in nodes],
            "last_ms": [-1 if node.last_ms is None else node.last_ms for node in nodes],
            "measured_ms": [-1 if node.measured_ms is None else node.measured_ms for node in nodes],
            "window": [sum(bad << age for age, bad in enumerate(reversed(node.bad))) for node in nodes],
            "state": [State[node.state.upper()] for node in nodes],
            "rule": [Rule[node.rule.upper()] for node in nodes],
            "blocked": [Blocked[node.blocked.upper()] for node in nodes],
            "mark": [Mark[node.mark.upper()] for node in nodes],
        }
        for name, (kind, *_) in COLUMNS.items():
            column = expected.get(name) or [getattr(node, name) for node in nodes] if nodes else []
            found = getattr(real, name)
            assert found.dtype == kind
            assert found.tobytes() == np.array(column, kind).tobytes(), (name, found.tolist(), column)
        if len(real.sketch):
            assert real.sketch.astype("<u8").view(np.uint8).tolist() == [node.sketch.weights for node in nodes]

    def same_answer(self, real, expected):
        slots, counts = real
        parts = np.split(self.real.handles[slots], np.cumsum(counts)[:-1]) if len(counts) else []
        found = {cell: part.tolist() for cell, part in zip(self.real.groups.cells.tolist(), parts, strict=True)}
        assert found == expected
        assert list(found) == list(expected)


def rows_of(columns):
    """Named columns, of whatever names, as rows of plain values."""
    words = {"before": State, "after": State, "rule": Rule, "mark": Mark}
    found = [
        [words[name](number).label for number in column] if name in words else column.tolist()
        for name, column in columns._asdict().items()
    ]  # fmt: skip
    return list(zip(*found, strict=True))


def random_policy(rng):
    """Small counts and times, so that a short trace goes through every rule."""
    statistic = rng.choice(STATISTICS)
    window = rng.randrange(1, 6)
    hold = sorted(rng.choices([0.0, 0.1, 0.3, 0.5, 2.0], k=2))
    return Policy(
        statistic=statistic,
        threshold_ms=rng.choice([THRESHOLD_MS, THRESHOLD_MS, 54.0, 91.0]),
        recover_ms=None if rng.random() < 0.5 else rng.choice([10.0, 40.0, 50.0]),
        samples=(rng.randrange(1, window + 1), window, rng.randrange(1, 4)),
        hold_s=(hold[0], hold[1]),
        ttl_s=None if rng.random() < 0.5 else rng.choice([0.2, 0.5, 1.5]),
        half_life_s=rng.choice([0.05, 0.4, 10.0]),
        eject_max=rng.choice([1.0, 0.5, 1 / 3, 2 / 3, 0.29, 0.0, 0.9999999]),
    )


def random_trace(rng, steps=8):
    """Drive a pair through a trace of few nodes in regions of 1, 2, 3 and more."""
    pair = Pair(random_policy(rng))
    cells = [cell << 4 | 1 for region, size in enumerate((1, 2, 3, 4)) for cell in [region] * size]
    rng.shuffle(cells)
    now_ms = rng.randrange(0, 1000)

    def latency():
        return rng.choice(LATENCIES_MS)

    def rows():
        return [
            (handle, cell, latency(), now_ms - rng.randrange(0, 200) if now_ms > 200 else now_ms)
            for handle, cell in enumerate(cells)
            if rng.random() < 0.9
        ]  # fmt: skip

    pair.enroll(rows())
    freeze = None
    for _ in range(steps):
        now_ms += rng.choice([0, 30, 100, 400, 1600])
        chance = rng.random()
        if chance < 0.04:
            pair.enroll(rows())
        elif chance < 0.12:
            handles = rng.choices(range(len(cells)), k=rng.randrange(1, 4))
            mark = Mark(rng.randrange(0, 3))
            if rng.random() < 0.5:
                pair.set_mark(handles, mark)
            else:
                pair.mark_and_decide(handles, mark, now_ms, freeze)
        elif chance < 0.16:
            pair.change_policy(random_policy(rng))
        elif chance < 0.18:
            pair.dry_run(random_policy(rng), now_ms, freeze)
        elif chance < 0.22:
            freeze = (now_ms - rng.randrange(0, 500), now_ms + rng.randrange(0, 1000))
        trouble = rng.random() < 0.3  # a spell in which most are bad
        pair.absorb(
            [
                (
                    rng.randrange(0, len(cells) + 1),
                    90.0 if trouble and rng.random() < 0.8 else latency(),
                    rng.random() < 0.85,
                    now_ms - rng.choice([0, 0, 0, 10, 60]) if now_ms > 60 else now_ms,
                )
                for _ in range(rng.randrange(0, 25))
            ]
        )
        if rng.random() < 0.03:  # so many that a bucket of the sketch is full
            handle, usual = rng.randrange(0, len(cells)), latency()
            pair.absorb(
                [
                    (handle, usual if rng.random() < 0.95 else latency(), True, now_ms)
                    for _ in range(rng.randrange(20, 90))
                ]
            )
        pair.decide(now_ms, freeze)
        pair.explain(rng.randrange(0, len(cells)), now_ms + rng.choice([0, 50]))
    return pair
