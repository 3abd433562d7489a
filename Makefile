# Everything there is to do here; `make help` lists it.
SHELL := bash
.DEFAULT_GOAL := help
BIN := .venv/bin
PACKAGES := conf lake local streaming models organize web jobs
ARCHIVE ?=

.PHONY: help setup setup-s3 setup-s3server demo test test-faults fuzz lint bench bench-ingest bench-train bench-accuracy bench-predict up down status clean distclean

help: ## List what there is to do
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install Python packages and JVM parts into this folder; nothing where all is there
	@local/setup.sh

setup-s3: ## Fetch what a lake on s3a:// needs
	@local/setup.sh spark broker s3

setup-s3server: ## Fetch an S3 server for tests on this machine
	@local/setup.sh spark broker s3server

demo: setup ## Run the whole path; ARCHIVE=zip, tar, folder or s3:// takes your own labelled pictures
	@$(BIN)/hub demo $(if $(ARCHIVE),--archive "$(ARCHIVE)")

test: setup-s3server ## Run the tests against a real broker, S3 server, Spark and TensorFlow
	@$(BIN)/python -m pytest -m "not faults"

test-faults: setup-s3server ## Kill, starve and break real processes, and what else takes long
	@$(BIN)/python -m pytest -m faults

fuzz: setup ## Put 20,000 spoilt pictures through the verify pass; SEED= and COUNT= give others
	@$(BIN)/python -m tests.fuzz.target --seed $(or $(SEED),1) --count $(or $(COUNT),20000)

lint: setup ## Check style, types and the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy $(addprefix -p ,$(PACKAGES))
	@$(BIN)/mypy tests
	@$(BIN)/lint-imports

bench: setup ## Measure push and ingest beside a plain loop; SMALL= and PHOTOS= take zips of your own
	@$(BIN)/python -m benchmarks.spine $(if $(SMALL),--small "$(SMALL)") $(if $(PHOTOS),--photos "$(PHOTOS)")

bench-ingest: setup ## Ingestion in steady state beside a bare loop and Daft; PHOTOS= takes a zip of photographs
	@$(BIN)/python -c "import daft" 2>/dev/null || $(BIN)/python -m pip install --quiet -c constraints.txt -e '.[bench]'
	@$(BIN)/python -m benchmarks.ingest $(if $(PHOTOS),--photos "$(PHOTOS)")

bench-train: setup ## Train beside a plain Keras script, with one worker and two; ARCHIVE= takes a zip of your own
	@$(BIN)/python -m benchmarks.training $(if $(ARCHIVE),--archive "$(ARCHIVE)")

bench-accuracy: setup ## Accuracy in MINUTES= (20), by recipe, beside a plain script; ARCHIVE= names labelled pictures
	@$(BIN)/python -m benchmarks.accuracy --archive "$(ARCHIVE)" $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEEDS),--seeds $(SEEDS))

bench-predict: setup ## Label a table on Spark beside a plain loop times the cores
	@$(BIN)/python -m benchmarks.prediction

up: setup ## Start the embedded broker and make the topics
	@$(BIN)/hub up

down: setup ## Stop the embedded broker
	@$(BIN)/hub down

status: setup ## Show broker, topics and tables
	@$(BIN)/hub status

clean: ## Stop the embedded broker and remove build/: lake, broker, models, logs
	@if [ -x $(BIN)/hub ]; then $(BIN)/hub down; fi
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

distclean: clean ## As clean, and remove what setup installed
	rm -rf .venv jars *.egg-info
