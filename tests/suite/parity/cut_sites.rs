//! Cut sites counted from reads against the official bigWigs, base by base, and through our own
//! bigWig; the real yeast reads in all three formats against their shared bigWig.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cbp_fast::files::bigwig;
use cbp_fast::input::assembly::Contig;
use cbp_fast::input::bigwig::BigWig;
use cbp_fast::input::reads::{Contigs, Format, Options, Sources};
use cbp_fast::input::{chrom_sizes, fasta};
use cbp_fast::pack::cut_sites::{Report, Request};
use cbp_fast::pack::shift::Shift;
use cbp_fast::store::SignalPack;
use serde_json::Value;

use crate::shared;

/// Bases with a count: (contig, position) -> count.
type Counts = BTreeMap<(String, u32), f32>;

fn of_bigwig(path: &Path) -> Counts {
    let mut read = BigWig::open(path).unwrap();
    let mut counts = Counts::new();
    for Contig { name, .. } in read.contigs().to_vec() {
        read.intervals(&name, |start, end, value| {
            if value != 0.0 {
                counts.extend((start..end).map(|at| ((name.clone(), at), value)));
            }
            Ok(())
        })
        .unwrap();
    }
    counts
}

fn of_pack(pack: &SignalPack) -> Counts {
    let mut counts = Counts::new();
    for (id, contig) in pack.contigs().iter().enumerate() {
        let mut dense = vec![0.0; contig.length as usize];
        pack.counts(id as u32, 0, false, &mut dense);
        let some = dense.iter().enumerate().filter(|(_, count)| **count != 0.0);
        counts.extend(some.map(|(at, count)| ((contig.name.clone(), at as u32), *count)));
    }
    counts
}

fn same(what: &str, ours: &Counts, official: &Counts) {
    let differs = |a: &Counts, b: &Counts| {
        a.iter().find(|(at, count)| b.get(at) != Some(count)).map(|(at, c)| (at.clone(), *c))
    };
    assert_eq!(differs(ours, official), None, "{what}: ours");
    assert_eq!(differs(official, ours), None, "{what}: theirs");
}

/// Packs the files and returns the counts, after a look at them through a bigWig.
fn count(
    format: Format,
    files: &[PathBuf],
    contigs: &Contigs,
    shift: (i32, i32),
) -> (Report, Counts) {
    let folder = tempfile::tempdir().unwrap();
    let (out, track) = (folder.path().join("x.cbs"), folder.path().join("x.bw"));
    let request = Request {
        sources: Sources { format, files: files.to_vec() },
        options: Options::default(),
        shift: String::new(),
    };
    let shift = Shift { plus: shift.0, minus: shift.1 };
    let report = request.write(shift, contigs, &out, folder.path(), &mut |_| {}).unwrap();
    let pack = SignalPack::open(&out).unwrap();
    let counts = of_pack(&pack);
    bigwig::write_pack(&track, &pack).unwrap();
    same("bigWig out", &of_bigwig(&track), &counts);
    (report, counts)
}

fn contigs(fasta: &Path) -> Contigs {
    let read = fasta::read_all(fasta).unwrap();
    Contigs::new(read.into_iter().map(|(name, bases)| (name, bases.len() as u64)))
}

#[test]
fn counts_equal_the_official_bigwigs() {
    let Some(goldens) = shared::goldens() else { return };
    let data = goldens.join("data");
    let contigs = contigs(&data.join("inputs/genome.fa"));
    let shifts = fs::read(data.join("expected/shifts.json")).unwrap();
    let shifts: Value = serde_json::from_slice(&shifts).unwrap();
    for (set, format, file) in [
        ("atac_bam", Format::Bam, "atac.bam"),
        ("atac_fragments", Format::Fragments, "atac.fragments.tsv.gz"),
        ("atac_tagalign", Format::TagAlign, "atac.tagAlign.gz"),
        ("dnase_bam", Format::Bam, "dnase.bam"),
        ("dnase_tagalign", Format::TagAlign, "dnase.tagAlign"),
    ] {
        let set_shifts = &shifts[set];
        let delta = |i: usize| set_shifts["applied_delta"][i].as_i64().unwrap() as i32;
        let files = [data.join("inputs").join(file)];
        let (report, counts) = count(format, &files, &contigs, (delta(0), delta(1)));
        let official = data.join(format!("expected/bigwig/{set}_unstranded.bw"));
        same(set, &counts, &of_bigwig(&official));
        let sampled = set_shifts["sampled_lines"].as_u64().unwrap();
        assert_eq!(report.counted, sampled, "{set}: the official tool saw as many reads");
        let unknown = if file.ends_with("lign") || file.contains("tagAlign") { 0 } else { 1 };
        assert_eq!(report.tally.unknown_contig.count > 0, unknown > 0, "{set}");
    }
}

#[test]
fn yeast_reads_in_three_formats_give_the_shared_bigwig() {
    let Some(yeast) = shared::yeast() else { return };
    let contigs = contigs(&yeast.join("genome.fa.gz"));
    let official = of_bigwig(&yeast.join("unstranded.bw"));
    for (format, file) in [
        (Format::Bam, "reads.bam"),
        (Format::Fragments, "fragments.tsv.gz"),
        (Format::TagAlign, "reads.tagAlign.gz"),
    ] {
        let (report, counts) = count(format, &[yeast.join(file)], &contigs, (4, -4));
        assert_eq!((report.counted, report.off_contig.count), (702_836, 0), "{file}");
        assert_eq!(report.warnings(), Vec::<String>::new());
        same(file, &counts, &official);
    }
}

/// Replicates add up: a file given twice doubles every count.
#[test]
fn several_files_are_summed() {
    let Some(goldens) = shared::goldens() else { return };
    let inputs = goldens.join("data/inputs");
    let contigs = contigs(&inputs.join("genome.fa"));
    let atac = inputs.join("atac.bam");
    let (_, one) = count(Format::Bam, std::slice::from_ref(&atac), &contigs, (4, -4));
    let (_, dnase) = count(Format::Bam, &[inputs.join("dnase.bam")], &contigs, (4, -4));
    let (_, all) =
        count(Format::Bam, &[atac.clone(), inputs.join("dnase.bam"), atac], &contigs, (4, -4));
    let mut wanted = dnase;
    one.into_iter().for_each(|(at, n)| *wanted.entry(at).or_default() += 2.0 * n);
    same("three files", &all, &wanted);
}

#[test]
fn human_fragments_run_through_whole_and_by_barcode() {
    let Some(yeast) = shared::yeast() else { return };
    let pbmc = yeast.with_file_name("pbmc-chr22-fragments");
    if !pbmc.is_dir() {
        println!("skipped: {} is not there", pbmc.display());
        return;
    }
    let sizes = chrom_sizes::read(&pbmc.join("chrom.sizes")).unwrap();
    let contigs = Contigs::from(sizes);
    let fragments = pbmc.join("fragments.tsv.gz");
    let (report, all) =
        count(Format::Fragments, std::slice::from_ref(&fragments), &contigs, (0, 1));
    assert_eq!(report.counted, 2 * 57_115);
    assert_eq!(all.values().sum::<f32>(), report.counted as f32);

    // Every cell is in one of the two lists, so the two pseudobulks are the whole.
    let mut cells: Vec<String> = Vec::new();
    cbp_fast::input::lines::for_each(&fragments, |_, line| {
        cells.extend(line.split('\t').nth(3).map(String::from));
        Ok(())
    })
    .unwrap();
    cells.sort();
    cells.dedup();
    assert_eq!(cells.len(), 100);
    let folder = tempfile::tempdir().unwrap();
    let mut sum = Counts::new();
    for (part, half) in [&cells[..30], &cells[30..]].into_iter().enumerate() {
        let list = folder.path().join("barcodes.tsv");
        fs::write(&list, half.join("\n") + "\nNOT-A-CELL\n").unwrap();
        let mut options = Options::default();
        let barcodes = cbp_fast::input::reads::Barcodes::read(&list).unwrap();
        options.filters.barcodes = Some(barcodes);
        let request = Request {
            sources: Sources { format: Format::Fragments, files: vec![fragments.clone()] },
            options,
            shift: String::new(),
        };
        let out = folder.path().join(format!("{part}.cbs"));
        let report = request
            .write(Shift { plus: 0, minus: 1 }, &contigs, &out, folder.path(), &mut |_| {})
            .unwrap();
        assert_eq!(report.tally.used + report.tally.filtered, 57_115);
        assert!(report.tally.used > 0 && report.tally.filtered > 0);
        let wanted = format!("1 of {} listed barcodes have no fragment", half.len() + 1);
        assert_eq!(report.warnings(), [wanted]);
        let counts = of_pack(&SignalPack::open(&out).unwrap());
        counts.into_iter().for_each(|(at, n)| *sum.entry(at).or_default() += n);
    }
    same("two pseudobulks", &sum, &all);
}
