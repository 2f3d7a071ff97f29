"""A store that lost its records, as a damaged database does, is given them again."""

from sim.object_world import simulate

from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.errors import StoreFailure
from faultset_ray.objects.record import object_id


def test_a_scrub_gives_a_store_its_records_again():
    async def scenario(run):
        payloads = {f"o{number}": run.sim.token(5_000) for number in range(5)}
        for name, payload in payloads.items():
            await run.put(name, payload)
        place = (await run.layout("o0"))[0]
        store, fence = run.store(place), await run.driver._authority.ask(Coordinator.fence)
        before, _ = store.scan_records(b"", 100)
        generations = [((await run.entry(name)).record.generation, object_id(name)) for name in payloads]
        assert store.forget([(key, generation) for generation, key in generations], fence) == len(before) > 0
        found = await run.driver.scrub()
        assert (found.records, found.missing, found.corrupt) == (len(before), 0, 0)
        assert store.scan_records(b"", 100) == (before, b"")
        assert (await run.driver.scrub()).records == 0
        await run.check_shards()

    simulate(7, scenario)


def test_a_store_that_has_no_room_for_records_is_looked_at_all_the_same(monkeypatch):
    async def scenario(run):
        await run.put("a", run.sim.token(5_000))
        store, fence = run.store((await run.layout("a"))[0]), await run.driver._authority.ask(Coordinator.fence)
        record = (await run.entry("a")).record
        assert store.forget([(object_id("a"), record.generation)], fence) == 1

        def full(*_):
            raise StoreFailure(store.uuid, "keep records", "ENOSPC")

        with monkeypatch.context() as patched:
            patched.setattr(store, "record", full)
            found = await run.driver.scrub()
        assert (found.records, found.missing, found.corrupt, found.silent) == (0, 0, 0, [])
        assert found.stores == len((await run.driver.status()).stores)
        assert (await run.driver.scrub()).records == 1, "the next one gives it"

    simulate(7, scenario)
