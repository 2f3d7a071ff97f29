"""The HTTP API of a system: ``python -m jobs.serve``, ``faultset serve``; for RayService, ``jobs.serve:app``."""

from __future__ import annotations

import signal
import threading
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from faultset_ray.errors import InputError
from faultset_ray.http.config import LOOPBACK, HttpConfig
from jobs.connecting import Address, SystemName
from jobs.output import Json, finish, run
from jobs.output import app as single
from jobs.settings import session
from jobs.terminal import console

if TYPE_CHECKING:
    from ray.serve import Application

_OURS = ("system", "create", "replicas", "state_dir")


def serve(
    host: Annotated[
        str, typer.Option(help="The address to listen on; others than loopback need --tokens.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
    tokens: Annotated[
        Path | None, typer.Option(envvar="FAULTSET_TOKENS", help="The file of tokens, as `faultset token` writes it.")
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option("--host-name", help="A name that requests may call it by; may be repeated.")
    ] = None,
    replicas: Annotated[int, typer.Option(min=1, help="Processes that answer; each has the limits to itself.")] = 1,
    system: SystemName = "default",
    address: Address = None,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Serve a system over HTTP, on Ray Serve, until Ctrl-C or SIGTERM. Makes the system if there is none."""
    path = None if tokens is None else str(tokens.resolve())
    config = HttpConfig(host=host, port=port, tokens=path, hosts=tuple(name or LOOPBACK))
    from actors.attach import attach

    ingress = _ingress()
    by = session.config
    started = attach(address or by.cluster.address, runtime_env=ingress.job_environment(), security=by.security)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ingress.run(ingress.application(config, system, create=True, replicas=replicas, settings=by), config)
    try:
        console.print(f"http://{host}:{port}/v1/openapi.json answers for system {system}; Ctrl-C ends it")
        ended.wait()
    finally:
        ingress.stop(whole=started)
    finish({"system": system, "host": host, "port": port})


def app(args: dict[str, Any]) -> Application:
    """Build the application for Serve's own configuration, as a RayService has it.

    Parameters
    ----------
    args
        ``system``, ``create``, ``replicas``, ``state_dir``, and the fields of
        :class:`~faultset_ray.http.config.HttpConfig` but ``host`` and ``port``, which are Serve's here. It is taken to
        be reached from other machines, so ``tokens`` must be there.

    What they leave open, and all else, is as the configuration of the process that builds it says: its environment, and
    the file that ``FAULTSET_CONFIG`` names in it.

    Raises
    ------
    InputError
        A name or a value can't be used, or there are no tokens.
    """
    from faultset_ray.config import Config

    known = [field.name for field in fields(HttpConfig) if field.name not in {"host", "port"}]
    unknown = [key for key in args if key not in {*known, *_OURS}]
    if unknown:
        raise InputError(f"jobs.serve:app takes no {unknown[0]!r}; it takes {', '.join([*_OURS, *known])}")
    settings: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in args.items() if key in known
    }
    config = HttpConfig(host="0.0.0.0", **settings)  # noqa: S104 - where Serve listens is not known here
    by = Config.load()
    options = {"system": by.cluster.system or "default", **{k: args[k] for k in _OURS if k in args}}
    made: Application = _ingress().application(config, settings=by, **options)
    return made


def _ingress() -> ModuleType:
    """What hosts the API on Ray Serve.

    Raises
    ------
    InputError
        Ray Serve is not installed.
    """
    try:
        from actors import ingress
    except ImportError as error:
        raise InputError(f"this needs Ray Serve ({error}): pip install 'faultset-ray[serve]'") from None
    return ingress


if __name__ == "__main__":
    run(single(serve))
