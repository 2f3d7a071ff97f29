"""The older command line, option by option, in process."""

import logging
import os
import subprocess
import sys

import pytest

from faultset_ray import app_faultset

NODES = "a:35.0:139.0:50,b:51.5:-0.1:200,c:40.7:-74.0:75"
LISTED = ("--nodes", "a,b,c", "--lats", "50,150,75")


@pytest.fixture
def run(capsys, monkeypatch):
    monkeypatch.setattr(
        logging, "basicConfig", lambda **options: logging.getLogger("faultset_ray").setLevel(options["level"])
    )

    def call(*arguments):
        try:
            code = app_faultset.main(arguments)
        except SystemExit as exit_:
            code = exit_.code
        out, err = capsys.readouterr()
        return code, out, err

    yield call
    logging.getLogger("faultset_ray").setLevel(logging.NOTSET)


@pytest.mark.parametrize("extra", [(), ("--async",), ("-a",)])
@pytest.mark.parametrize(
    ("arguments", "out"),
    [
        (("--nodes", NODES, "--threshold", "100"), "Healthy nodes: ['a', 'c']\n"),
        (("-n", NODES, "-t", "100", "-p", "5"), "Healthy nodes: ['a', 'c']\n"),
        (("--nodes", NODES, "--th", "100", "--plain"), "a,c\n"),
        ((*LISTED, "--th", "100"), "Healthy nodes: ['a', 'c']\n"),
        (("--nodes", "a,b,c", "--latencies", "50,150,75", "--threshold", "inf", "--plain"), "a,c,b\n"),
        (("--nodes", "eu:x:35.0:139.0:50, b : 51.5:-0.1 :75", "--th", "100"), "Healthy nodes: ['eu:x', 'b']\n"),
        (("--nodes", "a:1,b:2", "--lats", "2,1", "--th", "3"), "Healthy nodes: ['b:2', 'a:1']\n"),
        (("--nodes", "a:-35:-139:50", "--th", "100"), "Healthy nodes: ['a']\n"),
    ],
)
def test_survivors_go_to_stdout(run, extra, arguments, out):
    assert run(*arguments, *extra) == (0, out, "")


def test_the_default_precision_is_5(run):
    """At 5 the two are of one cluster, so the nearer comes first; at 6 they are not."""
    nodes = ("--nodes", "far:0.001:0.001:60,near:0.03:0.03:50", "--th", "100", "--plain")
    assert run(*nodes)[1] == "near,far\n"
    assert run(*nodes, "--precision", "6")[1] == "far,near\n"


@pytest.mark.parametrize("extra", [(), ("--async",)])
def test_no_survivor(run, extra):
    code, out, err = run("--nodes", NODES, "--threshold", "1", *extra)
    assert (code, out) == (1, "")
    assert err.startswith("error: all clusters yielded no survivors")
    assert run(*LISTED, "--threshold", "1", *extra) == (1, "Healthy nodes: []\n", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--nodes", "a:1:1:5,b:1:x:4", "--th", "9"), "--nodes, item 2 ('b'): lon is 'x'; expected a number"),
        (("--nodes", "a:1:1:5,b:91:1:4", "--th", "9"), "--nodes, item 2 ('b'): lat is 91.0"),
        (("--nodes", "a:1:1:5,b:1:1:-4", "--th", "9"), "--nodes, item 2 ('b'): latency_ms is -4.0"),
        (("--nodes", "a:1:1:5,b:1:1", "--th", "9"), "--nodes, item 2: node is 'b:1:1'; expected id:lat:lon:latency"),
        (("--nodes", "a:1:1:5,", "--th", "9"), "--nodes, item 2: node is ''"),
        (("--nodes", ":1:1:5", "--th", "9"), "--nodes, item 1: id is ''"),
        (("--nodes", "a,b", "--lats", "5,x", "--th", "9"), "--lats, item 2 ('b'): latency_ms is 'x'"),
        (("--nodes", "a,b", "--lats", "5,-1", "--th", "9"), "--lats, item 2 ('b'): latency_ms is -1.0"),
        (("--nodes", "a,b", "--lats", "5", "--th", "9"), "--nodes has 2, --lats has 1"),
        (("--nodes", "a,,b", "--lats", "5,1,2", "--th", "9"), "--nodes, item 2: id is ''"),
        (("--nodes", "", "--th", "9"), "nodes list is empty"),
        (("--nodes", "", "--lats", "1", "--th", "9"), "nodes list is empty"),
        (("--nodes", NODES, "--th", "-1"), "threshold is -1.0 ms"),
        (("--nodes", NODES, "--th", "nan"), "threshold is nan ms"),
        (("--nodes", "a:1:1:1,a:2:2:2", "--th", "9"), "id 'a' stands at 0 and again at 1"),
        (("--nodes", NODES, "--th", "9", "-p", "13"), "a precision is an integer of 1 to 12"),
        (("--nodes", NODES, "--th", "x"), "argument -t/--threshold/--th: invalid float value: 'x'"),
        (("--nodes", NODES), "the following arguments are required: -t/--threshold/--th"),
        (("--nodes", NODES, "--th", "9", "--level", "loud"), "argument --level: invalid choice: 'loud'"),
    ],
)
def test_bad_input_is_one_clear_line(run, arguments, words):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert "Traceback" not in err


def test_an_internal_error_is_a_line_too(run, monkeypatch):
    def broken(*_arguments):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(app_faultset, "faultset", broken)
    assert run("--nodes", NODES, "--th", "9") == (70, "", "error: internal error, RuntimeError: out of luck\n")


def test_level_sets_logging(run, caplog):
    run("--nodes", NODES, "--th", "100")
    assert caplog.records == []
    run("--nodes", NODES, "--th", "100", "--level", "DEBUG")
    assert "3 nodes, threshold 100.0 ms, geohash precision 5" in caplog.text


def test_help(run):
    code, out, _ = run("--help")
    assert code == 0
    assert "--precision" in out


def test_an_id_that_stdout_can_not_spell():
    command = [sys.executable, "-m", "faultset_ray.app_faultset", "--nodes", "é:1:2:50", "--th", "100", "--plain"]
    ended = subprocess.run(
        command, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, check=False, timeout=120
    )
    assert (ended.returncode, ended.stdout.strip(), ended.stderr) == (0, b"\\xe9", b"")
