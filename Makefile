# Every target sets up .venv first, so that `make demo` on a fresh machine is one command.
PYTHON ?= python3.11
BIN := .venv/bin
# Two trainings of the same machine must not fight over its cores, and timings must mean something.
export OMP_NUM_THREADS ?= $(shell nproc 2>/dev/null || echo 2)

.DEFAULT_GOAL := help
.PHONY: help setup bench demo demo-bundle test test-ci test-all docs figure reliability audit-dependencies fuzz lint format clean

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 20

setup: .venv/installed  ## install everything into .venv

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: setup  ## train the plain baseline and the FPCN teacher on synthetic rocks, test both, print one table
	$(BIN)/python -m fpcn_lightning +experiment=demo

demo-bundle: setup  ## train and export the bundle that is installed as `demo`, seed 0 (seven minutes of one core)
	$(BIN)/python experiments/demo_bundle/run.py

test: setup  ## the fast tests (under three minutes on two cores, no network)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not slow' --numprocesses auto --dist worksteal

test-ci: setup  ## all tests but those marked exhaustive, which are long further cases of others; what .ci/run runs
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not exhaustive' --numprocesses auto --dist worksteal

test-all: setup  ## all tests, whole runs and several processes included, on all cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal

docs: setup  ## the documentation as a site, build/site, with every link checked
	$(BIN)/python -m scripts.build_docs

figure: setup  ## docs/figure.png: trains two small networks on synthetic pictures, and draws what they predict
	$(BIN)/python -m scripts.figure

reliability: setup  ## kill commands at random moments and damage pictures (30 minutes), writes experiments/reliability
	$(BIN)/python experiments/reliability/run.py

audit-dependencies: setup  ## known vulnerabilities of the pinned packages: pip-audit, or a stored list without a network
	$(BIN)/python -m tests.audit_dependencies

bench: setup  ## what this machine does and how long a training takes: a short task=benchmark (5 minutes)
	$(BIN)/python -m fpcn_lightning task=benchmark benchmark.rounds=3 benchmark.photographs=48 \
		"benchmark.parts=[loader,step,shares,inference,plan]"

fuzz: setup  ## damaged pictures and bundles for SECONDS=60 each, from SEED=0; those that fail go to fuzz-failures
	$(BIN)/python -m tests.fuzz_pictures --seconds $(or $(SECONDS),60) --seed $(or $(SEED),0)
	$(BIN)/python -m tests.fuzz_bundles --seconds $(or $(SECONDS),60) --seed $(or $(SEED),0)

lint: setup  ## ruff (style, imports) and mypy (types)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup  ## let ruff correct what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove outputs and caches, keep .venv
	rm -rf outputs .cache .pytest_cache .mypy_cache .ruff_cache build dist
