"""Prints what check.sh left in a folder as one table: ceilings, selftest, kernels, training steps."""

import csv
import glob
import json
import os
import sys

folder = sys.argv[1]


def last_json(name):
    """The last line of a file that is JSON; None when the run failed."""
    try:
        with open(os.path.join(folder, name)) as lines:
            return json.loads([line for line in lines if line.startswith("{")][-1])
    except (OSError, IndexError, ValueError):
        return None


def ratio(value, of):
    return f"{100 * value / of:5.1f} %" if value and of else "      -"


try:
    with open(os.path.join(folder, "machine.csv")) as table:
        for row in csv.DictReader(table, skipinitialspace=True):
            print(", ".join(f"{key} {value}" for key, value in row.items()))
except OSError:
    print("machine: unknown")

ceilings = last_json("torch-ceilings.json") or {}
if "copy_tb_per_s" in ceilings:
    print(f"\nceilings (PyTorch {ceilings['version']}): copy {ceilings['copy_tb_per_s']:.2f} TB/s, matrix products "
          + ", ".join(f"{p} {ceilings[f'matmul_{p}_tflops']:.0f}" for p in ["fp16", "bf16", "tf32"]) + " TFLOP/s")



def show(what, pattern):
    """Small texts as they are, under the names of their files where there are several."""
    print(f"\n{what}")
    paths = sorted(glob.glob(os.path.join(folder, pattern)))
    for path in paths:
        with open(path) as lines:
            text = "  ".join(lines).rstrip() or "failed, see the .log beside it"
        if len(paths) > 1:
            print(f"  {os.path.basename(path)}:")
        print("  " + text)
    if not paths:
        print("  did not run")


show("selftest", "selftest*.txt")
show("demo", "demo.txt")
show("two trainings", "same-*.txt")

precisions = ["fp16", "bf16", "tf32", "f32"]
# The portable core on a GPU that has another for 16 bits; the bias model's outputs computed in each step.
for form in ["fp16-bias-step", "fp16-portable"]:
    if os.path.exists(os.path.join(folder, f"kernels-{form}.json")):
        precisions.insert(1, form)
for precision in precisions:
    result = last_json(f"kernels-{precision}.json")
    if not result:
        print(f"\nkernels, {precision}: did not run")
        continue
    print(f"\nkernels, {precision}: ceilings of this binary: copy {result['copy_tb_per_s']:.2f} TB/s, "
          f"tensor cores {result['matrix_tflops']:.0f} TFLOP/s")
    print(f"  {'launch':<34} {'us':>9} {'TFLOP/s':>8} {'of ceiling':>10} {'of cuBLAS':>9} {'GB/s':>7} {'of copy':>7}")
    operands = "bf16" if precision == "f32" else precision.split("-")[0]
    blas = ceilings.get(f"matmul_{operands}_tflops")
    for kernel in result["kernels"]:
        print(f"  {kernel['label']:<34} {kernel['us']:9.1f} {kernel['tflops']:8.1f} "
              f"{ratio(kernel['tflops'], result['matrix_tflops']):>10} {ratio(kernel['tflops'], blas):>9} "
              f"{kernel['gb_per_s']:7.0f} {ratio(kernel['gb_per_s'], 1e3 * result['copy_tb_per_s']):>7}")
    # What runs side by side, and what operands are still in the L2 cache, make the step shorter than the sum.
    print(f"  {'sum':<34} {sum(k['us'] for k in result['kernels']):9.1f}")
    print(f"  {'step, as one graph':<34} {1e3 * result['ms_per_step']:9.1f}")

print("\ninference")
for path in sorted(glob.glob(os.path.join(folder, "contribs-*.json"))):
    if result := last_json(os.path.basename(path)):
        name = os.path.basename(path).removeprefix("contribs-").removesuffix(".json")
        print(f"  cbp-fast {name:<35} {1 / result['seconds_per_prediction']:9.0f} predictions/s "
              f"({result['predictions_percent_of_ceiling']:5.1f} % of ceiling)", end="")
        if result["seconds_per_region"]:
            print(f", {1 / result['seconds_per_region']:7.1f} regions/s explained on {result['references']} references "
                  f"({result['contributions_percent_of_ceiling']:5.1f} %)", end="")
        print()

print("\ntraining steps")
ours = []
for precision in precisions:
    for kind in ["train", "train-bias"]:
        result = last_json(f"{kind}-{precision}.json")
        if result:
            ours.append((f"cbp-fast {precision}" + (", bias model alone" if kind == "train-bias" else ""), kind, result))
for name in ["train-fp16-full", "train-bias-fp16-full"]:
    if result := last_json(f"{name}.json"):
        ours.append((name.removesuffix("-full") + ", edges full", "variant", result))
for path in sorted(glob.glob(os.path.join(folder, "together-*.json"))):
    if result := last_json(os.path.basename(path)):
        label = f"cbp-fast {result['precision']}, {result['models']} models of {result['filters']} filters at once"
        ours.append((label, "variant", result))
peers = []
for path in sorted(glob.glob(os.path.join(folder, "torch-*.json")) + glob.glob(os.path.join(folder, "jax-*.json"))):
    result = last_json(os.path.basename(path))
    if not result or result["form"] == "ceilings":
        continue
    label = f"{result['peer']} {result['version']} {result['form']}"
    if "error" in result:
        print(f"  {label:<44} failed: {result['error']}")
    else:
        peers.append((label, "train", result))
best = max((r["examples_per_s"] for _, kind, r in ours if kind == "train"), default=None)
print(f"  {'':<44} {'ms/step':>9} {'ex/s':>9} {'memory GB':>9}  our best is")
for label, kind, result in ours + peers:
    rate = result["examples_per_s"]
    factor = f"{best / rate:9.2f} x" if best and kind == "train" else ""
    memory = result.get("memory_bytes") or result.get("gpu_memory_bytes")
    memory = f"{memory / 1e9:9.2f}" if memory else "        -"
    print(f"  {label:<44} {result['ms_per_step']:9.2f} {rate:9.0f} {memory}  {factor}")
