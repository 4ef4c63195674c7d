"""bpnet-lite loads bias and nobias models, also as one ChromBPNet, and agrees.

bpnet-lite takes no full model file; it adds a bias and a nobias file itself, which must give what
our full model of the same folder gives. It finds layers by official names and knows one geometry,
the official kernel widths, with the profile as long as the convolutions leave it.
"""

import os
import sys
from importlib.metadata import version

import h5py
import numpy as np
import torch
from bpnetlite import BPNet
from bpnetlite.chrombpnet import ChromBPNet

from compare import Table, manifest, short


def predict(model, x, outputlen):
    """(logits [n, outputlen], logcounts [n]), the profile cropped around its centre.

    In double precision: what is asked is whether the weights are read right, and PyTorch's float32
    convolutions on a CPU are 1.5e-4 off their own double result on a trained 64 x 8 model.
    """
    with torch.no_grad():
        sequences = torch.from_numpy(x.transpose(0, 2, 1).astype(np.float64))
        profile, counts = model.eval().double()(sequences)
    profile = profile[:, 0].numpy()
    crop = (profile.shape[1] - outputlen) // 2
    return profile[:, crop : crop + outputlen], counts[:, 0].numpy()


def kind(path):
    with h5py.File(path, "r") as file:
        layers = file["model_weights"].keys()
        if "bpnet_1st_conv" in layers:
            return "bias"
        return "nobias" if "wo_bias_bpnet_1st_conv" in layers else "full"


table = Table(f"bpnet-lite {version('bpnet-lite')}, PyTorch {torch.__version__}")
folders = {}
for path, logits, logcounts, x in manifest(sys.argv[1]):
    of_kind = folders.setdefault(os.path.dirname(path), {})
    of_kind.setdefault(kind(path), []).append(path)
    if kind(path) == "full":
        of_kind["ours"] = ((logits, logcounts), x)
        continue
    try:
        model = BPNet.from_chrombpnet(path)
    except Exception as error:
        table.fail(short(path), f"does not load: {error!r}")
        continue
    table.row(short(path), (logits, logcounts), predict(model, x, logits.shape[1]))

for folder, of_kind in folders.items():
    scaled = [p for p in of_kind.get("bias", []) if "scaled" in os.path.basename(p)]
    biases = scaled or of_kind.get("bias", [])
    if len(of_kind.get("full", [])) == len(of_kind.get("nobias", [])) == len(biases) == 1:
        ours, x = of_kind["ours"]
        model = ChromBPNet.from_chrombpnet(biases[0], of_kind["nobias"][0])
        name = f"{short(of_kind['full'][0])} = bias + nobias"
        table.row(name, ours, predict(model, x, np.shape(ours[0])[1]))
sys.exit(table.exit_code())
