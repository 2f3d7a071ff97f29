"""Every row of the page for those who come from the older libraries: both sides give the same."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import re
from pathlib import Path

import numpy as np
import pytest
from naive import codes as naive_codes
from naive import failover as naive
from typer.testing import CliRunner

import faultset_ray as fs
from faultset_ray import app_faultset
from faultset_ray.config import Config
from jobs.cli import application

PAGE = (Path(__file__).parents[2] / "docs" / "migrating.md").read_text()
NODES = [
    {"id": "tokyo", "lat": 35.0, "lon": 139.0, "latency": 50.0},
    {"id": "far", "lat": 0.001, "lon": 0.001, "latency": 60.0},
    {"id": "near", "lat": 0.002, "lon": 0.002, "latency": 50.0},
    {"id": "london", "lat": 51.5, "lon": -0.1, "latency": 200.0},
]
PLAIN = [tuple(node.values()) for node in NODES]
PAYLOAD = bytes(range(250)) * 3
DATA = np.random.default_rng(7).integers(0, 256, (4, 50), dtype=np.uint8)


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without its head."""
    part = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def code(cell: str) -> str:
    return re.fullmatch(r"`([^`]+)`", cell)[1]


def settled(text: str, names: dict) -> object:
    """What an expression gives, awaited if it says so; arrays as lists."""
    compiled = compile(text, "row", "eval", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    value = eval(compiled, names)
    value = asyncio.run(value) if inspect.iscoroutine(value) else value
    return value.tolist() if isinstance(value, np.ndarray) else value


def older() -> dict:
    """The older functions, as plain loops that share no code with ours."""
    parity = naive_codes.cauchy(4, 2)

    def encode_rs(data, m):
        return [list(row) for row in naive_codes.encode(naive_codes.cauchy(len(data), m), [bytes(row) for row in data])]

    def decode_rs(given, k, m):
        found = naive_codes.decode(naive_codes.cauchy(k, m), {index: bytes(row) for index, row in given.items()})
        return [list(row) for row in found]

    def encode_shards(payload, k, m):
        length = -(-len(payload) // k)
        cut = [payload[i * length : (i + 1) * length].ljust(length, b"\0") for i in range(k)]
        return cut + naive_codes.encode(naive_codes.cauchy(k, m), cut)

    def decode_shards(shards, k, m, size):
        there = {index: shard for index, shard in enumerate(shards) if shard is not None}
        return b"".join(naive_codes.decode(parity, there))[:size]

    async def failover_async(*arguments):
        return naive.failover(*arguments)

    async def faultset_async(nodes, threshold, precision):
        return naive.faultset(PLAIN, threshold, precision)

    return {
        "failover": naive.failover,
        "failover_async": failover_async,
        "geohash_cluster": lambda nodes, precision: naive.clusters(PLAIN, precision),
        "faultset": lambda nodes, threshold, precision: naive.faultset(PLAIN, threshold, precision),
        "faultset_async": faultset_async,
        "encode_rs": encode_rs,
        "decode_rs": decode_rs,
        "encode_shards": encode_shards,
        "decode_shards": decode_shards,
    }


@pytest.fixture(scope="module")
def values():
    """What both sides are called with."""
    shards: list = fs.encode_shards(PAYLOAD, 4, 2)
    shards[0] = shards[3] = None
    parity = fs.encode_rs(DATA, 2)
    with fs.connect(backend="local") as driver:
        driver.register(NODES, precision=5)
        yield {
            "ids": [node["id"] for node in NODES],
            "latencies": [node["latency"] for node in NODES],
            "nodes": NODES,
            "fleet": fs.Fleet.of(NODES),
            "driver": driver,
            "data": DATA,
            "rows": {0: DATA[0], 2: DATA[2], 4: parity[0], 5: parity[1]},
            "payload": PAYLOAD,
            "shards": shards,
            "size": len(PAYLOAD),
        }


def alike(value: object) -> object:
    """Clusters as ids, whatever holds them."""
    if isinstance(value, dict):
        return {cell: [getattr(node, "id", None) or node[0] for node in members] for cell, members in value.items()}
    if hasattr(value, "starts"):  # groups in bulk
        texts = fs.geohash.cells_to_strings(value.cells).tolist()
        parts = np.split(value.order, value.starts[1:-1])
        return {text: [NODES[i]["id"] for i in part] for text, part in zip(texts, parts, strict=True)}
    return value


@pytest.mark.parametrize(
    "row", [*rows("Failover"), *rows("Erasure coding")], ids=lambda row: row[0].strip("`").partition("(")[0]
)
def test_a_call(row, values):
    before, *now = row
    expected = alike(settled(code(before), older() | values))
    assert expected
    for cell in now:
        if cell.startswith("`"):
            assert alike(settled(code(cell), {"fs": fs} | values)) == expected, cell


def test_every_older_name_has_a_row():
    named = {re.match(r"`(?:await )?(\w+)\(", row[0])[1] for row in [*rows("Failover"), *rows("Erasure coding")]}
    assert named == set(older())


def test_options():
    found = {code(before): now for before, now in rows("Command line")}
    parser = app_faultset._parser()
    options = {max(action.option_strings, key=len) for action in parser._actions} - {"--help", "--latencies"}
    assert set(found) == options | {"--lats"}
    told = CliRunner().invoke(application, ["failover", "--help"], terminal_width=200, env={"NO_COLOR": "1"}).output
    for now in found.values():
        for option in re.findall(r"`(--?[a-z-]+)", now):
            assert option in told, option


def test_the_older_command_and_the_new_one_agree(tmp_path, capsys):
    given = ",".join(":".join(map(str, node)) for node in PLAIN)
    assert app_faultset.main(["--nodes", given, "--threshold", "100", "--plain"]) == 0
    older_ids = capsys.readouterr().out.strip().split(",")
    file = tmp_path / "nodes.csv"
    file.write_text("id,lat,lon,latency_ms\n" + "\n".join(",".join(map(str, node)) for node in PLAIN))
    options = ["--nodes-file", str(file), "--threshold", "100", "--precision", "5", "--backend", "local", "--json"]
    assert json.loads(CliRunner().invoke(application, ["failover", *options]).stdout)["survivors"] == older_ids


def test_settings():
    for _, key, line in rows("Settings"):
        table = code(key) if code(key).startswith("policies") else code(key).rpartition(".")[0]
        config = Config.from_toml(f"[{table}]\n{code(line)}\n")
        assert config != Config()
        if not code(key).startswith("policies"):
            assert code(line).startswith(code(key).rpartition(".")[2] + " = ")


RAISED = {
    "EmptyNodesError": lambda: fs.faultset([], threshold=50.0, precision=6),
    "NoSurvivorsError": lambda: fs.faultset(NODES, threshold=1.0, precision=12),
}


def test_errors():
    listed = rows("Errors")
    assert {code(row[1]) for row in listed} == set(RAISED)
    for text, name, known, exit_code in listed:
        with pytest.raises(ValueError, match=text) as caught:
            RAISED[code(name)]()
        error = caught.value
        assert (type(error).__name__, error.code, error.exit_code) == (code(name), code(known), int(exit_code))


def test_what_an_empty_answer_is():
    assert fs.failover(["a"], [5.0], 1.0) == []
    with fs.connect(backend="local") as driver:
        driver.register(NODES, precision=5)
        assert len(driver.survivors(threshold_ms=1.0)) == 0
