"""What is told as metrics, on Ray: each node's agent gives it to Prometheus, with ``ray_faultset_`` before the name."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any, Final

from ray.util import metrics as ray_metrics

from faultset_ray.driver.system_names import system_of
from faultset_ray.telemetry import events
from faultset_ray.telemetry.metric_table import UPKEEP_TIMESTAMP, WHAT, Metric
from faultset_ray.telemetry.metrics import Bounds, Labels, leave, listen

PREFIX: Final = "faultset_"
SYSTEM: Final = "system"
PRIVATE: Final = "private"
SEVERAL: Final = "several"


class Metering:
    """The sink of a process: Ray's metrics, made when they are first told.

    All have the tag ``system``: the name of the system that this process belongs to, ``private`` for one that ends
    with its driver, ``several`` once a process has drivers of more than one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[str, Any] = {}
        self._bounds = Bounds()
        self._served: Counter[str] = Counter()
        self._system = PRIVATE
        self._failed = False

    def serve(self, namespace: str, by: int = 1) -> None:
        """Be of a system too; with -1 no longer."""
        with self._lock:
            before = self._system
            self._served[system_of(namespace) or PRIVATE] += by
            if systems := self.systems:  # what is told on leaving is still of the last one
                self._system = systems[0] if len(systems) == 1 else SEVERAL
            renamed = self._system != before and UPKEEP_TIMESTAMP.name in self._made
        if renamed:  # its gauges stay under the name before: they are of now no longer
            for what in WHAT.values:
                self._tell("set", UPKEEP_TIMESTAMP, [0.0], (what,), before)

    @property
    def systems(self) -> list[str]:
        """The systems that it is of."""
        return list(+self._served)

    def count(self, metric: Metric, amount: float, labels: Labels) -> None:
        """See :class:`~faultset_ray.telemetry.metrics.Sink`."""
        self._tell("inc", metric, [amount], labels)

    def set(self, metric: Metric, value: float, labels: Labels) -> None:
        """See :class:`~faultset_ray.telemetry.metrics.Sink`."""
        self._tell("set", metric, [value], labels)

    def observe(self, metric: Metric, values: list[float], labels: Labels) -> None:
        """See :class:`~faultset_ray.telemetry.metrics.Sink`."""
        self._tell("observe", metric, values, labels)

    def _tell(self, verb: str, metric: Metric, values: list[float], labels: Labels, system: str | None = None) -> None:
        """Have Ray take values, of the system of now or one named; what it refuses is logged once, nothing fails."""
        try:
            with self._lock:
                made = self._made.get(metric.name) or self._made.setdefault(metric.name, _make(metric))
                tags = {**self._bounds.labels(metric, labels), SYSTEM: system or self._system}
            tell = getattr(made, verb)
            for value in values:
                tell(float(value), tags)
        except Exception as error:  # noqa: BLE001 - Ray raises nothing more precise
            if not self._failed:
                self._failed = True
                events.METRICS_UNTOLD.tell(what=metric.name, error=error)


def _make(metric: Metric) -> Any:
    name, keys = PREFIX + metric.name, (*(tag.name for tag in metric.tags), SYSTEM)
    if metric.kind == "histogram":
        return ray_metrics.Histogram(name, metric.text, list(metric.bounds), keys)
    kind = ray_metrics.Counter if metric.kind == "counter" else ray_metrics.Gauge
    return kind(name, metric.text, keys)


_METERING: Final = Metering()
_OF_TASKS: Final[set[str]] = set()


def meter(namespace: str) -> None:
    """Have this process's metrics go to Ray, as those of a namespace's system."""
    _METERING.serve(namespace)
    listen(_METERING)


def meter_task(namespace: str) -> None:
    """The same in a process of tasks, which Ray keeps for others of its driver."""
    if namespace not in _OF_TASKS:
        _OF_TASKS.add(namespace)
        meter(namespace)


def unmeter(namespace: str) -> None:
    """Say that a driver of a system has left; after the last one, nothing more is told."""
    _METERING.serve(namespace, -1)
    if not _METERING.systems:
        leave(_METERING)
