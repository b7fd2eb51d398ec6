# make help lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
STACK ?= dev

# Every recipe that needs the toolchain starts with this line.
use := eval "$$(engine/setup env)";

# The dev stack keeps its state and a passphrase of its own in .state; every other
# stack takes your backend and your secrets provider, and no default for either.
ifeq ($(STACK),dev)
export PULUMI_BACKEND_URL := file://$(CURDIR)/.state/backend
export PULUMI_CONFIG_PASSPHRASE_FILE := $(CURDIR)/.state/passphrase
config := --config-file .state/Pulumi.dev.yaml
prepared := image
else
config :=
prepared := setup
endif

.PHONY: help setup image stack up preview down status verify repair password test test-all test-unit lint schema docs bench clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 14
	@echo "  STACK=dev|staging|prod chooses the stack (default dev)"

setup:
	@engine/setup all

# Images and Pulumi do not wait for each other where both have to be built.
image:
	@engine/setup docker && engine/setup python
	@image/build all & images=$$!; status=0; engine/setup pulumi || status=$$?; \
	  wait $$images || status=$$?; exit $$status

stack: $(prepared)
	@$(use) engine/stack $(STACK)

up: stack ## set everything up and run a proven, encrypted mail server
	@$(use) pulumi up --stack $(STACK) $(config) --yes --skip-preview --suppress-outputs
	@$(use) python -m mailcrypt_component.cli.summary $(STACK)

preview: stack ## show what up would change
	@$(use) pulumi preview --stack $(STACK) $(config) --diff

down: setup ## remove the stack's server (refused where it is protected)
	@$(use) engine/stack --down $(STACK)
	@engine/setup stop-docker

status: setup ## show the server, its last proof, its mail and keys, and what to do next
	@$(use) mailcrypt status --stack $(STACK)

verify: setup ## prove now that stored mail is encrypted to the current key, and readable
	@$(use) mailcrypt verify --stack $(STACK)

repair: stack ## bring back a server that was removed, stopped or damaged; mail is left as it is
	@$(use) mailcrypt repair --stack $(STACK) --yes $(config)
	@$(use) python -m mailcrypt_component.cli.summary $(STACK)

password: ## print the passwords that were made for accounts
	@$(use) pulumi stack output accountPasswords --show-secrets --stack $(STACK)

test: image ## the tests; a part that cannot run is a failure
	@engine/setup browser
	@$(use) ruff check .
	@$(use) mypy
	@$(use) pytest -n 5 --dist loadscope --no-loadscope-reorder

test-all: export MAILCRYPT_TEST := all
test-all: test ## and what takes long: each sabotage in both dialects, 20,000 mails encrypted

test-unit: ## the tests that need no Docker
	@engine/setup python
	@$(use) pytest -n auto --dist loadscope -m "not server and not engine"

lint: ## ruff and mypy --strict
	@engine/setup python
	@$(use) ruff check . && mypy

schema: setup ## write schema.json anew from the component's arguments
	@$(use) cd / && pulumi package get-schema "$$(command -v pulumi-resource-mailcrypt)" >$(CURDIR)/schema.json

docs: ## write the documentation into site/; needs no network
	@engine/setup python
	@$(use) python docs/generate.py
	@$(use) zensical build --strict

bench: image ## the benchmarks (paired, ratio in one run)
	@$(use) for each in noop_up fleet proof custody throughput audit recover encrypt failover; do python -m benchmarks.$$each; done

clean: ## remove the virtual environment, the built toolchain and the tests' caches
	@rm -rf .venv .tools .mypy_cache .pytest_cache .ruff_cache .hypothesis .cache site
