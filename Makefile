# What a developer runs: `make help` lists it. Every target sees to the environment first.

SHELL := /bin/bash
.SHELLFLAGS := -e -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help env demo test long check lint types examples docs docs-serve bench clean

# The interpreter that bootstraps uv where there is none; uv finds a fitting one for .venv by itself.
PYTHON ?= python3
WORKERS ?= 2
MNIST ?= $(HOME)/.cache/relatum
# Where CIFAR-100 is; random images, which take the same time, where it is not said.
CIFAR100 ?=

# All that is tested; ray, wandb and mlflow, which are large, are tested where they are installed.
EXTRAS := dev,timm,docs,onnx,hub,datasets,huggingface,lightning,tensorboard,tune

BIN := .venv/bin
RELATUM := $(BIN)/relatum
INSTALLED := .venv/.installed
UV := $(if $(shell uv --version 2>/dev/null),uv,.uv/bin/uv)

# torch comes in files of a gigabyte.
export UV_HTTP_TIMEOUT ?= 300

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */:/' \
	| while IFS=: read -r target text; do printf '%-10s %s\n' "$$target" "$$text"; done

env: $(INSTALLED)  ## make .venv, or bring it up to date

demo: env  ## distill a small network on this machine; picks up where it was stopped
	$(RELATUM) distill --out runs/demo --resume

# One thread for each worker: the default, one for each processor, makes the workers wait.
test: env  ## run the tests, docstrings and documents included
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

long: env  ## the tests that take minutes: nodes that are cut off, jobs that are put back, restarts
	RELATUM_TEST_LONG=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/cluster tests/test_cluster_examples.py \
	tests/bench tests/cache tests/cli tests/losses/test_ranks.py tests/models/test_any_network.py tests/run \
	tests/test_docs.py tests/test_first_steps.py tests/test_launch.py tests/test_sharding.py \
	tests/test_statistics_ranks.py tests/test_together.py tests/trackers tests/integrations

check: lint types examples  ## all that is quick: style, types, and every example

lint: env  ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: env  ## check types
	$(BIN)/mypy

examples: env  ## run the examples of the docstrings, of README.md and of docs/
	$(BIN)/python -m pytest src tests/test_docs.py

docs: env  ## build the site to build/site/, from docs/ and the code; a dead link is an error
	OMP_NUM_THREADS=1 $(BIN)/python docs/make_site.py

docs-serve: env  ## the same, shown at http://localhost:8000 and built anew as pages in build/pages/ change
	OMP_NUM_THREADS=1 $(BIN)/python docs/make_site.py --serve

bench: env  ## measure: a step and an epoch against the usual loop (MNIST=FOLDER, CIFAR100=FOLDER), and more
	$(BIN)/python benchmarks/step.py --cached $(if $(CIFAR100),--data $(CIFAR100))
	$(BIN)/python benchmarks/mnist_epoch.py --data $(MNIST)
	$(BIN)/python docs/make_speed_picture.py
	$(BIN)/python benchmarks/beside.py --write
	$(BIN)/python benchmarks/loss_cost.py
	$(BIN)/python benchmarks/evaluation_batches.py
	$(BIN)/python benchmarks/evaluation_share.py
	$(BIN)/python benchmarks/start_up.py
	$(BIN)/python benchmarks/memory_losses.py
	$(BIN)/python benchmarks/relation_blocks.py
	$(BIN)/python benchmarks/world_size.py

clean:  ## remove caches and builds; runs/ and .venv stay
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache
	find src tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml constraints.txt | $(filter .uv/%,$(UV))
	test -x $(BIN)/python || $(UV) venv .venv
	$(UV) pip install --python $(BIN)/python -c constraints.txt -e '.[$(EXTRAS)]'
	touch $@

# By venv, or by pip alone where the system's Python comes without ensurepip.
.uv/bin/uv:
	$(PYTHON) -m venv .uv && .uv/bin/python -m pip install --quiet uv \
	|| { rm -rf .uv && $(PYTHON) -m pip install --quiet --target .uv uv; }
