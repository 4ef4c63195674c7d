#!/usr/bin/env bash
# Do the tools of the field load our model files, and do they predict what we predict?
#
#   tests/interop/run.sh MODELS [SEQUENCES.fa]
#
# MODELS is a folder that `cbp-fast demo` or `cbp-fast train` made (any folder with .h5 models below
# it). Every model predicts the same sequences three times: `cbp-fast predict`, TensorFlow
# `load_model(compile=False)` as variant-scorer and the official tool call it, and bpnet-lite
# `from_chrombpnet`. Prints a table; exit 1 when any value differs by more than 1e-4.
#
# Needs Python 3.11 (PYTHON names another) and a package index for the first run; keeps its
# virtual environments in .venv-interop-*. CBP_FAST names the binary (default: target/release).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

if [ $# -lt 1 ] || [ ! -d "$1" ]; then
    sed -n '2,12s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
source "$here/environment.sh"
binary=$(the_binary)
tensorflow=$(environment tensorflow)
torch=$(environment torch)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mapfile -t models < <(find "$1" -name '*.h5' ! -name '*_predictions.h5' ! -name '.*' | sort)
if [ ${#models[@]} -eq 0 ]; then
    echo "error: no .h5 model below $1" >&2
    exit 1
fi

# manifest: model, our predictions, sequences
count=0
for model in "${models[@]}"; do
    count=$((count + 1))
    sequences=${2:-$work/$count.fa}
    if [ $# -lt 2 ]; then
        "$tensorflow" "$here/sequences.py" "$model" > "$sequences"
    fi
    "$binary" predict -m "$model" --fasta "$sequences" -o "$work/$count" --logits --quiet
    printf '%s\t%s\t%s\n' "$model" "$work/${count}_predictions.h5" "$sequences" >> "$work/manifest.tsv"
done

status=0
"$tensorflow" "$here/tensorflow_agrees.py" "$work/manifest.tsv" || status=1
"$torch" "$here/bpnet_lite_agrees.py" "$work/manifest.tsv" || status=1
exit $status
