#!/usr/bin/env bash
# Does `cbp-fast motifs` drive the real tfmodisco-lite, and does the report show what it found?
#
#   tests/interop/motifs.sh
#
# Makes contributions in the official layout with two planted motifs, runs `cbp-fast motifs` with a
# database that names both, and looks for both names in `cbp-fast report`. A few minutes.
#
# Needs Python 3.9 to 3.12 (PYTHON names one) and a package index for the first run; keeps its virtual
# environment in .venv-interop-modisco. CBP_FAST names the binary (default: target/release).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/environment.sh"
binary=$(the_binary)
python=$(environment modisco)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
run=$work/run
mkdir -p "$run/models" "$run/auxiliary/interpret_subsample"
touch "$run/models/chrombpnet.h5"
"$python" "$here/planted_motifs.py" \
    "$run/auxiliary/interpret_subsample/chrombpnet_nobias.profile_scores.h5" "$work/db.meme"
"$binary" motifs -o "$run" -n 2000 -m "$work/db.meme" --modisco "$(dirname "$python")/modisco"
"$binary" report -o "$run"
for name in planted_1 planted_2; do
    if ! grep -q "<td>$name" "$run/evaluation/overall_report.html"; then
        echo "error: $name is not in the report's table of motifs" >&2
        exit 1
    fi
done
echo "both planted motifs were found, and the report names them"
