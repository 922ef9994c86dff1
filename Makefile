# `make demo` and `make test` need Python 3.11 or later and a package index, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
DEMO := FOOTNOTE_RETRIEVAL__PATH=build/demo $(BIN)/footnote

.PHONY: demo test lint stores baseline clean

demo: $(VENV)/base.installed ## ingest docs/ and examples/, ask a question, and one that cannot be answered
	@rm -rf build/demo
	$(DEMO) ingest docs examples/skerry-line
	$(DEMO) ask "How often are life jackets inspected?"
	@echo
	$(DEMO) ask "Who is the chairman of the supervisory board?" || test $$? -eq 4

test: lint ## lint, types, layers and every test, those of the extras included
	$(BIN)/python -m pytest

lint: $(VENV)/all.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# setuptools comes with the constraints, so that an editable install downloads nothing of its own.
$(VENV)/base.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) setuptools
	$(PIP) --no-build-isolation --editable .
	@touch $@

$(VENV)/all.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) setuptools
	$(PIP) --no-build-isolation --editable '.[all,dev]'
	@touch $@ $(VENV)/base.installed

stores: $(VENV)/all.installed ## what every store promises, on a PostgreSQL of its own or on the one of POSTGRES_URL
	REQUIRE_STORES=all $(BIN)/python -m pytest tests/contract

baseline: $(VENV)/all.installed ## what tests hold the ranking against, measured anew: after it was changed on purpose
	FOOTNOTE_EVALS__PATH=build/evals $(BIN)/footnote eval run --dataset evals/sets/skerry -m default -m dense -m lexical \
		--keep 20 --out evals/sets/skerry/baseline

clean: ## remove what was built, but for the environment
	rm -rf build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
