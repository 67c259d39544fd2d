# make demo, make test, make check: each needs Python 3.11 or newer and nothing else; the first
# run makes its own environment in .venv from requirements/dev.txt.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The first Python that is new enough; `make PYTHON=/opt/python3.12/bin/python3 test` names another.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { command -v $$python; break; }; done)

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: venv
venv: $(STAMP) ## the environment in .venv

$(STAMP): requirements/dev.txt pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
		echo "make: no Python 3.11 or newer was found (python3: $$(python3 --version 2>/dev/null || echo none))." \
			"Install one, or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; fi
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "make: $(PYTHON) has no venv or ensurepip." \
			"On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	"$(PYTHON)" -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python -m pip check --disable-pip-version-check >/dev/null
	@touch $(STAMP)

.PHONY: demo
demo: $(STAMP) ## the whole pipeline in a minute: SINK=http://… ships to an Elasticsearch, KEEP=DIR keeps the files
	@$(BIN)/auditctl demo $(if $(SINK),--sink "$(SINK)") $(if $(KEEP),--keep "$(KEEP)")

.PHONY: test
test: $(STAMP) ## every test; ARGS="-k writer" passes options on to pytest
	@$(BIN)/python -m pytest $(ARGS)

.PHONY: lint
lint: $(STAMP) ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: check
check: lint docs ## what a change has to pass: lint, the site, and the tests with branch coverage
	$(BIN)/python -m pytest --cov --cov-report=term $(ARGS)

.PHONY: docs
docs: $(STAMP) ## the site in build/site; a broken link or anchor fails it
	$(BIN)/sphinx-build -W --keep-going -n -q -d build/doctrees docs build/site
	@echo "make docs: build/site/index.html"

.PHONY: torture
torture: $(STAMP) ## the durability tests at length: 1,000 kills, 1,000,000 fuzzed inputs (docs/durability.md)
	AUDITLOG_TORTURE_KILLS=1000 AUDITLOG_POWER_LOSS_STATES=200 AUDITLOG_FUZZ=1000000 \
		AUDITLOG_MODEL_EXAMPLES=2000 $(BIN)/python -m pytest tests/durability $(ARGS)

.PHONY: bench
bench: $(STAMP) ## the benchmarks; writes docs/benchmarks.md
	$(BIN)/python -m benchmarks $(ARGS)

.PHONY: wheel-check
wheel-check: $(STAMP) ## build the wheel and use it in a clean environment with the base dependencies alone
	@work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; \
	$(BIN)/python -m build --wheel --no-isolation --outdir "$$work" . >"$$work/build.log" 2>&1 \
		|| { cat "$$work/build.log" >&2; exit 1; }; \
	"$(BIN)/python" -m venv "$$work/venv"; \
	"$$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
		--constraint requirements/dev.txt "$$work"/*.whl; \
	cp tests/wheel_check.py "$$work"; \
	cd "$$work" && ./venv/bin/python -I wheel_check.py

.PHONY: pins
pins: ## take newer versions of everything into requirements/dev.txt
	@work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; \
	"$(PYTHON)" -m venv "$$work/venv"; \
	"$$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check ".[agent,dev]"; \
	{ sed -n '/^#/p' requirements/dev.txt; \
	"$$work/venv/bin/python" -m pip freeze --all --disable-pip-version-check \
		| grep -v -e '^llama-orch-auditlog' -e '^pip==' | LC_ALL=C sort -f; } >"$$work/dev.txt"; \
	mv "$$work/dev.txt" requirements/dev.txt

.PHONY: clean
clean: ## remove the environment and what tools left behind
	rm -rf $(VENV) build dist .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
