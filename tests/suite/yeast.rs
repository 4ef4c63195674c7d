//! A short run on real yeast ATAC-seq, from its BAM: region selection as the official tool has it on these files
//! (its counts loss weights are in the data folder's baseline), and models that improve.

use std::process::Command;

use crate::fixture::stderr;
use crate::shared;

#[test]
fn bias_and_main_model_train_on_real_data() {
    let Some(yeast) = shared::yeast() else { return };
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str], with_inputs: bool| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cbp-fast"));
        command.current_dir(folder.path()).args(arguments);
        if with_inputs {
            for (flag, file) in
                [("-c", "chrom.sizes"), ("-p", "peaks.narrowPeak"), ("-n", "nonpeaks.bed")]
            {
                command.arg(flag).arg(yeast.join(file));
            }
            command.args(["-d", "ATAC", "-e", "2"]);
            command.arg("-ibam").arg(yeast.join("reads.bam"));
        } else {
            command.arg("--bigwig").arg(yeast.join("unstranded.bw"));
        }
        command.arg("-g").arg(yeast.join("genome.fa.gz"));
        command.arg("-fl").arg(yeast.join("fold_0.json"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}\n{}", stderr(&output));
    };
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let val_losses = |log: &str| -> Vec<f64> {
        let rows = read(log);
        rows.lines().skip(1).map(|l| l.rsplit(',').next().unwrap().parse().unwrap()).collect()
    };

    run(&["bias", "train", "-o", "bias", "-b", "0.5", "-fil", "8", "-dil", "4"], true);
    assert!(read("bias/logs/bias_model_params.tsv").starts_with("counts_loss_weight\t1.0\n"));
    let losses = val_losses("bias/logs/bias.log");
    assert!(losses[1] < losses[0], "{losses:?}");

    let bias = ["train", "-o", "main", "-b", "bias/models/bias.h5", "-fil", "8", "-dil", "8"];
    run(&bias, true);
    assert!(
        read("main/logs/chrombpnet_model_params.tsv").starts_with("counts_loss_weight\t14.0\n")
    );
    let losses = val_losses("main/logs/chrombpnet.log");
    assert!(losses[1] < losses[0], "{losses:?}");

    run(
        &[
            "predict",
            "-m",
            "main/models/chrombpnet.h5",
            "-o",
            "test",
            "-p",
            "main/auxiliary/filtered.peaks.bed",
            "-n",
            "main/auxiliary/filtered.nonpeaks.bed",
        ],
        false,
    );
    let metrics: serde_json::Value = serde_json::from_str(&read("test_metrics.json")).unwrap();
    // 0 is what a flat profile gets; counts need more epochs than a test has.
    let jsd = metrics["profile_metrics"]["peaks"]["median_norm_jsd"].as_f64().unwrap();
    assert!(jsd > 0.05, "the profile should be better than flat: {metrics}");
}
