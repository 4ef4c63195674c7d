#!/usr/bin/env bash
# Do the tools that come after us read what we write, and do they see in it what we put there?
#
#   tests/interop/consumers.sh DEMO [PEAKS]
#
# DEMO is a folder that `cbp-fast demo` made: a simulated genome with known motifs, and models trained
# on it. Runs `pred_bw` on the test peaks (three models, two folds) and `contribs_bw` on the PEAKS
# strongest peaks (default 400), then
#
#   pyBigWig     every bigWig: the contigs of chrom.sizes, and values that are those of the h5
#   h5py         every h5: names, shapes, types; contributions project and sum as they should
#   PyTables     the same arrays as h5py
#   modisco      `modisco motifs` (at most 2,000 seqlets) and `modisco report` on the counts
#                contributions; a pattern must be a motif of DEMO/truth
#   finemo       its extraction (400 bp, as modisco's window), hit calling and report on the same file;
#                hits must lie on the sites of DEMO/truth
#
# Prints a table; exit 1 when anything disagrees. Needs Python 3.11 (PYTHON names another) and a package
# index for the first run; keeps its virtual environment in .venv-interop-consumers (6 GB: finemo
# needs torch). CBP_FAST names the binary (default: target/release). KEEP=folder keeps the outputs.
# About half an hour on two busy cores, most of it contributions and finemo.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

if [ $# -lt 1 ] || [ ! -f "$1/truth/motifs.tsv" ]; then
    sed -n '2,22s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
demo=$(cd "$1" && pwd)
peaks=${2:-400}
source "$here/environment.sh"
binary=$(the_binary)
python=$(environment consumers)
tools=$(dirname "$python")

if [ -n "${KEEP:-}" ]; then
    mkdir -p "$KEEP"
    work=$(cd "$KEEP" && pwd)
else
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
fi
cd "$work"
bias=$demo/chrombpnet/models/bias_model_scaled.h5
full=$demo/chrombpnet/models/chrombpnet.h5
nobias=$demo/chrombpnet/models/chrombpnet_nobias.h5
inputs=(-g "$demo/genome.fa" -c "$demo/chrom.sizes")
"$python" "$here/consumers.py" regions "$demo" regions.bed
"$python" "$here/consumers.py" strongest "$demo" "$peaks" strongest.bed

echo "predicting and explaining" >&2
"$binary" pred_bw -bm "$bias" -cm "$full" -cmb "$nobias" -r regions.bed "${inputs[@]}" -op pred \
    -bw "$demo/signal.bw" -os pred_stats.txt --quiet
# Two folds: the same architecture with other weights is a fold as well as any.
"$binary" pred_bw -bm "$bias" "$demo/bias/models/bias.h5" -r regions.bed "${inputs[@]}" -op folds \
    -bw "$demo/signal.bw" --quiet
"$binary" contribs_bw -m "$nobias" -r strongest.bed "${inputs[@]}" -op contribs --quiet

status=0
run() { "$@" > log.txt 2>&1 || { cat log.txt >&2; return 1; }; }
check() { "$python" "$here/consumers.py" "$@" || status=1; }

printf '%-12s %-46s %s\n' consumer what result
check bigwigs "$demo" .
check h5 .
check tables .

modisco() { "$tools/modisco" "$@"; }
finemo() { "$tools/finemo" "$@"; }
if run modisco motifs -i contribs.counts_scores.h5 -n 2000 -o modisco.h5 &&
    run modisco report -i modisco.h5 -o modisco_report; then
    check motifs "$demo" modisco.h5 modisco_report
else
    printf '%-12s %-46s %s\n' modisco "motifs, report" FAILED
    status=1
fi
if run finemo extract-regions-chrombpnet-h5 -c contribs.counts_scores.h5 \
    -p contribs.interpreted_regions.bed -w 400 -o regions.npz &&
    run finemo call-hits -r regions.npz -m modisco.h5 -b 100 -o hits &&
    run finemo report -r regions.npz -H hits/hits.tsv -m modisco.h5 -o finemo_report; then
    check hits "$demo" hits/hits.tsv finemo_report
else
    printf '%-12s %-46s %s\n' finemo "extraction, hits, report" FAILED
    status=1
fi
exit $status
