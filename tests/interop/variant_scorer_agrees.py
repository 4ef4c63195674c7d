"""Compares the tables of variant-scorer with ours: variant_scorer_agrees.py THEIRS OURS MODELS

Largest differences pass up to 2e-5 (counts: as ratios), which is what f32 sums of another order come
to; quantiles up to one peak; p-values up to a few shuffled scores that lie within rounding of a
score. variant-scorer computes distances in f32: they are also computed again in f64 from the
profiles in its h5. Its quantile_change has f64 noise that splits ties, so that its p-values are
compared after its scores were rounded.
"""

import os
import sys

import h5py
import numpy as np
import pandas as pd
from scipy.spatial.distance import jensenshannon

theirs_dir, ours_dir, models = sys.argv[1], sys.argv[2], int(sys.argv[3])
good = True


def tolerance(column):
    if column.endswith(".pval"):
        return 0.03
    return 0.006 if "quantile" in column else 2e-5


def with_ties(theirs, name, column):
    """p-values of a column of theirs, its scores rounded."""
    background = pd.read_table(os.path.join(theirs_dir, name.replace("scores.tsv", "scores.shuffled.tsv")))
    background = np.sort(np.round(background[column], 6))
    scores = np.round(theirs[column], 6)
    n = len(background)
    right = (n - np.searchsorted(background, scores, side="left") + 1) / (n + 1)
    left = (np.searchsorted(background, scores, side="right") + 1) / (n + 1)
    return right if column.startswith("abs") else 2 * np.minimum(left, right)


def compare(name):
    global good
    theirs = pd.read_table(os.path.join(theirs_dir, name))
    ours = pd.read_table(os.path.join(ours_dir, name))
    same = list(theirs.columns) == list(ours.columns)
    print(f"\n{name}: {len(theirs)} rows, columns {'identical' if same else 'DIFFER'}")
    if not same or len(theirs) != len(ours):
        print(list(theirs.columns), list(ours.columns), sep="\n")
        good = False
        return theirs, ours
    for column in theirs:
        a, b = theirs[column], ours[column]
        numeric = all(pd.api.types.is_numeric_dtype(x) for x in (a, b))
        if column in ("pos", "end", "start", "summit") or not numeric:
            differing = int((a.astype(str) != b.astype(str)).sum())
            if differing and not (numeric and np.array_equal(a, b)):
                good = False
                print(f"  {column:<50} {differing} rows differ")
            continue
        a, b = a.to_numpy(float), b.to_numpy(float)
        note = ""
        if column.endswith("quantile_change.pval"):
            note = f"  (ties split there: {np.abs(a - b).max():.2e})"
            a = with_ties(theirs, name, column.removesuffix(".pval"))
        nan = int(np.isnan(a).sum())
        difference = np.abs(a - b)
        if column.endswith("counts") or column == "peak_score":
            difference /= np.abs(a)
        worst = np.nanmax(difference)
        split = column.endswith("quantile_change.mean.pval")
        verdict = "" if worst <= (0.1 if split else tolerance(column)) else "  TOO FAR"
        good &= not verdict
        note += f"  ({nan} NaN there)" if nan else ""
        print(f"  {column:<50} {worst:9.2e}{verdict}{note}")
    return theirs, ours


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def distances_again(name, ours):
    """original_jsd from the profiles that variant-scorer stored, in f64."""
    global good
    with h5py.File(os.path.join(theirs_dir, name), "r") as a:
        with h5py.File(os.path.join(ours_dir, name), "r") as b:
            for key in a["observed"]:
                x, y = a["observed"][key], b["observed"][key]
                same = x.shape == y.shape and x.dtype == y.dtype
                worst = np.abs(x[:] - y[:]).max()
                good &= same and worst < 1e-2
                print(f"  h5 {key:<47} {worst:9.2e}  {x.shape} {x.dtype} {'same' if same else 'DIFFERS'}")
        p, q = (a_key.astype(np.float64) for a_key in profiles(name))
    again = [jensenshannon(x, y, base=2) for x, y in zip(softmax(q), softmax(p))]
    worst = np.abs(np.array(again) - ours["original_jsd"].to_numpy()).max()
    good &= worst < 2e-5
    print(f"  original_jsd, theirs in f64                       {worst:9.2e}")


def profiles(name):
    with h5py.File(os.path.join(theirs_dir, name), "r") as f:
        return [f[f"observed/allele{i}_pred_profiles"][:] for i in (1, 2)]


for model in range(models):
    _, ours = compare(f"x.fold_{model}.variant_scores.tsv")
    distances_again(f"x.fold_{model}.variant_predictions.h5", ours)
    compare(f"x.fold_{model}.peak_scores.tsv")
    # Their shuffles and ours are different draws: columns alone, and where the scores lie.
    theirs = pd.read_table(os.path.join(theirs_dir, f"x.fold_{model}.variant_scores.shuffled.tsv"))
    own = f"own.x.fold_{model}.variant_scores"
    ours = pd.read_table(os.path.join(ours_dir, f"{own}.shuffled.tsv"))
    same = list(theirs.columns) == list(ours.columns)
    good &= same and len(theirs) == len(ours)
    print(f"\nshuffled, fold {model}: {len(theirs)} and {len(ours)} rows, columns {'identical' if same else 'DIFFER'}")
    for column in ("abs_logfc", "jsd", "active_allele_quantile"):
        quartiles = [" ".join(f"{q:.4f}" for q in t[column].quantile([0.25, 0.5, 0.75])) for t in (theirs, ours)]
        print(f"  quartiles of {column:<25} theirs {quartiles[0]}  ours {quartiles[1]}")
    p = pd.read_table(os.path.join(theirs_dir, f"x.fold_{model}.variant_scores.tsv"))
    q = pd.read_table(os.path.join(ours_dir, f"{own}.tsv"))
    worst = np.abs(p["abs_logfc.pval"] - q["abs_logfc.pval"]).max()
    print(f"  abs_logfc.pval with our own shuffles, largest difference {worst:.3f}")
if models > 1:
    compare("x.mean.variant_scores.tsv")
for schema in ("bed", "plink", "original"):
    compare(f"{schema}.variant_scores.tsv")
print("\nagrees" if good else "\nDIFFERS")
sys.exit(0 if good else 1)
