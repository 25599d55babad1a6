# Everything runs in an environment of its own, .venv, made from pinned versions at the first use.

PYTHON ?= python3
ENVIRONMENT := .venv
BIN := $(ENVIRONMENT)/bin
READY := $(ENVIRONMENT)/.ready
WORKERS ?= 2

.PHONY: help demo test lint format bench faults fuzz podman clean

help: ## Show what can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/'

$(READY): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("fnd needs Python 3.11 or newer: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(ENVIRONMENT)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $(READY)

demo: $(READY) ## Deploy a real function, call it a thousand times, see it stop by itself
	@$(BIN)/fnd demo

test: $(READY) ## Run every test; what this machine lacks is skipped, and said
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

lint: $(READY) ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy fnd drivers plugins tests

format: $(READY) ## Put the code into its format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY) ## Measure against a bare proxy on this machine; BENCH=--help says what else it can do
	$(BIN)/python -m tests.bench $(BENCH)

faults: $(READY) ## Kill, fill and starve the daemon under load, count what fails and is left; FAULTS=--help says more
	$(BIN)/python -m tests.faults $(FAULTS)

podman: $(READY) ## Hold the Docker driver to its promises at a real Podman
	FND_PODMAN=1 $(BIN)/python -m pytest tests/conformance/test_docker_driver.py -k Podman

fuzz: $(READY) ## Try the invariants for long, and spoiled frames on each format
	FND_FUZZ=1 $(BIN)/python -m pytest tests/properties tests/unit/fnd_lambda/test_robustness.py
	$(BIN)/python -m fnd.testing.fuzz tests/conformance/test_http_stream_codec.py tests/conformance/test_lambda_codec.py
	$(BIN)/python -m tests.fuzz

clean: ## Remove the environment and what tools have left
	rm -rf $(ENVIRONMENT) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
