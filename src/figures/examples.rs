//! One region: observed cuts and what the model expects, then the two branches apart.

use super::Figure;
use crate::console::grouped;
use crate::plot::{Axes, Canvas, Rect, Stroke, Text, palette};

/// What is known of a region; profiles are probabilities, `[outputlen]`.
pub struct Example {
    pub chrom: String,
    /// 0-based
    pub center: i64,
    /// Why it was chosen, such as `90 % quantile of observed counts`.
    pub rule: String,
    /// `[outputlen]`
    pub observed: Vec<f32>,
    /// Predicted total counts.
    pub predicted_total: f64,
    pub total: Vec<f64>,
    /// Bias and no-bias profiles, where the run has both.
    pub branches: Option<[Vec<f64>; 2]>,
}

const LEFT: f64 = 70.0;
const WIDTH: f64 = 940.0;

pub fn draw(example: &Example) -> Figure {
    let observed_total: f64 = example.observed.iter().copied().map(f64::from).sum();
    let first = example.center - (example.observed.len() / 2) as i64;
    let place = format!(
        "{}:{}-{}",
        example.chrom,
        grouped((first + 1).max(0) as u64),
        grouped((first + example.observed.len() as i64).max(0) as u64)
    );
    let numbers = format!(
        "{} counts observed, {} predicted; {}",
        grouped(observed_total.round() as u64),
        grouped(example.predicted_total.round().max(0.0) as u64),
        example.rule
    );
    let height = if example.branches.is_some() { 432.0 } else { 230.0 };
    let mut canvas = Canvas::new(1040.0, height);
    let bold = Text { size: 14.0, bold: true, ..Text::default() };
    canvas.text((LEFT, 24.0), &place, bold);
    let after = LEFT + 14.0 + crate::plot::text_width(&place, 14.0, true);
    canvas.text((after, 24.0), &numbers, Text::default());

    let half = example.observed.len() as f64 / 2.0;
    let x = (-half, half);
    let at = |i: usize| i as f64 - half + 0.5;
    let observed: Vec<f64> = example.observed.iter().copied().map(f64::from).collect();
    let expected: Vec<f64> = example.total.iter().map(|p| p * example.predicted_total).collect();
    let highest = observed.iter().chain(&expected).copied().fold(0.0, f64::max);
    let frame = Rect { x: LEFT, y: 58.0, width: WIDTH, height: 120.0 };
    let axes = Axes::new(frame, x, (0.0, highest * 1.05));
    let bars: Vec<(f64, f64)> = observed
        .iter()
        .enumerate()
        .flat_map(|(i, &y)| [(at(i) - 0.5, y), (at(i) + 0.5, y)])
        .collect();
    axes.area(&mut canvas, &bars, 0.0, (palette::OBSERVED, 0.75));
    let line = |values: &[f64]| -> Vec<(f64, f64)> {
        values.iter().enumerate().map(|(i, &y)| (at(i), y)).collect()
    };
    axes.line(&mut canvas, &line(&expected), Stroke::new(palette::PREDICTED, 1.2));
    let bp = "bp from the window's centre";
    axes.draw(&mut canvas, if example.branches.is_some() { "" } else { bp }, "counts per base");
    axes.legend(
        &mut canvas,
        &[
            ("observed", Stroke::new(palette::OBSERVED, 3.0)),
            ("predicted", Stroke::new(palette::PREDICTED, 1.6)),
        ],
    );
    if let Some(branches) = &example.branches {
        let names = [("bias", palette::BIAS), ("without bias", palette::NOBIAS)];
        for (i, (profile, (name, color))) in branches.iter().zip(names).enumerate() {
            let highest = profile.iter().copied().fold(0.0, f64::max);
            let frame = Rect { x: LEFT, y: 222.0 + 98.0 * i as f64, width: WIDTH, height: 62.0 };
            let axes = Axes::new(frame, x, (0.0, highest * 1.05));
            axes.line(&mut canvas, &line(profile), Stroke::new(color, 1.2));
            axes.draw(&mut canvas, if i == 1 { bp } else { "" }, "probability");
            axes.legend(&mut canvas, &[(name, Stroke::new(color, 1.6))]);
        }
    }
    let alt = format!("Observed and predicted profile at {place}: {numbers}.");
    Figure { canvas, alt }
}

/// The profile of the main branch alone. Logits of the branches add up, so probabilities multiply,
/// and it is total over bias, normalised. `None` where that is not finite.
pub fn without_bias(total: &[f64], bias: &[f64]) -> Option<Vec<f64>> {
    let ratios: Vec<f64> = total.iter().zip(bias).map(|(t, b)| t / b).collect();
    let sum: f64 = ratios.iter().sum();
    (sum.is_finite() && sum > 0.0).then(|| ratios.iter().map(|r| r / sum).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::predictions_h5::softmax_into;

    #[test]
    fn the_branch_without_bias_is_total_over_bias() {
        let (bias, main) = ([0.5f32, -2.0, 3.0, 0.0], [1.0f32, 4.0, -1.0, 2.0]);
        let sum: Vec<f32> = bias.iter().zip(main).map(|(b, m)| b + m).collect();
        let softmax = |logits: &[f32]| {
            let mut out = Vec::new();
            softmax_into(logits, &mut out);
            out
        };
        let found = without_bias(&softmax(&sum), &softmax(&bias)).unwrap();
        for (f, w) in found.iter().zip(softmax(&main)) {
            assert!((f - w).abs() < 1e-9, "{f} {w}");
        }
        assert!(without_bias(&[0.5, 0.5], &[1.0, 0.0]).is_none());
    }
}
