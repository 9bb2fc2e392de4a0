# `make demo` and `make test` do everything from a bare Debian with Python 3.11, pip and make.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

# Tests of numbers, and the kernels of two other processors: roundings differ, results may not.
NUMERICAL := $(addprefix tests/,batches diagnostics distributed docs engine losses pieces plans testing theory train) \
  --ignore tests/train/test_kill.py
SSE := MKL_CBWR=COMPATIBLE ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 OMP_NUM_THREADS=1
AVX2 := MKL_CBWR=AVX2 ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 OMP_NUM_THREADS=2
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist loadfile

.PHONY: demo test test-all lint chromium install clean

demo: $(INSTALLED)
	$(BIN)/couplings demo

test: $(INSTALLED) lint chromium
	$(PYTEST)

# All tests; those of numbers on the other kernels; the long ones, which draw thousands of calls and tie up both cores.
test-all: $(INSTALLED) lint chromium
	$(PYTEST) -m "not long"
	$(SSE) $(PYTEST) -m "not long" $(NUMERICAL)
	$(AVX2) $(PYTEST) -m "not long" $(NUMERICAL)
	$(BIN)/python -m pytest --numprocesses auto --dist load -m long

lint: $(INSTALLED)
	$(BIN)/ruff check src tests
	$(BIN)/ruff format --check src tests
	$(BIN)/mypy

# Pages are tested in a browser: Debian's, where none is on the PATH.
chromium:
	@command -v chromium >/dev/null || { \
	  echo "Installing chromium with apt-get: tests open the pages of couplings inspect in it."; \
	  become=$$(test "$$(id -u)" = 0 || echo sudo); \
	  $$become apt-get update -qq && $$become env DEBIAN_FRONTEND=noninteractive \
	    apt-get install -y -qq --no-install-recommends chromium >/dev/null; }

install: $(INSTALLED)

# --without-pip: Debian's python3 makes no environment with pip unless python3-venv is installed.
$(INSTALLED): pyproject.toml constraints.txt
	@echo "Installing into .venv: a few minutes, most of them for torch."
	@test -x $(BIN)/python || $(PYTHON) -m venv --without-pip .venv
	@$(PYTHON) -m pip --python $(BIN)/python install --quiet --constraint constraints.txt --editable '.[train,report,export,parquet,tensorboard,theory,dev]'
	@touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
