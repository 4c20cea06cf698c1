# `make study` and `make test` work on a fresh Linux machine with python3, pip and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
NAME ?= quickstart-$(shell date +%Y%m%d-%H%M%S)

.PHONY: install study notebook test pytest lint types bench clean

install: $(STAMP)

# Torch's build in the registry brings CUDA along: 5 GB, some two minutes. It runs on the CPU too.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv --upgrade-deps $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[aws,dev,dashboard,export,optimizers]'
	touch $@

study: $(STAMP)
	$(BIN)/python studies/quickstart.py --name $(NAME)

notebook: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[notebook]'
	$(BIN)/jupyter lab notebooks/figures.ipynb

# Types beside the tests: these wait for Ray's processes now and then.
test: lint
	$(MAKE) --no-print-directory --jobs=2 types pytest

pytest: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

# All of it, on two idle cores: writes docs/performance.md, in less than 20 minutes.
bench: $(STAMP)
	$(BIN)/python benchmarks/bench.py

clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
