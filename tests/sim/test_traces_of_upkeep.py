"""Traces of verbs that mend and look: who stands below whom where a store is gone."""

from __future__ import annotations

from sim.object_world import simulate
from spans import collected, kind_of


def called(tree, verb):
    """Paths of calls below a verb, without the verb."""
    paths = {tuple(path[1:]) for path in tree.shape() if path[0] == (f"faultset.{verb}", "INTERNAL")}
    return {tuple(name for name, _ in path[::2]) for path in paths if path and path[-1][1] == "SERVER"}


def test_a_repair_and_the_deep_scrub_behind_it_are_trees_down_to_the_stores():
    async def scenario(run):
        await run.put("x", run.sim.token(100_000))
        run.kill((await run.layout("x"))[0])
        spans.take()
        done = await run.driver.repair()
        repair = spans.take()
        found = await run.driver.scrub(deep=True)
        return done, repair, found, spans.take()

    with collected() as spans:
        done, repair, found, scrub = simulate(7, scenario)
    assert (done.objects, done.shards) == (1, 1)
    [root] = repair.roots()
    assert root["attributes"]["faultset.bytes"] == done.bytes > 0
    assert {path[0] for path in called(repair, "repair")} >= {"coordinator/commit_shard_moves", "store/record"}
    tasks = [path for path in called(repair, "repair") if len(path) == 2 and path[0].startswith("run ")]
    assert {path[1].partition("/")[0] for path in tasks} >= {"store"}, "tasks, and what they ask of stores"
    [root] = scrub.roots()
    assert root["attributes"]["faultset.bytes"] == found.bytes > 0
    assert ("store/check",) in called(scrub, "scrub")
    assert {span["status"]["status_code"] for span in scrub.spans if kind_of(span) == "INTERNAL"} == {"UNSET"}
