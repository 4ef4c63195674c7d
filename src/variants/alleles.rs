//! The two windows of a variant: the genome around it with allele1, and with allele2.
//!
//! Both begin `inputlen / 2` bp before the variant and have `inputlen` bp, so an indel moves the
//! bases after it and the windows of its alleles end at different bases of the genome.
//! Source: variant-scorer `VariantGenerator`, which scores a substitution whatever the genome has
//! there, stops at an indel whose allele1 is not the genome's, and at a deletion whose window leaves
//! the contig. Here such rows are skipped, and the reason is told.

use std::fmt;

use crate::input::variants::Variant;
use crate::sequence::{code, letters};
use crate::store::GenomePack;

/// Why a variant cannot be scored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Skip {
    UnknownContig,
    /// The windows, or a base beyond them, lie outside the contig.
    Edge,
    /// More bases than fit into the half of a window that the variant begins.
    LongAllele,
    /// Neither allele is what the genome has; the genome's bases.
    NotInGenome(String),
    /// Only allele1 of an indel can be the genome's; the genome's bases.
    IndelNotInGenome(String),
    /// A row with an allele that has no sequence.
    Unusable(String),
}

impl Skip {
    /// The kind of reason, for counting.
    pub fn kind(&self) -> &str {
        match self {
            Skip::UnknownContig => "contig is not in the genome",
            Skip::Edge => "window leaves the contig",
            Skip::LongAllele => "allele is too long for the window",
            Skip::NotInGenome(_) => "neither allele is the genome's",
            Skip::IndelNotInGenome(_) => "allele1 of the indel is not the genome's",
            Skip::Unusable(reason) => reason,
        }
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        match self {
            Skip::NotInGenome(bases) | Skip::IndelNotInGenome(bases) => {
                write!(f, ", which has {bases}")
            }
            _ => Ok(()),
        }
    }
}

/// What windows are cut by.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    pub inputlen: usize,
    pub outputlen: usize,
    /// Score substitutions even where neither allele is the genome's.
    pub allow_mismatch: bool,
}

/// A variant that can be scored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    pub contig: u32,
    /// 0-based
    pub pos: u64,
    /// Base codes, 0..=3.
    pub alleles: [Vec<u8>; 2],
    /// Which allele the genome has, if one.
    pub genome_has: Option<usize>,
}

impl Cut {
    /// Finds a variant in the genome; `contig` is where its name was found, if anywhere.
    pub fn place(
        &self,
        variant: &Variant,
        contig: Option<u32>,
        genome: &GenomePack,
    ) -> Result<Placed, Skip> {
        let contig = contig.ok_or(Skip::UnknownContig)?;
        let alleles =
            [0, 1].map(|i| variant.bases(i).iter().map(|&b| code(b)).collect::<Vec<u8>>());
        let [length1, length2] = [0, 1].map(|i| alleles[i].len());
        let half = self.inputlen / 2;
        // An indel takes bases out of the second half of a profile as well.
        let most = if length1 == length2 { half } else { half.min(self.outputlen / 2) };
        if length1.max(length2) > most {
            return Err(Skip::LongAllele);
        }
        // variant-scorer asks for one base more than the windows hold.
        let more = 1.max(length1.saturating_sub(length2));
        let end = variant.pos + (half + more) as u64;
        if variant.pos < half as u64 || end > genome.contigs()[contig as usize].length {
            return Err(Skip::Edge);
        }
        let mut there = vec![0; length1.max(length2)];
        genome.codes(contig, variant.pos as i64, false, &mut there);
        let genome_has = [0, 1].into_iter().find(|&i| there.starts_with(&alleles[i]));
        match genome_has {
            Some(0) => {}
            _ if length1 != length2 => {
                return Err(Skip::IndelNotInGenome(shown(&there[..length1])));
            }
            None if !self.allow_mismatch => return Err(Skip::NotInGenome(shown(&there))),
            _ => {}
        }
        Ok(Placed { contig, pos: variant.pos, alleles, genome_has })
    }

    /// The genome's bases that both windows are made of: `inputlen`, and as many more as a deletion
    /// takes out.
    pub fn flank(&self, placed: &Placed, genome: &GenomePack) -> Vec<u8> {
        let [length1, length2] = [0, 1].map(|i| placed.alleles[i].len());
        let mut flank = vec![0; self.inputlen + length1.saturating_sub(length2)];
        let start = placed.pos as i64 - (self.inputlen / 2) as i64;
        genome.codes(placed.contig, start, false, &mut flank);
        flank
    }

    /// Puts an allele into a flank, or into a shuffle of it; [inputlen].
    pub fn window(&self, placed: &Placed, allele: usize, flank: &[u8], out: &mut Vec<u8>) {
        let half = self.inputlen / 2;
        let bases = &placed.alleles[allele];
        let rest = self.inputlen - half - bases.len();
        let after = half + placed.alleles[0].len();
        out.extend_from_slice(&flank[..half]);
        out.extend_from_slice(bases);
        out.extend_from_slice(&flank[after..after + rest]);
    }
}

fn shown(codes: &[u8]) -> String {
    if codes.is_empty() { "-".to_string() } else { letters(codes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENOME: &[u8] = b"ACGTNACGTTGCAACCGGTT";
    const CUT: Cut = Cut { inputlen: 8, outputlen: 4, allow_mismatch: false };

    fn genome() -> GenomePack {
        GenomePack::from_sequences([("chr1", GENOME)])
    }

    fn variant(pos: u64, allele1: &str, allele2: &str) -> Variant {
        Variant {
            row: 1,
            chrom: "chr1".into(),
            pos,
            alleles: [allele1.into(), allele2.into()],
            id: "x".into(),
            end: String::new(),
        }
    }

    fn place(pos: u64, allele1: &str, allele2: &str) -> Result<Placed, Skip> {
        CUT.place(&variant(pos, allele1, allele2), Some(0), &genome())
    }

    fn windows(pos: u64, allele1: &str, allele2: &str) -> [String; 2] {
        let placed = place(pos, allele1, allele2).unwrap();
        let flank = CUT.flank(&placed, &genome());
        [0, 1].map(|i| {
            let mut out = Vec::new();
            CUT.window(&placed, i, &flank, &mut out);
            letters(&out)
        })
    }

    /// ACGTNACGTTGCAACCGGTT
    ///         T at 8, window of 8 from 4: NACG TTGC
    #[test]
    fn windows_of_substitutions_and_indels() {
        assert_eq!(windows(8, "T", "A"), ["NACGTTGC", "NACGATGC"]);
        assert_eq!(windows(8, "t", "c"), ["NACGTTGC", "NACGCTGC"]);
        assert_eq!(windows(8, "TT", "CA"), ["NACGTTGC", "NACGCAGC"]);
        // allele1 need not be the genome's, if allele2 is
        assert_eq!(windows(8, "A", "T"), ["NACGATGC", "NACGTTGC"]);
        // a deletion draws in bases from beyond, an insertion pushes some out
        assert_eq!(windows(8, "T", "-"), ["NACGTTGC", "NACGTGCA"]);
        assert_eq!(windows(8, "TT", "T"), ["NACGTTGC", "NACGTGCA"]);
        assert_eq!(windows(8, "-", "CA"), ["NACGTTGC", "NACGCATT"]);
        assert_eq!(windows(8, "T", "TG"), ["NACGTTGC", "NACGTGTG"]);
    }

    #[test]
    fn what_cannot_be_placed_says_why() {
        let wanted = |pos, a, b| place(pos, a, b).unwrap_err().to_string();
        assert_eq!(wanted(8, "A", "C"), "neither allele is the genome's, which has T");
        assert_eq!(wanted(4, "A", "C"), "neither allele is the genome's, which has N");
        assert_eq!(wanted(8, "A", "-"), "allele1 of the indel is not the genome's, which has T");
        // the list has its alleles swapped: no window is made of an allele1 that is not there
        assert_eq!(wanted(8, "-", "TTTC"), "allele is too long for the window");
        assert_eq!(wanted(8, "TTG", "T"), "allele is too long for the window");
        let elsewhere = CUT.place(&variant(8, "T", "A"), None, &genome());
        assert_eq!(elsewhere, Err(Skip::UnknownContig));
        let allowed = Cut { allow_mismatch: true, ..CUT };
        let placed = allowed.place(&variant(8, "A", "C"), Some(0), &genome()).unwrap();
        assert_eq!(placed.genome_has, None);
        assert!(allowed.place(&variant(8, "A", "-"), Some(0), &genome()).is_err());
        assert_eq!(place(8, "A", "T").unwrap().genome_has, Some(1));
    }

    /// variant-scorer keeps 1-based positions with pos - 4 > 0 and pos + 4 <= 20.
    #[test]
    fn the_edges_of_a_contig() {
        for pos in 0..GENOME.len() as u64 {
            let base = char::from(GENOME[pos as usize]).to_string();
            if base == "N" {
                continue;
            }
            let fits = pos + 1 > 4 && pos + 1 + 4 <= 20;
            assert_eq!(place(pos, &base, "A") != Err(Skip::Edge), fits, "{pos}");
            // one base taken out needs one more, which the check above has in it; two need another
            let two = std::str::from_utf8(&GENOME[pos as usize..]).unwrap();
            if fits && two.len() > 1 {
                let deletion = place(pos, &two[..2], "-");
                assert_eq!(deletion == Err(Skip::Edge), pos + 6 > 20, "{pos}");
            }
        }
        assert_eq!(place(1_000, "A", "C"), Err(Skip::Edge));
    }
}
