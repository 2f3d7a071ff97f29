"""What runs inside the proxy of Ray Serve: the outer half of the credit that bounds its memory.

Serve calls :func:`middlewares` in each proxy that was started with ``RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`` set to
:data:`IMPORT_PATH`.
"""

from __future__ import annotations

from typing import Final

from starlette.middleware import Middleware

from faultset_ray.http.pacing import Outer

VARIABLE: Final = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
IMPORT_PATH: Final = "actors.proxying:middlewares"


def middlewares() -> list[Middleware]:
    """What stands around the proxy's own application."""
    return [Middleware(Outer)]
