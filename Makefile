# make demo    a historical photograph in colour
# make test    everything that needs no system package
# Other interpreters and places: make test PYTHON=python3.12 VENV=/somewhere/else

PYTHON ?= python3
VENV ?= .venv
# Which tests: system ones need a package of the operating system, see .ci/run.
MARKS ?= not gpu and not network and not system

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
EXAMPLE = $(firstword $(sort $(wildcard src/coloria/assets/*.jpg)))

.PHONY: help demo test lint format reference clean

help:
	@echo "make demo | test | lint | format | reference | clean"

demo: $(VENV)/.installed
	@mkdir -p demo
	$(BIN)/coloria colorize $(EXAMPLE) --model artistic -o demo --overwrite --side-by-side
	@echo "The coloured photograph, and both side by side, are in $(CURDIR)/demo:"
	@ls demo

test: lint
	$(BIN)/python -m pytest -m "$(MARKS)" --cov --cov-report=term

lint: $(VENV)/.installed-tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.installed-tests
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The parts of README.md and docs/ that come from the code.
reference: $(VENV)/.installed-tests
	$(BIN)/python docs/generate.py

clean:
	rm -rf $(VENV) demo dist build .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "coloria needs Python 3.11 or later; say which by make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

# What is installed is in editable form: a change of the code needs no new installation.
$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(PIP) install --quiet --upgrade 'pip>=25.1'
	$(PIP) install --quiet --editable .
	@touch $@

$(VENV)/.installed-tests: $(VENV)/.installed
	$(PIP) install --quiet --editable '.[train,tensorflow,scan,web,eval]' --group test
	@touch $@
