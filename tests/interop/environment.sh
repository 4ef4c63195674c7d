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
