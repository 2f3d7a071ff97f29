"""What unit tests share."""

import signal

import pytest
from stores import store_at


@pytest.fixture
def interruptible():
    """Take interrupts, here and in child processes: a shell's background jobs start with them ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(params=["fsync", "none"])
def store(request, tmp_path):
    """A store, of either durability."""
    store = store_at(tmp_path if request.param == "fsync" else None)
    yield store
    store.close()


@pytest.fixture
def durable(tmp_path):
    """A store that outlives its process."""
    store = store_at(tmp_path)
    yield store
    store.close()
