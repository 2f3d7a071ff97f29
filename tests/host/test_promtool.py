"""What Prometheus' own tool says of the rules, and what they make of figures, minute by minute."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules.yaml"
TESTS = ("rules_test.yaml", "rules_days_test.yaml")

pytestmark = [pytest.mark.host, pytest.mark.needs("promtool")]


@pytest.fixture
def where(tmp_path):
    """The rules, with their tests beside them."""
    shutil.copy(RULES, tmp_path)
    for name in TESTS:
        shutil.copy(Path(__file__).with_name(name), tmp_path)
    return tmp_path


def promtool(where, *arguments):
    return subprocess.run(["promtool", *arguments], cwd=where, capture_output=True, text=True, timeout=120, check=False)


def test_the_rules_are_rules(where):
    done = promtool(where, "check", "rules", "rules.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", TESTS)
def test_the_rules_tell_what_they_should(where, name):
    done = promtool(where, "test", "rules", name)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_rule_that_believes_figures_of_old_would_be_found(where):
    text = (where / "rules.yaml").read_text()
    assert text.count("< 120)") > 1
    (where / "rules.yaml").write_text(text.replace("< 120)", "< 1e12)"))
    done = promtool(where, "test", "rules", "rules_test.yaml")
    assert done.returncode != 0
    assert "FaultsetObjectsAtRisk" in done.stdout + done.stderr
