# Dromon's front door. Each target installs what it needs, and only what is missing.
SHELL := /bin/bash
CARGO ?= cargo
RULES ?= examples/bookinfo/mesh
.DEFAULT_GOAL := help

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

build: ## Build the release binaries into target/release/
	@$(CARGO) build --release --workspace --bins

run: build ## Start the Bookinfo mesh on this machine (Ctrl-C drains and ends it)
	@PATH="$(CURDIR)/target/release:$$PATH" target/release/dromonctl run --config $(RULES) $(RUN_FLAGS)

lint: ## Formatting and clippy, warnings are errors
	@$(CARGO) fmt --all -- --check
	@$(CARGO) clippy --workspace --all-targets -- -D warnings

test: ## Everything: unit, property, simulation, black-box, end to end, instruction counts
	@.ci/tools test
	@.ci/test

kube-tools: ## Kubernetes' own programs for its tests, once, into target/kube/bin (Go; KUBEBUILDER_ASSETS names another place)
	@.ci/tools kube
	@tests/kube/build

perf: ## The perf lab: Dromon and its peers interleaved; table, JSON, CSV and an HTML page in lab-results/
	@.ci/tools perf
	@$(CARGO) build --release --package dromon-perf --package dromon-ctrl --package dromon-proxy
	@target/release/dromon-perf lab $(PERF_FLAGS)

perf-quick: ## A cut of the lab in under 3 minutes
	@$(CARGO) build --release --package dromon-perf
	@target/release/dromon-perf lab --quick $(PERF_FLAGS)

bench: ## Instruction counts of the core's hot path against the committed baseline
	@.ci/tools bench
	@$(CARGO) run --quiet --release --package dromon-perf -- instructions --check

clean: ## Remove what was built
	@$(CARGO) clean

.PHONY: help build run lint test kube-tools perf perf-quick bench clean
