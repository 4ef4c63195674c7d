//! Writes the experiment as the files a user would have, and the truth beside them.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use super::biology::{self, Effect, MOTIFS, REACH};
use super::experiment::{DemoRegion, Experiment};
use crate::files::{atomic, bigwig};

/// Bases of a FASTA line.
const LINE: usize = 60;

/// Fills `folder` (made if missing): genome.fa, chrom.sizes, signal.bw, peaks.narrowPeak,
/// nonpeaks.bed, folds.json, truth/.
pub fn write(experiment: &Experiment, folder: &Path) -> Result<()> {
    let truth = folder.join("truth");
    fs::create_dir_all(&truth).with_context(|| format!("cannot make {}", truth.display()))?;
    atomic::write(&folder.join("genome.fa"), |out| {
        for contig in &experiment.contigs {
            writeln!(out, ">{} simulated by cbp-fast demo", contig.name)?;
            for line in contig.letters().chunks(LINE) {
                out.write_all(line)?;
                out.write_all(b"\n")?;
            }
        }
        Ok(())
    })?;
    let sizes: Vec<(String, u64)> =
        experiment.contigs.iter().map(|c| (c.name.clone(), c.codes.len() as u64)).collect();
    bigwig::write(&folder.join("signal.bw"), &sizes, &experiment.cuts)?;

    let sizes = sizes.iter().map(|(name, length)| format!("{name}\t{length}\n")).collect();
    text(&folder.join("chrom.sizes"), sizes)?;
    text(&folder.join("peaks.narrowPeak"), regions(experiment, &experiment.peaks, true))?;
    text(&folder.join("nonpeaks.bed"), regions(experiment, &experiment.nonpeaks, false))?;
    let folds = &experiment.folds;
    let folds = json!({"train": folds.train, "valid": folds.valid, "test": folds.test});
    text(&folder.join("folds.json"), format!("{folds}\n"))?;

    text(&truth.join("enzyme.tsv"), enzyme_table())?;
    text(&truth.join("motifs.tsv"), motif_table())?;
    text(&truth.join("sites.bed"), sites(experiment))
}

fn text(path: &Path, content: String) -> Result<()> {
    atomic::write(path, |out| Ok(out.write_all(content.as_bytes())?))
}

/// 10 columns; the last is the summit's distance from the start.
fn regions(experiment: &Experiment, regions: &[DemoRegion], named: bool) -> String {
    let mut text = String::new();
    for (number, r) in regions.iter().enumerate() {
        let name = if named { format!("peak_{}", number + 1) } else { ".".into() };
        let signal = if named { format!("{:.3}", r.height) } else { ".".into() };
        let _ = writeln!(
            text,
            "{}\t{}\t{}\t{name}\t.\t.\t{signal}\t.\t.\t{}",
            experiment.contigs[r.contig].name,
            r.start,
            r.end,
            r.summit - r.start
        );
    }
    text
}

/// Log preference of every base at every distance from the cut.
fn enzyme_table() -> String {
    let mut text = String::from("offset\tA\tC\tG\tT\n");
    let reach = REACH as isize;
    for offset in -reach..=reach {
        let _ = write!(text, "{offset}");
        for code in 0..4 {
            let _ = write!(text, "\t{:.2}", biology::preference(offset, code));
        }
        text.push('\n');
    }
    text
}

fn motif_table() -> String {
    let mut text = String::from("motif\tpattern\teffect\tvalue\n");
    for motif in &MOTIFS {
        let (effect, value) = match motif.effect {
            Effect::Opens { height } => ("opens, cuts per base at the top", height),
            Effect::Protects => ("protects, share of added cuts left", biology::PROTECTED),
        };
        let _ = writeln!(text, "{}\t{}\t{effect}\t{value}", motif.name, motif.pattern);
    }
    text
}

/// Every binding site, BED6.
fn sites(experiment: &Experiment) -> String {
    let mut text = String::new();
    for contig in &experiment.contigs {
        for motif in &MOTIFS {
            for site in motif.matches(&contig.codes) {
                let _ = writeln!(
                    text,
                    "{}\t{}\t{}\t{}\t0\t{}",
                    contig.name,
                    site.start,
                    site.start + motif.len(),
                    motif.name,
                    if site.revcomp { '-' } else { '+' }
                );
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{fasta, folds, regions as input_regions};

    #[test]
    fn what_is_written_reads_back_with_our_own_readers() {
        let folder = tempfile::tempdir().unwrap();
        let demo = Experiment::simulate(6, 60_000..=70_000);
        write(&demo, folder.path()).unwrap();
        let at = |name: &str| folder.path().join(name);

        let contigs = fasta::read_all(&at("genome.fa")).unwrap();
        assert_eq!(contigs.len(), demo.contigs.len());
        for ((name, letters), contig) in contigs.iter().zip(&demo.contigs) {
            assert_eq!(name, &contig.name);
            assert_eq!(letters, &contig.letters());
            assert!(letters.contains(&b'a') && letters.contains(&b'N'));
        }
        for (file, wanted) in [("peaks.narrowPeak", &demo.peaks), ("nonpeaks.bed", &demo.nonpeaks)]
        {
            let found = input_regions::read(&at(file)).unwrap();
            assert_eq!(found.len(), wanted.len());
            for (f, w) in found.iter().zip(wanted) {
                assert_eq!(f.chrom, demo.contigs[w.contig].name);
                assert_eq!(
                    (f.start, f.end, f.center()),
                    (w.start as u64, w.end as u64, w.summit as u64)
                );
            }
        }
        let folds = folds::read(&at("folds.json")).unwrap();
        assert_eq!((folds.train, folds.test), (demo.folds.train.clone(), demo.folds.test.clone()));
        let enzyme = fs::read_to_string(at("truth/enzyme.tsv")).unwrap();
        assert!(enzyme.contains("\n-1\t-0.20\t0.30\t0.10\t-0.20\n"), "{enzyme}");
        let sites = fs::read_to_string(at("truth/sites.bed")).unwrap();
        assert!(sites.lines().count() > demo.peaks.len());
    }
}
