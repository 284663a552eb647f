#!/usr/bin/env bash
# Builds the npm package: the module per engine into pkg/, the TypeScript into dist/ and, bundled, web/, the package into target/npm/.
# Usage: build.sh [yrs | automerge | package | trap | installed]...   (default: yrs automerge package)
#
# For the tests: `trap` is yrs with a function that panics, into target/npm/trap/, and never part of the package;
# `installed` is an application in target/npm/installed/ that has the package from its archive, with the tests in it.
set -euo pipefail
target=$(realpath -m "${CARGO_TARGET_DIR:-$(dirname "$0")/../../target}")
export CARGO_TARGET_DIR=$target
cd "$(dirname "$0")"

engine() { # features folder [profile]
    local profile=${3:-wasm}
    cargo build --quiet -p aepoch-wasm --profile "$profile" --target wasm32-unknown-unknown --no-default-features --features "$1"
    mkdir -p "$2"
    cargo run --quiet -p aepoch-bindgen --profile tool -- "$target/wasm32-unknown-unknown/$profile/aepoch_wasm.wasm" "$2"
}

package() {
    [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --no-audit --no-fund --loglevel=error
    rm -rf dist web
    npx tsc
    # A page without a bundler loads a few files instead of each module of ours after the one that imports it.
    npx esbuild dist/{index,automerge,react,worker,worker-automerge}.js --bundle --splitting --format=esm --target=es2022 \
        --external:'../pkg/*' --external:react --outdir=web --chunk-names=shared-[hash] --log-level=warning
    mkdir -p "$target/npm"
    rm -f "$target"/npm/aepoch-*.tgz
    npm pack --silent --pack-destination "$target/npm"
}

installed() {
    local application="$target/npm/installed" package
    rm -rf "$application"
    mkdir -p "$application"
    echo '{ "private": true }' >"$application/package.json"
    (cd "$application" && npm install --no-audit --no-fund --prefer-offline --loglevel=error "$target"/npm/aepoch-*.tgz)
    mkdir "$application/node_modules/aepoch/test"
    cp test/*.mjs "$application/node_modules/aepoch/test/"
    # About the text of the README, and the compiler.
    rm "$application/node_modules/aepoch/test/readme.test.mjs"
    # What the tests import besides: where the package itself looks for it only if it is not declared.
    for package in fake-indexeddb react react-test-renderer; do
        ln -s "$PWD/node_modules/$package" "$application/node_modules/$package"
    done
}

[ $# -gt 0 ] || set -- yrs automerge package
for part in "$@"; do
    case "$part" in
        yrs) engine yrs pkg/yrs ;;
        # The document of the swarm itself is on yrs, whatever the others are on.
        automerge) engine yrs,automerge pkg/automerge ;;
        trap) engine yrs,trap "$target/npm/trap" trap ;;
        package | installed) "$part" ;;
        *) echo "usage: build.sh [yrs | automerge | package | trap | installed]..." >&2; exit 2 ;;
    esac
done
