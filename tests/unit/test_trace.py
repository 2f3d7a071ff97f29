"""Traces in columns and in files: what is written is read, what can't be is refused with its line."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from told import told

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


@settings(max_examples=30)
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
        ("t.jsonl", '{"at_ms": 1, "node": "a", "latency_ms": 1}\n{]\n', "line 2: "),
        ("t.csv", f"at_ms,node,latency_ms\n{'1' * 5000},a,5\n", "line 2: at_ms is '111"),
        ("t.csv", "at_ms,node,latency_ms\n٣,a,5\n", "line 2: at_ms is '٣'"),
        ("t.csv", "at_ms,node,latency_ms\n1,a,1_0\n", "line 2: latency_ms is '1_0'"),
        ("t.csv", "at_ms,node,latency_ms\n1,a,٣\n", "line 2: latency_ms is '٣'"),
        ("t.jsonl", f'{{"at_ms": 1, "node": "a", "latency_ms": 1{"0" * 400}}}\n', "line 1: latency_ms is 1000"),
        ("t.jsonl", f'{{"at_ms": 1, "node": "a", "latency_ms": 1{"0" * 5000}}}\n', "line 1: Exceeds the limit"),
        ("t.jsonl", f'{{"at_ms": 1{"0" * 400}, "node": "a", "latency_ms": 1}}\n', "line 1: at_ms is 1000"),
        ("t.jsonl", '{"at_ms": 1, "node": "a", "latency_ms": "-inf"}\n', "line 1: latency_ms is '-inf'"),
        ("t.jsonl", '{"at_ms": 1, "node": "a", "latency_ms": "1"}\n', "line 1: latency_ms is '1'"),
        ("t.jsonl", '\n{"at_ms": 1, "node": "a", "latency_ms": 1, "at_ms": 5}\n', "line 2: it has 'at_ms' twice"),
        ("t.jsonl", '\n{"at_ms": 1, "node"\n{}\n', "line 3: expected the fields"),
        ("t.jsonl", "at_ms,node", "line 1: "),
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


def test_what_is_not_utf8_is_refused_where_it_stands(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_bytes(b'\n{"at_ms": 1, "node": "\xff", "latency_ms": 1}\n')
    with pytest.raises(InputError, match="line 2: it is not UTF-8: invalid start byte"):
        Trace.read(path)


@pytest.mark.parametrize("text", ["a\0.csv", 5, None, b"a.csv"])
def test_a_path_that_can_not_be_is_refused(text):
    with pytest.raises(InputError, match=r"expected the path of a \.npz, \.csv or \.jsonl file"):
        Trace.read(text)
    with pytest.raises(InputError, match=r"expected the path of a \.npz, \.csv or \.jsonl file"):
        Trace.of(["a"], [1], [0], [1.0]).write(text)


@pytest.mark.parametrize(
    "wrong",
    [{"at_ms": [[1], [2, 3]]}, {"nodes": [[1], [2, 3]]}, {"bad": [[True], []]}, {"at_ms": [10**30]}, {"ids": 5}],
)
def test_arguments_that_can_not_be_are_refused(wrong):
    with pytest.raises(InputError):
        Trace.of(**{"ids": ["a"], "at_ms": [1], "nodes": [0], "latency_ms": [1.0], **wrong})


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_infinite_latency_is_read_back(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    Trace.of(["a"], [1, 2, 3], [0, 0, 0], [math.inf, math.nan, 5.0]).write(path)
    np.testing.assert_array_equal(Trace.read(path).latency_ms, [math.inf, math.nan, 5.0])
    if suffix == ".jsonl":  # what any program reads: JSON has no Infinity
        told = [json.loads(line, parse_constant=pytest.fail)["latency_ms"] for line in path.read_text().splitlines()]
        assert told == ["inf", None, 5.0]
        path.write_text('{"at_ms": 1, "node": "a", "latency_ms": Infinity}\n')
        assert Trace.read(path).latency_ms.tolist() == [math.inf], "as versions before wrote it"


def test_an_id_without_a_form_in_utf8_is_escaped_or_refused(tmp_path):
    """A fleet may have such an id, so a trace of it may too."""
    trace = Trace.of(["é\ud800"], [1], [0], [1.0])
    for suffix in (".npz", ".jsonl"):
        trace.write(tmp_path / f"t{suffix}")
        assert Trace.read(tmp_path / f"t{suffix}").ids.tolist() == ["é\ud800"]
    (tmp_path / "t.csv").write_text("kept")
    with pytest.raises(InputError, match="UTF-8 has a form for"):
        trace.write(tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == "kept"


def test_wherever_a_line_was_cut_off_the_others_are_read(tmp_path, caplog):
    path = tmp_path / "t.jsonl"
    trace = Trace.of(["nö\\de}", "\ud800"], [1, 2, 3], [0, 1, 0], [-0.0, math.nan, 1.5e-07], ok=[True, False, True])
    trace.write(path)
    first, *others = path.read_bytes().splitlines()
    for line in (first, *others):
        for end in range(1, len(line)):
            path.write_bytes(b"\n".join([first, line[:end], *others]))
            again = Trace.read(path)
            assert (again.torn, rows(again)) == ((2,), rows(trace)), line[:end]
    assert told(caplog, "trace_torn")[-1] == {"path": str(path), "lines": [2]}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_trace_without_samples(tmp_path, suffix):
    trace = Trace.of(["a"], [], [], [])
    trace.write(tmp_path / f"t{suffix}")
    assert len(Trace.read(tmp_path / f"t{suffix}")) == 0
