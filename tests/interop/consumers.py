"""The checks of consumers.sh, one subcommand a tool: a line of the table each, exit code 1 on disagreement."""

import csv
import glob
import json
import os
import sys

import h5py
import numpy as np
import pyBigWig

FAILED = False


def row(consumer, what, good, detail=""):
    global FAILED
    FAILED |= not good
    print(f"{consumer:<12} {what:<46} {'ok' if good else 'NO'}  {detail}".rstrip())


def regions(demo, out):
    """The peaks of the test chromosomes, shuffled, with duplicates."""
    with open(f"{demo}/folds.json") as file:
        test = json.load(file)["test"]
    with open(f"{demo}/peaks.narrowPeak") as file:
        rows = [line for line in file if line.split("\t")[0] in test]
    np.random.default_rng(1).shuffle(rows)
    with open(out, "w") as file:
        file.writelines(rows + rows[:3] + rows[:3])


def strongest(demo, number, out):
    """The peaks with the highest signal (column 7), in the order of the file."""
    with open(f"{demo}/peaks.narrowPeak") as file:
        rows = file.readlines()
    best = sorted(range(len(rows)), key=lambda i: -float(rows[i].split("\t")[6]))[: int(number)]
    with open(out, "w") as file:
        file.writelines(rows[i] for i in sorted(best))


def bed(path):
    """[(chromosome, centre)]"""
    with open(path) as file:
        return [(r[0], int(r[1]) + int(r[9])) for r in csv.reader(file, delimiter="\t")]


def nearest(rows, values):
    """{chromosome: {base: value}}: the region with the nearest midpoint, of two the right one."""
    found = {}
    width = values.shape[1]
    for (chrom, centre), row in zip(rows, values):
        bases = found.setdefault(chrom, {})
        for base, value in zip(range(centre - width // 2, centre + width // 2), row):
            rank = (abs(2 * base + 1 - 2 * centre), -centre)
            if base not in bases or rank < bases[base][0]:
                bases[base] = (rank, value)
    return {c: {b: v for b, (_, v) in bases.items()} for c, bases in found.items()}


def bigwig_is(path, demo, rows, values, tolerance):
    with open(f"{demo}/chrom.sizes") as file:
        sizes = [(name, int(length)) for name, length in csv.reader(file, delimiter="\t")]
    with pyBigWig.open(path) as track:
        if list(track.chroms().items()) != sizes:
            return False, "other contigs than chrom.sizes"
        wanted = nearest(rows, values)
        worst = 0.0
        for chrom, length in sizes:
            found = track.values(chrom, 0, length, numpy=True)
            bases = np.flatnonzero(~np.isnan(found))
            expected = wanted.get(chrom, {})
            if list(bases) != sorted(expected):
                return False, f"{chrom}: other bases than the regions'"
            if len(bases):
                there = np.array([expected[b] for b in bases])
                worst = max(worst, np.abs(found[bases] - there).max() / np.abs(there).max())
                # The overviews: means that agree with the bases, as a browser shows them.
                first, last = int(bases[0]), int(bases[-1]) + 1
                near = track.stats(chrom, first, last, type="mean")[0]
                exact = track.stats(chrom, first, last, type="mean", exact=True)[0]
                if not np.isclose(near, exact, rtol=1e-2, atol=1e-2 * np.abs(there).mean()):
                    return False, f"{chrom}: overview {near}, bases {exact}"
    return worst <= tolerance, f"largest difference {worst:.1e} of the largest value"


def bigwigs(demo, folder):
    for path in sorted(glob.glob(f"{folder}/*_predictions.h5")):
        stem = path[: -len("_predictions.h5")]
        group = os.path.basename(stem).removesuffix("_mean").split("_fold_")[0]
        rows = bed(f"{folder}/{group}_preds.bed")
        with h5py.File(path) as file:
            profs = file["predictions/profs"][:]
            counts = np.exp(file["predictions/logcounts"][:])
        name = os.path.basename(stem) + ".bw"
        row("pyBigWig", name, *bigwig_is(stem + ".bw", demo, rows, profs * counts[:, None], 1e-6))
    rows = bed(f"{folder}/contribs.interpreted_regions.bed")
    for head in ["counts", "profile"]:
        with h5py.File(f"{folder}/contribs.{head}_scores.h5") as file:
            values = file["projected_shap/seq"][:].astype(np.float64).sum(axis=1)
        name = f"contribs.{head}_scores.bw"
        # The h5 holds 16-bit numbers.
        row("pyBigWig", name, *bigwig_is(f"{folder}/{name}", demo, rows, values, 2e-3))


def h5(folder):
    for path in sorted(glob.glob(f"{folder}/*_predictions.h5")):
        with h5py.File(path) as file:
            profs, logcounts = file["predictions/profs"], file["predictions/logcounts"]
            chrom, centre = file["coords/coords_chrom"], file["coords/coords_center"]
            n = len(logcounts)
            good = (
                profs.dtype == logcounts.dtype == np.float64
                and centre.dtype == np.int64
                and h5py.check_string_dtype(chrom.dtype) is not None
                and profs.shape[0] == len(chrom) == len(centre) == n
                and "coords_peak" not in file["coords"]
                and np.allclose(profs[:].sum(axis=1), 1)
            )
        row("h5py", os.path.basename(path), good, f"{n} regions")
    n_rows = len(bed(f"{folder}/contribs.interpreted_regions.bed"))
    for path in sorted(glob.glob(f"{folder}/*_scores.h5")):
        with h5py.File(path) as file:
            raw, shap = file["raw/seq"][:], file["shap/seq"][:]
            projected = file["projected_shap/seq"][:]
        good = (
            raw.dtype == np.int8
            and shap.dtype == projected.dtype == np.float16
            and raw.shape == shap.shape == projected.shape
            and raw.shape[0] == n_rows
            and raw.shape[1] == 4
            and np.array_equal(projected, raw * shap)
            and (raw.sum(axis=1) <= 1).all()
            and np.isfinite(shap).all()
            and np.abs(projected).sum() > 0
        )
        row("h5py", os.path.basename(path), good, f"{raw.shape}")


def tables(folder):
    import warnings

    import tables as pytables

    # Strings of any length, such as official coords_chrom, are beyond it in any file.
    warnings.simplefilter("ignore")
    for path in sorted(glob.glob(f"{folder}/*_predictions.h5") + glob.glob(f"{folder}/*_scores.h5")):
        good, arrays = True, 0
        with pytables.open_file(path) as theirs, h5py.File(path) as file:
            for node in theirs.walk_nodes("/", "Array"):
                arrays += 1
                good &= np.array_equal(node.read(), file[node._v_pathname][:])
        row("PyTables", os.path.basename(path), good and arrays >= 3, f"{arrays} arrays")


IUPAC = {"A": "A", "C": "C", "G": "G", "T": "T", "R": "AG", "Y": "CT"}
COMPLEMENT = str.maketrans("ACGTRY", "TGCAYR")


def truth(demo):
    with open(f"{demo}/truth/motifs.tsv") as file:
        return {r["motif"]: r["pattern"] for r in csv.DictReader(file, delimiter="\t")}


def motifs(demo, path, report):
    """Best match of any pattern's consensus with each motif that opens chromatin: all but two bases."""
    consensus = []
    with h5py.File(path) as file:
        for pattern in file["pos_patterns"].values():
            consensus.append("".join("ACGT"[i] for i in pattern["contrib_scores"][:].argmax(axis=1)))
    for name, motif in truth(demo).items():
        if not name.startswith("open"):
            continue
        best = 0
        for wanted in [motif, motif.translate(COMPLEMENT)[::-1]]:
            for text in consensus:
                for at in range(len(text) - len(wanted) + 1):
                    best = max(best, sum(b in IUPAC[w] for b, w in zip(text[at:], wanted)))
        # A weak motif may stay unseen in few seqlets; the strong one never.
        good = best >= len(motif) - 2 or name != "open-strong"
        row("modisco", f"motif {name}", good, f"{best} of {len(motif)} bases, {len(consensus)} patterns")
    # motifs.html until modisco-lite 2, report.html since 3.
    pages = glob.glob(f"{report}/*.html")
    row("modisco", "report", bool(pages), " ".join(pages))


def hits(demo, path, report):
    """Share of hits that touch a site of the truth, against what chance gives."""
    with open(f"{demo}/truth/sites.bed") as file:
        sites = [line.split("\t") for line in file if not line.startswith("#")]
    covered = {}
    for site in sites:
        covered.setdefault(site[0], set()).update(range(int(site[1]), int(site[2])))
    with open(path) as file:
        found = list(csv.DictReader(file, delimiter="\t"))
    on_site = sum(
        any(base in covered.get(hit["chr"], ()) for base in range(int(hit["start"]), int(hit["end"])))
        for hit in found
    )
    share = on_site / max(1, len(found))
    row("finemo", "hits on the sites of the truth", len(found) > 50 and share > 0.5,
        f"{on_site} of {len(found)} hits")
    pages = glob.glob(f"{report}/**/*.html", recursive=True)
    row("finemo", "report", bool(pages), report)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
    sys.exit(1 if FAILED else 0)
