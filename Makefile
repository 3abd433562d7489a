# Set-up, demo, tests, linters and benchmarks; `make help` lists the targets.
SHELL := bash
.DEFAULT_GOAL := help
BIN := .venv/bin
PACKAGES := conf lake local streaming models organize web jobs
ARCHIVE ?=

.PHONY: help setup setup-s3 setup-s3server demo test test-faults compose-test fuzz lint bench bench-ingest bench-train bench-gpu bench-accuracy bench-transfer bench-predict bench-labels bench-web serve bench-organize up down status clean distclean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install Python packages and JVM dependencies into this folder, if they are missing
	@local/setup.sh

setup-s3: ## Download the JVM dependencies of a lake on s3a://
	@local/setup.sh spark broker s3

setup-s3server: ## Download the S3 server that the tests run
	@local/setup.sh spark broker s3server

demo: setup ## Run the whole pipeline; ARCHIVE=zip, tar, folder or s3:// uses your own labelled pictures
	@$(BIN)/hub demo $(if $(ARCHIVE),--archive "$(ARCHIVE)")

test: setup-s3server ## Run the tests against a real broker, S3 server, Spark and TensorFlow
	@$(BIN)/python -m pytest -m "not faults"

test-faults: setup-s3server ## Run the slow tests: kill, starve and break real processes
	@$(BIN)/python -m pytest -m faults

compose-test: setup ## Build, use, stop and restart the stack of docker-compose.yml; needs a Docker daemon
	@$(BIN)/python -m pytest tests/compose/stack.py

fuzz: setup ## Fuzz the verify pass with 20,000 mutated pictures; SEED= and COUNT= change them
	@$(BIN)/python -m tests.fuzz.target --seed $(or $(SEED),1) --count $(or $(COUNT),20000)

lint: setup ## Run ruff, mypy and import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy $(addprefix -p ,$(PACKAGES)) -m hub_client
	@$(BIN)/mypy tests
	@$(BIN)/lint-imports

bench: setup ## Benchmark push and ingest against a plain loop; SMALL= and PHOTOS= are zips of your own
	@$(BIN)/python -m benchmarks.spine $(if $(SMALL),--small "$(SMALL)") $(if $(PHOTOS),--photos "$(PHOTOS)")

bench-ingest: setup ## Benchmark ingestion in steady state against a plain loop and Daft; PHOTOS= is a zip
	@$(BIN)/python -c "import daft" 2>/dev/null || $(BIN)/python -m pip install --quiet -c constraints.txt -e '.[bench]'
	@$(BIN)/python -m benchmarks.ingest $(if $(PHOTOS),--photos "$(PHOTOS)")

bench-train: setup ## Benchmark training with one and two workers against a Keras script; ARCHIVE= is a zip
	@$(BIN)/python -m benchmarks.training $(if $(ARCHIVE),--archive "$(ARCHIVE)")

bench-gpu: ## Benchmark training on a GPU against Keras' fit; ONLY= an architecture, ALLOW_CPU=1 a trial without
	@$(or $(wildcard $(BIN)/python),python3) -m benchmarks.gpu $(if $(ONLY),--only "$(ONLY)") $(if $(ALLOW_CPU),--allow-cpu) $(if $(DETERMINISTIC),--deterministic) $(if $(INPUTS),--inputs)

bench-accuracy: setup ## Compare accuracy after MINUTES= (20) by recipe with a Keras script; ARCHIVE= is required
	@$(BIN)/python -m benchmarks.accuracy --archive "$(ARCHIVE)" $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEEDS),--seeds $(SEEDS))

bench-transfer: setup ## Compare accuracy with few pictures a label from published weights and from scratch; ARCHIVE=
	@$(BIN)/python -m benchmarks.transfer --archive "$(ARCHIVE)"

bench-predict: setup ## Benchmark batch inference on Spark against a plain loop on each core
	@$(BIN)/python -m benchmarks.prediction

bench-labels: setup ## Change a tenth of the labels: are they found, and does training gain? ARCHIVE= is a zip
	@$(BIN)/python -m benchmarks.organize.label_noise --archive "$(ARCHIVE)"

bench-web: setup ## Benchmark hub serve: pages, thumbnails, uploads; IMAGES= is the number of rows (100000)
	@$(BIN)/python -m benchmarks.web $(if $(IMAGES),--images "$(IMAGES)")

serve: setup ## Serve the pages and the HTTP API until Ctrl-C
	@$(BIN)/hub serve

bench-organize: setup ## Benchmark index, near duplicates (ARCHIVE=: of tiny pictures, too), clusters, snapshots, latency
	@$(BIN)/python -m benchmarks.organize.index
	@$(BIN)/python -m benchmarks.organize.duplicates
	@$(if $(ARCHIVE),$(BIN)/python -m benchmarks.organize.tiny_duplicates --archive "$(ARCHIVE)")
	@$(BIN)/python -m benchmarks.organize.judging
	@$(BIN)/python -m benchmarks.organize.snapshots
	@$(BIN)/python -m benchmarks.organize.latency

up: setup ## Start the embedded Kafka broker and create the topics
	@$(BIN)/hub up

down: setup ## Stop the embedded Kafka broker
	@$(BIN)/hub down

status: setup ## Show the broker, topics and tables
	@$(BIN)/hub status

clean: ## Stop the embedded broker and delete build/: lake, broker, models, logs
	@if [ -x $(BIN)/hub ]; then $(BIN)/hub down; fi
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

distclean: clean ## Like clean, and delete what setup installed
	rm -rf .venv jars *.egg-info
