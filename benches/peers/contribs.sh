#!/usr/bin/env bash
# Contribution scores (both heads, 20 references) and predictions of a 512 x 8 model on the CPU:
# cbp-fast and tangermeme's deep_lift_shap on bpnet-lite (PyTorch), same model, sequences and
# references, one after another on the same machine, results compared.
#
#   benches/peers/contribs.sh [REGIONS]        default: 2
#
# JSON goes to benches/runs/<date>-<machine>/contribs.jsonl (MACHINE names it), with a table of ratios.
# CBP_FAST names the binary (default: target/release); THREADS (default: all cores) is for both. On a
# busy machine compare the CPU times of one thread: PyTorch's threads wait for each other in a loop.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
source "$root/tests/interop/environment.sh"

binary=$(the_binary)
regions=${1:-2}
cores=$(nproc)
threads=${THREADS:-$cores}
out="$root/benches/runs/$(date +%F)-${MACHINE:-${cores}-core}"
mkdir -p "$out"
torch=$(environment torch)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$binary" bench contribs --device cpu --threads "$threads" --regions "$regions" --write "$work" --json | tail -n 1 > "$out/contribs.jsonl"
"$torch" "$here/pytorch_contribs.py" "$work" --regions "$regions" --threads "$threads" >> "$out/contribs.jsonl"
"$torch" - "$out/contribs.jsonl" <<'PYTHON' | tee "$out/contribs.txt"
import json
import sys

ours, peer = (json.loads(line) for line in open(sys.argv[1]))
print(f"{ours['filters']} x {ours['n_dilation_layers']}, {ours['references']} references, both heads, {ours['threads']} threads")
for what, one in (("contributions", "region"), ("predictions", "prediction")):
    for clock in ("", "cpu_"):
        key = f"{clock}seconds_per_{one}"
        by = "CPU time" if clock else "wall"
        print(
            f"  {what:<13} {by:<8}  cbp-fast {ours[key]:7.3f} s   {peer['peer'] if one == 'region' else 'PyTorch'} "
            f"{peer[key]:7.3f} s   cbp-fast is {peer[key] / ours[key]:.2f} x"
        )
    share = ours[f"{what}_percent_of_ceiling_by_cpu_time"]
    floor = ours[f"gflop_per_{one}"] / ours["ceiling_gflop_per_cpu_second"]
    print(f"  {what:<13} floor     {ours[f'gflop_per_{one}']:.1f} GFLOP, {floor:.3f} CPU s at the gemm ceiling: {share:.0f} % reached")
print(f"  counts scores differ by {peer['counts_off_of_largest']:.1e} of the largest, logits by {peer['logits_off']:.1e}")
PYTHON
