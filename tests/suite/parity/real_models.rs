//! Real trained models from the field, read and run, against what TensorFlow predicts with them.
//!
//! Folder layout (`CBP_MODELS`): `*.h5`, `golden/golden_sequences.fa`, and `golden/<model>.npz` with
//! `logits` [n, outputlen] and `logcounts` [n, 1], f32.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use cbp_fast::batch::Example;
use cbp_fast::engine::cpu::CpuEngine;
use cbp_fast::engine::{Predict, Predictions};
use cbp_fast::files::keras_h5;
use cbp_fast::store::{GenomePack, Tracks};

use crate::shared;

/// Largest allowed |ours - TensorFlow|: f32 sums of up to 9,600 terms in another order.
const TOLERANCE: f32 = 1e-4;

#[test]
fn predictions_of_real_models_match_tensorflow() {
    let Some(folder) = shared::models() else { return };
    let golden = folder.join("golden");
    let sequences = fasta(&golden.join("golden_sequences.fa"));
    let named = sequences.iter().map(|(name, bases)| (name.as_str(), bases.as_slice()));
    let tracks = Tracks::new(Arc::new(GenomePack::from_sequences(named)), None);
    let plan: Vec<Example> = (0..sequences.len() as u32)
        .map(|contig| Example { contig, start: 0, flags: 0, row: contig })
        .collect();

    let mut models: Vec<_> = std::fs::read_dir(&golden)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "npz"))
        .collect();
    models.sort();
    assert!(!models.is_empty(), "no .npz in {}", golden.display());
    for npz in models {
        let stem = npz.file_stem().unwrap().to_str().unwrap();
        let model = keras_h5::read(&folder.join(format!("{stem}.h5"))).unwrap();
        let outputlen = model.arch().outputlen;
        let mut engine = CpuEngine::new(model.into_branches(), tracks.clone()).unwrap();
        let mut ours = Predictions::default();
        // Two batches, so that appending is on the path too.
        let (first, second) = plan.split_at(plan.len() / 2);
        engine.predict(first, &mut ours).unwrap();
        engine.predict(second, &mut ours).unwrap();

        let wanted = read_npz(&npz);
        for (name, ours, per_row) in
            [("logits", &ours.logits, outputlen), ("logcounts", &ours.logcounts, 1)]
        {
            let wanted = &wanted[name];
            assert_eq!(ours.len(), wanted.len(), "{stem} {name}");
            let (at, difference) =
                ours.iter().zip(wanted).map(|(a, b)| (a - b).abs()).enumerate().fold(
                    (0, 0.0),
                    |worst, (i, d)| if d > worst.1 || d.is_nan() { (i, d) } else { worst },
                );
            let row = at / per_row;
            println!("{stem} {name}: {difference:.2e} at {} [{}]", sequences[row].0, at % per_row);
            assert!(
                difference <= TOLERANCE,
                "{stem} {name}: {} for {}, TensorFlow {}, in {} position {}",
                difference,
                ours[at],
                wanted[at],
                sequences[row].0,
                at % per_row
            );
        }
    }
}

/// (name, bases) of each record.
pub fn fasta(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut records: Vec<(String, Vec<u8>)> = Vec::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        match line.strip_prefix('>') {
            Some(name) => records.push((name.to_string(), Vec::new())),
            None => records.last_mut().unwrap().1.extend(line.trim_end().as_bytes()),
        }
    }
    records
}

/// The f32 arrays of a NumPy archive: a zip of .npy members, stored or deflated.
fn read_npz(path: &Path) -> HashMap<String, Vec<f32>> {
    let bytes = std::fs::read(path).unwrap();
    let u16_at = |at: usize| usize::from(u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap()));
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    // Sizes and offsets stand in the central directory, which the end record points to.
    let end = bytes.windows(4).rposition(|w| w == b"PK\x05\x06").expect("not a zip archive");
    let (members, mut entry) = (u16_at(end + 10), u32_at(end + 16));
    let mut arrays = HashMap::new();
    for _ in 0..members {
        assert_eq!(&bytes[entry..entry + 4], b"PK\x01\x02");
        let (method, compressed) = (u16_at(entry + 10), u32_at(entry + 20));
        let (name_len, extra_len, comment_len) =
            (u16_at(entry + 28), u16_at(entry + 30), u16_at(entry + 32));
        let name = std::str::from_utf8(&bytes[entry + 46..entry + 46 + name_len]).unwrap();
        let local = u32_at(entry + 42);
        let data = local + 30 + u16_at(local + 26) + u16_at(local + 28);
        let packed = &bytes[data..data + compressed];
        let mut npy = Vec::new();
        match method {
            0 => npy.extend(packed),
            8 => {
                flate2::read::DeflateDecoder::new(packed).read_to_end(&mut npy).unwrap();
            }
            other => panic!("{name}: zip method {other}"),
        }
        arrays.insert(name.trim_end_matches(".npy").to_string(), npy_f32(&npy));
        entry += 46 + name_len + extra_len + comment_len;
    }
    arrays
}

/// Values of a version 1 .npy file of little-endian f32 in C order.
fn npy_f32(npy: &[u8]) -> Vec<f32> {
    assert_eq!(&npy[..8], b"\x93NUMPY\x01\x00");
    let header = usize::from(u16::from_le_bytes(npy[8..10].try_into().unwrap()));
    let text = std::str::from_utf8(&npy[10..10 + header]).unwrap();
    assert!(text.contains("'descr': '<f4'") && text.contains("'fortran_order': False"), "{text}");
    let values = npy[10 + header..].chunks_exact(4);
    values.map(|v| f32::from_le_bytes(v.try_into().unwrap())).collect()
}
