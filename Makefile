# The commands of this project. `make` alone lists the targets.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
STAGE ?= dev
# If STAGE is not set, `make validate` itself selects the stages whose settings it checks.
STAGE_OPTION = $(if $(filter file,$(origin STAGE)),,--stage '$(STAGE)')
FUNCTION ?= http_push
# Where the local stack accepts events, for `make tick NAME=…`.
EVENTS ?= http://127.0.0.1:8082

.PHONY: help install run demo pictures tick validate template new-function test soak soak-campaign check format layer package prepare plan deploy versions rollback logs remove smoke cost bench requirements clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: $(STAMP)  ## create .venv with all development dependencies, from pinned files
$(STAMP): requirements/dev.txt requirements/layer.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is required; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/python -m deploy.layer --runtime all --folder .local/layers  # for the tests, which rebuild it offline after a change
	@$(BIN)/python -m pytest --collect-only --quiet > /dev/null || true  # compiles the tests once for all workers
	@touch $@

run: install  ## start everything on loopback, send pushes, keep running
	$(BIN)/python -m mpaas_local $(ARGS)

demo: install  ## send the pushes of make run, then exit with 0 or 1; takes the picture of README.md
	$(BIN)/python -m mpaas_local --demo --quiet --http-port 0 --sandbox-port 0 --events-port 0 --queues-port 0 --inbox-port 0 --oss-port 0 --store .local/demo --picture docs/pictures/inbox.png $(ARGS)

pictures: install  ## take the pictures of docs/guide.md (needs Chromium)
	$(BIN)/python -m mpaas_local.pictures

tick: install  ## fire a timer of the running stack: make tick NAME=morning
	@$(BIN)/python -m mpaas_local.tick $(if $(NAME),'$(NAME)') --events $(EVENTS)

validate: install  ## check settings, descriptors, policies, timer payloads and rules, offline: make validate STAGE=staging
	$(BIN)/python -m project validate $(STAGE_OPTION)

template: install  ## write template.yml, generated from s.yaml
	$(BIN)/python -m project template

new-function: install  ## create a function with a test and an event: make new-function NAME=order_events TRIGGER=kafka
	@$(BIN)/python -m project new-function $(if $(NAME),'$(NAME)') $(if $(TRIGGER),'$(TRIGGER)')

install test: export PYTHONDONTWRITEBYTECODE =  # otherwise each process that a test starts compiles everything again
test: install  ## run the tests; EXAMPLES=1000 tries more random input
	$(BIN)/python -m pytest -n 6 --dist worksteal $(ARGS)

soak: install  ## run both full crash tests (several minutes); print the tables of docs/reliability.md
	$(BIN)/python -m tests.crash
	$(BIN)/python -m tests.twins

soak-campaign: install  ## run a campaign of a million rows with faults and kills (15 minutes); print the table of docs/campaigns.md
	$(BIN)/python -m tests.campaign_crash $(ARGS)

check: install  ## check lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@for index in functions/*/index.py; do function=$${index%index.py}; MYPYPATH=shared:$$function $(BIN)/mypy $$function || exit 1; done  # each is a separate root

format: install  ## rewrite the code in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

layer: install  ## build the code layer for the runtime of s.yaml
	$(BIN)/python -m deploy.layer $(ARGS)

package: validate  ## zip the functions and the layer for template.yml
	$(BIN)/python -m deploy.package $(ARGS)

prepare: install  ## create queues and topic, write the policies: make prepare STAGE=staging
	$(BIN)/python -m deploy.prepare --stage $(STAGE) $(ARGS)

deploy: STAGE_OPTION = --stage '$(STAGE)'
deploy: validate  ## deploy a stage: make deploy STAGE=staging (settings in .env)
	$(BIN)/python -m deploy deploy --stage $(STAGE) $(ARGS)

plan: install  ## show what make deploy would change in the cloud: make plan STAGE=staging
	$(BIN)/python -m deploy plan --stage $(STAGE) $(ARGS)

versions: install  ## list the releases of a stage
	$(BIN)/python -m deploy versions --stage $(STAGE) $(ARGS)

rollback: install  ## deploy the previous release again: make rollback STAGE=staging
	$(BIN)/python -m deploy rollback --stage $(STAGE) $(ARGS)

logs: install  ## follow a function's logs: make logs STAGE=staging FUNCTION=queue_push
	$(BIN)/python -m deploy logs --stage $(STAGE) --function $(FUNCTION) $(ARGS)

remove: install  ## remove a stage from the cloud, after confirmation: make remove STAGE=staging ARGS=--yes
	$(BIN)/python -m deploy remove --stage $(STAGE) $(ARGS)

smoke: install  ## call every deployed function once, harmlessly: make smoke STAGE=staging
	$(BIN)/python -m project smoke --stage $(STAGE)

cost: install  ## compute the cost of pushes from a stage's descriptor and prices: make cost STAGE=prod PUSHES=1000000
	@$(BIN)/python -m project cost --stage $(STAGE) --pushes '$(or $(PUSHES),1000000)' $(ARGS)

bench: install  ## measure speed; print the tables of docs/performance.md
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	$(BIN)/python -m benchmarks

requirements: install  ## re-pin requirements/*.in
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url --custom-compile-command "make requirements" requirements/layer.in -o requirements/layer.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url --custom-compile-command "make requirements" -c requirements/layer.txt requirements/dev.in -o requirements/dev.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url --custom-compile-command "make requirements" -c requirements/dev.txt requirements/bench.in -o requirements/bench.txt

clean:  ## remove everything that the other targets created
	rm -rf $(VENV) .local build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
