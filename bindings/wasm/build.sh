#!/usr/bin/env bash
# Builds the npm package: the module per engine into pkg/, the TypeScript into dist/, the package into target/npm/.
# Usage: build.sh [yrs | automerge | trap | package]...   (default: yrs automerge package)
#
# `trap` is yrs with a function that panics, into target/npm/trap/: for the tests, and never part of the package.
set -euo pipefail
cd "$(dirname "$0")"
target=$(mkdir -p "${CARGO_TARGET_DIR:-../../target}" && cd "${CARGO_TARGET_DIR:-../../target}" && pwd)
export CARGO_TARGET_DIR=$target

engine() { # features folder
    cargo build --quiet -p aepoch-wasm --profile wasm --target wasm32-unknown-unknown --no-default-features --features "$1"
    mkdir -p "$2"
    cargo run --quiet -p aepoch-bindgen --profile tool -- "$target/wasm32-unknown-unknown/wasm/aepoch_wasm.wasm" "$2"
}

package() {
    [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --no-audit --no-fund --loglevel=error
    rm -rf dist
    npx tsc
    mkdir -p "$target/npm"
    rm -f "$target"/npm/aepoch-*.tgz
    npm pack --silent --pack-destination "$target/npm"
}

[ $# -gt 0 ] || set -- yrs automerge package
for part in "$@"; do
    case "$part" in
        yrs | automerge) engine "$part" "pkg/$part" ;;
        trap) engine yrs,trap "$target/npm/trap" ;;
        package) package ;;
        *) echo "usage: build.sh [yrs | automerge | trap | package]..." >&2; exit 2 ;;
    esac
done
