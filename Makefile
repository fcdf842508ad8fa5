PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help demo test setup lint bench clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    set up, train on real digits, replay in four backends, export, prove"
	@echo "make test    set up, run the tests that take seconds"
	@echo "make lint    set up, check style, types and imports"
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

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

bench: setup
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r scripts/benches/peers/requirements.txt
	$(BIN)/python scripts/bench.py all

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
