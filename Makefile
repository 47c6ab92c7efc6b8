# Needs only make and Python 3.11 or newer: `make demo`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
BENCH ?= decision middleware metrics clients pick end_to_end import_time latency

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench test-legacy demo-from-wheel

help: ## What can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## Show one decision travel a chain of services (DEMO=--keep, --json …)
	@$(BIN)/graymw demo $(DEMO)

test: $(VENV)/.dev ## Run the tests (ARGS=tests/core …)
	@$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.dev ## Style, types and the architecture's import contract
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

bench: $(VENV)-bench/.bench ## Figures against peers, as ratios of one run (BENCH="decision middleware" …)
	@export GRAYMW_STATE_DIR="$(CURDIR)/$(VENV)-bench/state"; for name in $(BENCH); do $(VENV)-bench/bin/python -m bench.$$name || exit 1; done

test-legacy: ## The thrift exporter of graymw[jaeger-legacy], in its own environment
	@VENV="$(VENV)-legacy" PYTHON="$(PYTHON)" tests/legacy/run.sh

demo-from-wheel: ## The demo as a user gets it: from a wheel, in an environment of its own, outside the checkout
	@rm -rf $(VENV)-wheel && $(PYTHON) -m venv $(VENV)-wheel
	@$(VENV)-wheel/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir $(VENV)-wheel/dist .
	@wheel=$$(echo $(VENV)-wheel/dist/*.whl) && \
	  $(VENV)-wheel/bin/python -m pip install --quiet --disable-pip-version-check "$$wheel[demo]"
	@bin=$$(realpath $(VENV)-wheel/bin) && cd / && "$$bin/graymw" demo

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "graymw needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "setting up $(VENV) …"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	@echo "installing graymw with what its demo needs …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "installing graymw with what its development needs …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	@touch $@

$(VENV)-bench/.bench: pyproject.toml
	@echo "installing graymw and the peers it is measured against …"
	@test -x $(VENV)-bench/bin/python || $(PYTHON) -m venv $(VENV)-bench
	@$(VENV)-bench/bin/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	@$(VENV)-bench/bin/python -m pip install --quiet --disable-pip-version-check --editable . --group bench
	@touch $@
