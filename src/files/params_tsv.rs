//! The small tables of a run: what was selected, with which numbers, and what was left out.
//!
//! `*_data_params.tsv`, `*_model_params.tsv` and `filtered.*.bed` are the official tool's, byte for
//! byte (numbers as Python prints them; no newline at the end of the model table). `dropped.tsv` is
//! ours.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};

use super::atomic;
use crate::error::Problem;
use crate::input::regions::Region;
use crate::numpy::float_text::{repr, round2};
use crate::select::{DataParams, Dropped};

/// `*_model_params.tsv`: what the official training step reads back.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelParams {
    /// Rounded to 2 decimals in the table, and trained with as rounded.
    pub counts_loss_weight: f64,
    pub filters: usize,
    pub n_dil_layers: usize,
    /// The scaled bias model; `None` in a bias run's table.
    pub bias_model_path: Option<String>,
    /// bp
    pub inputlen: usize,
    /// bp
    pub outputlen: usize,
    /// bp
    pub max_jitter: u32,
    pub chr_fold_path: String,
    pub negative_sampling_ratio: f64,
}

/// Writes `*_data_params.tsv`; thresholds rounded to 2 decimals.
pub fn write_data_params(path: &Path, params: &DataParams) -> Result<()> {
    let text = format!(
        "counts_sum_min_thresh\t{}\ncounts_sum_max_thresh\t{}\ntrainings_pts_post_thresh\t{}\n",
        repr(round2(params.counts_sum_min_thresh)),
        repr(round2(params.counts_sum_max_thresh)),
        params.trainings_pts_post_thresh
    );
    write_text(path, &text)
}

/// Writes `*_model_params.tsv`.
pub fn write_model_params(path: &Path, params: &ModelParams) -> Result<()> {
    let weight = repr(round2(params.counts_loss_weight));
    let mut rows = vec![
        ("counts_loss_weight", weight),
        ("filters", params.filters.to_string()),
        ("n_dil_layers", params.n_dil_layers.to_string()),
    ];
    rows.extend(params.bias_model_path.clone().map(|p| ("bias_model_path", p)));
    rows.extend([
        ("inputlen", params.inputlen.to_string()),
        ("outputlen", params.outputlen.to_string()),
        ("max_jitter", params.max_jitter.to_string()),
        ("chr_fold_path", params.chr_fold_path.clone()),
        ("negative_sampling_ratio", repr(params.negative_sampling_ratio)),
    ]);
    let lines: Vec<String> = rows.iter().map(|(key, value)| format!("{key}\t{value}")).collect();
    write_text(path, &lines.join("\n"))
}

/// Reads `*_model_params.tsv`, ours or the official tool's.
///
/// Errors: a line that is no key and value, a missing key, a value that is no number.
pub fn read_model_params(path: &Path) -> Result<ModelParams> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse_model_params(&text).map_err(|problem| problem.at(path.display()).into())
}

fn parse_model_params(text: &str) -> Result<ModelParams, Problem> {
    const FIX: &str = "pass the *_model_params.tsv that a training run left in its logs folder";
    let mut rows = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let row = line.split_once('\t').ok_or_else(|| {
            Problem::new(format!("line {number} is {line:?}, expected a key, a tab and a value"))
                .fix(FIX)
        })?;
        rows.push(row);
    }
    let find = |key: &str| rows.iter().find(|(k, _)| *k == key).map(|(_, value)| *value);
    let need = |key: &str| {
        find(key).ok_or_else(|| Problem::new(format!("parameter table has no {key}")).fix(FIX))
    };
    fn number<T: std::str::FromStr>(key: &str, value: &str) -> Result<T, Problem> {
        value
            .parse()
            .map_err(|_| Problem::new(format!("{key} is {value:?}, expected a number")).fix(FIX))
    }
    Ok(ModelParams {
        counts_loss_weight: number("counts_loss_weight", need("counts_loss_weight")?)?,
        filters: number("filters", need("filters")?)?,
        n_dil_layers: number("n_dil_layers", need("n_dil_layers")?)?,
        bias_model_path: find("bias_model_path").map(str::to_string),
        inputlen: number("inputlen", need("inputlen")?)?,
        outputlen: number("outputlen", need("outputlen")?)?,
        max_jitter: number("max_jitter", need("max_jitter")?)?,
        chr_fold_path: need("chr_fold_path")?.to_string(),
        negative_sampling_ratio: number(
            "negative_sampling_ratio",
            need("negative_sampling_ratio")?,
        )?,
    })
}

/// Writes selected rows in 10 columns. `select` has already typed columns 4-9.
pub fn write_filtered_bed(path: &Path, regions: &[Region]) -> Result<()> {
    atomic::write(path, |out| {
        for r in regions {
            let Region { chrom, start, end, summit, extra, .. } = r;
            writeln!(out, "{chrom}\t{start}\t{end}\t{extra}\t{summit}")?;
        }
        Ok(())
    })
}

/// Writes `dropped.tsv`: one line for every region that was left out, with its row (line of its
/// file, from 1) and the reason.
pub fn write_dropped(path: &Path, dropped: &[Dropped]) -> Result<()> {
    atomic::write(path, |out| {
        writeln!(out, "row\tfile\tchrom\tstart\tend\tsummit\treason")?;
        for d in dropped {
            let Dropped { line, file, chrom, start, end, summit, reason } = d;
            writeln!(out, "{line}\t{file}\t{chrom}\t{start}\t{end}\t{summit}\t{reason}")?;
        }
        Ok(())
    })
}

fn write_text(path: &Path, text: &str) -> Result<()> {
    atomic::write(path, |out| Ok(out.write_all(text.as_bytes())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::DropReason;

    fn written(write: impl FnOnce(&Path) -> Result<()>) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.tsv");
        write(&path).unwrap();
        std::fs::read_to_string(path).unwrap()
    }

    fn params() -> ModelParams {
        ModelParams {
            counts_loss_weight: 19.3305,
            filters: 512,
            n_dil_layers: 8,
            bias_model_path: Some("out/models/bias_model_scaled.h5".into()),
            inputlen: 2114,
            outputlen: 1000,
            max_jitter: 500,
            chr_fold_path: "fold_0.json".into(),
            negative_sampling_ratio: 0.1,
        }
    }

    #[test]
    fn model_params_end_without_a_newline_and_read_back() {
        let text = written(|path| write_model_params(path, &params()));
        assert_eq!(
            text,
            "counts_loss_weight\t19.33\nfilters\t512\nn_dil_layers\t8\n\
             bias_model_path\tout/models/bias_model_scaled.h5\ninputlen\t2114\noutputlen\t1000\n\
             max_jitter\t500\nchr_fold_path\tfold_0.json\nnegative_sampling_ratio\t0.1"
        );
        let rounded = ModelParams { counts_loss_weight: 19.33, ..params() };
        assert_eq!(parse_model_params(&text).unwrap(), rounded);

        let bias = ModelParams { bias_model_path: None, negative_sampling_ratio: 1.0, ..rounded };
        let text = written(|path| write_model_params(path, &bias));
        assert!(text.ends_with("negative_sampling_ratio\t1.0") && !text.contains("bias_model"));
        assert_eq!(parse_model_params(&text).unwrap(), bias);
    }

    #[test]
    fn bad_model_params_are_named() {
        let good = written(|path| write_model_params(path, &params()));
        for (text, wanted) in [
            (good.replace("filters\t512\n", ""), "no filters"),
            (good.replace("512", "many"), "filters is \"many\", expected a number"),
            (good.replace("inputlen\t", "inputlen "), "line 5 is \"inputlen 2114\""),
            (String::new(), "no counts_loss_weight"),
        ] {
            let message = parse_model_params(&text).unwrap_err().to_string();
            assert!(message.contains(wanted) && message.contains("fix:"), "{message}");
        }
        let missing = read_model_params(Path::new("no/such/table.tsv")).unwrap_err();
        assert!(format!("{missing:#}").contains("no/such/table.tsv"));
    }

    #[test]
    fn data_params_round_to_two_decimals() {
        let params = DataParams {
            counts_sum_min_thresh: 0.0103,
            counts_sum_max_thresh: 226.9895,
            trainings_pts_post_thresh: 34,
        };
        assert_eq!(
            written(|path| write_data_params(path, &params)),
            "counts_sum_min_thresh\t0.01\ncounts_sum_max_thresh\t226.99\n\
             trainings_pts_post_thresh\t34\n"
        );
    }

    #[test]
    fn dropped_rows_have_a_header_and_a_reason() {
        let region = Region {
            chrom: "chr1".into(),
            start: 5,
            end: 9,
            summit: 2,
            extra: Default::default(),
            line: 7,
        };
        let dropped = Dropped::new(&"peaks".into(), &region, DropReason::Edge { width: 3114 });
        assert_eq!(
            written(|path| write_dropped(path, &[dropped])),
            "row\tfile\tchrom\tstart\tend\tsummit\treason\n\
             7\tpeaks\tchr1\t5\t9\t2\t3114 bp window leaves the contig\n"
        );
        let bed = written(|path| write_filtered_bed(path, std::slice::from_ref(&region)));
        assert_eq!(bed, "chr1\t5\t9\t\t\t\t\t\t\t2\n");
    }
}
