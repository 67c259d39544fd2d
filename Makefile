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
# $(call AGAIN,COMMAND): once more when it fails, as a download may that nothing is wrong with.
AGAIN = { $(1) || { echo "make: once more: $(firstword $(1))…" >&2; sleep 10; $(1); }; }

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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
	$(call AGAIN,$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements/dev.txt)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python -m pip check --disable-pip-version-check >/dev/null
	@touch $(STAMP)

.PHONY: demo
demo: $(STAMP) ## the whole pipeline in a minute: SINK=http://… ships to an Elasticsearch, KEEP=DIR keeps the files, ARCHIVE=1 archives
	@$(BIN)/auditctl demo $(if $(SINK),--sink "$(SINK)") $(if $(KEEP),--keep "$(KEEP)") $(if $(ARCHIVE),--archive)

# Several processes, each taking one file after the other in the order that tests/conftest.py gives
# them.  What they import is compiled once: tests start hundreds of processes.
PARALLEL := -n auto --dist loadfile --no-loadscope-reorder
unexport PYTHONDONTWRITEBYTECODE

.PHONY: test
test: $(STAMP) ## every test; ARGS="-k writer" passes options on to pytest, "-n 0" takes one process
	@$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

.PHONY: test-operations
test-operations: $(STAMP) ## the tests of deploy/ and examples/rbee: Prometheus, Alertmanager, systemd
	@$(BIN)/python -m pytest tests/operations $(ARGS)

.PHONY: power
power: $(STAMP) ## cut the power of virtual machines, 200 that write and 30 that ship; CUTS=20
	@$(BIN)/python -m tests.power $(or $(CUTS),200)

.PHONY: dashboards
dashboards: $(STAMP) ## build the Grafana dashboards in deploy/grafana/dashboards from their code
	$(BIN)/python -m deploy.grafana.build

# Its own packages come first, those of the environment behind them.
ELASTICSEARCH8 := $(VENV)/elasticsearch8
ELASTICSEARCH8_TESTS := tests/shippers/sinks/test_sink_contract.py tests/shippers/reconcile/test_reconciliation.py \
	$(addprefix tests/shippers/sinks/elasticsearch/test_,sink.py setup_plan.py index_template.py)

.PHONY: test-elasticsearch8
test-elasticsearch8: $(STAMP) ## the tests of the sink with client and server 8.19, in an environment of their own
	@rm -rf $(ELASTICSEARCH8)
	@$(call AGAIN,$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--target $(ELASTICSEARCH8) -r requirements/elasticsearch8.txt)
	@AUDITLOG_TEST_ELASTICSEARCH_VERSION=8.19.0 PYTHONPATH=$(CURDIR)/$(ELASTICSEARCH8) \
		$(BIN)/python -m pytest -m elasticsearch -k "not opensearch" $(ARGS) $(ELASTICSEARCH8_TESTS)

VERSITYGW_TESTS := tests/shippers/archive tests/test_documents.py::test_archive \
	$(addsuffix /test_archive.py,$(addprefix tests/auditctl/,agent commands doctor))

.PHONY: test-versitygw
test-versitygw: $(STAMP) ## the tests of the archive with another S3 server, for a second opinion; needs Go
	@AUDITLOG_TEST_S3=versitygw $(BIN)/python -m pytest $(ARGS) $(VERSITYGW_TESTS)

.PHONY: lint
lint: $(STAMP) ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: check
check: lint docs ## what a change has to pass: lint, the site, and the tests with branch coverage
	$(BIN)/python -m pytest $(PARALLEL) --cov --cov-report=term $(ARGS)

.PHONY: docs
docs: $(STAMP) ## the site in build/site; a broken link or anchor fails it
	$(BIN)/sphinx-build -W --keep-going -n -q -d build/doctrees docs build/site
	@echo "make docs: build/site/index.html"

.PHONY: torture
torture: $(STAMP) ## the durability tests at length: 1,000 kills, 1,000,000 fuzzed inputs (docs/durability.md)
	AUDITLOG_TORTURE_KILLS=1000 AUDITLOG_POWER_LOSS_STATES=200 AUDITLOG_FUZZ=1000000 \
		AUDITLOG_MODEL_EXAMPLES=2000 $(BIN)/python -m pytest tests/durability $(ARGS)

.PHONY: chaos
chaos: $(STAMP) ## every fault there is, with 1,000,000 events; and a cluster whose nodes are killed
	AUDITLOG_TEST_CHAOS_EVENTS=1000000 AUDITLOG_TEST_CLUSTER_EVENTS=400000 \
		$(BIN)/python -m pytest tests/chaos/test_chaos.py tests/chaos/test_cluster.py $(ARGS)

.PHONY: leak
leak: $(STAMP) ## ten minutes of load, and the agent's memory stays flat
	AUDITLOG_TEST_LEAK_SECONDS=600 $(BIN)/python -m pytest tests/chaos/test_leak.py -s $(ARGS)

.PHONY: mutants
mutants: $(STAMP) ## mutation testing of the pure modules (docs/mutation-testing.md); ARGS=PATH tries one
	$(BIN)/python -m tests.mutants $(ARGS)

.PHONY: bench
bench: $(STAMP) ## the benchmarks; writes docs/benchmarks.md
	$(BIN)/python -m benchmarks $(ARGS)

.PHONY: bench-plots
bench-plots: $(STAMP) ## docs/benchmarks.md, its pictures and the tables of docs/capacity.md anew, from the stored results
	$(BIN)/python -c 'from benchmarks import plots, report; report.write_documents(); plots.draw_all()'

# Every Python that the project says it runs on and this machine has.
PYTHONS ?= $(shell for minor in 11 12 13 14; do \
	command -v "$$(ls -d "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.$$minor.*/bin/python 2>/dev/null | tail -1)" \
	|| command -v python3.$$minor || true; done)
CLEAN_INSTALL := install --quiet --no-compile --disable-pip-version-check --constraint requirements/dev.txt

.PHONY: dist
dist: $(STAMP) ## an sdist, and the wheel that is made of it, in dist
	rm -rf dist
	$(BIN)/python -m build --no-isolation . >/dev/null
	@ls dist

.PHONY: wheel-check
wheel-check: dist ## use the wheel in clean environments: base, with [agent], by pipx; with every Python here
	@work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; \
	cp tests/wheel_check.py tests/agent_check.py "$$work"; wheel=$$(echo "$$PWD"/dist/*.whl); \
	for python in $(PYTHONS); do \
		"$$python" -m venv --without-pip --clear "$$work/venv"; \
		$(call AGAIN,$(BIN)/python -m pip --python "$$work/venv/bin/python" $(CLEAN_INSTALL) "$$wheel"); \
		(cd "$$work" && ./venv/bin/python -I wheel_check.py); \
		$(call AGAIN,$(BIN)/python -m pip --python "$$work/venv/bin/python" $(CLEAN_INSTALL) "$$wheel[agent]"); \
		(cd "$$work" && ./venv/bin/python -I agent_check.py); \
	done; \
	export PIPX_HOME="$$work/pipx" PIPX_BIN_DIR="$$work/bin" PIPX_MAN_DIR="$$work/man"; \
	$(call AGAIN,$(BIN)/python -m pipx install --quiet --python "$(PYTHON)" \
		--pip-args="--constraint $$PWD/requirements/dev.txt" "$$wheel[agent]"); \
	"$$work/bin/auditctl" --version; \
	"$$work/bin/auditlog" --version >/dev/null

.PHONY: test-wheel
test-wheel: dist ## the examples and the documents with the installed wheel, on every Python here
	@work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; wheel=$$(echo "$$PWD"/dist/*.whl); \
	git ls-files -z -- . ':!auditlog' ':!shippers' ':!retention' ':!auditctl' \
		| xargs -0 cp --parents -t "$$work"; \
	for python in $(PYTHONS); do \
		"$$python" -m venv --clear "$$work/venv"; \
		$(call AGAIN,$(BIN)/python -m pip --python "$$work/venv/bin/python" $(CLEAN_INSTALL) --no-deps -r requirements/dev.txt "$$wheel"); \
		(cd "$$work" && PATH="$$work/venv/bin:$$PATH" ./venv/bin/python -m pytest -q -p no:cacheprovider \
			$(ARGS) tests/examples tests/test_documents.py); \
	done

.PHONY: sbom
sbom: dist ## what an installation brings along, as CycloneDX, in dist/sbom.cdx.json
	@work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; \
	"$(PYTHON)" -m venv --without-pip "$$work/venv"; \
	$(call AGAIN,$(BIN)/python -m pip --python "$$work/venv/bin/python" $(CLEAN_INSTALL) \
		"$$(echo "$$PWD"/dist/*.whl)[agent]"); \
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --mc-type library --output-reproducible \
		--of JSON -o dist/sbom.cdx.json "$$work/venv/bin/python" 2>"$$work/log" \
		|| { cat "$$work/log" >&2; exit 1; }; \
	$(BIN)/python tests/sbom_check.py dist/sbom.cdx.json

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
