"""What Ray says in text, made ours."""

import pytest

from actors.faults import serve_faults, what_was_raised
from faultset_ray.errors import InputError, NotServed

FRAMES = """The deployment failed to start 3 times in a row. See controller logs for details. Error:
\x1b[36mray::ServeReplica:faultset:faultset.initialize_and_get_metadata()\x1b[39m (pid=11, ip=127.0.0.1)
  File "/a/replica.py", line 1810, in ready
    raise e from None
               ^^^^^^^^^
  File "/b/app.py", line 7, in build
    tokens = TokenFile(path)
"""


@pytest.mark.parametrize(
    ("text", "raised"),
    [
        (FRAMES + "faultset_ray.errors.inputs.InputError: tokens: /t: no\n", "InputError: tokens: /t: no"),
        (FRAMES + "a.b.OddError: one\n  two\nthree: four", "OddError: one two three: four"),
        (FRAMES + "KeyError", "KeyError"),
        ("Traceback (most recent call last):\n" + FRAMES + "ValueError: 5", "ValueError: 5"),
        ("Deploying application failed: no place.", "Deploying application failed: no place."),
        ("The actor died.\n\tpid: 5\nIt was killed.", "The actor died. pid: 5 It was killed."),
        ("", ""),
    ],
)
def test_the_end_of_a_traceback(text, raised):
    assert what_was_raised(text) == raised


def test_what_serve_raises():
    for raised, reason in (
        (TimeoutError("late"), "late"),
        (RuntimeError(FRAMES + "b.E: x"), "E: x"),
        (TimeoutError(), "TimeoutError"),
    ):
        with pytest.raises(NotServed) as caught, serve_faults("h:1"):
            raise raised
        assert (caught.value.address, caught.value.reason) == ("h:1", reason)
    for own in (InputError("ours"), NotServed("h:2", "ours"), KeyError("a fault of ours")):
        with pytest.raises(type(own)) as passed, serve_faults("h:1"):
            raise own
        assert passed.value is own
