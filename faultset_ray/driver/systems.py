"""Where systems live: whether one keeps its state, and its backend."""

from __future__ import annotations

from os import PathLike

from faultset_ray.backend.protocol import Backend
from faultset_ray.columns import is_int
from faultset_ray.config import Config
from faultset_ray.coordinator.home import is_state_named
from faultset_ray.driver.backends import load
from faultset_ray.driver.system_names import is_private, namespace_of
from faultset_ray.errors import InputError
from faultset_ray.errors.base import shown


def check_region_actors(number: int | None) -> None:
    """Refuse what can't be a number of region actors."""
    if number is not None and (not is_int(number) or number < 1):
        raise InputError(f"region_actors is {shown(number)}; expected an integer of at least 1")


def keeps_state(backend: str | Backend, system: str, state_dir: str | PathLike[str] | None) -> bool:
    """Whether a system's coordinator keeps its state in a directory.

    A named one does where its backend outlasts this process. In this process, it does where a directory is named:
    else whoever tries something out would leave files in the user's own directory.

    Raises
    ------
    InputError
        A directory is given for a private system.
    """
    if state_dir is not None and (not isinstance(state_dir, (str, PathLike)) or "\0" in str(state_dir)):
        raise InputError(f"state_dir is {shown(state_dir)}; expected the path of a directory")
    if is_private(system):
        if state_dir is not None:
            raise InputError(f"state_dir is {shown(state_dir)}; a private system dies with its driver: name a system")
        return False
    lasting = backend == "ray" or getattr(backend, "lasting", False)  # what is no backend is refused when it is opened
    return lasting or is_state_named(state_dir)


def open_backend(backend: str | Backend, system: str, address: str | None, config: Config | None = None) -> Backend:
    """Make the backend of a system; blocks while Ray connects."""
    lasting = not is_private(system)
    if address is not None and not isinstance(address, str):
        raise InputError(f'address is {shown(address)}; expected HOST:PORT or "auto"')
    return load(backend, namespace_of(system), lasting=lasting, address=address, config=config or Config())
