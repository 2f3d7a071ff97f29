"""What all property tests share."""

import gc

import pytest


@pytest.fixture(autouse=True, scope="module")
def garbage_of_others():
    """Gone before Hypothesis parses sources: a task that ends unheard prints a traceback, which parses too.

    Python 3.11 takes the one inside the other for a fault of its own (SystemError, gh-106905).
    """
    gc.collect()
