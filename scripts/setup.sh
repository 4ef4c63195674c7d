#!/usr/bin/env bash
# Installs what the build needs and this machine lacks; silent when nothing is missing.
#
#   cargo             not installed by us: how Rust gets onto a machine is its owner's choice
#   a C compiler      for the bundled HDF5; apt-get, dnf or Xcode's tools
#   a C++ compiler    for the kernels' emulation in tests; likewise
#   cmake >= 3.18     likewise; apt-get, dnf or brew, else a pinned copy in .tools/ (no root needed)
#   strace            only for `make faults` (setup.sh strace); apt-get or dnf
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.tools/bin:$PATH:$HOME/.cargo/bin"

CMAKE_AT_LEAST=3.18
CMAKE_WHEEL='cmake==3.31.*'

have() { command -v "$1" >/dev/null 2>&1; }
say() { echo "setup: $*" >&2; }
# fail WHAT FIX
fail() {
    echo "error: $1" >&2
    echo "  fix: $2" >&2
    exit 1
}
# at_least WANTED FOUND: compares dotted versions
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -t. -k1,1n -k2,2n | head -n1)" = "$1" ]; }

cmake_fits() {
    have cmake || return 1
    local found
    found=$(cmake --version 2>/dev/null | sed -n 's/^cmake version \([0-9]*\.[0-9]*\).*/\1/p')
    [ -n "$found" ] && at_least "$CMAKE_AT_LEAST" "$found"
}

# Root, or sudo that asks nothing: a password prompt has no place in a build.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        return 1
    fi
}

# install_package APT_NAME DNF_NAME BREW_NAME; an empty name: not from there
install_package() {
    if [ -n "$1" ] && have apt-get; then
        say "installing $1 with apt-get"
        as_root apt-get update -qq >&2 || say "apt-get update failed; trying with the lists there are"
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$1" >&2
    elif [ -n "$2" ] && have dnf; then
        say "installing $2 with dnf"
        as_root dnf install -y -q "$2" >&2
    elif [ -n "$3" ] && have brew; then
        say "installing $3 with brew"
        brew install --quiet "$3" >&2
    else
        return 1
    fi
}

cmake_from_wheel() {
    have python3 || return 1
    say "no root or no package manager: putting cmake into .tools/"
    mkdir -p .tools/bin
    if ! python3 -m pip install --quiet --disable-pip-version-check --upgrade \
        --target .tools/cmake "$CMAKE_WHEEL" 2>/dev/null >&2; then
        # Some systems have venv but no pip outside it.
        python3 -m venv .tools/venv >&2 &&
            .tools/venv/bin/python -m pip install --quiet --disable-pip-version-check --upgrade \
                --target .tools/cmake "$CMAKE_WHEEL" >&2 || return 1
    fi
    ln -sf "$PWD/.tools/cmake/cmake/data/bin/cmake" .tools/bin/cmake
}

if ! have cargo; then
    fail "cargo is not on PATH: the build needs Rust" \
        "install Rust from https://rustup.rs and open a new shell"
fi
rust_wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
rust_found=$(rustc --version | sed -n 's/^rustc \([0-9]*\.[0-9]*\).*/\1/p')
if ! at_least "$rust_wanted" "$rust_found"; then
    fail "Rust $rust_found is too old, $rust_wanted or newer is needed" "run: rustup update stable"
fi

if ! have cc && ! have gcc && ! have clang; then
    install_package build-essential gcc "" ||
        fail "no C compiler (cc, gcc or clang)" \
            "install one: apt-get install build-essential, dnf install gcc, or xcode-select --install"
fi

if ! have c++ && ! have g++ && ! have clang++; then
    install_package build-essential gcc-c++ "" ||
        fail "no C++ compiler (c++, g++ or clang++)" \
            "install one: apt-get install build-essential, dnf install gcc-c++, or xcode-select --install"
fi

if ! cmake_fits; then
    { install_package cmake cmake cmake && hash -r && cmake_fits; } || cmake_from_wheel || true
    hash -r
    cmake_fits || fail "no cmake $CMAKE_AT_LEAST or newer, and it could not be installed" \
        "install cmake with your package manager, or python3 with pip so that a copy can go into .tools/"
fi

if [ "${1:-}" = strace ] && ! have strace; then
    install_package strace strace "" || fail "no strace" "install it with your package manager"
fi
