"""A policy: its defaults, its fields' bounds, and its two texts."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import faultset_ray as fs
from faultset_ray.errors import InputError, InvalidPolicy, UnknownPolicyField
from faultset_ray.policy import FALLBACKS, PANICS, STATISTICS, Policy

FIELDS = [
    *("statistic", "threshold_ms", "recover_ms", "samples", "hold_s", "ttl_s"),
    *("half_life_s", "eject_max", "survivors_min", "fallback", "panic", "freeze_at"),
]


@st.composite
def policies(draw):
    statistic = draw(st.sampled_from(STATISTICS))
    low, high = {"last": (0.0, math.inf), "p95": (1.0, 16384.0)}.get(statistic, (0.0, 3.6e6))
    threshold = draw(st.floats(low, high))
    window = draw(st.integers(1, 32))
    holds = sorted(draw(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6))))
    return Policy(
        statistic=statistic,
        threshold_ms=threshold,
        recover_ms=draw(st.none() | st.floats(low, threshold)),
        samples=(draw(st.integers(1, window)), window, draw(st.integers(1, 65535))),
        hold_s=tuple(holds),
        ttl_s=draw(st.none() | st.floats(0.001, 1e6)),
        half_life_s=draw(st.floats(0.001, 1e6)),
        eject_max=draw(st.floats(0, 1)),
        survivors_min=draw(st.integers(0, 1000)),
        fallback=draw(st.sampled_from(FALLBACKS)),
        panic=draw(st.sampled_from(PANICS)),
        freeze_at=draw(st.none() | st.floats(0.01, 1)),
    )


@given(policies())
def test_both_texts_come_back(policy):
    assert Policy.from_toml(policy.to_toml()) == policy
    assert Policy.from_json(policy.to_json()) == policy


def test_there_are_twelve_fields():
    assert list(Policy.__dataclass_fields__) == FIELDS


def test_files(tmp_path):
    policy = Policy(threshold_ms=80, samples=(3, 5, 2))
    for suffix, text in ((".toml", policy.to_toml()), (".json", policy.to_json())):
        path = tmp_path / f"policy{suffix}"
        path.write_text(text)
        assert fs.Policy.load(path) == fs.Policy.load(str(path)) == policy
    for name, content, message in (
        ("policy.yaml", b"", "suffix '.yaml'"),
        ("broken.toml", b"a = ", "is not TOML"),
        ("broken.json", b"{", "is not JSON"),
        ("list.json", b"[]", "expected a JSON object"),
        ("latin.toml", b"\xe9", "is not UTF-8"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(InputError, match=message):
            Policy.load(path)
    with pytest.raises(FileNotFoundError):
        Policy.load(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("treshold", "threshold_ms"), ("ttl", "ttl_s"), ("Fallback", "fallback"), ("eject", "eject_max"), ("", "ttl_s")],
)
def test_an_unknown_field_names_the_nearest(key, nearest):
    with pytest.raises(UnknownPolicyField) as caught:
        Policy.from_json(f'{{"{key}": 1}}')
    assert caught.value.known == FIELDS
    if key:
        assert caught.value.nearest == nearest
        assert f"did you mean {nearest!r}?" in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "nearest"),
    [
        ("sample", [3, 5, 3], "samples"),
        ("hold", [1.0, 2.0], "hold_s"),
        ("holds", [], "hold_s"),
        ("hold_s_", (1, 2), "hold_s"),
    ],
)
def test_an_unknown_field_with_a_list_names_the_nearest(key, value, nearest):
    for make in (lambda: Policy.of({key: value}), lambda: Policy.from_toml(f"{key} = {[*value]}")):
        with pytest.raises(UnknownPolicyField, match=f"did you mean {nearest!r}"):
            make()


@pytest.mark.parametrize("text", ["[policy]\nttl_s = 3", "[[policy]]\nttl_s = 3", "policy = [{ttl_s = 3}]"])
def test_a_policy_in_a_table_is_told_so(text):
    with pytest.raises(InputError, match="'policy' is a table; the fields of a policy stand at the top"):
        Policy.from_toml(text)


def test_a_keyword_that_is_no_field_is_what_python_says():
    with pytest.raises(TypeError, match="treshold_ms"):
        Policy(treshold_ms=5)
    with pytest.raises(UnknownPolicyField, match="did you mean 'threshold_ms'"):
        Policy.of({"treshold_ms": 5})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("statistic", "mean"),
        ("statistic", 3),
        ("threshold_ms", -1),
        ("threshold_ms", math.nan),
        ("threshold_ms", True),
        ("threshold_ms", "100"),
        ("recover_ms", 100.1),
        ("recover_ms", -0.1),
        ("samples", (0, 1, 1)),
        ("samples", (3, 2, 1)),
        ("samples", (1, 33, 1)),
        ("samples", (1, 1, 0)),
        ("samples", (1, 1, 65536)),
        ("samples", (1, 1)),
        ("samples", (1.0, 1, 1)),
        ("samples", 3),
        ("hold_s", (2, 1)),
        ("hold_s", (-1, 1)),
        ("hold_s", (0, math.inf)),
        ("hold_s", (0, math.nan)),
        ("hold_s", 5),
        ("ttl_s", 0),
        ("ttl_s", True),
        ("half_life_s", 0),
        ("half_life_s", math.inf),
        ("eject_max", 1.01),
        ("eject_max", -0.1),
        ("survivors_min", -1),
        ("survivors_min", 1.5),
        ("fallback", "far"),
        ("panic", True),
        ("freeze_at", 0),
        ("freeze_at", 1.1),
    ],
)
def test_what_a_field_cannot_be(field, value):
    with pytest.raises(InvalidPolicy) as caught:
        Policy(**{field: value})
    assert caught.value.field == field
    assert repr(value) in str(caught.value)


def test_statistics_bound_their_thresholds():
    assert Policy(threshold_ms=math.inf).threshold_ms == math.inf
    for statistic, threshold in (("ewma", math.inf), ("peak", 3.7e6), ("p95", 0.9), ("p95", 20_000)):
        with pytest.raises(InvalidPolicy, match="threshold_ms"):
            Policy(statistic=statistic, threshold_ms=threshold)


@pytest.mark.parametrize(
    ("share", "nodes", "out"),
    [
        (0.5, 1, 0), (0.5, 2, 1), (0.5, 3, 1), (1 / 3, 3, 1), (2 / 3, 3, 2), (0.29, 100, 29), (0.7, 10, 7),
        (0.1 + 0.2, 10, 3), (1.0, 3, 3), (0.0, 3, 0), (0.99, 3, 2),
        (0.9999999, 1, 0), (0.9999999, 10**7, 10**7 - 1), (0.9999999, 2**32 - 1, 4_294_966_865), (1 - 1e-12, 1, 0),
        (1 - 1e-12, 9, 8), (1e-7, 10**7, 1), (0.3333333, 3, 0), (1e-12, 2**32 - 1, 0),
    ],
)  # fmt: skip
def test_the_cap_is_exact(share, nodes, out):
    assert Policy(eject_max=share).rules.cap(nodes) == out
