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
check: format vet lint test ## everything that must hold: format, vet, linters, all tests

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

.PHONY: bench
bench: build ## run the benchmarks and the load generator
	$(GO) test -run '^$$' -bench . -benchmem ./...
	$(GO) run ./tests/mamload --mamma $(BUILD)/mamma

.PHONY: install
install: build policies ## install below DESTDIR and PREFIX
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/mam-policies
	install -m 0755 $(PROGRAMS:%=$(BUILD)/%) $(DESTDIR)$(PREFIX)/bin
	install -m 0644 $(wildcard $(POLICIES:%=$(BUILD)/policies/%.so)) $(DESTDIR)$(PREFIX)/lib/mam-policies

.PHONY: clean
clean: ## remove what was built
	rm -rf $(BUILD)
