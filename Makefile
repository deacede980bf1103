.DEFAULT_GOAL := help
.PHONY: help run test nightly bench check reference docs format engine engine-down clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ENGINE_PID := $(CURDIR)/.engine.pid

help:  ## Show what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: $(VENV)/installed engine  ## Launch Conduit on sample data and show how to reach it
	$(BIN)/jobctl images build conduit
	$(BIN)/jobctl run conduit --generate-password
	$(BIN)/jobctl ps

test: $(VENV)/developing engine check  ## Run all tests, on a real engine and in a real browser
	scripts/ensure-test-clients.sh
	$(BIN)/jobctl images build
	$(BIN)/pytest -W error -n 3 --dist loadfile --no-loadscope-reorder

nightly:  ## The same with thousands of random inputs and hundreds of kills, for an hour or so
	JOBCTL_TEST_PROFILE=nightly $(MAKE) test

bench: $(VENV)/developing engine  ## Measure jobctl beside the bare engine, in turn
	$(BIN)/jobctl images build conduit jupyter
	$(BIN)/python -m bench --json bench/figures.json

check: $(VENV)/developing  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

reference: $(VENV)/developing  ## Write the reference pages and the manual page from the code
	$(BIN)/python scripts/reference.py

docs: reference  ## Build the site of the documentation, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

format: $(VENV)/developing  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

engine:  ## Make sure that a container engine answers
	scripts/ensure-engine.sh --pid-file $(ENGINE_PID)

engine-down:  ## Stop the engine that `make engine` started, if it did
	@if [ -f $(ENGINE_PID) ]; then \
	  pid=$$(cat $(ENGINE_PID)); rm $(ENGINE_PID); kill $$pid 2>/dev/null || true; \
	  while kill -0 $$pid 2>/dev/null; do sleep 0.2; done; fi

clean:  ## Remove what was made here; jobs and images stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache dist site

$(BIN)/python:
	scripts/ensure-venv.sh $(PYTHON) $(VENV)

$(VENV)/installed: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/developing: $(VENV)/installed requirements-dev.txt
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.txt
	touch $@
