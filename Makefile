# Strake. `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := all

BIN      := $(CURDIR)/bin
BUILD    := $(CURDIR)/.build
TOOLS    := $(BUILD)/tools
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GO       ?= go
# The same flags everywhere, so that programs, lint and tests share what was
# compiled for one of them. Nothing is shipped with what debuggers need, and
# making that is a sixth of all compiling. The race detector alone needs cgo.
export GOFLAGS     := -trimpath -gcflags=all=-dwarf=false
export CGO_ENABLED := 0
LDFLAGS  := -s -w -X github.com/strakehq/strake/sdk/version.Version=$(VERSION)
GOBUILD  := $(GO) build -ldflags '$(LDFLAGS)'
FAULTY   := $(BUILD)/faults

STATICCHECK_VERSION := v0.8.2
GOLANGCI_VERSION := v2.15.0
BUF_VERSION      := v1.75.0
BENCHSTAT_VERSION := v0.0.0-20260908200009-22c9c6c9d4da

PROGRAMS := cmd/strake cmd/straked cmd/strake-shim cmd/strake-conformance \
            plugins/storage-overlay plugins/runtime-runc plugins/net-bridge plugins/registry-http \
            plugins/examples/storage-copy
DISTURBED := $(filter-out cmd/strake-conformance plugins/examples/%,$(PROGRAMS))

# link gives programs ($(1)), as go built them into a directory ($(2)), the names
# that they are known by in another ($(3)).
link = for p in $(1); do \
	name=$$(basename $$p); case $$p in plugins/*) name=strake-$$name;; esac; \
	ln -f $(2)/$$(basename $$p) $(3)/$$name; \
done

.PHONY: all
all: build ## build everything (default)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: build
build: ## build all programs into bin/; COMBINED=1: the daemon and its drivers as one file, for small machines
	@mkdir -p $(BIN) $(BUILD)/out
	@$(GOBUILD) -o $(BUILD)/out/ $(addprefix ./,$(PROGRAMS))
	@$(call link,$(PROGRAMS),$(BUILD)/out,$(BIN))
ifeq ($(COMBINED),1)
	@$(GO) run ./cmd/internal/combine -o $(BIN) -- -ldflags '$(LDFLAGS)'
endif

.PHONY: build-faults
build-faults: # the programs that the crash tests disturb, with points to do so
	@mkdir -p $(FAULTY)/out
	@$(GOBUILD) -tags faults -o $(FAULTY)/out/ $(addprefix ./,$(DISTURBED))
	@$(call link,$(DISTURBED),$(FAULTY)/out,$(FAULTY))

.PHONY: install
install: build ## install into /usr/local
	install -d /usr/local/bin /usr/local/libexec/strake
	install -m 0755 $(BIN)/strake $(BIN)/straked /usr/local/bin/
	install -m 0755 $(filter-out $(BIN)/strake $(BIN)/straked,$(wildcard $(BIN)/strake-*)) /usr/local/libexec/strake/

# --- the main job ---------------------------------------------------------

.PHONY: run
run: system build ## set up and run nginx: the main job from end to end
	@test/demo/run

.PHONY: stop
stop: ## take down what `make run` started and leave nothing behind
	@test/demo/stop

# --- tests ----------------------------------------------------------------

# Many tests wait, for kernels and deadlines, on what else would be idle
# processors; lint and its own compilation fill them.
.PHONY: test
test: system test-system build ## set up and pass all tests
	@$(MAKE) --no-print-directory -j2 checks suites

.PHONY: checks
checks:
	@MAKEFLAGS= nice -n 15 $(MAKE) --no-print-directory lint cross

.PHONY: suites
suites:
	@MAKEFLAGS= $(MAKE) --no-print-directory unit conformance integration

# What computes much and starts no goroutine: the race detector would only slow
# it. That go vet finds nothing, lint sees to, once instead of once per way to
# compile.
LONERS  := $(addprefix github.com/strakehq/strake/,sdk/archive/gunzip core/seccomp)
HOSTILE := Hostile|Bomb|Bounds|Larger|Branch
GOTEST  := $(GO) test -vet=off

.PHONY: unit
unit: ## unit tests, with the race detector
	$(GOTEST) $(LONERS)
	$(GOTEST) -run '$(HOSTILE)' $$(grep -rlE '^func Test\w*($(HOSTILE))' --include='*_test.go' core sdk cmd | sed -E 's,(.*)/.*,./\1,' | sort -u)
	CGO_ENABLED=1 $(GOTEST) -race -timeout 10m -skip '$(HOSTILE)' $$($(GO) list ./core/... ./sdk/... ./cmd/... ./test/arch | grep -vxF $(LONERS:%=-e %))

.PHONY: conformance
conformance: ## the drivers' own tests and the conformance kit against each of them
	$(GOTEST) -timeout 10m ./plugins/...

.PHONY: integration
integration: build build-faults ## whole product on real parts: daemon, registry, docker CLI, leak check
	$(GOTEST) -count=1 -p 1 -timeout 20m ./test/testkit/... ./test/budget ./test/compat ./test/integration ./test/isolation ./test/clock
	$(GOTEST) -count=1 -parallel 4 -run '$(SHORTAGES)' ./test/shortage
	$(GOTEST) -count=1 -timeout 10m ./test/crash

FAULTS ?= 1000
CUTS   ?= 100
SEED   ?= 1
.PHONY: crash
crash: build-faults ## kill every process at every step under load, FAULTS times, and look what is lost; REMAP=1: in user namespaces
	$(GO) test -count=1 -v -timeout 24h -run '^TestNothingIsLost$$' ./test/crash -faults $(FAULTS) -seed $(SEED) $(if $(REMAP),-remap)

.PHONY: powercut
powercut: build-faults ## cut the power CUTS times under load, and look what is lost
	$(GO) test -count=1 -v -timeout 24h -run '^TestPowerCuts' ./test/crash -cuts $(CUTS) -seed $(SEED)

# The part of test/shortage that is quick; make shortage runs all of it.
SHORTAGES := StoppedDrivers|KeptAfterTheShortage|FullAtCreate|TooLittleSpace|SomebodyRemoves|StreamsThatAreAbandoned|AnswerWithWhatIsAnothers|KeepWhatTheyAre

.PHONY: shortage
shortage: build ## hangs, shortages, clocks that are set, hostile clients and drivers, with figures: the long form
	STRAKE_LONG=1 $(GO) test -count=1 -parallel 1 -p 1 -timeout 40m -v ./test/shortage ./test/clock
	STRAKE_LONG=1 $(GO) test -count=1 -v -run ConflictingVerbs ./core/container

CYCLES ?= 2000
BESIDE ?= 200
.PHONY: soak
soak: build ## CYCLES containers come and go beside BESIDE that live; first and last figures
	STRAKE_SOAK_CYCLES=$(CYCLES) STRAKE_SOAK_BESIDE=$(BESIDE) $(GO) test -count=1 -timeout 4h -v ./test/soak

.PHONY: race
race: build ## the integration tests with daemon and drivers built with the race detector
	@mkdir -p $(BUILD)/race
	@for p in $(PROGRAMS); do \
		name=$$(basename $$p); cgo=1; race=-race; case $$p in plugins/*) name=strake-$$name;; cmd/strake-shim) cgo=0; race=;; esac; \
		CGO_ENABLED=$$cgo $(GO) build $$race -trimpath -ldflags '$(LDFLAGS)' -o $(BUILD)/race/$$name ./$$p; \
	done
	STRAKE_BIN=$(BUILD)/race GORACE='halt_on_error=1 exitcode=66' CGO_ENABLED=1 $(GO) test -count=1 -race -p 1 -timeout 60m ./test/integration ./test/compat

.PHONY: isolation
isolation: system build ## what containers reach, compared with Debian's docker.io in the same run
	@test/demo/packages docker.io containerd crun
	STRAKE_LONG=1 $(GO) test -count=1 -timeout 20m -v -run 'Remap' ./test/integration
	STRAKE_LONG=1 $(GO) test -count=1 -timeout 20m -v ./test/isolation -args -docker

ONLY  ?=
REPS  ?= 0
SHORT ?=
.PHONY: bench
bench: system build ## compare with docker.io and podman on this machine (ONLY=start,exec REPS=5 SHORT=1), writes docs/benchmarks.md
	@test/demo/packages docker.io containerd crun podman conmon netavark aardvark-dns wrk procps
	@$(GO) build -o $(BUILD)/strake-bench ./test/bench
	@$(BUILD)/strake-bench -only '$(ONLY)' -reps $(REPS) $(if $(SHORT),-short)

BASE ?= HEAD
MICRO ?= ./core/... ./sdk/... ./cmd/... ./plugins/...
.PHONY: bench-micro
bench-micro: $(TOOLS)/benchstat ## micro-benchmarks of the hot paths, this tree beside BASE=<ref>
	@test/demo/bench-micro '$(BASE)' '$(BUILD)' '$(TOOLS)/benchstat' $(MICRO)

FUZZTIME ?= 10s
.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME, all of them whatever some find
	@found=; for pkg in $$(grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u); do \
		for f in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' $$pkg/*_test.go | sed 's/func //'); do \
			echo "$$pkg $$f"; \
			nice -n 19 $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$pkg || found="$$found $$pkg:$$f"; \
		done; done; \
	if [ -n "$$found" ]; then echo "found something:$$found" >&2; exit 1; fi

.PHONY: hostile
hostile: ## layers, archives and registries of strangers: the long form
	STRAKE_LONG=1 $(GO) test -count=1 -timeout 30m -v -run '$(HOSTILE)' ./core/image ./core/unpack ./plugins/registry-http

.PHONY: lint
lint: $(TOOLS)/staticcheck ## go vet and staticcheck
	$(GO) vet ./...
	$(TOOLS)/staticcheck -checks inherit,-ST1005 ./...

# Not a part of test, since compiling it alone takes two processors three
# minutes where nothing is cached.
.PHONY: lint-strict
lint-strict: $(TOOLS)/golangci-lint ## golangci-lint: style, and what is wrong more rarely
	$(TOOLS)/golangci-lint run ./...

.PHONY: cross
cross: ## everything type-checks for the other architecture (make build GOARCH=arm64 compiles it)
	CROSS=arm64 $(GO) run ./cmd/internal/crosscheck ./...

.PHONY: generate
generate: $(TOOLS)/buf $(TOOLS)/protoc-gen-go $(TOOLS)/protoc-gen-go-grpc ## generate code from sdk/proto
	PATH=$(TOOLS):$$PATH buf lint
	PATH=$(TOOLS):$$PATH buf generate

# --- tools and packages ---------------------------------------------------

$(TOOLS)/staticcheck:
	GOBIN=$(TOOLS) $(GO) install honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK_VERSION)

$(TOOLS)/golangci-lint:
	GOBIN=$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)

$(TOOLS)/benchstat:
	GOBIN=$(TOOLS) $(GO) install golang.org/x/perf/cmd/benchstat@$(BENCHSTAT_VERSION)

$(TOOLS)/buf:
	GOBIN=$(TOOLS) $(GO) install github.com/bufbuild/buf/cmd/buf@$(BUF_VERSION)

$(TOOLS)/protoc-gen-go:
	GOBIN=$(TOOLS) $(GO) install google.golang.org/protobuf/cmd/protoc-gen-go

$(TOOLS)/protoc-gen-go-grpc:
	GOBIN=$(TOOLS) $(GO) install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2

.PHONY: system
system: ## install the Debian packages that Strake and its demonstration need
	@test/demo/packages runc iptables nftables iproute2 procps tini docker-registry curl ca-certificates

.PHONY: test-system
test-system: ## install the Debian packages that the tests need
	@test/demo/packages crun busybox-static openssl apache2-utils strace gcc libc6-dev
	@test/demo/docker-cli

.PHONY: clean
clean: ## remove what the build made
	rm -rf $(BIN) $(BUILD)
