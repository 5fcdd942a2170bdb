# Everything a person does here. `make` alone lists the targets.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
# The local stack's triggers, for `make tick NAME=…`.
STAGE ?= dev
# Without a stage, `make validate` says itself which stages' settings it judges.
JUDGED = $(if $(filter file,$(origin STAGE)),,--stage '$(STAGE)')
FUNCTION ?= http_push
EVENTS ?= http://127.0.0.1:8082

.PHONY: help install run demo pictures tick validate template new-function test soak soak-campaign check format layer package prepare plan deploy versions rollback logs remove smoke cost bench requirements clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: $(STAMP)  ## create .venv with everything for development, from pinned files
$(STAMP): requirements/dev.txt requirements/layer.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/python -m deploy.layer --runtime all --folder .local/layers  # for the tests, which build it again after a change, from what is fetched here
	@$(BIN)/python -m pytest --collect-only --quiet > /dev/null || true  # compiles the tests, or each worker would
	@touch $@

run: install  ## start everything on loopback, send a push, keep running
	$(BIN)/python -m mpaas_local $(ARGS)

demo: install  ## the same, then exit 0 or 1
	$(BIN)/python -m mpaas_local --demo --quiet --http-port 0 --sandbox-port 0 --events-port 0 --queues-port 0 --inbox-port 0 --oss-port 0 --store .local/demo --picture docs/pictures/inbox.png $(ARGS)

pictures: install  ## take the pictures of docs/guide.md (needs Chromium)
	$(BIN)/python -m mpaas_local.pictures

tick: install  ## fire a timer of the running stack: make tick NAME=morning
	@$(BIN)/python -m mpaas_local.tick $(if $(NAME),'$(NAME)') --events $(EVENTS)

validate: install  ## check settings, descriptors, policies, timer payloads and rules, offline: make validate STAGE=staging
	$(BIN)/python -m project validate $(JUDGED)

template: install  ## write template.yml, generated from s.yaml
	$(BIN)/python -m project template

new-function: install  ## create a function with a test and an event: make new-function NAME=order_events TRIGGER=kafka
	@$(BIN)/python -m project new-function '$(NAME)' '$(TRIGGER)'

install test: export PYTHONDONTWRITEBYTECODE =  # else every process that a test starts compiles everything again
test: install  ## run the tests; EXAMPLES=1000 tries more random input
	$(BIN)/python -m pytest -n 8 --dist worksteal $(ARGS)

soak: install  ## run both full crash tests (some minutes); prints the tables of docs/reliability.md
	$(BIN)/python -m tests.crash
	$(BIN)/python -m tests.twins

soak-campaign: install  ## run a campaign of a million rows among faults and kills (15 minutes); prints the table of docs/campaigns.md
	$(BIN)/python -m tests.campaign_crash $(ARGS)

check: install  ## check lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@for function in functions/*/; do MYPYPATH=shared:$$function $(BIN)/mypy $$function || exit 1; done  # each is a root of its own

format: install  ## rewrite the code in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

layer: install  ## build the code layer for the runtime of s.yaml
	$(BIN)/python -m deploy.layer $(ARGS)

package: validate  ## zip the functions and the layer for template.yml
	$(BIN)/python -m deploy.package $(ARGS)

prepare: install  ## create queues and topic, write the policies: make prepare STAGE=staging
	$(BIN)/python -m deploy.prepare --stage $(STAGE) $(ARGS)

deploy: JUDGED = --stage '$(STAGE)'
deploy: validate  ## deploy a stage: make deploy STAGE=staging (settings in .env)
	$(BIN)/python -m deploy deploy --stage $(STAGE) $(ARGS)

plan: install  ## show what make deploy would change in the cloud: make plan STAGE=staging
	$(BIN)/python -m deploy plan --stage $(STAGE) $(ARGS)

versions: install  ## list the releases of a stage
	$(BIN)/python -m deploy versions --stage $(STAGE) $(ARGS)

rollback: install  ## deploy the release before the live one again: make rollback STAGE=staging
	$(BIN)/python -m deploy rollback --stage $(STAGE) $(ARGS)

logs: install  ## follow a function's logs: make logs STAGE=staging FUNCTION=queue_push
	$(BIN)/python -m deploy logs --stage $(STAGE) --function $(FUNCTION) $(ARGS)

remove: install  ## remove a stage from the cloud, after confirmation: make remove STAGE=staging ARGS=--yes
	$(BIN)/python -m deploy remove --stage $(STAGE) $(ARGS)

smoke: install  ## call every deployed function once, harmlessly: make smoke STAGE=staging
	$(BIN)/python -m project smoke --stage $(STAGE)

cost: install  ## compute what pushes cost, from a stage's descriptor and the prices: make cost STAGE=prod PUSHES=1000000
	@$(BIN)/python -m project cost --stage $(STAGE) --pushes '$(or $(PUSHES),1000000)' $(ARGS)

bench: install  ## measure speed; prints the tables of docs/performance.md
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	$(BIN)/python -m benchmarks

requirements: install  ## pin requirements/*.in again
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url --custom-compile-command "make requirements" requirements/layer.in -o requirements/layer.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url --custom-compile-command "make requirements" -c requirements/layer.txt requirements/dev.in -o requirements/dev.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url --custom-compile-command "make requirements" -c requirements/dev.txt requirements/bench.in -o requirements/bench.txt

clean:  ## remove what the other targets made
	rm -rf $(VENV) .local build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
