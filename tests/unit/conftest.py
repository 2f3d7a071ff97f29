"""What unit tests share."""

import signal

import pytest


@pytest.fixture
def interruptible():
    """Take interrupts, here and in child processes: a shell's background jobs start with them ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
