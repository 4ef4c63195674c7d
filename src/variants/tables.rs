//! The text of the tables: columns in the order and with the names of variant-scorer.

use std::fmt::Write as _;

use super::background::Background;
use super::scores::{AGAINST_PEAKS, AVERAGED, Metric, PREDICTED, Scores};
use crate::input::peak_list::Peak;
use crate::input::variants::{Column, Schema, Variant};

/// Which columns a run has.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    pub schema: Schema,
    /// In front of every chromosome name.
    pub prefix: &'static str,
    pub with_peaks: bool,
    pub with_p_values: bool,
}

impl Layout {
    fn listed(&self) -> String {
        let names: Vec<&str> = self.schema.written().map(Column::name).collect();
        names.join("\t")
    }

    fn metrics(&self) -> impl Iterator<Item = Metric> {
        let peaks: &[Metric] = if self.with_peaks { &AGAINST_PEAKS } else { &[] };
        PREDICTED.iter().chain(peaks).copied()
    }

    /// The groups of a score table: metrics, their p-values; metrics against peaks, theirs.
    fn groups(&self) -> impl Iterator<Item = &'static [Metric]> {
        let peaks: Option<&'static [Metric]> = self.with_peaks.then_some(&AGAINST_PEAKS);
        [&PREDICTED as &'static [Metric]].into_iter().chain(peaks)
    }

    pub fn scores_header(&self) -> String {
        let mut header = self.listed();
        for group in self.groups() {
            header.extend(group.iter().map(|m| format!("\t{}", m.name())));
            if self.with_p_values {
                let tested = group.iter().filter(|m| m.tail().is_some());
                header.extend(tested.map(|m| format!("\t{}.pval", m.name())));
            }
        }
        header
    }

    /// The row of a variant.
    pub fn scores_row(
        &self,
        variant: &Variant,
        scores: &Scores,
        background: Option<&Background>,
    ) -> String {
        let mut row = self.variant(variant);
        for group in self.groups() {
            group.iter().for_each(|m| number(&mut row, f64::from(scores.get(*m))));
            if let Some(background) = background {
                let p_values = group.iter().filter_map(|m| background.p_value(*m, scores.get(*m)));
                p_values.for_each(|p| number(&mut row, p));
            }
        }
        row
    }

    /// `random_seed` is the index of the shuffle.
    pub fn shuffled_header(&self) -> String {
        let mut header = self.listed() + "\trandom_seed";
        header.extend(self.metrics().map(|m| format!("\t{}", m.name())));
        header
    }

    pub fn shuffled_row(&self, variant: &Variant, index: u32, scores: &Scores) -> String {
        let mut row = self.variant(variant);
        let _ = write!(row, "\t{index}");
        self.metrics().for_each(|m| number(&mut row, f64::from(scores.get(m))));
        row
    }

    fn averaged(&self) -> impl Iterator<Item = Metric> {
        let with_peaks = self.with_peaks;
        AVERAGED.into_iter().filter(move |m| with_peaks || !m.needs_peaks())
    }

    pub fn mean_header(&self) -> String {
        let mut header = self.listed();
        for metric in self.averaged() {
            let _ = write!(header, "\t{}.mean", metric.name());
            if self.with_p_values {
                let _ = write!(header, "\t{}.mean.pval", metric.name());
            }
        }
        header
    }

    /// Means over models, geometric ones of p-values.
    pub fn mean_row(
        &self,
        variant: &Variant,
        scores: &[Scores],
        backgrounds: Option<&[Background]>,
    ) -> String {
        let mut row = self.variant(variant);
        let models = scores.len() as f64;
        for metric in self.averaged() {
            let sum: f64 = scores.iter().map(|s| f64::from(s.get(metric))).sum();
            number(&mut row, sum / models);
            if let Some(backgrounds) = backgrounds {
                let logs = backgrounds.iter().zip(scores).filter_map(|(background, scores)| {
                    background.p_value(metric, scores.get(metric)).map(f64::ln)
                });
                number(&mut row, (logs.sum::<f64>() / models).exp());
            }
        }
        row
    }

    /// The columns of the list, as it has them.
    fn variant(&self, variant: &Variant) -> String {
        let [allele1, allele2] = &variant.alleles;
        let mut row = String::with_capacity(256);
        for (i, column) in self.schema.written().enumerate() {
            if i > 0 {
                row.push('\t');
            }
            let _ = match column {
                Column::Chrom => write!(row, "{}{}", self.prefix, variant.chrom),
                Column::Pos => write!(row, "{}", variant.pos + self.schema.first_position()),
                Column::End => write!(row, "{}", variant.end),
                Column::Allele1 => write!(row, "{allele1}"),
                Column::Allele2 => write!(row, "{allele2}"),
                Column::Id => write!(row, "{}", variant.id),
                Column::Ignored => Ok(()),
            };
        }
        row
    }

    pub fn skipped_header(&self) -> String {
        format!("row\t{}\treason", self.listed())
    }

    pub fn skipped_row(&self, variant: &Variant, reason: &str) -> String {
        format!("{}\t{}\t{reason}", variant.row, self.variant(variant))
    }
}

pub const PEAKS_HEADER: &str = "chr\tstart\tend\tpeak_id\tpeak_score\t5\t6\t7\trank\tsummit";

pub fn peak_row(peak: &Peak, counts: f32) -> String {
    let Peak { chrom, start, end, rest, summit } = peak;
    let mut row = format!("{chrom}\t{start}\t{end}\t{chrom}:{start}-{end}");
    number(&mut row, f64::from(counts));
    let _ = write!(row, "\t{}\t{summit}", rest.join("\t"));
    row
}

/// A cell: the shortest text that reads back as the same f32, which is all the digits there are.
fn number(row: &mut String, value: f64) {
    let value = value as f32;
    let _ = match value != 0.0 && !(1e-4..1e16).contains(&value.abs()) {
        true => write!(row, "\t{value:e}"),
        false => write!(row, "\t{value}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back() {
        let text = |value: f64| {
            let mut row = String::new();
            number(&mut row, value);
            row
        };
        assert_eq!(text(0.0), "\t0");
        assert_eq!(text(-0.1), "\t-0.1");
        assert_eq!(text(1.25e-7), "\t1.25e-7");
        assert_eq!(text(1.0 / 3.0), "\t0.33333334");
        assert_eq!(text(f64::NAN), "\tNaN");
    }

    /// The columns of a run of variant-scorer with peaks and shuffles.
    #[test]
    fn columns_are_those_of_variant_scorer() {
        let layout = |with_peaks, with_p_values| Layout {
            schema: Schema::Plink,
            prefix: "chr",
            with_peaks,
            with_p_values,
        };
        let header = layout(true, true).scores_header();
        let columns: Vec<&str> = header.split('\t').collect();
        assert_eq!(columns.len(), 5 + 8 + 5 + 10 + 8);
        assert_eq!(columns[..5], ["chr", "variant_id", "pos", "allele1", "allele2"]);
        assert_eq!(columns[13..15], ["logfc.pval", "abs_logfc.pval"]);
        assert_eq!(columns[18], "allele1_quantile");
        assert_eq!(columns[28], "active_allele_quantile.pval");
        assert_eq!(columns[35], "abs_logfc_x_jsd_x_active_allele_quantile.pval");
        assert_eq!(layout(false, false).scores_header().split('\t').count(), 13);
        assert_eq!(layout(true, true).mean_header().split('\t').count(), 5 + 26);
        assert_eq!(layout(false, true).shuffled_header().split('\t').nth(5), Some("random_seed"));
    }
}
