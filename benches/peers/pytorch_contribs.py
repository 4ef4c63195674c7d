"""Contribution scores and predictions in PyTorch on a CPU: bpnet-lite's model under tangermeme's
`deep_lift_shap`, on the model, sequences and references that `cbp-fast bench contribs --write FOLDER`
left, both heads as the official tool explains them. Checks that the counts' scores and the predictions
are the same, then prints one JSON line.

The profile head goes through bpnet-lite's own `ProfileWrapper`: the same work, but (as the goldens
record) not the official weighting, so its scores are only compared by correlation."""

import argparse
import json
import os
import resource
import sys
import time
from importlib.metadata import version

import numpy as np
import torch
from bpnetlite import BPNet
from bpnetlite.bpnet import CountWrapper, ProfileWrapper
from tangermeme.deep_lift_shap import deep_lift_shap

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("folder")
parser.add_argument("--regions", type=int, default=1, help="of those in the folder, from the first")
parser.add_argument("--predictions", type=int, default=32)
parser.add_argument("--batch-sizes", type=int, nargs="+", default=[4, 8], help="pairs at once (0.6 GB each); the fastest counts")
parser.add_argument("--threads", type=int, default=os.cpu_count())
args = parser.parse_args()
torch.set_num_threads(args.threads)

model = BPNet.from_chrombpnet(f"{args.folder}/nobias.h5").eval().float()
inputlen = 2114


def read(name, dtype, *shape):
    return np.fromfile(f"{args.folder}/{name}", dtype=dtype).reshape(*shape)


def one_hot(codes):
    """[..., inputlen] codes to [..., 4, inputlen] f32."""
    return torch.from_numpy(np.moveaxis(np.eye(4, dtype=np.float32)[codes], -1, -2).copy())


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def timed(call):
    cpu, start = cpu_seconds(), time.perf_counter()
    result = call()
    return result, time.perf_counter() - start, cpu_seconds() - cpu


codes = read("codes.u8", np.uint8, -1, inputlen)
references = read("references.u8", np.uint8, len(codes), -1, inputlen)[: args.regions]
counts = read("counts.f32", np.float32, -1, inputlen, 4)[: args.regions]
profile = read("profile.f32", np.float32, -1, inputlen, 4)[: args.regions]
x, r = one_hot(codes[: args.regions]), one_hot(references)
wrappers = {"counts": CountWrapper(model), "profile": ProfileWrapper(model)}


def explain(x, r, batch_size):
    return {
        name: deep_lift_shap(
            wrapper, x, references=r, hypothetical=True, batch_size=batch_size, device="cpu", warning_threshold=1.0
        ).numpy()
        for name, wrapper in wrappers.items()
    }


explain(x[:1], r[:1, :1], 1)  # warm-up
best = None
for batch_size in args.batch_sizes:
    scores, seconds, cpu = timed(lambda: explain(x, r, batch_size))
    print(f"pairs at once {batch_size}: {seconds / args.regions:.2f} s a region", file=sys.stderr)
    if best is None or cpu < best[2]:
        best = (scores, seconds, cpu, batch_size)
scores, seconds, cpu, batch_size = best


def transposed(name):
    return np.moveaxis(scores[name], 1, 2)


off = np.abs(transposed("counts") - counts).max() / np.abs(counts).max()
correlation = np.corrcoef(transposed("profile").ravel(), profile.ravel())[0, 1]
assert off < 1e-3, f"counts scores differ by {off:.1e} of the largest: nothing was timed that is the same"

sequences = one_hot(read("sequences.u8", np.uint8, -1, inputlen)[: args.predictions])
n = len(sequences)
logits = torch.from_numpy(read("logits.f32", np.float32, -1, 1000)[:n])
predict_best = None
with torch.no_grad():
    model(sequences[:2])
    for size in (1, 2, 4, 16):
        if size > n:
            break
        outputs, wall, cpu_time = timed(lambda: torch.cat([model(part)[0][:, 0] for part in sequences.split(size)]))
        print(f"predictions in batches of {size}: {wall / n:.3f} s each", file=sys.stderr)
        if predict_best is None or cpu_time < predict_best[1]:
            predict_best = (wall, cpu_time, size)
off_logits = float((outputs - logits).abs().max())
assert off_logits < 1e-3, f"logits differ by {off_logits:.1e}"

print(
    json.dumps(
        {
            "peer": "tangermeme",
            "version": version("tangermeme"),
            "torch": torch.__version__,
            "bpnet_lite": version("bpnet-lite"),
            "threads": args.threads,
            "regions": args.regions,
            "references": r.shape[1],
            "pairs_at_once": batch_size,
            "seconds_per_region": seconds / args.regions,
            "cpu_seconds_per_region": cpu / args.regions,
            "counts_off_of_largest": float(off),
            "profile_correlation": float(correlation),
            "prediction_batch": predict_best[2],
            "seconds_per_prediction": predict_best[0] / n,
            "cpu_seconds_per_prediction": predict_best[1] / n,
            "logits_off": off_logits,
            "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
    )
)
