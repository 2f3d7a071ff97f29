"""What a driver was told, as a trace: written as it comes, read by replays."""

import math
from pathlib import Path

import numpy as np
import pytest
from told import told

import faultset_ray as fs
from faultset_ray.control.recording import Recording
from faultset_ray.control.replay import replay
from faultset_ray.control.trace import Trace

NODES = [("a", 52.5, 13.4, 5.0), ("é\n\ud800", 48.9, 2.4, 5.0)]


@pytest.fixture
def driver():
    with fs.connect(backend="local", region_actors=2) as driver:
        driver.register(NODES, 3)
        yield driver


def test_what_is_observed_is_replayed(driver, tmp_path):
    handles = driver.fleet().handles
    driver.observe(handles, [1.0, 1.0])
    with driver.record(tmp_path / "day.jsonl") as recording:
        start = driver.survivors().at_ms
        driver.observe(handles, [900.0, math.nan], at_ms=[start - 5, start])
        driver.observe(handles[1:], [math.inf], ok=[False])
        driver.observe([], [])
        driver.register([("other", 0.0, 0.0, 1.0)], fleet="other")
        driver.observe([0], [3.0], fleet="other")
        assert recording.samples == 3
    driver.observe(handles, [2.0, 2.0])
    trace = Trace.read(tmp_path / "day.jsonl")
    assert (trace.ids.tolist(), trace.regions) == ([node for node, *_ in NODES], ["u33", "u09"])
    assert trace.nodes.tolist() == [0, 1, 1]
    assert trace.at_ms.tolist()[:2] == [start - 5, start]
    np.testing.assert_array_equal(trace.latency_ms, [900.0, math.nan, math.inf])
    assert trace.ok.tolist() == [True, False, False]
    assert replay(trace, fs.Policy()).ejections == 2
    with driver.record(tmp_path / "day.jsonl"):
        driver.register([("a", 10.0, 10.0, 5.0)], 3)
        driver.observe(handles[:1], [4.0])
    longer = Trace.read(tmp_path / "day.jsonl")
    assert (len(longer), longer.regions) == (4, ["u33", "u09"]), "it goes on where it ended; who moved counts there"


def test_a_disk_that_fails_ends_the_recording_and_not_the_observing(driver, tmp_path):
    path = tmp_path / "full.jsonl"
    path.symlink_to("/dev/full")
    handles = driver.fleet().handles
    recording = driver.record(path)
    assert driver.observe(handles, [1.0, 1.0]) == 2
    assert (recording.closed, recording.samples) == (True, 0)
    assert driver.observe(handles, [1.0, 1.0]) == 2
    with pytest.raises(OSError, match="No space"):
        recording.close()
    recording.close()
    with pytest.raises(FileNotFoundError):
        driver.record(tmp_path / "none" / "x.jsonl")


def test_one_that_was_cut_off_is_gone_on_with(driver, tmp_path, caplog):
    """A process that is killed may leave part of a line; what it wrote before, and what comes after, is read."""
    path, handles = tmp_path / "day.jsonl", driver.fleet().handles
    with driver.record(path):
        driver.observe(handles, [math.inf, 2.0])
    whole = path.read_bytes()
    with driver.record(path):
        pass
    assert path.read_bytes() == whole, "nothing is added to lines that are whole"
    path.write_bytes(whole[:-20])
    with driver.record(path):
        driver.observe(handles[:1], [3.0])
    assert {each["path"] for each in told(caplog, "recording_torn")} == {str(path)}
    trace = Trace.read(path)
    assert (trace.torn, trace.latency_ms.tolist()) == ((2,), [math.inf, 3.0])
    assert "Infinity" not in path.read_text()


def test_it_ends_with_its_driver(tmp_path):
    with fs.connect(backend="local") as driver:
        recording = driver.record(tmp_path / "x.jsonl")
    assert recording.closed


def test_nothing_is_written_under_a_name_that_can_not_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path, fleet in (("x.csv", "f"), ("x.jsonl", "")):
        with pytest.raises(fs.errors.InputError):
            Recording(path, fleet)
    assert list(Path().iterdir()) == []


def test_a_file_has_one_recording(driver, tmp_path):
    path = tmp_path / "day.jsonl"
    with driver.record(path) as recording:
        driver.observe(driver.fleet().handles, [1.0, 1.0])
        with pytest.raises(fs.errors.InputError, match="written by another recording"):
            driver.record(path)
        driver.observe(driver.fleet().handles, [2.0, 2.0])
        assert recording.samples == 4
    with driver.record(path):
        driver.observe(driver.fleet().handles, [3.0, 3.0])
    assert Trace.read(path).latency_ms.tolist() == [1, 1, 2, 2, 3, 3]
