"""What the large counts ask of their drills: a replay of one seed ends as that seed did."""

from collections import Counter

import pytest
from large import COVERING, Large


def drill(seed):
    if seed == 7:
        raise ValueError("boom")
    return Counter(put=1, trace=seed)


@pytest.mark.parametrize("count", [1, COVERING - 1])
def test_few_sound_seeds_pass_though_not_everything_happened(monkeypatch, count):
    monkeypatch.setenv("COUNT", str(count))
    run = Large(8, "make drills")
    assert run.drills(1_000, drill, ("put", "killed")) == Counter(put=count)
    assert run.notes == [f"{count:,} put"]


def test_in_many_everything_is_to_happen(monkeypatch):
    monkeypatch.setenv("COUNT", str(COVERING))
    with pytest.raises(AssertionError, match="in 100 drills never happened: killed, revived"):
        Large(8, "make drills").drills(1_000, drill, ("put", "killed", "revived"))


def test_a_seed_that_fails_is_told_with_what_replays_it(monkeypatch):
    monkeypatch.setenv("COUNT", "3")
    with pytest.raises(AssertionError, match=r"seed 7: make drills SEED=7 COUNT=1 replays it"):
        Large(5, "make drills").drills(1_000, drill)
