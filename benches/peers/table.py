"""Prints examples per second and ratios from the peers-*.jsonl files of a run's folder."""

import glob
import json
import sys

with open(f"{sys.argv[1]}/peers-machine.txt") as machine:
    print(machine.read())
for path in sorted(glob.glob(f"{sys.argv[1]}/peers-*.jsonl")):
    with open(path) as lines:
        ours, *peers = [json.loads(line) for line in lines if line.strip()]
    best = {}
    for run in peers:
        if "error" in run:
            print(f"{run['peer']} ({run['form']}) failed: {run['error']}")
        elif run["examples_per_s"] > best.get(run["peer"], run)["examples_per_s"] or run["peer"] not in best:
            best[run["peer"]] = run
    shape = next(iter(best.values()))
    speed = ours["examples_per_s"]
    print(f"{shape['filters']} filters x {shape['layers']} layers, batch {shape['batch_size']}")
    share = ""
    if ours.get("ceiling_gflops"):
        share = f", {100 * ours['gflops'] / ours['ceiling_gflops']:.0f} % of the GEMM ceiling"
    print(f"  cbp-fast                    {speed:8.2f} ex/s{share}")
    for name, run in best.items():
        label = f"{name} {run['version']} ({run['form']})"
        print(f"  {label:<27} {run['examples_per_s']:8.2f} ex/s   cbp-fast is {speed / run['examples_per_s']:.2f} x")
