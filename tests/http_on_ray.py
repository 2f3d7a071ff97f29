"""The HTTP API on a Ray Serve of this machine, for tests under load."""

import os
from contextlib import contextmanager

import ray
from http_server import token_of
from ray import serve
from waiting import free_port

from actors import ingress
from actors.attach import attach
from faultset_ray.config import Config, Http

MIB = 1 << 20
SYSTEM = "load"
OBJECT = "?code=rs:2%2B1&tolerate=0"
"""One store is what one machine has."""


@serve.deployment(max_ongoing_requests=16)
class Discard:
    """Reads a body and forgets it; answers 64 MiB of zeros."""

    async def __call__(self, request):
        from starlette.responses import StreamingResponse

        if request.method == "PUT":
            count = 0
            async for piece in request.stream():
                count += len(piece)
            return str(count)

        async def zeros():
            for _ in range(64):
                yield bytes(MIB)

        return StreamingResponse(zeros())


@contextmanager
def served_on_ray(folder, bare=False):
    """The URL of the API, and the headers that it asks for; with ``bare`` a deployment that discards stands beside it."""
    http = Http(port=free_port(), tokens=str(folder / "tokens"))
    token = token_of(folder / "tokens", "admin")
    before = os.environ.get("FAULTSET_STORE_DIR")
    os.environ["FAULTSET_STORE_DIR"] = str(folder / "stores")
    attach("local", runtime_env=ingress.job_environment())
    try:
        started = ingress.listen(http)
        ingress.run(ingress.application(Config(http=http), SYSTEM, create=True, state_dir=str(folder / "state")))
        if bare:
            serve.run(Discard.bind(), name="bare", route_prefix="/bare")
        yield f"http://127.0.0.1:{http.port}", {"Authorization": f"Bearer {token}"}
        ingress.stop(http, whole=started)
    finally:
        ray.shutdown()
        if before is None:
            del os.environ["FAULTSET_STORE_DIR"]
        else:
            os.environ["FAULTSET_STORE_DIR"] = before
