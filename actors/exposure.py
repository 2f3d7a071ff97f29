"""Whether a Ray cluster runs the code of whoever reaches it: its control service is asked without a token."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable

import grpc

from faultset_ray.config.http import is_loopback
from faultset_ray.errors import OpenClusterWarning

PROBE_SECONDS = 5.0
_METHOD = "/ray.rpc.NodeInfoGcsService/GetClusterId"
_warned: set[str] = set()
"""Clusters that this process was warned of."""


def uses_tls() -> bool:
    """Whether Ray's own channels are encrypted, and both ends show certificates."""
    return os.environ.get("RAY_USE_TLS", "0") not in ("", "0")


def ask(bootstrap: str, token: str | None) -> grpc.StatusCode:
    """What the control service of a cluster says to one that asks for its id, with a token or without.

    Not to be asked where :func:`uses_tls`: the certificates are Ray's to handle.
    """
    metadata = [("authorization", f"Bearer {token}")] if token else []
    with grpc.insecure_channel(bootstrap) as channel:
        try:
            channel.unary_unary(_METHOD)(b"", timeout=PROBE_SECONDS, metadata=metadata)
        except grpc.RpcError as error:
            return error.code()
    return grpc.StatusCode.OK


def reachable(bootstrap: str, hosts: Iterable[str]) -> list[str]:
    """Those of a cluster's hosts, its control service's among them, that other machines may reach; sorted."""
    return sorted({host for host in (bootstrap.rpartition(":")[0], *hosts) if host and not is_loopback(host)})


def is_open(bootstrap: str) -> bool:
    """Whether the cluster lets in who shows no token. One that can't be asked, or speaks TLS, is not called open."""
    return not uses_tls() and ask(bootstrap, None) is grpc.StatusCode.OK


def warn_if_open(bootstrap: str, hosts: Iterable[str]) -> None:
    """Warn, once in a process, of a cluster that other machines reach and that asks nobody for a token.

    Parameters
    ----------
    bootstrap
        HOST:PORT of its control service.
    hosts
        The addresses of its nodes.

    Warns
    -----
    OpenClusterWarning
    """
    exposed = reachable(bootstrap, hosts)
    if bootstrap in _warned or not exposed or not is_open(bootstrap):
        return
    _warned.add(bootstrap)
    warnings.warn(OpenClusterWarning(bootstrap, exposed), stacklevel=2)
