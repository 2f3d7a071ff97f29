"""``faultset bench``: what it measures, and in how long. That its JSON fits the schema is checked wherever a verb runs."""

import json
import time

import pytest

from jobs import measuring, output
from jobs.cli import application


@pytest.fixture
def bench(capsys, monkeypatch):
    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["faultset", "bench", "--backend", "local", "--json", *arguments])
        with pytest.raises(SystemExit) as ended:
            output.run(application)
        return ended.value.code, json.loads(capsys.readouterr().out.splitlines()[-1])

    return run


def test_each_part_is_measured(bench):
    begun = time.perf_counter()
    codes = ("--code", "rs:4+2", "--code", "lrc:4+2+1", "--code", "copy:3")
    code, told = bench(*codes, "--seconds", "0.5", "--nodes", "500", "--object-bytes", "300000")
    assert code == 0
    assert [(row["code"].split(",")[0], row["lost"]) for row in told["codes"]] == [
        ("rs:4+2", 2),
        ("lrc:4+2+1", 2),
        ("copy:3", 1),
    ]
    assert all(row[name] > 0 for row in told["codes"] for name in ("encode_gb_s", "decode_gb_s", "copy_gb_s"))
    stored, asked = told["objects"], told["fleet"]
    assert (stored["size"], stored["stores"], stored["survivable"]) == (300_000, 1, 0)
    assert stored["put_mb_s"] > 0 < stored["get_mb_s"]
    assert asked["nodes"] == 500
    assert 0 < asked["survivors"] < 500, "some of its latencies are above the threshold"
    assert told["seconds"] <= time.perf_counter() - begun < 30


def test_a_code_that_is_none_is_refused_before_anything_is_measured(bench, monkeypatch):
    monkeypatch.setattr(measuring, "of_code", None)
    code, told = bench("--code", "rs:4+2", "--code", "rs:4")
    assert (code, told["error"]["code"]) == (2, "invalid_code_spec")


def test_a_slow_call_is_done_twice_and_no_more():
    calls = []
    assert measuring.median_seconds(lambda: calls.append(time.sleep(0.02)), 0.0) >= 0.02
    assert len(calls) == 2
