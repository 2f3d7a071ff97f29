"""The verbs of the control plane, each as a process would run it, on one system in this process."""

import json
import time
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

import faultset_ray as fs
import jobs.connecting
from faultset_ray.driver.gathering import Gathered, gather
from faultset_ray.driver.sync import SyncWatch
from jobs.cli import application
from jobs.output import NO_SURVIVORS, USAGE, run
from jobs.terminal import console, moment

NODES = """id,lat,lon,latency_ms
a,50.1,8.7,20
b,50.1,8.7,30
c,50.1,8.7,300
d,48.9,2.4,40
"""
UNREACHABLE = 5


@pytest.fixture
def driver(monkeypatch):
    with fs.connect(backend="local") as driver:
        asked = []

        def connect(address, *, system, create, config):
            asked.append((address, system, create))
            return nullcontext(driver)  # its end is not the command's

        monkeypatch.setattr(jobs.connecting, "connect", connect)
        driver.asked = asked
        yield driver


def verb(*arguments):
    """Exit code and last line of a verb with --json."""
    result = CliRunner().invoke(application, [str(each) for each in (*arguments, "--json")])
    assert result.exception is None or isinstance(result.exception, (SystemExit, fs.FaultsetError)), result.exception
    lines = result.stdout.splitlines()
    return result, json.loads(lines[-1]) if lines else None


@pytest.fixture
def registered(driver, tmp_path):
    path = tmp_path / "nodes.csv"
    path.write_text(NODES)
    result, told = verb("register", path, "--precision", 3)
    assert result.exit_code == 0
    assert (told["nodes"], told["fleet"], told["system"]) == (4, "default", "default")
    assert driver.asked.pop() == ("auto", "default", True), "only this verb makes a system"
    return driver


def test_survivors(registered):
    result, told = verb("survivors")
    assert result.exit_code == 0
    assert told["survivors"] == ["a", "b", "d"]
    assert told["by_region"] == {"u0y": ["a", "b"], "u09": ["d"]}
    assert told["missing_regions"] == {}
    assert verb("survivors", "--threshold", 25)[1]["survivors"] == ["a"]
    assert verb("survivors", "--region", "u09")[1]["survivors"] == ["d"]
    assert verb("survivors", "--threshold", 1)[0].exit_code == NO_SURVIVORS


def test_who_is_named_in_panic_does_not_survive(registered, tmp_path):
    policy = tmp_path / "p.toml"
    policy.write_text('threshold_ms = 35.0\nsurvivors_min = 3\npanic = "all"\n')
    told = verb("plan", policy)[1]
    assert (told["joins"], told["leaves"]) == ([], ["d"])
    assert (told["survivors_live"], told["survivors_planned"]) == (3, 2)
    assert (told["named_in_panic_live"], told["named_in_panic_planned"]) == (0, 2)
    registered.set_policy(fs.Policy.load(policy))
    result, told = verb("survivors")
    assert (result.exit_code, told["survivors"], told["named_in_panic"]) == (0, ["a", "b"], ["c", "d"])
    assert told["tiers"] == {"u0y": [0, 0, 5], "u09": [5]}
    result, told = verb("survivors", "--region", "u09")
    assert (result.exit_code, told["survivors"], told["named_in_panic"]) == (NO_SURVIVORS, [], ["d"])
    for node in "ab":
        verb("observe", "--sample", f"{node}=fail")
    result, told = verb("survivors")
    assert (result.exit_code, told["survivors"], told["named_in_panic"]) == (NO_SURVIVORS, [], ["a", "b", "c", "d"])
    shown = CliRunner().invoke(application, ["survivors"])
    assert shown.exit_code == NO_SURVIVORS
    assert "0 survivors of fleet default, and 4 nodes named in panic" in " ".join(shown.stdout.split())
    assert "0 of threshold 35 ms, 4 more named in 2 regions in panic" in repr(registered.survivors())


def test_a_deadline_is_passed_on(registered, tmp_path, monkeypatch):
    """Every verb that asks regions says how long it waits for them."""
    policy, asked = tmp_path / "p.toml", []
    policy.write_text("threshold_ms = 100.0\n")
    for name in ("survivors", "why", "plan", "set_policy"):

        def told(*given, _told=(name, getattr(registered, name)), deadline_s, **rest):  # noqa: B008 - this one's
            asked.append((_told[0], deadline_s))
            return _told[1](*given, deadline_s=deadline_s, **rest)

        monkeypatch.setattr(registered, name, told)
    for arguments in (("why", "a"), ("plan", policy, "--apply"), ("regions",)):
        assert verb(*arguments, "--deadline", 7.5)[0].exit_code == 0
    assert asked == [("why", 7.5), ("plan", 7.5), ("set_policy", 7.5), ("survivors", 7.5)]


def test_observe_and_why(registered, tmp_path):
    assert verb("observe", "--sample", "a=500", "--sample", "c=10")[1]["taken"] == 2
    assert verb("survivors")[1]["survivors"] == ["c", "b", "d"]
    verdicts = verb("why", "a", "c")[1]["verdicts"]
    assert [(each["id"], each["state"], each["survives"]) for each in verdicts] == [
        ("a", "ejected", False),
        ("c", "healthy", True),
    ]
    assert verb("observe", "--sample", "d=fail")[1]["taken"] == 1
    assert "u09" not in verb("survivors")[1]["by_region"]
    trace = tmp_path / "trace.jsonl"
    trace.write_text(json.dumps({"at_ms": 1, "node": "a", "latency_ms": 1.0}) + "\n")
    told = {
        "fleet": "default",
        "system": "default",
        "observations": 1,
        "taken": 0,
        "missing_regions": [],
        "torn_lines": [],
    }
    assert verb("observe", trace)[1] == told


def test_why_explains_the_others_where_some_are_unknown(registered):
    result, told = verb("why", "a", "nobody", "d", "none")
    assert result.exit_code == USAGE
    assert [each["id"] for each in told["verdicts"]] == ["a", "d"]
    assert (told["error"]["code"], told["error"]["node_id"], told["error"]["unknown"]) == ("unknown_node", "nobody", 2)
    assert "fleet 'default' has no node 'nobody', nor 1 more of these ids" in result.stderr


def test_why_explains_the_others_where_a_region_is_silent(registered, monkeypatch):
    why = registered.why

    def silent(node, **options):
        if node == "d":
            raise fs.errors.RegionTimeout(["u09"], 2, 5.0)
        return why(node, **options)

    monkeypatch.setattr(registered, "why", silent)
    result, told = verb("why", "d", "a")
    assert (result.exit_code, [each["id"] for each in told["verdicts"]]) == (UNREACHABLE, ["a"])
    assert told["error"]["missing"] == ["u09"]


@pytest.mark.parametrize("columns", [80, 250])
def test_why_breaks_no_word(registered, monkeypatch, columns):
    """What is too wide in rows is told in columns."""
    monkeypatch.setattr(console, "_width", columns)
    verb("observe", "--sample", "a=500")
    *lines, _json = CliRunner().invoke(application, ["why", "a", "d"]).stdout.splitlines()
    assert max(map(len, lines)) <= columns
    for word in ("survives", "blocked by", "ejected", "healthy", "500 / 100"):
        assert any(word in line for line in lines), word


@pytest.mark.parametrize("sample", ["a", "a=", "=5", "a=x"])
def test_samples_that_can_not_be(registered, sample):
    assert verb("observe", "--sample", sample)[0].exit_code == USAGE


def test_observe_wants_one_source(registered):
    assert verb("observe")[0].exit_code == USAGE


def test_unknown_nodes_are_named(registered):
    for arguments in (("observe", "--sample", "nobody=1"), ("why", "nobody"), ("mark", "pin", "nobody")):
        result, _ = verb(*arguments)
        assert isinstance(result.exception, fs.errors.InputError)
        assert "nobody" in str(result.exception)


def test_mark_regions_and_plan(registered, tmp_path):
    assert verb("mark", "drain", "a")[1]["marked"] == 1
    assert verb("mark", "none", "a", "b")[1]["marked"] == 2
    assert verb("mark", "sideways", "a")[0].exit_code == USAGE
    assert verb("regions")[1]["regions"] == {
        "u0y": {"nodes": 3, "survivors": 2},
        "u09": {"nodes": 1, "survivors": 1},
    }
    policy = tmp_path / "strict.toml"
    policy.write_text("threshold_ms = 25.0\n")
    told = verb("plan", policy)[1]
    assert (told["joins"], sorted(told["leaves"]), told["applied"]) == ([], ["b", "d"], False)
    assert verb("survivors")[1]["survivors"] == ["a", "b", "d"]
    assert verb("plan", policy, "--apply")[1]["applied"] is True
    assert verb("survivors")[1]["survivors"] == ["a"]


def test_regions_of_a_fleet_whose_nodes_are_gone(registered):
    registered.remove(list("abcd"))
    result, told = verb("regions")
    assert (result.exit_code, told["regions"]) == (0, {})


def test_observations_that_are_all_passed_over_are_told(registered, tmp_path):
    trace = tmp_path / "old.csv"
    trace.write_text("at_ms,node,latency_ms\n5,a,1.0\n")
    told = CliRunner().invoke(application, ["observe", str(trace)])
    assert told.exit_code == 0
    assert "0 of 1 observations taken" in told.stdout
    assert "newer is known" in told.stdout


def test_what_is_observed_is_recorded_for_a_replay(registered, tmp_path):
    policy, trace = tmp_path / "p.toml", tmp_path / "seen.jsonl"
    policy.write_text("threshold_ms = 100.0\n")
    for latency in ("500", "20"):
        verb("observe", "--sample", f"a={latency}", "--sample", "b=fail", "--record", trace)
    told = verb("replay", trace, "--policy", policy)[1]["policies"]["p"]
    assert (told["nodes"], told["samples"]) == (2, 4)
    assert told["ejections"] >= 1, "of b; a is out too if the two moments are not decided about together"


def test_a_line_that_was_cut_off_is_told(registered, tmp_path):
    policy, trace = tmp_path / "p.toml", tmp_path / "seen.jsonl"
    policy.write_text("threshold_ms = 100.0\n")
    verb("observe", "--sample", "a=5", "--record", trace)
    trace.write_bytes(trace.read_bytes()[:-9])
    verb("observe", "--sample", "b=5", "--record", trace)
    for arguments, counted in (
        (("replay", trace, "--policy", policy), "policies"),
        (("observe", trace), "observations"),
    ):
        told = verb(*arguments)[1]
        assert told["torn_lines"] == [1]
        assert told[counted] == 1 or told[counted]["p"]["samples"] == 1
        shown = CliRunner().invoke(application, [str(each) for each in arguments]).stdout
        assert "passed over what was cut off, as where a recording was ended by force: line 1" in shown
    trace.write_text('{"at_ms": 1, "node": "a", "latency_ms": 1%s}\n' % ("0" * 400))
    assert isinstance(verb("observe", trace)[0].exception, fs.errors.InputError)


def test_watch_goes_on_where_it_stood(registered, tmp_path):
    position = tmp_path / "position.json"
    assert verb("watch", "--position", position, "--idle", 0.2)[1]["changes"] == 0
    verb("observe", "--sample", "a=500")
    verb("observe", "--sample", "b=500")
    seen = []
    for _ in range(2):
        result, told = verb("watch", "--position", position, "--count", 1)
        assert told["changes"] == 1
        seen.append(json.loads(result.stdout.splitlines()[0]))
    assert [(each["id"], each["before"], each["after"]) for each in seen] == [
        ("a", "healthy", "ejected"),
        ("b", "healthy", "ejected"),
    ]
    assert verb("watch", "--position", position, "--idle", 0.2)[1]["changes"] == 0
    noted = json.loads(position.read_text())
    assert (noted["system"], noted["fleet"], list(noted)) == ("default", "default", ["system", "fleet", "versions"])
    ranges = noted["versions"]["ranges"]
    for broken in (
        "[]",
        "{}",
        "5",
        json.dumps({**noted, "versions": {}}),
        json.dumps(noted["versions"]),
        json.dumps({**noted, "versions": ranges}),
    ):
        position.write_text(broken)
        assert isinstance(verb("watch", "--position", position)[0].exception, fs.errors.InputError)


def test_a_position_is_noted_before_anything_changes(registered, tmp_path, monkeypatch):
    """Who is ended by force before the first change comes goes on from where he began."""
    position = tmp_path / "position.json"
    with monkeypatch.context() as patched:
        patched.setattr(SyncWatch, "__next__", lambda _: 1 // 0)
        result = CliRunner().invoke(application, ["watch", "--position", str(position)])
    assert isinstance(result.exception, ZeroDivisionError)
    verb("observe", "--sample", "a=500")
    assert verb("watch", "--position", position, "--count", 1)[1]["changes"] == 1


def test_a_position_is_of_one_fleet_of_one_system(registered, tmp_path):
    position = tmp_path / "position.json"
    verb("watch", "--position", position, "--idle", 0.1)
    for other in (("--system", "prod"), ("--fleet", "other")):
        result, _ = verb("watch", "--position", position, *other)
        assert isinstance(result.exception, fs.errors.InputError)
        assert "is a position in fleet 'default' of system 'default'" in str(result.exception)
    noted = json.loads(position.read_text())
    versions = noted["versions"]
    ahead = {key: (epoch, version + 1) for key, (epoch, version) in versions["ranges"].items()}
    position.write_text(json.dumps({**noted, "versions": {**versions, "ranges": ahead}}))
    assert isinstance(verb("watch", "--position", position, "--idle", 0.1)[0].exception, fs.errors.HistoryLost)
    position.write_text(json.dumps({**noted, "versions": {**versions, "birth": "00ab"}}))
    error = verb("watch", "--position", position, "--idle", 0.1)[0].exception
    assert isinstance(error, fs.errors.OtherHistory)
    assert (error.theirs, error.ours, error.exit_code) == ("00ab", versions["birth"], 5)


def test_an_infinite_latency_can_be_told(registered, tmp_path):
    position = tmp_path / "position.json"
    verb("watch", "--position", position, "--idle", 0.1)
    verb("observe", "--sample", "a=inf")
    result, told = verb("watch", "--position", position, "--count", 1)
    assert (told["changes"], json.loads(result.stdout.splitlines()[0])["value"]) == (1, "inf")
    assert verb("why", "a")[1]["verdicts"][0]["value"] == "inf"


def test_a_region_that_is_not_there_is_a_usage_error(registered):
    assert verb("survivors", "--region", "zzz")[0].exit_code == USAGE


@pytest.mark.parametrize(
    ("fallback", "region", "code"),
    [
        ("none", "u0y", NO_SURVIVORS),
        ("none", "u09", UNREACHABLE),
        ("nearest", "u0y", UNREACHABLE),
    ],
)
def test_a_region_that_answered_is_empty_whoever_else_is_silent(registered, monkeypatch, fallback, region, code):
    """Unless who is silent might lend to it."""
    registered.set_policy(fs.Policy(threshold_ms=1.0, survivors_min=1, fallback=fallback))
    verb("observe", *(text for each in "abcd" for text in ("--sample", f"{each}=500")))

    async def all_but_one(keeper, fleet, *rest):
        found = await gather(keeper, fleet, *rest)
        silent = found.directory.ranges[found.directory.positions(np.array([3]))[0]].id
        return replace(found, parts={key: part for key, part in found.parts.items() if key != silent})

    monkeypatch.setattr("faultset_ray.driver.fleets.gather", all_but_one)
    result, told = verb("survivors", "--region", region)
    assert (result.exit_code, list(told["missing_regions"]), told["survivors"]) == (code, ["u09"], [])


def test_moments_of_other_days_have_their_day():
    now_ms = time.time() * 1000
    assert len(moment(now_ms)) == len("12:34:56")
    assert len(moment(now_ms - 3 * 86_400_000)) == len("2026-01-02 12:34:56")


def test_blind_is_not_empty_and_changes_nothing(registered, monkeypatch, tmp_path):
    """Where no region answers, nobody is known to survive or not: no exit code 1, and no policy is applied."""

    async def nobody(keeper, fleet, *_):
        return Gathered(await keeper.directory(fleet), 0, {}, {})

    monkeypatch.setattr("faultset_ray.driver.fleets.gather", nobody)
    result, told = verb("survivors")
    assert result.exit_code == UNREACHABLE
    assert sorted(told["missing_regions"]) == ["u09", "u0y"]
    assert told["error"]["code"] == "region_timeout"
    policy = tmp_path / "p.toml"
    policy.write_text("threshold_ms = 1.0\n")
    result, told = verb("plan", policy)
    assert (result.exit_code, sorted(told["missing_regions"])) == (0, ["u09", "u0y"])
    result, told = verb("plan", policy, "--apply")
    assert (result.exit_code, told["applied"]) == (UNREACHABLE, False)
    monkeypatch.undo()
    assert registered.survivors().ids.tolist() == ["a", "b", "d"]


def test_a_verb_goes_to_the_system_that_is_named(driver, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    verb("regions", "--system", "prod", "--address", "host:1")
    monkeypatch.setenv("FAULTSET_SYSTEM", "other")
    verb("regions")
    monkeypatch.setenv("RAY_ADDRESS", "there:2")
    verb("regions")
    assert driver.asked == [("host:1", "prod", False), ("auto", "other", False), ("there:2", "other", False)]


def test_replay_compares_policies(tmp_path):
    trace = tmp_path / "trace.csv"
    samples = [(second * 1000, 10.0 if second < 5 else 500.0, second >= 5) for second in range(10)]
    lines = [f"{at_ms},a,{latency},{str(bad).lower()}" for at_ms, latency, bad in samples]
    trace.write_text("\n".join(["at_ms,node,latency_ms,bad", *lines]) + "\n")
    quick, slow = tmp_path / "quick.toml", tmp_path / "slow.toml"
    quick.write_text("threshold_ms = 100.0\n")
    slow.write_text("threshold_ms = 100.0\nsamples = [3, 5, 2]\n")
    result, told = verb("replay", trace, "--policy", quick, "--policy", slow)
    assert result.exit_code == 0
    assert {name: report["detection_samples_max"] for name, report in told["policies"].items()} == {
        "quick": 1,
        "slow": 3,
    }


def test_an_unknown_field_of_a_policy_is_told_with_the_nearest(tmp_path, capsys, monkeypatch):
    policy = tmp_path / "p.toml"
    policy.write_text("treshold_ms = 5.0\n")
    trace = tmp_path / "trace.csv"
    trace.write_text("at_ms,node,latency_ms\n1,a,5\n")
    monkeypatch.setattr("sys.argv", ["faultset", "replay", str(trace), "--policy", str(policy)])
    with pytest.raises(SystemExit) as ended:
        run(application)
    assert ended.value.code == USAGE
    assert "threshold_ms" in capsys.readouterr().err
