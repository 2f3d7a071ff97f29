"""Joining a Ray cluster, or starting one on this machine; failures are explained at once."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import grpc
import ray
from ray._private.services import canonicalize_bootstrap_address
from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined] # compiled, without stubs

from actors.exposure import ask, uses_tls
from faultset_ray.config import Security
from faultset_ray.config.loading import CONFIG
from faultset_ray.errors import AuthError, ClusterUnreachable, InputError
from faultset_ray.telemetry import events

_QUIET: dict[str, Any] = {"logging_level": logging.WARNING, "log_to_driver": False}
"""Our own log says what matters; the workers' lines would land in the middle of a job's output."""
_HERE: Final = "local"
IDLE_WORKERS: Mapping[str, int] = {"idle_worker_killing_time_threshold_ms": 600_000}
"""Of Ray's system configuration: a worker waits for the next task for so long. By default it is ended after a second
where a node has as many actors as CPUs, and the next coding task waits for seconds until another has started."""


def attach(
    address: str | None = None,
    runtime_env: Mapping[str, Any] | None = None,
    *,
    security: Security | None = None,
) -> bool:
    """Connect this process to Ray; True when this call started a cluster of its own.

    ``runtime_env`` is for all that this process starts there; it counts only where this call makes the connection.

    In order: a connection that exists already; ``address``; ``RAY_ADDRESS`` (which a submitted job
    has); else a new cluster on this machine. What ``security`` says becomes Ray's own variables in this process first.

    Raises
    ------
    AuthError
        The cluster refuses our token.
    ClusterUnreachable
        Nothing answers there; or Ray does not start on this machine, as on a very busy one.
    InputError
        This process is connected to another cluster than ``address``.
    """
    target = _target(address)
    bootstrap = None if target == _HERE else bootstrap_address(target)
    if ray.is_initialized():
        connected = ray.get_runtime_context().gcs_address
        if address is not None and bootstrap != connected:
            raise InputError(f"this process is connected to Ray at {connected}; it can't also use {address}")
        return False
    authenticate(security)
    options = {**_QUIET, "runtime_env": dict(runtime_env)} if runtime_env else _QUIET
    if bootstrap is None:
        name_file_for_workers()
        try:
            _init(address="local", include_dashboard=False, _system_config=dict(IDLE_WORKERS), **options)
        except Exception as error:  # Ray raises nothing more precise
            raise ClusterUnreachable("this machine", f"Ray did not start: {error}") from error
        return True
    probe(bootstrap)
    try:
        _init(address=bootstrap, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterUnreachable(bootstrap, str(error).strip().splitlines()[0]) from error
    return False


def _init(**options: Any) -> None:
    """Have Ray connect in the main thread, else in a thread that ends.

    What the thread that connected puts into the object store is numbered as the job's own, by its own count, also when
    another one connects later, to another cluster: Ray aborts the process when two threads give out one number.
    """
    if threading.current_thread() is threading.main_thread():
        ray.init(**options)
        return
    with ThreadPoolExecutor(1, "attach") as own:
        own.submit(ray.init, **options).result()


def starts_one(address: str | None = None) -> bool:
    """Whether :func:`attach` would start a cluster on this machine."""
    return _target(address) == _HERE and not ray.is_initialized()


def _target(address: str | None) -> str:
    return address or os.environ.get("RAY_ADDRESS") or _HERE


def name_file_for_workers() -> None:
    """Have ``FAULTSET_CONFIG`` name the same file in processes with other working directories, which inherit it."""
    if os.environ.get(CONFIG):
        os.environ[CONFIG] = str(Path(os.environ[CONFIG]).absolute())


def authenticate(security: Security | None) -> None:
    """Have Ray go by what a config says of its tokens, and by its variables as they are now. Not while connected."""
    if security is not None:
        os.environ.update(_variables(security))
    reread_environment()


def _variables(security: Security) -> dict[str, str]:
    """What Ray is to go by; a token's file counts only where no token itself is set."""
    given = {
        "RAY_AUTH_MODE": security.ray_auth_mode,
        "RAY_AUTH_TOKEN_PATH": security.ray_token_path,
        "RAY_AUTH_TOKEN": security.ray_token,
    }
    return {name: value for name, value in given.items() if value is not None}


def reread_environment() -> None:
    """Make Ray look at ``RAY_*`` variables and the token again; it keeps what it saw first. Not while connected."""
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def bootstrap_address(target: str) -> str:
    """HOST:PORT of the control service that an address, or ``"auto"``, means.

    Raises
    ------
    ClusterUnreachable
        None is found on this machine.
    InputError
        It is an address of Ray Client.
    """
    if target.startswith("ray://"):
        raise InputError(
            f"{target} is a Ray Client address, which has no zero-copy arrays; run the driver on a node of the "
            "cluster, submit it as a job, or give the address of the head node (HOST:6379)"
        )
    try:
        found = canonicalize_bootstrap_address(target)
    except (ValueError, ConnectionError) as error:
        raise ClusterUnreachable(target, str(error)) from error
    if found is None:
        raise ClusterUnreachable(target, "no running Ray cluster was found on this machine")
    return str(found)


def probe(bootstrap: str) -> None:
    """Ask the cluster's control service for its id, with the token this process would use.

    Ray itself takes some 20 s to give up and then says only that it could not connect.
    """
    if uses_tls():
        return  # the certificates are Ray's to handle
    mode, token = auth_mode(), own_token()
    status = ask(bootstrap, token)
    if status in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        raise AuthError(bootstrap, _auth_reason(mode, token))
    if status in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        raise ClusterUnreachable(bootstrap, "nothing listens there, or a firewall is in between")
    if status is not grpc.StatusCode.OK:
        events.RAY_ANSWERED_ODDLY.tell(what=bootstrap, status=str(status))  # another protocol version: let Ray speak


def _auth_reason(mode: str, token: str | None) -> str:
    if mode != "token":
        return f"it asks for a token, and RAY_AUTH_MODE is {mode or 'not set'} here"
    if token is None:
        return "it asks for a token, and none was found (RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH, ~/.ray/auth_token)"
    return "it does not accept the token found here"


def auth_mode() -> str:
    """How this process would show Ray who it is, as ``RAY_AUTH_MODE`` says; empty where it is not set."""
    return os.environ.get("RAY_AUTH_MODE", "").lower()


def token_path() -> Path | None:
    """The file that Ray's token is read from; None where the token itself is in the environment."""
    if os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return None
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")


def own_token() -> str | None:
    """The token that Ray's own client would send; None where there is none, or it sends none."""
    if auth_mode() != "token":
        return None
    path = token_path()
    if path is None:
        return os.environ["RAY_AUTH_TOKEN"].strip()
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None
