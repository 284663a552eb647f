#!/usr/bin/env bash
# Fuzzes every target for a time. Usage: fuzz.sh SECONDS [stable | built | libfuzzer]
#
# `stable` (the default) mutates seeds without coverage and needs no nightly toolchain; `built` is the same with the program
# that is there, as in CI. `libfuzzer` is guided by coverage and checks memory, but builds every dependency once more with
# instrumentation.
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
    cargo build --release --quiet -p aepoch-fuzz --bin smoke
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
    stable | libfuzzer) step "fuzz build ($mode)" "build_$mode" ;;
    built) mode=stable ;;
    *) echo "usage: fuzz.sh SECONDS [stable | built | libfuzzer]" >&2; exit 2 ;;
esac
step "fuzz, ${#targets[@]} targets" in_pairs "run_$mode" "${targets[@]}"
