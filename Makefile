# Everything that a developer or a packager does. `make help` lists it.

GO      ?= go
BUILD   ?= build
PREFIX  ?= /usr/local
DESTDIR ?=

# Where no tag is behind it, as Go calls such a version: by the time of the commit.
UNTAGGED = v0.0.0-$$(TZ=UTC git log -1 --abbrev=12 --date=format-local:%Y%m%d%H%M%S --format=%cd-%h 2>/dev/null || echo 0-unknown)$$(git diff --quiet HEAD 2>/dev/null || echo -dirty)
VERSION ?= $(shell git describe --tags --match 'v[0-9]*' --dirty 2>/dev/null || echo $(UNTAGGED))
ARCH    ?= $(shell $(GO) env GOARCH)

# How long each fuzz test, and the soak of "make check-long", may take.
FUZZTIME ?= 10s
SOAK     ?= 1h

# Where known vulnerabilities are listed.
VULNDB ?= https://vuln.go.dev

# The same as deb and rpm order versions: v1.2.0-rc.1 is 1.2.0~rc.1, the third commit
# after v1.2.0 is 1.2.0+3.g1234567, and one without a tag 0.0.0~TIME.HASH. None has a
# hyphen: rpm takes no version with one, and what follows it is a revision for dpkg.
PACKAGE_VERSION ?= $(shell echo '$(VERSION)' | sed -e 's/^v//' -e 's/-dirty$$/+dirty/' -e 's/-\([0-9]*\)-\(g[0-9a-z]*\)/+\1.\2/' -e 's/-/~/' -e 's/-/./g')

# The plugins must be built with the daemon's flags, or it refuses them. STRIP, for
# packages, leaves out what only debuggers read.
FLAGS   := -trimpath -buildvcs=false
LDFLAGS := -X main.version=$(VERSION) $(STRIP)
NFPM    := $(GO) tool -modfile=internal/tools/nfpm/go.mod nfpm
# The tool names itself by its checksum, which must not depend on where it lies.
SBOM    := GOFLAGS=-trimpath $(GO) tool -modfile=internal/tools/cyclonedx/go.mod cyclonedx-gomod
LINT    := $(GO) tool -modfile=internal/tools/go.mod golangci-lint
VULN    := $(GO) tool -modfile=internal/tools/govulncheck/go.mod govulncheck

# Runs go test, and notes what was skipped for the end of "make check".
SKIPPED := $(BUILD)/skipped
TALLY   := $(GO) run ./internal/testing/tally

# What only other programs start, HELPERS, lies in a folder of its own.
HELPERS  := mammactl-run
PROGRAMS := $(filter-out $(HELPERS),$(notdir $(wildcard cmd/*)))
TIMED    := ./internal/testing/testbed ./tests/evaluate/live ./tests/faults ./tests/hosts ./tests/mptcp ./tests/muacsocksd ./tests/packages ./tests/system
POLICIES := $(notdir $(patsubst %/plugin/,%,$(dir $(wildcard policies/*/plugin/main.go))))

.DEFAULT_GOAL := help
.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { line = sprintf("  make %-14s", $$1); n = split($$2, word, " "); \
		for (i = 1; i <= n; i++) { if (length(line) + 1 + length(word[i]) > 80) { print line; line = sprintf("%21s", "") } line = line " " word[i] } \
		print line }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build the programs into build/
	@mkdir -p $(BUILD)
	$(GO) build $(FLAGS) -ldflags '$(LDFLAGS)' -o $(BUILD)/ ./cmd/...

.PHONY: policies
policies: ## build every policy as a plugin into build/policies/
	@$(MAKE) --no-print-directory -j$$(nproc) $(POLICIES:%=$(BUILD)/policies/%.so)

$(BUILD)/policies/%.so: FORCE
	@mkdir -p $(@D)
	$(GO) build $(FLAGS) -ldflags '$(STRIP)' -buildmode=plugin -o $@ ./policies/$*/plugin

.PHONY: FORCE
FORCE:

.PHONY: run
run: build ## build and start the daemon with the automatic configuration
	$(BUILD)/mamma

.PHONY: demo
demo: build ## load a page over two emulated networks in four ways
	$(GO) run ./tests/demo

.PHONY: playground
playground: ## a shell on a host of its own with two networks, to try everything
	@$(GO) run ./tests/demo --shell

# Each stage is told with its time, so that a slow one is seen.
STAGES := verify format vet lint test timed evaluate-quick

.PHONY: screenshot
screenshot: ## make the picture of README, doc/web.png, anew: needs chromium, and two minutes
	$(GO) run ./tests/demo --screenshot doc/web.png

.PHONY: check
check: ## everything that must hold: format, vet, linters, all tests
	@rm -rf $(SKIPPED); table=; for s in $(STAGES); do \
		begun=$$(date +%s); echo "== $$s"; \
		$(MAKE) --no-print-directory $$s || { echo "== $$s failed after $$(($$(date +%s) - begun)) s"; exit 1; }; \
		table="$$table$$(printf '  %-15s %5d s' $$s $$(($$(date +%s) - begun)))\n"; done; \
	printf "== all stages passed\n$$table"; $(TALLY) --total $(SKIPPED)

# Without the folders that build packages, emulate links or load the machine, and without
# tests that take seconds (-short): those that build programs, make hosts in namespaces,
# start programs of others or read the largest files. "make check" runs all of them.
.PHONY: test-quick
test-quick: format ## what a change needs while it is written: format, vet, tests that take no seconds
	@begun=$$(date +%s); \
	$(GO) vet ./... && \
	rm -rf $(SKIPPED) && $(TALLY) --note $(SKIPPED)/quick -- $(GO) test -short $$($(GO) list ./... | grep -vE '/tests/|/examples/|/internal/testing/') && \
	echo "== quick tests passed in $$(($$(date +%s) - begun)) s; \"make check\" runs all" && $(TALLY) --total $(SKIPPED)

# A finding is a script that shows how something that mamma stands on behaves, where
# that is not what one would say from memory. It fails once that changes. They load
# packages from the network, so they are not part of "check".
.PHONY: findings
findings: ## run findings/*.sh: is what mamma stands on still as it was found to be?
	@failed=0; log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
	for f in findings/*.sh; do test -e "$$f" || continue; \
		if bash "$$f" > "$$log" 2>&1; then echo "as found  $$f"; else echo "CHANGED   $$f"; sed 's/^/          /' "$$log"; failed=1; fi; done; \
	exit $$failed

# The tests behind MAMMA_LONG are those that name it, or the length of the soak.
.PHONY: check-long
check-long: check ## the same, then what takes long: a soak of SOAK, more repetitions, every fuzz test
	for p in $$(grep -rlE --include='*_test.go' 'MAMMA_(LONG|SOAK)' . | xargs -n1 dirname | sort -u); do \
		MAMMA_LONG=1 MAMMA_SOAK=$(SOAK) $(GO) test -count=1 -timeout 0 $$p || exit 1; done
	$(MAKE) --no-print-directory fuzz

.PHONY: api
api: ## write the listings of the public API, doc/api, anew
	$(GO) test ./doc -run '^TestAPI$$' -update

.PHONY: format
format:
	@out=$$(gofmt -l $$(git ls-files '*.go' 2>/dev/null || find . -name '*.go')); test -z "$$out" || { echo "gofmt wants to change:"; echo "$$out"; exit 1; }

.PHONY: vet
vet:
	$(GO) vet ./...
	GOOS=darwin $(GO) vet ./client/... # where there is no mamma, the client dials plainly
	GOOS=windows $(GO) vet ./client/...

.PHONY: lint
lint: ## run the linters
	$(LINT) run ./...
	lint="$$($(GO) tool -n -modfile=internal/tools/go.mod golangci-lint)" && for d in examples/policy quicintent; do (cd $$d && "$$lint" run ./...) || exit 1; done

.PHONY: test
test: build
	$(TALLY) --note $(SKIPPED)/test -- $(GO) test -race -timeout 20m $$($(GO) list ./... | grep -vE '/tests/(faults|hosts|packages|system)$$')
	$(MAKE) --no-print-directory -C examples/policy test
	$(MAKE) --no-print-directory examples

# Modules of their own because of the libraries they need.
EXAMPLES := $(filter-out examples/policy/,$(dir $(wildcard examples/*/go.mod))) otelintent/ quicintent/

.PHONY: examples
examples: ## test the examples and modules that need libraries of others
	@for d in $(EXAMPLES); do (cd $$d && $(GO) vet ./...) && $(TALLY) --note $(SKIPPED)/$$(basename $$d) -- $(GO) test -C $$d ./... || exit 1; done

# What is compared with an emulated link's own figures, or keeps the machine
# busy, runs alone and without the race detector.
.PHONY: timed
timed:
	$(TALLY) --note $(SKIPPED)/timed -- $(GO) test -count=1 -p 1 -timeout 20m $(TIMED)

.PHONY: bench
bench: build ## run the benchmarks and the load generator
	$(GO) test -run '^$$' -bench . -benchmem ./...
	$(GO) run ./tests/mamload --mamma $(BUILD)/mamma --established 0,1000,5000
	$(GO) run ./tests/mamload --mamma $(BUILD)/mamma --time-wait 40000
	$(GO) run ./tests/mamload --mamma $(BUILD)/mamma --routes 300000,1000000 --changes 0,10,1000 --clients 1
	$(GO) run ./tests/socksbench --muacsocksd $(BUILD)/muacsocksd

.PHONY: bench-vs
bench-vs: ## the same beside another revision: make bench-vs REV=v0.9.0
	@test -n "$(REV)" || { echo "say which revision: make bench-vs REV=v0.9.0" >&2; exit 2; }
	$(GO) run ./tests/bench --rev $(REV)

.PHONY: evaluate evaluate-quick evaluate-full
evaluate: ## compare the policies on emulated links, in an hour and a half
	$(GO) run ./tests/evaluate
	$(GO) run -C quicintent ./evaluate
	$(GO) run ./tests/evaluate/call

evaluate-quick: ## a part of it in two minutes, with limits that must hold
	$(TALLY) --note $(SKIPPED)/evaluate --program -- $(GO) run ./tests/evaluate --quick
	$(TALLY) --note $(SKIPPED)/evaluate-quic --program -- $(GO) run -C quicintent ./evaluate --quick
	$(TALLY) --note $(SKIPPED)/evaluate-call --program -- $(GO) run ./tests/evaluate/call --quick

evaluate-full: ## the same with 30 repetitions; can be interrupted and goes on
	$(GO) run ./tests/evaluate --full --out evaluation-full

.PHONY: vulncheck
vulncheck: ## look for known vulnerabilities of what is used; asks VULNDB
	@$(VULN) -db $(VULNDB) ./... || { s=$$?; test $$s = 3 || \
		echo "Nothing was checked. Where $(VULNDB) cannot be reached, VULNDB=URL names a copy (https or file)." >&2; exit $$s; }

# On a busy machine go test may end a fuzz test by "context deadline exceeded" when
# its time is up (golang/go issue 75804, mended in Go 1.27); what was really found fails again.
.PHONY: fuzz
fuzz: ## run every fuzz test, each for FUZZTIME
	@for p in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			echo "$$p $$f"; for try in 1 2; do \
				$(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p && break; test $$try = 1 || exit 1; done; done; done

.PHONY: static
static: ## build without cgo and plugins, for amd64 and arm64
	for a in amd64 arm64; do CGO_ENABLED=0 GOARCH=$$a $(GO) build $(FLAGS) -ldflags '$(LDFLAGS)' -o $(BUILD)/static-$$a/ ./cmd/... || exit 1; done

# Everything is laid out as it will be installed, then put into packages. Another
# ARCH needs its C compiler in CC, or CGO_ENABLED=0, which leaves the plugins out.
.PHONY: packages
packages: ## make debs and rpms, of mamma and of its policies as plugins, and bills of materials
	rm -rf $(BUILD)/staging $(BUILD)/packages
	mkdir -p $(BUILD)/packages
	GOARCH=$(ARCH) $(MAKE) --no-print-directory install BUILD=$(BUILD)/release STRIP='-s -w' DESTDIR=$(abspath $(BUILD))/staging PREFIX=/usr
	for n in mamma $(if $(filter 0,$(CGO_ENABLED)),,mamma-policies); do for p in deb rpm; do \
		SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) VERSION=$(PACKAGE_VERSION) ARCH=$(ARCH) ROOT=$(BUILD)/staging \
		$(NFPM) package -f init/package/$$n.yaml -p $$p -t $(BUILD)/packages || exit 1; done; done
	@$(MAKE) --no-print-directory sbom BUILD=$(BUILD)

# What each program was built of, as the program itself has it, in CycloneDX. The
# plugins are built of the same: the daemon opens no others.
.PHONY: sbom
sbom:
	for p in $(PROGRAMS:%=bin/%) $(HELPERS:%=libexec/mamma/%); do \
		$(SBOM) bin -json -noserial -notimestamp -version $(VERSION) -output $(BUILD)/packages/$${p##*/}_$(PACKAGE_VERSION)_$(ARCH).cdx.json $(BUILD)/staging/usr/$$p || exit 1; done

# What lies in the module cache is what go.sum says.
.PHONY: verify
verify: ## check the modules of others against go.sum
	$(GO) mod verify

# The pages of mammactl, and its completions, come from it; it runs on this machine
# even if the packages are for another.
.PHONY: man
man:
	@mkdir -p $(BUILD)
	GOARCH= $(GO) build $(FLAGS) -o $(BUILD)/mammactl-here ./cmd/mammactl
	@mkdir -p $(BUILD)/man $(BUILD)/completions
	$(BUILD)/mammactl-here man $(BUILD)/man
	for s in bash zsh fish; do $(BUILD)/mammactl-here completion $$s > $(BUILD)/completions/mammactl.$$s || exit 1; done

SHARE := $(DESTDIR)$(PREFIX)/share

# Where the bus looks: of the policies of programs below /usr/local only in /etc.
BUSPOLICY = $(if $(filter /usr,$(PREFIX)),/usr/share,/etc)/dbus-1/system.d

.PHONY: install
install: build $(if $(filter 0,$(CGO_ENABLED)),,policies) man ## install below DESTDIR and PREFIX; without DESTDIR make the user and tell systemd
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/libexec/mamma $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/lib/sysusers.d $(DESTDIR)/etc/mamma
	install -m 0755 $(PROGRAMS:%=$(BUILD)/%) $(DESTDIR)$(PREFIX)/bin
	install -m 0755 $(HELPERS:%=$(BUILD)/%) $(DESTDIR)$(PREFIX)/libexec/mamma
	for u in init/*.service init/*.socket; do sed 's|/usr/bin/|$(PREFIX)/bin/|' $$u > $(DESTDIR)$(PREFIX)/lib/systemd/system/$${u##*/} || exit 1; done
	install -m 0644 init/mamma.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/mamma.conf
	install -D -m 0644 init/org.socketintents.Mamma1.xml $(DESTDIR)$(BUSPOLICY)/org.socketintents.Mamma1.conf
	for c in mamma.conf muacsocksd.conf; do test -e $(DESTDIR)/etc/mamma/$$c || install -m 0644 init/$$c $(DESTDIR)/etc/mamma || exit 1; done
	for n in 1 5 7 8; do install -d $(SHARE)/man/man$$n && install -m 0644 $$(ls doc/man/*.$$n $(BUILD)/man/*.$$n 2>/dev/null) $(SHARE)/man/man$$n || exit 1; done
	install -D -m 0644 $(BUILD)/completions/mammactl.bash $(SHARE)/bash-completion/completions/mammactl
	install -D -m 0644 $(BUILD)/completions/mammactl.zsh $(SHARE)/zsh/site-functions/_mammactl
	install -D -m 0644 $(BUILD)/completions/mammactl.fish $(SHARE)/fish/vendor_completions.d/mammactl.fish
	install -d $(SHARE)/doc/mamma/examples
	install -m 0644 README.md SECURITY.md MAPPING.md CHANGELOG.md LICENSE $(SHARE)/doc/mamma
	install -m 0644 init/managed.conf init/scopes.conf $(SHARE)/doc/mamma/examples
	install -m 0644 internal/config/reference.hcl $(SHARE)/doc/mamma/examples/reference.conf
	install -m 0644 internal/proxy/reference.hcl $(SHARE)/doc/mamma/examples/muacsocksd.conf
ifneq ($(CGO_ENABLED),0)
	install -d $(DESTDIR)$(PREFIX)/lib/mam-policies
	install -m 0644 $(POLICIES:%=$(BUILD)/policies/%.so) $(DESTDIR)$(PREFIX)/lib/mam-policies
endif
ifeq ($(DESTDIR),)
	sh init/package/postinstall.sh install $(PREFIX)/lib/sysusers.d/mamma.conf
endif

.PHONY: clean
clean: ## remove what was built
	rm -rf $(BUILD)
