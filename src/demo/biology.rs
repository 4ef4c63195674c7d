//! What is true in the demo: how often the enzyme cuts at each base of a sequence.
//!
//! In: base codes (0..3 = ACGT, 4 = N). Out: expected cuts per base,
//! `accessibility x exp(enzyme preference) / mean preference`; accessibility is a background plus
//! what motifs open, less what others protect there.
//!
//! Both factors are the same on both strands, as they are (nearly) for Tn5 after the official
//! shift of read ends: training shows half the examples reverse-complemented, and a truth with a
//! strand would contradict itself there.

/// The enzyme reads this many bases to either side of the base it cuts at.
pub const REACH: usize = 6;

/// Log preference for A, C, G, T at distance 0..=6 after the cut base; before it, the complement
/// counts. Written by hand: sd 0.78 over random sequence, about that of Tn5.
const PREFERENCE: [[f64; 4]; REACH + 1] = [
    [0.10, -0.10, -0.10, 0.10],
    [-0.20, 0.10, 0.30, -0.20],
    [0.25, -0.30, 0.15, -0.10],
    [-0.35, 0.20, 0.40, -0.25],
    [0.40, -0.25, -0.30, 0.15],
    [-0.10, 0.20, -0.20, 0.10],
    [0.10, -0.10, 0.05, -0.05],
];

/// Cuts per base in closed chromatin: 120 in an output window of 1,000 bp.
pub const BACKGROUND: f64 = 0.12;
/// An opening motif makes a bump of this standard deviation, bp.
const BUMP_SD: f64 = 70.0;
/// What is left, under a protecting motif, of the cuts that opening motifs add.
pub const PROTECTED: f64 = 0.15;
/// A bound factor covers this many bp to either side of its motif.
pub const COVER: usize = 2;

/// What a motif does where it stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effect {
    /// Adds a bump of accessibility, this many cuts per base at its top.
    Opens { height: f64 },
    /// Covers its bases where chromatin is open; closed chromatin it does not bind.
    Protects,
}

/// A transcription factor's motif in IUPAC codes; every match on either strand is a binding site.
#[derive(Clone, Copy, Debug)]
pub struct Motif {
    pub name: &'static str,
    pub pattern: &'static str,
    pub effect: Effect,
}

/// 12 bp with one twofold base each: a match by chance about every 4 Mb.
pub const MOTIFS: [Motif; 4] = [
    Motif { name: "open-strong", pattern: "RATGAGTCATCC", effect: Effect::Opens { height: 4.0 } },
    Motif { name: "open-weak", pattern: "TGCCACACCCTY", effect: Effect::Opens { height: 2.0 } },
    Motif { name: "protect-a", pattern: "ATTGCACAAYAG", effect: Effect::Protects },
    Motif { name: "protect-b", pattern: "CAGRCGCTTGAC", effect: Effect::Protects },
];

/// A place where a motif matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// First base on the forward strand, 0-based.
    pub start: usize,
    pub revcomp: bool,
}

impl Motif {
    pub fn len(&self) -> usize {
        self.pattern.len()
    }

    pub fn is_empty(&self) -> bool {
        self.pattern.is_empty()
    }

    /// The bases each position admits, bit 0..3 = ACGT, in the order of the forward strand.
    pub fn admits(&self, revcomp: bool) -> Vec<u8> {
        let forward = self.pattern.bytes().map(iupac);
        match revcomp {
            false => forward.collect(),
            true => forward.rev().map(complement_mask).collect(),
        }
    }

    /// Every match on either strand, sorted by start.
    pub fn matches(&self, codes: &[u8]) -> Vec<Match> {
        let strands = [(self.admits(false), false), (self.admits(true), true)];
        let windows = codes.windows(self.len()).enumerate();
        windows
            .flat_map(|(start, window)| {
                let fits = |mask: &[u8]| {
                    window.iter().zip(mask).all(|(&code, &m)| code < 4 && m >> code & 1 == 1)
                };
                strands.iter().filter_map(move |(mask, revcomp)| {
                    fits(mask).then_some(Match { start, revcomp: *revcomp })
                })
            })
            .collect()
    }
}

fn iupac(letter: u8) -> u8 {
    match letter {
        b'A' => 1,
        b'C' => 2,
        b'G' => 4,
        b'T' => 8,
        b'R' => 5,
        b'Y' => 10,
        _ => 15,
    }
}

fn complement_mask(mask: u8) -> u8 {
    (0..4).filter(|b| mask >> b & 1 == 1).fold(0, |sum, b| sum | 1 << (3 - b))
}

/// Log preference for a base at `offset` from the cut base; 0 for N.
pub fn preference(offset: isize, code: u8) -> f64 {
    match (code, offset) {
        (4.., _) => 0.0,
        (_, 0..) => PREFERENCE[offset as usize][code as usize],
        _ => PREFERENCE[-offset as usize][3 - code as usize],
    }
}

/// Log of the enzyme's preference for cutting at each base; bases outside the sequence count as N.
pub fn enzyme_scores(codes: &[u8]) -> Vec<f64> {
    let reach = REACH as isize;
    (0..codes.len() as isize)
        .map(|x| {
            (-reach..=reach)
                .filter_map(|offset| {
                    let code = *codes.get(usize::try_from(x + offset).ok()?)?;
                    Some(preference(offset, code))
                })
                .sum()
        })
        .collect()
}

/// Log of the mean of exp(score) over random sequence: dividing by it leaves mean rates as they are.
fn log_mean_preference() -> f64 {
    let reach = REACH as isize;
    (-reach..=reach)
        .map(|offset| ((0..4).map(|b| preference(offset, b).exp()).sum::<f64>() / 4.0).ln())
        .sum()
}

/// Cuts per base that chromatin alone would give: background and bumps, less what is protected.
pub fn accessibility(codes: &[u8]) -> Vec<f64> {
    let mut open = vec![0.0; codes.len()];
    let mut kept = vec![1.0f64; codes.len()];
    for motif in &MOTIFS {
        for site in motif.matches(codes) {
            match motif.effect {
                Effect::Opens { height } => {
                    // Half a base past the middle of an even motif, so that both strands agree.
                    let centre = site.start as f64 + (motif.len() - 1) as f64 / 2.0;
                    let far = (4.0 * BUMP_SD) as usize;
                    let end = (site.start + motif.len() + far).min(codes.len());
                    let start = site.start.saturating_sub(far);
                    for (x, open) in (start..end).zip(&mut open[start..end]) {
                        let d = (x as f64 - centre) / BUMP_SD;
                        *open += height * (-0.5 * d * d).exp();
                    }
                }
                Effect::Protects => {
                    let end = (site.start + motif.len() + COVER).min(codes.len());
                    kept[site.start.saturating_sub(COVER)..end].fill(PROTECTED);
                }
            }
        }
    }
    for (open, kept) in open.iter_mut().zip(kept) {
        *open = BACKGROUND + *open * kept;
    }
    open
}

/// Expected cuts per base; N cannot be mapped and has none.
pub fn cut_rates(codes: &[u8]) -> Vec<f64> {
    cut_rates_given(&accessibility(codes), codes)
}

/// Rates of cuts where the accessibility is at hand.
pub fn cut_rates_given(accessibility: &[f64], codes: &[u8]) -> Vec<f64> {
    let mean = log_mean_preference();
    let mut rates = accessibility.to_vec();
    for ((rate, score), &code) in rates.iter_mut().zip(enzyme_scores(codes)).zip(codes) {
        *rate = if code < 4 { *rate * (score - mean).exp() } else { 0.0 };
    }
    rates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(text: &str) -> Vec<u8> {
        text.bytes().map(|b| b"ACGT".iter().position(|&x| x == b).map_or(4, |i| i as u8)).collect()
    }

    fn revcomp(codes: &[u8]) -> Vec<u8> {
        crate::sequence::reverse_complement(codes).collect()
    }

    #[test]
    fn the_score_of_a_sequence_made_by_hand() {
        // cut base in the middle: distance 0 is A (0.10); G one after (0.30); T one before, which
        // counts as A after (-0.20)
        let scores = enzyme_scores(&codes("NNTAGNN"));
        assert!((scores[3] - (0.10 + 0.30 - 0.20)).abs() < 1e-12, "{scores:?}");
        // three after the N that ends the run: A at -1 counts as T (-0.20), T at -2 as A (0.25)
        assert!((enzyme_scores(&codes("TACN"))[2] - (-0.10 - 0.20 + 0.25)).abs() < 1e-12);
        assert_eq!(enzyme_scores(&codes("NNNN")), [0.0; 4]);
    }

    #[test]
    fn nothing_has_a_strand() {
        let forward = codes("ACGGTTAGATGAGTCATCCTTNACGCAGGCGCTTGACATGACCAGTTTACG");
        let mut back = cut_rates(&revcomp(&forward));
        back.reverse();
        for (a, b) in cut_rates(&forward).iter().zip(&back) {
            assert!((a - b).abs() < 1e-9, "{a} {b}");
        }
        for code in 0..4 {
            assert_eq!(preference(0, code), preference(0, 3 - code));
        }
    }

    #[test]
    fn motifs_match_on_both_strands_and_not_through_n() {
        let motif = MOTIFS[0];
        let text = "CCGATGAGTCATCCAA";
        assert_eq!(motif.matches(&codes(text)), [Match { start: 2, revcomp: false }]);
        assert_eq!(motif.matches(&revcomp(&codes(text))), [Match { start: 2, revcomp: true }]);
        assert_eq!(motif.matches(&codes("AATGAGTCATCC")).len(), 1);
        assert!(motif.matches(&codes("CATGAGTCATCC")).is_empty());
        assert!(motif.matches(&codes("AATGAGNCATCC")).is_empty());
        assert!(motif.matches(&codes("AAT")).is_empty());
    }

    #[test]
    fn motifs_open_and_protect() {
        let mut sequence = "ACCTTAGC".repeat(125);
        sequence.replace_range(200..212, "CAGACGCTTGAC");
        let closed = accessibility(&codes(&sequence));
        assert!(closed.iter().all(|&r| r == BACKGROUND));
        sequence.replace_range(500..512, "GATGAGTCATCC");
        sequence.replace_range(600..612, "ATTGCACAACAG");
        let open = accessibility(&codes(&sequence));
        let bump = |x: f64| 4.0 * (-0.5 * ((x - 505.5) / BUMP_SD).powi(2)).exp();
        let top = BACKGROUND + bump(505.0);
        assert!((open[505] - top).abs() < 1e-12 && (open[506] - top).abs() < 1e-12);
        let covered = BACKGROUND + PROTECTED * bump(606.0);
        assert!((open[606] - covered).abs() < 1e-12, "{}", open[606]);
        assert!(open[597] > 1.5 && open[598] < 0.5 && open[613] < 0.5 && open[614] > 1.2);
        // the area of half a Gaussian bump
        let added = open[..506].iter().map(|r| r - BACKGROUND).sum::<f64>();
        assert!((added - 4.0 * BUMP_SD * 2.5066 / 2.0).abs() < 2.0, "{added}");
    }

    #[test]
    fn the_preference_keeps_mean_rates() {
        let n = 200_000usize;
        let random: Vec<u8> = (0..n as u64)
            .map(|i| {
                (i.wrapping_mul(0x9E37_79B9_7F4A_7C15)
                    .rotate_left(29)
                    .wrapping_mul(0xD6E8_FEB8_6659_FD93)
                    >> 62) as u8
            })
            .collect();
        let mean = cut_rates(&random).iter().sum::<f64>() / n as f64;
        assert!((mean / BACKGROUND - 1.0).abs() < 0.05, "{mean}");
    }
}
