//! Where the three readers hand in what they found: counted, checked against the contig, passed on.

use std::path::Path;

use anyhow::Result;

use super::contigs::Contigs;
use super::{Format, Options, ReadEnd, Strand, Tally};
use crate::error::Problem;
use crate::input::sniff::{self, Kind};

/// Records between two reports of progress.
const REPORT_EVERY: u64 = 1 << 16;
/// Bytes of a row that are looked at to tell a format: the columns that matter come first.
const LONGEST_LOOK: usize = 4096;

/// The records of one file.
pub(super) struct Records<'a> {
    pub path: &'a Path,
    pub contigs: &'a Contigs,
    pub options: &'a Options,
    pub tally: &'a mut Tally,
    report: &'a mut dyn FnMut(),
    each: &'a mut dyn FnMut(ReadEnd) -> Result<()>,
    /// The tally as this file found it.
    before: Tally,
    /// A name that was not among the genome's, of this file.
    pub unknown_name: Option<String>,
    /// A barcode that was not in the list, of this file.
    pub unlisted: Option<String>,
    /// The first rows of a text file, which tell what it is.
    first: Vec<Vec<u8>>,
}

impl<'a> Records<'a> {
    pub fn new(
        path: &'a Path,
        contigs: &'a Contigs,
        options: &'a Options,
        tally: &'a mut Tally,
        report: &'a mut dyn FnMut(),
        each: &'a mut dyn FnMut(ReadEnd) -> Result<()>,
    ) -> Self {
        let before = tally.clone();
        Self {
            path,
            contigs,
            options,
            tally,
            report,
            each,
            before,
            unknown_name: None,
            unlisted: None,
            first: Vec::new(),
        }
    }

    /// Begins a record, whatever becomes of it.
    pub fn begin(&mut self) {
        self.tally.records += 1;
        if self.tally.records.is_multiple_of(REPORT_EVERY) {
            (self.report)();
        }
    }

    /// Keeps the first rows of a text file; when there are enough, they must be of its format.
    pub fn look(&mut self, row: &[u8]) -> Result<(), Problem> {
        if self.first.len() == sniff::ROWS {
            return Ok(());
        }
        self.first.push(row[..row.len().min(LONGEST_LOOK)].to_vec());
        if self.first.len() < sniff::ROWS { Ok(()) } else { self.judge() }
    }

    /// Refuses the file when its first rows are of another format: they would parse, and count
    /// what they do not mean.
    pub fn judge(&self) -> Result<(), Problem> {
        let rows: Vec<&[u8]> = self.first.iter().map(Vec::as_slice).collect();
        match sniff::of_rows(&rows) {
            Some(kind) if !self.tally.format.takes(kind) => {
                Err(self.recognised(kind).at(self.path.display()))
            }
            _ => Ok(()),
        }
    }

    /// The problem of a file that is `kind`.
    pub fn recognised(&self, kind: Kind) -> Problem {
        self.tally.format.recognised(kind)
    }

    /// A read on `[start, end)` of a known contig.
    pub fn read(
        &mut self,
        contig: u32,
        start: i64,
        end: i64,
        strand: Strand,
        place: impl FnOnce() -> String,
    ) -> Result<()> {
        self.used(contig, start, end, place);
        let position = match strand {
            Strand::Plus => start,
            Strand::Minus => end - 1,
        };
        (self.each)(ReadEnd { contig, position, strand })
    }

    /// Both ends of a fragment on `[start, end)` of a known contig.
    pub fn fragment(
        &mut self,
        contig: u32,
        start: i64,
        end: i64,
        place: impl FnOnce() -> String,
    ) -> Result<()> {
        self.used(contig, start, end, place);
        (self.each)(ReadEnd { contig, position: start, strand: Strand::Plus })?;
        (self.each)(ReadEnd { contig, position: end - 1, strand: Strand::Minus })
    }

    fn used(&mut self, contig: u32, start: i64, end: i64, place: impl FnOnce() -> String) {
        self.tally.used += 1;
        let length = self.contigs.length(contig);
        if end > length {
            let name = self.contigs.name(contig);
            self.tally
                .past_end
                .note(|| format!("{}: {name}:{start}-{end}, the contig has {length} bp", place()));
        }
    }

    pub fn unmapped(&mut self) {
        self.tally.unmapped += 1;
    }

    pub fn filtered(&mut self) {
        self.tally.filtered += 1;
    }

    pub fn unknown_contig(&mut self, name: &[u8], place: impl FnOnce() -> String) {
        if self.unknown_name.is_none() {
            self.unknown_name = Some(shown(name));
        }
        self.tally.unknown_contig.note(|| format!("{} ({})", shown(name), place()));
    }

    /// A malformed record: skipped while the allowance lasts.
    pub fn bad(&mut self, problem: Problem) -> Result<()> {
        if self.tally.bad.count < self.options.skip_bad_records {
            self.tally.bad.note(|| problem.to_string().lines().collect::<Vec<_>>().join(";"));
            return Ok(());
        }
        let skipped = match self.tally.bad.count {
            0 => String::new(),
            n => format!(" ({n} malformed records were skipped before it)"),
        };
        Err(problem
            .fix(format!(
                "mend the file, or let up to N such records pass with --skip-bad-records N{skipped}"
            ))
            .into())
    }

    /// The file is at its end: it must have given something.
    pub fn finish(self) -> Result<()> {
        self.judge()?;
        let (now, before) = (&*self.tally, &self.before);
        if now.used > before.used {
            return match self.options.strict {
                true => Ok(now.check_strict()?),
                false => Ok(()),
            };
        }
        let noun = now.format.record();
        let records = now.records - before.records;
        let unknown = now.unknown_contig.count - before.unknown_contig.count;
        let problem = if records == 0 {
            Problem::new(format!("{} holds no {noun}", now.format.name()))
                .fix("check how the file was made; an aligner that failed leaves such files")
        } else if let Some(name) = self.unknown_name.filter(|_| unknown > 0) {
            Problem::new(format!(
                "none of the {records} {noun} lie on a contig of the genome (genome: {}; here: {name})",
                self.contigs.some_names()
            ))
            .fix("name contigs alike in every file, e.g. chr1 everywhere or 1 everywhere")
        } else if let Some((barcode, list)) =
            self.unlisted.as_ref().zip(self.options.filters.barcodes.as_ref())
        {
            Problem::new(format!(
                "no fragment has a barcode of the list (list: {}; here: {barcode})",
                list.example()
            ))
            .fix(format!(
                "write the barcodes of {} as the fragment file has them",
                list.path().display()
            ))
        } else {
            Problem::new(format!(
                "none of the {records} {noun} can be used: {} unmapped, {} filtered out, {} malformed",
                now.unmapped - before.unmapped,
                now.filtered - before.filtered,
                now.bad.count - before.bad.count
            ))
            .fix(match now.format {
                Format::Bam => "align the reads first, or loosen --min-mapq, --skip-duplicates and --proper-pairs",
                _ => "check how the file was made",
            })
        };
        Err(problem.at(self.path.display()).into())
    }
}

/// Bytes of a file as a message shows them: printable, and not too many.
pub(super) fn shown(bytes: &[u8]) -> String {
    const LONGEST: usize = 120;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST)]);
    let mut clean = String::new();
    for c in text.chars() {
        match c {
            '\t' => clean.push_str("\\t"),
            c if c.is_control() => clean.push('?'),
            c => clean.push(c),
        }
    }
    if bytes.len() > LONGEST { format!("{clean}...") } else { clean }
}
