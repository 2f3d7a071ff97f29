"""The state machine of nodes, one node and one sample at a time; states, rules and marks are plain words.

Only ``decay`` is shared with the real one, since two polynomials would not give the same bits.
"""

import copy
import math
from collections import defaultdict
from fractions import Fraction
from itertools import accumulate

from faultset_ray.kernels.health import decay

OUT = ("ejected", "probation")


def share_of(policy):
    """The share that is meant, whatever a float makes of it: thirds, else what is written."""
    return {1 / 3: Fraction(1, 3), 2 / 3: Fraction(2, 3)}.get(policy.eject_max, Fraction(repr(policy.eject_max)))


class Sketch:
    """Weights of latencies by bucket: each power of two in four equal parts; below 0.5 and above 32,768 as at the ends."""

    EDGES = [2.0 ** (octave - 1) * (1 + part / 4) for octave in range(17) for part in range(4)][:65]

    def __init__(self):
        self.weights = [0] * 64

    def bucket(self, latency):
        return max([0, *(bucket for bucket in range(64) if self.EDGES[bucket] <= latency)])

    def add(self, latency, halvings):
        into = self.bucket(latency)
        if self.weights[into] // 2 ** min(halvings, 8) + 4 > 255:
            halvings = min(halvings, 8) + 1
        self.weights = [weight // 2 ** min(halvings, 9) for weight in self.weights]
        self.weights[into] += 4

    def p95(self):
        total = sum(self.weights)
        bucket = next(bucket for bucket, below in enumerate(accumulate(self.weights)) if 20 * below >= 19 * total)
        low, high = self.EDGES[bucket : bucket + 2]
        return 2 * low * high / (low + high)


class Node:
    def __init__(self, handle, cell):
        self.handle, self.cell = handle, cell
        self.state, self.rule, self.blocked, self.mark = "unknown", "never_measured", "nothing", "none"
        self.owes = False  # unknown now, and was out before
        self.since_ms = self.until_ms = self.ejections = 0
        self.value = self.threshold = math.nan
        self.last_ms = None
        self.last = self.ewma = self.peak = math.nan
        self.weight = 0.0
        self.measured_ms = None
        self.bad = []  # newest last, of the last 32 samples
        self.good = self.failures = 0
        self.sketch = Sketch()


class Fleet:
    def __init__(self, policy):
        self.policy = policy
        self.nodes = {}

    # -- Evidence

    def ms(self, seconds):
        return round(1000 * seconds)

    def statistic(self, node):
        if self.policy.statistic == "p95":
            return math.nan if math.isnan(node.last) else node.sketch.p95()
        return getattr(node, self.policy.statistic)

    def absorb(self, handle, latency, ok, at_ms):
        node = self.nodes.get(handle)
        if node is None or (node.last_ms is not None and at_ms < node.last_ms):
            return 0
        node.last_ms = at_ms
        if not ok or math.isnan(latency):
            node.failures = min(node.failures + 1, 65535)
            self.remember(node, bad=True, good=False)
            return 1
        node.failures = 0
        node.last = latency
        latency = min(latency, 3_600_000.0)
        half_life = self.ms(self.policy.half_life_s)
        if node.measured_ms is None:
            node.ewma = node.peak = latency
            node.weight = 1.0
            halvings = 0
        else:
            kept = float(decay(at_ms - node.measured_ms, half_life))
            node.weight = node.weight * kept + 1
            node.ewma += (latency - node.ewma) / node.weight
            node.peak = max(latency, node.peak * kept)
            halvings = at_ms // half_life - node.measured_ms // half_life
        node.measured_ms = at_ms
        if self.policy.statistic == "p95":
            node.sketch.add(node.last, halvings)
        self.remember(node, *self.judged(node))
        return 1

    def remember(self, node, bad, good):
        node.bad = [*node.bad, bad][-32:]
        node.good = min(node.good + 1, 65535) if good else 0

    def change_policy(self, policy):
        """The newest sample is judged again, those before stay as they were judged; a new sketch knows the last latency."""
        before = self.policy
        if (policy.statistic == "p95") != (self.policy.statistic == "p95"):
            for node in self.nodes.values():
                node.sketch = Sketch()
                if not math.isnan(node.last):
                    node.sketch.add(node.last, 0)
        self.policy = policy
        if (before.statistic, before.threshold_ms, self.recover_ms(before)) != (
            policy.statistic,
            policy.threshold_ms,
            self.recover_ms(policy),
        ):
            for node in self.nodes.values():
                if node.measured_ms is not None and not node.failures:
                    bad, good = self.judged(node)
                    node.bad = [*node.bad[:-1], bad]
                    node.good = (node.good or 1) if good else 0

    def recover_ms(self, policy):
        return policy.threshold_ms if policy.recover_ms is None else policy.recover_ms

    def judged(self, node):
        """Whether the newest sample is bad, and whether it is good for an ejected node."""
        value = self.statistic(node)
        return value > self.policy.threshold_ms, value <= self.recover_ms(self.policy)

    # -- Roster

    def enroll(self, rows):
        """rows: (handle, cell, latency, at_ms), the whole roster."""
        old, self.nodes = self.nodes, {}
        for handle, cell, latency, at_ms in sorted(rows):
            node = self.nodes[handle] = old.get(handle) or Node(handle, cell)
            node.cell = cell
            if not math.isnan(latency) and (node.last_ms is None or at_ms > node.last_ms):
                self.absorb(handle, latency, True, at_ms)

    def set_mark(self, handles, mark):
        changes = []
        for handle in sorted(set(handles)):
            node = self.nodes.get(handle)
            if node is None or node.mark == mark:
                continue
            survived, node.mark = self.survives(node), mark
            rule = {"drain": "drained", "pin": "pinned", "none": "unmarked"}[mark]
            changes.append(self.change(node, node.state, survived, rule, math.nan, math.nan))
        return changes

    def survives(self, node):
        return node.mark == "pin" or (node.mark != "drain" and node.state in {"healthy", "suspect"})

    def change(self, node, before, survived, rule, value, threshold):
        """What is told of a node: all columns of a change."""
        after = (node.state, rule, float(value), float(threshold), survived, self.survives(node), node.mark, node.cell)
        return (node.handle, before, *after)

    def mark_and_decide(self, handles, mark, now_ms, freeze):
        """What is told of both: who loses a mark is told of once, as it is in the end."""
        freed, decided = self.set_mark(handles, mark), self.decide(now_ms, freeze)
        if mark != "none":
            return freed, decided
        told = {row[0] for row in freed}
        ends = [self.change(self.nodes[row[0]], row[1], row[6], *row[3:6]) for row in freed]
        return ends, [row for row in decided if row[0] not in told]

    # -- Decisions

    def decide(self, now_ms, freeze=None):
        before = {node.handle: node.state for node in self.nodes.values()}
        survived = {node.handle: self.survives(node) for node in self.nodes.values()}
        rules = {node.handle: node.rule for node in self.nodes.values()}
        frozen = freeze is not None and now_ms < freeze[1]
        to_eject, returning = [], []
        for node in self.nodes.values():
            hindered = frozen and node.mark == "none"
            if node.state in OUT:
                self.step_out(node, now_ms, freeze[0] if hindered else None)
                continue
            step = self.step_in(node, now_ms)
            if step == "eject" and hindered:
                self.stay(node, self.reason(node), now_ms, blocked="freeze")
            elif step == "eject":
                to_eject.append(node)
            elif step == "return":
                returning.append(node)
        self.eject_worst(to_eject, now_ms)
        self.return_to_probation(returning, now_ms)
        self.take_back_the_best(now_ms)
        for node in self.nodes.values():
            if (node.state, node.rule) != (before[node.handle], rules[node.handle]):
                node.value, node.threshold = self.evidence(node, now_ms)
        changed = [node for node in self.nodes.values() if node.state != before[node.handle]]
        return [
            self.change(node, before[node.handle], survived[node.handle], node.rule, *self.evidence(node, now_ms))
            for node in changed
        ]

    def dry_run(self, policy, now_ms, freeze):
        """What another policy would make of it, and who would be another: (handle, before, after, …)."""
        other = copy.deepcopy(self)
        other.change_policy(policy)
        other.decide(now_ms, freeze)
        rows = []
        for old, new in zip(self.nodes.values(), other.nodes.values(), strict=True):
            if (old.state, self.survives(old)) != (new.state, self.survives(new)):
                evidence = map(float, other.evidence(new, now_ms))
                rows.append(
                    (new.handle, old.state, new.state, self.survives(old), self.survives(new), new.rule, *evidence)
                )
        return rows, other

    def age_exceeds_ttl(self, since_ms, now_ms):
        return self.policy.ttl_s is not None and now_ms - since_ms > self.ms(self.policy.ttl_s)

    def has_fresh_evidence(self, node, now_ms):
        if node.measured_ms is None and node.failures == 0:
            return False
        return not self.age_exceeds_ttl(node.last_ms, now_ms)

    def bad_in_window(self, node):
        return sum(node.bad[-self.policy.samples[1] :])

    def reason(self, node):
        return "failures" if node.failures else "over_threshold"

    def enter(self, node, state, rule, now_ms, blocked="nothing"):
        if node.state != state:
            node.since_ms = now_ms
        node.state, node.rule, node.blocked = state, rule, blocked
        node.owes = node.owes and state == "unknown"

    def stay(self, node, rule, now_ms, blocked="nothing"):
        """There is something against it, and it is not ejected: a survivor becomes suspect, an unknown node stays."""
        if node.state == "unknown":
            self.enter(node, "unknown", rule, now_ms, "samples" if node.owes else blocked)
        else:
            self.enter(node, "suspect", rule, now_ms, blocked)

    def step_out(self, node, now_ms, frozen_since_ms):
        """One step of a node that is out; ``frozen_since_ms`` is None unless ejections are frozen."""
        if (
            frozen_since_ms is not None
            and node.state == "ejected"
            and node.since_ms >= frozen_since_ms
            and node.rule != "relapse"
        ):
            node.until_ms = 0
            node.ejections = max(node.ejections - 1, 0)
            self.enter(node, "suspect", "reinstated", now_ms, blocked="freeze")
        elif now_ms < node.until_ms:
            return
        elif not self.has_fresh_evidence(node, now_ms):
            node.owes = True
            self.become_unknown(node, now_ms)
        elif node.state == "probation" and self.bad_in_window(node):
            if frozen_since_ms is None:
                self.eject(node, "relapse", now_ms)
            else:
                node.blocked = "freeze"
        elif node.good >= self.policy.samples[2]:
            self.recover(node, now_ms)
        elif node.state == "ejected" and node.good:
            node.bad = []
            self.enter(node, "probation", "proving", now_ms)

    def become_unknown(self, node, now_ms):
        node.bad, node.good = [], 0
        never = node.measured_ms is None and node.failures == 0
        self.enter(
            node, "unknown", "never_measured" if never else "stale", now_ms, "samples" if node.owes else "nothing"
        )

    def recover(self, node, now_ms):
        node.bad, node.good, node.until_ms = [], 0, 0
        self.enter(node, "healthy", "recovered", now_ms)

    def step_in(self, node, now_ms):
        """One step of a node that is not out; return "eject", "return" (to probation), or nothing."""
        fresh = self.has_fresh_evidence(node, now_ms)
        bad = self.bad_in_window(node)
        if node.state == "healthy" and (bad or not fresh):
            self.forget_ejections(node, now_ms)
        if not fresh:
            self.become_unknown(node, now_ms)
            return None
        only_failures = node.failures > 0 and (
            node.measured_ms is None or self.age_exceeds_ttl(node.measured_ms, now_ms)
        )
        newest_is_bad = bool(node.failures or (node.bad and node.bad[-1]))
        if (bad >= self.policy.samples[0] and newest_is_bad) or only_failures:
            return "eject"
        if node.owes:
            if node.good >= self.policy.samples[2]:
                self.recover(node, now_ms)
            elif node.good:
                return "return"
            else:
                self.stay(node, "some_bad" if newest_is_bad else "proving", now_ms)
        elif node.state == "unknown" and newest_is_bad:
            self.stay(node, "some_bad", now_ms)
        elif bad:
            self.enter(node, "suspect", "some_bad", now_ms)
        elif node.state != "healthy":
            self.enter(node, "healthy", "within", now_ms)
        return None

    def forget_ejections(self, node, now_ms):
        longest = self.ms(self.policy.hold_s[1])
        healthy_since = node.since_ms
        while longest and node.ejections and healthy_since + longest <= now_ms:
            node.ejections -= 1
            healthy_since += longest

    def how_bad(self, node):
        """The worst first."""
        return (-(math.inf if node.failures else self.statistic(node)), node.handle)

    def counted(self, cell):
        """The nodes of a region that its cap is about, those of them that are out, and how many may be."""
        members = [node for node in self.nodes.values() if node.cell == cell and node.mark == "none"]
        share = share_of(self.policy)
        return members, [node for node in members if node.state in OUT], math.floor(share * len(members))

    def take_back_the_best(self, now_ms):
        for cell in {node.cell for node in self.nodes.values()}:
            _, out, most = self.counted(cell)
            for node in sorted(out, key=self.how_bad)[most:]:
                node.until_ms = 0
                node.ejections = max(node.ejections - 1, 0)
                self.enter(node, "suspect", "capped", now_ms, blocked="cap")

    def eject_worst(self, to_eject, now_ms):
        for node in sorted(to_eject, key=self.how_bad):
            _, out, most = self.counted(node.cell)
            if node.mark != "none" or len(out) + 1 <= most:
                self.eject(node, self.reason(node), now_ms)
            else:
                self.stay(node, self.reason(node), now_ms, blocked="cap")

    def return_to_probation(self, returning, now_ms):
        """They fell silent while they were out; to be out again they need room under the cap, like the others."""
        for node in sorted(returning, key=self.how_bad):
            _, out, most = self.counted(node.cell)
            if node.mark != "none" or len(out) + 1 <= most:
                node.bad = []
                self.enter(node, "probation", "proving", now_ms)
            else:
                self.stay(node, "proving", now_ms, blocked="cap")

    def eject(self, node, rule, now_ms):
        node.ejections = min(node.ejections + 1, 255)
        shortest, longest = map(self.ms, self.policy.hold_s)
        node.until_ms = now_ms + min(shortest * 2 ** (node.ejections - 1), longest)
        node.good = 0
        self.enter(node, "ejected", rule, now_ms)

    # -- Answers

    def evidence(self, node, now_ms):
        policy = self.policy
        return {
            "within": lambda: (self.statistic(node), policy.threshold_ms),
            "over_threshold": lambda: (self.statistic(node), policy.threshold_ms),
            "relapse": lambda: (node.failures, 1) if node.failures else (self.statistic(node), policy.threshold_ms),
            "recovered": lambda: (self.statistic(node), self.recover_ms(policy)),
            "stale": lambda: (now_ms - node.last_ms, math.nan if policy.ttl_s is None else self.ms(policy.ttl_s)),
            "some_bad": lambda: (self.bad_in_window(node), policy.samples[0]),
            "failures": lambda: (self.bad_in_window(node), policy.samples[0]),
            "capped": lambda: (1 + len(self.counted(node.cell)[1]), self.counted(node.cell)[2]),
            "proving": lambda: (node.good, policy.samples[2]),
        }.get(node.rule, lambda: (math.nan, math.nan))()

    def verdict(self, node, now_ms):
        """What is said about one node; nothing where a number is not known, and of a marked node but its mark."""
        held = node.state == "ejected" and now_ms < node.until_ms
        blocked = node.blocked
        if node.state in OUT and blocked == "nothing":
            blocked = "hold" if held and node.good >= self.policy.samples[2] else "samples"
        numbers = (*self.evidence(node, now_ms), node.value, node.threshold)
        if node.mark != "none":
            numbers = (math.nan,) * 4
        row = 0
        while row < len(node.bad) and node.bad[-1 - row]:
            row += 1
        _, out, most = self.counted(node.cell)
        value, threshold, value_then, threshold_then, last = (
            None if math.isnan(number) else float(number) for number in (*numbers, node.last)
        )
        return {
            "handle": node.handle, "state": node.state, "survives": self.survives(node),
            "rule": {"drain": "drained", "pin": "pinned"}.get(node.mark, node.rule),
            "value": value, "threshold": threshold, "value_then": value_then, "threshold_then": threshold_then,
            "since_ms": node.since_ms, "until_ms": node.until_ms if held else None, "blocked_by": blocked,
            "mark": node.mark, "bad": self.bad_in_window(node), "bad_in_row": row, "good": node.good,
            "failures": node.failures, "last_latency_ms": last, "last_ms": node.last_ms, "ejections": node.ejections,
            "region_out": len(out), "region_out_max": most,
        }  # fmt: skip

    def live(self):
        return self.ranked(lambda node: node.state in {"healthy", "suspect"}, self.statistic)

    def plain(self, threshold_ms):
        return self.ranked(lambda node: not node.failures and node.last <= threshold_ms, lambda node: node.last)

    def ranked(self, survives, latency):
        """{cell: [handle, …]}, cells in order of their first node."""
        cells = defaultdict(list)
        for node in self.nodes.values():
            cells[node.cell].append(node)
        answer = {}
        for cell, members in cells.items():
            survivors = [
                node for node in members if node.mark == "pin" or (node.mark != "drain" and survives(node))
            ]  # fmt: skip

            def rank(node):
                value = latency(node)
                return math.inf if node.failures or math.isnan(value) else value

            answer[cell] = [node.handle for node in sorted(survivors, key=rank)]
        return answer
