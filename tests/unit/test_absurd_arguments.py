"""Absurd arguments to every verb of the control plane and every way to a policy: a typed error, and nothing changed."""

import datetime as dt
import math

import numpy as np
import pytest

import faultset_ray as fs
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.policy import Policy

HUGE = 10**400
UNPRINTABLE = 10**5000
"""Python refuses to write so long a number."""


class Odd:
    """Nothing that anyone expects."""


ODD = Odd()
LOOP: list = []
LOOP.append(LOOP)
NO_TEXT = [None, 3, -1, 1.5, math.nan, True, b"a", [], {}, (), [["a"]], ODD, Odd, HUGE, UNPRINTABLE, np.zeros(2), LOOP]
NO_NUMBER = ["1", b"1", True, math.nan, -1, -HUGE, -UNPRINTABLE, [], [1], {}, ODD, 1j, np.zeros(2), LOOP]
NO_SECONDS = [
    "1",
    b"1",
    math.nan,
    -3,
    -math.inf,
    True,
    [],
    [1],
    {},
    ODD,
    Odd,
    np.zeros(2),
    1j,
    HUGE,
    LOOP,
    dt.timedelta(1),
]
NO_POLICY = [None, 3, "last", b"", [], {}, {"threshold_ms": 3}, ODD, Policy, math.nan, UNPRINTABLE]
NO_IDS = [
    None,
    3,
    math.nan,
    True,
    [3],
    [None],
    [b"a"],
    [["a"]],
    ["a", 3],
    {"a": 1}.values(),
    ODD,
    Odd,
    UNPRINTABLE,
    [LOOP],
]
NO_LATENCIES = [
    *(None, 3, "1.0", b"1", ["1"], [True], [-1.0], [[1.0]], [[1.0], [1.0, 2.0]], {}, {"a": 1}, ODD, Odd, 1j, [1j]),
    *([ODD], [-math.inf], [UNPRINTABLE], np.zeros((1, 1)), np.array(["x"]), LOOP, [[]], range(3), [-UNPRINTABLE]),
]
NO_HANDLES = [
    *(None, 3, "0", b"0", ["0"], [True], [0.0], [-1], [7], [[0]], [[0], [0, 1]], {}, {"a": 1}, ODD, Odd, [ODD], [None]),
    *([HUGE], [UNPRINTABLE], np.zeros((1, 1), int), np.array([1.0]), LOOP, [math.nan], [1 << 63], [-(1 << 63)]),
]
NO_FLAGS = [
    3,
    "x",
    b"1",
    [1],
    ["True"],
    [None],
    [[True]],
    [[True], [True, False]],
    {},
    ODD,
    [ODD],
    [math.nan],
    LOOP,
    [HUGE],
]
NO_TIMES = [
    *("now", b"1", 1.5, math.nan, True, [1.0], [[1]], [[1], [1, 2]], -1, [-1], [1, 2], {}, ODD, [ODD], [None], HUGE),
    *(UNPRINTABLE, 1 << 62, [1 << 63], [HUGE], dt.date(2020, 1, 1), np.datetime64("now"), LOOP),
]
NO_SINCE = [
    *(
        3,
        "x",
        b"1",
        {0: 1},
        {0: (1,)},
        {0: (1, 2, 3)},
        {"a": (1, 2)},
        {0: ("a", 2)},
        [1],
        ODD,
        Odd,
        {0: (1.5, 2)},
        LOOP,
    ),
    *({-1: (1, 2)}, {0: (-1, 2)}, {0: (1, -2)}, {0: (math.nan, 2)}, {0: (1, math.inf)}, {0: (HUGE, 1)}, {HUGE: (1, 1)}),
    *({True: (1, 1)}, {0: (1, None)}, {0: "12"}, {0: {1, 2}}, math.nan, {}, []),
]
NO_PRECISION = [None, 0, 13, -1, 1.0, "3", b"3", True, math.nan, [], [3], {}, ODD, HUGE, UNPRINTABLE, np.zeros(2)]
NO_NODES = [
    *(
        None,
        3,
        math.nan,
        True,
        [],
        {},
        [3],
        [None],
        [("a",)],
        [("a", 1, 2)],
        [("a", 1, 2, 3, 4)],
        ODD,
        Odd,
        [ODD],
        LOOP,
    ),
    *([("a", 91, 0, 1.0)], [("a", 0, 181, 1.0)], [("a", 0, 0, -1.0)], [("", 0, 0, 1.0)], [(3, 0, 0, 1.0)], [[]]),
    *([("a", "0", 0, 1.0)], [("a", 0, 0, "1")], [("a", UNPRINTABLE, 0, 1.0)], [("a", 0, 0, UNPRINTABLE)], b"nodes.csv"),
    *([("a", math.nan, 0, 1.0)], {"id": ["a"]}, {"id": ["a"], "lat": [0], "lon": [0, 1], "latency_ms": [1.0]}),
    *([("a", 0, 0, 1.0), ("a", 0, 0, 2.0)], "nodes.xyz", [("a", 0, 0, [1.0])], np.zeros((2, 4)), {3: 4}),
]
GOOD = {"handles": np.array([0], np.uint32), "latency_ms": [1.0]}

ARGUMENTS = [
    ("register", {}, "nodes", NO_NODES),
    ("register", {"nodes": [("z", 0, 0, 1.0)]}, "precision", NO_PRECISION),
    ("register", {"nodes": [("z", 0, 0, 1.0)], "precision": 3}, "fleet", [*NO_TEXT[1:], "", "\ud800", "x" * 257]),
    ("register", {"nodes": [("z", 0, 0, 1.0)], "precision": 3}, "on_duplicate", [*NO_TEXT[1:], "max"]),
    ("register", {"nodes": [("z", 0, 0, 1.0)], "precision": 3}, "policy", NO_POLICY[1:]),
    ("fleet", {}, "name", [*NO_TEXT, "none"]),
    ("remove", {}, "ids", NO_IDS),
    ("remove", {"ids": ["z"]}, "fleet", [*NO_TEXT, "none"]),
    ("mark", {"mark": "pin"}, "ids", [*NO_IDS, ["z"], "z"]),
    ("mark", {"ids": ["a"]}, "mark", [*NO_TEXT[1:], ["drain"], "none", "DRAIN"]),
    ("mark", {"ids": ["a"], "mark": "pin"}, "fleet", [*NO_TEXT, "none"]),
    ("set_policy", {}, "policy", NO_POLICY),
    ("set_policy", {"policy": Policy()}, "fleet", [*NO_TEXT, "none"]),
    ("observe", {"latency_ms": [1.0]}, "handles", NO_HANDLES),
    ("observe", {"handles": GOOD["handles"]}, "latency_ms", NO_LATENCIES),
    ("observe", GOOD, "ok", NO_FLAGS),
    ("observe", GOOD, "at_ms", NO_TIMES),
    ("observe", GOOD, "fleet", [*NO_TEXT, "none"]),
    (
        "survivors",
        {},
        "threshold_ms",
        ["1", b"1", math.nan, -1, True, [], {}, ODD, HUGE, UNPRINTABLE, -UNPRINTABLE, 1j],
    ),
    ("record", {}, "path", [None, 3, b"x.jsonl", "", "x.csv", "jsonl", "\0.jsonl", [], {}, ODD, math.nan]),
    ("record", {"path": "never.jsonl"}, "fleet", [*NO_TEXT, ""]),
    ("survivors", {}, "fleet", [*NO_TEXT, "none"]),
    ("survivors", {}, "deadline_s", [*NO_SECONDS, 0]),
    ("why", {}, "node_id", [*NO_TEXT, "z"]),
    ("why", {"node_id": "a"}, "fleet", [*NO_TEXT, "none"]),
    ("why", {"node_id": "a"}, "deadline_s", [*NO_SECONDS, 0]),
    ("plan", {}, "policy", NO_POLICY),
    ("plan", {"policy": Policy()}, "fleet", [*NO_TEXT, "none"]),
    ("plan", {"policy": Policy()}, "deadline_s", [*NO_SECONDS, 0]),
    ("probe", {}, "every_s", [*NO_NUMBER, 0, math.inf, HUGE, UNPRINTABLE]),
    ("probe", {}, "timeout_s", [*NO_NUMBER, 0, math.inf, HUGE, UNPRINTABLE]),
    ("probe", {}, "rate", [*NO_NUMBER, 0, math.inf, HUGE, UNPRINTABLE]),
    ("probe", {}, "concurrent", [*NO_NUMBER, 0, 1.5, math.inf]),
    ("probe", {}, "labels", [3, "x", b"x", [], ["a"], {"a": 3}, {3: "a"}, ODD, UNPRINTABLE, math.nan, True, LOOP]),
    ("probe", {}, "fleet", [3, "default", b"x", [], {}, ["a"], ODD, UNPRINTABLE, math.nan, True, LOOP]),
    ("probe", {}, "targets", [3, "x", [], ["a"], {"a": 3}, {3: "a"}, {"a": "tcp://h:1"}, ODD, UNPRINTABLE, True, LOOP]),
    ("watch", {}, "since", NO_SINCE),
    ("watch", {}, "fleet", [*NO_TEXT, "none"]),
    ("watch", {}, "idle_s", NO_SECONDS),
]


@pytest.fixture(scope="module")
def driver():
    with fs.connect(backend="local", region_actors=1) as driver:
        driver.register([("a", 1, 1, 5.0), ("b", 1, 1, 6.0)], 3)
        yield driver


@pytest.mark.parametrize(
    ("verb", "given", "name", "values"), ARGUMENTS, ids=[f"{verb}-{name}" for verb, _, name, _ in ARGUMENTS]
)
def test_a_verb_refuses_what_can_not_be(driver, verb, given, name, values):
    before = driver.fleet(), driver.survivors()
    wrong, told = [], []
    for value in values:
        try:
            getattr(driver, verb)(**{**given, name: value})
        except fs.FaultsetError as error:
            told.append(str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is listed
            wrong.append((_short(value), f"{type(error).__name__}: {error}"[:200]))
        else:
            wrong.append((_short(value), "was taken"))
    assert wrong == []
    assert all(0 < len(message) < 1000 for message in told)
    after = driver.fleet(), driver.survivors()
    assert [list(before[0]), before[1].ids.tolist()] == [list(after[0]), after[1].ids.tolist()], "nothing changed"
    assert driver._loop.run(driver._core._authority.ask(Coordinator.fleets)) == ["default"]


def _short(value):
    try:
        return repr(value)[:60]
    except ValueError:
        return "a long number"


FIELDS = {
    "statistic": [*NO_TEXT, "mean"],
    "threshold_ms": [None, *NO_NUMBER, HUGE, UNPRINTABLE],
    "recover_ms": [*NO_NUMBER, 101, HUGE],
    "samples": [
        None,
        3,
        "123",
        [1],
        (1, 1, 1, 1),
        (1, 1, None),
        (0, 1, 1),
        (2, 1, 1),
        (1, 33, 1),
        (1, 1, HUGE),
        LOOP,
        ODD,
    ],
    "hold_s": [None, 3, "12", [1], (2, 1), (-1, 1), (0, math.inf), (0, HUGE), (0, UNPRINTABLE), ("0", "1"), LOOP, ODD],
    "ttl_s": [*NO_NUMBER, 0, math.inf, HUGE, UNPRINTABLE],
    "half_life_s": [None, *NO_NUMBER, 0, math.inf, HUGE],
    "eject_max": [None, *NO_NUMBER, 1.01, HUGE, UNPRINTABLE],
    "survivors_min": [None, *NO_NUMBER, 1.5, HUGE, UNPRINTABLE],
    "fallback": [*NO_TEXT, "far"],
    "panic": [*NO_TEXT, "some"],
    "freeze_at": [*NO_NUMBER, 0, 1.01, HUGE],
}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("make", [lambda given: Policy(**given), Policy.of])
def test_a_policy_refuses_what_can_not_be(field, make):
    for value in FIELDS[field]:
        with pytest.raises(fs.errors.InvalidPolicy) as caught:
            make({field: value})
        assert field in str(caught.value)


def test_there_is_a_row_for_every_field():
    assert FIELDS.keys() == Policy.__dataclass_fields__.keys()


@pytest.mark.parametrize("given", [3, None, "x", [], [("threshold_ms", 3)], ODD, {3: 4}, {None: 1}, {"x" * 10**6: 1}])
def test_a_mapping_of_a_policy_that_is_none(given):
    with pytest.raises(fs.errors.InputError) as caught:
        Policy.of(given)
    assert len(str(caught.value)) < 1000


TEXTS = [
    *(b"threshold_ms = 3", 3, None, ODD, [], "threshold_ms = ", "x = 1", "threshold_ms = 1\nthreshold_ms = 2"),
    *("[policy]\nthreshold_ms = 3", "[[policy]]\nthreshold_ms = 3", "threshold_ms = " + "9" * 5000, "\0"),
    *("x = " + "[" * 100_000 + "]" * 100_000, "x = " + "{a = " * 5_000 + "1" + "}" * 5_000, "[a" + ".a" * 50_000 + "]"),
    *("threshold_ms = 2020-01-01", "threshold_ms = {a = 1}", 'threshold_ms = "3"', "samples = [1, 1]", "a.b.c = 1"),
    "threshold_ms = 1e400\nstatistic = 'ewma'",
]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: str(text)[:20])
def test_toml_that_is_no_policy(text):
    with pytest.raises(fs.errors.InputError) as caught:
        Policy.from_toml(text)
    assert len(str(caught.value)) < 1000


JSONS = [
    *(b"{}", 3, None, ODD, [], "", "{", "[]", "3", "null", '"x"', '{"x": 1}', '{"policy": {"threshold_ms": 3}}'),
    *(
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"threshold_ms": ' + "9" * 5000 + "}",
        '{"threshold_ms": 1e400, "ttl_s": 1e400}',
    ),
    *(
        '{"threshold_ms": 1, "threshold_ms": 2}',
        '{"threshold_ms": NaN}',
        '{"samples": [1, 1]}',
        '{"threshold_ms": "3"}',
    ),
    *('{"threshold_ms": -Infinity}', '{"statistic": "inf"}', '{"threshold_ms": {"a": 1, "a": 2}}', "\0"),
]


@pytest.mark.parametrize("text", JSONS, ids=lambda text: str(text)[:20])
def test_json_that_is_no_policy(text):
    with pytest.raises(fs.errors.InputError) as caught:
        Policy.from_json(text)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("path", [3.5, b"x.toml", ODD, [], "x.yaml", "", "\0.toml"])
def test_files_of_a_policy_that_can_not_be(path):
    with pytest.raises(fs.errors.InputError):
        Policy.load(path)


def test_tables_are_told_to_be_none():
    for read, text in ((Policy.from_toml, "[policy]\nttl_s = 3"), (Policy.from_json, '{"policy": {"ttl_s": 3}}')):
        with pytest.raises(fs.errors.InputError, match=r"'policy' is a table.*top"):
            read(text)
    with pytest.raises(fs.errors.InputError, match="'ttl_s' twice"):
        Policy.from_json('{"ttl_s": 3, "ttl_s": 4}')


def test_a_byte_order_mark_is_none_of_the_text(tmp_path):
    for suffix, text in ((".toml", "ttl_s = 3\n"), (".json", '{"ttl_s": 3}')):
        path = tmp_path / f"policy{suffix}"
        path.write_text(text, encoding="utf-8-sig")
        assert Policy.load(path) == Policy(ttl_s=3)
    assert Policy.from_toml("\ufeffttl_s = 3") == Policy.from_json('\ufeff{"ttl_s": 3}') == Policy(ttl_s=3)


CONNECTIONS = [
    ("backend", {}, [3, b"ray", "spark", True, [], {}, ODD, UNPRINTABLE, LOOP]),
    ("system", {}, [3, b"x", "", "a/b", "x" * 65, True, [], {}, ODD, UNPRINTABLE, LOOP]),
    ("region_actors", {}, [*NO_NUMBER, 0, 1.5, math.inf]),
    ("config", {}, [3, b"x", "", "\0", "nowhere.toml", ".", True, [], {}, ODD, UNPRINTABLE, LOOP]),
    ("state_dir", {"system": "x"}, [3, b"x", True, [], {}, ODD, UNPRINTABLE, LOOP, "\0"]),
    ("address", {}, [3, b"x", True, [], {}, ODD, UNPRINTABLE, LOOP, "host:1"]),
]


@pytest.mark.parametrize(("name", "given", "values"), CONNECTIONS)
def test_connections_that_can_not_be(name, given, values):
    for value in values:
        with pytest.raises(fs.errors.InputError) as caught:
            fs.connect(**{"backend": "local", **given, name: value})
        assert len(str(caught.value)) < 1000
