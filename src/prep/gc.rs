//! GC content of windows: of the whole genome in steps, and of peaks.
//!
//! In: a genome pack. Out: the GC fraction of each window in hundredths, rounded as the official
//! code rounds it; N counts as a base that is neither G nor C.

use rayon::prelude::*;

use crate::input::regions::Region;
use crate::store::GenomePack;

/// GC fractions are kept as hundredths: 0..=100.
pub const GC_VALUES: usize = 101;

/// A window of the genome; its width is `inputlen`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Contig of the genome pack.
    pub contig: u32,
    pub start: u32,
    /// Hundredths.
    pub gc: u8,
}

/// Hundredths of a GC fraction, for every count of G and C in `width` bp.
pub struct Hundredths(Vec<u8>);

impl Hundredths {
    pub fn new(width: usize) -> Self {
        Self((0..=width).map(|gc| hundredths(gc as u32, width)).collect())
    }

    /// `gc` is at most the width.
    pub fn of(&self, gc: u32) -> u8 {
        self.0[gc as usize]
    }
}

/// Python's `round(gc / width, 2)`: the decimal nearest to the double, half to even where the
/// double lies exactly between two. Rust formats by the same rule.
fn hundredths(gc: u32, width: usize) -> u8 {
    let rounded = format!("{:.2}", f64::from(gc) / width as f64);
    rounded.bytes().filter(u8::is_ascii_digit).fold(0, |n, digit| n * 10 + (digit - b'0'))
}

/// The fraction as Python prints it: `0.5`, `0.58`, `1.0`.
pub fn fraction(hundredths: u8) -> String {
    let (whole, part) = (hundredths / 100, hundredths % 100);
    match part % 10 {
        0 => format!("{whole}.{}", part / 10),
        _ => format!("{whole}.{part:02}"),
    }
}

/// All windows of `width` bp at multiples of `stride`, contig by contig. A window that would end
/// exactly at the contig's end is left out, as in the official `get_genomewide_gc`.
pub fn genome_windows(genome: &GenomePack, width: usize, stride: usize) -> Vec<Window> {
    let hundredths = Hundredths::new(width);
    let mut windows = Vec::new();
    for (contig, length) in (0..).zip(genome.contigs().iter().map(|c| c.length)) {
        // start + width < length
        let count = length.saturating_sub(width as u64).div_ceil(stride as u64);
        windows.par_extend((0..count).into_par_iter().map(|i| {
            let start = i * stride as u64;
            let gc = genome.gc_count(contig, start, start + width as u64);
            Window { contig, start: start as u32, gc: hundredths.of(gc) }
        }));
    }
    windows
}

/// The peaks' windows, and how many peaks have none.
#[derive(Debug, Default)]
pub struct Foreground<'a> {
    /// In the order of the peaks.
    pub windows: Vec<Window>,
    /// Their window leaves the contig.
    pub at_edge: usize,
    /// Their contig is not in the genome.
    pub off_genome: Vec<&'a Region>,
}

/// Windows of `width` bp (even) around the summits.
/// Source: official `get_gc_content`.
pub fn peak_windows<'a>(peaks: &'a [Region], genome: &GenomePack, width: usize) -> Foreground<'a> {
    let hundredths = Hundredths::new(width);
    let half = width as u64 / 2;
    let mut found = Foreground::default();
    for peak in peaks {
        let Some(contig) = genome.contig_id(&peak.chrom) else {
            found.off_genome.push(peak);
            continue;
        };
        let (center, length) = (peak.center(), genome.contigs()[contig as usize].length);
        if center < half || center + half > length {
            found.at_edge += 1;
            continue;
        }
        let gc = genome.gc_count(contig, center - half, center + half);
        let start = (center - half) as u32;
        found.windows.push(Window { contig, start, gc: hundredths.of(gc) });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    // Python 3.11: [round(gc / width, 2) for gc in range(width + 1)]
    #[test]
    fn rounded_and_printed_as_python() {
        for (gc, width, wanted) in [
            (0, 2114, "0.0"),
            (1057, 2114, "0.5"),
            (1226, 2114, "0.58"),
            (2114, 2114, "1.0"),
            (2104, 2114, "1.0"),
            (105, 1000, "0.1"), // 0.105 is stored below the half
            (115, 1000, "0.12"),
            (1, 8, "0.12"), // 0.125 exactly: half to even
            (3, 8, "0.38"), // 0.375 exactly
            (7, 100, "0.07"),
        ] {
            assert_eq!(fraction(hundredths(gc, width)), wanted, "{gc}/{width}");
        }
    }

    #[test]
    fn a_window_that_ends_with_the_contig_is_left_out() {
        let genome = GenomePack::from_sequences([
            ("a", &b"GCATGCATGC"[..]),
            ("short", &b"GCA"[..]),
            ("b", &b"GGGGGNNNNNA"[..]),
        ]);
        let starts = |width, stride| -> Vec<(u32, u32, u8)> {
            let windows = genome_windows(&genome, width, stride);
            windows.iter().map(|w| (w.contig, w.start, w.gc)).collect()
        };
        assert_eq!(starts(4, 3), [(0, 0, 50), (0, 3, 50), (2, 0, 100), (2, 3, 50), (2, 6, 0)]);
        assert_eq!(starts(10, 5), [(2, 0, 50)]);
        // a stride above the width
        assert_eq!(starts(2, 6), [(0, 0, 100), (0, 6, 0), (1, 0, 100), (2, 0, 100), (2, 6, 0)]);
    }
}
