//! Region selection against the official hyper-parameter scripts, byte for byte, and the official
//! validation and test generators against our order, windows and draw.
//!
//! All inputs and settings come from the goldens folder: lengths, jitter and ratio from the
//! parameter tables, the unseeded draw from its record. Not recorded anywhere: the outlier
//! threshold, which is the official default, and the bias threshold factor (see `bias_factor`).

use std::fs;
use std::path::{Path, PathBuf};

use cbp_fast::batch::Example;
use cbp_fast::batch::sampler::{Site, fixed_plan};
use cbp_fast::engine::{self, Device, Predictions};
use cbp_fast::files::keras_h5;
use cbp_fast::files::params_tsv::{self, ModelParams};
use cbp_fast::input::folds::{self, Folds, Split};
use cbp_fast::input::regions::{self, Region};
use cbp_fast::model::Branches;
use cbp_fast::numpy::random::RandomState;
use cbp_fast::select::{
    self, BiasOptions, BiasSelection, ChrombpnetOptions, DropReason, SelectedRegions,
};
use cbp_fast::store::Tracks;
use serde_json::Value;

use super::golden;
use crate::shared;

/// The official default of `--outlier-threshold`, which the goldens were made with.
const OUTLIER_THRESHOLD: f64 = 0.9999;

struct Inputs {
    expected: PathBuf,
    peaks: Vec<Region>,
    nonpeaks: Vec<Region>,
    folds: Folds,
    tracks: Tracks,
    draws: Value,
}

fn inputs() -> Option<Inputs> {
    let goldens = shared::goldens()?;
    let expected = goldens.join("data/expected");
    Some(Inputs {
        peaks: regions::read(&goldens.join("data/inputs/peaks.bed")).unwrap(),
        nonpeaks: regions::read(&expected.join("nonpeaks_default_negatives.bed")).unwrap(),
        folds: folds::read(&expected.join("fold_0.json")).unwrap(),
        tracks: golden::tracks(&goldens),
        draws: golden::json(&expected.join("hyper_chrombpnet_draws.json")),
        expected,
    })
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

/// Writes one table and compares it with the official file of the same name.
fn same_bytes(official: &Path, write: impl FnOnce(&Path) -> anyhow::Result<()>) {
    let folder = tempfile::tempdir().unwrap();
    let ours = folder.path().join("table");
    write(&ours).unwrap();
    let (ours, theirs) =
        (fs::read_to_string(&ours).unwrap(), fs::read_to_string(official).unwrap());
    assert_eq!(ours, theirs, "{}", official.display());
}

/// All four files of a selection.
fn same_files(folder: &Path, stem: &str, bed: &str, regions: &SelectedRegions, model: ModelParams) {
    same_bytes(&folder.join(format!("{stem}_data_params.tsv")), |path| {
        params_tsv::write_data_params(path, &regions.data_params())
    });
    same_bytes(&folder.join(format!("{stem}_model_params.tsv")), |path| {
        let counts_loss_weight = regions.counts_loss_weight;
        params_tsv::write_model_params(path, &ModelParams { counts_loss_weight, ..model })
    });
    same_bytes(&folder.join(format!("filtered.{bed}peaks.bed")), |path| {
        params_tsv::write_filtered_bed(path, regions.all_peaks())
    });
    same_bytes(&folder.join(format!("filtered.{bed}nonpeaks.bed")), |path| {
        params_tsv::write_filtered_bed(path, regions.all_nonpeaks())
    });
}

/// Every input row is in the selection or has a reason for not being there.
fn nothing_is_lost(inputs: &Inputs, regions: &SelectedRegions) {
    for (file, given, kept) in [
        ("peaks", &inputs.peaks, &regions.peaks),
        ("nonpeaks", &inputs.nonpeaks, &regions.nonpeaks),
    ] {
        let dropped = regions.dropped.iter().filter(|d| &*d.file == file).map(|d| d.line);
        let mut lines: Vec<usize> = kept.iter().map(|r| r.line).chain(dropped).collect();
        lines.sort_unstable();
        let wanted: Vec<usize> = given.iter().map(|r| r.line).collect();
        assert_eq!(lines, wanted, "{file}");
    }
}

fn select_bias(inputs: &Inputs, model: &ModelParams, factor: f64) -> anyhow::Result<BiasSelection> {
    let options = BiasOptions {
        inputlen: model.inputlen,
        outputlen: model.outputlen,
        outlier_threshold: OUTLIER_THRESHOLD,
        bias_threshold_factor: factor,
    };
    select::select_bias(&inputs.peaks, &inputs.nonpeaks, &inputs.folds, &inputs.tracks, &options)
}

/// `CBP_GOLDENS_BIAS_THRESHOLD`, or the default of the goldens' generator.
fn recorded_factor() -> f64 {
    match std::env::var("CBP_GOLDENS_BIAS_THRESHOLD") {
        Ok(text) => text.parse().expect("CBP_GOLDENS_BIAS_THRESHOLD is a number"),
        Err(_) => 0.35,
    }
}

/// The factor that the goldens were made with: the recorded one, or, where that one gives another
/// table, any factor that gives the official table. A threshold matters only through the nonpeaks
/// below it, so one candidate between each two neighbouring counts covers them all; the four files
/// then decide.
fn bias_factor(inputs: &Inputs, model: &ModelParams) -> f64 {
    let per_factor = select_bias(inputs, model, 1e6).unwrap().counts_threshold / 1e6;
    let mut counts = numbers(&inputs.draws["sampled"]["nonpeak_counts_pool"]);
    counts.sort_by(f64::total_cmp);
    let between = counts.windows(2).filter(|w| w[0] < w[1]).map(|w| (w[0] + w[1]) / 2.0);
    let official =
        fs::read_to_string(inputs.expected.join("hyper_bias/bias_data_params.tsv")).unwrap();
    std::iter::once(recorded_factor())
        .chain(between.map(|threshold| threshold / per_factor))
        .find(|&factor| {
            select_bias(inputs, model, factor).is_ok_and(|selection| {
                let file = tempfile::NamedTempFile::new().unwrap();
                params_tsv::write_data_params(file.path(), &selection.regions.data_params())
                    .unwrap();
                fs::read_to_string(file.path()).unwrap() == official
            })
        })
        .unwrap_or_else(|| panic!("no factor gives the official table\n{official}"))
}

#[test]
fn bias_regions_and_tables() {
    let Some(inputs) = inputs() else { return };
    let folder = inputs.expected.join("hyper_bias");
    let model = params_tsv::read_model_params(&folder.join("bias_model_params.tsv")).unwrap();
    if model.counts_loss_weight.is_nan() {
        // Official thresholds that leave nothing: there a weight of NaN, here an error.
        let error = select_bias(&inputs, &model, recorded_factor()).unwrap_err().to_string();
        assert!(error.contains("strictly between the outlier thresholds"), "{error}");
        return;
    }
    let selection = select_bias(&inputs, &model, bias_factor(&inputs, &model)).unwrap();
    same_files(&folder, "bias", "bias_", &selection.regions, model);
    nothing_is_lost(&inputs, &selection.regions);
}

/// Selects with the recorded draw, and compares all files.
fn chrombpnet_case(inputs: &Inputs, case: &str) -> select::ChrombpnetSelection {
    let folder = inputs.expected.join(format!("hyper_chrombpnet_{case}"));
    let model = params_tsv::read_model_params(&folder.join("chrombpnet_model_params.tsv")).unwrap();
    let record = &inputs.draws[case];
    let options = ChrombpnetOptions {
        inputlen: model.inputlen,
        outputlen: model.outputlen,
        outlier_threshold: OUTLIER_THRESHOLD,
        max_jitter: model.max_jitter as usize,
        negative_sampling_ratio: record["negative_sampling_ratio"].as_f64().unwrap(),
        seed: 0,
    };
    assert_eq!(record["max_jitter"].as_u64().unwrap(), u64::from(model.max_jitter));
    let selection = select::select_chrombpnet_with_draw(
        &inputs.peaks,
        &inputs.nonpeaks,
        &inputs.folds,
        &inputs.tracks,
        &options,
        |counts, size| {
            assert_eq!(counts, numbers(&record["nonpeak_counts_pool"]), "{case}: pool");
            let drawn = numbers(&record["nonpeak_counts_drawn"]);
            assert_eq!(size, drawn.len(), "{case}: size of the draw");
            drawn
        },
    )
    .unwrap();
    let negative_sampling_ratio = options.negative_sampling_ratio;
    let model = ModelParams { negative_sampling_ratio, ..model };
    same_files(&folder, "chrombpnet", "", &selection.regions, model);
    nothing_is_lost(inputs, &selection.regions);

    let cut = selection.regions.dropped.iter().filter(|d| d.reason == DropReason::NotDrawn);
    assert_eq!(
        selection.scaling_nonpeaks.len(),
        selection.regions.test_nonpeaks_from + cut.count(),
        "{case}: the bias model is scaled on what is there before the down-sampling"
    );
    assert_eq!(selection.scaling_nonpeaks.len(), selection.scaling_counts.len());
    selection
}

#[test]
fn chrombpnet_regions_and_tables_given_the_draw() {
    let Some(inputs) = inputs() else { return };
    chrombpnet_case(&inputs, "sampled");
    chrombpnet_case(&inputs, "nojitter");
}

#[test]
fn chrombpnet_regions_and_tables_whatever_the_draw() {
    let Some(inputs) = inputs() else { return };
    let recorded = chrombpnet_case(&inputs, "all_negatives");
    let folder = inputs.expected.join("hyper_chrombpnet_all_negatives");
    let model = params_tsv::read_model_params(&folder.join("chrombpnet_model_params.tsv")).unwrap();
    for seed in [0, 1234] {
        let options = ChrombpnetOptions {
            inputlen: model.inputlen,
            outputlen: model.outputlen,
            outlier_threshold: OUTLIER_THRESHOLD,
            max_jitter: model.max_jitter as usize,
            negative_sampling_ratio: model.negative_sampling_ratio,
            seed,
        };
        let ours = select::select_chrombpnet(
            &inputs.peaks,
            &inputs.nonpeaks,
            &inputs.folds,
            &inputs.tracks,
            &options,
        )
        .unwrap();
        assert_eq!(ours.regions.data_params(), recorded.regions.data_params());
        assert_eq!(ours.regions.all_nonpeaks(), recorded.regions.all_nonpeaks());
        assert_eq!(ours.regions.counts_loss_weight, recorded.regions.counts_loss_weight);
    }
}

/// Needs the whole way: official model file, our forward pass, the official mean.
#[test]
fn scaled_bias_model() {
    let Some(inputs) = inputs() else { return };
    let model = inputs.expected.join("../../models/bias_trained.h5");
    let Branches { main: bias, bias: none } = keras_h5::read(&model).unwrap().into_branches();
    assert!(none.is_none(), "bias_trained.h5 is a single-branch model");
    let dense = bias.parameters.get("logcount_predictions/bias").unwrap().data[0];
    for case in ["all_negatives", "sampled", "nojitter"] {
        let selection = chrombpnet_case(&inputs, case);
        let sites: Vec<Site> = selection
            .scaling_nonpeaks
            .iter()
            .map(|region| Site {
                contig: inputs.tracks.genome.contig_id(&region.chrom).unwrap(),
                center: region.center() as u32,
                row: 0,
            })
            .collect();
        let mut engine = engine::open_predict(&Device::Cpu, bias.clone(), &inputs.tracks).unwrap();
        let mut predicted = Predictions::default();
        engine.predict(&fixed_plan(bias.arch.inputlen, &[], &sites), &mut predicted).unwrap();
        let offset = select::bias_logcount_offset(&selection.scaling_counts, &predicted.logcounts);
        let scaled = f64::from(dense + offset as f32);
        let official = inputs.draws[case]["scaled_dense_bias"].as_f64().unwrap();
        assert!((scaled - official).abs() <= 1e-5, "{case}: {scaled}, official {official}");
    }
}

/// Rows of one split, in file order.
fn of_split(regions: &[Region], folds: &Folds, split: Split) -> Vec<Region> {
    regions.iter().filter(|r| folds.split_of(&r.chrom) == Some(split)).cloned().collect()
}

#[test]
fn validation_and_test_batches() {
    let Some(inputs) = inputs() else { return };
    let filtered = inputs.expected.join("hyper_chrombpnet_sampled");
    let peaks = regions::read(&filtered.join("filtered.peaks.bed")).unwrap();
    let nonpeaks = regions::read(&filtered.join("filtered.nonpeaks.bed")).unwrap();
    let coords = golden::json(&inputs.expected.join("generator_coords.json"));
    let batches = golden::Tensors::read(&inputs.expected.join("generator_batches.safetensors"));
    // The seed of the generators is that of the training run beside them.
    let arguments = golden::json(&inputs.expected.join("train_run/bias.args.json"));
    let seed = arguments["seed"].as_u64().unwrap() as u32;
    for split in [Split::Valid, Split::Test] {
        let mode = split.name();
        let rows: Vec<[&str; 4]> = coords[mode]["coords_chrom_center_strand_ispeak"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| std::array::from_fn(|i| row[i].as_str().unwrap()))
            .collect();
        let split_peaks = of_split(&peaks, &inputs.folds, split);
        let mut split_nonpeaks = of_split(&nonpeaks, &inputs.folds, split);
        if split == Split::Valid {
            let drawn = rows.iter().filter(|row| row[3] == "0").count();
            split_nonpeaks = RandomState::new(seed)
                .choice(split_nonpeaks.len(), drawn)
                .into_iter()
                .map(|i| split_nonpeaks[i].clone())
                .collect();
        }
        let ours =
            split_peaks.iter().map(|r| (r, "1")).chain(split_nonpeaks.iter().map(|r| (r, "0")));
        let ours: Vec<(&Region, &str)> = ours.collect();
        assert_eq!(ours.len(), rows.len(), "{mode}");
        let bases = batches.u8(&format!("{mode}/bases"));
        let counts = batches.f32(&format!("{mode}/counts"));
        let logcounts = batches.f64(&format!("{mode}/logcounts"));
        let (inputlen, outputlen) = (bases.len() / rows.len(), counts.len() / rows.len());
        for (i, ((region, is_peak), row)) in ours.into_iter().zip(&rows).enumerate() {
            let center = region.center().to_string();
            assert_eq!([&region.chrom, &*center, "f", is_peak], *row, "{mode} row {i}");
            let contig = inputs.tracks.genome.contig_id(&region.chrom).unwrap();
            let example = Example {
                contig,
                start: (region.center() - inputlen as u64 / 2) as u32,
                flags: 0,
                row: i as u32,
            };
            let mut codes = vec![0; inputlen];
            inputs.tracks.fill_codes(&example, &mut codes);
            assert_eq!(codes, bases[i * inputlen..][..inputlen], "{mode} row {i}: bases");
            let mut window = vec![0.0; outputlen];
            inputs.tracks.fill_counts(&example, inputlen, &mut window);
            assert_eq!(window, counts[i * outputlen..][..outputlen], "{mode} row {i}: counts");
            let half = outputlen as i64 / 2;
            let center = region.center() as i64;
            let total = inputs.tracks.total_counts(contig, center - half, center + half);
            assert!(((1.0 + total).ln() - logcounts[i]).abs() < 1e-12, "{mode} row {i}");
        }
    }
}
