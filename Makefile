# Needs cargo, a C compiler, make and bash; the tests also valgrind. `make` alone lists the targets.

CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
ENGINE := $(TARGET_DIR)/release/engine

# The engine finds modules beside its own binary, so building a connector is all that installing takes.
DEMO_CRATES := engine-cli engine-plugin-file engine-plugin-csv engine-plugin-avaya-cdr engine-plugin-sqlite
BENCH_CRATES := engine-cli engine-plugin-file engine-plugin-csv engine-plugin-tcp engine-plugin-avaya-cdr engine-plugin-postgres engine-test-tools
DATABASE_CRATES := engine-plugin-mysql engine-plugin-mongodb engine-plugin-sql
REPORT_CRATES := engine-plugin-excel engine-plugin-parquet engine-plugin-pdf engine-plugin-sftp engine-plugin-s3
MODULE_BENCH_CRATES := engine-cli engine-host engine-wasm engine-guest-tests engine-plugin-avaya-cdr

# The demo keeps its state beside its results, so that it starts anew each time and touches no other.
DEMO_OUT := pipelines/out
DEMO_STATE := $(DEMO_OUT)/state

# Kills a pair of source and sink in `make crash`; rounds and rows of `make bench`.
KILLS ?= 500
ROUNDS ?= 5
ROWS ?= 1000000
# How long PostgreSQL is away in `make outage`.
SECONDS ?= 600
# Of `make bench-schedules`.
PIPELINES ?= 500
MINUTES ?= 5

.DEFAULT_GOAL := help
.PHONY: help build test suite test-cloud guests demo bench bench-databases bench-push bench-reports bench-modules bench-schedules outage budgets crash lint format doc deny schemas clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null \
	  || sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1: \2/p' $(MAKEFILE_LIST)

# The engine that crash tests can end at a point is built first and put aside; the same build folder
# serves both, so that only the engine's own crates are compiled twice.
define build-all
	$(CARGO) build --workspace --features engine-cli/failpoints $(1)
	cp -f $(TARGET_DIR)/$(2)/engine $(TARGET_DIR)/$(2)/engine-failpoints
	$(CARGO) build --workspace $(1)
endef

build: ## build the engine and every connector (dev profile)
	$(call build-all,,debug)

test: ## start the real servers, build, run every test, stop the servers
	tests/services run -- $(MAKE) --no-print-directory suite

test-cloud: build ## try Snowflake as far as a stand-in for it goes; says what was not run
	tests/cloud

# What runs inside `make test`. The builds come first: cargo's test commands do not make the shared
# libraries that the tests load, and what instructions are counted of has a profile of its own.
suite:
	$(call build-all,,debug)
	$(CARGO) hot-paths
	$(TARGET_DIR)/debug/build-guests
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
	  set -x; $(CARGO) nextest run --workspace --no-fail-fast && $(CARGO) test --workspace --doc; \
	else \
	  set -x; $(CARGO) test --workspace --no-fail-fast; \
	fi

guests: ## build the modules in Rust, C, Python and JavaScript that the tests load
	$(CARGO) build --workspace
	$(TARGET_DIR)/debug/build-guests

demo: ## build what the quickstart needs (release profile), run it, show the results
	@echo "1/2  Building the engine and the modules file, csv, avaya_cdr and sqlite (release profile)."
	@echo "     From nothing this takes about 10 minutes on two cores, most of it in dependencies; again, seconds."
	@$(CARGO) build --release $(addprefix -p ,$(DEMO_CRATES))
	@rm -rf $(DEMO_OUT) && mkdir -p $(DEMO_OUT)
	@echo
	@echo "2/2  Running pipelines/quickstart.yaml: a PBX log of 52,000 lines, 48 of them unreadable,"
	@echo "     into an SQLite table and a CSV file. This takes seconds."
	@ENGINE_STATE=$(DEMO_STATE) $(ENGINE) run pipelines/quickstart.yaml
	@echo
	@echo "Results:"
	@echo "  $(DEMO_OUT)/calls.csv       $$(($$(wc -l < $(DEMO_OUT)/calls.csv) - 1)) rows and a header"
	@echo "  $(DEMO_OUT)/quickstart.db   table avaya_cdr, the same rows"
	@echo "The 48 lines that are no record were kept whole, each with its reason, as dead letters."
	@echo
	@echo "Try next:"
	@echo "  export ENGINE_STATE=$(DEMO_STATE)"
	@echo "  $(ENGINE) dead-letters list                   the lines, and what is wrong with them"
	@echo "  $(ENGINE) preview pipelines/quickstart.yaml   the first rows after each stage"
	@echo "  $(ENGINE) explain pipelines/quickstart.yaml   what each sink is promised, and why"

bench: ## measure against psql; prints a table (ROUNDS=5 ROWS=1000000)
	$(CARGO) build --release $(addprefix -p ,$(BENCH_CRATES))
	tests/services run --only postgres -- tests/bench/run --bin $(TARGET_DIR)/release --rounds $(ROUNDS) --rows $(ROWS)

bench-databases: ## measure between databases, and what `sql` costs (ROUNDS=5 ROWS=1000000; MongoDB a fifth of it, groups five times)
	$(CARGO) build --release $(addprefix -p ,$(BENCH_CRATES) $(DATABASE_CRATES))
	tests/services run --only postgres,mariadb,mongodb -- sh -ec ' \
	  measure() { tests/bench/databases --bin $(TARGET_DIR)/release --rounds $(ROUNDS) --rows "$$@"; }; \
	  measure $(ROWS) maria-to-pg pg-to-maria pg-to-maria-sling pg-to-maria-ingestr sql; \
	  measure $$(($(ROWS) / 5)) mongo-to-pg pg-to-mongo; \
	  measure $$(($(ROWS) * 5)) group'

bench-push: ## measure pushes to an HTTP API against a script with aiohttp (ROUNDS=5 ROWS=1000000)
	$(CARGO) build --release $(addprefix -p ,$(BENCH_CRATES) engine-plugin-http)
	tests/services run --only postgres -- tests/bench/push --bin $(TARGET_DIR)/release --rounds $(ROUNDS) --rows $(ROWS)

bench-reports: ## measure reports against DuckDB, aws and sftp (ROUNDS=5 ROWS=1000000; Parquet five times it too, PDF 10,000 and 100,000)
	$(CARGO) build --release $(addprefix -p ,$(BENCH_CRATES) $(REPORT_CRATES))
	tests/services run --only postgres,sftp,s3 -- sh -ec ' \
	  measure() { tests/bench/reports --bin $(TARGET_DIR)/release --rounds $(ROUNDS) --rows "$$@"; }; \
	  measure $(ROWS) to-excel to-parquet; \
	  measure $$(($(ROWS) * 5)) to-parquet; \
	  measure 10000 to-pdf to-s3 to-sftp; \
	  measure 100000 to-pdf'

bench-modules: ## measure what WASM and child processes cost against native modules
	$(MAKE) --no-print-directory guests
	$(CARGO) build --release $(addprefix -p ,$(MODULE_BENCH_CRATES)) --example isolation --lib --bins
	$(TARGET_DIR)/release/bench-guests
	$(TARGET_DIR)/release/examples/isolation $(TARGET_DIR)/release/libengine_plugin_avaya_cdr.so

bench-schedules: ## measure how late runs of many schedules begin (PIPELINES=500 MINUTES=5)
	$(CARGO) build --release $(addprefix -p ,$(BENCH_CRATES))
	tests/bench/schedules --bin $(TARGET_DIR)/release --pipelines $(PIPELINES) --minutes $(MINUTES)

budgets: ## count the instructions of the hot paths anew and make them the budgets
	UPDATE=1 $(CARGO) test --workspace --test budgets -- --nocapture

outage: ## 20,000 lines a second while PostgreSQL is away, then back (SECONDS=600)
	$(CARGO) build --release $(addprefix -p ,$(BENCH_CRATES))
	tests/services run --only postgres -- tests/bench/outage --bin $(TARGET_DIR)/release --seconds $(SECONDS)

crash: ## kill the engine again and again, check that nothing is lost or doubled (KILLS=500 a pair)
	$(call build-all,--release,release)
	ENGINE_CRASH_KILLS=$(KILLS) tests/services run -- $(CARGO) test --release -p engine-crash-tests -- --nocapture

lint: ## check format and lints, warnings denied
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

format: ## format the code
	$(CARGO) fmt --all

doc: ## build the API documentation, warnings denied
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

deny: ## check licences, sources and advisories with cargo-deny
	@$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-deny
	$(CARGO) deny check

schemas: ## write the generated files under schemas/ and docs/ anew
	$(CARGO) build --workspace
	UPDATE=1 $(CARGO) test -p engine-tidy-tests --test schemas

clean: ## remove what was built and what the demo wrote
	$(CARGO) clean
	rm -rf $(DEMO_OUT)
