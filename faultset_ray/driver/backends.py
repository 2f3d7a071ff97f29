"""Backends by name, loaded when one is wanted: the one place where the core reaches for Ray's side."""

from __future__ import annotations

from importlib import import_module
from typing import Final, cast

from faultset_ray.backend.local import LocalBackend
from faultset_ray.backend.protocol import Backend
from faultset_ray.config import Config
from faultset_ray.errors import InputError
from faultset_ray.errors.base import shown

_RAY: Final = "actors.backend:RayBackend"


def load(backend: str | Backend, namespace: str, *, lasting: bool, address: str | None, config: Config) -> Backend:
    """Make the backend that ``connect`` was asked for; blocks while Ray connects.

    Parameters
    ----------
    backend
        ``"ray"``, ``"local"``, or a backend that exists and is used as it is.
    namespace
        Keeps the servants of one system apart from those of others.
    lasting
        Whether servants outlive the driver.
    address
        Of the Ray cluster.
    config
        What else it says of clusters, and of the processes that are started on them.

    Raises
    ------
    InputError
        No such backend, or one that can't do what was asked.
    AuthError, ClusterUnreachable
        From attaching to Ray.
    """
    if not isinstance(backend, str):
        if not hasattr(backend, "spawn"):
            raise InputError(f'backend is {shown(backend)}; expected "ray", "local" or a backend object')
        return backend
    if backend == "ray":
        module, name = _RAY.split(":")
        return cast(
            "Backend", getattr(import_module(module), name)(namespace, lasting=lasting, address=address, config=config)
        )
    if backend == "local":
        if lasting:
            raise InputError('a named system outlives its drivers; backend="local" lives in this process')
        if address is not None:
            raise InputError(f'backend="local" has no address, and was given {address}')
        return LocalBackend(cpus=config.cluster.threads)
    raise InputError(f'backend is {shown(backend)}; expected "ray" or "local"')
