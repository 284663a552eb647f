# Two commands for a newcomer: `make demo` and `make test`. The rest is for those who work here.

.PHONY: demo test quick nightly fuzz bench format

# A relay and a swarm on this machine. Needs cargo and nothing else.
demo:
	cargo run --release -- demo

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
	cargo fmt --manifest-path fuzz/Cargo.toml
	cargo fmt --manifest-path benches/compare/barriers/Cargo.toml
