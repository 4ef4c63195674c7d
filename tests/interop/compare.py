"""Shared by the interop checks: sequences in, our predictions in, a table and an exit code out."""

import csv
import os

import h5py
import numpy as np

TOLERANCE = 1e-4


def one_hot(path):
    """f32 [n, length, 4], columns A C G T; anything else is a row of zeros."""
    sequences = []
    with open(path) as lines:
        for line in lines:
            if line.startswith(">"):
                sequences.append("")
            else:
                sequences[-1] += line.strip().upper()
    codes = np.frombuffer("".join(sequences).encode(), dtype=np.uint8)
    codes = codes.reshape(len(sequences), -1)
    return np.stack([codes == ord(base) for base in "ACGT"], axis=-1).astype(np.float32)


def manifest(path):
    """(model, our logits [n, outputlen], our logcounts [n], one-hot) of each line."""
    with open(path) as lines:
        for model, predictions, sequences in csv.reader(lines, delimiter="\t"):
            with h5py.File(predictions, "r") as ours:
                logits = ours["predictions/logits"][:]
                logcounts = ours["predictions/logcounts"][:]
            yield model, logits, logcounts, one_hot(sequences)


class Table:
    def __init__(self, title):
        print(f"\n{title}")
        print(f"{'model':<50} {'logits':>9} {'logcounts':>9}  within {TOLERANCE:g}")
        self.good = True
        self.rows = 0

    def row(self, name, ours, theirs):
        """ours, theirs: (logits [n, outputlen], logcounts [n]). Largest absolute differences."""
        differences = []
        for a, b in zip(ours, theirs):
            a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
            if a.shape != b.shape:
                print(f"{name:<50} shapes differ: ours {a.shape}, theirs {b.shape}")
                self.good = False
                return
            differences.append(np.abs(a - b).max())
        good = all(d <= TOLERANCE for d in differences)
        self.good &= good
        self.rows += 1
        values = " ".join(f"{d:9.2e}" for d in differences)
        print(f"{name:<50} {values}  {'yes' if good else 'NO'}")

    def fail(self, name, error):
        print(f"{name:<50} {error}")
        self.good = False

    def exit_code(self):
        return 0 if self.good and self.rows > 0 else 1


def short(path):
    """The last folder and the file."""
    return os.path.join(os.path.basename(os.path.dirname(path)), os.path.basename(path))
