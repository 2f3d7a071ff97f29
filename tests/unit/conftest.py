"""What unit tests share."""

import signal

import pytest
import schemas
from stores import store_at

from jobs import output, settings


@pytest.fixture(autouse=True, scope="session")
def results_are_as_their_schemas_say():
    """Whatever a verb prints as its result in this process, of success and of failure, is checked."""
    line = output._line

    def checked(result):
        schemas.check(settings.session.verb, result)
        return line(result)

    output._line = checked
    yield
    output._line = line


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
