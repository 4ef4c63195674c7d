"""One table row per seed from the logs and metrics that benches/yeast/run.sh leaves."""
import csv
import json
import pathlib
import sys


def best(log):
    rows = list(csv.DictReader(open(log)))
    at = min(range(len(rows)), key=lambda i: float(rows[i]["val_loss"]))
    row = rows[at]
    return "%.2f (%.2f, %.3f) @%d/%d" % (
        float(row["val_loss"]), float(row["val_logits_profile_predictions_loss"]),
        float(row["val_logcount_predictions_loss"]), at + 1, len(rows))


print("| seed | bias val_loss (profile, count) @epoch/run | main val_loss (profile, count) @epoch/run"
      " | test peaks: pearson, spearman, mse, median JSD, norm JSD | main on test nonpeaks: pearson, JSD"
      " | bias on test nonpeaks: pearson, JSD | bias model in test peaks: pearson, JSD | seconds bias, main |")
print("|--|--|--|--|--|--|--|--|")
for run in sorted(pathlib.Path(sys.argv[1]).glob("seed*")):
    main = json.load(open(run / "main/evaluation/chrombpnet_metrics.json"))
    bias = json.load(open(run / "bias/evaluation/bias_metrics.json"))
    in_peaks = json.load(open(run / "main/evaluation/bias_metrics.json"))
    seconds = json.load(open(run / "seconds.json"))

    def pair(metrics, group):
        return "%.3f, %.4f" % (metrics["counts_metrics"][group]["pearsonr"],
                               metrics["profile_metrics"][group]["median_jsd"])

    c, p = main["counts_metrics"]["peaks"], main["profile_metrics"]["peaks"]
    print("| %s | %s | %s | %.3f, %.3f, %.3f, %.4f, %.4f | %s | %s | %s | %d, %d |" % (
        run.name[4:], best(run / "bias/logs/bias.log"), best(run / "main/logs/chrombpnet.log"),
        c["pearsonr"], c["spearmanr"], c["mse"], p["median_jsd"], p["median_norm_jsd"],
        pair(main, "nonpeaks"), pair(bias, "nonpeaks"), pair(in_peaks, "peaks"),
        seconds["bias_s"], seconds["main_s"]))
