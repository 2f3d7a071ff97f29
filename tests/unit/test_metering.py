"""What Ray is told of metrics: names, tags, and the system that a process is of."""

import pickle

import pytest
from told import told as events_told

from actors import metering
from faultset_ray.telemetry import metric_table as table
from faultset_ray.telemetry.metrics import Bounds


@pytest.fixture
def told(monkeypatch):
    """What Ray's metrics are told, in place of them: (kind, name, value, tags)."""
    taken = []

    def kind(name):
        class Kept:
            def __init__(self, metric, text, *rest):
                self.made = metric, rest[-1]
                if name == "Histogram":
                    assert list(rest[0]) == sorted(rest[0])

            def tell(self, value, tags):
                assert set(tags) == set(self.made[1]), "Ray refuses others"
                taken.append((name, self.made[0], value, tags))

            inc = set = observe = tell

        return Kept

    for name in ("Counter", "Gauge", "Histogram"):
        monkeypatch.setattr(metering.ray_metrics, name, kind(name))
    return taken


def test_each_kind_is_told_as_what_it_is(told):
    sink = metering.Metering()
    sink.serve("faultset:kept")
    sink.count(table.EJECTIONS, 3, ("f", "failures"))
    sink.set(table.SURVIVORS, 7, ("f",))
    sink.observe(table.DETECTION, [1.0, 2.0], ("f",))
    kept = {"system": "kept", "fleet": "f"}
    assert told == [
        ("Counter", "faultset_ejections", 3.0, {**kept, "reason": "failures"}),
        ("Gauge", "faultset_survivors", 7.0, kept),
        ("Histogram", "faultset_detection_seconds", 1.0, kept),
        ("Histogram", "faultset_detection_seconds", 2.0, kept),
    ]


def test_a_process_says_which_system_it_is_of(told):
    sink = metering.Metering()

    def system():
        sink.count(table.HEDGES, 1, ())
        return told.pop()[3]["system"]

    sink.serve("faultset:a")
    assert system() == "a"
    sink.serve("faultset:a")
    assert system() == "a"
    sink.serve("faultset:private-0123456789abcdef")
    assert system() == "several"
    sink.serve("faultset:private-0123456789abcdef", -1)
    assert system() == "a"
    sink.serve("faultset:a", -1)
    sink.serve("faultset:a", -1)
    assert system() == "a", "what is told on leaving is of the last one"
    sink.serve("faultset:private-fedcba9876543210")
    assert system() == "private", "nobody chose its name, and there may be many"


def test_a_process_that_joins_another_system_looks_no_more_under_the_first_name(told):
    sink = metering.Metering()
    sink.serve("faultset:a")
    sink.serve("faultset:a")
    sink.set(table.UPKEEP_TIMESTAMP, 100.0, ("ranges",))
    del told[:]
    sink.serve("faultset:b")
    assert [(name, value, tags) for _, name, value, tags in told] == [
        ("faultset_upkeep_timestamp_seconds", 0.0, {"what": what, "system": "a"}) for what in table.WHAT.values
    ]


def test_tags_are_bounded(told):
    sink = metering.Metering()
    for index in range(1000):
        sink.set(table.SURVIVORS, 1, (f"f{index}",))
    assert len({tags["fleet"] for *_, tags in told}) == table.FLEET.most + 1
    assert told[-1][3]["fleet"] == Bounds.OTHER


def test_what_ray_refuses_is_logged_once_and_stops_nobody(monkeypatch, caplog):
    def refuse(*_args):
        raise RuntimeError("no")

    monkeypatch.setattr(metering.ray_metrics, "Counter", refuse)
    sink = metering.Metering()
    for _ in range(3):
        sink.count(table.HEDGES, 1, ())
    [untold] = events_told(caplog, "metrics_untold")
    assert untold["what"] == "hedges"


def test_what_a_task_takes_along_is_small():
    """Actors' classes are shipped by value: the sink of their process is found there by its name."""
    assert len(pickle.dumps(metering.meter)) < 100
