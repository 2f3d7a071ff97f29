"""Bringing our code to workers that may not have it installed."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

from ray._private.runtime_env.py_modules import upload_py_modules_if_needed

import actors
import faultset_ray

_LOG = logging.getLogger(__name__)
_RUNTIME_RESOURCES = "runtime_resources"
"""Ray unpacks a job's ``working_dir`` and ``py_modules`` below a directory of this name."""


def shipped_with_job() -> bool:
    """Whether this process runs from a runtime environment that its workers share."""
    return _RUNTIME_RESOURCES in Path(faultset_ray.__file__).parts


def modules(*more: Path) -> dict[str, Any]:
    """The same as a job's runtime environment says it, before it is uploaded.

    Parameters
    ----------
    more
        Directories of further packages.
    """
    packages = [Path(str(package.__file__)).parent for package in (faultset_ray, actors)]
    return {"py_modules": [str(path) for path in (*packages, *more)], "excludes": ["__pycache__"]}


def runtime_env() -> dict[str, Any]:
    """A runtime environment that puts this very code before whatever the workers have installed.

    It is given to each actor and task, not to the job: that also works where the user had connected
    to Ray already. Uploads are keyed by content; the same code goes up once.
    """
    with tempfile.TemporaryDirectory(prefix="faultset-ship-") as scratch:
        shipped = upload_py_modules_if_needed(
            modules(),
            include_gitignore=True,
            scratch_dir=scratch,
            logger=_LOG,
        )
    return {"py_modules": shipped["py_modules"]}
