# Two commands matter: `make run` and `make test`. Both set everything up that they need; `make help` lists the rest.

# The system's python3 if it is new enough: distributions build it with profiles, and it takes a tenth to a fifth less
# processor time than one that pyenv compiles. Else python3, or a newer one that runs: a shim of pyenv only runs if its version is active.
PYTHON ?= $(or $(shell for name in /usr/bin/python3 python3 python3.14 python3.13 python3.12 python3.11; do \
	wanted=""; if [ $$name = /usr/bin/python3 ]; then wanted="import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"; fi; \
	if $$name -c "$$wanted" 2> /dev/null; then echo $$name; break; fi; done),python3)
VENV   ?= .venv
BIN     = $(VENV)/bin
# How many processes run the tests: two more than there are cores, because a test often waits for a process of its own.
JOBS   ?= $(shell $(BIN)/python -c "import os; print(2 + os.cpu_count())")
# How long a torture run lasts, and the seed of its faults.
MINUTES ?= 5
SEED    ?= 1

# How long a soak lasts.
SOAK    ?= 30

# How many simulations `make simulate` runs, or which.
SEEDS  ?= 1000

# Every target starts processes, which would else compile all modules anew each time: two seconds a process.
unexport PYTHONDONTWRITEBYTECODE

MUTATION = build/mutation
AUDIT    = build/audit

.DEFAULT_GOAL := help
.PHONY: help run test test-system test-setup node-tools check fuzz audit sbom bench bench-growth soak simulate torture mutate schema events analysts examples screenshot format lock clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## */\1@/' | awk -F@ '{ printf "  make %-11s %s\n", $$1, $$2 }'

run: $(VENV)/.ready-to-run ## Set up, then run everything on this machine until Ctrl-C
	@$(BIN)/daftari up

test: test-setup ## Set up, then run the test suite, browser tests included; those of `make test-system` apart
	@$(BIN)/pytest -n $(JOBS)

test-system: test-setup node-tools ## Set up, then run the tests that need minutes or Node.js: real servers that fail over, full disks, storms, generated clients
	@$(BIN)/pytest -n $(JOBS) -m system

test-setup: $(VENV)/.ready-to-test
	@$(BIN)/python -m tests.support.browser

node-tools: $(VENV)/.node-tools

fuzz: test-setup ## Send the API about 50,000 generated requests by every identity; none may cause a fault
	@FUZZ_EXAMPLES=120 $(BIN)/pytest -n $(JOBS) -m "system or not system" \
		tests/api/http/framework/test_conformance.py tests/api/http/framework/test_every_identity.py

check: $(VENV)/.ready-to-test ## Check format, lint, types, imports and the length of files
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy api daraja ledger payments projections shop tests
	@$(BIN)/lint-imports
	@$(BIN)/python -m tests.support.lengths

# pip-audit calls a package that it cannot look up "skipped", and passes: that is no scan, and is said.
audit: $(AUDIT)/.ready ## Look up every locked package in the published advisories
	@rm -f build/audit.json; status=0; \
	$(AUDIT)/bin/pip-audit --requirement requirements.txt --disable-pip --require-hashes --timeout 20 \
		--progress-spinner off --format json --output build/audit.json > build/audit.log 2>&1 || status=$$?; \
	if [ ! -s build/audit.json ] || grep -q '"skip_reason"' build/audit.json; then \
		echo "NOT SCANNED: the advisories cannot be read from here. Run \`make audit\` where they can."; \
		if grep -q '"fix_versions"' build/audit.json; then cat build/audit.log; exit 1; fi; \
	else cat build/audit.log; exit $$status; fi

sbom: $(AUDIT)/.ready ## Write build/sbom.cdx.json, the bill of materials of what runs (CycloneDX 1.6)
	@$(AUDIT)/bin/cyclonedx-py requirements requirements.txt --sv 1.6 --output-reproducible --of JSON \
		-o build/sbom.cdx.json 2> build/sbom.log || { cat build/sbom.log >&2; exit 1; }
	@echo "build/sbom.cdx.json lists $$(grep -c '"purl"' build/sbom.cdx.json) packages."

bench: $(VENV)/.ready-to-test ## Measure Daftari in turns with plain rows, a bare view and PostgreSQL alone (a quarter of an hour)
	@$(BIN)/python -m tests.bench

bench-growth: $(VENV)/.ready-to-test ## Measure each step in stores of 10,000 to a million sessions: SIZES=10000,300000
	@$(BIN)/python -m tests.bench.growth $(if $(SIZES),--sizes $(SIZES))

soak: $(VENV)/.ready-to-test ## Half the load for SOAK minutes; fails if memory, lag or bloat grow
	@$(BIN)/python -m tests.bench.soak --minutes $(SOAK)

torture: $(VENV)/.ready-to-test ## Try to lose money for MINUTES minutes: kill processes under load, then audit every payment
	@$(BIN)/python -m tests.torture storm --minutes $(MINUTES) --seed $(SEED)

simulate: $(VENV)/.ready-to-test ## Simulate days of payments with faults in memory: SEEDS=1000 of them, or SEEDS=7-9
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS)

mutate: $(MUTATION)/.ready ## Mutate the ledger in thousands of ways and count how many its tests notice (half an hour)
	@rm -rf mutants && echo "The output of mutmut goes into $(MUTATION)/run.log ..."
	@$(MUTATION)/bin/mutmut run > $(MUTATION)/run.log 2>&1
	@$(MUTATION)/bin/mutmut export-cicd-stats > $(MUTATION)/stats.log && cat mutants/mutmut-cicd-stats.json

schema: $(VENV)/.ready-to-test ## Write docs/schema.md from a database that was just migrated
	@$(BIN)/python -m tests.support.schema_page

events: $(VENV)/.ready-to-test ## Write docs/events.md from the event classes and their stored samples
	@$(BIN)/python -m tests.support.events_page

analysts: $(VENV)/.ready-to-test ## Write docs/analysts.md from the comments of the views and the cookbook
	@$(BIN)/python -m tests.support.analysts_page

examples: $(VENV)/.ready-to-test ## Write the answers of a purchase into the examples of /openapi.json
	@$(BIN)/python -m tests.support.example_calls

screenshot: test-setup ## Take the pictures of shop and console for README and docs
	@$(BIN)/python -m tests.support.screenshot

format: $(VENV)/.ready-to-test ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: ## Update all packages and write the locks, with hashes
	@$(PYTHON) -m venv build/lock && build/lock/bin/pip install --quiet uv
	@build/lock/bin/uv pip compile setup.cfg $(LOCKING) --extra test --extra check --output-file requirements-test.txt
	@build/lock/bin/uv pip compile setup.cfg $(LOCKING) --constraint requirements-test.txt --output-file requirements.txt
	@build/lock/bin/uv pip compile setup.cfg $(LOCKING) --extra test --extra mutation --constraint requirements-test.txt --output-file requirements-mutation.txt
	@printf 'cyclonedx-bom\npip-audit\nsetuptools\n' | build/lock/bin/uv pip compile - $(filter-out --extra build,$(LOCKING)) --output-file requirements-audit.txt

LOCKING = --extra build --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet --upgrade

clean: ## Remove what the other targets created; data folders stay
	rm -rf $(VENV) build mutants *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.ready-to-run: requirements.txt setup.cfg pyproject.toml api/local/bootstrap.py
	@$(call bootstrap,$(VENV),requirements.txt)

$(VENV)/.ready-to-test: requirements-test.txt $(VENV)/.ready-to-run
	@$(call bootstrap,$(VENV),requirements-test.txt)

$(VENV)/.node-tools: tests/node/package-lock.json $(VENV)/.ready-to-test
	@$(BIN)/python -m tests.support.node && touch $@

$(MUTATION)/.ready: requirements-mutation.txt setup.cfg api/local/bootstrap.py
	@$(call bootstrap,$(MUTATION),requirements-mutation.txt)

$(AUDIT)/.ready: requirements-audit.txt setup.cfg api/local/bootstrap.py
	@$(call bootstrap,$(AUDIT),requirements-audit.txt)

define bootstrap
$(PYTHON) -c "" 2> /dev/null || { echo "Error: $(PYTHON) does not run: install Python 3.11 or newer (with pyenv: \`pyenv install 3.11 &&" \
	"pyenv global 3.11\`), or type \`make PYTHON=/path/to/python3.11 ...\`." >&2; exit 1; }; \
	$(PYTHON) -I api/local/bootstrap.py $(1) $(2) && touch $@
endef
