"""Ray's exceptions made ours, in one place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import dropwhile
from typing import Final

from ray import exceptions as ray_errors

from faultset_ray.errors import CallTimeout, FaultsetError, NotServed, PlaceUnreachable, RemoteFailure

_COLOUR: Final = re.compile(r"\x1b\[[\d;]*m")
_FRAME: Final = re.compile(r'\s+File "')
_GONE = (
    ray_errors.RayActorError,
    ray_errors.ActorUnschedulableError,
    ray_errors.TaskUnschedulableError,
    ray_errors.WorkerCrashedError,
    ray_errors.NodeDiedError,
    ray_errors.OwnerDiedError,
    ray_errors.ObjectLostError,
    ray_errors.TaskCancelledError,
    ray_errors.LocalRayletDiedError,
    ray_errors.OutOfMemoryError,
)


def _translate(target: str, error: ray_errors.RayError) -> FaultsetError:
    if isinstance(error, ray_errors.RayTaskError):
        cause = error.cause
        if isinstance(cause, FaultsetError):
            return cause
        return RemoteFailure(target, f"{type(cause).__name__}: {cause}")
    if isinstance(error, ray_errors.GetTimeoutError):
        return CallTimeout(target, "get", 0.0)
    if isinstance(error, _GONE):
        return PlaceUnreachable(target, _first_line(error))
    if isinstance(error, ray_errors.RuntimeEnvSetupError):
        return RemoteFailure(target, f"its runtime environment could not be set up: {_first_line(error)}")
    return RemoteFailure(target, f"{type(error).__name__}: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


@contextmanager
def ray_faults(target: str) -> Iterator[None]:
    """Raise what Ray raises inside the block as the error of :mod:`faultset_ray.errors` that it means.

    An error that one of our own servants or tasks raised comes back as itself; where its actor could
    not be constructed, the constructor's error does.
    """
    try:
        yield
    except ray_errors.RayError as error:
        translated = _translate(target, error)
        if isinstance(translated, PlaceUnreachable) and isinstance(error, ray_errors.ActorDiedError):
            translated = _constructor_error(target, error) or translated
        raise translated from error
    except ValueError as error:
        if "Failed to look up actor" not in str(error):
            raise
        raise PlaceUnreachable(target, "there is no such servant, or its place is gone") from error


@contextmanager
def serve_faults(address: str) -> Iterator[None]:
    """Raise what Ray Serve raises inside the block, which has no types for it, as ``NotServed``."""
    from ray.serve.exceptions import RayServeException  # it may not be installed

    try:
        yield
    except FaultsetError:
        raise
    except (ray_errors.RayError, RayServeException, RuntimeError, TimeoutError) as error:
        raise NotServed(address, what_was_raised(str(error)) or type(error).__name__) from error


def what_was_raised(text: str) -> str:
    """What the last traceback in a text ends with, ``Class: what it says``; without one, all of it. On one line."""
    lines = _COLOUR.sub("", text).strip().split("\n")
    frames = [number for number, line in enumerate(lines) if _FRAME.match(line)]
    if not frames:
        return " ".join(text.split())
    raised = dropwhile(lambda line: line[:1].isspace(), lines[frames[-1] :])
    kind, _, said = " ".join(" ".join(raised).split()).partition(": ")
    return f"{kind.rpartition('.')[2]}: {said}" if said else kind


def _constructor_error(target: str, error: Exception) -> RemoteFailure | None:
    """What an actor's constructor raised, which Ray gives only as text."""
    text = str(error)
    if "creation task" not in text:
        return None
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return RemoteFailure(target, f"its constructor failed: {lines[-1]}")
