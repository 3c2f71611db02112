# make setup            install everything into .venv (3 GB), once; the other targets do it too
# make run              the whole pipeline on the built-in data
# make test             every test
# make test-fast        the tests that start no process and no server and compute little, about two minutes
# make extras           install and try each extra of the package in an environment of its own (EXTRAS="train video")
# make python-versions  the fast tests on each of Python 3.11, 3.12 and 3.13 that is on this machine
# make bench            every benchmark, into docs/benchmarks.md
# make gpu              what only a GPU can show, ten minutes, into docs/benchmarks.md (DEVICE=cpu SMALL=1 tries it)
# make reliability      kills, outages and a soak, about ten minutes; writes the numbers into docs/reliability.md
# make picture          docs/images/report.png, the report of the last run in a browser (chromium)
# make lint             ruff and the type checker
# make docs             the site of docs/ with the API reference, into outputs/site
# make data-push        what this checkout's dvc.lock names, checked, to the DVC remote
# make data-pull        the same from the DVC remote, checked, into the working tree
# make ui               the MLflow UI on this machine
# make image            the image of the Kubeflow pipeline, by its commit
# make kubeflow-local   the Kubeflow pipeline on this machine, each step a process (ARGS="--strategy none --seed 0")
# make kubeflow-docker  the same, each step a container of the image
# make compiled         write pipelines/pipeline.yaml, the components' READMEs, docs/datasets.md and docs/strategies.md
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

# For GPU nodes name a CUDA runtime image with Python 3.11, and let pip give a CUDA build of torch.
BASE_IMAGE ?= python:3.11-slim-bookworm
# Put your registry before it: make image IMAGE=registry.example.org/team/bss
IMAGE ?= bss
COMMIT = $(shell git rev-parse HEAD)$(shell git diff --quiet HEAD -- . || echo -modified)
TAGGED = $(IMAGE):$(shell echo $(COMMIT) | sed -E 's/^(.{12})[0-9a-f]*/\1/')

BENCHMARKS := balance_cost strategy_cost reference_loop data_path sequences growth overheads frozen_features imbalance_cost

.DEFAULT_GOAL := help
.PHONY: help setup run data-push data-pull ui test test-fast extras python-versions bench gpu reliability picture lint docs image kubeflow-local kubeflow-docker compiled

help:
	@sed -n 's/^# make/make/p' Makefile

ACTIVATE = @echo 'To use bss and dvc in this shell: . $(BIN)/activate'

setup: $(READY)
	$(ACTIVATE)

# Installed again when the locks or the package's metadata change; `ready` is written last.
$(READY): requirements.lock requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, found %s. Name one: make $(MAKECMDGOALS) PYTHON=python3.11" % sys.version.split()[0])'
	@echo "Installing into $(VENV) (once; about two minutes, 3 GB of disk) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements-dev.lock 2> $(VENV)/pip.log \
		|| { cat $(VENV)/pip.log; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable . 2>> $(VENV)/pip.log \
		|| { cat $(VENV)/pip.log; exit 1; }
	@touch $@

run: $(READY)
	@PATH="$(CURDIR)/$(BIN):$$PATH" dvc repro
	@$(BIN)/bss show
	$(ACTIVATE)

data-push: $(READY)
	@PATH="$(CURDIR)/$(BIN):$$PATH" bss check-cache
	@PATH="$(CURDIR)/$(BIN):$$PATH" dvc push

data-pull: $(READY)
	@PATH="$(CURDIR)/$(BIN):$$PATH" dvc fetch
	@PATH="$(CURDIR)/$(BIN):$$PATH" bss check-cache
	@PATH="$(CURDIR)/$(BIN):$$PATH" dvc checkout

ui: $(READY)
	@$(BIN)/bss ui

test: $(READY)
	@PATH="$(CURDIR)/$(BIN):$$PATH" pytest -n 2

FAST := -n 2 -m "not process and not slow"
test-fast: $(READY)
	@PATH="$(CURDIR)/$(BIN):$$PATH" pytest $(FAST)

# Each environment is in the system's folder of temporary files, and is removed in the end.
EXTRAS ?=
extras: $(READY)
	@$(BIN)/python tests/extras/run.py $(EXTRAS)

python-versions: $(READY)
	@$(BIN)/python tests/extras/versions.py $(FAST)

bench: $(READY)
	@for name in $(BENCHMARKS); do echo "bench: $$name"; $(BIN)/python -m benchmarks.$$name --record || exit 1; done

reliability: $(READY)
	@PATH="$(CURDIR)/$(BIN):$$PATH" python tests/reliability/record.py

picture: $(READY)
	@$(BIN)/python tests/report/record.py

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# Any warning, such as a link that leads nowhere, fails the build.
docs: $(READY)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo 'docs: outputs/site/index.html'

# The torch build comes from the pip of this machine: it knows which index has the one for your GPUs.
image: $(READY)
	@command -v docker > /dev/null || { echo "make image: docker is not installed."; exit 1; }
	@mkdir -p outputs/wheels
	@ls outputs/wheels/torch-*.whl > /dev/null 2>&1 || $(BIN)/pip download --quiet --disable-pip-version-check \
		--no-deps --dest outputs/wheels $$(grep '^torch==' requirements.lock) 2>> $(VENV)/pip.log \
		|| { tail -n 5 $(VENV)/pip.log; exit 1; }
	@docker build --quiet --tag $(TAGGED) --build-arg BASE_IMAGE=$(BASE_IMAGE) --build-arg COMMIT=$(COMMIT) \
		--build-arg VERSION=$$($(BIN)/bss --version | cut -d ' ' -f 2) . > /dev/null
	@echo "image: $(TAGGED)"

kubeflow-local: $(READY)
	@PATH="$(CURDIR)/$(BIN):$$PATH" bss run-local $(ARGS)

kubeflow-docker: image
	@PATH="$(CURDIR)/$(BIN):$$PATH" bss run-local --image $(TAGGED) --root outputs/kubeflow-docker $(ARGS)

compiled: $(READY)
	@$(BIN)/python -m pipelines.generated

# WHEELS names a folder of wheels for a machine without a network: its own PYTHON runs then, with them before all else.
DEVICE ?= cuda
SMALL ?=
GPU_RUN = -m benchmarks.gpu --device $(DEVICE) $(if $(SMALL),--small) $(if $(OUT),--out "$(OUT)") \
	$(if $(MINUTES),--minutes $(MINUTES)) $(if $(PARTS),--parts $(PARTS))
gpu: $(if $(WHEELS),,$(READY))
ifdef WHEELS
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-index --no-deps --upgrade \
		--target outputs/gpu-site "$(WHEELS)"/*.whl
	@PYTHONPATH="$(CURDIR)/outputs/gpu-site:$(CURDIR):$$PYTHONPATH" $(PYTHON) $(GPU_RUN)
else
	@$(BIN)/python $(GPU_RUN)
endif
