//! Windows that cover whole contigs.
//!
//! Output windows lie side by side from the first base with enough context on. What is left at the
//! end of a contig is covered by one more window, moved back until its sequence fits; the two then
//! overlap, and a track takes each base from the nearer one. So every base that has the model's full
//! context on both sides is covered, and no other: sequences are never padded. A contig shorter than
//! the model's input has no such base.

use crate::batch::Example;
use crate::store::GenomePack;

/// Window starts on a contig of `length` bp, `outputlen` apart.
pub fn starts(length: u64, inputlen: usize, outputlen: usize) -> impl Iterator<Item = u32> {
    let last = length.checked_sub(inputlen as u64);
    let side_by_side = (0..last.map_or(0, |l| l + 1)).step_by(outputlen);
    let moved_back = last.filter(|l| l % outputlen as u64 != 0);
    side_by_side.chain(moved_back).map(|start| start as u32)
}

/// The windows of `contigs`, contig by contig; rows count from 0.
pub fn plan(
    genome: &GenomePack,
    contigs: &[u32],
    inputlen: usize,
    outputlen: usize,
) -> Vec<Example> {
    let windows = contigs.iter().flat_map(|&contig| {
        let length = genome.contigs()[contig as usize].length;
        starts(length, inputlen, outputlen).map(move |start| (contig, start))
    });
    windows
        .zip(0..)
        .map(|((contig, start), row)| Example { contig, start, flags: 0, row })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::starts;

    #[test]
    fn every_base_with_context_is_covered_once_or_by_the_last_two() {
        for (inputlen, outputlen) in [(21, 10), (20, 10), (10, 10), (306, 100)] {
            let flank = (inputlen - outputlen) / 2;
            for length in 0..5 * inputlen as u64 {
                let starts: Vec<u32> = starts(length, inputlen, outputlen).collect();
                let mut covered = vec![0; length as usize];
                for &start in &starts {
                    assert!(u64::from(start) + inputlen as u64 <= length);
                    covered[start as usize + flank..][..outputlen].fill(1);
                }
                let with_context = (length + 1).saturating_sub(inputlen as u64)
                    + if length >= inputlen as u64 { outputlen as u64 - 1 } else { 0 };
                assert_eq!(covered.iter().sum::<u64>(), with_context, "{length}");
                let apart = starts.windows(2).map(|w| w[1] - w[0]);
                let last = starts.len().saturating_sub(2);
                for (i, apart) in apart.enumerate() {
                    assert!(apart as usize == outputlen || i == last && apart > 0, "{length}");
                }
            }
        }
    }
}
