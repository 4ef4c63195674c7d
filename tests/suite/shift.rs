//! Shift detection and its QC on reads whose cut sites are known.

use std::fs;
use std::path::Path;

use cbp_fast::files::bigwig;
use cbp_fast::input::reads::{ReadEnd, Strand};
use cbp_fast::pack::shift::qc::{QC_WIDTH, ShiftQc};
use cbp_fast::pack::shift::{DataType, ReferenceMotifs, SHIFTS, Sample, Scan, Shift, detect};
use cbp_fast::store::{GenomePack, SignalPack};
use proptest::prelude::*;

use crate::fixture::{Fixture, Lcg};
use crate::{reads, shared};

/// A random genome with runs of N, and cut sites drawn in it by the preference of the enzyme.
struct Simulation {
    data_type: DataType,
    sequence: Vec<u8>,
    genome: GenomePack,
    /// Of the plus and of the minus strand; those at the target shift lie where the enzyme cut.
    cuts: [Vec<i64>; 2],
}

impl Simulation {
    fn new(data_type: DataType, reads: usize, seed: u64) -> Self {
        let mut rng = Lcg::new(seed);
        let mut sequence: Vec<u8> = (0..60_000).map(|_| b"ACGT"[rng.below(4) as usize]).collect();
        sequence[20_000..21_000].fill(b'N');
        let genome = GenomePack::from_sequences([("chr1", &sequence[..])]);
        let motifs = ReferenceMotifs::built_in(data_type);
        let cuts = [Strand::Plus, Strand::Minus].map(|strand| {
            let pwm = &motifs.of(strand)[0].pwm;
            let mut codes = vec![0; sequence.len()];
            genome.codes(0, 0, false, &mut codes);
            // the chance of a cut at i + 10 is the product of the motif's frequencies there
            let mut sum = 0.0;
            let sums: Vec<f64> = codes
                .windows(pwm.rows.len())
                .map(|window| {
                    let bases = pwm.rows.iter().zip(window);
                    let chance: f64 = bases
                        .map(|(row, &code)| row.get(usize::from(code)).map_or(0.0, |p| 4.0 * p))
                        .product();
                    sum += chance;
                    sum
                })
                .collect();
            (0..reads)
                .map(|_| {
                    let at = rng.below(1 << 30) as f64 / (1u64 << 30) as f64 * sum;
                    sums.partition_point(|s| *s <= at) as i64 + 10
                })
                .collect()
        });
        Self { data_type, sequence, genome, cuts }
    }

    /// Reads of these cuts in a file whose reads have `shift`.
    fn reads(&self, shift: Shift) -> Vec<ReadEnd> {
        let target = self.data_type.target();
        let of = |strand: Strand, cuts: &[i64]| -> Vec<ReadEnd> {
            let moved = i64::from(shift.of(strand) - target.of(strand));
            cuts.iter().map(|c| ReadEnd { contig: 0, position: c + moved, strand }).collect()
        };
        [of(Strand::Plus, &self.cuts[0]), of(Strand::Minus, &self.cuts[1])].concat()
    }

    fn detect(
        &self,
        reads: &[ReadEnd],
        motifs: &ReferenceMotifs,
        files: Option<&Path>,
    ) -> anyhow::Result<cbp_fast::pack::shift::Detection> {
        detect(&sample(reads), &self.genome, self.data_type, motifs, files)
    }
}

fn sample(reads: &[ReadEnd]) -> Sample {
    let mut sample = Sample::new(10_000, 1);
    reads.iter().for_each(|r| sample.observe(*r));
    sample
}

fn accepted(data_type: DataType) -> Vec<Shift> {
    let all = (-10..=10).flat_map(|plus| (-10..=10).map(move |minus| Shift { plus, minus }));
    all.filter(|s| data_type.accepts(*s)).collect()
}

#[test]
fn every_accepted_shift_is_found() {
    for (data_type, count) in [(DataType::Atac, 10), (DataType::Dnase, 2)] {
        let motifs = ReferenceMotifs::built_in(data_type);
        let simulation = Simulation::new(data_type, 6_000, 11);
        assert_eq!(accepted(data_type).len(), count);
        for shift in accepted(data_type) {
            let found = simulation.detect(&simulation.reads(shift), &motifs, None).unwrap();
            assert_eq!(found.shift, shift, "{}", found.summary());
            let Shift { plus, minus } = found.additional;
            let target = data_type.target();
            assert_eq!((shift.plus + plus, shift.minus + minus), (target.plus, target.minus));
            for call in [found.plus, found.minus] {
                assert!(call.margin() > 0.05 && call.score > 0.5, "{call:?}");
                assert!(call.score > call.runner_up_score && call.shift != call.runner_up);
            }
        }
    }
}

/// All four files, and what their tables say.
fn files_are_complete(prefix: &Path, best: Shift) {
    let named = |end: &str| format!("{}{end}", prefix.display());
    let svg = fs::read_to_string(named(".svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    assert!(fs::read(named(".png")).unwrap().starts_with(b"\x89PNG"));
    let scores = fs::read_to_string(named(".tsv")).unwrap();
    assert_eq!(scores.lines().count(), 1 + 2 * SHIFTS);
    for (strand, shift) in [("plus", best.plus), ("minus", best.minus)] {
        let rows = scores.lines().map(|l| l.split('\t').collect::<Vec<_>>());
        let highest = rows
            .filter(|f| f[0] == strand)
            .max_by(|a, b| a[2].parse::<f64>().unwrap().total_cmp(&b[2].parse().unwrap()));
        assert_eq!(highest.unwrap()[1], shift.to_string(), "{strand}");
    }
    assert_eq!(fs::read_to_string(named("_pwm.tsv")).unwrap().lines().count(), 1 + 2 * 40);
}

#[test]
fn other_shifts_are_errors_that_explain_themselves() {
    for (data_type, shift) in [
        (DataType::Atac, Shift { plus: 2, minus: -4 }),
        (DataType::Atac, Shift { plus: 0, minus: -5 }),
        (DataType::Dnase, Shift { plus: 0, minus: -1 }),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let prefix = folder.path().join("shift");
        let motifs = ReferenceMotifs::built_in(data_type);
        let simulation = Simulation::new(data_type, 6_000, 3);
        let reads = simulation.reads(shift);
        let error = simulation.detect(&reads, &motifs, Some(&prefix)).unwrap_err().to_string();
        for part in [
            format!("cannot tell the shift of the {data_type} reads: the best fit is {shift}"),
            format!("{0} of {0} motifs", motifs.plus.len()),
            "reads, sampled of 12000".into(),
            format!("{}.png", prefix.display()),
            "accepted are 0/0 (unshifted)".into(),
            "--shift P/M".into(),
        ] {
            assert!(error.contains(&part), "{part}\n{error}");
        }
        files_are_complete(&prefix, shift);
    }
}

/// The built-in motifs, and a copy of one with its plus motif moved by a base.
fn quarrelling_motifs(folder: &Path) -> ReferenceMotifs {
    let mut text = String::new();
    let built_in = ReferenceMotifs::built_in(DataType::Atac);
    for (name, moved) in [("one", 0), ("two", 1)] {
        for (strand, motifs, moved) in
            [("plus", &built_in.plus, moved), ("minus", &built_in.minus, 0)]
        {
            let mut rows = motifs[0].pwm.rows.clone();
            rows.rotate_right(moved);
            text += &format!(">{name}_{strand}\n");
            for [a, c, g, t] in rows {
                text += &format!("{a}\t{c}\t{g}\t{t}\n");
            }
        }
    }
    let file = folder.join("motifs.txt");
    fs::write(&file, text).unwrap();
    ReferenceMotifs::read(&file).unwrap()
}

#[test]
fn motifs_that_disagree_are_an_error_after_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("shift");
    let motifs = quarrelling_motifs(folder.path());
    let simulation = Simulation::new(DataType::Atac, 6_000, 5);
    let reads = simulation.reads(Shift { plus: 4, minus: -5 });
    let error = simulation.detect(&reads, &motifs, Some(&prefix)).unwrap_err().to_string();
    assert!(error.contains("the reference motifs disagree on the plus strand"), "{error}");
    for row in ["plus       +4", "plus       +5", "minus      -5"] {
        assert!(error.contains(row), "{row}\n{error}");
    }
    assert!(error.contains("1 of 2 motifs") && error.contains("2 of 2 motifs"), "{error}");
    assert!(Path::new(&format!("{}.png", prefix.display())).is_file());
    assert!(Path::new(&format!("{}.tsv", prefix.display())).is_file());
}

#[test]
fn a_strand_without_reads_is_an_error() {
    let simulation = Simulation::new(DataType::Atac, 50, 1);
    let motifs = ReferenceMotifs::built_in(DataType::Atac);
    let plus: Vec<ReadEnd> = simulation
        .reads(Shift { plus: 0, minus: 0 })
        .into_iter()
        .filter(|r| r.strand == Strand::Plus)
        .collect();
    for (reads, strand) in [(&plus[..], "minus"), (&[], "plus")] {
        let error = simulation.detect(reads, &motifs, None).unwrap_err().to_string();
        assert!(error.contains(&format!("no read of the {strand} strand")), "{error}");
        assert!(error.contains("--shift P/M"), "{error}");
    }
}

/// Windows that leave their contig do not count, N counts for nothing, and no position is too odd.
#[test]
fn edges_and_n() {
    let mut sequence = b"A".repeat(100);
    sequence[60..].fill(b'N');
    let genome = GenomePack::from_sequences([("long", &sequence[..]), ("short", &b"ACGT"[..])]);
    let motifs = ReferenceMotifs::built_in(DataType::Atac);
    let scan = |reads: &[(u32, i64, Strand)]| {
        let reads: Vec<ReadEnd> = reads
            .iter()
            .map(|&(contig, position, strand)| ReadEnd { contig, position, strand })
            .collect();
        Scan::new(&sample(&reads), &genome, DataType::Atac, &motifs).unwrap()
    };
    let (plus, minus) = (Strand::Plus, Strand::Minus);
    // the first and the last window of each strand are in, one further is out
    let both = scan(&[
        (0, 19, plus),
        (0, 20, plus),
        (0, 80, plus),
        (0, 81, plus),
        (0, 18, minus),
        (0, 19, minus),
        (0, 79, minus),
        (0, 80, minus),
        (0, -5, plus),
        (0, i64::MIN, minus),
        (0, i64::MAX, minus),
        (0, i64::MIN, plus),
        (0, i64::MAX, plus),
        (1, 2, plus),
        (1, 2, minus),
    ]);
    assert_eq!((both.plus.reads, both.plus.at_edges), (2, 6));
    assert_eq!((both.minus.reads, both.minus.at_edges), (2, 5));
    // [60, 100) is all N, so only the A of [0, 40) is seen
    assert!(both.plus.pwm.rows.iter().all(|row| row == &[1.0, 0.0, 0.0, 0.0]));
    let nothing = scan(&[(0, 80, plus), (0, 79, minus)]);
    assert!(nothing.plus.pwm.rows.iter().all(|row| row == &[0.25; 4]));
    assert!(nothing.plus.scores.iter().all(|s| s.abs() < 1e-9));
}

#[test]
fn yeast_reads_are_unshifted_whatever_the_sample() {
    let Some(yeast) = shared::yeast() else { return };
    let mut packed = Vec::new();
    cbp_fast::input::fasta::read(&yeast.join("genome.fa.gz"), |piece| {
        match piece {
            cbp_fast::input::fasta::Piece::Contig(name) => packed.push((name.to_string(), vec![])),
            cbp_fast::input::fasta::Piece::Bases(bases) => {
                packed.last_mut().unwrap().1.extend_from_slice(bases);
            }
        }
        Ok(())
    })
    .unwrap();
    let genome = GenomePack::from_sequences(packed.iter().map(|(n, s)| (n.as_str(), &s[..])));
    let ends = reads::read_ends(&yeast.join("fragments.tsv.gz"), &genome);
    let motifs = ReferenceMotifs::built_in(DataType::Atac);
    for (num_samples, seed) in [(1_000, 1), (1_000, 2), (10_000, 1), (10_000, 2), (400_000, 1)] {
        let mut sample = Sample::new(num_samples, seed);
        ends.iter().for_each(|end| sample.observe(*end));
        let found = detect(&sample, &genome, DataType::Atac, &motifs, None).unwrap();
        println!("{num_samples} a strand, seed {seed}: {}", found.summary());
        assert_eq!(found.shift, Shift { plus: 0, minus: 0 });
        let used = found.scan.plus.reads + found.scan.minus.reads;
        let used = used + found.scan.plus.at_edges + found.scan.minus.at_edges;
        assert_eq!(used as usize, ends.len().min(2 * num_samples));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// A sample that takes everything does not depend on the order of the reads.
    #[test]
    fn order_does_not_matter(order in Just((0..600usize).collect::<Vec<_>>()).prop_shuffle()) {
        let simulation = Simulation::new(DataType::Atac, 300, 2);
        let motifs = ReferenceMotifs::built_in(DataType::Atac);
        let reads = simulation.reads(Shift { plus: 4, minus: -4 });
        let moved: Vec<ReadEnd> = order.iter().map(|&i| reads[i]).collect();
        let scan = |reads: &[ReadEnd]| {
            Scan::new(&sample(reads), &simulation.genome, DataType::Atac, &motifs).unwrap()
        };
        let (a, b) = (scan(&reads), scan(&moved));
        for (a, b) in a.strands().into_iter().zip(b.strands()) {
            prop_assert_eq!(&a.pwm, &b.pwm);
            prop_assert_eq!(&a.scores, &b.scores);
        }
    }

    /// The QC's matrix is what its definition says, for any sequence and counts.
    #[test]
    fn qc_matrix_is_its_definition(
        bases in prop::collection::vec(prop::sample::select(b"ACGTN".to_vec()), 0..120),
        counts in prop::collection::vec(prop_oneof![3 => Just(0.0f32), 1 => 0.5f32..9.0], 120),
    ) {
        let counts = &counts[..bases.len()];
        let genome = GenomePack::from_sequences([("chr1", &bases[..])]);
        let signal = SignalPack::from_dense([("chr1", counts)]);
        let motifs = ReferenceMotifs::built_in(DataType::Atac);
        let qc = ShiftQc::new(&genome, &signal, &["chr1".into()], DataType::Atac, &motifs);
        let half = QC_WIDTH / 2;
        let mut wanted = [[0.0f64; 4]; QC_WIDTH];
        let mut sites = 0;
        for at in half..bases.len().saturating_sub(half) {
            if counts[at] > 0.0 {
                sites += 1;
                for (row, base) in wanted.iter_mut().zip(&bases[at - half..at + half]) {
                    if let Some(base) = b"ACGT".iter().position(|b| b == base) {
                        row[base] += f64::from(counts[at]);
                    }
                }
            }
        }
        let Ok(qc) = qc else {
            prop_assert_eq!(sites, 0);
            return Ok(());
        };
        prop_assert_eq!(qc.sites, sites);
        for (row, wanted) in qc.pwm.rows.iter().zip(&wanted) {
            let sum: f64 = wanted.iter().sum();
            for base in 0..4 {
                let wanted = if sum > 0.0 { wanted[base] / sum } else { 0.25 };
                prop_assert!((row[base] - wanted).abs() < 1e-9);
            }
        }
    }
}

/// Cut sites of both strands as one track.
fn track(simulation: &Simulation, plus: i64, minus: i64) -> Vec<f32> {
    let mut track = vec![0.0; simulation.sequence.len()];
    for (cuts, moved) in [(&simulation.cuts[0], plus), (&simulation.cuts[1], minus)] {
        cuts.iter().for_each(|c| track[(c + moved) as usize] += 1.0);
    }
    track
}

#[test]
fn qc_sees_where_the_cut_sites_are() {
    for data_type in [DataType::Atac, DataType::Dnase] {
        let simulation = Simulation::new(data_type, 6_000, 21);
        let motifs = ReferenceMotifs::built_in(data_type);
        let qc = |plus, minus| {
            let signal = SignalPack::from_dense([("chr1", &track(&simulation, plus, minus)[..])]);
            let names = ["chr1".to_string()];
            ShiftQc::new(&simulation.genome, &signal, &names, data_type, &motifs).unwrap()
        };
        let right = qc(0, 0);
        assert_eq!(right.best_match().0, 0, "{}", right.summary());
        assert!(right.match_at_cut() > 0.9, "{}", right.summary());
        assert!(!right.summary().contains("check the shift"));
        // sites recorded 2 bp too far to the right have the pattern 2 bp to their left
        let moved = qc(2, 2);
        assert_eq!(moved.best_match().0, -2, "{}", moved.summary());
        assert!(moved.summary().contains("check the shift"), "{}", moved.summary());
        // one strand off by a base blurs the pattern
        assert!(qc(0, -1).best_match().1 < right.best_match().1 - 0.02);
    }
}

/// More than a chunk of the scan, with cut sites on both sides of the seam and at the edges.
#[test]
fn qc_across_chunks_and_at_contig_ends() {
    let length = (1 << 20) + 5_000;
    let mut rng = Lcg::new(4);
    let bases: Vec<u8> = (0..length).map(|_| b"ACGT"[rng.below(4) as usize]).collect();
    let genome = GenomePack::from_sequences([("chr1", &bases[..])]);
    let motifs = ReferenceMotifs::built_in(DataType::Atac);
    let mut track = vec![0.0f32; length];
    let seam = 12 + (1 << 20);
    let inside = [12, 500, seam - 2, seam - 1, seam, seam + 1, length - 13];
    for at in [0, 11, length - 12, length - 1] {
        track[at] = 9.0;
    }
    inside.iter().for_each(|&at| track[at] = 2.0);
    let signal = SignalPack::from_dense([("chr1", &track[..])]);
    let qc = ShiftQc::new(&genome, &signal, &["chr1".into()], DataType::Atac, &motifs).unwrap();
    assert_eq!((qc.sites, qc.cuts), (inside.len() as u64, 2.0 * inside.len() as f64));
    for (i, row) in qc.pwm.rows.iter().enumerate() {
        for (base, letter) in b"ACGT".iter().enumerate() {
            let found = inside.iter().filter(|&&at| bases[at + i - 12] == *letter).count();
            assert_eq!(row[base], found as f64 / inside.len() as f64, "row {i}");
        }
    }
}

#[test]
fn pack_shift_qc_on_the_command_line() {
    let fixture = Fixture::new();
    let simulation = Simulation::new(DataType::Atac, 6_000, 8);
    let sequence = String::from_utf8(simulation.sequence.clone()).unwrap();
    fixture.write("sim.fa", &format!(">chr1\n{sequence}\n>chr2\nACGTACGT\n"));
    let contigs = [("chr1".to_string(), 60_000), ("chr2".to_string(), 8)];
    let tracks = [track(&simulation, 0, 0), vec![0.0; 8]];
    bigwig::write(&fixture.path("sim.bw"), &contigs, &tracks).unwrap();
    fixture.write("fold.json", r#"{"train":["chr2"],"valid":["chr1"],"test":[]}"#);
    let base = ["pack", "shift-qc", "-g", "sim.fa", "-bw", "sim.bw", "-d", "ATAC", "-op", "qc"];
    let with = |more: &[&'static str]| [&base[..], more].concat();

    for more in [&[][..], &["--chromosomes", "chr1"], &["-fl", "fold.json"]] {
        let output = fixture.succeed(&with(more));
        let text = crate::fixture::stderr(&output);
        assert!(text.contains("fits best at 0 bp"), "{text}");
        assert!(fixture.read("qc.svg").starts_with("<svg"));
        assert!(fs::read(fixture.path("qc.png")).unwrap().starts_with(b"\x89PNG"));
        let table = fixture.read("qc.tsv");
        let rows: Vec<&str> = table.lines().filter(|l| !l.starts_with('#')).collect();
        assert_eq!(rows.len(), 1 + QC_WIDTH, "{table}");
        assert!(rows[1].starts_with("-12\t") && rows[1].ends_with("NA\tNA\tNA\tNA"), "{table}");
        assert!(rows[13].starts_with("0\t") && !rows[13].contains("NA"), "{table}");
        for file in ["qc.svg", "qc.png", "qc.tsv"] {
            fs::remove_file(fixture.path(file)).unwrap();
        }
    }
    for (more, message) in [
        (&["--chromosomes", "chr9"][..], "chr9 is not in the genome"),
        (&["--chromosomes", "chr2"], "no cut sites on chr2"),
        (&["--ATAC-ref-path", "sim.fa"], "names no strand"),
        (&["-op", "nowhere/qc"], "where: nowhere\n"),
    ] {
        let text = match more[0] {
            "-op" => fixture.fail(&[&base[..8], more].concat()),
            _ => fixture.fail(&with(more)),
        };
        assert!(text.contains(message), "{message}\n{text}");
        assert!(!fixture.path("qc.png").exists());
    }
}

/// Reads of two protocols in one file: the better half wins, and the user hears of the doubt.
#[test]
fn a_close_call_is_doubted() {
    let simulation = Simulation::new(DataType::Atac, 6_000, 17);
    let motifs = ReferenceMotifs::built_in(DataType::Atac);
    let reads = |share_of_other: usize| -> Vec<ReadEnd> {
        let four = simulation.reads(Shift { plus: 4, minus: -5 });
        let five = simulation.reads(Shift { plus: 5, minus: -5 });
        let take = |i: usize| if i % 100 < share_of_other { five[i] } else { four[i] };
        (0..four.len()).map(take).collect()
    };
    let clear = simulation.detect(&reads(0), &motifs, None).unwrap();
    assert_eq!(clear.doubt(), None);
    let mixed = simulation.detect(&reads(46), &motifs, None).unwrap();
    assert_eq!(mixed.shift, Shift { plus: 4, minus: -5 }, "{}", mixed.summary());
    let doubt = mixed.doubt().unwrap();
    for part in ["plus strand", "+4", "next best +5", "--shift P/M"] {
        assert!(doubt.contains(part), "{part}: {doubt}");
    }
    assert!(!doubt.contains("minus strand"), "{doubt}");
}
