//! Observed and predicted profiles of a few regions, chosen by a rule and not by eye.

use anyhow::Result;
use maud::{Markup, html};

use super::text;
use crate::figures::examples::{Example, draw, without_bias};
use crate::report::context::{Context, Evaluated};
use crate::report::html::missing;
use crate::report::read::evaluation::{Evaluation, Region, chosen};
use crate::report::read::signal::Signal;
use crate::run::kind::Kind;

/// Quantiles of observed counts, %.
const QUANTILES: [usize; 5] = [99, 90, 75, 50, 25];

pub fn body(context: &Context) -> Result<Markup> {
    let main = context.evaluated.iter().find(|e| e.stem == context.folder.kind.stem());
    let Some(main) = main else { return Ok(missing("No model was evaluated.", "")) };
    let (Ok(Some(evaluation)), Some(signal)) = (&main.evaluation, &context.signal) else {
        return Ok(missing(
            "No test region can be shown without predictions and observed counts.",
            "See Counts for what is missing.",
        ));
    };
    let picked = pick(evaluation);
    let places: Vec<(String, i64)> =
        picked.iter().map(|(_, r)| (r.chrom.clone(), r.center)).collect();
    let total = chosen(&main.path, &places)?.unwrap_or_default();
    let bias = match bias_of(context) {
        Some(bias) => chosen(&bias.path, &places)?.unwrap_or_default(),
        None => vec![None; places.len()],
    };
    let mut signal = Signal::open(signal)?;
    let mut examples = Vec::new();
    for (i, (quantile, region)) in picked.iter().enumerate() {
        let Some(Some(total)) = total.get(i) else { continue };
        let mut observed = vec![0.0; evaluation.outputlen];
        let first = region.center - (evaluation.outputlen / 2) as i64;
        signal.counts(&region.chrom, first, &mut observed)?;
        let bias = bias.get(i).cloned().flatten().filter(|b| b.len() == total.len());
        examples.push(Example {
            chrom: region.chrom.clone(),
            center: region.center,
            rule: format!("{quantile} % quantile of observed counts"),
            observed,
            predicted_total: f64::from(region.predicted).exp_m1().max(0.0),
            branches: bias.and_then(|b| Some([b.clone(), without_bias(total, &b)?])),
            total: total.clone(),
        });
    }
    Ok(html! {
        (text("Test regions at fixed quantiles of their observed counts: chosen by this rule, not by eye. \
               Grey: observed cuts; blue: predicted profile times predicted counts."))
        @if examples.iter().any(|e| e.branches.is_some()) {
            (text("Below each: the bias branch, and the branch without bias, which is what is left of the \
                   prediction when the bias is divided out."))
        }
        @for example in &examples { (context.figure(&draw(example), None, "")) }
        @if context.folder.kind == Kind::Chrombpnet && examples.iter().all(|e| e.branches.is_none()) {
            (missing("The branches cannot be shown apart: evaluation/ has no bias_predictions.h5 of these regions.", ""))
        }
    })
}

/// The predictions of a chrombpnet run's bias model.
fn bias_of<'a>(context: &'a Context) -> Option<&'a Evaluated> {
    let is_main = context.folder.kind == Kind::Bias;
    context.evaluated.iter().find(|e| e.stem == "bias" && !is_main && e.path.exists())
}

/// Peaks at the quantiles, or all regions where none is a peak; each once.
fn pick(evaluation: &Evaluation) -> Vec<(usize, &Region)> {
    let mut regions: Vec<&Region> = evaluation.regions.iter().filter(|r| r.is_peak).collect();
    if regions.is_empty() {
        regions = evaluation.regions.iter().collect();
    }
    regions.sort_by(|a, b| a.observed.total_cmp(&b.observed));
    let mut picked: Vec<(usize, &Region)> = Vec::new();
    for quantile in QUANTILES {
        let Some(last) = regions.len().checked_sub(1) else { break };
        let region = regions[last * quantile / 100];
        if !picked.iter().any(|(_, r)| std::ptr::eq(*r, region)) {
            picked.push((quantile, region));
        }
    }
    picked
}
