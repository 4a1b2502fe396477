# Everything a newcomer needs: `make up` (a running sandbox), `make test` (the whole suite).
# Needs Python >= 3.11, make and git; everything else is installed into .venv from hashed locks.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help up test check bench simulate soak deluge clean lock

VENV := .venv
BIN := $(VENV)/bin
PACKAGES := activities api audit bench commands domain embedded events ledger operations rails reconciliation risk vault workflows
MODULES := $(wildcard *.py)

help:
	@echo 'make up     start the sandbox here; ends with the line "ledgerline ready"; Ctrl-C stops it'
	@echo 'make test   run the whole test suite against real PostgreSQL and Temporal servers'
	@echo 'make check  format, lint, types, import contracts, fast tests'
	@echo 'make bench  run the benchmarks beside their peers'
	@echo 'make simulate SEED=… SEEDS=… N=…  worlds of clients, lying rails and killed processes, then an audit'
	@echo 'make soak N=…  processes post N movements while posters and PostgreSQL are killed, then the books are compared'
	@echo 'make deluge N=…  N events to failing receivers while delivery workers are killed, then every event is counted'
	@echo 'make lock   compile the hashed locks anew from pyproject.toml'
	@echo 'make clean  remove .venv and caches (never your data in .ledgerline)'

up: $(VENV)/.run
	@exec $(BIN)/ledgerline up --stop-with-parent

test: $(VENV)/.dev $(VENV)/.node
	@exec $(BIN)/pytest $(PYTEST_ARGS)

check: $(VENV)/.dev
	@echo 'format';           $(BIN)/ruff format --check -q .
	@echo 'lint';             $(BIN)/ruff check -q .
	@echo 'types';            $(BIN)/mypy --no-error-summary $(MODULES) $(wildcard $(PACKAGES)) tests/conftest.py
	@MYPYPATH=sdk/python $(BIN)/mypy --no-error-summary -p ledgerline_sdk
	@echo 'import contracts'; $(BIN)/lint-imports --no-logo > $(VENV)/lint-imports.log || { cat $(VENV)/lint-imports.log; exit 1; }
	@echo 'fast tests';       exec $(BIN)/pytest $(wildcard tests/architecture tests/unit tests/replay)

bench: $(VENV)/.dev
	@exec $(BIN)/ledgerline bench $(BENCH_ARGS)

simulate: $(VENV)/.dev
	@exec $(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS)) \
		$(if $(N),--operations $(N)) $(if $(REPORT),--report $(REPORT))

soak: $(VENV)/.dev
	@exec $(BIN)/python -m tests.ledger.soak $(if $(SEED),--seed $(SEED)) $(if $(N),--movements $(N))

deluge: $(VENV)/.dev
	@exec $(BIN)/python -m tests.events.deluge $(if $(N),--events $(N))

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache catboost_info
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# Hashes are what pins a package, so locks name no registry. Needs uv (https://docs.astral.sh/uv).
lock:
	uv pip compile --no-build --python-version 3.11 --generate-hashes --no-header --no-annotate -q pyproject.toml -o requirements.lock
	uv pip compile --no-build --python-version 3.11 --generate-hashes --no-header --no-annotate -q --extra dev pyproject.toml -o requirements-dev.lock

$(VENV)/.run: requirements.lock deploy/ledgerline deploy/make-venv
	@deploy/make-venv $(VENV) requirements.lock
	@touch $@

$(VENV)/.dev: requirements-dev.lock deploy/ledgerline deploy/make-venv
	@deploy/make-venv $(VENV) requirements-dev.lock
	@touch $@ $(VENV)/.run

$(VENV)/.node: tests/node/package-lock.json deploy/make-node $(VENV)/.dev
	@deploy/make-node $(VENV)
	@touch $@
