# make run    start the gateway on http://127.0.0.1:3264 (PORT, HOST, GATEWAY_CONFIG … are honoured)
# make test   run every test
# make check  ruff and mypy
# make bench  measure the relay path and the task engine (needs a C compiler; see tests/bench/README.md)
# make lock   write the lock files anew from pyproject.toml (needs uv)

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
UV     := $(shell command -v uv 2>/dev/null)

ifdef UV
  MAKE_VENV = $(UV) venv -q --allow-existing --python $(PYTHON) $(VENV)
  INSTALL   = $(UV) pip install -q --python $(BIN)/python --require-hashes -r
else
  MAKE_VENV = $(PYTHON) -m venv $(VENV)
  INSTALL   = $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r
endif

.PHONY: run test check format bench lock clean

run: $(VENV)/.run
	@exec $(BIN)/python -m gateway serve

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto $(TESTARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.run
	$(BIN)/python tests/bench/run.py $(BENCHARGS)

lock:
	uv pip compile pyproject.toml --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --python-version 3.11 --custom-compile-command "make lock" -q -o requirements.lock
	uv pip compile pyproject.toml --group dev -c requirements.lock --universal --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --python-version 3.11 --custom-compile-command "make lock" -q -o requirements-dev.lock

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "mediagate needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3"; exit 1; }
	@$(MAKE_VENV)

$(VENV)/.run: requirements.lock | $(BIN)/python
	@echo "installing what the gateway needs into $(VENV) …"
	@$(INSTALL) requirements.lock
	@touch $@

$(VENV)/.dev: requirements-dev.lock | $(BIN)/python
	@echo "installing what the tests need into $(VENV) …"
	@$(INSTALL) requirements-dev.lock
	@touch $@ $(VENV)/.run

clean:
	rm -rf $(VENV) var .mypy_cache .ruff_cache .pytest_cache
