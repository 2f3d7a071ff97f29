"""What ``connect`` was asked for: its arguments, and what its config says where they say nothing."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import Self

from faultset_ray.backend.protocol import Backend
from faultset_ray.config import Config
from faultset_ray.config.process import apply
from faultset_ray.driver.system_names import system_name
from faultset_ray.driver.systems import check_region_actors, keeps_state, open_backend
from faultset_ray.errors import InputError
from faultset_ray.errors.base import shown


@dataclass(frozen=True, slots=True)
class Opening:
    """A connection to be made: checked, and nothing begun but that this process goes by its config."""

    system: str
    backend: str | Backend
    address: str | None
    region_actors: int | None
    durable: bool
    config: Config

    @classmethod
    def of(
        cls,
        address: str | None,
        system: str | None,
        backend: str | Backend | None,
        region_actors: int | None,
        state_dir: str | PathLike[str] | None,
        config: Config | str | PathLike[str] | None,
    ) -> Self:
        """Check what ``connect`` was given.

        Raises
        ------
        InputError
        """
        given = _config(config)
        cluster = given.cluster
        check_region_actors(region_actors)
        if backend is None:
            backend = "ray" if cluster.backend == "auto" else cluster.backend
        if address is None and backend == "ray" and given.source("cluster.address").name != "RAY_ADDRESS":
            address = cluster.address  # that variable is Ray's: a process that is connected already stays where it is
        name = system_name(cluster.system if system is None else system)
        durable = keeps_state(backend, name, state_dir)
        if config is not None:
            apply(given)
        return cls(name, backend, address, region_actors or cluster.region_actors, durable, given)

    def open(self) -> Backend:
        """Make the backend; blocks while Ray connects."""
        return open_backend(self.backend, self.system, self.address, self.config)


def _config(given: Config | str | PathLike[str] | None) -> Config:
    if given is None:
        return Config()
    if isinstance(given, Config):
        return given
    if not isinstance(given, (str, PathLike)):
        raise InputError(f"config is {shown(given)}; expected a Config, or the path of a file")
    return Config.load(given)
