"""Whether a Ray cluster is there and lets us in, and who else it lets in: without connecting to it."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence

from actors.attach import auth_mode, authenticate, bootstrap_address, probe, token_path
from actors.exposure import is_open, reachable, uses_tls
from faultset_ray.checkup.findings import Finding, Level
from faultset_ray.config import Security
from faultset_ray.errors import AuthError, ClusterUnreachable


def reach(address: str, security: Security) -> tuple[str, Finding]:
    """HOST:PORT of a cluster's control service, and that it answers us.

    Raises
    ------
    AuthError, ClusterUnreachable, InputError
    """
    authenticate(security)
    bootstrap = bootstrap_address(address)
    probe(bootstrap)
    return bootstrap, Finding("ray", Level.OK, f"the cluster at {bootstrap} answers", numbers={"address": bootstrap})


def unreached(error: AuthError | ClusterUnreachable) -> Finding:
    """What it means that a cluster can't be reached."""
    if isinstance(error, AuthError):
        return Finding("ray", Level.FAILED, str(error), numbers=error.fields())
    remedy = "is its head up, is the address right (HOST:PORT of `ray start --head --port`), does a firewall let it by?"
    return Finding("ray", Level.FAILED, str(error), remedy=remedy, numbers=error.fields())


def judge_auth(bootstrap: str, hosts: Sequence[str]) -> Finding:
    """Who is let in."""
    exposed = reachable(bootstrap, hosts)
    numbers = {"hosts": exposed, "mode": auth_mode()}
    if uses_tls():
        return Finding("auth", Level.SKIPPED, "RAY_USE_TLS: both ends show certificates", numbers=numbers)
    if not is_open(bootstrap):
        return Finding("auth", Level.OK, "the cluster asks for a token", numbers=numbers)
    if exposed:
        told = f"the cluster asks nobody for a token: whoever reaches {', '.join(exposed)} can run code on it"
        return Finding("auth", Level.WARNING, told, remedy="start every node with RAY_AUTH_MODE=token", numbers=numbers)
    return Finding("auth", Level.OK, "the cluster asks for no token, and is on loopback alone", numbers=numbers)


def judge_token() -> Iterator[Finding]:
    """Whether others may read the token that this process would show; nothing where it shows none."""
    path = token_path() if auth_mode() == "token" else None
    if path is None:
        return
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        yield Finding("token", Level.WARNING, f"{path} is not there", remedy="copy the cluster's token there, mode 600")
        return
    if mode & 0o077:
        yield Finding(
            "token",
            Level.WARNING,
            f"{path} has mode {mode:04o}: others may read Ray's token",
            remedy=f"chmod 600 {path}",
        )
    else:
        yield Finding("token", Level.OK, f"{path}, mode {mode:04o}")
