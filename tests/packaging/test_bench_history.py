"""The history of benchmarks: what is a drop, and what is only another machine or a slow night."""

import json

import pytest

from benchmarks import history
from benchmarks.history import Run, drops

NAMES = [f"benchmarks/bench_x.py::test_{letter}" for letter in "abcde"]


def run(machine="CPU, Python 3.11", pace=1.0, **slower):
    seconds = {name: pace * (number + 1) * slower.get(name[-1], 1.0) for number, name in enumerate(NAMES)}
    return Run("2026-01-01T00:00:00", "c0ffee", machine, seconds)


STEADY = [run(pace=1 + 0.01 * (number % 3)) for number in range(12)]


def test_nothing_is_told_of_what_is_as_ever():
    assert drops(run(), STEADY) == []


def test_one_that_became_slower_is_named_with_its_ratio():
    (drop,) = drops(run(c=1.5), STEADY)
    assert drop.name == NAMES[2]
    assert drop.ratio == pytest.approx(1.5, rel=0.02)
    assert "1.4" in str(drop) or "1.5" in str(drop)


def test_the_worst_is_first():
    assert [drop.name[-1] for drop in drops(run(a=1.5, d=3.0), STEADY)] == ["d", "a"]


def test_a_slow_night_is_no_drop_but_one_beside_it_is():
    assert drops(run(pace=1.35), STEADY) == []
    assert [drop.name for drop in drops(run(pace=1.35, b=1.5), STEADY)] == [NAMES[1]]


def test_a_quick_night_makes_nothing_slower():
    assert drops(run(pace=0.5, b=2.0), STEADY) == []


def test_all_of_them_much_slower_is_a_drop_of_all():
    assert [drop.name for drop in drops(run(pace=1.6), STEADY)] == ["all benchmarks"]


def test_other_machines_and_short_histories_say_nothing():
    assert drops(run("other, Python 3.11", c=9.0), STEADY) == []
    assert drops(run(c=9.0), STEADY[: history.ENOUGH - 1]) == []
    assert drops(run(c=9.0), STEADY[: history.ENOUGH]) != []


def test_what_swings_is_told_only_when_slower_than_ever():
    swinging = [run(c=1.0 + (number % 3)) for number in range(10)]
    assert drops(run(c=2.9), swinging) == []
    assert drops(run(c=6.0), swinging) != []


def test_a_drop_that_stays_becomes_normal():
    runs = [*STEADY]
    told = 0
    while drops(run(c=1.5 + 0.001 * told), runs):
        runs.append(run(c=1.5 + 0.001 * told))
        told += 1
        assert told < 50
    assert told == history.LOOK_BACK // 2


def measured(tmp_path, **slower):
    """As pytest-benchmark writes it."""
    given = {
        "machine_info": {"cpu": {"brand_raw": "CPU"}, "machine": "x86_64", "python_version": "3.11.7"},
        "commit_info": {"id": "c0ffee"},
        "datetime": "2026-01-01T00:00:00",
        "benchmarks": [{"fullname": name, "stats": {"median": s}} for name, s in run(**slower).seconds.items()],
    }
    path = tmp_path / "now.json"
    path.write_text(json.dumps(given))
    return str(path)


def test_runs_are_kept_and_a_drop_ends_with_1(tmp_path, monkeypatch, capsys):
    drawn = []
    monkeypatch.setattr(history, "draw", lambda runs, chart: drawn.append(len(runs)))
    kept = ["--history", str(tmp_path / "kept")]
    for _ in range(history.ENOUGH):
        assert history.main([measured(tmp_path), *kept]) == 0
    capsys.readouterr()
    assert history.main([measured(tmp_path, c=2.0), *kept]) == 1
    assert f"SLOWER {NAMES[2]}: 2.00 times as long" in capsys.readouterr().out
    assert drawn == [1, 2, 3, 4, 5, 6]
    runs = history.load(tmp_path / "kept" / "runs.jsonl")
    assert len(runs) == 6
    assert runs[-1].seconds[NAMES[2]] == 6.0
    assert runs[0].machine == "CPU, Python 3.11"


def test_another_kind_of_file_is_refused(tmp_path):
    (tmp_path / "now.json").write_text("{}")
    with pytest.raises(KeyError):
        history.main([str(tmp_path / "now.json"), "--history", str(tmp_path)])
