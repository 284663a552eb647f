# Two commands for a newcomer: `make demo` and `make test`. The rest is for those who work here.

.PHONY: demo dashboard test quick nightly fuzz bench format

# A relay and a swarm on this machine. Needs cargo and nothing else; with npm it has its dashboard, and on a terminal it
# stays up for a look.
demo:
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory dashboard || echo "the demo goes on without its dashboard"; else echo "without npm there is no dashboard"; fi
	cargo run --release -- demo --stay

# The relay's web pages, into www/dist: the next build of the program takes them in. Needs cargo and npm.
dashboard:
	bindings/wasm/build.sh
	cd www && npm ci --no-audit --no-fund --loglevel=error && npm run --silent build

# Everything, quick to slow. Installs its tools into tools/ first.
test:
	@.ci/install.sh
	@.ci/check.sh full

# What to run before a commit.
quick:
	@.ci/check.sh quick

# One hour of simulation on each engine.
nightly:
	@.ci/check.sh nightly

# Coverage-guided fuzzing of every target, where a nightly toolchain is installed. SECONDS_EACH=600 for longer.
SECONDS_EACH ?= 60
fuzz:
	@.ci/install.sh fuzz
	@.ci/fuzz.sh $(SECONDS_EACH) libfuzzer

# Every measurement of benches/README.md. ARGS="fan-out --quick" for a part; `npm ci` in benches/compare for the others.
bench:
	cargo bench --bench load -- $(ARGS)

format:
	cargo fmt --all
	cargo fmt --manifest-path benches/compare/barriers/Cargo.toml
