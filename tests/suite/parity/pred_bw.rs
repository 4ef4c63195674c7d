//! The official `pred_bw` command line on the built binary, and the bigWig writer alone, against what
//! the official tool wrote.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use bigtools::BigWigRead;
use cbp_fast::files::bigwig;
use cbp_fast::files::region_track::{RegionTrack, Span, TrackLayout};
use hdf5_metno::types::VarLenUnicode;

use super::golden::{self, Tensors};
use crate::fixture::{command, stderr};
use crate::shared;

/// Positions with a value, and the values, of each contig that has some.
pub fn covered(path: &Path) -> BTreeMap<String, (Vec<i32>, Vec<f32>)> {
    let mut file = BigWigRead::open_file(path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
    let contigs: Vec<(String, u32)> =
        file.chroms().iter().map(|c| (c.name.clone(), c.length)).collect();
    let mut found = BTreeMap::new();
    for (name, length) in contigs {
        let values = file.values(&name, 0, length).unwrap();
        let there = values.iter().zip(0..).filter(|(v, _)| !v.is_nan());
        let (values, positions): (Vec<f32>, Vec<i32>) = there.unzip();
        if !positions.is_empty() {
            found.insert(name, (positions, values));
        }
    }
    found
}

/// `positions` exact, `values` within `tolerance`, relative.
fn same_track(path: &Path, golden: &Tensors, set: &str, tolerance: f32) {
    let found = covered(path);
    let prefix = format!("{set}/");
    let contigs: Vec<String> = golden
        .names()
        .iter()
        .filter_map(|n| n.strip_prefix(&prefix)?.strip_suffix("/values").map(String::from))
        .collect();
    assert!(!contigs.is_empty());
    assert_eq!(found.len(), contigs.len());
    for contig in contigs {
        let name = format!("{set}/{contig}/positions");
        let positions = golden.i32(&name);
        let values = golden.f32(&format!("{set}/{contig}/values"));
        let (found_positions, found_values) = &found[&contig];
        assert_eq!(*found_positions, positions, "{name}");
        for ((found, wanted), at) in found_values.iter().zip(&values).zip(&positions) {
            let close = (found - wanted).abs() <= tolerance * wanted.abs();
            assert!(close, "{set} {contig}:{at}: {found}, official {wanted}");
        }
    }
}

/// Label and value of each line.
fn stats(path: &Path) -> Vec<(String, f64)> {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|l| l.split_once('\t').unwrap());
    lines.map(|(label, value)| (label.to_string(), value.parse().unwrap())).collect()
}

fn same_stats(found: &Path, official: &Path, tolerance: f64) {
    let (found, official) = (stats(found), stats(official));
    assert_eq!(found.len(), official.len());
    for ((label, value), (wanted_label, wanted)) in found.iter().zip(&official) {
        assert_eq!(label, wanted_label);
        assert!((value - wanted).abs() <= tolerance * wanted.abs() + 1e-6, "{label}: {value}");
    }
}

#[test]
fn official_command_line() {
    let Some(goldens) = shared::goldens() else { return };
    let folder = tempfile::tempdir().unwrap();
    let official = goldens.join("data/expected/pred_bw");
    let file = |name: &str| goldens.join(name).display().to_string();
    let (bias, full, nobias) = (
        file("models/bias_model_scaled.h5"),
        file("models/chrombpnet.h5"),
        file("models/chrombpnet_nobias.h5"),
    );
    let (regions, genome, sizes) = (
        file("data/inputs/regions.bed"),
        file("data/inputs/genome.fa"),
        file("data/inputs/chrom.sizes"),
    );
    #[rustfmt::skip]
    let output = command(folder.path(), &[
        "pred_bw", "-bm", &bias, "-cm", &full, "-cmb", &nobias, "-r", &regions, "-g", &genome,
        "-c", &sizes, "-op", "out", "-os", "stats.txt", "-bs", "8", "-t", "0",
    ])
    .output()
    .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));

    let golden = Tensors::read(&official.join("values.safetensors"));
    // Both sides sum in f32, and counts are e to the power of a sum: values of the full model, which
    // adds two branches, differ by more than 1e-5 in places (0.6512555 for 0.65126294).
    for (role, tolerance) in [("bias", 1e-5), ("chrombpnet", 1e-4), ("chrombpnet_nobias", 1e-4)] {
        same_track(&folder.path().join(format!("out_{role}.bw")), &golden, role, tolerance);
        let bed = format!("out_{role}_preds.bed");
        let read = |at: &Path| std::fs::read_to_string(at.join(&bed)).unwrap();
        assert_eq!(read(folder.path()), read(&official), "{bed}");
        // Without an observed bigWig there is no h5.
        assert!(!folder.path().join(format!("out_{role}_predictions.h5")).exists());
    }
    same_stats(&folder.path().join("stats.txt"), &official.join("stats_of_last_model.txt"), 1e-4);
}

#[test]
fn the_writer_alone() {
    let Some(goldens) = shared::goldens() else { return };
    let official = goldens.join("data/expected/pred_bw");
    let golden = Tensors::read(&official.join("values.safetensors"));
    let regions = golden::json(&official.join("writer_small_regions.json"));
    let sizes = std::fs::read_to_string(goldens.join("data/inputs/chrom.sizes")).unwrap();
    let contigs: Vec<(String, u64)> = sizes
        .lines()
        .map(|l| l.split_once('\t').unwrap())
        .map(|(name, length)| (name.to_string(), length.parse().unwrap()))
        .collect();
    let rows = regions["regions_chrom_start_end_mid"].as_array().unwrap();
    let spans: Vec<Span> = rows
        .iter()
        .map(|row| Span {
            contig: contigs.iter().position(|(n, _)| n == row[0].as_str().unwrap()).unwrap() as u32,
            start: row[1].as_u64().unwrap() as u32,
        })
        .collect();
    let width = golden.shape("writer_small/data")[1];
    let layout =
        Arc::new(TrackLayout::new(contigs.clone().into_iter().collect(), &spans, width).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let (path, text) = (folder.path().join("x.bw"), folder.path().join("stats.txt"));
    let mut track = RegionTrack::create(&path, &layout, true).unwrap();
    for values in golden.f64("writer_small/data").chunks_exact(width) {
        track.push(&values.iter().map(|&v| v as f32).collect::<Vec<_>>()).unwrap();
    }
    track.finish().unwrap().unwrap().write(&text).unwrap();
    same_track(&path, &golden, "writer_small", 0.0);
    same_stats(&text, &official.join("writer_small.stats.txt"), 0.0);

    // Every contig of chrom.sizes is known, in its order, with data or without.
    let chroms = |path: &Path| -> Vec<(String, u64)> {
        let file = BigWigRead::open_file(path).unwrap();
        file.chroms().iter().map(|c| (c.name.clone(), u64::from(c.length))).collect()
    };
    assert_eq!(chroms(&path), contigs);
    assert_eq!(chroms(&path), chroms(&official.join("writer_small.bw")));
}

/// The test peaks of the official `predict` golden as the regions of `pred_bw -bw`: the group is
/// called `regions`, the numbers are those of the official group `peaks`.
#[test]
fn metrics_against_a_bigwig() {
    let Some(goldens) = shared::goldens() else { return };
    let folder = tempfile::tempdir().unwrap();
    let official = goldens.join("data/expected/predict/chrombpnet_predictions.h5");
    let official = hdf5_metno::File::open(official).unwrap();
    let chrom: Vec<VarLenUnicode> =
        official.dataset("coords/coords_chrom").unwrap().read_raw().unwrap();
    let center: Vec<i64> = official.dataset("coords/coords_center").unwrap().read_raw().unwrap();
    let peak: Vec<i64> = official.dataset("coords/coords_peak").unwrap().read_raw().unwrap();
    let rows: Vec<usize> = (0..peak.len()).filter(|&i| peak[i] == 1).collect();
    let mut bed = String::new();
    for &i in &rows {
        let start = center[i] - 7;
        writeln!(bed, "{}\t{start}\t{}\t.\t.\t.\t.\t.\t.\t7", chrom[i], start + 20).unwrap();
    }
    std::fs::write(folder.path().join("peaks.bed"), bed).unwrap();
    let signal = golden::tracks(&goldens).signal.unwrap();
    bigwig::write_pack(&folder.path().join("observed.bw"), &signal).unwrap();

    let file = |name: &str| goldens.join(name).display().to_string();
    let (model, genome, sizes) = (
        file("models/chrombpnet.h5"),
        file("data/inputs/genome.fa"),
        file("data/inputs/chrom.sizes"),
    );
    #[rustfmt::skip]
    let output = command(folder.path(), &[
        "pred_bw", "-cm", &model, "-r", "peaks.bed", "-g", &genome, "-c", &sizes, "-op", "out",
        "-bw", "observed.bw",
    ])
    .output()
    .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));

    let found = golden::json(&folder.path().join("out_chrombpnet_metrics.json"));
    let wanted = golden::json(&goldens.join("data/expected/predict/chrombpnet_metrics.json"));
    for (kind, keys) in [
        ("counts_metrics", &["spearmanr", "pearsonr", "mse"][..]),
        ("profile_metrics", &["median_jsd", "median_norm_jsd"]),
    ] {
        for key in keys {
            let found = found[kind]["regions"][key].as_f64().unwrap();
            let wanted = wanted[kind]["peaks"][key].as_f64().unwrap();
            assert!((found - wanted).abs() < 1e-5, "{key}: {found}, official {wanted}");
        }
    }
    let ours = folder.path().join("out_chrombpnet_predictions.h5");
    let ours = hdf5_metno::File::open(ours).unwrap();
    assert!(ours.dataset("coords/coords_peak").is_err(), "pred_bw's file does not have it");
    for name in ["predictions/profs", "predictions/logcounts"] {
        let found: Vec<f64> = ours.dataset(name).unwrap().read_raw().unwrap();
        let all: Vec<f64> = official.dataset(name).unwrap().read_raw().unwrap();
        let width = all.len() / peak.len();
        let wanted = rows.iter().flat_map(|&i| &all[i * width..][..width]);
        assert_eq!(found.len(), rows.len() * width);
        for (found, wanted) in found.iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-5, "{name}: {found}, official {wanted}");
        }
    }
}
