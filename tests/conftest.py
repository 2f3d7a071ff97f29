"""What holds for all tests."""

import gc
import os

import emulating
import profiles  # noqa: F401 - they hold from then on
import pytest

_collected = set()

if os.environ.get("FAULTSET_ENGINE") in emulating.EMULATED:
    emulating.install()


def pytest_runtest_setup(item):
    """Garbage of others is gone before Hypothesis parses sources: a task that ends unheard prints a traceback.

    That parses too, and Python 3.11 takes the one inside the other for a fault of its own (SystemError, gh-106905).
    """
    if item.get_closest_marker("hypothesis") and item.path not in _collected:
        _collected.add(item.path)
        gc.collect()


@pytest.fixture
def derandomize(pytestconfig):
    """Whether a test that counts what was drawn is to draw the same each time; a fuzz run draws others each round."""
    return pytestconfig.getoption("--hypothesis-seed") is None
