#!/usr/bin/env bash
# Do bpnet-lite and tangermeme find the counts contributions that `cbp-fast contribs` finds, on a
# trained model and real sequences?
#
#   tests/interop/tangermeme.sh GENOME.fa.gz CHROM_SIZES REGIONS MODEL.h5 [N]
#
# MODEL is a bias or nobias file (bpnet-lite knows no full ones), REGIONS has 10 columns, of which the
# first N (default 8) are explained, against 20 references of tangermeme's own dinucleotide shuffle.
# tangermeme runs in double precision; prints a table; exit 1 when a score differs by more than the
# rounding of the 16-bit floats of the h5 and 1e-5 of the region's largest.
#
# Needs Python 3.11 (PYTHON names another) and a package index for the first run; keeps its virtual
# environment in .venv-interop-torch. CBP_FAST names the binary (default: target/release).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

if [ $# -lt 4 ] || [ ! -f "$4" ]; then
    sed -n '2,13s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
source "$here/environment.sh"
binary=$(the_binary)
torch=$(environment torch)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
head -n "${5:-8}" "$3" > "$work/regions.bed"
genome=$1 sizes=$2 model=$4
explain() {
    "$binary" contribs -m "$model" -g "$genome" -c "$sizes" -r "$work/regions.bed" -pc counts \
        --device cpu --quiet "$@"
}
# Once for the sequences, which the references are shuffles of.
explain -op "$work/first" --n-references 1
"$torch" "$here/tangermeme_agrees.py" shuffle "$work/first.counts_scores.h5" "$work/references.safetensors"
explain -op "$work/ours" --references "$work/references.safetensors"
"$torch" "$here/tangermeme_agrees.py" compare "$model" "$work/ours.counts_scores.h5" "$work/references.safetensors"
