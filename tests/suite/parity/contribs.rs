//! The files of `contribs` against the official ones: scores with the goldens' references, and the
//! bigWig made from given scores.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use cbp_fast::files::contributions_h5::{self, ContributionsReader};
use cbp_fast::files::region_track::{RegionTrack, Span, TrackLayout};
use half::f16;
use safetensors::SafeTensors;

use super::golden::Tensors;
use crate::fixture::command;
use crate::shared;

/// Stated by the goldens: times the largest |hypothetical| of the sequence.
const TOLERANCE: f32 = 1e-4;

/// Lines of the goldens' sequences that were explained.
const LINES: [usize; 4] = [1, 2, 4, 8];

fn f16s(path: &Path, name: &str) -> Vec<f32> {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (halves, _) = file.tensor(name).unwrap().data().as_chunks::<2>();
    halves.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect()
}

#[test]
fn the_h5_holds_the_official_scores() {
    let Some(goldens) = shared::goldens() else { return };
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(goldens.join("forward/sequences.txt")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let fasta: String = LINES.iter().map(|l| format!(">line_{l}\n{}\n", lines[l - 1])).collect();
    fs::write(folder.path().join("s.fa"), fasta).unwrap();
    let golden = goldens.join("deepshap/deepshap.safetensors");
    for model in ["chrombpnet_nobias", "bias_trained"] {
        // The goldens' own file has the tensor that --references wants.
        let path = goldens.join(format!("models/{model}.h5"));
        let output = command(
            folder.path(),
            &[
                "contribs",
                "-m",
                path.to_str().unwrap(),
                "--fasta",
                "s.fa",
                "-op",
                model,
                "--references",
                golden.to_str().unwrap(),
                "--device",
                "cpu",
            ],
        )
        .output()
        .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for head in ["counts", "profile"] {
            let written = f16s(&golden, &format!("{model}/{head}/hypothetical_f16_as_written"));
            let reader =
                ContributionsReader::open(&folder.path().join(format!("{model}.{head}_scores.h5")))
                    .unwrap();
            assert_eq!((reader.n, reader.length), (4, 2114));
            for row in 0..4 {
                let found = reader.rows(row..row + 1).unwrap();
                let wanted = &written[row * 4 * 2114..][..4 * 2114];
                let largest = wanted.iter().fold(0f32, |max, w| max.max(w.abs()));
                for (at, scores) in found.hypothetical.chunks_exact(4).enumerate() {
                    for (base, found) in scores.iter().enumerate() {
                        let wanted = wanted[base * 2114 + at];
                        // and the last of the 11 bits of either, which is never below 2^-24
                        let rounding = (wanted.abs() / 1024.0).max(1.01 / (1 << 24) as f32);
                        let tolerance = TOLERANCE * largest + rounding;
                        assert!(
                            (found - wanted).abs() <= tolerance,
                            "{model} {head} {row} {at} {base}: {found}, wanted {wanted}"
                        );
                    }
                }
            }
        }
    }
}

fn track(path: &Path) -> BTreeMap<(String, u32), f32> {
    let mut file = bigtools::BigWigRead::open_file(path).unwrap();
    let contigs: Vec<(String, u32)> =
        file.chroms().iter().map(|c| (c.name.clone(), c.length)).collect();
    let mut found = BTreeMap::new();
    for (name, length) in contigs {
        for value in file.get_interval(&name, 0, length).unwrap() {
            let value = value.unwrap();
            found.extend((value.start..value.end).map(|at| ((name.clone(), at), value.value)));
        }
    }
    found
}

#[test]
fn the_bigwig_of_given_scores_is_the_official_one() {
    let Some(goldens) = shared::goldens() else { return };
    let format = goldens.join("data/expected/contribs_format");
    let given = Tensors::read(&format.join("random.safetensors"));
    let (hypothetical, onehot) = (given.f32("hypothetical"), given.u8("onehot"));
    let length = given.shape("onehot")[1];
    let sizes = fs::read_to_string(goldens.join("data/inputs/chrom.sizes")).unwrap();
    let contigs: Vec<(String, u64)> = sizes
        .lines()
        .map(|l| l.split_once('\t').unwrap())
        .map(|(name, length)| (name.to_string(), length.parse().unwrap()))
        .collect();
    let bed = fs::read_to_string(format.join("regions.bed")).unwrap();
    let spans: Vec<Span> = bed
        .lines()
        .map(|line| {
            let f: Vec<&str> = line.split('\t').collect();
            let number = |i: usize| f[i].parse::<u32>().unwrap();
            let contig = contigs.iter().position(|(name, _)| name == f[0]).unwrap() as u32;
            Span { contig, start: number(1) + number(9) - length as u32 / 2 }
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.bw");
    let layout = Arc::new(TrackLayout::new(contigs.into_iter().collect(), &spans, length).unwrap());
    let mut writer = RegionTrack::create(&path, &layout, false).unwrap();
    let mut values = vec![0.0; length];
    for (scores, columns) in hypothetical.chunks(length * 4).zip(onehot.chunks(length * 4)) {
        let codes: Vec<u8> = columns
            .chunks(4)
            .map(|c| c.iter().position(|&bit| bit == 1).unwrap_or(4) as u8)
            .collect();
        contributions_h5::track(&codes, scores, &mut values);
        writer.push(&values).unwrap();
    }
    writer.finish().unwrap();
    let (found, wanted) = (track(&path), track(&format.join("random.counts_scores.bw")));
    assert!(found.keys().eq(wanted.keys()));
    let mut ties = 0;
    for ((place, found), wanted) in found.iter().zip(wanted.values()) {
        if found != wanted {
            // The scores were given to the official writer in f64 and are here in f32: one halfway
            // between two numbers of 16 bits may have been on either side.
            let middle = (found + wanted) / 2.0;
            let given = hypothetical.chunks(4).zip(onehot.chunks(4)).any(|(scores, column)| {
                scores.iter().zip(column).any(|(score, bit)| *bit == 1 && *score == middle)
            });
            assert!(given, "{place:?}: {found}, wanted {wanted}");
            ties += 1;
        }
    }
    assert!(ties <= 2, "{ties} ties of {}", found.len());
}

/// Official files are compressed with blosc, which HDF5 has no filter for here: a clear refusal.
#[test]
fn an_official_file_is_refused_with_a_way_out() {
    let Some(goldens) = shared::goldens() else { return };
    let path = goldens.join("data/expected/contribs_format/random.counts_scores.h5");
    let reader = ContributionsReader::open(&path).unwrap();
    assert_eq!((reader.n, reader.length), (3, 2114));
    let error = reader.rows(0..1).unwrap_err().to_string();
    assert!(error.contains("blosc"), "{error}");
}
