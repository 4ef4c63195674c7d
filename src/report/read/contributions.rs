//! Contribution scores (`*_scores.h5`): the stretches of sequence that matter most.

use std::path::Path;

use anyhow::Result;
use ndarray::{Array3, s};

use super::h5;
use crate::console::Console;
use crate::error::Problem;

/// bp over which contributions are summed to find the strongest place: a motif and its neighbour.
const PLACE: usize = 30;

/// A stretch around the strongest place of a region.
#[derive(Clone, Debug, PartialEq)]
pub struct Stretch {
    /// Row of the file, and of the regions beside it.
    pub row: usize,
    /// First position shown, bp from the window's start.
    pub start: usize,
    /// Sum over the strongest `PLACE` bp.
    pub sum: f64,
    /// Projected contributions, A, C, G, T for each position.
    pub heights: Vec<[f64; 4]>,
}

/// What a file holds.
#[derive(Debug)]
pub struct Strongest {
    pub regions: usize,
    /// bp
    pub inputlen: usize,
    /// Strongest first.
    pub stretches: Vec<Stretch>,
}

/// The `wanted` regions with the largest sum of contributions over any 30 bp, `width` bp of each;
/// `None` where there is no such file.
pub fn strongest(
    path: &Path,
    wanted: usize,
    width: usize,
    console: &Console,
) -> Result<Option<Strongest>> {
    let Some(file) = h5::open(path)? else { return Ok(None) };
    let scores = h5::dataset(&file, path, "projected_shap/seq", 3)?;
    let (n, inputlen) = match scores.shape()[..] {
        [n, 4, inputlen] if inputlen > 0 => (n, inputlen),
        ref other => {
            return Err(Problem::new(format!(
                "projected_shap/seq has the shape {other:?}, expected [regions, 4, length]"
            ))
            .at(path.display())
            .into());
        }
    };
    let mut best: Vec<Stretch> = Vec::new();
    let step = h5::rows_at_once(&scores, 16 << 20);
    let mut progress = console.progress("report: contributions", n as u64).unit("regions");
    for first in (0..n).step_by(step) {
        let end = (first + step).min(n);
        let block: Array3<f32> =
            scores.read_slice(s![first..end, .., ..]).map_err(|error| h5::damaged(path, &error))?;
        for (row, region) in (first..end).zip(block.outer_iter()) {
            let at = |i: usize| [0, 1, 2, 3].map(|base| f64::from(region[[base, i]]));
            let sums: Vec<f64> = (0..inputlen).map(|i| at(i).iter().sum()).collect();
            let Some((place, sum)) = strongest_place(&sums) else { continue };
            if best.len() == wanted && best.last().is_none_or(|last| last.sum >= sum) {
                continue;
            }
            let start = (place + PLACE.min(inputlen) / 2).saturating_sub(width / 2);
            let start = start.min(inputlen.saturating_sub(width));
            let heights = (start..(start + width).min(inputlen)).map(at).collect();
            best.push(Stretch { row, start, sum, heights });
            best.sort_by(|a, b| b.sum.total_cmp(&a.sum).then(a.row.cmp(&b.row)));
            best.truncate(wanted);
        }
        progress.advance((end - first) as u64, "");
    }
    progress.finish();
    Ok(Some(Strongest { regions: n, inputlen, stretches: best }))
}

/// Where `PLACE` neighbouring values have the largest sum, and that sum; `None` for one that is not
/// finite or not positive.
fn strongest_place(values: &[f64]) -> Option<(usize, f64)> {
    let width = PLACE.min(values.len());
    let mut sum: f64 = values[..width].iter().sum();
    let mut best = (0, sum);
    for start in 1..=values.len() - width {
        sum += values[start + width - 1] - values[start - 1];
        if sum > best.1 {
            best = (start, sum);
        }
    }
    (best.1.is_finite() && best.1 > 0.0).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdf5_metno::File;

    #[test]
    fn the_strongest_regions_come_first_and_show_their_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.profile_scores.h5");
        // Region i has one strong base, i * 2.0, at position 40 * i; region 1 is negative.
        let mut scores = Array3::<f32>::zeros((5, 4, 200));
        for i in 0..5 {
            scores[[i, i % 4, 40 * i]] = if i == 1 { -9.0 } else { 2.0 * i as f32 };
        }
        let file = File::create(&path).unwrap();
        let group = file.create_group("projected_shap").unwrap();
        let dataset = group.new_dataset_builder().with_data(&scores).chunk((2, 4, 200)).deflate(4);
        dataset.create("seq").unwrap();
        file.close().unwrap();

        let console = Console::new(true, false);
        let found = strongest(&path, 2, 60, &console).unwrap().unwrap();
        assert_eq!((found.regions, found.inputlen), (5, 200));
        let rows: Vec<(usize, f64)> = found.stretches.iter().map(|s| (s.row, s.sum)).collect();
        assert_eq!(rows, [(4, 8.0), (3, 6.0)]);
        for stretch in &found.stretches {
            let at = 40 * stretch.row - stretch.start;
            assert_eq!(stretch.heights[at][stretch.row % 4], stretch.sum);
            assert_eq!(stretch.heights.len(), 60);
        }
        assert!(strongest(&folder.path().join("none.h5"), 2, 60, &console).unwrap().is_none());
        // HDF5 keeps the first file open as long as its group is.
        let path = folder.path().join("y.profile_scores.h5");
        std::fs::write(&path, b"no HDF5 at all").unwrap();
        let error = strongest(&path, 2, 60, &console).unwrap_err().to_string();
        assert!(error.contains("not HDF5") && error.contains("y.profile"), "{error}");
    }
}
