# Every target makes its own .venv first; nothing but git, make and Python 3.11+ is needed.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PRODUCT := $(VENV)/.product
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
WORKERS ?= auto

.PHONY: help demo examples test matrix records check bench benchmark-peers format interop-clients clean

help: ## show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 20

demo: $(PRODUCT) ## watch proposals go from event to verified on-chain score
	@$(BIN)/dao-scorer demo

test: $(READY) ## run every test
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

matrix: $(READY) ## kill every process at every durable boundary, on both chains (about an hour)
	DAO_SCORER_FULL_MATRIX=1 $(BIN)/python -m pytest -n $(WORKERS) -k "killed or reorganised or pools" tests/acceptance

RECORDS := tests/integration/test_sdk_cuts.py \
	tests/integration/test_transactions_weather.py tests/integration/test_batches_weather.py \
	tests/acceptance/test_replay_audited.py tests/acceptance/test_replay_tampered.py \
	tests/acceptance/test_linearizable.py tests/acceptance/test_server_killed_under_load.py \
	tests/property/test_engine_oracle.py tests/integration/test_chain_anvil.py \
	tests/property/test_rpc_pool_weather.py tests/property/test_contracts_rounds_walk.py \
	tests/property/test_contracts_coverage.py tests/integration/test_scorers_rounds_crashes.py \
	tests/property/test_listener_histories.py tests/property/test_listener_soak.py \
	tests/simulation/test_simulation.py tests/simulation/test_house_soak.py \
	tests/examples/test_examples.py tests/examples/test_examples_cut.py \
	tests/examples/test_gateway_in_flight.py tests/integration/test_server_away.py

records: $(READY) ## hold the engine against its oracle at full length (some hours)
	DAO_SCORER_RECORDS=1 $(BIN)/python -m pytest -s $(RECORDS)

check: $(READY) ## lint, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

examples: $(READY) ## play every example, each with a crash in the middle
	@$(BIN)/python -m examples

bench: $(READY) ## run the benchmarks
	$(BIN)/python -m benchmarks

benchmark-peers: $(PRODUCT) ## install what the benchmarks compare with (DBOS, Restate)
	@.ci/install-benchmark-peers $(BIN)/python

format: $(READY) ## format the code
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

# What the product needs comes first, so that the demo waits for nothing else.
$(PRODUCT): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later was not found: install it, or run: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Preparing $(VENV) with $(PYTHON) (once) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) --editable '.[chain]'
	@touch $@

$(READY): $(PRODUCT)
	@echo "Adding what the checks and tests need (once) ..."
	@$(INSTALL) --editable '.[dev]'
	@touch $@

interop-clients: ## install the published SDKs that tests/interop runs against our server
	@.ci/install-interop-clients

clean: ## remove what the targets made
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .interop .peers
