"""Jobs through Ray's Jobs API: submitted, followed to their end through broken connections, and stopped."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import aiohttp
import requests
from ray.dashboard.utils import ray_address_to_api_server_url
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

from actors.attach import authenticate, bootstrap_address, probe
from faultset_ray.config import Security
from faultset_ray.errors import AuthError, ClusterUnreachable, InputError
from faultset_ray.errors.base import without_login

R = TypeVar("R")

API_SERVER: Final = "RAY_API_SERVER_ADDRESS"
ENDED: Final = frozenset({"SUCCEEDED", "FAILED", "STOPPED"})
_CHATTY = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)
"""Loggers of Ray that would tell of every package that goes up, in the middle of a job's output."""
_AGAIN_SECONDS = 0.25
_STOP_SECONDS = 15.0
_PATIENCE_SECONDS = 60.0
"""For so long a job's cluster may be out of reach before it is given up."""


@dataclass(frozen=True, slots=True)
class Job:
    """How a job fares, as its cluster tells."""

    submission_id: str
    status: str
    """``PENDING``, ``RUNNING``, ``SUCCEEDED``, ``FAILED`` or ``STOPPED``."""
    exit_code: int | None
    """Of its command, negative where a signal ended it; None while it runs, and where it never came to an end."""
    message: str
    """Ray's, on how it ended."""
    error_type: str | None
    """Ray's name for what went wrong."""

    @property
    def ended(self) -> bool:
        """Whether nothing more comes."""
        return self.status in ENDED


class Jobs:
    """The Jobs API of one cluster.

    Parameters
    ----------
    address
        Of its dashboard, ``http://HOST:8265``; or of its control service, HOST:PORT or ``"auto"``, which knows the
        dashboard's.
    security
        What it says becomes Ray's own variables in this process first.

    Raises
    ------
    AuthError
        The cluster refuses our token.
    ClusterUnreachable
        Nothing answers there, or the cluster has no dashboard.
    """

    def __init__(self, address: str, security: Security | None = None) -> None:
        authenticate(security)
        for name in _CHATTY:
            logging.getLogger(name).setLevel(logging.WARNING)
        dashboard = address if address.startswith(("http://", "https://")) else _dashboard_of(address)
        self.address = without_login(dashboard)
        """Of the dashboard."""
        with _named(self.address):
            self._client = self._told("the dashboard", partial(JobSubmissionClient, dashboard))

    def submit(self, entrypoint: str, runtime_env: Mapping[str, Any], submission_id: str | None = None) -> str:
        """Begin a job; returns its id.

        Raises
        ------
        InputError
            What it is to run in can't be used, or there is such a job already.
        AuthError, ClusterUnreachable
        """
        job = partial(self._client.submit_job, entrypoint=entrypoint, submission_id=submission_id)
        return str(self._told("the job was not taken", partial(job, runtime_env=dict(runtime_env))))

    def look(self, submission_id: str) -> Job:
        """How a job fares.

        Raises
        ------
        InputError
            There is none of that id.
        AuthError, ClusterUnreachable
        """
        found = self._told(f"job {submission_id!r}", partial(self._client.get_job_info, submission_id))
        return Job(
            submission_id, found.status.value, found.driver_exit_code, found.message or "", found.error_type or None
        )

    def stop(self, submission_id: str) -> Job:
        """End a job: its processes get SIGTERM, and SIGKILL some seconds later. How it fares then, or 15 s later.

        Raises
        ------
        AuthError, ClusterUnreachable
        """
        self._told(f"job {submission_id!r} was not stopped", partial(self._client.stop_job, submission_id))
        ends_s = time.monotonic() + _STOP_SECONDS
        while not (job := self.look(submission_id)).ended and time.monotonic() < ends_s:
            time.sleep(_AGAIN_SECONDS)
        return job

    async def follow(self, submission_id: str) -> AsyncIterator[str]:
        """What a job writes, as it comes, each character once; ends when the job has.

        A connection that breaks is made again, and goes on where the one before stood.

        Raises
        ------
        ClusterUnreachable
            The cluster was out of reach for a minute.
        InputError, AuthError
        """
        told, lost_s = 0, None
        loop = asyncio.get_running_loop()
        while True:
            skip = told
            try:
                async for text in self._client.tail_job_logs(submission_id):
                    lost_s = None
                    fresh, skip = text[skip:], max(0, skip - len(text))
                    told += len(fresh)
                    if fresh:
                        yield fresh
            except (RuntimeError, aiohttp.ClientError, OSError):
                pass  # whether that was the job's end is asked for below
            try:
                if (await asyncio.to_thread(self.look, submission_id)).ended:
                    break
                lost_s = None
            except ClusterUnreachable:
                lost_s = loop.time() if lost_s is None else lost_s
                if loop.time() - lost_s > _PATIENCE_SECONDS:
                    raise
            await asyncio.sleep(_AGAIN_SECONDS)
        whole = await asyncio.to_thread(self._logs, submission_id)
        if len(whole) > told:
            yield whole[told:]

    # -- Inside

    def _logs(self, submission_id: str) -> str:
        """All that a job wrote; nothing where it has no log: it never began, or its machine is gone."""
        try:
            return str(self._told("the log", partial(self._client.get_job_logs, submission_id)))
        except (InputError, ClusterUnreachable):
            return ""

    def _told(self, what: str, ask: Callable[[], R]) -> R:
        """Ask the dashboard; what Ray's client raises, as ours, with what it is about."""
        try:
            return ask()
        except AuthenticationError as error:
            raise AuthError(self.address, _short(error)) from error
        except (ConnectionError, requests.exceptions.RequestException) as error:
            raise ClusterUnreachable(self.address, _short(error)) from error
        except (RuntimeError, ValueError, TypeError) as error:
            raise InputError(f"{what}: {_short(error)}") from error


def _dashboard_of(address: str) -> str:
    bootstrap = bootstrap_address(address)
    probe(bootstrap)
    try:
        return str(ray_address_to_api_server_url(bootstrap))
    except (ValueError, ConnectionError, RuntimeError) as error:
        raise ClusterUnreachable(
            bootstrap, "it tells of no dashboard, which is what takes jobs: start its head with the dashboard"
        ) from error


@contextmanager
def _named(address: str) -> Iterator[None]:
    """Within the block, name a dashboard in the variable that counts more with Ray's client than its argument."""
    before = os.environ.get(API_SERVER)
    os.environ[API_SERVER] = address
    try:
        yield
    finally:
        del os.environ[API_SERVER]
        if before is not None:
            os.environ[API_SERVER] = before


def _short(error: Exception) -> str:
    """The last line of an error, which is what was wrong; what came before is of another process."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" .")]
    return lines[-1][:1000] if lines else type(error).__name__
