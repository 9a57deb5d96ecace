# The two commands: `make run` and `make test`. Both set up .venv from requirements.lock first.
.DEFAULT_GOAL := help
.PHONY: help venv run test lint types contracts

export KEDRO_DISABLE_TELEMETRY := 1
export DO_NOT_TRACK := true
export MLFLOW_DISABLE_TELEMETRY := true
BIN := .venv/bin
WORKERS ?= 2

help:
	@echo "make run    kedro run on the bundled screens, WORKERS=2 fits at a time; writes data/08_reporting/report.html"
	@echo "make test   lint, types, import contracts, tests, WORKERS=2 files of them at a time"

venv:
	@PYTHON="$(PYTHON)" bash scripts/venv.sh

run: venv
	$(BIN)/kedro run --runner ParallelRunner --runner-params max_workers=$(WORKERS)
	@echo "Done. The report: data/08_reporting/report.html"

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: venv
	$(BIN)/mypy

contracts: venv
	$(BIN)/lint-imports

test: lint types contracts
	@mkdir -p build
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --junitxml=build/tests.xml
	@echo "Done. Lint, types, import contracts and tests passed; results: build/tests.xml"
