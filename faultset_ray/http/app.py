"""The application: its routes, what stands before them, and the driver behind."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException

from faultset_ray._version import __version__
from faultset_ray.config import Http
from faultset_ray.driver.asynchronous import AsyncDriver
from faultset_ray.driver.recent import Shared
from faultset_ray.errors import FaultsetError
from faultset_ray.http.asking import Driver, problems
from faultset_ray.http.guard import Guard, scope_of
from faultset_ray.http.metering import Counted
from faultset_ray.http.problems import answer_unready, on_error, on_fault, on_invalid, on_refusal
from faultset_ray.http.shapes import Alive, Problem
from faultset_ray.http.tokens import TokenFile
from faultset_ray.http.traced import Traced

Connecting = Callable[[], AbstractAsyncContextManager[AsyncDriver]]
OPENAPI: Final = "/v1/openapi.json"
_SILENT: Final[Any] = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
"""FastAPI's own telemetry would tell names of objects, and of whoever is refused. Versions without pass this over."""


class _Rest(Convertor[str]):
    """All that is left of a path, whatever it is: names may hold slashes and line breaks."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("rest", _Rest())


def build(connecting: Connecting, config: Http, now_ms: Callable[[], int], *, paced: bool | None = None) -> FastAPI:
    """The ASGI application.

    Parameters
    ----------
    connecting
        Makes the driver, which lives as long as the application.
    config
    now_ms
        The time, for tokens that expire.
    paced
        Whether the server in front reads only what is asked of it; None: where it says so, see
        :mod:`faultset_ray.http.pacing`.

    Raises
    ------
    InvalidConfig
        It would listen to other machines, and has no file of tokens.
    InputError
        The file of tokens can't be used.
    """
    config.check_guarded()
    from faultset_ray.http import fleets, objects, watching  # their paths need the convertor

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
        async with connecting() as driver:
            app.state.driver = driver
            app.state.readiness = Shared()  # no token is needed to ask, so many may at once
            try:
                yield
            finally:
                await app.state.readiness.close()

    app = FastAPI(
        title="faultset-ray",
        version=__version__,
        description="Which nodes can be trusted, region by region, and objects that outlive machines.",
        lifespan=lifespan,
        openapi_url=OPENAPI,
        docs_url=None,  # these pages would load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        telemetry=_SILENT,
        exception_handlers={
            FaultsetError: on_error,
            HTTPException: on_refusal,
            RequestValidationError: on_invalid,
            Exception: on_fault,
        },
    )
    app.state.config = config
    tokens = None if config.tokens is None else TokenFile(config.tokens)
    app.add_middleware(Traced)
    app.add_middleware(Guard, config=config, tokens=tokens, now_ms=now_ms, paced=paced)
    app.add_middleware(Counted)  # the last one is the outermost
    for router in (fleets.router, watching.router, objects.router):
        app.include_router(router)
    app.add_api_route("/v1/health", health, tags=["system"], responses=problems())
    app.add_api_route("/v1/ready", ready, tags=["system"], response_model=Alive, responses=problems())
    app.openapi = lambda: _described(app)  # type: ignore[method-assign]
    return app


async def health() -> Alive:
    """Whether the process answers; for whoever restarts it."""
    return Alive(status="ok", version=__version__)


async def ready(request: Request, driver: Driver) -> Alive | Response:
    """Whether the system behind it answers; for whoever sends requests here."""
    try:
        await request.app.state.readiness.get(driver.ready)
    except FaultsetError as error:
        return answer_unready(error)
    return Alive(status="ok", version=__version__)


def _described(app: FastAPI) -> dict[str, Any]:
    """The description of the API, with the scope of each route."""
    if app.openapi_schema is None:
        described = FastAPI.openapi(app)
        parts = described.setdefault("components", {})
        parts.setdefault("schemas", {})["Problem"] = Problem.model_json_schema()
        parts["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
        for path, methods in described["paths"].items():
            for method, operation in methods.items():
                scope = scope_of(method.upper(), path)
                operation["security"] = [] if scope is None else [{"bearer": [scope]}]
                operation["responses"].pop("422", None) if scope is None else None
    assert app.openapi_schema is not None
    return app.openapi_schema
