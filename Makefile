# Saima (赛马). `make help` lists what can be done; every target sets up ./.venv by itself when it must.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

# Continuous integration sets SAIMA_CI=1: then a skipped test fails, and hypothesis draws the same cases each time.
# Of two cores a test waits for a third of its time: three share them.
CI_PYTEST_FLAGS := $(if $(SAIMA_CI),--fail-on-skip --hypothesis-profile=ci -n 3)
PYTEST_FLAGS    ?=
unexport SAIMA_CI  # SAIMA_* belongs to the service's settings; it has none of this name
unexport PYTHONDONTWRITEBYTECODE  # else each of the hundreds of processes that tests start compiles all sources anew

SOURCES := racing api tests loadtests
PIP     := $(BIN)/python -m pip --disable-pip-version-check install --quiet
PIP_TOOLS := 7.6.2

.DEFAULT_GOAL := help
.NOTPARALLEL:  # `check` goes in its order, so that the tests' own closing line is the last
.PHONY: help setup demo test check format format-check lint types imports bench rules lock clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.dev  ## Make .venv with everything for development (other targets do it when needed)

demo: $(VENV)/.runtime  ## Watch a race of made-up shoppers, with an embedded server
	$(BIN)/saima demo

test: $(VENV)/.dev  ## Run the tests (PYTEST_FLAGS="-k late -x" narrows them)
	$(BIN)/python -m pytest $(CI_PYTEST_FLAGS) $(PYTEST_FLAGS)

check: format-check lint types imports test  ## All that a change must pass: format, lint, types, imports, tests

format: $(VENV)/.dev  ## Rewrite the sources in the house format and fix what lint can fix
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

format-check: $(VENV)/.dev  ## Fail if a source is not in the house format
	$(BIN)/ruff format --check .

lint: $(VENV)/.dev  ## Lint Python, the Dockerfile and the YAML files
	$(BIN)/ruff check .
	$(BIN)/hadolint Dockerfile
	$(BIN)/yamllint --strict compose.yaml .hadolint.yaml .yamllint.yaml

types: $(VENV)/.dev  ## Check the types, strictly
	$(BIN)/mypy

imports: $(VENV)/.dev  ## Check that each layer imports only what it may
	$(BIN)/lint-imports --no-logo

bench: $(VENV)/.dev  ## Measure everything with its rivals, for an hour and more (one, quickly: loadtests/README.md)
	$(BIN)/python -m loadtests.bench

rules: $(VENV)/.dev  ## Compare candidate rules on simulated demand that is known
	$(BIN)/python -m loadtests.rules

# The header of each lock names this target and no machine. Each hash is of a file that the package index holds.
lock:  ## Pin the newest dependencies again, with hashes
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet pip-tools==$(PIP_TOOLS)
	CUSTOM_COMPILE_COMMAND="make lock" build/lock/bin/pip-compile $(LOCK_FLAGS) \
	    --output-file requirements.txt pyproject.toml
	CUSTOM_COMPILE_COMMAND="make lock" build/lock/bin/pip-compile $(LOCK_FLAGS) --extra dev \
	    --constraint requirements.txt --output-file requirements-dev.txt pyproject.toml

LOCK_FLAGS := --quiet --upgrade --generate-hashes --allow-unsafe --strip-extras --all-build-deps \
    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options

clean:  ## Remove .venv, caches and what was built
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find racing api tests loadtests -type d -name __pycache__ -prune -exec rm -rf {} +

# The stamps: set up once, and again when what is pinned or declared has changed. The development lock holds
# everything of the runtime lock, so it serves both.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Saima needs Python 3.11 or newer, for example: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.txt pyproject.toml | $(BIN)/python
	$(PIP) --require-hashes -r requirements.txt
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.txt pyproject.toml | $(BIN)/python
	$(PIP) --require-hashes -r requirements-dev.txt
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $(VENV)/.runtime $@
