"""What holds for all tests."""

import gc

from hypothesis import settings

# how long one example takes tells how busy the machine is
settings.register_profile("tests", deadline=None)
settings.register_profile("fuzz", settings.get_profile("default"), deadline=None)
settings.load_profile("tests")

_collected = set()


def pytest_runtest_setup(item):
    """Garbage of others is gone before Hypothesis parses sources: a task that ends unheard prints a traceback.

    That parses too, and Python 3.11 takes the one inside the other for a fault of its own (SystemError, gh-106905).
    """
    if item.get_closest_marker("hypothesis") and item.path not in _collected:
        _collected.add(item.path)
        gc.collect()
