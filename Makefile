# FLIP Lab: every command of a working day. `make` alone lists them.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
STAMP := $(VENV)/.installed
DEBIAN_PACKAGES := chromium fonts-dejavu-core iproute2 libfaketime nftables nginx-light

# Nothing that we start phones home or looks for updates.
export DO_NOT_TRACK := 1
export FLWR_DISABLE_UPDATE_CHECK := 1
export FLWR_TELEMETRY_ENABLED := 0
export HF_HUB_DISABLE_TELEMETRY := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export RAY_USAGE_STATS_ENABLED := 0

.DEFAULT_GOAL := help
.PHONY: help demo lab check test bench bench-api bench-store extension format docs clean \
  debian-packages extension-packages

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(STAMP) ## set everything up, run the first federation and show what happened
	$(PY) notebooks/demo.py

lab: $(STAMP) ## open JupyterLab on the notebooks
	$(BIN)/jupyter lab --notebook-dir=notebooks

check: $(STAMP) extension-packages ## style, architecture, types, dead code, dependencies, docstrings, docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyright --pythonpath $(PY)
	$(BIN)/vulture
	$(BIN)/deptry .
	$(BIN)/interrogate --quiet flip_lab
	$(PY) -m pytest -q tests/unit/house
	test ! -d extensions/flip-lab/node_modules || npm run --silent --prefix extensions/flip-lab check

test: $(STAMP) debian-packages extension-packages ## every test
	$(PY) -m pytest --numprocesses 2 --dist loadscope

bench: $(STAMP) ## the benchmarks, as tables; takes a quarter of an hour
	$(PY) tests/benchmarks/engine.py --workload all --markdown

bench-api: $(STAMP) ## the benchmark of the API under load, as a table
	$(PY) tests/benchmarks/api.py --markdown

bench-store: $(STAMP) ## the benchmark of the store, as a table; takes a quarter of an hour
	$(PY) tests/benchmarks/store.py --markdown

format: $(STAMP) ## rewrite the code and the notebooks in the house style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/jupyter nbconvert --clear-output --inplace notebooks/*.ipynb

extension: $(STAMP) extension-packages ## build the JupyterLab extension (needs Node)
	cd extensions/flip-lab && PATH="$(abspath $(BIN)):$$PATH" npm run build:prod

docs: $(STAMP) ## rewrite the reference pages that are made from the code
	$(PY) docs/generate.py

clean: ## remove the virtual environment, caches and every lab directory
	rm -rf $(VENV) build dist .flip-lab notebooks/.flip-lab
	rm -rf .hypothesis .import_linter_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# torch comes first and by plain pip: a later step can then never replace a CPU build by the
# several gigabytes of a CUDA one.
$(STAMP): pyproject.toml constraints.txt extensions/flip-lab/labextension/package.json
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet -c constraints.txt torch
	$(PY) -m pip install --quiet -c constraints.txt -e ".[lab,hub,exchange,dicom,dev]"
	touch $@

# What the extension is built and tested with; its tests skip themselves where it is missing.
# As the lock has it; `npm ci` wants the binaries of all platforms in it.
extension-packages:
	@cd extensions/flip-lab; command -v npm >/dev/null || exit 0; \
	  [ node_modules/.package-lock.json -nt package-lock.json ] \
	    || npm install --no-save --ignore-scripts --no-audit --no-fund --loglevel=error \
	    || { rm -rf node_modules; echo "npm failed: the extension's own tests will skip."; }

# Tests that need these packages skip themselves, with the reason, where they are missing.
debian-packages:
	@missing=; for package in $(DEBIAN_PACKAGES); do \
	  dpkg-query -W -f '$${db:Status-Status}' $$package 2>/dev/null | grep -qx installed \
	    || missing="$$missing $$package"; done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
	  echo "Not installed (needs root):$$missing; the tests that need them will skip."; exit 0; fi; \
	echo "Installing$$missing"; \
	export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1; : "RUNLEVEL: no service starts"; \
	{ apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing; } >/dev/null \
	  || echo "apt-get failed:$$missing; the tests that need them will skip."
