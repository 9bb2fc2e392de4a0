# `make demo` and `make test` do everything from a bare Debian with Python 3.11, pip and make.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: demo test lint install clean

demo: $(INSTALLED)
	$(BIN)/couplings demo

test: $(INSTALLED) lint
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

lint: $(INSTALLED)
	$(BIN)/ruff check src tests
	$(BIN)/ruff format --check src tests
	$(BIN)/mypy

install: $(INSTALLED)

# --without-pip: Debian's python3 makes no environment with pip unless python3-venv is installed.
$(INSTALLED): pyproject.toml constraints.txt
	@echo "Installing into .venv: a few minutes, most of them for torch."
	@test -x $(BIN)/python || $(PYTHON) -m venv --without-pip .venv
	@$(PYTHON) -m pip --python $(BIN)/python install --quiet --constraint constraints.txt --editable '.[train,report,export,parquet,tensorboard,theory,dev]'
	@touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
