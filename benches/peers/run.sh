#!/usr/bin/env bash
# cbp-fast, TensorFlow and PyTorch train the same model on the same machine, one after another:
# main branch with 8 dilated layers, frozen 128 x 4 bias, all cores, random data.
#
#   benches/peers/run.sh [FILTERS:BATCH ...]        default: 512:64 128:64
#
# Raw JSON goes to benches/runs/<date>-<machine>/ (MACHINE names it), with a table of ratios.
# CBP_FAST names the binary (default: target/release); STEPS and WARMUP change the counts.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
source "$root/tests/interop/environment.sh"

binary=$(the_binary)
steps=${STEPS:-3}
warmup=${WARMUP:-1}
cores=$(nproc)
vectors=$(grep -qw avx512f /proc/cpuinfo && echo avx512 || { grep -qw avx2 /proc/cpuinfo && echo avx2 || echo plain; })
out="$root/benches/runs/$(date +%F)-${MACHINE:-${cores}-core-$vectors}"
mkdir -p "$out"
tensorflow=$(environment tensorflow)
torch=$(environment torch)

{
    echo "date: $(date +%F)"
    echo "commit: $(git -C "$root" rev-parse --short HEAD)$(git -C "$root" diff --quiet HEAD || echo ' (changed)')"
    echo "cpu: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $cores cores, $vectors"
    echo "steps: $steps timed after $warmup warm-up, median"
} > "$out/peers-machine.txt"

cases=("$@")
[ $# -gt 0 ] || cases=(512:64 128:64)
for case in "${cases[@]}"; do
    filters=${case%:*} batch=${case#*:}
    raw="$out/peers-$filters-filters-batch-$batch.jsonl"
    echo "== $filters filters x 8 layers, batch $batch" >&2
    "$binary" bench train --device cpu --filters "$filters" --batch-size "$batch" \
        --steps "$steps" --json | tail -n 1 > "$raw"
    for peer in "$tensorflow $here/tensorflow_train.py" "$torch $here/pytorch_train.py"; do
        # shellcheck disable=SC2086  # a python and its script
        $peer --filters "$filters" --batch-size "$batch" --steps "$steps" --warmup "$warmup" \
            --threads "$cores" >> "$raw"
    done
done
"$tensorflow" "$here/table.py" "$out" | tee "$out/peers.txt"
