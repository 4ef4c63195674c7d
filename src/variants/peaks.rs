//! Predicted counts of peaks: what quantiles of alleles are measured against.
//!
//! Order, duplicates, the edge rule, the window and the subsample are variant-scorer's; its windows
//! of peaks begin one base before `summit - inputlen / 2`, unlike those of variants.

use std::cmp::Ordering;

use anyhow::Result;

use super::predict::Predictor;
use crate::console::Console;
use crate::input::peak_list::Peak;
use crate::numpy::random::RandomState;
use crate::store::GenomePack;

/// Peaks that are scored, and how many were not.
pub struct Chosen {
    pub peaks: Vec<Peak>,
    pub duplicates: usize,
    pub unknown_contig: usize,
    pub edge: usize,
}

/// Sorts peaks, keeps one of each (chr, start, end, summit), that of the highest rank, drops those
/// whose window does not fit, and samples `most` of them where there are more.
pub fn choose(
    mut peaks: Vec<Peak>,
    genome: &GenomePack,
    inputlen: usize,
    most: Option<usize>,
    seed: u32,
) -> Chosen {
    let by_number = peaks.iter().all(|p| p.rank().parse::<f64>().is_ok());
    peaks.sort_by(|a, b| {
        let place = |p: &Peak| (p.start, p.end, p.summit);
        a.chrom.cmp(&b.chrom).then(place(a).cmp(&place(b))).then_with(|| rank(b, a, by_number))
    });
    let found = peaks.len();
    peaks.dedup_by(|b, a| {
        a.chrom == b.chrom && (a.start, a.end, a.summit) == (b.start, b.end, b.summit)
    });
    let duplicates = found - peaks.len();
    let half = inputlen as u64 / 2;
    let (mut unknown_contig, mut edge) = (0, 0);
    peaks.retain(|peak| {
        let Some(contig) = genome.contig_id(&peak.chrom) else {
            unknown_contig += 1;
            return false;
        };
        let center = peak.start + peak.summit;
        let fits = center > half && center + half <= genome.contigs()[contig as usize].length;
        edge += usize::from(!fits);
        fits
    });
    if let Some(most) = most.filter(|&most| most < peaks.len()) {
        let mut kept: Vec<Option<Peak>> = peaks.into_iter().map(Some).collect();
        let drawn = RandomState::new(seed).choice(kept.len(), most);
        peaks = drawn.into_iter().filter_map(|i| kept[i].take()).collect();
    }
    Chosen { peaks, duplicates, unknown_contig, edge }
}

fn rank(a: &Peak, b: &Peak, by_number: bool) -> Ordering {
    match (by_number, a.rank().parse::<f64>(), b.rank().parse::<f64>()) {
        (true, Ok(a), Ok(b)) => a.total_cmp(&b),
        _ => a.rank().cmp(b.rank()),
    }
}

/// Predicted counts of each peak, for each model `[models][peaks]`.
pub fn counts(
    peaks: &[Peak],
    genome: &GenomePack,
    predictor: &mut Predictor,
    console: &Console,
) -> Result<Vec<Vec<f32>>> {
    let inputlen = predictor.arch.inputlen;
    let mut counts = vec![Vec::with_capacity(peaks.len()); predictor.engines.len()];
    let mut progress = console.progress("peaks", peaks.len() as u64).unit("peaks");
    for batch in peaks.chunks(predictor.batch_size) {
        let mut codes = vec![0; batch.len() * inputlen];
        for (peak, window) in batch.iter().zip(codes.chunks_exact_mut(inputlen)) {
            let center = (peak.start + peak.summit) as i64;
            if let Some(contig) = genome.contig_id(&peak.chrom) {
                genome.codes(contig, center - 1 - (inputlen / 2) as i64, false, window);
            }
        }
        for (counts, means) in counts.iter_mut().zip(predictor.predict(&codes)?) {
            counts.extend(means.counts.iter().map(|&c| c as f32));
        }
        progress.advance(batch.len() as u64, "");
    }
    progress.finish();
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peak(chrom: &str, start: u64, summit: u64, rank: &str) -> Peak {
        Peak {
            chrom: chrom.into(),
            start,
            end: start + 10,
            rest: [".".into(), ".".into(), ".".into(), rank.into()],
            summit,
        }
    }

    #[test]
    fn order_duplicates_and_edges() {
        let bases = [b'A'; 100];
        let genome = GenomePack::from_sequences([("chr1", &bases[..]), ("chr10", &bases[..])]);
        let peaks = vec![
            peak("chr10", 50, 5, "9"),
            peak("chr2", 50, 5, "1"),
            peak("chr1", 50, 5, "9"),
            peak("chr1", 50, 5, "10"),
            peak("chr1", 0, 8, "1"), // 8 - 8 is not above 0
            peak("chr1", 0, 9, "1"),
            peak("chr1", 82, 10, "1"), // 92 + 8 = 100
            peak("chr1", 83, 10, "1"),
        ];
        let chosen = choose(peaks.clone(), &genome, 16, None, 1234);
        let kept: Vec<(&str, u64, &str)> =
            chosen.peaks.iter().map(|p| (p.chrom.as_str(), p.start, p.rank())).collect();
        let wanted = [("chr1", 0, "1"), ("chr1", 50, "10"), ("chr1", 82, "1"), ("chr10", 50, "9")];
        assert_eq!(kept, wanted);
        assert_eq!((chosen.duplicates, chosen.unknown_contig, chosen.edge), (1, 1, 2));
        // pandas: DataFrame(range(4)).sample(2, random_state=1234)
        let sample = choose(peaks, &genome, 16, Some(2), 1234);
        let order = RandomState::new(1234).choice(4, 2);
        let starts: Vec<u64> = sample.peaks.iter().map(|p| p.start).collect();
        assert_eq!(starts, order.iter().map(|&i| wanted[i].1).collect::<Vec<_>>());
    }
}
