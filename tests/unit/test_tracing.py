"""Traces: who stands below whom, what spans tell and what not, and that nothing is made where nobody listens."""

from __future__ import annotations

import asyncio
import inspect
import io
import logging
import subprocess
import sys

import pytest
from first_stripe import hold_first_stripe
from opentelemetry import trace
from opentelemetry.sdk.trace.export import ConsoleSpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from spans import collected, no_provider
from told import told

import faultset_ray as fs
from faultset_ray.backend.local import LocalBackend
from faultset_ray.backend.protocol import ANYWHERE, Addr, Net, Place, Servant
from faultset_ray.backend.sim import SimBackend, SimFaults
from faultset_ray.config import Config, Tracing
from faultset_ray.driver.asynchronous import AsyncDriver
from faultset_ray.driver.fleet_verbs import AsyncFleetVerbs
from faultset_ray.driver.object_verbs import AsyncObjectVerbs
from faultset_ray.driver.shard_verbs import AsyncShardVerbs
from faultset_ray.driver.upkeep_verbs import AsyncUpkeepVerbs
from faultset_ray.errors import CallTimeout, InputError, InvalidConfig, ObjectNotFound, RemoteFailure
from faultset_ray.limits import MIB
from faultset_ray.objects.batch import Batcher
from faultset_ray.telemetry import tracing

NODES = [fs.Node("a", 52.5, 13.4, 20.0), fs.Node("b", 48.9, 2.4, 180.0), fs.Node("c", -33.9, 151.2, 20.0)]
PLACES = [Place(f"p{index}", {"faultset.io/region": f"r{index}"}, cpus=2) for index in range(6)]
NAME = "ledger/of-nobody-s-business"

PUT, GET = ("faultset.put", "INTERNAL"), ("faultset.get", "INTERNAL")
SURVIVORS = ("faultset.survivors", "INTERNAL")
VERBS = {
    name
    for face in (AsyncFleetVerbs, AsyncShardVerbs, AsyncObjectVerbs, AsyncUpkeepVerbs)
    for name, member in vars(face).items()
    if inspect.iscoroutinefunction(member) and not name.startswith("_")
}


def call(name):
    """Both ends of a call."""
    return (name, "CLIENT"), (name, "SERVER")


@pytest.fixture(params=["local", "sim"])
def backend(request):
    return LocalBackend(PLACES, cpus=2) if request.param == "local" else SimBackend(PLACES, seed=5)


def run(backend, scenario):
    """A scenario of a driver, wherever its time comes from."""

    async def driven():
        async with await AsyncDriver.start(backend, "traced", 2) as driver:
            return await scenario(driver)

    if isinstance(backend, SimBackend):
        try:
            return backend.execute(driven())
        finally:
            backend.dispose()
    return asyncio.run(driven())


# -- The tree


def test_the_tree_of_puts_gets_and_survivors(backend, monkeypatch):
    hold_first_stripe(monkeypatch)

    async def scenario(driver):
        await driver.register(NODES, precision=3)
        await driver.put("warm", b"up")  # stores come up, and the steward
        spans.take()
        await driver.put(NAME, bytes(1000))
        small = spans.take()
        await driver.put(NAME, bytes(MIB), stripe_bytes=MIB // 2)
        large = spans.take()
        await driver.get(NAME)
        got = spans.take()
        answer = await driver.survivors(threshold_ms=100.0)
        return small, large, got, spans.take(), answer

    with collected() as spans:
        small, large, got, asked, answer = run(backend, scenario)
    open_, commit = call("coordinator/open_writes"), call("coordinator/commit_writes")
    whole, record = call("store/write"), call("store/record")
    assert small.shape() >= {(PUT, ("encode", "INTERNAL")), *((PUT, *both) for both in (open_, whole, record, commit))}
    assert len(small.named("store/write", "SERVER")) == 6
    task = (PUT, ("run encode_stripe", "CLIENT"), ("encode_stripe", "SERVER"))
    assert {(*task, *call("store/append")), (PUT, *call("store/seal")), (PUT, *commit)} <= large.shape()
    assert (PUT, *call("store/append")) in large.shape(), "the driver encoded the other stripe"
    assert len(large.named("encode_stripe")) == 1
    assert len(large.named("store/append", "SERVER")) == 12
    assert {(GET, *call("coordinator/lookup")), (GET, *call("store/read_batch"))} <= got.shape()
    assert {(SURVIVORS, *call("region/survivors"))} <= asked.shape()
    assert len(asked.named("region/survivors", "SERVER")) == len(answer.versions) == 2
    for tree, root in ((small, PUT), (large, PUT), (got, GET), (asked, SURVIVORS)):
        assert [span["name"] for span in tree.roots()] == [root[0]], "one trace for each verb"
        assert {span["context"]["trace_id"] for span in tree.spans} == {tree.roots()[0]["context"]["trace_id"]}
        assert {span["status"]["status_code"] for span in tree.spans} == {"UNSET"}


def test_every_verb_is_one_trace(backend):
    async def scenario(driver):
        trees, kept = {}, {}

        async def take(verb, *arguments, **options):
            spans.take()
            kept[verb] = await getattr(driver, verb)(*arguments, **options)
            trees[verb] = spans.take()

        await take("register", NODES, precision=3)
        await take("handles", ["a"])
        await take("observe", kept["handles"], [20.0])
        await take("set_policy", fs.Policy())
        await take("plan", fs.Policy())
        for verb, *arguments in (("fleet",), ("survivors",), ("why", "a"), ("mark", "b", "drain"), ("remove", "b")):
            await take(verb, *arguments)
        await take("put", "x", bytes(1000), code="copy:2")
        for verb in ("get", "open", "stat"):
            await take(verb, "x")
        for verb in ("map", "list", "stores", "status", "repair", "scrub"):
            await take(verb)
        await take("encode", bytes(1000), "copy:2")
        await take("decode", kept["encode"])
        await take("free", kept["encode"])
        await take("cancel_decommission", "p1")
        await take("decommission", "p1")
        await take("delete", "x")
        await take("undelete", "x")
        spans.take()
        with pytest.raises(InputError):
            await driver.rebuild()  # there is a catalog
        trees["rebuild"] = spans.take()
        return trees, kept

    with collected() as spans:
        trees, kept = run(backend, scenario)
    assert trees.keys() == VERBS | {"map"}
    assert {verb: [span["name"] for span in tree.roots()] for verb, tree in trees.items()} == {
        verb: [f"faultset.{verb}"] for verb in trees
    }
    for verb in ("status", "repair", "scrub", "decommission", "cancel_decommission", "rebuild"):
        [root] = trees[verb].roots()
        assert root["attributes"].pop("faultset.system") == "traced"
        asked = {path[-1][0] for path in trees[verb].shape() if path[-1][1] == "SERVER"}
        assert any(name.startswith("coordinator/") for name in asked), (verb, asked)
        trees[verb] = root["attributes"]
    assert trees["status"] == {"faultset.objects": 1, "faultset.stores": 6}
    assert trees["repair"] == {"faultset.objects": 0, "faultset.shards": 0, "faultset.bytes": 0}
    assert trees["scrub"] == {"faultset.stores": 6, "faultset.shards": 2, "faultset.bytes": 0}
    moved = kept["decommission"]
    assert trees["decommission"] == {"faultset.shards": moved.shards, "faultset.bytes": moved.bytes}
    assert trees["rebuild"] == {"error.type": "input_error"}


def test_what_spans_tell(backend, monkeypatch):
    hold_first_stripe(monkeypatch)

    async def scenario(driver):
        await driver.register(NODES, precision=3)
        await driver.put(NAME, bytes(MIB), stripe_bytes=MIB // 2)
        await driver.get(NAME, (5, 25))
        await driver.survivors(threshold_ms=100.0)

    with collected() as spans:
        run(backend, scenario)
        tree = spans.take()
    [put], [get] = tree.named("faultset.put"), tree.named("faultset.get")
    generation = put["attributes"].pop("faultset.object.generation")
    assert generation > 0
    assert put["attributes"] == {
        "faultset.system": "traced",
        "faultset.code": "rs:4+2",
        "faultset.object.size": MIB,
    }
    assert get["attributes"] == {"faultset.system": "traced", "faultset.bytes": 20}
    *_, asked = tree.named("faultset.survivors")
    expected = {"faultset.system": "traced", "faultset.fleet": "default", "faultset.ranges.answered": 2}
    assert asked["attributes"] == expected
    system = "faultset-sim" if isinstance(backend, SimBackend) else "faultset-local"
    for kind in ("CLIENT", "SERVER"):
        own = {span["attributes"]["faultset.servant"]: span["attributes"] for span in tree.named("store/append", kind)}
        assert sorted(own) == [f"store/p{index}" for index in range(6)]
        assert own["store/p3"] == {
            "rpc.system.name": system,
            "rpc.method": "store/append",
            "faultset.servant": "store/p3",
        }
    running = tree.named("run encode_stripe", "CLIENT")
    assert {span["attributes"]["faultset.place"] for span in running} <= {place.id for place in PLACES}
    assert len(running) == 1


@pytest.mark.parametrize("names", [False, True])
def test_names_and_texts_are_told_only_where_they_may_be(names):
    def all_texts():
        return "".join(str(span) for span in spans.take().spans)

    with collected() as spans, fs.connect(backend="local", config=Config(tracing=Tracing(names=names))) as driver:
        driver.put(NAME, b"secret-payload", tolerate=0)
        driver.get(NAME)
        driver.stat(NAME)
        with pytest.raises(ObjectNotFound):
            driver.get(f"{NAME}/not-there")
        driver.delete(NAME)
        told = all_texts()
    assert (NAME in told) == names
    assert (f"there is no object '{NAME}/not-there'" in told) == names
    assert "object_not_found" in told
    assert "secret-payload" not in told


def test_errors_are_on_every_span_that_they_came_through(backend):
    async def scenario(driver):
        spans.take()
        with pytest.raises(fs.errors.UnknownFleet):
            await driver.survivors(fleet="nobody")

    with collected() as spans:
        run(backend, scenario)
        tree = spans.take()
    [called] = tree.named("coordinator/directory", "SERVER")
    assert tree.path(called) == [SURVIVORS, *call("coordinator/directory")]
    for span in tree.spans:
        assert span["status"] == {"status_code": "ERROR", "description": "unknown_fleet"}
        assert span["attributes"]["error.type"] == "unknown_fleet"
        [event] = span["events"]
        assert event["name"] == "exception"
        assert event["attributes"] == {"exception.type": "faultset_ray.errors.UnknownFleet"}


class Odd(Servant):
    def fail(self) -> None:
        raise ZeroDivisionError("by nothing")


async def failing(net: Net, addr: Addr[Odd]) -> None:
    await net.call(addr, Odd.fail)


def test_a_stranger_s_error_is_its_own_at_the_servant_and_ours_at_the_caller(backend):
    async def scenario(driver):
        odd = await driver._backend.spawn(Odd, "odd/one")
        with tracing.span("mine"), pytest.raises(RemoteFailure):
            await driver._backend.run(failing, ANYWHERE, odd)

    with collected() as spans:
        run(backend, scenario)
        tree = spans.take()
    assert {span["name"]: span["attributes"].get("error.type") for span in tree.named("odd/fail", "SERVER")} == {
        "odd/fail": "builtins.ZeroDivisionError"
    }
    [caller] = tree.named("odd/fail", "CLIENT")
    assert tree.path(caller)[:-1] == [("mine", "INTERNAL"), ("run failing", "CLIENT"), ("failing", "SERVER")]
    assert caller["attributes"]["error.type"] == "remote_failure"


def test_a_call_that_is_lost_ends_its_span_by_its_deadline():
    sim = SimBackend(PLACES, seed=1)

    async def scenario():
        odd = await sim.spawn(Odd, "odd/one")
        sim.set_faults(SimFaults(drop=1.0))
        with tracing.span("mine"), pytest.raises(CallTimeout):
            await sim.within(2.0).call(odd, Odd.version)

    with collected() as spans:
        sim.execute(scenario())
        tree = spans.take()
    sim.dispose()
    [lost] = tree.named("odd/version")
    assert lost["attributes"]["error.type"] == "call_timeout"


# -- Whose work it is


def test_a_user_s_own_span_is_above_the_verbs_of_a_driver_that_does_not_await():
    with collected() as spans, fs.connect(backend="local") as driver:
        with trace.get_tracer("users").start_as_current_span("their job"):
            driver.put("x", bytes(100), tolerate=0)
        tree = spans.take()
    assert [span["name"] for span in tree.roots()] == ["their job"]
    assert (("their job", "INTERNAL"), PUT, *call("coordinator/commit_writes")) in tree.shape()


def test_a_stream_s_span_is_current_for_nobody_who_takes_its_pieces(backend):
    async def scenario(driver):
        await driver.put("x", bytes(MIB), stripe_bytes=MIB // 4)
        spans.take()
        async for _ in driver.get_stream("x"):
            assert not trace.get_current_span().get_span_context().is_valid
        whole = spans.take()
        pieces = driver.get_stream("x")
        await anext(pieces)
        await pieces.aclose()
        return whole, spans.take()

    with collected() as spans:
        whole, cut = run(backend, scenario)
    streamed = ("faultset.get_stream", "INTERNAL")
    assert {(streamed, *call("coordinator/lookup")), (streamed, *call("store/read_batch"))} <= whole.shape()
    assert [span["name"] for span in whole.roots()] == ["faultset.get_stream"]
    [left] = cut.named("faultset.get_stream")
    assert left["attributes"]["faultset.cancelled"] is True


def test_what_runs_in_the_background_is_in_no_verb_s_trace():
    sim = SimBackend(PLACES, seed=3)

    async def scenario(driver):
        await driver.register(NODES, precision=3)
        await driver.put("x", bytes(100))
        spans.take()
        await sim.sleep(120.0)  # the steward counts, saves and tends; writes are renewed
        return len(sim.trace), spans.take()

    with collected() as spans:
        events, tree = run(sim, scenario)
    assert events > 100, "it did something"
    assert tree.shape() == set()


def test_shared_calls_are_below_the_first_who_asked_and_linked_to_the_others():
    async def work(items):
        with tracing.inner("shared"):
            return items

    async def scenario():
        batcher = Batcher(work)
        for rounds in (("a", "b", None, "c"), (None, "d")):
            futures = []
            for name in rounds:
                if name is None:
                    futures.append(batcher.add(0))
                else:
                    with tracing.span(name):
                        futures.append(batcher.add(0))
            await asyncio.gather(*futures)
        await batcher.add(0)

    with collected() as spans:
        asyncio.run(scenario())
        tree = spans.take()
    ids = {name: tree.named(name)[0]["context"]["span_id"] for name in "abcd"}
    first, second = tree.named("shared")
    assert [link["context"]["span_id"] for link in first["links"]] == [ids["b"], ids["c"]]
    assert (first["parent_id"], second["parent_id"]) == (ids["a"], ids["d"])
    assert second["links"] == []


# -- Where nobody listens


def test_nothing_is_imported_and_no_span_made_without_a_provider():
    code = """
import sys
import faultset_ray as fs
with fs.connect(backend="local") as driver:
    driver.put("x", bytes(1000), tolerate=0)
    driver.get("x")
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"


def test_without_a_provider_all_is_the_same_nothing():
    with no_provider():
        nothing = tracing.span("x", {"a": 1})
        assert nothing is tracing.inner("x") is tracing.calling("s", "t/1", Servant.version)
        with nothing as span:
            span.note({"b": 2})
            span.name("c", "d")
            assert span.carrier is None
            assert tracing.here() is None
        assert tracing.served(None, "s", len) is len
        assert tracing.served({"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"}, "s", len) is len


def test_what_is_not_sampled_costs_no_calls_their_spans():
    with collected(sampler=ALWAYS_OFF) as spans:
        with tracing.span("not taken"):
            assert tracing.calling("s", "t/1", Servant.version) is tracing._NOTHING
        assert spans.take().spans == []


# -- Settings


def test_a_hook_is_called_once_and_one_that_fails_is_said(monkeypatch, caplog):
    monkeypatch.setattr("spans.to_files", lambda: called.append(1))
    called = []
    with no_provider():
        for _ in range(2):
            with fs.connect(backend="local", config=Config(tracing=Tracing(setup="spans:to_files"))):
                pass
        assert called == [1]
        for setup, reason in (("no_such_module:x", "ModuleNotFoundError"), ("spans:nothing", "AttributeError")):
            with pytest.raises(InvalidConfig, match=rf"tracing\.setup.*{setup}.*{reason}"):
                fs.connect(backend="local", config=Config(tracing=Tracing(setup=setup)))
    monkeypatch.setenv(tracing.SETUP, "spans:nothing")
    with no_provider(), caplog.at_level(logging.WARNING):
        assert tracing.span("x") is tracing._NOTHING, "a worker goes on without"
    [missing] = told(caplog, "traces_missing")
    assert missing["what"] == tracing.SETUP
    assert "'spans:nothing'" in missing["error"]


def test_the_provider_that_comes_along_goes_by_the_variables_of_opentelemetry(monkeypatch):
    from faultset_ray.telemetry import exporting

    told = io.StringIO()
    monkeypatch.setattr(ConsoleSpanExporter.__init__, "__defaults__", (None, told, lambda span: f"<{span.name}>"))
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    with no_provider():
        tracing.configure("faultset_ray.telemetry.exporting:setup")
        with tracing.span("told"):
            pass
        tracing.flush()
        exporting.setup()  # another one changes nothing
        provider = trace.get_tracer_provider()
        assert provider.resource.attributes["service.name"] == "faultset"
        provider.shutdown()
    assert told.getvalue() == "<told>"
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "of-nobody")
    with no_provider(), pytest.raises(fs.errors.InputError, match=r"'of-nobody', which is not installed; .*console"):
        tracing.configure("faultset_ray.telemetry.exporting:setup")
