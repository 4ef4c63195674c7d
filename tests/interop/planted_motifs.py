"""Contributions with two planted motifs (official HDF5 layout), and a motif database with both and a decoy.

    planted_motifs.py SCORES.h5 DB.meme
"""

import sys

import h5py
import numpy as np

BASES = "ACGT"
MOTIFS = {"planted_1": "TGACTCATC", "planted_2": "GCCACCTGGTGGC"}
REGIONS, LENGTH = 600, 1114


def revcomp(text):
    return text[::-1].translate(str.maketrans(BASES, BASES[::-1]))


def main(scores, database):
    random = np.random.default_rng(1)
    onehot = np.eye(4, dtype=np.int8)[random.integers(0, 4, (REGIONS, LENGTH))]
    hypothetical = random.normal(0, 0.002, (REGIONS, LENGTH, 4))
    for region in range(REGIONS):
        for _ in range(2):
            motif = list(MOTIFS.values())[random.integers(2)]
            motif = revcomp(motif) if random.random() < 0.5 else motif
            start = LENGTH // 2 - 200 + random.integers(0, 390)
            for at, base in enumerate(motif, start):
                code = BASES.index(base)
                onehot[region, at] = 0
                onehot[region, at, code] = 1
                hypothetical[region, at] = -0.03
                hypothetical[region, at, code] = 0.1 + random.normal(0, 0.01)
    with h5py.File(scores, "w") as file:
        for name, array, kind in [
            ("raw/seq", onehot, "i1"),
            ("shap/seq", hypothetical, "f2"),
            ("projected_shap/seq", hypothetical * onehot, "f2"),
        ]:
            file.create_dataset(name, data=array.transpose(0, 2, 1).astype(kind), compression="gzip")
    with open(database, "w") as out:
        out.write("MEME version 4\n\nALPHABET= ACGT\n\nstrands: + -\n\n")
        out.write("Background letter frequencies\nA 0.25 C 0.25 G 0.25 T 0.25\n\n")
        for name, motif in {**MOTIFS, "decoy": "AAAAATTTTT"}.items():
            out.write(f"MOTIF {name}\nletter-probability matrix: alength= 4 w= {len(motif)} nsites= 20 E= 0\n")
            for base in motif:
                out.write(" ".join("0.97" if base == b else "0.01" for b in BASES) + "\n")
            out.write("\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
