//! The peaks that contributions are computed for: all, or a sample drawn as the official pipelines
//! draw theirs.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::subject::Subject;
use crate::files::params_tsv;
use crate::input::regions::{self, Region};
use crate::numpy::random::RandomState;
use crate::select::ColumnTypes;

/// Peaks in the official sample.
pub const SIZE: usize = 30_000;
/// Source: `peaks.sample(30000, random_state=1234)` of the official pipelines.
const SEED: u32 = 1234;

/// The sample's file; its official name stays with another size.
pub fn path(subject: &Subject) -> PathBuf {
    subject.tree.auxiliary("30K_subsample_peaks.bed")
}

/// Reads `peaks`, draws `size` of them where there are more, and writes `out`. Returns how many.
pub fn write(peaks: &Path, size: usize, out: &Path) -> Result<usize> {
    let peaks = regions::read(peaks)?;
    let types = ColumnTypes::of(&peaks);
    let rows: Vec<Region> = sample(&peaks, size).into_iter().map(|r| types.apply(r)).collect();
    params_tsv::write_filtered_bed(out, &rows)?;
    Ok(rows.len())
}

/// pandas' `sample(n=size, random_state=1234)`; fewer rows stay as they are.
fn sample(peaks: &[Region], size: usize) -> Vec<&Region> {
    if peaks.len() <= size {
        return peaks.iter().collect();
    }
    let drawn = RandomState::new(SEED).choice(peaks.len(), size);
    drawn.into_iter().map(|i| &peaks[i]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pandas_draws_the_same_rows() {
        let folder = tempfile::tempdir().unwrap();
        let (all, out) = (folder.path().join("all.bed"), folder.path().join("out.bed"));
        let row = |i: usize| format!("chr1\t{i}\t{}\t.\t.\t.\t.\t.\t.\t5\n", i + 10);
        std::fs::write(&all, (0..20).map(row).collect::<String>()).unwrap();
        // pandas 3.0.6: DataFrame({"i": range(20)}).sample(6, random_state=1234)["i"]
        assert_eq!(write(&all, 6, &out).unwrap(), 6);
        let wanted: String = PANDAS.into_iter().map(row).collect();
        assert_eq!(std::fs::read_to_string(&out).unwrap(), wanted);
        // Not more than wanted: the rows in their own order.
        assert_eq!(write(&all, 20, &out).unwrap(), 20);
        assert_eq!(std::fs::read(&out).unwrap(), std::fs::read(&all).unwrap());
    }

    const PANDAS: [usize; 6] = [3, 13, 2, 16, 14, 5];
}
