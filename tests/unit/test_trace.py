"""Traces in columns and in files: what is written is read, what can't be is refused with its line."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faultset_ray.control.trace import Trace
from faultset_ray.errors import InputError

SUFFIXES = (".npz", ".csv", ".jsonl")


def trace_of(seed, nodes, samples, *, truth=True):
    dice = np.random.default_rng(seed)
    return Trace.of(
        [f"nöde, {index}" for index in range(nodes)],
        dice.integers(0, 50, samples),
        dice.integers(0, nodes, samples),
        np.where(dice.random(samples) < 0.2, np.nan, dice.uniform(0, 300, samples)),
        ok=dice.random(samples) < 0.8,
        bad=dice.random(samples) < 0.5 if truth else None,
        regions=dice.choice(["u33", "9q8", "s"], nodes).tolist(),
    )


def rows(trace):
    return sorted((json.dumps(row) for row in trace.rows()), key=lambda text: json.loads(text)["at_ms"])


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 99), st.integers(1, 6), st.integers(1, 40), st.booleans(), st.sampled_from(SUFFIXES))
def test_what_is_written_is_read(tmp_path_factory, seed, nodes, samples, truth, suffix):
    trace = trace_of(seed, nodes, samples, truth=truth)
    path = tmp_path_factory.mktemp("traces") / f"trace{suffix}"
    trace.write(path)
    again = Trace.read(path)
    assert rows(again) == rows(trace)
    assert (np.diff(again.at_ms) >= 0).all()
    assert (again.bad is None) == (not truth)


def test_samples_are_put_in_order_of_time():
    trace = Trace.of(["a", "b"], [5, 3, 5, 3], [0, 0, 1, 1], [1.0, 2.0, None, 4.0])
    assert trace.at_ms.tolist() == [3, 3, 5, 5]
    assert trace.nodes.tolist() == [0, 1, 0, 1]
    assert trace.ok.tolist() == [True, True, True, False]
    assert (trace.bad, trace.regions, len(trace)) == (None, ["s", "s"], 4)
    with pytest.raises(ValueError, match="read-only"):
        trace.at_ms[0] = 1


def test_a_minimal_csv(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("at_ms,node,latency_ms\n1000,a,20.5\n2000,a,\n")
    trace = Trace.read(path)
    assert list(trace.rows()) == [
        {"at_ms": 1000, "node": "a", "region": "s", "latency_ms": 20.5, "ok": True},
        {"at_ms": 2000, "node": "a", "region": "s", "latency_ms": None, "ok": False},
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "", "has no header in its first line; expected the fields at_ms, node, latency_ms"),
        ("t.csv", "\n", "has no header in its first line"),
        ("t.csv", "at_ms,node,latency_ms,latency_ms\n1,a,2,3\n", "the header has 'latency_ms' twice"),
        ("t.csv", "at_ms,node,latency_ms,node\n", "the header has 'node' twice"),
        ("t.csv", "at_ms,node\n1,a\n", "line 2: expected the fields at_ms, node, latency_ms"),
        ("t.csv", "at_ms,node,latency_ms\n1,a\n", "line 2: not as many fields"),
        ("t.csv", "at_ms,node,latency_ms\n1,a,2,3\n", "line 2: not as many fields"),
        ("t.csv", "at_ms,node,latency_ms\n1,a,2\n-1,a,2\n", "line 3: at_ms is '-1'"),
        ("t.csv", "at_ms,node,latency_ms\n1,a,fast\n", "line 2: latency_ms is 'fast'"),
        ("t.csv", "at_ms,node,latency_ms\n1,a,-2\n", "line 2: latency_ms is -2.0"),
        ("t.csv", "at_ms,node,latency_ms,ok\n1,a,2,maybe\n", "line 2: ok is 'maybe'"),
        ("t.csv", "at_ms,node,latency_ms,region\n1,a,2,a\n", "not a|geohash"),
        ("t.csv", "at_ms,node,latency_ms,colour\n1,a,2,red\n", "colour"),
        ("t.jsonl", '{"at_ms": 1, "node": "a", "latency_ms": 1}\n[1]\n', "line 2: expected the fields"),
        ("t.jsonl", '{"at_ms": true, "node": "a", "latency_ms": 1}\n', "line 1: at_ms is True"),
        ("t.jsonl", '{"at_ms": 1, "node": 3, "latency_ms": 1}\n', "line 1: node is 3"),
        ("t.jsonl", '{"at_ms": 1, "node": "a", "latency_ms": 1}\n{\n', "line 2: "),
        (
            "t.jsonl",
            '{"at_ms": 1, "node": "a", "latency_ms": 1, "bad": true}\n{"at_ms": 1, "node": "a", "latency_ms": 1}\n',
            "some samples say whether",
        ),
        ("t.npz", "no zip", r"t\.npz"),
        ("t.txt", "", "told by the suffix"),
    ],
)
def test_what_can_not_be_is_refused_where_it_stands(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        Trace.read(path)
    assert name in str(caught.value)


def test_an_npz_is_checked_like_arguments(tmp_path):
    path = tmp_path / "t.npz"
    sound = {"ids": np.array(["a", "b"]), "at_ms": np.array([1]), "node": np.array([1]), "latency_ms": np.array([2.0])}
    np.savez(path, **sound)
    assert [row["node"] for row in Trace.read(path).rows()] == ["b"]
    for changed, message in (
        ({"node": np.array([2])}, "node of sample 0 is 2; expected 0 to 1"),
        ({"at_ms": np.array([-1])}, "at_ms of sample 0 is -1"),
        ({"at_ms": np.array([1.0])}, "at_ms is float64"),
        ({"at_ms": np.array([1, 2])}, "columns differ in length"),
        ({"latency_ms": np.array([-2.0])}, "milliseconds, 0 or more"),
        ({"ok": np.array([1])}, "ok is int64"),
        ({"ids": np.array(["a", "a"])}, "2 nodes of a trace have 1 distinct ids"),
        ({"ids": np.array(["a", {}], object)}, "without pickles"),
        ({"other": np.array([1])}, "has the arrays"),
        ({"regions": np.array(["u", "a"])}, "'a'"),
    ):
        np.savez(path, **{**sound, **changed})
        with pytest.raises(InputError, match=message):
            Trace.read(path)
    with pytest.raises(InputError, match="told by the suffix"):
        Trace.of(["a"], [1], [0], [1.0]).write(tmp_path / "t.parquet")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_trace_without_samples(tmp_path, suffix):
    trace = Trace.of(["a"], [], [], [])
    trace.write(tmp_path / f"t{suffix}")
    assert len(Trace.read(tmp_path / f"t{suffix}")) == 0
