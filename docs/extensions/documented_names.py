"""References in docstrings: to what the reference documents they are links, and to what is ours but internal, text.

A docstring names things as the code does: ``faultset_ray.model.Fleet.of``, or a class by its bare name. The reference
documents them as users import them: ``faultset_ray.Fleet.of``. What a role names and nobody has is left to Sphinx,
which refuses it.
"""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Any

from docutils.nodes import Element, TextElement, literal  # what a role makes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

OURS = ("faultset_ray", "actors", "jobs")


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, inner: TextElement) -> Element | None:
    """Where a reference that Sphinx did not find leads; None if nowhere."""
    if node["refdomain"] != "py":
        return None
    target, module = node["reftarget"].strip(), node.get("py:module")
    if documented := find(env, target):
        name, entry = documented
        return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, [inner], name)
    if is_there(target, module) or (not isinstance(inner, literal) and not target.startswith(OURS)):
        return inner  # an internal name that there is, or another library's; words that describe a type
    return None


def find(env: BuildEnvironment, target: str) -> tuple[str, Any] | None:
    """The one documented object that ends with the target's own name, with that of its class if it has one."""
    objects = env.domains.python_domain.objects
    parts = target.split(".")
    for ending in {".".join(parts[-count:]): None for count in (2, 1) if len(parts) >= count}:
        names = [name for name in objects if name == ending or name.endswith(f".{ending}")]
        tops = [name for name in names if not objects[name].aliased]
        if len(tops) == 1:
            return tops[0], objects[tops[0]]
    return None


def is_there(target: str, module: str | None) -> bool:
    """Whether there is something of this name, in its module or anywhere."""
    return exists(target) or (module is not None and exists(f"{module}.{target}"))


def exists(name: str) -> bool:
    """Whether a dotted name can be imported."""
    try:
        resolve_name(name)
    except (ImportError, AttributeError, ValueError):  # the last of what is no name at all
        return False
    return True
