"""The HTTP API on Ray Serve: a deployment whose replicas hold a driver each."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import ray
from ray import serve
from ray.serve import Application
from ray.serve.schema import ApplicationStatus

from actors import ship
from actors.attendant import without_secrets
from actors.faults import serve_faults, what_was_raised
from actors.proxying import IMPORT_PATH, VARIABLE
from faultset_ray.config import Config, Http
from faultset_ray.driver.asynchronous import AsyncDriver, connect_async
from faultset_ray.errors import InputError, InvalidConfig, NotServed
from faultset_ray.http.app import build
from faultset_ray.http.pacing import Inner

NAME: Final = "faultset"
_SPARE: Final = 64
"""Requests that reach a replica beyond its own bound, so that it is it who says so."""
_CPUS: Final = 0.1
_LOOK_SECONDS: Final = 0.1
_PROXY_READY: Final = "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S"
_PROXY_READY_SECONDS: Final = "60"
"""As long as Serve waits for its proxies. By default it kills one after 5 s, which a start takes on a busy machine, and
has not started then."""
_HA_PROXY: Final = "RAY_SERVE_ENABLE_HA_PROXY"


def application(config: Config, system: str, *, create: bool = False, state_dir: str | None = None) -> Application:
    """The Serve application: the API of one system.

    Parameters
    ----------
    config
        Its ``http`` is what the API goes by; all else, what the replicas' drivers do, but the cluster is the one that
        they run on, and Ray's token stays here. The file of tokens is read on the machines of the replicas.
    system
        The system's name.
    create
        Make it if there is none; by default that is an error of the replica.
    state_dir
        As for :func:`~faultset_ray.driver.asynchronous.connect_async`.

    Raises
    ------
    InvalidConfig
        It would be reached from other machines without tokens.
    """
    http = config.http
    http.check_guarded()
    if http.tokens is None and os.environ.get(_HA_PROXY) == "1":
        reason = f"must be set, as {_HA_PROXY} makes Serve listen on all addresses"
        raise InvalidConfig("", "http.tokens", reason)

    deployment = serve.deployment(
        serve.ingress(None)(_Ingress),
        name=NAME,
        num_replicas=http.replicas,
        max_ongoing_requests=http.requests_max + http.watches_max + _SPARE,
        max_queued_requests=_SPARE,
        ray_actor_options={"num_cpus": _CPUS},
    )
    bound: Application = deployment.bind(without_secrets(config), system, create=create, state_dir=state_dir)
    return bound


class _Ingress:
    """A replica."""

    def __init__(self, config: Config, system: str, *, create: bool, state_dir: str | None) -> None:
        self._config = config
        self._system: dict[str, Any] = {"system": system, "create": create, "state_dir": state_dir}

    async def __serve_build_asgi_app__(self) -> Inner:
        """What answers, with its driver: Serve calls it, and tells what it raises, as it does not of a lifespan."""

        @asynccontextmanager
        async def lent() -> AsyncGenerator[AsyncDriver, None]:
            async with driver:
                yield driver

        app = build(lent, self._config.http, _now_ms)  # before there is a driver that would have to be closed
        driver = await connect_async(**self._system, config=self._config)
        return Inner(app)


def _now_ms() -> int:
    return int(1000 * time.time())


def listen(config: Http, *, replace: bool = False) -> bool:
    """Have Serve listen where the settings say; False if it did already.

    Parameters
    ----------
    replace
        Whether an application of ours that Serve has already may be replaced.

    Raises
    ------
    InputError
        Serve runs already, at another address or with an application of ours; it stays as it is.
    NotServed
        It did not start, as where another process has the port; nothing is left of it.
    """
    at = _address(config)
    with serve_faults(at):
        found = _client()
        if found is None:
            try:
                serve.start(proxy_location="HeadOnly", http_options={"host": config.host, "port": config.port})
            except BaseException:
                serve.shutdown()
                raise
            return True
    options = found.http_config
    if (options.host, options.port) != (config.host, config.port):
        raise InputError(
            f"Serve listens on {options.host}:{options.port} already, not on {at}: name that address, or shut it down"
        )
    if not replace and _serves(at):
        raise InputError(
            f"Serve has an application {NAME!r} on {at} already: end the process that serves it, or, if that is gone, "
            "say --replace"
        )
    return False


def run(app: Application, ended: threading.Event | None = None) -> bool:
    """Bring the application up on Serve, which listens; True once it answers.

    Parameters
    ----------
    ended
        Set to give up; then False. How far it came by then is for :func:`stop` to end.

    Raises
    ------
    NotServed
        It does not come up; with what its replica says.
    """
    ended = threading.Event() if ended is None else ended
    options = _client().http_config
    with serve_faults(f"{options.host}:{options.port}"):
        target = serve.RunTarget(app, name=NAME, route_prefix="/")
        serve.run_many([target], wait_for_applications_running=False)
        while not ended.is_set():
            found = serve.status().applications[NAME]
            if found.status == ApplicationStatus.RUNNING:
                _client().wait_for_proxies_serving()
                return True
            if found.status == ApplicationStatus.DEPLOY_FAILED:
                told = [what_was_raised(each.message) for each in found.deployments.values() if each.message]
                raise NotServed(f"{options.host}:{options.port}", told[0] if told else found.message)
            ended.wait(_LOOK_SECONDS)
    return False


def stop(config: Http, *, whole: bool) -> None:
    """Take the application down; with ``whole`` Serve too, unless it serves others by now.

    Raises
    ------
    NotServed
        Serve can't be reached any more.
    """
    with serve_faults(_address(config)):
        if whole and set(serve.status().applications) <= {NAME}:
            serve.shutdown()
        else:
            serve.delete(NAME)


def detach() -> None:
    """Leave the cluster; it ends if this process started it."""
    ray.shutdown()


def _serves(at: str) -> bool:
    """Whether Serve has an application of ours that is not about to end."""
    with serve_faults(at):
        found = serve.status().applications.get(NAME)
    return found is not None and found.status in {
        ApplicationStatus.DEPLOYING,
        ApplicationStatus.RUNNING,
        ApplicationStatus.UNHEALTHY,
    }


def _client() -> Any:
    """Serve's own client, if Serve runs: no public way tells where it listens."""
    return serve.context._get_global_client(raise_if_no_controller_running=False)  # noqa: SLF001


def _address(config: Http) -> str:
    return f"{config.host}:{config.port}"


def job_environment() -> dict[str, Any]:
    """The runtime environment of a job that starts Serve: its proxies need our code, to be told of it, and time."""
    shared = {"env_vars": {VARIABLE: IMPORT_PATH, _PROXY_READY: os.environ.get(_PROXY_READY, _PROXY_READY_SECONDS)}}
    return shared if ship.shipped_with_job() else {**shared, **ship.modules()}
