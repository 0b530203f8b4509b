# Two commands do everything on a machine that has Python and git: `make demo`, `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The torch to install; another build of it may be large.
TORCH ?= torch==2.13.0
BACKENDS = $(shell for b in jax torch tensorflow; do \
	$(BIN)/python -c "import importlib.util as u, sys; sys.exit(not u.find_spec('$$b'))" && echo $$b; done)

.PHONY: demo test test-backends lint types contract check clean

demo: $(VENV)/.demo
	KERAS_BACKEND=jax $(BIN)/conveyor demo

test: $(VENV)/.dev
	@for backend in $(BACKENDS); do $(MAKE) --no-print-directory test-$$backend || exit 1; done

test-backends: $(VENV)/.backends
	@for backend in jax torch tensorflow; do $(MAKE) --no-print-directory test-$$backend || exit 1; done

test-jax test-torch test-tensorflow: test-%: $(VENV)/.dev
	@echo "== tests on $*"
	@$(BIN)/python tests/keras_suite/fetch.py
	KERAS_BACKEND=$* TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python -m pytest -n 2

check: lint types contract

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

contract: $(VENV)/.dev
	$(BIN)/lint-imports

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e ".[jax,demo]"
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	@touch $@

$(VENV)/.backends: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet -e ".[tensorflow]"
	@touch $@

clean:
	rm -rf $(VENV) .cache build dist conveyor-demo
