"""Arguments that make no sense, to every public name of the coding surface: a FaultsetError, or it works; nothing else."""

import asyncio
import inspect
import io
import re

import numpy as np
import pytest

import faultset_ray as fs
from faultset_ray import codes
from faultset_ray.errors import FaultsetError

DATA = np.arange(4 * 64, dtype=np.uint8).reshape(4, 64)
CODES = ["rs:4+2", "lrc:4+2+2", "xor:4+1", "copy:3", "ldpc:4+4,left_degree=3"]
PIECE = bytes(range(200))
SHARDS = fs.pack_shards(PIECE, "rs:4+2")
OVERLAPPING = np.lib.stride_tricks.as_strided(np.zeros(65, np.uint8), (2, 64), (1, 1))

NO_INDICES = [None, 0, -1, 1.5, "ab", b"ab", object(), [None], [1.0], ["1"], [True], [-1], [99], [0, 0], [2**70]]
NO_COUNT = [None, True, -1, 1.5, float("nan"), "2", b"2", [2], object(), np.zeros(3), 2**70]
NO_ROWS = [
    None,
    0,
    "ab",
    b"ab",
    [],
    {},
    [1],
    object(),
    DATA.astype(float),
    DATA[0],
    np.array(3, np.uint8),
    np.zeros((2, 2, 2)),
]
NO_MAPPING = [
    None, 0, "ab", [1], object(), DATA, {0: None}, {0: b"ab"}, {0: [1]}, {"0": DATA[0]}, {True: DATA[0]}, {-1: DATA[0]},
    {99: DATA[0]}, {0: DATA}, {0: DATA[0], 1: DATA[1, :5]}, {0: np.array(3, np.uint8)}, {0: DATA[0].astype(float)}, {1.0: DATA[0]},
]  # fmt: skip
NO_OUT = [
    0,
    "ab",
    b"ab",
    [],
    [1],
    object(),
    DATA.astype(float),
    DATA[:1],
    np.array(3, np.uint8),
    OVERLAPPING,
    np.zeros((2, 2, 2)),
]
NO_COST = [0, "ab", [1], object(), {0: "1"}, {0: None}, {0: True}, {0: float("nan")}, {0: [1]}, {0: object()}]
NO_TEXT = [
    0,
    1.5,
    True,
    b"rs:4+2",
    [],
    ["rs:4+2"],
    {},
    object(),
    "",
    "rs",
    "rs:",
    "rs:4",
    "rs:0+1",
    "none:4+2",
    "rs:4+2\n",
    "r" * 99,
]
NO_BYTES = [None, 0, 1.5, "text", [], [1], {}, object(), np.array([object()])]
NO_THREADS = [None, True, 0, -1, 65, 1.5, "2", object()]


def arguments_of(code):
    """Each method with arguments that are right, and what is to be tried in the place of each."""
    k, n = code.k, code.n
    data = DATA[:k]
    parity = code.encode(data)
    rows = dict(enumerate([*data, *parity]))
    left = {index: row for index, row in rows.items() if index != 0}
    batch = {index: np.stack([row, row]) for index, row in left.items()}
    shape = {"out": NO_OUT, "threads": NO_THREADS}
    return {
        "encode": ({"data": data}, {"data": NO_ROWS, **shape}),
        "plan": ({"lost": [0], "have": range(1, n)}, {"lost": NO_INDICES, "have": NO_INDICES, "cost": NO_COST}),
        "reads": ({"lost": [0], "have": range(1, n)}, {"lost": NO_INDICES, "have": NO_INDICES, "cost": NO_COST}),
        "reconstruct": ({"rows": left, "wanted": [0]}, {"rows": NO_MAPPING, "wanted": NO_INDICES, **shape}),
        "decode": ({"rows": left}, {"rows": NO_MAPPING, **shape}),
        "encode_batch": ({"data": data[None]}, {"data": NO_ROWS, **shape}),
        "reconstruct_batch": ({"rows": batch, "wanted": [0]}, {"rows": NO_MAPPING, "wanted": NO_INDICES, **shape}),
        "bears": ({"lost": [0]}, {"lost": [value for value in NO_INDICES if value != [0, 0]]}),
        "verify": ({"rows": rows}, {"rows": NO_MAPPING}),
        "update": (
            {"index": 0, "old": data[0], "new": data[0], "parity": parity},
            {"index": [None, True, -1, k, 1.5, "0"], "old": NO_ROWS, "new": NO_ROWS, "parity": [None, *NO_OUT]},
        ),
    }  # fmt: skip


def told(value):
    """A value in the name of a test, the same one in every process."""
    return re.sub(" at 0x[0-9a-f]+", "", repr(value))[:30]


def method_cases():
    for spec in CODES:
        code = codes.get(spec)
        for name, (right, wrong) in arguments_of(code).items():
            for argument, values in wrong.items():
                for value in values:
                    yield pytest.param(
                        getattr(code, name), right, argument, value, id=f"{spec}-{name}-{argument}-{told(value)}"
                    )
        plan = code.plan([0], range(1, code.n))
        right = {"rows": dict.fromkeys(plan.reads, DATA[0])}
        for argument, values in {"rows": NO_MAPPING, "out": NO_OUT, "threads": NO_THREADS}.items():
            for value in values:
                yield pytest.param(plan.fold, right, argument, value, id=f"{spec}-Plan.fold-{argument}-{told(value)}")


def tried(call, right, argument, value):
    """Whether it was refused; any error of another kind passes through."""
    try:
        result = call(**{**right, argument: value})
        if inspect.iscoroutine(result):
            asyncio.run(result)
    except FaultsetError as error:
        assert str(error)  # noqa: PT017 - the message can be made
        return True
    return False


@pytest.mark.parametrize(("call", "right", "argument", "value"), list(method_cases()))
def test_methods(call, right, argument, value):
    refused = tried(call, right, argument, value)
    unsupported = "Staircase" in repr(call) and call.__name__ in {"encode_batch", "reconstruct_batch", "update"}
    assert refused or unsupported or is_right_after_all(call.__name__, argument, value)


def is_right_after_all(name, argument, value):
    """Nothing to do, nothing to do it with, or just what another method wants."""
    if isinstance(value, np.ndarray):
        return (argument == "out" and value.shape == (1, 64)) or (name == "update" and value.shape == (64,))
    return (name, argument) == ("reconstruct_batch", "rows") and isinstance(value, dict) and np.ndim(value.get(0)) == 2


def stream(call):
    """With writers of its own each time."""

    def wrapped(**arguments):
        if arguments.get("writers") is OURS:
            arguments["writers"] = [io.BytesIO() for _ in range(6)]
        return call(**arguments)

    return wrapped


class Sink:
    """Writes, and then says something that can't be."""

    def __init__(self, answer):
        self._answer = answer

    def write(self, data):
        return self._answer


class Source:
    """Fills what it is given, and then says something that can't be."""

    def __init__(self, answer):
        self._answer = answer

    def readinto(self, buffer):
        return self._answer


class Given:
    """Reads whatever it was given."""

    def __init__(self, answer):
        self._answer = answer

    def read(self, nbytes):
        return self._answer


OURS = object()
CLOSED = io.BytesIO(b"x")
CLOSED.close()
NO_READER = [None, 0, 1.5, "text", object(), [1], ["text"], [None], CLOSED, io.StringIO("text"), [object()], {1: 2}, Source(10**9), Source(-1), Source("x"), Source(None), Source(1.5), Given("text"), Given(7), Given([1])]  # fmt: skip
NO_WRITER = [
    None,
    0,
    "text",
    object(),
    [],
    CLOSED,
    io.StringIO(),
    Sink(10**9),
    Sink(-1),
    Sink(True),
    Sink(0),
    io.BytesIO,
]
NO_WRITERS = [
    None,
    0,
    "text",
    b"writes",
    [],
    {},
    object(),
    [None] * 6,
    [io.BytesIO()] * 5,
    [CLOSED] * 6,
    [Sink(10**9)] * 6,
]
NO_READERS = [
    None,
    0,
    "text",
    b"shards",
    object(),
    [],
    [None],
    [1],
    [CLOSED],
    [io.StringIO("x")],
    [b""],
    {1: 2},
    [object()],
]
NO_STRIPE = [True, 0, -1, 1.5, "2", 2**70]  # None is the default
NO_OBJECT = [0, True, b"x", ["x"], object(), "", "x", "\ud800"]
NO_NAME = [0, True, b"x", ["x"], object()]
NO_GENERATION = [None, True, -1, 1.5, "2", 2**64]
NO_CONFIG = [
    None, 0, "rs:4+2", [], {}, object(), {"name": "rs"}, {"name": "rs", "shape": "42", "options": {}},
    {"name": "rs", "shape": ["4", "2"], "options": {}}, {"name": "rs", "shape": [True, True], "options": {}},
    {"name": "rs", "shape": [4, 2], "options": {}, "more": 1}, {"name": "rs", "shape": [4.0, 2], "options": {}},
    {"name": "rs", "shape": [4, 2], "options": None}, {"name": "rs", "shape": [4, 2], "options": {"matrix": 1}},
    {"name": 7, "shape": [4, 2], "options": {}}, {"name": "rs", "shape": 4, "options": {}}, {"name": "rs", "shape": [4, 2], "options": [1]},
]  # fmt: skip
ENCODE = {"reader": PIECE, "writers": OURS, "code": "rs:4+2"}
ENCODE_WRONG = {
    "reader": NO_READER,
    "writers": NO_WRITERS,
    "code": NO_TEXT,
    "stripe_bytes": NO_STRIPE,
    "name": NO_NAME,
    "generation": NO_GENERATION,
}
DECODE_WRONG = {"readers": NO_READERS, "writer": NO_WRITER, "object": NO_OBJECT}
RANGE = {"readers": SHARDS, "start": 0, "stop": 10}
RANGE_WRONG = {"readers": NO_READERS, "start": [*NO_COUNT, 11, 201], "stop": [*NO_COUNT, 201], "object": NO_OBJECT}
PACKETS = codes.raptorq.encode_packets(PIECE, 64, 2)

FUNCTIONS = {
    "get": (codes.get, {}, {"spec": NO_TEXT}),
    "from_config": (codes.from_config, {}, {"config": NO_CONFIG}),
    "encode_rs": (codes.encode_rs, {"data": DATA, "m": 2}, {"data": NO_ROWS, "m": NO_COUNT}),
    "decode_rs": (
        codes.decode_rs,
        {"shards": dict(enumerate(DATA)), "k": 4, "m": 2},
        {"shards": NO_MAPPING, "k": [*NO_COUNT, 0], "m": [*NO_COUNT, 0]},
    ),
    "encode_shards": (codes.encode_shards, {"data": PIECE, "k": 4, "m": 2}, {"data": NO_BYTES, "k": NO_COUNT, "m": NO_COUNT}),
    "decode_shards": (
        codes.decode_shards,
        {"shards": codes.encode_shards(PIECE, 4, 2), "k": 4, "m": 2, "size": 200},
        {
            "shards": [None, 0, "text", [], {}, object(), [None] * 6, [b"x"] * 6, ["x"] * 6, [1] * 6],
            "k": NO_COUNT,
            "m": NO_COUNT,
            "size": NO_COUNT,
        },
    ),
    "split": (codes.split, {"data": PIECE, "k": 4}, {"data": NO_BYTES, "k": [*NO_COUNT, 0]}),
    "join": (codes.join, {"rows": DATA, "size": 9}, {"rows": NO_ROWS, "size": [*NO_COUNT, 257]}),
    "pack_shards": (
        fs.pack_shards,
        {"data": PIECE, "code": "rs:4+2"},
        {"data": NO_BYTES, "code": NO_TEXT, "stripe_bytes": NO_STRIPE, "name": NO_NAME, "generation": NO_GENERATION},
    ),
    "unpack_shards": (
        fs.unpack_shards,
        {"shards": SHARDS},
        {"shards": [None, 0, "text", b"x", [], {}, object(), [None], [1], ["x"], {1: 2}], "object": NO_OBJECT},
    ),
    "encode_stream": (stream(fs.encode_stream), ENCODE, ENCODE_WRONG),
    "encode_stream_async": (stream(fs.encode_stream_async), ENCODE, ENCODE_WRONG),
    "decode_stream": (fs.decode_stream, {"readers": SHARDS, "writer": io.BytesIO()}, DECODE_WRONG),
    "decode_stream_async": (fs.decode_stream_async, {"readers": SHARDS, "writer": io.BytesIO()}, DECODE_WRONG),
    "read_range": (fs.read_range, RANGE, RANGE_WRONG),
    "read_range_async": (fs.read_range_async, RANGE, RANGE_WRONG),
    "raptorq.symbol_bytes": (codes.raptorq.symbol_bytes, {}, {"mtu": [*NO_COUNT, 0, 65_536]}),
    "raptorq.Encoder": (codes.raptorq.Encoder, {"data": PIECE, "mtu": 64}, {"data": [*NO_BYTES, b""], "mtu": [*NO_COUNT, 0]}),
    "raptorq.Encoder.packets": (codes.raptorq.Encoder(PIECE, 64).packets, {}, {"repair": [*NO_COUNT, 1 << 24]}),
    "raptorq.Decoder": (codes.raptorq.Decoder, {"size": 200, "mtu": 64}, {"size": [*NO_COUNT, 0], "mtu": [*NO_COUNT, 0]}),
    "raptorq.Decoder.add": (codes.raptorq.Decoder(200, 64).add, {}, {"packet": [*NO_BYTES, b"", b"x", b"\xff" * 68]}),
    "raptorq.encode_packets": (
        codes.raptorq.encode_packets,
        {"data": PIECE, "mtu": 64, "repair": 1},
        {"data": [*NO_BYTES, b""], "mtu": NO_COUNT, "repair": [*NO_COUNT, 1 << 24]},
    ),
    "raptorq.decode_packets": (
        codes.raptorq.decode_packets,
        {"packets": PACKETS, "size": 200, "mtu": 64},
        {"packets": [None, 0, "text", b"x", [], {}, [None], [1], [b""], object()], "size": NO_COUNT, "mtu": NO_COUNT},
    ),
}  # fmt: skip


def function_cases():
    for name, (call, right, wrong) in FUNCTIONS.items():
        for argument, values in wrong.items():
            for value in values:
                yield pytest.param(call, right, argument, value, id=f"{name}-{argument}-{told(value)}")


@pytest.mark.parametrize(("call", "right", "argument", "value"), list(function_cases()))
def test_functions(call, right, argument, value):
    assert tried(call, right, argument, value)


def test_every_public_name_is_tried():
    public = {name for name in codes.__all__ if name not in {"Code", "Plan", "available", "raptorq"}}
    public |= {name for name in fs.__all__ if "shards" in name or "stream" in name or "range" in name}
    public |= {
        f"raptorq.{name}"
        for name, item in vars(codes.raptorq).items()
        if getattr(item, "__module__", "") == codes.raptorq.__name__ and name[0] != "_"
    }
    assert public <= FUNCTIONS.keys()
    methods = {name for name, item in vars(codes.Code).items() if inspect.isfunction(item) and name[0] != "_"}
    assert methods - {"get_config"} == arguments_of(codes.get("rs:4+2")).keys()
