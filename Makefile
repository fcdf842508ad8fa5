PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help demo test fuzz setup lint docs wheel bench clients hardware clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    set up, train on real digits, replay in four backends, export, prove"
	@echo "make test    set up, run the tests that take seconds"
	@echo "make fuzz    set up, send 500 new random networks through the oracles of differential testing"
	@echo "make lint    set up, check style, spelling, types and imports"
	@echo "make docs    set up, build the documentation into build/site, offline; a warning is an error"
	@echo "make wheel   build the wheel, go a stranger's path with it in a fresh environment"
	@echo "make hardware  build the environments of foreign clients, compare their spikes with ours"
	@echo "make bench   set up, time everything against its peers, print one table"
	@echo "make clean   remove what the others made, but not runs/"

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(STAMP)

setup: $(STAMP)

demo: setup
	$(BIN)/python scripts/train.py --task digits --backend torch --rule bptt --seed 0 --out runs/digits.h5 --overwrite
	$(BIN)/python scripts/compare_backends.py runs/digits.h5 --backends brian2,torch,snntorch,reference
	$(BIN)/python scripts/export_weights.py runs/digits.h5 --target nir --out runs/digits.nir
	$(BIN)/python scripts/inspect_run.py runs/digits.h5 --summary

test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup -q

# Prints its seeds; scripts/fuzz.py says how to run more of them, and for hours.
fuzz: setup
	OMP_NUM_THREADS=1 $(BIN)/python scripts/fuzz.py --networks 500 --jobs 2

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

# Everything that a page loads is copied beside it. The pages' code is run by the tests.
docs: setup
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -c docs/site -d build/trees docs build/site
	@echo "open build/site/index.html"

# The extras that the README's example needs, and the command's; no others, and away from the checkout.
WHEEL := build/wheel
wheel: setup
	rm -rf $(WHEEL)
	$(BIN)/hatchling build --target wheel --directory $(WHEEL)
	$(PYTHON) -m venv $(WHEEL)/environment
	$(WHEEL)/environment/bin/pip install --quiet --disable-pip-version-check -c constraints.txt "$$(echo $(WHEEL)/twinspike-*.whl)[cli,report,brian2,torch]"
	cd / && $(CURDIR)/$(WHEEL)/environment/bin/python -I $(CURDIR)/tests/packaging/readme_example.py $(CURDIR)/README.md
	cd / && $(CURDIR)/$(WHEEL)/environment/bin/python -I $(CURDIR)/tests/packaging/stranger.py $(CURDIR)/$(WHEEL)/stranger

bench: setup
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r twinspike/benches/peers/requirements.txt
	$(BIN)/python scripts/bench.py all

# Environments of their own, git-ignored: clients pin what we don't, and two are copyleft. One that can't be had is skipped by its tests.
CLIENTS := .clients
NEEDS := tests/hardware/requirements
PYTHON310 ?= $(firstword $(wildcard $(HOME)/.pyenv/versions/3.10.*/bin/python) python3.10)
PIP := bin/pip install --quiet --disable-pip-version-check

$(CLIENTS)/common/.installed: $(NEEDS)/common.txt $(NEEDS)/common-no-deps.txt
	$(PYTHON) -m venv $(CLIENTS)/common
	$(CLIENTS)/common/$(PIP) torch==2.13.0
	$(CLIENTS)/common/$(PIP) -r $(NEEDS)/common.txt torch==2.13.0
	$(CLIENTS)/common/$(PIP) --no-deps -r $(NEEDS)/common-no-deps.txt
	touch $@

$(CLIENTS)/brian2-loihi/.installed: $(NEEDS)/brian2-loihi.txt
	$(PYTHON) -m venv $(CLIENTS)/brian2-loihi
	$(CLIENTS)/brian2-loihi/$(PIP) -r $(NEEDS)/brian2-loihi.txt
	touch $@

# lava-dl needs Python 3.10: later ones refuse its mutable dataclass default.
$(CLIENTS)/lava/.installed: $(NEEDS)/lava.txt $(NEEDS)/lava-no-deps.txt
	$(PYTHON310) -m venv $(CLIENTS)/lava
	$(CLIENTS)/lava/$(PIP) -r $(NEEDS)/lava.txt
	$(CLIENTS)/lava/$(PIP) --no-deps -r $(NEEDS)/lava-no-deps.txt
	touch $@

# The package itself with its extra: its compiler is the client.
$(CLIENTS)/cuda/.installed: pyproject.toml constraints.txt $(NEEDS)/cuda.txt
	$(PYTHON) -m venv $(CLIENTS)/cuda
	$(CLIENTS)/cuda/$(PIP) -c constraints.txt -c $(NEEDS)/cuda.txt -e ".[cuda]"
	touch $@

clients:
	-$(MAKE) $(CLIENTS)/common/.installed
	-$(MAKE) $(CLIENTS)/brian2-loihi/.installed
	-$(MAKE) $(CLIENTS)/lava/.installed
	-$(MAKE) $(CLIENTS)/cuda/.installed

hardware: setup clients
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m hardware -n 0 -q tests/hardware

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
