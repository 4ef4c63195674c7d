//! Memory of the way from scores to files, whatever the number of regions. Run by hand:
//! `cargo nextest run --test suite --run-ignored only -E 'test(contribs_memory)' --no-capture`

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use cbp_fast::console::Console;
use cbp_fast::engine::Heads;
use cbp_fast::files::contributions_h5::Rows;
use cbp_fast::files::region_track::{Span, TrackLayout};
use cbp_fast::files::row_spool::RowSpool;
use cbp_fast::interpret::Scores;
use cbp_fast::interpret::stream::{self, Explained, Plan};
use cbp_fast::interpret::writers::{BigWig, Format, H5, Row, ScoreWriter};

const LENGTH: usize = 2114;
/// bp between regions: they overlap, as peaks do.
const STEP: usize = 800;

struct Named;

impl Rows for Named {
    fn chrom(&self, _: usize) -> &str {
        "chr1"
    }

    fn center(&self, row: usize) -> i64 {
        (row * STEP + LENGTH / 2) as i64
    }
}

/// Peak resident memory of this process so far, MiB.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<f64>().unwrap() / 1024.0
}

/// Both heads of `n` regions through spool, h5, bigWig and npz, with scores that cost nothing.
fn files_of(folder: &Path, n: usize) {
    let path = |name: &str| folder.join(name);
    let plan = Plan { n, length: LENGTH, heads: Heads::BOTH, group: 16 };
    let mut spool = RowSpool::open(&path("x.partial"), "0123456789abcdef", plan.parts()).unwrap();
    let codes = |row: usize, codes: &mut [u8]| {
        codes.iter_mut().enumerate().for_each(|(i, code)| *code = ((i * 7 + row) % 4) as u8);
    };
    // A few hundred scores a row that differ from row to row; noise would be timing gzip.
    let mut explain = |first: usize, codes: &[u8]| {
        let mut scores = vec![0f32; codes.len() * 4];
        for (row, scores) in scores.chunks_exact_mut(LENGTH * 4).enumerate() {
            for (i, score) in scores[4000..4600].iter_mut().enumerate() {
                *score = ((i * 31 + (first + row) * 17) % 199) as f32 * 1e-3;
            }
        }
        Ok(Some(Scores { counts: scores.clone(), profile: scores, ..Scores::default() }))
    };
    let mut progress = Console::new(true, false).progress("", n as u64);
    let outcome = stream::run(&plan, &codes, &mut explain, &mut spool, &|| false, &mut progress);
    assert_eq!(outcome.unwrap(), Explained::Finished);

    let contigs = vec![("chr1".to_string(), (n * STEP + 2 * LENGTH) as u64)];
    let spans: Vec<Span> =
        (0..n).map(|row| Span { contig: 0, start: (row * STEP) as u32 }).collect();
    let layout = Arc::new(TrackLayout::new(contigs.into_iter().collect(), &spans, LENGTH).unwrap());
    drop(spans);
    for (head, name) in ["counts", "profile"].into_iter().enumerate() {
        let h5 = path(&format!("{name}_scores.h5"));
        let stem = h5.with_extension("");
        let mut writers: Vec<Box<dyn ScoreWriter>> = vec![
            Box::new(H5::create(&h5, (n, LENGTH), &Named, &[]).unwrap()),
            Box::new(BigWig::create(&h5.with_extension("bw"), &layout, LENGTH, None).unwrap()),
            Format::Npz.create(&stem, (n, LENGTH)).unwrap(),
        ];
        for index in 0..n {
            let parts = spool.read(index).unwrap();
            let scores: Vec<f32> = bytemuck::pod_collect_to_vec(&parts[1 + head]);
            let row = Row { index, codes: &parts[0], scores: &scores };
            writers.iter_mut().for_each(|writer| writer.rows(&[row]).unwrap());
        }
        writers.into_iter().for_each(|writer| writer.finish().unwrap());
    }
    spool.remove().unwrap();
}

#[test]
#[ignore = "minutes, and gigabytes of disk"]
fn memory_is_flat_from_a_thousand_regions_to_three_hundred_thousand() {
    let mut peaks = Vec::new();
    for n in [1_000, 300_000] {
        let folder = tempfile::tempdir().unwrap();
        let start = Instant::now();
        files_of(folder.path(), n);
        peaks.push(peak());
        let seconds = start.elapsed().as_secs_f64();
        println!("{n} regions: peak {:.0} MiB, {seconds:.0} s", peak());
    }
    // What grows: 8 bytes a row of spool, 24 of track layout, an HDF5 index of one node at a time.
    assert!(peaks[1] < peaks[0] + 100.0, "{peaks:?}");
}
