"""The HTTP API: a FastAPI application over an :class:`~faultset_ray.driver.asynchronous.AsyncDriver`.

It knows neither Ray nor Serve: :mod:`actors.ingress` hosts it there. Needs the extra ``serve``.
"""
