"""The hook of metrics: what is told to whom, few values of tags, next to nothing where nobody listens."""

import threading
import timeit

import numpy as np
import pytest

from faultset_ray.codes import engine
from faultset_ray.control.ladder import Tier
from faultset_ray.control.states import Rule, State
from faultset_ray.coordinator.objects import StoreRow
from faultset_ray.driver.inventory import Inventory
from faultset_ray.driver.metering import tell_stores
from faultset_ray.http.metering import route_of
from faultset_ray.objects.store_values import StoreInfo
from faultset_ray.telemetry import metric_table as table
from faultset_ray.telemetry import metrics
from faultset_ray.telemetry.metrics import Bounds, recording

UNITS = ("seconds", "bytes", "ratio")


def stores(*answering, silent=()):
    """An inventory of stores, each named as its region."""
    infos = {name: StoreInfo(name, name, name, "none", "", 30, 100, used_bytes=7) for name in answering}
    rows = {
        name: StoreRow(name, name, name, "", "none", "active", 0.0, 100, 7, 30, 1) for name in (*answering, *silent)
    }
    none = frozenset()
    return Inventory(rows, infos, leaving=none, away=frozenset(silent), gone=none)


def test_what_is_told_of_stores_goes_with_them():
    regions = set()
    with recording() as told:
        tell_stores(stores("r0", "r1"), regions)
        assert told.value(table.STORE_BYTES, "r1", "held") == 7
        assert told.value(table.STORE_FREE_RATIO) == 0.3
        tell_stores(stores("r0"), regions)
        assert told.all(table.STORE_BYTES) == {
            ("r0", "held"): 7,
            ("r0", "free"): 30,
            ("r1", "held"): 0,
            ("r1", "free"): 0,
        }
        tell_stores(stores(silent=("r0",)), regions)
        assert set(told.all(table.STORE_BYTES).values()) == {0}
        assert told.value(table.STORE_FREE_RATIO) == 0
        assert told.value(table.STORES, "away") == 1


def test_nothing_is_told_where_nobody_listens():
    assert not metrics.listened()
    metrics.count(table.HEDGES)
    with recording() as told:
        assert metrics.listened()
        assert told.value(table.HEDGES) == 0
        metrics.count(table.HEDGES, 2)
        metrics.count(table.HEDGES, 0)
    metrics.count(table.HEDGES)
    assert told.all(table.HEDGES) == {(): 2}


def test_all_who_listen_are_told_once():
    with recording() as first, recording() as second:
        metrics.listen(first)
        metrics.put(table.SURVIVORS, 7, "f")
    assert first.value(table.SURVIVORS, "f") == second.value(table.SURVIVORS, "f") == 7


def test_threads_lose_nothing():
    def work():
        for _ in range(1000):
            metrics.count(table.HEDGES)

    with recording() as told:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert told.value(table.HEDGES) == 4000


def test_values_fall_into_the_buckets_that_their_bounds_say():
    with recording() as told:
        metrics.observe_all(table.DETECTION, [0.1, 0.11, 5000.0], "f")
        metrics.observe(table.DETECTION, 1.0, "f")
        metrics.observe_all(table.DETECTION, [], "f")
    observed = told.observed(table.DETECTION, "f")
    assert (observed.count, observed.sum) == (4, pytest.approx(5001.21))
    bounds = dict(zip([*table.DETECTION.bounds, np.inf], observed.buckets, strict=True))
    assert {bound: count for bound, count in bounds.items() if count} == {0.1: 1, 0.25: 1, 1.0: 1, np.inf: 1}


def test_of_very_many_values_evenly_chosen_ones_are_told():
    values = np.random.default_rng(1).permutation(100_000) / 1000
    with recording() as told:
        metrics.observe_all(table.DETECTION, values, "f")
    observed = told.observed(table.DETECTION, "f")
    assert observed.count == metrics.OBSERVED_MAX
    assert observed.sum / observed.count == pytest.approx(values.mean(), rel=0.01)


@pytest.mark.parametrize(
    ("metric", "labels"),
    [(table.EJECTIONS, ("f", "bad_luck")), (table.EJECTIONS, ("f",)), (table.SURVIVORS, ("f",))],
)
def test_a_test_sees_what_the_table_does_not_know(metric, labels):
    with recording(), pytest.raises(AssertionError, match="table of metrics"):
        metrics.count(metric, 1, *labels)


def test_tags_have_few_values():
    bounds = Bounds()
    assert bounds.labels(table.EJECTIONS, ("f", "bad_luck")) == {"fleet": "f", "reason": "other"}
    fleets = {bounds.labels(table.SURVIVORS, (f"f{index}",))["fleet"] for index in range(1000)}
    assert len(fleets) == table.FLEET.most + 1
    assert bounds.labels(table.SURVIVORS, ("f0",)) == {"fleet": "f0"}, "who came first stays"
    assert bounds.labels(table.FLAPS, ("new",)) == {"fleet": "new"}, "each metric for itself"


def test_the_table_says_what_the_code_has():
    assert tuple(state.label for state in State if state != State.REMOVED) == table.STATES
    assert tuple(tier.name.lower() for tier in Tier) == table.TIERS
    assert set(table.REASONS) < {rule.label for rule in Rule}
    assert set(engine.available()) <= set(table.ENGINE.values)


def test_every_route_of_the_application_is_counted_as_itself():
    import faultset_ray.http.app  # noqa: F401 - it makes the kind of path that they use
    from faultset_ray.http import fleets, objects, watching

    paths = {
        route.path.replace(":rest", "") for module in (fleets, objects, watching) for route in module.router.routes
    }
    paths |= {"/v1/health", "/v1/ready", "/v1/openapi.json"}
    assert {route_of(path) for path in paths} == paths == set(table.ROUTE.values)
    assert route_of("/v1/objects/a/b\nc") == "/v1/objects/{name}"
    assert route_of("/v1/objects") == "/v1/objects"
    assert route_of("/wp-login.php") == "other"


@pytest.mark.parametrize("metric", table.METRICS.values(), ids=table.METRICS)
def test_names_are_as_prometheus_wants_them(metric):
    assert metric.unit == "" or metric.name.endswith(metric.unit)
    assert metric.unit or not metric.name.endswith(UNITS)
    assert not metric.name.endswith(("_total", "_count", "_sum", "_bucket", "_info"))
    assert (metric.kind == "histogram") == bool(metric.bounds)
    assert list(metric.bounds) == sorted(set(metric.bounds))
    assert (metric.kind == "gauge" and metric is not table.UPKEEP_TIMESTAMP) == bool(metric.beside)
    assert all(tag.values or 0 < tag.most <= 64 for tag in metric.tags)
    assert not {tag.name for tag in metric.tags} & {"node", "id", "object", "name", "store", "uuid", "le", "system"}
    assert metric.text.endswith(".")


def test_a_call_costs_next_to_nothing_where_nobody_listens():
    """A bound that no load breaks; the figure itself is measured in benchmarks."""
    calls = 10_000
    seconds = min(timeit.repeat(lambda: metrics.count(table.HEDGES, 1), number=calls, repeat=5))
    assert seconds / calls < 5e-6
