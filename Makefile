# The one entry for people and machines. Needs python3 and a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
UI := airflow_lean_provider/ui
BUNDLE := $(UI)/dist/main.js
ARGS ?=
N ?= 100

# Hundreds of processes of Python start in a test run: without bytecode, each would compile Airflow anew.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help venv ui wheel test prove faults simulate mutants lint format openapi bench demo clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(INSTALLED) ## make .venv and install the package into it, editable, with all that development needs

$(INSTALLED): pyproject.toml tools/make_venv.py
	$(PYTHON) tools/make_venv.py $(VENV) --python "$$(command -v $(PYTHON))" --editable '.[dev]' --attempt '.[mariadb]'
	@touch $@

ui: $(BUNDLE) ## build the pages in Airflow's UI, with Node from the PATH or from pip

$(BUNDLE): $(shell find $(UI)/src $(UI)/tests $(UI)/public -type f) $(wildcard $(UI)/*.json $(UI)/*.ts) tools/make_ui.py | $(INSTALLED)
	$(BIN)/python tools/make_ui.py --test
	@touch $@

wheel: $(INSTALLED) $(BUNDLE) ## build the wheel, with the pages in it
	$(BIN)/python -m pip wheel --quiet --no-deps -w dist .

test: venv ## run all tests: SQLite, PostgreSQL, MariaDB, real Airflows, other interpreters (ARGS="-k word" for pytest)
	-@$(MAKE) --no-print-directory ui
	$(BIN)/python -m tests.run $(ARGS)

simulate: venv ## play N random histories and judge them (N=100; ARGS="--interleaved --minutes 5")
	$(BIN)/python -m tests.simulation -n $(N) $(ARGS)

prove: venv ## many cords at once in a real Airflow, for up to an hour (ARGS="--database mariadb", "--executor celery")
	ANDON_TEST_BACKEND=postgres ANDON_TEST_LONG=yes $(BIN)/python -m pytest tests/system -m long
	$(BIN)/python -m tests.prove $(ARGS)

faults: venv ## break every step towards the database, for hours (ARGS="--every 20", "--backend mariadb")
	$(BIN)/python -m tests.faults $(ARGS)

mutants: venv ## break the product in many ways, and see the simulation complain (ARGS="NAME..." for some)
	$(BIN)/python -m tests.simulation.mutation $(ARGS)

lint: venv ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: venv ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

openapi: venv ## write the OpenAPI document of the REST API anew
	$(BIN)/python -m airflow_lean_provider.api.openapi

bench: venv ## measure what is promised, on PostgreSQL: see benchmarks/README.md
	-@$(MAKE) --no-print-directory ui
	$(BIN)/python -m benchmarks.preview --results benchmarks/results

demo: venv ## one bad hour in a real Airflow, and its repair (KEEP=1 leaves Airflow up)
	-@$(MAKE) --no-print-directory ui
	$(BIN)/python -m demo

clean: ## remove what the other targets made
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis $(UI)/dist $(UI)/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
