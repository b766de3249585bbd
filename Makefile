# Everything that a developer or a packager does. `make help` lists it.

GO      ?= go
BUILD   ?= build
PREFIX  ?= /usr/local
DESTDIR ?=
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

# The plugins must be built with the daemon's flags, or it refuses them.
FLAGS   := -trimpath -buildvcs=false
LDFLAGS := -X main.version=$(VERSION)
LINT    := $(GO) tool -modfile=internal/tools/go.mod golangci-lint

PROGRAMS := $(notdir $(wildcard cmd/*))
TIMED    := ./internal/testbed ./tests/mptcp ./tests/muacsocksd ./tests/system
POLICIES := $(notdir $(patsubst %/plugin/,%,$(dir $(wildcard policies/*/plugin/main.go))))

.DEFAULT_GOAL := help
.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build the programs into build/
	@mkdir -p $(BUILD)
	$(GO) build $(FLAGS) -ldflags '$(LDFLAGS)' -o $(BUILD)/ ./cmd/...

.PHONY: policies
policies: ## build every policy as a plugin into build/policies/
	@$(MAKE) --no-print-directory -j$$(nproc) $(POLICIES:%=$(BUILD)/policies/%.so)

$(BUILD)/policies/%.so: FORCE
	@mkdir -p $(@D)
	$(GO) build $(FLAGS) -buildmode=plugin -o $@ ./policies/$*/plugin

.PHONY: FORCE
FORCE:

.PHONY: run
run: build ## build and start the daemon with the automatic configuration
	$(BUILD)/mamma

.PHONY: demo
demo: build ## show two downloads take two networks, in namespaces
	$(GO) run ./tests/demo

.PHONY: check
check: format vet lint test timed ## everything that must hold: format, vet, linters, all tests

.PHONY: format
format:
	@out=$$(gofmt -l $$(git ls-files '*.go' 2>/dev/null || find . -name '*.go')); test -z "$$out" || { echo "gofmt wants to change:"; echo "$$out"; exit 1; }

.PHONY: vet
vet:
	$(GO) vet ./...

.PHONY: lint
lint: ## run the linters
	$(LINT) run ./...
	lint="$$($(GO) tool -n -modfile=internal/tools/go.mod golangci-lint)" && cd examples/policy && "$$lint" run ./...

.PHONY: test
test: build
	$(GO) test -race ./...
	$(MAKE) --no-print-directory -C examples/policy test

# What is compared with an emulated link's own figures runs alone, and without
# the race detector, which skips it.
.PHONY: timed
timed:
	$(GO) test -count=1 -p 1 $(TIMED)

.PHONY: bench
bench: build ## run the benchmarks and the load generator
	$(GO) test -run '^$$' -bench . -benchmem ./...
	$(GO) run ./tests/mamload --mamma $(BUILD)/mamma --established 0,1000,5000
	$(GO) run ./tests/mamload --mamma $(BUILD)/mamma --time-wait 40000
	$(GO) run ./tests/socksbench --muacsocksd $(BUILD)/muacsocksd

.PHONY: man
man: build
	@mkdir -p $(BUILD)/man
	$(BUILD)/mammactl man $(BUILD)/man

.PHONY: install
install: build policies man ## install below DESTDIR and PREFIX
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/mam-policies $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 0644 $(BUILD)/man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 0755 $(PROGRAMS:%=$(BUILD)/%) $(DESTDIR)$(PREFIX)/bin
	install -m 0644 $(POLICIES:%=$(BUILD)/policies/%.so) $(DESTDIR)$(PREFIX)/lib/mam-policies

.PHONY: clean
clean: ## remove what was built
	rm -rf $(BUILD)
