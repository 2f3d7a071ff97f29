# The image of a node: the wheel of dist/ (`make wheel wheel-check`), under the versions that it is tested with.
# `make image` builds it. Nothing of the checkout but the wheel and the pins goes in.
ARG PYTHON=3.12
FROM python:${PYTHON}-slim-bookworm

# wget: KubeRay's probes of a node call it
RUN apt-get update \
 && apt-get install --yes --no-install-recommends wget \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 1000 --create-home ray \
 && install --directory --owner=ray --group=ray --mode=0700 /var/lib/faultset

COPY constraints.txt dist/*.whl /build/
RUN pip install --no-cache-dir --constraint /build/constraints.txt "$(echo /build/faultset_ray-*.whl)[fsspec,otel,serve]" \
 && rm -r /build

# by number, so that Kubernetes can see that it is not root
USER 1000:1000
WORKDIR /home/ray
ENV PYTHONUNBUFFERED=1 RAY_USAGE_STATS_ENABLED=0
