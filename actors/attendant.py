"""A driver that no process of a user's has to keep: it looks after a named system from the head node."""

from __future__ import annotations

from dataclasses import replace

from faultset_ray.backend.protocol import Servant
from faultset_ray.config import Config, Security
from faultset_ray.driver.sync import connect


class Attendant(Servant):
    """Connected to its system for as long as its process lives; it does what any connected driver does.

    Parameters
    ----------
    system
        Its name; it runs already.
    config
        What the background goes by; see :func:`without_secrets`.
    """

    def __init__(self, system: str, config: Config) -> None:
        self._driver = connect(system=system, create=False, config=config)
        self._driver.tend()

    def close(self) -> None:
        """Save what is new, and leave the lease to others."""
        self._driver.close()


def without_secrets(config: Config) -> Config:
    """What an attendant is given: it is on the cluster already, and what is sent there is no secret there."""
    return replace(config, cluster=replace(config.cluster, address=None, backend="ray"), security=Security())
