//! What was seen while reading: every record is accounted for.

use serde_json::{Value, json};

use super::Format;
use crate::error::Problem;

/// How often something happened, and the first time it did.
#[derive(Clone, Debug, Default)]
pub struct Noted {
    pub count: u64,
    pub example: String,
}

impl Noted {
    pub fn note(&mut self, example: impl FnOnce() -> String) {
        if self.count == 0 {
            self.example = example();
        }
        self.count += 1;
    }
}

/// Counts over all files. `records` = `used` + `unmapped` + `filtered` + `unknown_contig` + `bad`.
#[derive(Clone, Debug)]
pub struct Tally {
    pub format: Format,
    /// Alignments, fragments or lines, comments apart.
    pub records: u64,
    /// Records whose read ends were passed on.
    pub used: u64,
    pub unmapped: u64,
    pub filtered: u64,
    /// Malformed records that were skipped.
    pub bad: Noted,
    pub unknown_contig: Noted,
    /// Used records that reach past the end of their contig.
    pub past_end: Noted,
    /// Contigs of a BAM header with another length in the genome, on which no read lies.
    pub other_length: Noted,
    /// Barcodes of the list that no fragment had.
    pub unseen_barcodes: usize,
    pub(super) seen_barcodes: Vec<bool>,
    /// xxh3 of each file as it was read; `None` where bytes after the end of its text were not.
    pub contents: Vec<Option<u64>>,
}

impl Tally {
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            records: 0,
            used: 0,
            unmapped: 0,
            filtered: 0,
            bad: Noted::default(),
            unknown_contig: Noted::default(),
            past_end: Noted::default(),
            other_length: Noted::default(),
            unseen_barcodes: 0,
            seen_barcodes: Vec::new(),
            contents: Vec::new(),
        }
    }

    /// What surprises: a line each, with a count and an example.
    pub fn warnings(&self) -> Vec<String> {
        let (records, noun) = (self.records, self.format.record());
        let mut warnings = Vec::new();
        if self.bad.count > 0 {
            warnings.push(format!(
                "skipped {} malformed of {records} {noun}, e.g. {}",
                self.bad.count, self.bad.example
            ));
        }
        if self.unknown_contig.count > 0 {
            warnings.push(format!(
                "{} of {records} {noun} lie on contigs that the genome lacks, e.g. {}",
                self.unknown_contig.count, self.unknown_contig.example
            ));
        }
        if self.past_end.count > 0 {
            warnings.push(format!(
                "{} of {records} {noun} reach past the end of their contig, e.g. {} (reads of another assembly?)",
                self.past_end.count, self.past_end.example
            ));
        }
        if self.other_length.count > 0 {
            warnings.push(format!(
                "{} contigs without reads are not as long as in the genome, e.g. {}",
                self.other_length.count, self.other_length.example
            ));
        }
        if self.unseen_barcodes > 0 {
            warnings.push(format!(
                "{} of {} listed barcodes have no fragment",
                self.unseen_barcodes,
                self.seen_barcodes.len()
            ));
        }
        warnings
    }

    /// `702,836 alignments, all used` or where the others went.
    pub fn summary(&self) -> String {
        let parts = [
            ("unmapped", self.unmapped),
            ("filtered out", self.filtered),
            ("on unknown contigs", self.unknown_contig.count),
            ("malformed", self.bad.count),
        ];
        let others: String = parts
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(what, count)| format!(", {count} {what}"))
            .collect();
        format!("{} {}, {} used{others}", self.records, self.format.record(), self.used)
    }

    /// For machines.
    pub fn to_json(&self) -> Value {
        json!({"records": self.records, "used": self.used, "unmapped": self.unmapped,
               "filtered": self.filtered, "unknown_contig": self.unknown_contig.count,
               "malformed": self.bad.count, "past_end": self.past_end.count})
    }

    /// With `strict`, what is otherwise a warning about contigs is an error.
    pub(super) fn check_strict(&self) -> Result<(), Problem> {
        for (noted, what, fix) in [
            (
                &self.unknown_contig,
                "lie on contigs that the genome lacks",
                "use the genome that the reads were aligned to, or leave --strict out to drop them",
            ),
            (
                &self.past_end,
                "reach past the end of their contig",
                "use the genome that the reads were aligned to, or leave --strict out",
            ),
        ] {
            if noted.count > 0 {
                return Err(Problem::new(format!(
                    "{} of {} {} {what} (--strict)",
                    noted.count,
                    self.records,
                    self.format.record()
                ))
                .at(&noted.example)
                .fix(fix));
            }
        }
        Ok(())
    }
}
