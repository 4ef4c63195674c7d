#!/usr/bin/env bash
# Builds the documents (docs/, mkdocs.yml) into target/docs. Installs mkdocs into .tools/docs first where
# it is missing or not of the versions in docs/requirements.txt; after that it needs no network.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=.tools/docs
wanted=docs/requirements.txt
fail() {
    echo "error: $1" >&2
    echo "  fix: $2" >&2
    exit 1
}

command -v python3 >/dev/null || fail "no python3, which mkdocs needs" "install Python 3.10 or newer"
if ! cmp -s "$wanted" "$tools/requirements.txt"; then
    echo "docs: putting mkdocs into $tools" >&2
    rm -rf "$tools"
    pip=(python3 -m pip)
    # Some systems have venv but no pip outside it.
    python3 -m pip --version >/dev/null 2>&1 ||
        { python3 -m venv .tools/venv >&2 && pip=(.tools/venv/bin/python -m pip); } ||
        fail "python3 has neither pip nor venv" "install python3-pip or python3-venv"
    "${pip[@]}" install --quiet --disable-pip-version-check --no-deps --target "$tools" -r "$wanted" ||
        fail "mkdocs could not be installed" "see the lines above; it comes from PyPI"
    cp "$wanted" "$tools/requirements.txt"
fi
PYTHONPATH=$tools python3 -m mkdocs build
echo "docs: target/docs/index.html"
