# Everything that a developer or a packager does. `make help` lists it.

GO      ?= go
BUILD   ?= build
PREFIX  ?= /usr/local
DESTDIR ?=
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

# Packages are named by it, without the v; it must begin with a digit.
PACKAGE_VERSION ?= $(patsubst v%,%,$(VERSION))
ARCH            ?= $(shell $(GO) env GOARCH)
FUZZTIME        ?= 10s

# The plugins must be built with the daemon's flags, or it refuses them.
FLAGS   := -trimpath -buildvcs=false
LDFLAGS := -X main.version=$(VERSION)
NFPM    := $(GO) tool -modfile=internal/tools/nfpm/go.mod nfpm
LINT    := $(GO) tool -modfile=internal/tools/go.mod golangci-lint

PROGRAMS := $(notdir $(wildcard cmd/*))
TIMED    := ./internal/testbed ./tests/evaluate/live ./tests/faults ./tests/mptcp ./tests/muacsocksd ./tests/system
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
demo: build ## load a page over two emulated networks in four ways
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
	$(GO) test -race $$($(GO) list ./... | grep -v /tests/faults)
	$(MAKE) --no-print-directory -C examples/policy test

# What is compared with an emulated link's own figures, or keeps the machine
# busy, runs alone and without the race detector.
.PHONY: timed
timed:
	$(GO) test -count=1 -p 1 $(TIMED)

.PHONY: bench
bench: build ## run the benchmarks and the load generator
	$(GO) test -run '^$$' -bench . -benchmem ./...
	$(GO) run ./tests/mamload --mamma $(BUILD)/mamma --established 0,1000,5000
	$(GO) run ./tests/mamload --mamma $(BUILD)/mamma --time-wait 40000
	$(GO) run ./tests/socksbench --muacsocksd $(BUILD)/muacsocksd

.PHONY: evaluate evaluate-quick evaluate-full
evaluate: ## compare the policies on emulated links, in an hour at most
	$(GO) run ./tests/evaluate

evaluate-quick: ## the same in three minutes, with limits that must hold
	$(GO) run ./tests/evaluate --quick

evaluate-full: ## the same with 30 repetitions; can be interrupted and goes on
	$(GO) run ./tests/evaluate --full --out evaluation-full

.PHONY: fuzz
fuzz: ## run every fuzz test, each for FUZZTIME
	@for p in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p || exit 1; done; done

.PHONY: static
static: ## build without cgo and plugins, for amd64 and arm64
	for a in amd64 arm64; do CGO_ENABLED=0 GOARCH=$$a $(GO) build $(FLAGS) -ldflags '$(LDFLAGS)' -o $(BUILD)/static-$$a/ ./cmd/... || exit 1; done

.PHONY: packages
packages: build policies man ## make a deb and an rpm
	@mkdir -p $(BUILD)/packages $(BUILD)/completions
	for s in bash zsh fish; do $(BUILD)/mammactl completion $$s > $(BUILD)/completions/mammactl.$$s || exit 1; done
	for p in deb rpm; do SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) VERSION=$(PACKAGE_VERSION) ARCH=$(ARCH) $(NFPM) package -f nfpm.yaml -p $$p -t $(BUILD)/packages || exit 1; done

.PHONY: man
man: build
	@mkdir -p $(BUILD)/man
	$(BUILD)/mammactl man $(BUILD)/man

.PHONY: install
install: build policies man ## install below DESTDIR and PREFIX
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/mam-policies $(DESTDIR)$(PREFIX)/share/man/man1
	install -d $(foreach d,share/man/man5 share/man/man7 share/man/man8 lib/systemd/system,$(DESTDIR)$(PREFIX)/$(d))
	install -m 0644 $(BUILD)/man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	for n in 5 7 8; do install -m 0644 doc/man/*.$$n $(DESTDIR)$(PREFIX)/share/man/man$$n || exit 1; done
	for u in init/*.service init/*.socket; do sed 's|/usr/bin/|$(PREFIX)/bin/|' $$u > $(DESTDIR)$(PREFIX)/lib/systemd/system/$${u##*/} || exit 1; done
	install -m 0755 $(PROGRAMS:%=$(BUILD)/%) $(DESTDIR)$(PREFIX)/bin
	install -m 0644 $(POLICIES:%=$(BUILD)/policies/%.so) $(DESTDIR)$(PREFIX)/lib/mam-policies

.PHONY: clean
clean: ## remove what was built
	rm -rf $(BUILD)
