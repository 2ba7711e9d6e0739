# Two commands on a fresh machine: `make dryrun` and `make test`. Both need Python 3.11, nothing else.
# `make dryrun TASK=a1_walk STEPS=20000 RUN=runs/first ARGS="size=debug mode=lockstep"`

PYTHON ?= python3.11
TASK ?= a1_walk
STEPS ?= 20000
RUN ?= runs/$(TASK)
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PINS := requirements/constraints.txt
PEERS := .venv-peers
PEER_PINS := requirements/peers.txt
PEER_RESULTS ?= runs/peers
PEER_WORKLOADS ?= W1 W2
# Stamps: dependencies are installed once, and again when what they are made from changes.
RUNTIME := $(VENV)/.installed-runtime
DEV := $(VENV)/.installed-dev
PEERS_READY := $(PEERS)/.installed

.PHONY: help install dryrun test lint format bench bench-peers clean
.DELETE_ON_ERROR:

help:
	@echo "make install   .venv with pinned versions"
	@echo "make dryrun    an A1 twin learns (TASK= STEPS= RUN= ARGS=)"
	@echo "make test      every test, the quick ones first"
	@echo "make lint      ruff and mypy"
	@echo "make format    ruff, changing files"
	@echo "make bench     figures for this machine"
	@echo "make bench-peers  our update against public peers', about three hours (PEER_WORKLOADS= ARGS=)"
	@echo "make clean     remove .venv, .venv-peers and caches; runs/ stays"

install: $(RUNTIME)

dryrun: $(RUNTIME)
	$(BIN)/daydreamer dryrun task=$(TASK) steps=$(STEPS) run=$(RUN) $(ARGS)

test: $(DEV)
	@echo "== quick tests"
	$(BIN)/pytest -m "not slow and not hardware" $(ARGS)
	@echo "== slow tests"
	$(BIN)/pytest -m "slow and not hardware" $(ARGS) || \
	  { [ $$? -eq 5 ] && [ -n "$(ARGS)" ]; }  # ARGS may pick tests none of which is slow

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# A quarter of an hour on a quiet machine. What others disturb is repeated, or left out and said so.
bench: $(RUNTIME)
	$(BIN)/daydreamer bench twin task=$(TASK) $(ARGS)
	$(BIN)/daydreamer bench learner workload=W1,W2,W2-64,W1-small,W2-small $(ARGS)
	$(BIN)/daydreamer bench learner workload=W1,W1-small neighbour=1 $(ARGS)
	$(BIN)/daydreamer bench actor $(ARGS)
	$(BIN)/daydreamer bench replay $(ARGS)
	$(BIN)/daydreamer bench wire $(ARGS)

# Saves every round: what an interrupted run found so far is in PEER_RESULTS.
bench-peers: $(RUNTIME) $(PEERS_READY)
	set -e; for workload in $(PEER_WORKLOADS); do \
	  $(BIN)/python -m daydreamer.bench.peers workload=$$workload \
	    peers=$(PEERS)/bin/python out=$(PEER_RESULTS)/$$workload.json $(ARGS); \
	done

clean:
	rm -rf $(VENV) $(PEERS) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find daydreamer robots sim tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "make: $(PYTHON) is not here. Install Python 3.11, or name another: make PYTHON=python3.10" >&2; \
	  exit 1; }
	$(PYTHON) -m venv $(VENV)

$(RUNTIME): setup.py $(PINS) | $(BIN)/python
	@echo "make: installing pinned packages into $(VENV), a minute or two"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(PINS) -e ".[actor,learner,twin]"
	touch $@

$(DEV): $(RUNTIME)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(PINS) -e ".[dev]"
	touch $@

$(PEERS_READY): $(PEER_PINS)
	@echo "make: installing the peers into $(PEERS), some minutes and 1.5 GB"
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -c $(PEER_PINS) \
	  sheeprl torchrl torch numpy
	touch $@
