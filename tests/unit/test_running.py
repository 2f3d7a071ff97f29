"""Systems brought up to run by themselves and down again, and the verbs for it, on a backend that outlives its drivers."""

import asyncio
import json
import os
import sys
from typing import ClassVar

import pytest
from told import told

import actors.attendant
import faultset_ray as fs
from faultset_ray.backend.local import LocalBackend
from faultset_ray.backend.protocol import Addr, Place, Servant
from faultset_ray.config import Config, Security
from faultset_ray.driver import systems
from faultset_ray.driver.asynchronous import AsyncDriver
from faultset_ray.driver.authority import ATTENDANT
from faultset_ray.driver.running import bring_down, bring_up, servants_by_kind
from faultset_ray.errors import StoresWouldBeLost, UnknownSystem
from jobs import cli, output

PLACES = [
    Place("head"),
    *(Place(f"p{i}", {"faultset.io/store": "true", "faultset.io/region": f"r{i}"}) for i in range(3)),
]
NODES = [("a", 52.5, 13.4, 20.0), ("b", 48.9, 2.4, 180.0)]


class Lasting(LocalBackend):
    """Servants outlive drivers, as detached actors do."""

    lasting = True

    async def close(self):
        """Only :meth:`end` ends it."""

    async def end(self):
        await super().close()


class Attendant(Servant):
    made: ClassVar[list[tuple[str, Config]]] = []

    def __init__(self, system, config):
        self.made.append((system, config))


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("FAULTSET_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("FAULTSET_STORE_DIR", str(tmp_path / "stores"))
    monkeypatch.setattr(Attendant, "made", [])
    return tmp_path


def on_a_backend(work):
    """Run work on a backend, which ends with it."""

    async def whole():
        backend = Lasting(PLACES)
        try:
            await work(backend)
        finally:
            await backend.end()

    asyncio.run(whole())


async def up(backend, system="prod", attendant=Attendant):
    return await bring_up(backend, system, Config(), attendant, system, Config())


def test_up_and_down_and_up(folders):
    async def work(backend):
        running = await up(backend)
        assert (running.was_up, running.attended, running.places, running.epoch) == (False, True, 4, 1)
        assert {store.place for store in running.stores} == {"p0", "p1", "p2"}
        assert running.state_dir == str(folders / "state" / "prod")
        assert all(os.path.isdir(store.path) for store in running.stores)  # noqa: PTH112, ASYNC240 - nobody waits
        assert Attendant.made == [("prod", Config())]
        assert (await up(backend)).was_up
        assert len(Attendant.made) == 1, "the one that is there stays"

        async with await AsyncDriver.start(backend, "prod", durable=True) as driver:
            await driver.register(NODES, 3)
            await driver.put("x", b"kept" * 1000, code="rs:2+1")

        ended = await bring_down(backend, "prod", Config())
        assert (ended.was_up, ended.orderly, ended.state_dir) == (True, True, running.state_dir)
        kinds = servants_by_kind(ended.servants)
        assert (kinds[ATTENDANT], kinds["coordinator"], kinds["store"]) == (1, 1, 3)
        assert kinds["region"] >= 1
        assert sum(store.shards for store in ended.stores) == 3
        assert [load.servants for load in await backend.loads()] == [frozenset()] * 4
        again = await bring_down(backend, "prod", Config())
        assert (again.was_up, again.servants) == (False, ())

        running = await up(backend, attendant=None)
        assert (running.was_up, running.attended, running.epoch) == (False, False, 2)
        async with await AsyncDriver.start(backend, "prod", durable=True, create=False) as driver:
            assert await driver.get("x") == b"kept" * 1000
            while not (answer := await driver.survivors(threshold_ms=100.0)).whole:
                await backend.sleep(0.01)  # regions come back from their checkpoints when somebody asks
            assert answer.ids.tolist() == ["a"]

    on_a_backend(work)


def test_a_driver_that_shuts_a_system_down_ends_its_attendant_first(folders):
    async def work(backend):
        await up(backend)
        driver = await AsyncDriver.start(backend, "prod", durable=True)
        await driver.shutdown()
        assert not any(load.servants for load in await backend.loads())

    on_a_backend(work)


def test_a_name_that_nobody_knows(folders):
    async def work(backend):
        await up(backend)
        await bring_down(backend, "prod", Config())
        with pytest.raises(UnknownSystem) as caught:
            await bring_down(backend, "prd", Config())
        assert caught.value.known == ["prod"]

    on_a_backend(work)


def test_stores_that_would_take_their_shards_with_them(folders, monkeypatch):
    monkeypatch.delenv("FAULTSET_STORE_DIR")

    async def work(backend):
        await up(backend)
        assert (await bring_down(backend, "prod", Config())).was_up, "nothing is in them"
        await up(backend)
        async with await AsyncDriver.start(backend, "prod", durable=True) as driver:
            await driver.put("x", b"fleeting", code="rs:2+1")
        with pytest.raises(StoresWouldBeLost) as caught:
            await bring_down(backend, "prod", Config())
        assert caught.value.shards == {"p0": 1, "p1": 1, "p2": 1}
        assert "3 shards would go with them" in str(caught.value)
        assert (await up(backend)).was_up, "nothing was ended"
        assert (await bring_down(backend, "prod", Config(), force=True)).orderly

    on_a_backend(work)


def test_what_can_not_be_shut_down_in_order_is_ended_all_the_same(folders, caplog):
    async def work(backend):
        await up(backend)
        await backend.stop(Addr("coordinator"))
        (folders / "state" / "prod" / "coordinator.db").write_bytes(b"no database at all" * 100)
        ended = await bring_down(backend, "prod", Config())
        assert (ended.was_up, ended.orderly) == (True, False)
        assert not any(load.servants for load in await backend.loads())

    on_a_backend(work)
    [event] = told(caplog, "system_not_in_order")
    assert event["system"] == "prod"


def test_an_attendant_is_told_no_secret():
    config = fs.Config.load(
        environ={"RAY_AUTH_TOKEN": "canary", "RAY_ADDRESS": "head:1", "FAULTSET_CODES_PUT": "rs:3+2"}
    )
    told = actors.attendant.without_secrets(config)
    assert (told.security, told.cluster.address, told.cluster.backend) == (Security(), None, "ray")
    assert told.codes.put == "rs:3+2"
    assert "canary" not in repr(told)


# -- The verbs


@pytest.fixture
def verbs(folders, monkeypatch, capsys):
    """``verbs("up", …)`` as ``faultset up …``: exit code, result, stdout; each finds what the one before left."""
    monkeypatch.chdir(folders)
    loop = asyncio.new_event_loop()
    backend = Lasting(PLACES)
    monkeypatch.setattr(asyncio, "run", loop.run_until_complete)  # servants have locks of the loop that first used them
    monkeypatch.setattr(systems, "open_backend", lambda *_: backend)
    monkeypatch.setattr(actors.attendant, "Attendant", Attendant)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["faultset", *arguments])
        code = 0
        try:
            output.run(cli.application)
        except SystemExit as ended:
            code = ended.code
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        return code, json.loads(told.out.splitlines()[-1]), told.out

    yield call
    loop.run_until_complete(backend.end())
    loop.close()


def test_the_verbs(verbs, folders):
    code, result, out = verbs("up", "prod")
    assert (code, result["was_up"], result["attended"], result["local"]) == (0, False, True, None)
    assert "prod is up on 4 places; an attendant looks after it" in out
    assert [store["durability"] for store in result["stores"]] == ["fsync"] * 3
    code, result, _ = verbs("up", "prod", "--json")
    assert (code, result["was_up"]) == (0, True)
    code, result, out = verbs("down", "prod")
    assert (code, result["was_up"], len(result["servants"])) == (0, True, 5)
    assert f"what it remembers stays in {folders / 'state' / 'prod'} on the head" in out.replace("\n", "")
    code, result, out = verbs("down", "prod")
    assert (code, result["was_up"]) == (0, False)
    assert "prod was not up" in out


def test_names(verbs, monkeypatch):
    assert verbs("up", "--unattended")[1]["system"] == "default"
    assert Attendant.made == []
    monkeypatch.setenv("FAULTSET_SYSTEM", "other")
    assert verbs("up")[1]["system"] == "other"
    assert verbs("up", "a b")[0] == 2
    assert verbs("down")[0] == 0
    code, result, _ = verbs("down", "nobody")
    assert (code, result["error"]["code"]) == (2, "unknown_system")


@pytest.mark.parametrize("verb", [["up", "--local", "1"], ["down", "--local"]])
def test_nodes_of_this_machine_have_no_other_address(verbs, verb):
    code, result, _ = verbs(*verb, "--address", "head:6379")
    assert (code, result["error"]["code"]) == (2, "input_error")


def test_down_of_nodes_that_were_never_started(verbs, monkeypatch, folders):
    monkeypatch.setenv("XDG_STATE_HOME", str(folders / "home"))
    code, result, _ = verbs("down", "nobody", "--local")
    assert (code, result["was_up"], result["local"]["ended"]) == (0, False, [])
