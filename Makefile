# Two commands do everything on a machine that has Python and git: `make demo`, `make test`.
# For changes of native/: `make native`, `make test-native`, `make sanitize`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The torch to install; another build of it may be large.
TORCH ?= torch==2.13.0
BACKENDS = $(shell for b in jax torch tensorflow; do \
	$(BIN)/python -c "import importlib.util as u, sys; sys.exit(not u.find_spec('$$b'))" && echo $$b; done)

CMAKE = $(BIN)/cmake
JOBS := $(shell getconf _NPROCESSORS_ONLN)

.PHONY: demo test test-backends test-numpy native test-native sanitize sanitize-address sanitize-thread \
	build-sanitize-address build-sanitize-thread \
	lint types contract check clean

demo: $(VENV)/.demo
	KERAS_BACKEND=jax $(BIN)/conveyor demo

test: $(VENV)/.dev
	@for backend in $(BACKENDS) numpy; do $(MAKE) --no-print-directory test-$$backend || exit 1; done

ON = jax torch tensorflow
test-backends: $(VENV)/.backends
	@for backend in $(ON); do $(MAKE) --no-print-directory test-$$backend || exit 1; done

# Each begins at another end, so that tests beside each other share models and what is compiled.
WORKERS = -n 2 --dist worksteal
test-jax test-torch test-tensorflow: test-%: $(VENV)/.dev
	@echo "== tests on $*"
	@$(BIN)/python tests/keras_suite/fetch.py
	KERAS_BACKEND=$* TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python -m pytest $(WORKERS)

# The suite of the layer on the other engine, and on each instruction set: test-engines-torch, too.
TARGETS = portable scalar avx2 avx512 avx512_bf16
test-engines-jax test-engines-torch test-engines-tensorflow: test-engines-%: $(VENV)/.dev
	@$(BIN)/python tests/keras_suite/fetch.py
	@for target in $(TARGETS); do \
		echo "== tests on $*, $$target"; \
		CONVEYOR_TARGET=$$target KERAS_BACKEND=$* TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python -m pytest $(WORKERS) \
			tests/layers tests/ops tests/keras_suite || exit 1; \
	done

# Keras's NumPy backend has no gradients: only what is about it.
test-numpy: $(VENV)/.dev
	@echo "== tests on numpy"
	KERAS_BACKEND=numpy $(BIN)/python -m pytest tests/ops/test_native_on_numpy.py

# The native engine, into the source tree: after a change of native/, and nothing else.
native: $(VENV)/.dev
	$(CMAKE) -S . -B build/editable -DCONVEYOR_EDITABLE=ON
	$(CMAKE) --build build/editable --parallel $(JOBS)
	$(CMAKE) --install build/editable

# Its C++ tests: as it is shipped, and then under AddressSanitizer with UndefinedBehaviorSanitizer
# and under ThreadSanitizer.
# Where pip has compiled the core already.
test-native: BUILD = build/editable
test-native: $(VENV)/.dev
	$(build-tests)
	$(BUILD)/native/tests/conveyor_tests

# Both are built at once, as the largest file is half of the work and leaves a core idle; calls
# are timed when they run, so one runs after the other.
sanitize: $(VENV)/.dev
	$(MAKE) --no-print-directory --jobs 2 build-sanitize-address build-sanitize-thread
	$(MAKE) --no-print-directory sanitize-address
	$(MAKE) --no-print-directory sanitize-thread
sanitize-address sanitize-thread: sanitize-%: build-sanitize-%
	build/$@/native/tests/conveyor_tests

# Without avx2: the kernels are the same in all, and it takes half a minute.
build-sanitize-address: SANITIZERS = address;undefined
build-sanitize-address: OPTIONS = "-DCONVEYOR_TARGETS=avx512;avx512_bf16"
build-sanitize-thread: SANITIZERS = thread
build-sanitize-thread: OPTIONS = -DCONVEYOR_TARGETS=  # scalar alone: threads are the same in all
build-sanitize-address build-sanitize-thread: BUILD = $(@:build-%=build/%)
build-sanitize-address build-sanitize-thread: $(VENV)/.dev
	$(build-tests)

define build-tests
	$(CMAKE) -S . -B $(BUILD) -DCONVEYOR_TESTS=ON "-DCONVEYOR_SANITIZE=$(SANITIZERS)" $(OPTIONS)
	$(CMAKE) --build $(BUILD) --parallel $(JOBS) --target conveyor_tests
endef

check: lint types contract

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

contract: $(VENV)/.dev
	$(BIN)/lint-imports

# Always the same cmake and ninja: those of a build of pip's own would compile everything anew.
INSTALL = $(BIN)/python -m pip install --quiet --no-build-isolation
$(VENV)/.venv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "scikit-build-core>=1.1" "cmake>=3.20" ninja
	@touch $@

$(VENV)/.demo: pyproject.toml $(VENV)/.venv
	$(INSTALL) -e ".[jax,demo]"
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.venv
	$(INSTALL) -e ".[jax,demo,dev]"
	@touch $(VENV)/.demo $@

$(VENV)/.backends: $(VENV)/.dev
	$(INSTALL) "$(TORCH)"
	$(INSTALL) -e ".[tensorflow]"
	@touch $@

clean:
	rm -rf $(VENV) .cache build dist conveyor-demo
