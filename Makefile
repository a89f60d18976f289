# The one entry for people and machines. Needs python3 and a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help venv test lint format demo clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(INSTALLED) ## make .venv and install the package into it, editable, with all that development needs

$(INSTALLED): pyproject.toml tools/make_venv.py
	$(PYTHON) tools/make_venv.py $(VENV) --python "$$(command -v $(PYTHON))" --editable '.[dev]'
	@touch $@

test: venv ## run all tests: SQLite, PostgreSQL, real Airflows, other interpreters (ARGS="-k word" for pytest)
	$(BIN)/python -m tests.run $(ARGS)

lint: venv ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: venv ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

demo: venv ## one bad hour in a real Airflow, and its repair (KEEP=1 leaves Airflow up)
	$(BIN)/python -m demo

clean: ## remove what the other targets made
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
