#!/usr/bin/env bash
# Fuzzes every target for a time. Usage: fuzz.sh SECONDS [stable | libfuzzer]
#
# `stable` (the default, also in CI) mutates seeds without coverage and needs no nightly toolchain. `libfuzzer` is
# guided by coverage and checks memory, but builds every dependency once more with instrumentation.
set -euo pipefail
cd "$(dirname "$0")/.."
source .ci/step.sh

seconds=${1:?seconds per target}
mode=${2:-stable}
targets=(frame prescan_yrs prescan_automerge apply_yrs apply_automerge audit credential store_open wires)
smoke="${CARGO_TARGET_DIR:-target}/release/smoke"
# Address space in KiB: an input that makes a decoder ask for more fails the run instead of the machine.
memory_max=$((4 * 1024 * 1024))

build_stable() {
    # Into the target folder of the library, so that its release dependencies are not compiled again.
    local options=(--release --quiet --manifest-path fuzz/Cargo.toml --target-dir "${CARGO_TARGET_DIR:-target}")
    # The targets' own tests first: a target whose seeds no longer arrive would find nothing, and look healthy.
    cargo test "${options[@]}" --lib
    cargo build "${options[@]}" --bin smoke
}

run_stable() { # target
    ulimit -v "$memory_max"
    "$smoke" "$1" "$seconds"
}

build_libfuzzer() {
    PATH="$PWD/tools/bin:$PATH" cargo +nightly fuzz build --features libfuzzer
}

run_libfuzzer() { # target
    PATH="$PWD/tools/bin:$PATH" cargo +nightly fuzz run --features libfuzzer "$1" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=4096 -print_final_stats=1 -verbosity=0
}

case "$mode" in
    stable | libfuzzer) ;;
    *) echo "usage: fuzz.sh SECONDS [stable | libfuzzer]" >&2; exit 2 ;;
esac
step "fuzz build ($mode)" "build_$mode"
step "fuzz, ${#targets[@]} targets" in_pairs "run_$mode" "${targets[@]}"
