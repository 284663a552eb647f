#!/usr/bin/env bash
# The checks, quick to slow. Usage: check.sh quick | full | nightly
set -euo pipefail
cd "$(dirname "$0")/.."
source .ci/step.sh

export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-never}"
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
program="$target/release/aepoch"
npm_installed="$target/npm/installed/node_modules/aepoch"
chromium=${CHROMIUM:-$(command -v chromium || command -v google-chrome || echo chromium)}
# For tests in Node and in a browser.
export CHROMIUM="$chromium" AEPOCH="$program" AEPOCH_PACKAGE="$npm_installed" AEPOCH_TRAP="$target/npm/trap/"
engines=(yrs automerge)
# Named together wherever something of one is compiled, so that both ask for the same features and share all they can.
compiled=(-p aepoch -p aepoch-fuzz)
features=("" yrs automerge sealed redb tokio websocket agent relay sim)
sim_seeds="${SIM_SEEDS:-150}"
sim_steps="${SIM_STEPS:-1000}"
fuzz_seconds="${FUZZ_SECONDS:-10}"

formatting() {
    cargo fmt --all --check
    cargo fmt --manifest-path benches/compare/barriers/Cargo.toml --check
}

tidy() {
    cargo test --quiet --test tidy
}

lints() {
    cargo clippy "${compiled[@]}" --all-targets --quiet -- -D warnings
    cargo clippy "${compiled[@]}" --test model --test processes --quiet -- -D warnings
}

# The program without the features that only tests ask of its dependencies.
lints_as_installed() {
    cargo clippy --lib --bins --quiet -- -D warnings
}

# The library alone: its dependencies differ little between features, so most of them are compiled once.
lints_per_feature() { # feature...
    local feature
    for feature in "$@"; do
        echo "${feature:-no features}"
        cargo clippy --lib --quiet --no-default-features --features "$feature" -- -D warnings
    done
}

tests() {
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run "${compiled[@]}" --no-fail-fast --status-level fail --final-status-level slow
    else
        cargo test "${compiled[@]}" --quiet --lib --bins --tests --no-fail-fast
    fi
}

# The program with its dashboard, the fuzzer, and the tests that are optimised: in one go, so that the library is compiled
# once.
optimised_build() {
    await dashboard
    cargo build --release --quiet "${compiled[@]}" --bin aepoch --bin smoke --test model --test processes
    touch "$step_notes/program"
}

# For steps beside each other: what one has built and another needs.
await() { # note
    until [ -e "$step_notes/$1" ]; do
        [ -z "$step_background" ] || kill -0 "$step_background" 2>/dev/null || { echo "the $1 was not built"; return 1; }
        sleep 1
    done
}

# Millions of states: optimised, and not part of the tests above.
model() { # further arguments of the test program
    cargo test --release --quiet "${compiled[@]}" --test model -- --test-threads 1 "$@"
}

examples_in_docs() {
    cargo test --quiet --doc
}

documentation() {
    RUSTDOCFLAGS="-D warnings" cargo doc --quiet --no-deps --lib
}

# That it builds is seen where the packages are made.
lints_for_browsers() {
    cargo clippy --quiet -p aepoch-wasm --target wasm32-unknown-unknown --features automerge,trap -- -D warnings
}

# The wire's vectors and the verifier are the same where there are 32 bits and no threads.
in_webassembly() {
    has_node || { echo "SKIPPED: needs Node 20 or later"; return; }
    rustup target list --installed | grep -qx wasm32-wasip1 || { echo "SKIPPED: needs rustup's target wasm32-wasip1"; return; }
    CARGO_TARGET_WASM32_WASIP1_RUNNER="node --no-warnings $PWD/.ci/wasi.mjs" \
        cargo test --quiet --profile wasi --no-default-features --target wasm32-wasip1 --test sync --test trust
}

has_node() {
    [ "$(node --version 2>/dev/null | sed 's/^v\([0-9]*\).*/\1/')" -ge 20 ] 2>/dev/null && command -v npm >/dev/null
}

has_packages() {
    has_node && [ -e bindings/wasm/node_modules/.package-lock.json ]
}

# The package as `npm pack` makes it, and the relay's pages, which the program takes in.
packages() {
    has_packages || {
        echo "SKIPPED, NOTHING OF THE NPM PACKAGE IS TESTED: needs Node 20 or later, npm, and what it installs"
        touch "$step_notes/dashboard"
        return
    }
    bindings/wasm/build.sh
    (cd www && npm ci --no-audit --no-fund --loglevel=error && npm run --silent build)
    touch "$step_notes/dashboard"
    node bindings/wasm/sizes.mjs
    bindings/wasm/build.sh trap installed
    npm --prefix bindings/wasm run --silent types
}

# Unpacked in an application, against a relay.
npm_package() {
    has_packages || { echo "SKIPPED"; return; }
    await program
    timeout 600 node --test --test-reporter spec "$npm_installed"/test/*.test.mjs
}

# Clients of other libraries, as they are on npm, against the program.
interop() {
    has_node && [ -e tests/interop/node_modules/.package-lock.json ] ||
        { echo "SKIPPED, NO CLIENT OF ANOTHER LIBRARY IS TESTED: needs Node 20 or later, npm, and what it installs"; return; }
    command -v "$chromium" >/dev/null || echo "SKIPPED, NO EDITOR IS TESTED: needs Debian's chromium, or CHROMIUM=<file>"
    await program
    timeout 600 npm --prefix tests/interop run --silent test
}

browser() {
    has_packages || { echo "SKIPPED, NOTHING IS TESTED IN A BROWSER: needs Node 20 or later, npm, and what it installs"; return; }
    command -v "$chromium" >/dev/null || { echo "SKIPPED, NOTHING IS TESTED IN A BROWSER: needs Debian's chromium, or CHROMIUM=<file>"; return; }
    await program
    timeout 900 npm --prefix bindings/wasm run --silent test:browser
    timeout 300 npm --prefix www run --silent test
}

dependencies() {
    tools/bin/cargo-deny --log-level error check --hide-inclusion-graph bans licenses sources
}

# Twenty agents in network namespaces: only where these, bridges and cables between them may be made.
processes() {
    local space="ae$$"
    if ip netns add "$space" && ip -n "$space" link add br0 type bridge && ip -n "$space" link add v0 type veth peer name v1 &&
        ip netns exec "$space" true; then
        ip netns del "$space"
        cargo test --release --quiet "${compiled[@]}" --test processes -- --test-threads 1
    else
        ip netns del "$space" 2>/dev/null || true
        echo "skipped: needs Linux, root and iproute2, to make network namespaces"
    fi
}

ten_thousand_barriers() {
    cargo test --release --quiet --test document -- --ignored ten_thousand
}

# Committed seeds, then one nobody has run before. Its number is printed first: a hang names its seed too.
simulate() { # engine
    local fresh
    fresh=$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')
    "$program" sim --seeds "0..$sim_seeds" --steps "$sim_steps" --agents 4 --engine "$1"
    echo "fresh seed: aepoch sim --seed $fresh --steps $sim_steps --agents 4 --engine $1"
    "$program" sim --seed "$fresh" --steps "$sim_steps" --agents 4 --engine "$1"
}

simulate_hour() { # engine
    "$program" sim --minutes 60 --agents 4 --engine "$1"
}

demo() { # engine
    "$program" demo --json --engine "$1"
}

fuzz() {
    .ci/fuzz.sh "$fuzz_seconds" built
}

quick() {
    step "format" formatting
    step "tidy" tidy
    step "clippy" lints
    step "tests" tests
}

# What is optimised: compiled apart from the rest, so it can be done beside it.
optimised() {
    step "optimised build" optimised_build
    step "model" model
    step "processes" processes
    step "simulation" in_pairs simulate "${engines[@]}"
    step "demo" in_pairs demo "${engines[@]}"
    step "fuzz, ${fuzz_seconds} s a target" fuzz
}

full() {
    step "format" formatting
    beside optimised
    step "packages" packages
    step "clippy" lints
    step "clippy, as installed" lints_as_installed
    # And tidy, which is one of them.
    step "tests" tests
    step "documentation examples" examples_in_docs
    step "documentation" documentation
    step "in WebAssembly" in_webassembly
    step "bans, licences, sources" dependencies
    step "npm package" npm_package
    step "other libraries' clients" interop
    step "browser" browser
    join
}

nightly() {
    touch "$step_notes/dashboard"
    step "clippy, each feature" lints_per_feature "${features[@]}"
    step "clippy, for browsers" lints_for_browsers
    step "optimised build" optimised_build
    step "model, large configurations" model --include-ignored
    step "ten thousand barriers" ten_thousand_barriers
    step "simulation, one hour" in_pairs simulate_hour "${engines[@]}"
}

case "${1:-}" in
    quick | full | nightly) "$1" ;;
    *) echo "usage: check.sh quick | full | nightly" >&2; exit 2 ;;
esac
