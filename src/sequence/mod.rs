//! Sequences as codes a base: 0, 1, 2, 3 are A, C, G, T, and 4 is N. Their letters, their other strand, and
//! sequences that are in no pack, made from others.

pub mod dinuc_shuffle;

/// The letter of each code.
const LETTERS: &[u8; 5] = b"ACGTN";

/// The code of a letter in any case; what is not A, C, G or T is N.
pub fn code(base: u8) -> u8 {
    match base.to_ascii_uppercase() {
        b'A' => 0,
        b'C' => 1,
        b'G' => 2,
        b'T' => 3,
        _ => 4,
    }
}

/// The letters of codes.
pub fn letters(codes: &[u8]) -> String {
    codes.iter().map(|&code| char::from(LETTERS[usize::from(code)])).collect()
}

/// The code of the base that pairs with this one.
pub const fn complement(code: u8) -> u8 {
    if code < 4 { 3 - code } else { code }
}

/// The other strand, read in its own direction.
pub fn reverse_complement(codes: &[u8]) -> impl Iterator<Item = u8> {
    codes.iter().rev().map(|&code| complement(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_codes_and_the_other_strand() {
        assert_eq!(b"aCgTNr".map(code), [0, 1, 2, 3, 4, 4]);
        assert_eq!(letters(&[0, 1, 2, 3, 4]), "ACGTN");
        assert_eq!(reverse_complement(&[0, 0, 1, 4]).collect::<Vec<_>>(), [4, 2, 3, 3]);
    }
}
