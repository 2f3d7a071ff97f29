"""The command line in this process: one JSON line at the end, one exit code, no traceback."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from faultset_ray import __version__
from faultset_ray.model import Fleet
from faultset_ray.pipeline import faultset
from jobs import cli, oracle, output
from jobs.decode import decode
from jobs.encode import encode
from jobs.failover import failover

SINGLE = {"encode": encode, "decode": decode, "failover": failover}
NODES = "id,lat,lon,latency_ms\na,52.5,13.4,20\nb,52.5,13.4,10\nc,48.9,2.4,180\nd,-33.9,151.2,90\n"
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """In a directory with a file to encode, shards of it, and nodes; no cluster is named."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    Path("nodes.csv").write_text(NODES)
    Path("data").write_bytes(b"0123456789" * 1000)


@pytest.fixture
def run(monkeypatch, capsys):
    """``run("encode", …)`` as ``python -m jobs.encode …``: exit code, last line's JSON, stdout, stderr."""

    def run(name, *arguments, application=None):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            output.run(application or output.app(SINGLE[name]))
        out, err = capsys.readouterr()
        lines = out.splitlines()
        return ended.value.code, json.loads(lines[-1]) if lines else None, out, err

    return run


def test_a_file_there_and_back(run):
    code, result, _, err = run("encode", "data", "--code", "rs:4+3", "-o", "shards")
    sha256 = hashlib.sha256(Path("data").read_bytes()).hexdigest()
    assert (code, err) == (0, "")
    assert result.pop("seconds") >= 0
    shards = [f"shards/data.{index:03d}.shard" for index in range(7)]
    assert result == {"shards": shards, "code": "rs:4+3,matrix=cauchy", "size": 10_000, "sha256": sha256}
    for index in (0, 2, 6):
        Path(shards[index]).unlink()
    code, result, _, err = run("decode", "shards", "--out", "back")
    assert (code, err) == (0, "")
    assert result.pop("seconds") >= 0
    unusable = {"0": "missing", "2": "missing", "6": "missing"}
    assert result == {
        "file": "back",
        "code": "rs:4+3,matrix=cauchy",
        "size": 10_000,
        "sha256": sha256,
        "unusable": unusable,
    }
    assert Path("back").read_bytes() == Path("data").read_bytes()


@pytest.mark.parametrize(("threshold", "exit_code"), [(100, 0), ("inf", 0), (10, 0), (9.99, 1), (0, 1)])
@pytest.mark.parametrize("precision", [1, 6, 12])
def test_failover(run, threshold, exit_code, precision):
    code, result, out, err = run(
        "failover", "--nodes-file", "nodes.csv", "--threshold", threshold, "--precision", precision
    )
    fleet = Fleet.of("nodes.csv")
    assert (code, err) == (exit_code, "")
    expected = [] if exit_code else faultset(fleet, float(threshold), precision)
    assert result["survivors"] == expected == oracle.survivors(fleet, float(threshold), precision)
    assert sum(result["regions"].values()) == len(expected)
    assert (result["nodes"], result["precision"]) == (4, precision)
    assert len(result["regions"]) + len(result["empty_regions"]) == (2 if precision == 1 else 3)
    assert result["threshold_ms"] == (threshold if threshold != "inf" else "inf")
    assert "of 4 nodes survive" in out


def test_duplicates(run):
    with Path("nodes.csv").open("a") as file:
        file.write("a,0,0,1\n")
    arguments = ["--nodes-file", "nodes.csv", "--threshold", 15, "--precision", 3]
    assert run("failover", *arguments)[1]["error"]["code"] == "duplicate_id"
    assert run("failover", *arguments, "--on-duplicate", "keep")[1]["survivors"] == ["b"]
    assert run("failover", *arguments, "--on-duplicate", "min")[1]["survivors"] == ["a", "b"]


def shards(count):
    """Make the shards of ``data`` as 4+3, and keep so many."""

    def make(run):
        run("encode", "data", "--code", "rs:4+3", "-o", "d")
        for index in range(count, 7):
            Path(f"d/data.{index:03d}.shard").unlink()

    return make


def text(name, content):
    return lambda run: Path(name).write_text(content)


ERRORS = [
    # job and arguments, what is there before, exit code, the error's code
    ("encode nowhere --out d", None, 2, "input_error"),
    ("encode . --out d", None, 2, "input_error"),
    ("encode data --out d --code rs:0+3", None, 2, "invalid_code_spec"),
    ("encode data --out d --code raid5", None, 2, "invalid_code_spec"),
    ("encode data --out data", None, 2, "input_error"),
    ("encode data --out nodes.csv/d", None, 2, "input_error"),
    ("encode data --out /proc/d", None, 2, "os_error"),
    ("encode data --out d", lambda run: Path("d/data.001.shard").mkdir(parents=True), 2, "input_error"),
    ("encode data --out d --backend cloud", None, 2, "input_error"),
    ("encode data --out d --backend local --address host:1", None, 2, "input_error"),
    ("decode nowhere --out back", None, 2, "input_error"),
    ("decode data --out back", None, 2, "input_error"),
    ("decode d --out back", lambda run: Path("d").mkdir(), 3, "not_enough_shards"),
    ("decode d --out back", shards(3), 3, "not_enough_shards"),
    ("decode d --out none/back", shards(7), 2, "input_error"),
    ("decode d --out d", shards(7), 2, "input_error"),
    ("decode d --out data/back", shards(7), 2, "input_error"),
    ("decode d --out /proc/back", shards(7), 2, "os_error"),
    ("failover --nodes-file nowhere.csv --threshold 5", None, 2, "os_error"),
    ("failover --nodes-file . --threshold 5", None, 2, "input_error"),
    ("failover --nodes-file data --threshold 5", None, 2, "input_error"),
    ("failover --nodes-file nodes.csv --threshold nan", None, 2, "negative_threshold"),
    ("failover --nodes-file nodes.csv --threshold -1", None, 2, "negative_threshold"),
    ("failover --nodes-file nodes.csv --threshold 5 --precision 13", None, 2, "invalid_geohash"),
    ("failover --nodes-file bad.csv --threshold 5", text("bad.csv", ""), 2, "empty_nodes"),
    ("failover --nodes-file bad.csv --threshold 5", text("bad.csv", "id,lat,lon\na,1,2\n"), 2, "missing_column"),
    ("failover --nodes-file bad.csv --threshold 5", text("bad.csv", NODES + "e,91,0,1\n"), 2, "invalid_node"),
    ("failover --nodes-file bad.csv --threshold 5", text("bad.csv", NODES + "e,1\n"), 2, "invalid_node"),
    ("failover --nodes-file bad.csv --threshold 5", text("bad.csv", NODES + "a,1,1,1\n"), 2, "duplicate_id"),
    ("failover --nodes-file bad.csv --threshold 5", lambda run: Path("bad.csv").write_bytes(b"\xff\xfe"), 2, "input_error"),
    ("failover --nodes-file bad.jsonl --threshold 5", text("bad.jsonl", "{"), 2, "input_error"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "before", "exit_code", "error"), ERRORS)
@pytest.mark.parametrize("as_verb", [False, True])
def test_errors(run, command, before, exit_code, error, as_verb):
    if before:
        before(run)
    there = sorted(path.name for path in Path().rglob("*"))
    words = command.split()
    arguments = words if as_verb else words[1:]
    code, result, out, err = run(words[0], *arguments, application=cli.application if as_verb else None)
    assert code == exit_code
    assert result["error"]["code"] == error
    assert result["error"]["message"] in err
    assert len(out.splitlines()) == 1
    assert "Traceback" not in err
    assert err.startswith("error ")
    left = sorted(path.name for path in Path().rglob("*"))
    assert left == there or (words[0] == "encode" and left == sorted([*there, "d"]) and not list(Path("d").iterdir()))


def test_the_line_of_a_bad_row_is_named(run):
    Path("bad.csv").write_text(NODES + "\ne,91,0,1\n")
    _, result, _, err = run("failover", "--nodes-file", "bad.csv", "--threshold", 5)
    assert "bad.csv, line 7 ('e'): lat is 91.0" in err
    assert result["error"]["where"] == "bad.csv, line 7"


def test_shards_that_are_missing_are_named(run):
    shards(3)(run)
    _, result, _, _ = run("decode", "d", "--out", "back")
    error = result["error"]
    assert (error["have"], error["need"]) == (3, 4)
    assert error["missing"] == dict.fromkeys("3456", "missing")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["failover"], "Missing option"),
        (["failover", "--nodes-file", "nodes.csv", "--threshold", "fast"], "--threshold"),
        (
            ["failover", "--nodes-file", "nodes.csv", "--threshold", "5", "--on-duplicate", "max"],
            "neither 'keep' nor 'min'",
        ),
        (["encode"], "Missing"),
        (["decode", "d", "--out"], "requires an argument"),
        (["juggle"], "No such command"),
    ],
)
def test_usage(run, arguments, why):
    code, result, _, err = run("faultset", *arguments, application=cli.application)
    assert (code, result["error"]["code"]) == (2, "usage")
    assert why in result["error"]["message"]
    assert result["error"]["message"].endswith("; see --help")
    assert why in " ".join(err.replace("│", " ").split())


def test_version(run, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["faultset", "--version"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert (ended.value.code, capsys.readouterr().out) == (0, f"{__version__}\n")


@pytest.mark.parametrize("name", ["[bold]x", "[red", "a b\tc", "ü→", ":smile:", os.fsdecode(b"\xff\xfe"), "-x", "x\ny"])
def test_names_that_mean_something_elsewhere(run, name):
    Path(name).write_bytes(b"content")
    code, result, *_ = run("encode", "--code", "rs:2+1", "--out", f"of {name}", "--", name)
    assert code == 0
    assert result["shards"][1] == f"of {name}/{name}.001.shard"
    Path(result["shards"][0]).unlink()
    code, result, *_ = run("decode", f"of {name}", f"--out=back {name}")
    assert (code, result["file"]) == (0, f"back {name}")
    assert Path(f"back {name}").read_bytes() == b"content"


def test_ids_that_mean_something_elsewhere(run):
    Path("nodes.csv").write_text("id,lat,lon,latency\n[/],1,1,5\n[bold]b,1,1,6\n")
    code, result, out, _ = run("failover", "--nodes-file", "nodes.csv", "--threshold", 10)
    assert (code, result["survivors"]) == (0, ["[/]", "[bold]b"])
    assert "[/]" in out


def test_a_fault_of_ours_is_told_apart_from_no_survivors(run):
    def broken():
        raise ZeroDivisionError("oh")

    code, result, _, err = run("broken", application=output.app(broken))
    assert code == 70
    assert result["error"] == {"code": "internal_error", "message": "ZeroDivisionError: oh"}
    assert "Traceback" in err


# -- As processes


def process(*arguments, **options):
    environ = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("environ", {})}
    return subprocess.Popen(
        [sys.executable, *arguments], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def test_a_module_is_a_command():
    with process("-m", "jobs.encode", "data", "--out", "d", "--code", "rs:2+1") as encoding:
        out, err = encoding.communicate(timeout=60)
    assert (encoding.returncode, err) == (0, "")
    assert json.loads(out.splitlines()[-1])["size"] == 10_000
    with process("-m", "jobs.decode", "d", "--out", "/nowhere/back", environ={"PYTHONIOENCODING": "ascii"}) as decoding:
        out, err = decoding.communicate(timeout=60)
    assert decoding.returncode == 2
    assert json.loads(out)["error"]["code"] == "input_error"


def test_a_terminal_of_few_letters():
    with process("-m", "jobs.encode", "data", "--out", "d", environ={"PYTHONIOENCODING": "ascii"}) as encoding:
        out, err = encoding.communicate(timeout=60)
    assert (encoding.returncode, err) == (0, "")
    assert json.loads(out.splitlines()[-1])["size"] == 10_000


def test_an_interrupt_ends_it_at_once_and_leaves_nothing(interruptible):
    with Path("data").open("wb") as file:
        file.truncate(4 << 30)
    with process("-m", "jobs.encode", "data", "--out", "d", "--code", "rs:2+1") as encoding:
        deadline = time.monotonic() + 60
        while not (Path("d").exists() and any(path.stat().st_size > 1 << 20 for path in Path("d").iterdir())):
            assert time.monotonic() < deadline
            assert encoding.poll() is None, encoding.communicate()
            time.sleep(0.01)
        encoding.send_signal(signal.SIGINT)
        _, err = encoding.communicate(timeout=30)
    assert encoding.returncode == 130
    assert "Traceback" not in err
    assert list(Path("d").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--file", "nofile"], "nofile is not a file"),
        (["--threshold", "nan"], "threshold is nan"),
        (["--report", "no/such/report.json"], "is not a directory"),
        (["--code", "rs:0+3"], "rs:0+3"),
        (["--nodes", "3", "--kill", "3"], "expected 0 to 2"),
    ],
)
def test_a_drill_that_can_not_be_starts_no_cluster(run, monkeypatch, options, why):
    monkeypatch.setattr(
        "actors.local_cluster.LocalCluster", None
    )  # calling it would be an internal error, exit code 70
    code, result, *_ = run("faultset", "drill", *options, application=cli.application)
    assert code == 2
    assert why in result["error"]["message"]
