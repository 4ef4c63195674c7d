#!/usr/bin/env bash
# Does `cbp-fast variants` write what variant-scorer writes, for the same variants, models and genome?
#
#   VARIANT_SCORER=CHECKOUT tests/interop/variant_scorer.sh GENOME.fa.gz PEAKS MODEL.h5 [MODEL.h5 ...]
#
# CHECKOUT is a checkout of kundajelab/variant-scorer (0e1e341 is what the numbers of this project
# were measured with). Both score the same substitutions and indels (VARIANTS says how many, 64) with
# peaks and shuffles, and fold means where there are several models. Shuffles are drawn at random by
# either; for p-values ours reads the shuffled scores of variant-scorer. Prints a table of columns and
# their largest differences; exit 1 when columns differ or a difference is beyond its tolerance.
#
# Needs bedtools on PATH, Python 3.11 and a package index for the first run; keeps its environment
# in .venv-interop-variant-scorer. CBP_FAST names the binary (default: target/release).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

if [ $# -lt 3 ] || [ ! -f "${VARIANT_SCORER:-}/src/variant_scoring.py" ]; then
    sed -n '2,14s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
source "$here/environment.sh"
binary=$(the_binary)
python=$(environment variant-scorer)
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=

work=${WORK:-$(mktemp -d)}
[ -n "${WORK:-}" ] || trap 'rm -rf "$work"' EXIT
mkdir -p "$work/theirs" "$work/ours"
genome=$work/genome.fa
case $1 in *.gz) gzip -dc "$1" > "$genome" ;; *) cp "$1" "$genome" ;; esac
peaks=$2
shift 2

"$python" "$here/variant_list.py" "$genome" "${VARIANTS:-64}" "$work/list"
cut -f 1,2 "$genome.fai" > "$work/chrom.sizes"

# Every schema, so that each is read as variant-scorer reads it; chrombpnet with everything on.
ours() {
    "$binary" variants -g "$genome" -s "$work/chrom.sizes" --cache-dir "$work/cache" -q --device cpu "$@"
}
theirs() {
    (cd "$VARIANT_SCORER/src" && "$python" variant_scoring.py -g "$genome" -s "$work/chrom.sizes" "$@") \
        > "$work/theirs.log" 2>&1 || { tail -20 "$work/theirs.log" >&2; exit 1; }
}
models=()
shuffled=()
count=0
for model in "$@"; do
    model=$(realpath "$model")
    models+=("$model")
    theirs -m "$model" -l "$work/list.chrombpnet.tsv" -p "$(realpath "$peaks")" -mp 200 -n 3 \
        -o "$work/theirs/x.fold_$count"
    shuffled+=("$work/theirs/x.fold_$count.variant_scores.shuffled.tsv")
    count=$((count + 1))
done
prefix=x
if [ $count -eq 1 ]; then prefix=x.fold_0; fi
ours -m "${models[@]}" -l "$work/list.chrombpnet.tsv" -p "$peaks" -mp 200 -sh "${shuffled[@]}" --h5 \
    -o "$work/ours/$prefix"
ours -m "${models[@]}" -l "$work/list.chrombpnet.tsv" -p "$peaks" -mp 200 -n 3 \
    -o "$work/ours/own.${prefix}"
if [ $count -gt 1 ]; then
    (cd "$VARIANT_SCORER/src" && "$python" variant_summary_across_folds.py -sd "$work/theirs" \
        -sl $(for k in $(seq 0 $((count - 1))); do echo "x.fold_$k.variant_scores.tsv"; done) \
        -o "$work/theirs/x" -sc chrombpnet) > "$work/theirs.log" 2>&1
fi
for schema in bed plink original; do
    theirs -m "${models[0]}" -l "$work/list.$schema.tsv" -sc "$schema" -n 0 --forward_only \
        --no_hdf5 -o "$work/theirs/$schema"
    ours -m "${models[0]}" -l "$work/list.$schema.tsv" -sc "$schema" -n 0 -fo -o "$work/ours/$schema"
done
"$python" "$here/variant_scorer_agrees.py" "$work/theirs" "$work/ours" "$count"
