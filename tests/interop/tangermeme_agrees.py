"""tangermeme's `deep_lift_shap` on bpnet-lite's counts head against a `*.counts_scores.h5` of ours.

    shuffle SCORES.h5 REFERENCES.safetensors     references for the sequences of SCORES
    compare MODEL.h5 SCORES.h5 REFERENCES.safetensors
"""

import json
import struct
import sys
import warnings
from importlib.metadata import version

import h5py
import numpy as np
import torch
from bpnetlite import BPNet
from bpnetlite.bpnet import CountWrapper
from tangermeme.deep_lift_shap import deep_lift_shap
from tangermeme.ersatz import dinucleotide_shuffle

N_REFERENCES = 20
# Scores are stored as 16-bit floats, rounded by up to 2^-11 of each; the rest is of the largest.
ROUNDING, TOLERANCE = 2.0**-11, 1e-5


def sequences(path):
    """[n, 4, length], one-hot"""
    with h5py.File(path, "r") as file:
        return file["raw/seq"][:].astype(np.float64)


def shuffle(scores, to):
    x = torch.from_numpy(sequences(scores).astype(np.float32))
    references = dinucleotide_shuffle(x, n=N_REFERENCES, random_state=1).numpy()
    codes = np.ascontiguousarray(references.argmax(axis=2).astype(np.uint8))
    entry = {"dtype": "U8", "shape": list(codes.shape), "data_offsets": [0, codes.nbytes]}
    header = json.dumps({"references": entry}).encode()
    with open(to, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + codes.tobytes())


def one_hot(path):
    """[n, references, 4, length]"""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        codes = np.frombuffer(file.read(), np.uint8).reshape(header["references"]["shape"])
    return np.moveaxis(np.eye(4)[codes], -1, -2)


def compare(model, scores, references):
    with h5py.File(scores, "r") as file:
        ours = file["shap/seq"][:].astype(np.float64)
    x, r = sequences(scores), one_hot(references)
    wrapper = CountWrapper(BPNet.from_chrombpnet(model).eval().double())
    with warnings.catch_warnings():
        # The count head has no rule of its own there; it is linear.
        warnings.simplefilter("ignore")
        theirs = deep_lift_shap(
            wrapper, torch.from_numpy(x), references=torch.from_numpy(r), hypothetical=True, batch_size=4, device="cpu"
        ).numpy()
    print(f"tangermeme {version('tangermeme')}, bpnet-lite {version('bpnet-lite')}, PyTorch {torch.__version__}")
    print(f"{'region':<8} {'largest score':>13} {'largest difference':>19} {'beyond 16-bit rounding, of the largest':>40}")
    failed = False
    for i, (a, b) in enumerate(zip(ours, theirs)):
        largest, off = np.abs(b).max(), np.abs(a - b)
        beyond = (off - ROUNDING * np.abs(b)).max() / largest
        failed |= not beyond <= TOLERANCE
        print(f"{i:<8} {largest:13.3e} {off.max():19.3e} {max(beyond, 0):40.1e}")
    print("disagrees" if failed else "agrees")
    return failed


command, *paths = sys.argv[1:]
sys.exit({"shuffle": shuffle, "compare": compare}[command](*paths) or 0)
