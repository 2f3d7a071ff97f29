"""Whether what is installed is what was released: each file of the distribution against its recorded hash."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

_NAME = "faultset-ray"


@dataclass(frozen=True, slots=True)
class Installed:
    """The distribution of this project in an interpreter."""

    version: str | None
    """None where it is not installed: run from a clone, or brought by a driver."""
    editable: bool = False
    files: int = 0
    """Files with a hash in its record."""
    changed: tuple[str, ...] = ()
    """Those whose bytes are not what was recorded."""
    missing: tuple[str, ...] = ()
    elsewhere: str = ""
    """Where this process has the code from, if not from there."""


def installed(found: Distribution | None = None) -> Installed:
    """Look at the distribution, by default the one that this interpreter has."""
    try:
        found = found or distribution(_NAME)
    except PackageNotFoundError:
        return Installed(None)
    if _is_editable(found):
        return Installed(found.version, editable=True)
    files, changed, missing, ours = 0, [], [], None
    for file in found.files or ():
        path = Path(str(found.locate_file(file)))
        if file.name == "findings.py" and file.parent.name == __name__.split(".")[-2]:
            ours = path.parent
        if file.hash is None:
            continue  # the record itself
        files += 1
        try:
            digest = hashlib.new(file.hash.mode, path.read_bytes()).digest()
        except FileNotFoundError:
            missing.append(str(file))
            continue
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != file.hash.value:
            changed.append(str(file))
    here = Path(__file__).resolve().parent
    elsewhere = str(here.parent) if ours is None or ours.resolve() != here else ""
    return Installed(found.version, False, files, tuple(changed), tuple(missing), elsewhere)


def _is_editable(found: Distribution) -> bool:
    text = found.read_text("direct_url.json")
    return bool(text and json.loads(text).get("dir_info", {}).get("editable"))
