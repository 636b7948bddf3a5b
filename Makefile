# Sluice. `make help` lists what there is. Needs Go, and Node for the engine;
# Python for the SDKs that tests run, and demo-real. No C compiler: everything is built without cgo.

.DEFAULT_GOAL := help
.PHONY: help build engine sdks nats-server up demo demo-real test bench bench-http gateways bench-trace bench-decide bench-sync bench-router bench-whatif chaos soak mutate check sim fuzz clean bench-analytics dashboard test-web

export CGO_ENABLED := 0

VERSION   := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GO        ?= go
GODIRS    := analytics broker cmd integration internal router sdk workers
TESTFLAGS ?= -count=1
PACKAGES  ?= ./...
FUZZTIME  ?= 30s
SEEDS     ?= 100000
FIRST     ?= 1
# The trace of `make bench` and `make bench-trace`: a file, or "synthetic".
TRACE     ?= $(or $(wildcard ../shared/data/AzureLLMInferenceTrace_conv.csv),synthetic)
SPEED     ?= 100
KILLS     ?= 0
LINES     ?= 100000
# The memory that the Go runtime holds the process of `make bench-batch` to; empty: what it takes by itself.
MEMORY    ?= 160MiB

ROWS      ?= 10000000
ARGS      ?=
# `make chaos`: seed of the faults, jobs of a run and a second, connections that submit, routers.
SEED      ?= 1
N         ?= 100000
RATE      ?= 250
CLIENTS   ?= 64
ROUTERS   ?= 4

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile

WEB     := cmd/sluice/internal/dashboard
WEBSRC  := $(shell find $(WEB)/web -type f -not -path '*/node_modules/*' -not -path '*/test/*' 2>/dev/null)

$(WEB)/dist/index.html: $(WEBSRC)
	@if command -v npm >/dev/null; then cd $(WEB)/web && npm ci --no-audit --no-fund --loglevel=error && npm run --silent build; \
	else echo "npm is not installed: sluice is built without its dashboard" >&2; fi

dashboard: $(WEB)/dist/index.html ## build the web page (npm ci, vite), if its sources have changed

build: dashboard ## build ./bin/sluice, the dashboard in it
	$(GO) build -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o bin/sluice ./cmd/sluice

engine: ## install the embedded ClickHouse into ./.engine (by npm; skipped when it is there)
	@sh .ci/engine

bench-decide: ## what a decision takes, of every strategy, at 16 and at 1,000 candidates, beside its bound (docs/router.md)
	$(GO) test ./router -run '^$$' -bench Decide -benchmem -benchtime 200ms $(ARGS)

bench-sync: ## what each policy of syncs costs the embedded NATS server (docs/reliability.md)
	$(GO) test ./broker/natsd -run '^$$' -bench Sync -benchtime 2s $(ARGS)

bench-router: build nats-server ## four routers: strategies side by side under TRACE, kills, a rate limit, providers in trouble (docs/router.md)
	bin/sluice bench routers --trace $(TRACE) $(ARGS)

nats-server: ## build ./bin/nats-server, the release that go.mod names
	$(GO) build -o bin/nats-server github.com/nats-io/nats-server/v2

sdks: ## install the official SDKs that tests run into ./.sdks (by npm, pip and go; skipped when they are there)
	@GO=$(GO) sh .ci/sdks

gateways: ## install the HTTP gateways that bench-http measures into ./.gateways (by npm and pip; skipped when they are there)
	@sh .ci/gateways

up: build engine ## run everything in one process until it is interrupted; data in ./sluice-data
	bin/sluice up $(ARGS)

demo: build engine ## push a few hundred prompts through three simulated pools, show what they cost, clean up
	@bin/sluice demo $(ARGS)

demo-real: build engine ## the same with a real model on this machine (compiles llama.cpp: some minutes, once)
	@python3 integration/real/run.py $(ARGS)

test: engine sdks ## run every test, on the real engine and with the official SDKs
	SLUICE_TEST_ENGINE=1 SLUICE_TEST_SDKS=1 SLUICE_CHDB_LIB="$$(sh .ci/engine --path)" $(GO) test $(TESTFLAGS) -timeout 25m $(PACKAGES)

bench: build engine ## jobs per second of the whole path beside one JetStream hop (line "ratio N.NN"), latency, trace replay
	bin/sluice bench $(ARGS)
	bin/sluice bench --trace $(TRACE) --speed $(SPEED) --kills $(KILLS)

bench-http: build engine gateways ## HTTP side by side before one upstream: Sluice, Go's reverse proxy, Portkey, LiteLLM (docs/http.md)
	SLUICE_CHDB_LIB="$$(sh .ci/engine --path)" bin/sluice bench http --gateways "$$(sh .ci/gateways --path)" $(ARGS)

bench-trace: build engine ## replay TRACE at SPEED with KILLS, and compare every cost with the providers' books
	bin/sluice bench --trace $(TRACE) --speed $(SPEED) --kills $(KILLS) $(ARGS)

chaos: build engine nats-server ## kill, pause and cut a cluster of real processes under N jobs; SEED says what happens
	SLUICE_CHDB_LIB="$$(sh .ci/engine --path)" bin/sluice chaos --seed $(SEED) --jobs $(N) --rate $(RATE) --clients $(CLIENTS) --routers $(ROUTERS) $(ARGS)

soak: build ## pile up a million jobs, 10,000 readers, answers of 100 MB, slow calls, and fill a disk; print the memory beside its bound
	bin/sluice soak $(ARGS)

mutate: engine ## remove each guard against loss and double counting, and see that a test notices (docs/reliability.md)
	SLUICE_TEST_ENGINE=1 SLUICE_CHDB_LIB="$$(sh .ci/engine --path)" $(GO) test ./integration/mutate -count=1 -v -timeout 2h -run TestMutants -mutate

bench-batch: build engine ## a batch of LINES lines through a pool that answers at once, in MEMORY; then the same with ten kill -9 on the way
	GOMEMLIMIT=$(MEMORY) bin/sluice bench --batch $(LINES) $(ARGS)
	GOMEMLIMIT=$(MEMORY) bin/sluice bench --batch $(LINES) --kills 10 $(ARGS)

bench-whatif: build engine ## does `sluice simulate` foretell cost and latency of another policy? TRACE under both, predicted beside true (docs/whatif.md)
	SLUICE_CHDB_LIB="$$(sh .ci/engine --path)" bin/sluice bench --whatif --trace $(TRACE) $(ARGS)

bench-analytics: build engine ## fill ClickHouse with ROWS attempts and jobs, time every standard question, and the ingest beside a bare insert
	bin/sluice bench --analytics $(ROWS)

test-web: build engine ## drive the dashboard in headless Chromium under live load (needs chromium; SHOTS=docs/dashboard writes screenshots)
	cd $(WEB)/web && SLUICE_CHDB_LIB="$$(sh $(CURDIR)/.ci/engine --path)" BIN=$(CURDIR)/bin/sluice SHOTS=$(if $(SHOTS),$(abspath $(SHOTS))) npm run --silent test

check: ## run the linters: gofmt, go vet, staticcheck, house rules
	@out=$$(gofmt -l $(GODIRS)) && test -z "$$out" || { echo "not formatted, run gofmt -w:"; echo "$$out"; exit 1; }
	@echo "ok  gofmt"
	@$(GO) vet ./... && echo "ok  go vet"
	@$(GO) tool -modfile=.ci/tools/go.mod staticcheck ./... && echo "ok  staticcheck"
	@$(GO) test -count=1 ./integration/house && echo "ok  house rules"

sim: ## play SEEDS seeds of the whole protocol in pure code, from FIRST on, with faults of every kind
	$(GO) test -count=1 -v ./integration/sim -run TestSeeds -args -seeds $(SEEDS) -first $(FIRST)

fuzz: ## run every fuzz target for FUZZTIME
	@GO=$(GO) FUZZTIME=$(FUZZTIME) sh .ci/fuzz $(GODIRS)

clean: ## remove what build, engine, up and demo-real made (also ./sluice-data)
	rm -rf bin .engine .sdks .gateways .demo sluice-data
