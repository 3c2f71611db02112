# make run   the whole pipeline on the built-in data     make ui    the MLflow UI on this machine
# make test  every test                                  make lint  ruff and the type checker
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.DEFAULT_GOAL := help
.PHONY: help setup run ui test lint

help:
	@sed -n 's/^# make/make/p' Makefile

setup: $(READY)

# Installed anew when the lock or the package's metadata change; `ready` is written last.
$(READY): requirements.lock requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, found %s. Name one: make $(MAKECMDGOALS) PYTHON=python3.11" % sys.version.split()[0])'
	@echo "Installing into $(VENV) (once; about two minutes) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements-dev.lock 2> $(VENV)/pip.log \
		|| { cat $(VENV)/pip.log; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable . 2>> $(VENV)/pip.log \
		|| { cat $(VENV)/pip.log; exit 1; }
	@touch $@

run: $(READY)
	@PATH="$(CURDIR)/$(BIN):$$PATH" dvc repro
	@$(BIN)/bss show

ui: $(READY)
	@$(BIN)/bss ui

test: $(READY)
	@PATH="$(CURDIR)/$(BIN):$$PATH" pytest -n 2

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
