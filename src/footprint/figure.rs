//! The middle of a footprint as a figure.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::Footprint;
use super::motifs::CONTROL;
use crate::plot::{Axes, Canvas, Rect, Stroke, palette};

/// bp shown to either side of the motif. Source: official figure.
const HALF: usize = 100;
const COLOR: &str = palette::PREDICTED;

/// Draws a footprint; the control, where given, lies behind it for comparison. `ylim`: the range of
/// the y axis [default: from 0 to a little above the highest point].
pub fn draw(
    footprint: &Footprint,
    control: Option<&Footprint>,
    ylim: Option<(f64, f64)>,
) -> Canvas {
    let mut line = middle(&footprint.profile);
    let mut behind = control.filter(|_| footprint.name != CONTROL).map(|c| middle(&c.profile));
    let highest = line.iter().chain(behind.iter().flatten()).map(|p| p.1).fold(0.0, f64::max);
    let ylim = ylim.unwrap_or((0.0, highest * 1.05));
    for point in line.iter_mut().chain(behind.iter_mut().flatten()) {
        point.1 = point.1.clamp(ylim.0, ylim.1);
    }
    let half = line.iter().map(|p| p.0.abs()).fold(1.0, f64::max);

    let mut canvas = Canvas::new(440.0, 300.0);
    let frame = Rect { x: 70.0, y: 32.0, width: 350.0, height: 218.0 };
    let axes = Axes::new(frame, (-half, half), ylim);
    axes.vertical(&mut canvas, 0.0);
    let (ink, faint) = (Stroke::new(COLOR, 1.5), Stroke::new(crate::plot::FAINT, 1.0));
    if let Some(behind) = &behind {
        axes.line(&mut canvas, behind, faint);
        axes.legend(&mut canvas, &[(CONTROL, faint)]);
    }
    axes.line(&mut canvas, &line, ink);
    axes.draw(&mut canvas, "bp from the motif's middle", "probability");
    axes.title(&mut canvas, &footprint.name);
    canvas
}

/// Positions from the motif's middle, and their probabilities, where there are any.
fn middle(profile: &[f32]) -> Vec<(f64, f64)> {
    let center = profile.len() / 2;
    let half = HALF.min(center);
    let shown = &profile[center - half..(center + half).min(profile.len())];
    let points = shown.iter().zip(0..).map(|(p, i)| (f64::from(i) - half as f64, f64::from(*p)));
    points.filter(|(_, p)| p.is_finite()).collect()
}

/// `PREFIX.<motif>.footprint`, to which `.png` and `.svg` are added.
pub fn prefix(output_prefix: &Path, motif: &str) -> PathBuf {
    let mut name = output_prefix.as_os_str().to_os_string();
    name.push(format!(".{motif}.footprint"));
    PathBuf::from(name)
}

/// Writes `PREFIX.<motif>.footprint.png` and `.svg` of every footprint.
pub fn write_all(
    output_prefix: &Path,
    footprints: &[Footprint],
    ylim: Option<(f64, f64)>,
) -> Result<()> {
    let control = footprints.iter().find(|f| f.name == CONTROL);
    for footprint in footprints {
        draw(footprint, control, ylim).write(&prefix(output_prefix, &footprint.name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_a_profile() {
        let profile: Vec<f32> = (0..1000).map(|i| i as f32).collect();
        let shown = middle(&profile);
        assert_eq!(shown.len(), 200);
        assert_eq!((shown[0], shown[100]), ((-100.0, 400.0), (0.0, 500.0)));
        // Shorter and odd profiles are shown whole but for the last base.
        assert_eq!(middle(&[1.0, 2.0, 3.0]), [(-1.0, 1.0), (0.0, 2.0)]);
    }

    #[test]
    fn a_figure_for_every_footprint() {
        let folder = tempfile::tempdir().unwrap();
        let footprint = |name: &str, top| Footprint {
            name: name.to_string(),
            profile: (0..400).map(|i| if i == 200 { top } else { 0.001 }).collect(),
            counts: 1.0,
        };
        let footprints = [footprint("control", 0.001), footprint("tn5_1", f32::NAN)];
        let prefix = folder.path().join("bias.run");
        write_all(&prefix, &footprints, Some((0.0, 0.01))).unwrap();
        for name in ["bias.run.control.footprint.png", "bias.run.tn5_1.footprint.svg"] {
            let bytes = std::fs::read(folder.path().join(name)).unwrap();
            assert!(bytes.len() > 500, "{name}");
        }
        let svg = draw(&footprints[1], Some(&footprints[0]), None).svg();
        assert!(svg.contains(">control<") && svg.contains(">tn5_1<"));
    }
}
