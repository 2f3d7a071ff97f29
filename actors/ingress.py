"""The HTTP API on Ray Serve: a deployment whose replicas hold a driver each."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI
from ray import serve
from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from actors import ship
from actors.attendant import without_secrets
from actors.proxying import IMPORT_PATH, VARIABLE
from faultset_ray.config import Config, Http
from faultset_ray.driver.asynchronous import AsyncDriver, connect_async
from faultset_ray.errors import InputError, InvalidConfig
from faultset_ray.http.app import build
from faultset_ray.http.pacing import Inner

NAME: Final = "faultset"
_SPARE: Final = 64
"""Requests that reach a replica beyond its own bound, so that it is it who says so."""
_CPUS: Final = 0.1
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

    here = without_secrets(config)

    def asgi() -> Any:
        return Inner(_made(here, system, create=create, state_dir=state_dir))

    deployment = serve.deployment(
        serve.ingress(asgi)(_Ingress),
        name=NAME,
        num_replicas=http.replicas,
        max_ongoing_requests=http.requests_max + http.watches_max + _SPARE,
        max_queued_requests=_SPARE,
        ray_actor_options={"num_cpus": _CPUS},
    )
    bound: Application = deployment.bind()
    return bound


class _Ingress:
    """A replica."""


def _made(config: Config, system: str, *, create: bool, state_dir: str | None) -> FastAPI:
    @asynccontextmanager
    async def connecting() -> AsyncGenerator[AsyncDriver, None]:
        async with await connect_async(system=system, create=create, state_dir=state_dir, config=config) as driver:
            yield driver

    return build(connecting, config.http, _now_ms)


def _now_ms() -> int:
    return int(1000 * time.time())


def run(app: Application, config: Http) -> DeploymentHandle[Any]:
    """Start Serve where the settings say, unless it runs already, and bring the application up.

    Raises
    ------
    InputError
        Serve runs already, at another address.
    """
    serve.start(proxy_location="HeadOnly", http_options={"host": config.host, "port": config.port})
    options = serve.context._get_global_client().http_config  # noqa: SLF001 - no public way tells where it listens
    if (options.host, options.port) != (config.host, config.port):
        raise InputError(
            f"Serve listens on {options.host}:{options.port} already, not on {config.host}:{config.port}: "
            "name that address, or shut it down"
        )
    handle: DeploymentHandle[Any] = serve.run(app, name=NAME, route_prefix="/")
    return handle


def stop(*, whole: bool) -> None:
    """Take the application down; with ``whole`` Serve too."""
    if whole:
        serve.shutdown()
    else:
        serve.delete(NAME)


def job_environment() -> dict[str, Any]:
    """The runtime environment of a job that starts Serve: its proxies need our code, and to be told of it."""
    shared = {"env_vars": {VARIABLE: IMPORT_PATH}}
    return shared if ship.shipped_with_job() else {**shared, **ship.modules()}
