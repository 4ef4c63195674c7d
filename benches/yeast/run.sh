#!/usr/bin/env bash
# Full runs to early stopping on the real yeast data, three seeds, with the settings of the official
# baseline (official-baseline.md in the data folder): bias 32 x 4, main 64 x 8, at most 30 epochs.
# Usage: [CBP_FAST=BINARY] [EXTRA=FLAGS] benches/yeast/run.sh DATA_FOLDER OUT_FOLDER [SEED ...]
# EXTRA goes to every training and prediction: EXTRA="--device cuda --precision fp16"
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
data=$1 out=$2
shift 2
seeds=("${@:-1 2 3}")
[ ${#seeds[@]} -gt 1 ] || read -ra seeds <<<"${seeds[0]}"
bin=${CBP_FAST:-$here/../../target/release/cbp-fast}
read -ra extra <<<"${EXTRA:-}"
mkdir -p "$out"
inputs=(-g "$data/genome.fa.gz" -c "$data/chrom.sizes" --bigwig "$data/unstranded.bw" -d ATAC
        -p "$data/peaks.narrowPeak" -n "$data/nonpeaks.bed" -fl "$data/fold_0.json")
for seed in "${seeds[@]}"; do
  run=$out/seed$seed
  started=$SECONDS
  "$bin" bias train "${inputs[@]}" -o "$run/bias" -b 0.5 -fil 32 -dil 4 -e 30 -es 5 -s "$seed" ${extra[@]+"${extra[@]}"}
  bias_done=$SECONDS
  "$bin" train "${inputs[@]}" -o "$run/main" -b "$run/bias/models/bias.h5" -fil 64 -dil 8 -e 30 -es 5 -s "$seed" ${extra[@]+"${extra[@]}"}
  echo "{\"seed\": $seed, \"bias_s\": $((bias_done - started)), \"main_s\": $((SECONDS - bias_done))}" >"$run/seconds.json"
  score() { "$bin" predict -g "$data/genome.fa.gz" --bigwig "$data/unstranded.bw" -fl "$data/fold_0.json" -q "$@" ${extra[@]+"${extra[@]}"}; }
  score -m "$run/main/models/chrombpnet.h5" -p "$run/main/auxiliary/filtered.peaks.bed" \
        -n "$run/main/auxiliary/filtered.nonpeaks.bed" -o "$run/main/evaluation/chrombpnet"
  score -m "$run/bias/models/bias.h5" -n "$run/bias/auxiliary/filtered.bias_nonpeaks.bed" \
        -o "$run/bias/evaluation/bias"
done
python3 "$here/summarize.py" "$out" | tee "$out/summary.md"
