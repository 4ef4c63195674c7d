# environment NAME: prints the python of .venv-interop-NAME, made on first use and again when
# requirements-NAME.txt changes. For sourcing; shared with benches/peers.
environment() {
    local root here wanted venv
    here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
    root=$(cd "$here/../.." && pwd)
    wanted="$here/requirements-$1.txt"
    venv="$root/.venv-interop-$1"
    if ! cmp -s "$wanted" "$venv/installed.txt"; then
        echo "installing $venv" >&2
        "${PYTHON:-$(command -v python3.11 || command -v python3)}" -m venv "$venv" >&2
        "$venv/bin/pip" install --quiet -r "$wanted" >&2
        cp "$wanted" "$venv/installed.txt"
    fi
    echo "$venv/bin/python"
}

# the_binary: prints the cbp-fast to run: CBP_FAST, else the release build of this checkout.
the_binary() {
    local root binary
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
    binary=${CBP_FAST:-$root/target/release/cbp-fast}
    if [ ! -x "$binary" ]; then
        echo "error: no binary at $binary; build it (cargo build --release) or set CBP_FAST" >&2
        return 1
    fi
    echo "$binary"
}
