//! The thresholds, one function each.
//!
//! Source: texts and checks of the official reports and pipelines (`make_html`, `make_html_bias`,
//! `marginal_footprinting`, and the assertion on the bias model before training), but for
//! `bias_response`, which is ours.

use super::{Grade, Verdict};
use crate::footprint::{BiasResponse, LIMIT};

/// Log counts of the bias model against the observed ones in peaks. Below -0.3 it may have learnt AT
/// content rather than the enzyme; at -0.5 and below official training stops.
pub fn bias_in_peaks(pearsonr: f64) -> Verdict {
    let (warn, fail) = (-0.3, -0.5);
    let (grade, advice) = if pearsonr > warn {
        (Grade::Pass, None)
    } else if pearsonr <= fail {
        (
            Grade::Fail,
            Some(
                "retrain the bias model with a higher --bias-threshold-factor, or take another one: this one follows AT content rather than the enzyme",
            ),
        )
    } else if pearsonr.is_nan() {
        (Grade::Warn, Some(NOT_A_NUMBER))
    } else {
        (
            Grade::Warn,
            Some(
                "look at the motifs of the model trained with it: many GC-rich ones mean that this model follows AT content; then retrain it with a higher --bias-threshold-factor",
            ),
        )
    };
    Verdict {
        name: "bias_counts_pearsonr_in_peaks".into(),
        grade,
        value: finite(pearsonr),
        rule: format!("passes above {warn}, fails from {fail} down"),
        message: format!("counts pearsonr of the bias model in peaks is {}", shown(pearsonr)),
        advice: advice.map(String::from),
    }
}

/// Judges the correlation of the bias model with the counts in nonpeaks, where the enzyme is all there is to explain.
pub fn bias_in_nonpeaks(pearsonr: f64) -> Verdict {
    above(
        "bias_counts_pearsonr_in_nonpeaks",
        "counts pearsonr of the bias model in nonpeaks",
        pearsonr,
        0.0,
        "train on deeper data, or raise --bias-threshold-factor so that more nonpeaks train",
    )
}

/// Log counts of the full model in peaks.
pub fn chrombpnet_in_peaks(pearsonr: f64) -> Verdict {
    above(
        "chrombpnet_counts_pearsonr_in_peaks",
        "counts pearsonr of the model in peaks",
        pearsonr,
        0.5,
        "check that peaks, reads and genome belong together; shallow data gives lower values",
    )
}

/// The model without bias must not answer to the enzyme's motifs any more.
pub fn corrected_response(response: &BiasResponse) -> Verdict {
    let corrected = response.is_corrected();
    Verdict {
        name: "enzyme_response".into(),
        grade: if corrected { Grade::Pass } else { Grade::Fail },
        value: finite(highest(response)),
        rule: format!("passes when the highest point of every enzyme motif's footprint is below {LIMIT}"),
        message: format!(
            "the model without bias is {}: its highest response to enzyme motifs is {}",
            if corrected { "corrected" } else { "uncorrected" },
            shown(highest(response))
        ),
        advice: (!corrected).then(|| {
            "the bias model did not take up all of the enzyme's bias: take another bias model, or retrain it".into()
        }),
    }
}

/// The bias model must answer to them: else it has not learnt the enzyme.
pub fn bias_response(response: &BiasResponse) -> Verdict {
    let answers = !response.is_corrected();
    Verdict {
        name: "bias_enzyme_response".into(),
        grade: if answers { Grade::Pass } else { Grade::Warn },
        value: finite(highest(response)),
        rule: format!("passes when a footprint of an enzyme motif reaches {LIMIT}"),
        message: format!(
            "the highest response of the bias model to enzyme motifs is {}",
            shown(highest(response))
        ),
        advice: (!answers).then(|| {
            "the bias model does not know its enzyme: check --data-type and the shift of the reads (evaluation/bw_shift_qc.png), and train it longer or on more nonpeaks".into()
        }),
    }
}

const NOT_A_NUMBER: &str = "the correlation does not exist: fewer than two regions, or all counts or predictions are alike";

fn above(name: &str, what: &str, value: f64, limit: f64, advice: &str) -> Verdict {
    let advice = if value.is_nan() { NOT_A_NUMBER } else { advice };
    let passes = value > limit;
    Verdict {
        name: name.into(),
        grade: if passes { Grade::Pass } else { Grade::Warn },
        value: finite(value),
        rule: format!("passes above {limit}"),
        message: format!("{what} is {}", shown(value)),
        advice: (!passes).then(|| advice.into()),
    }
}

fn highest(response: &BiasResponse) -> f64 {
    // NaN, where there is one, wins.
    let larger = |a: f32, b: f32| if a.is_nan() || a > b { a } else { b };
    let highest = response.highest.iter().copied().fold(f32::NEG_INFINITY, larger);
    // Rounded to what is printed: 0.013 and not 0.013000000268220901.
    (f64::from(highest) * 1000.0).round() / 1000.0
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

fn shown(value: f64) -> String {
    format!("{value:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_official_limits() {
        use Grade::{Fail, Pass, Warn};
        for (r, wanted) in
            [(0.2, Pass), (-0.29, Pass), (-0.3, Warn), (-0.49, Warn), (-0.5, Fail), (-0.9, Fail)]
        {
            let verdict = bias_in_peaks(r);
            assert_eq!(verdict.grade, wanted, "{r}");
            assert_eq!(verdict.advice.is_none(), wanted == Pass);
        }
        assert_eq!(bias_in_peaks(f64::NAN).grade, Warn);
        for (r, wanted) in [(0.01, Pass), (0.0, Warn), (-0.8, Warn), (f64::NAN, Warn)] {
            assert_eq!(bias_in_nonpeaks(r).grade, wanted, "{r}");
        }
        for (r, wanted) in [(0.51, Pass), (0.5, Warn), (-0.8, Warn), (f64::NAN, Warn)] {
            assert_eq!(chrombpnet_in_peaks(r).grade, wanted, "{r}");
        }
        let response = |highest: &[f32]| BiasResponse { highest: highest.to_vec() };
        for (highest, corrected, bias) in [
            (vec![0.001, 0.002], Pass, Warn),
            (vec![0.001, 0.003], Fail, Pass),
            (vec![f32::NAN, 0.001], Fail, Pass),
        ] {
            assert_eq!(corrected_response(&response(&highest)).grade, corrected, "{highest:?}");
            assert_eq!(bias_response(&response(&highest)).grade, bias, "{highest:?}");
        }
        let verdict = corrected_response(&response(&[0.002, 0.013]));
        assert_eq!(verdict.value, Some(0.013));
        assert!(verdict.message.contains("uncorrected"), "{}", verdict.message);
    }
}
