# `make run` and `make test` do all set-up themselves; they need Python 3.11 or newer and make, nothing else.
SHELL := /bin/sh
.DEFAULT_GOAL := help
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
BIN := .venv/bin
READY := .venv/.ready
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check
ARGS ?=
# Whoever may not keep what it compiles starts slowly, and the tests start hundreds of daemons and workers.
unexport PYTHONDONTWRITEBYTECODE
# Tests run side by side, a file at a time, those with servers first: they wait more than they work, the last ones do not.
SIDE_BY_SIDE ?= -n 4 --dist loadfile --no-loadscope-reorder
# Those without servers only work.
SIDE_BY_SIDE_FAST ?= -n auto --maxprocesses 8 --dist loadfile

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  ARGS="..." is handed on, as in: make run ARGS="--exit-when-idle 5s"'

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "esmd needs Python 3.11 or newer; set PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "setting up .venv with $(PYTHON) (once, about half a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) --require-hashes -r constraints.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: setup
setup: $(READY) ## Make the virtual environment (every other target does it too)

.PHONY: run
run: $(READY) ## Show mappings at work, on an AWS of their own (Ctrl-C ends it)
	@$(BIN)/esmd dev examples/quickstart --traffic examples/quickstart/traffic.jsonl $(ARGS)

.PHONY: test
test: ## Check the code and its speed, and run every test but the slow ones
	@$(MAKE) --no-print-directory -j 3 ready-to-test
	@lost=; $(BIN)/python -m benchmarks.guard || lost=1; \
		$(BIN)/pytest -m "not slow" $(SIDE_BY_SIDE) $(ARGS) || exit $$?; \
		test -z "$$lost" || { echo "make test: the guard of the benchmarks failed, see above the tests" >&2; exit 1; }

# Side by side: what is installed for the tests needs nothing of .venv.
.PHONY: ready-to-test
ready-to-test: check localstack aws-cli kinesis-local

.PHONY: test-fast
test-fast: $(READY) ## Run the quick tests only: no servers, fewer of what is many alike
	@HYPOTHESIS_PROFILE=few $(BIN)/pytest -m "not server and not slow and not thorough" $(SIDE_BY_SIDE_FAST) $(ARGS)

.PHONY: test-slow
test-slow: $(READY) servers ## Run the slow tests: large runs, many kills
	@$(BIN)/pytest -m slow --durations=0 $(ARGS)

.PHONY: conformance
conformance: $(READY) servers ## Try what AWS was recorded to do on every server; prints a matrix
	@sh tests/servers/install_moto.sh || echo "moto could not be installed; it is left out of the matrix"
	@PYTHONPATH=tests $(BIN)/python -m conformance $(ARGS)

MINUTES ?= 10
SEED ?=
.PHONY: chaos
chaos: $(READY) servers ## Faults, kills and writers by a seed: make chaos MINUTES=10 SEED=1
	@PYTHONPATH=tests $(BIN)/python -m chaos --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(ARGS)

.PHONY: soak
soak: $(READY) ## Steady load without faults: memory, files and latency must not drift
	@PYTHONPATH=tests $(BIN)/python -m chaos.soak --minutes $(MINUTES) $(ARGS)

.PHONY: explore
explore: $(READY) ## Let the property tests look for new examples
	@HYPOTHESIS_PROFILE=explore $(BIN)/pytest tests/property $(ARGS)

.PHONY: fuzz
fuzz: $(READY) ## Give every reader bad input: make fuzz CASES=100000
	@FUZZ_CASES=$(or $(CASES),100000) $(BIN)/pytest -m slow --durations=0 tests/fuzz $(ARGS)

.PHONY: fuzz-guided
fuzz-guided: $(READY) ## The same guided by coverage, with atheris: make fuzz-guided SECONDS=60
	@PYTHONPATH=tests $(BIN)/python -m fuzz.atheris_run $(or $(SECONDS),60) $(ARGS)

.PHONY: mutants
mutants: $(READY) ## Change mappings/ in small ways and see whether a test fails: make mutants MINUTES=60
	@$(BIN)/python -m mutmut --version >/dev/null 2>&1 || $(PIP) 'mutmut>=3.8,<4'
	@PYTHONPATH=tests $(BIN)/python -m fuzz.mutants $(or $(MINUTES),60) $(ARGS)

.PHONY: bench
bench: $(READY) ## Measure against floors and peers, twenty minutes; writes benchmarks/RESULTS.md
	@$(BIN)/python -m benchmarks $(ARGS)

.PHONY: bench-localstack
bench-localstack: $(READY) localstack ## Measure against LocalStack's own mapping, on a real LocalStack
	@$(BIN)/python -m benchmarks --only localstack $(ARGS)

.PHONY: bench-guard
bench-guard: $(READY) ## Fail if a main scenario has lost 15 % against its floor
	@$(BIN)/python -m benchmarks.guard $(ARGS)

.PHONY: coverage
coverage: $(READY) servers ## Run the tests and show which lines they miss
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -m "not slow" -q $(ARGS)
	@$(BIN)/coverage combine -q
	@$(BIN)/coverage report

.PHONY: check
check: $(READY) ## Lint, format check and types
	@$(BIN)/ruff check -q .
	@$(BIN)/ruff format -q --check .
	@$(BIN)/mypy

.PHONY: fmt
fmt: $(READY) ## Format the code and mend what the linter can mend
	@$(BIN)/ruff check -q --fix . || true
	@$(BIN)/ruff format -q .

.PHONY: servers
servers: localstack kinesis-local aws-cli ## Install the optional test servers that this machine can have

.PHONY: kinesis-local
kinesis-local:
	@sh tests/servers/install_kinesis_local.sh \
		|| echo "kinesis-local could not be installed; its tests will be skipped (make servers tries again)"

.PHONY: aws-cli
aws-cli:
	@sh tests/servers/install_aws_cli.sh \
		|| echo "the aws-cli could not be installed; its tests will be skipped (make servers tries again)"

.PHONY: localstack
localstack: ## Install real LocalStack for the tests (needs Python 3.13)
	@sh tests/servers/install_localstack.sh \
		|| echo "LocalStack could not be installed; its tests will be skipped (make localstack tries again)"

.PHONY: generated
generated: $(READY) ## Write again what is made from the code: schema, tables of the docs
	@$(BIN)/python -m esmd.config.reference
	@$(BIN)/python -m esmd.observe.catalogue
	@$(BIN)/python -m esmd.observe.metric_names
	@$(BIN)/python -m esmd.cli.reference
	@$(BIN)/python -m esmd.api.lambda_api.reference
	@PYTHONPATH=tests $(BIN)/python -m support.failure_page

.PHONY: lock
lock: ## Resolve constraints.txt anew (needs uv)
	@uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		--extra dev --extra test pyproject.toml -o constraints.txt -q --upgrade
	@{ echo "# Every package of the development environment, pinned with hashes. Made by \`make lock\`; do not edit."; \
		cat constraints.txt; } > constraints.new && mv constraints.new constraints.txt

.PHONY: clean
clean: ## Remove everything that was installed or built
	rm -rf .venv .localstack .kinesis-local .moto .aws-cli benchmarks/.env benchmarks/.node benchmarks/build build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache mutants .hypothesis .coverage*
