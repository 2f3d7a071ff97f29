"""What is wrong, but ends nothing: warnings, of classes that a filter can name."""

from __future__ import annotations

from collections.abc import Iterable

from faultset_ray.errors.base import listed


class OpenClusterWarning(UserWarning):
    """Given when a Ray cluster that other machines reach asks nobody for a token; once in a process."""

    code = "open_cluster"

    def __init__(self, address: str, hosts: Iterable[str]) -> None:
        hosts = list(hosts)
        super().__init__(address, hosts)
        self.address = address
        """Of its control service."""
        self.hosts = hosts
        """Its addresses that are not loopback."""

    def __str__(self) -> str:
        return (
            f"the Ray cluster at {self.address} asks nobody for a token: whoever reaches {listed(self.hosts)} can run "
            "code on it; start it with RAY_AUTH_MODE=token (docs/security.md)"
        )
