//! Shift detection and the bigWig shift QC against the official numbers.

use std::path::Path;

use cbp_fast::pack::shift::qc::ShiftQc;
use cbp_fast::pack::shift::{DataType, Detection, ReferenceMotifs, Sample, Shift, detect};
use cbp_fast::store::GenomePack;
use clap::ValueEnum;
use serde_json::Value;

use super::golden;
use crate::{reads, shared};

const FILES: [(&str, &str); 5] = [
    ("atac_bam", "atac.bam"),
    ("atac_fragments", "atac.fragments.tsv.gz"),
    ("atac_tagalign", "atac.tagAlign.gz"),
    ("dnase_bam", "dnase.bam"),
    ("dnase_tagalign", "dnase.tagAlign"),
];

fn shift(value: &Value) -> Shift {
    let strand = |i: usize| value[i].as_i64().unwrap() as i32;
    Shift { plus: strand(0), minus: strand(1) }
}

/// Detects with the official default sample size, which takes all reads of the golden files.
fn detection(path: &Path, genome: &GenomePack, data_type: DataType) -> (Detection, u64) {
    let mut sample = Sample::new(10_000, 1);
    reads::read_ends(path, genome).into_iter().for_each(|end| sample.observe(end));
    let motifs = ReferenceMotifs::built_in(data_type);
    (detect(&sample, genome, data_type, &motifs, None).unwrap(), sample.seen())
}

fn assert_close(ours: impl Iterator<Item = f64>, official: &[f64], tolerance: f64, what: &str) {
    let ours: Vec<f64> = ours.collect();
    assert_eq!(ours.len(), official.len(), "{what}");
    let worst = ours.iter().zip(official).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    println!("{what}: largest difference {worst:.1e}");
    assert!(worst <= tolerance, "{what}: {worst:e} beyond {tolerance:e}");
}

#[test]
fn detected_shifts_compositions_and_scans() {
    let Some(goldens) = shared::goldens() else { return };
    let genome = golden::tracks(&goldens).genome;
    let expected = goldens.join("data/expected");
    let shifts = golden::json(&expected.join("shifts.json"));
    let tensors = golden::Tensors::read(&expected.join("shift_pwms.safetensors"));
    for (set, file) in FILES {
        let official = &shifts[set];
        let data_type = DataType::from_str(official["data_type"].as_str().unwrap(), false).unwrap();
        let (ours, seen) = detection(&goldens.join("data/inputs").join(file), &genome, data_type);
        println!("{set}: {}", ours.summary());
        assert_eq!(ours.shift, shift(&official["detected_shift"]), "{set}");
        assert_eq!(ours.additional, shift(&official["applied_delta"]), "{set}");
        assert_eq!(seen, official["sampled_lines"].as_u64().unwrap(), "{set}");
        for (strand, name) in [(&ours.scan.plus, "plus"), (&ours.scan.minus, "minus")] {
            let taken = official[format!("reads_{name}")].as_u64().unwrap();
            assert_eq!(strand.reads + strand.at_edges, taken, "{set} {name}");
            let pwm = strand.pwm.rows.as_flattened().iter().copied();
            let what = format!("{set}/{name}_pwm");
            assert_close(pwm, &tensors.f64(&what), 1e-6, &what);
            let what = format!("{set}/{name}_scan");
            let scans = strand.motifs.iter().flat_map(|(_, scores)| scores.iter().copied());
            assert_close(scans, &tensors.f64(&what), 1e-6, &what);
        }
    }
}

#[test]
fn bigwig_shift_qc() {
    let Some(goldens) = shared::goldens() else { return };
    let tracks = golden::tracks(&goldens);
    let tensors = golden::Tensors::read(&goldens.join("data/expected/bigwig_qc_pwm.safetensors"));
    let chromosome = tensors.metadata["chrom"].clone();
    let motifs = ReferenceMotifs::built_in(DataType::Atac);
    let signal = tracks.signal.as_ref().unwrap();
    let qc = ShiftQc::new(&tracks.genome, signal, &[chromosome], DataType::Atac, &motifs).unwrap();
    println!("{}", qc.summary());
    let pwm = qc.pwm.rows.as_flattened().iter().copied();
    let official = |name: &str| tensors.f32(name).into_iter().map(f64::from).collect::<Vec<_>>();
    assert_close(pwm, &official("motif"), 1e-5, "motif");
    assert_close(qc.background.into_iter(), &official("background"), 1e-5, "background");
    assert_eq!(qc.best_match().0, 0, "{:?}", qc.matches);
}
