"""Numbers that are told while the library runs: counted, observed, set; nothing happens where nobody listens.

What there is to tell stands in one closed table, :data:`METRICS`, of :mod:`~faultset_ray.telemetry.metric_table`. Who
listens is a :class:`Sink`: on Ray ``actors.metering``, in tests a :class:`Recorder`. All of it is of the process.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from numpy.typing import ArrayLike

from faultset_ray.telemetry.metric_table import METRICS, Metric, Tag

OBSERVED_MAX: Final = 200
"""So many values of one call are observed; of more, evenly chosen ones, as each takes some microseconds on Ray."""

Labels = tuple[str, ...]
"""Values of a metric's tags, in the order of its tags."""


class Sink(Protocol):
    """Somebody who listens. It is called from any thread, and must neither wait nor raise."""

    def count(self, metric: Metric, amount: float, labels: Labels) -> None:
        """A counter grows by an amount above 0."""
        ...

    def set(self, metric: Metric, value: float, labels: Labels) -> None:
        """A gauge is so much now."""
        ...

    def observe(self, metric: Metric, values: list[float], labels: Labels) -> None:
        """A histogram gets some values, ``OBSERVED_MAX`` at most."""
        ...


_sinks: tuple[Sink, ...] = ()
_changing: Final = threading.Lock()


def listened() -> bool:
    """Whether anybody listens: where not, what only metrics need is not worked out."""
    return bool(_sinks)


def count(metric: Metric, amount: float = 1, *labels: str) -> None:
    """Let a counter grow; by nothing, nothing is told."""
    if _sinks and amount > 0:
        for sink in _sinks:
            sink.count(metric, amount, labels)


def put(metric: Metric, value: float, *labels: str) -> None:
    """Say how much a gauge is now."""
    for sink in _sinks:
        sink.set(metric, value, labels)


def observe(metric: Metric, value: float, *labels: str) -> None:
    """Add a value to a histogram."""
    for sink in _sinks:
        sink.observe(metric, [value], labels)


def observe_all(metric: Metric, values: ArrayLike, *labels: str) -> None:
    """Add many values to a histogram: float64[n]. Of more than ``OBSERVED_MAX``, as many evenly chosen ones."""
    if not _sinks:
        return
    given = np.asarray(values, np.float64)
    if len(given) > OBSERVED_MAX:
        given = np.sort(given)[np.linspace(0, len(given) - 1, OBSERVED_MAX).astype(np.int64)]
    if len(given):
        for sink in _sinks:
            sink.observe(metric, given.tolist(), labels)


def listen(sink: Sink) -> None:
    """Have somebody listen from now on; who listens already is not added."""
    global _sinks  # noqa: PLW0603 - a tuple that is replaced is read without a lock
    with _changing:
        if sink not in _sinks:
            _sinks = (*_sinks, sink)


def leave(sink: Sink) -> None:
    """Have somebody listen no longer."""
    global _sinks  # noqa: PLW0603
    with _changing:
        _sinks = tuple(each for each in _sinks if each is not sink)


class Bounds:
    """Keeps the values of tags few: what is none of a closed tag's, or one too many of an open one's, is ``other``."""

    OTHER: Final = "other"

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], set[str]] = {}

    def labels(self, metric: Metric, labels: Labels) -> dict[str, str]:
        """The tags of a metric with bounded values, by name."""
        return {
            tag.name: value if self._is_known(metric.name, tag, value) else self.OTHER
            for tag, value in zip(metric.tags, labels, strict=True)
        }

    def _is_known(self, metric: str, tag: Tag, value: str) -> bool:
        if tag.values:
            return value in tag.values
        seen = self._seen.setdefault((metric, tag.name), set())
        if len(seen) < tag.most:
            seen.add(value)
        return value in seen


@dataclass(slots=True)
class Observed:
    """What a histogram got."""

    count: int = 0
    sum: float = 0.0
    buckets: list[int] = field(default_factory=list)
    """By the metric's bounds, and those above the last."""


class Recorder:
    """Keeps what is told, for tests and for backends in this process.

    It is strict where others are lenient: a tag's value that the table does not know is an error.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[tuple[str, Labels], float] = {}
        self._observed: dict[tuple[str, Labels], Observed] = {}

    def count(self, metric: Metric, amount: float, labels: Labels) -> None:
        """See :class:`Sink`."""
        key = self._key(metric, "counter", labels)
        with self._lock:
            self._values[key] = self._values.get(key, 0.0) + amount

    def set(self, metric: Metric, value: float, labels: Labels) -> None:
        """See :class:`Sink`."""
        key = self._key(metric, "gauge", labels)
        with self._lock:
            self._values[key] = value

    def observe(self, metric: Metric, values: list[float], labels: Labels) -> None:
        """See :class:`Sink`."""
        key = self._key(metric, "histogram", labels)
        with self._lock:
            observed = self._observed.setdefault(key, Observed(buckets=[0] * (len(metric.bounds) + 1)))
            observed.count += len(values)
            observed.sum += sum(values)
            for value in values:
                observed.buckets[bisect_left(metric.bounds, value)] += 1

    def value(self, metric: Metric, *labels: str) -> float:
        """What a counter or gauge is now; 0 where nothing was told."""
        with self._lock:
            return self._values.get((metric.name, labels), 0.0)

    def observed(self, metric: Metric, *labels: str) -> Observed:
        """What a histogram got."""
        with self._lock:
            return self._observed.get((metric.name, labels), Observed())

    def all(self, metric: Metric) -> dict[Labels, float]:
        """Every value of a counter or gauge, by its labels."""
        with self._lock:
            return {labels: value for (name, labels), value in self._values.items() if name == metric.name}

    @staticmethod
    def _key(metric: Metric, kind: str, labels: Labels) -> tuple[str, Labels]:
        known = metric.kind == kind and METRICS.get(metric.name) is metric and len(labels) == len(metric.tags)
        if not known or any(
            tag.values and value not in {*tag.values, Bounds.OTHER}
            for tag, value in zip(metric.tags, labels, strict=True)
        ):
            raise AssertionError(f"the table of metrics has no {kind} {metric.name} with tags {labels}")
        return metric.name, labels


@contextmanager
def recording() -> Iterator[Recorder]:
    """A recorder that listens within this context."""
    recorder = Recorder()
    listen(recorder)
    try:
        yield recorder
    finally:
        leave(recorder)
