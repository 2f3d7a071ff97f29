"""The HTTP API of a system: ``python -m jobs.serve``, ``faultset serve``; for RayService, ``jobs.serve:app``."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from faultset_ray.errors import InputError
from jobs.connecting import Address, SystemName, chosen_system
from jobs.output import Json, finish, run, working
from jobs.output import app as single
from jobs.settings import session
from jobs.terminal import console

if TYPE_CHECKING:
    from ray.serve import Application

_OURS = ("system", "create", "state_dir")


def serve(
    host: Annotated[
        str | None, typer.Option(help="The address to listen on; others than loopback need a file of tokens.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="The port to listen on.")] = None,
    tokens: Annotated[
        Path | None, typer.Option(help="The file of tokens, as `faultset token` writes it.", show_default=False)
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option("--host-name", help="A name that requests may call it by; may be repeated.")
    ] = None,
    replicas: Annotated[
        int | None, typer.Option(min=1, help="Processes that answer; each has the limits to itself.")
    ] = None,
    replace_served: Annotated[
        bool, typer.Option("--replace", help="Take the place of what an earlier `faultset serve` left on Ray Serve.")
    ] = False,
    system: SystemName = "default",
    address: Address = None,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Serve a system over HTTP, on Ray Serve, until Ctrl-C or SIGTERM. Makes the system if there is none.

    What is not given, and every limit, is as the section `http` of the config says.
    """
    by = session.config
    path = tokens or by.http.tokens
    given: dict[str, Any] = {
        "host": host,
        "port": port,
        "tokens": path and str(Path(path).absolute()),  # replicas stand in another directory
        "hosts": name or None,
        "replicas": replicas,
    }
    http = replace(by.http, **{key: value for key, value in given.items() if value is not None})
    http.check_guarded()
    system = chosen_system(system, by)
    from actors.attach import attach, starts_one

    cluster = address or by.cluster.address
    _check_tokens(http.tokens, must_be_here=starts_one(cluster))
    ingress = _ingress()
    made = ingress.application(replace(by, http=http), system, create=True)
    attach(cluster, runtime_env=ingress.job_environment(), security=by.security)
    served = False
    try:
        ended = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ended.set())
        with working(f"start Ray Serve on {http.host}:{http.port}"):
            started = ingress.listen(http, replace=replace_served)
        try:
            with working(f"bring up {system}"):
                served = ingress.run(made, ended)
            if served:
                told = f"http://{http.host}:{http.port}/v1/openapi.json answers for system {system}; Ctrl-C ends it"
                console.print(told, soft_wrap=True)
            ended.wait()
        finally:
            ingress.stop(http, whole=started)
    finally:
        ingress.detach()
    finish({"system": system, "host": http.host, "port": http.port, "served": served})


def app(args: dict[str, Any]) -> Application:
    """Build the application for Serve's own configuration, as a RayService has it.

    Parameters
    ----------
    args
        ``system``, ``create``, ``state_dir``, and the settings of the section ``http``
        (:class:`~faultset_ray.config.Http`) but ``host`` and ``port``, which are Serve's here. It is taken to be
        reached from other machines, so there must be ``tokens``.

    What they leave open, and all else, is as the configuration of the process that builds it says: its environment, and
    the file that ``FAULTSET_CONFIG`` names in it.

    Raises
    ------
    InputError
        A name or a value can't be used, or there are no tokens.
    """
    from faultset_ray.config import Config, Http

    known = [field.name for field in fields(Http) if field.name not in {"host", "port"}]
    unknown = [key for key in args if key not in {*known, *_OURS}]
    if unknown:
        raise InputError(f"jobs.serve:app takes no {unknown[0]!r}; it takes {', '.join([*_OURS, *known])}")
    by = Config.load()
    given = {key: args[key] for key in known if key in args}
    http = replace(by.http, host="0.0.0.0", **given)  # noqa: S104 - where Serve listens is not known here
    options = {"system": by.cluster.system or "default", **{key: args[key] for key in _OURS if key in args}}
    made: Application = _ingress().application(replace(by, http=http), **options)
    return made


def _check_tokens(path: str | None, *, must_be_here: bool) -> None:
    """Read the file of tokens as replicas will, if it is here: they may be on other machines, and so may it.

    Raises
    ------
    InputError
        It can't be used.
    """
    from faultset_ray.http.tokens import TokenFile

    if path is not None and (must_be_here or os.path.lexists(path)):
        TokenFile(path)


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
