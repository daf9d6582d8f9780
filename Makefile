# make demo   set up .venv, compile the ops, train and evaluate the demonstration
# make test   the same set-up, then the whole test suite
# make fuzz   100,000 random calls of each compiled function under AddressSanitizer, and of its thread pool under ThreadSanitizer
# make bench  the op benchmarks        make lint  ruff and clang-format        make clean  back to the checkout
#
# PYTHON  the interpreter that .venv is made from
# TF      which TensorFlow: tf-cpu (default) or tf (with CUDA), see the extras in pyproject.toml

PYTHON = python3
TF = tf-cpu
VENV = .venv
BIN = $(VENV)/bin
STAMPS = $(VENV)/.kseg
PIP = $(BIN)/python -m pip --disable-pip-version-check
SETUP = setup.py pyproject.toml
CPP = $(shell find cpp -type f)
PYTEST_ARGS =
FUZZ_CALLS = 100000

export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo test bench fuzz cuda lint format native clean

demo: $(STAMPS)/native $(STAMPS)/demo
	$(BIN)/kseg demo

test: $(STAMPS)/native $(STAMPS)/test
	$(BIN)/python -m pytest $(PYTEST_ARGS)

bench: $(STAMPS)/native $(STAMPS)/bench
	$(BIN)/python -m benchmarks.run

fuzz: $(STAMPS)/native $(STAMPS)/test
	$(BIN)/python -m tests.fuzz.run --calls $(FUZZ_CALLS)
	$(BIN)/python -m tests.fuzz.run --calls $(FUZZ_CALLS) --sanitizer thread

# Needs nvcc: every CUDA kernel for every architecture, with registers and spills.
cuda: $(STAMPS)/native
	$(BIN)/python -m benchmarks.cuda.resources

lint: $(STAMPS)/lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $(shell find cpp -name '*.h' -o -name '*.cc' -o -name '*.cu' -o -name '*.cuh')

format: $(STAMPS)/lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(shell find cpp -name '*.h' -o -name '*.cc' -o -name '*.cu' -o -name '*.cuh')

native: $(STAMPS)/native

# Each stamp stands for a finished step, so that a second run does only what changed. The package is installed without its
# compiled part, because TensorFlow has to be there first; the ops are compiled in a step of their own.
$(STAMPS)/venv:
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade pip
	mkdir -p $(STAMPS) && touch $@

$(STAMPS)/package: $(STAMPS)/venv $(SETUP)
	KSEG_SKIP_BUILD=1 $(PIP) install --quiet --editable '.[$(TF),build]'
	touch $@

# Where something cannot be compiled (no compiler, say), kseg runs on its reference ops: build-ops has said so, and the
# next run tries again.
$(STAMPS)/native: $(STAMPS)/package $(CPP) kseg_ops/build.py kseg_ops/_toolchain.py
	KSEG_WERROR=1 $(BIN)/python -m kseg_ops.build && touch $@ || true

$(STAMPS)/%: $(STAMPS)/package $(SETUP)
	KSEG_SKIP_BUILD=1 $(PIP) install --quiet --editable '.[$*]'
	touch $@

clean:
	rm -rf $(VENV) build dist kseg_ops/_native kseg_ops/_cpp .pytest_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
