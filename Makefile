# Every target does all the set-up that it needs; `make` alone says what there is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := demo,plot,vectors,zh,track,phone,test,dev
STAMP := $(VENV)/.ready
# one thread per test process: two processes share two cores better than four threads do
TESTS := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

.PHONY: help setup demo test check bench format clean

help:
	@echo "make setup   an environment in $(VENV), with all that the tests need"
	@echo "make demo    trains on the embedded data and shows what it learnt (runs/demo)"
	@echo "make test    all tests; make test ARGS='tests/cli -k init' some of them"
	@echo "make check   format, lint, types, layers"
	@echo "make bench   speed, as medians and ratios in one run"

setup: $(STAMP)

# anew only when what is asked for has changed
$(STAMP): pyproject.toml constraints.txt
	@echo "== setup: an environment in $(VENV) ($$($(PYTHON) --version)); the first time it fetches about 1 GB"
	@$(PYTHON) -c 'import sys; sys.exit("plait needs Python 3.11 or later: make setup PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $(STAMP)

demo: $(STAMP)
	@echo "== demo: pictures, spoken and typed questions → what was heard, and the answer"
	$(BIN)/plait demo --fresh

test: $(STAMP)
	@echo "== test: everything, on two processes, without the network"
	$(TESTS) $(ARGS)

check: $(STAMP)
	@echo "== check: format, lint, types, layers"
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright
	$(BIN)/lint-imports

format: $(STAMP)
	@echo "== format: rewrites what can be rewritten"
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)
	@echo "== bench: medians and ratios; installs transformers and accelerate for the comparison"
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[$(EXTRAS),bench]'
	$(BIN)/python -m benchmarks

clean:
	@echo "== clean: caches and the environment; runs and data stay"
	rm -rf $(VENV) .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist
