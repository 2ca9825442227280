# Every target builds .venv from plain python3 when it is missing or out of date.
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
RUNTIME := .venv/.runtime
DEV := .venv/.dev
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help demo notebooks test check pytest soak bench bench-forecast bench-quality bench-sampling lock clean

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  Options of a command go into ARGS:  make demo ARGS="--seconds 60"'

demo: $(RUNTIME) ## Watch this machine and a simulated shop; an incident begins after half a minute
	@$(BIN)/detector demo $(ARGS)

notebooks: $(DEV) ## Open the notebooks in JupyterLab
	$(BIN)/jupyter lab --notebook-dir notebooks $(ARGS)

test: $(DEV) ## Lint, format, types, import contracts, dependencies and the tests (under 5 minutes)
	@$(MAKE) --no-print-directory --jobs 2 check pytest

pytest: $(DEV)
	$(BIN)/pytest -m "not soak" --numprocesses 4 --dist loadfile $(ARGS)

check: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/codespell

soak: $(DEV) ## The long tests: kills, broker restarts, quality floors (under 25 minutes)
	@said=$$(mktemp); \
	nice -n 19 $(BIN)/pytest -m soak $(SERVERS:%=--ignore=%) $(ARGS) >$$said 2>&1 & computing=$$!; \
	$(BIN)/pytest -m soak $(SERVERS) $(ARGS); servers=$$?; \
	wait $$computing; computed=$$?; cat $$said; rm $$said; exit $$((servers | computed))

# Their tests kill and wait, one at a time; what only computes fills the pauses.
SERVERS := tests/e2e tests/integration tests/bench

bench: $(DEV) ## Measure CPU, latency and memory against a naive service, end to end
	$(BIN)/python -m tests.bench $(ARGS)

bench-forecast: $(DEV) ## Forecast real loads; with ARGS="--refits 3" against refitted models too
	@$(PIP) install --require-hashes -r requirements-forecast.lock
	$(BIN)/python -m tests.forecast --plots forecast.png $(ARGS)

bench-quality: $(DEV) ## Measure what is found, missed and wrongly alarmed, beside peers; plots in quality-report/
	$(BIN)/python -m tests.quality $(ARGS)

bench-sampling: $(RUNTIME) ## Compare ways of sampling at equal volume; tables, and a plot with ARGS="--plot errors.png"
	$(BIN)/detector simulate sampling $(ARGS)

# To add a package and leave the others as they are: make lock UPGRADE=
lock: ## Lock the dependencies anew, with hashes and without an index address
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip --quiet install pip-tools
	.venv-lock/bin/pip-compile $(LOCK_FLAGS) --output-file requirements.lock pyproject.toml
	.venv-lock/bin/pip-compile $(LOCK_FLAGS) --extra forecast-bench --output-file requirements-forecast.lock pyproject.toml
	.venv-lock/bin/pip-compile $(LOCK_FLAGS) --extra bench --extra dev --extra notebooks --output-file requirements-dev.lock pyproject.toml

UPGRADE := --upgrade
LOCK_FLAGS := --quiet $(UPGRADE) --generate-hashes --allow-unsafe --strip-extras --no-header --no-annotate \
  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --build-deps-for editable

clean: ## Remove the environment and everything that was generated, but for what a service has stored
	rm -rf .venv .venv-lock .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache quality-report

$(RUNTIME): requirements.lock pyproject.toml
	@echo "Installing Detector into .venv (the first time takes about a minute) ..."
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; sys.exit("Detector needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): $(RUNTIME) requirements-dev.lock
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@
