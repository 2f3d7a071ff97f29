"""``make fuzz`` ends with the first round that fails, tells the seed, and that seed fails again."""

import re
import subprocess
import sys
from pathlib import Path

FUZZ = Path(__file__).parents[1] / "fuzz.py"

PROPERTY = """
from pathlib import Path
from hypothesis import given, settings, strategies as st

@settings(max_examples=20, database=None)
@given(st.integers(0, 10**9))
def test_property(number):
    with (Path(__file__).parent / "drawn").open("a") as drawn:
        print(number, file=drawn)
    assert number < BOUND

def test_without_examples():
    raise AssertionError("no part of a round")
"""


def fuzz(tmp_path, bound, *options):
    module = tmp_path / "test_made.py"
    module.write_text(PROPERTY.replace("BOUND", str(bound)))
    command = [sys.executable, FUZZ, *options, module]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_rounds_that_hold_end_well(tmp_path):
    done = fuzz(tmp_path, 10**10, "--duration", "0", "--seed", "7")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^fuzz: 1 rounds in \d+ s, seeds 7000 to 7000, all held$", done.stdout, re.MULTILINE)


def test_rounds_draw_anew_where_ci_is_set_too_and_a_seed_again_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("CI", "true")
    draws = []
    for seed in ("7", "8", "7"):
        assert fuzz(tmp_path, 10**10, "--duration", "0", "--seed", seed).returncode == 0
        draws.append((tmp_path / "drawn").read_text())
        (tmp_path / "drawn").unlink()
    assert draws[0] == draws[2] != draws[1]


def test_a_round_that_fails_is_told_with_its_seed(tmp_path):
    done = fuzz(tmp_path, 1, "--duration", "60")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "assert number < 1" in done.stdout
    assert re.search(r"^fuzz: round 1 ended with 1; again: .*--hypothesis-seed=1000$", done.stdout, re.MULTILINE)


def test_no_property_draws_the_same_examples_whatever_the_seed():
    tests = FUZZ.parent
    fixed = "derandomize=" + "True"
    assert [str(path.relative_to(tests)) for path in tests.rglob("*.py") if fixed in path.read_text()] == []
