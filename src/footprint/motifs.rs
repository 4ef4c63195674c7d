//! Sequences to insert: the enzymes' own, or those of a file `name TAB bases`.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;

use anyhow::Result;

use crate::error::Problem;
use crate::files::atomic;
use crate::input::lines;
use crate::pack::shift::DataType;
use crate::sequence;

/// The name of the background without a motif.
pub const CONTROL: &str = "control";

/// What the enzymes like to cut; the official tool tests its correction on them. Both rows of DNase
/// are one sequence there.
const TN5: [(&str, &str); 5] = [
    ("tn5_1", "GCACAGTACAGAGCTG"),
    ("tn5_2", "GTGCACAGTTCTAGAGTGTGCAG"),
    ("tn5_3", "CCTCTACACTGTGCAGAA"),
    ("tn5_4", "GCACAGTTCTAGACTGTGCAG"),
    ("tn5_5", "CTGCACAGTGTAGAGTTGTGC"),
];
const DNASE: [(&str, &str); 2] = [("dnase_1", "TTTACAAGTCCA"), ("dnase_2", "TTTACAAGTCCA")];

/// Bytes of a name: files may have 255, of which prefix and ending take some.
const MAX_NAME: usize = 100;

/// A sequence with a name that files can be called by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Motif {
    pub name: String,
    /// Codes 0..=3 = ACGT; 4 = N, which takes the background's base away and puts none in its place.
    pub codes: Vec<u8>,
}

impl Motif {
    /// Errors: a letter that is not A, C, G, T or N; no letter; a name that no file can have.
    pub fn new(name: &str, bases: &str) -> Result<Self, Problem> {
        // Also those of databases: MA0139.1, GATA1::TAL1.
        let may_name = |c: char| c.is_alphanumeric() || "_-+.:".contains(c);
        let names_a_file = (1..=MAX_NAME).contains(&name.len())
            && name.chars().all(may_name)
            && !name.starts_with('.');
        if !names_a_file {
            return Err(Problem::new(format!("{name:?} cannot name a motif"))
                .fix("files are called by motif names: use letters, digits, _ - and +"));
        }
        if bases.is_empty() {
            return Err(Problem::new(format!("motif {name} has no bases"))
                .fix("put the motif's sequence into column 2"));
        }
        let code = |letter: char| match letter.to_ascii_uppercase() {
            'A' => Ok(0),
            'C' => Ok(1),
            'G' => Ok(2),
            'T' => Ok(3),
            'N' => Ok(4),
            _ => Err(Problem::new(format!(
                "motif {name} has the letter {letter:?}, expected A, C, G, T or N"
            ))
            .fix("write one sequence of bases; a matrix or IUPAC code cannot be inserted")),
        };
        let codes = bases.chars().map(code).collect::<Result<_, _>>()?;
        Ok(Self { name: name.to_string(), codes })
    }

    /// No bases: the background as it is.
    pub fn control() -> Self {
        Self { name: CONTROL.to_string(), codes: vec![] }
    }

    /// One that an enzyme likes to cut, as the official tool tells it: by its name.
    pub fn is_enzyme(&self) -> bool {
        let name = self.name.to_lowercase();
        name.contains("tn5") || name.contains("dnase")
    }

    fn bases(&self) -> String {
        sequence::letters(&self.codes)
    }
}

/// The motifs of an assay's enzyme.
pub fn enzyme(data_type: DataType) -> Vec<Motif> {
    let table: &[(&str, &str)] = match data_type {
        DataType::Atac => &TN5,
        DataType::Dnase => &DNASE,
    };
    // The tables hold names and bases that `new` takes; a test goes through them.
    table.iter().map(|(name, bases)| Motif::new(name, bases).expect("a built-in motif")).collect()
}

/// Reads `name TAB bases` lines; empty lines and `#` lines are skipped.
///
/// Errors, with file and line: other columns, letters that are no bases, a name given twice, a file
/// without motifs.
pub fn read(path: &Path) -> Result<Vec<Motif>> {
    let mut motifs: Vec<Motif> = Vec::new();
    let mut seen: HashMap<String, usize> = HashMap::from([(CONTROL.to_string(), 0)]);
    lines::for_each(path, |number, line| {
        if line.trim().is_empty() || line.starts_with('#') {
            return Ok(());
        }
        let motif = parse(line).map_err(|p| p.at(lines::place(path, number)))?;
        if let Some(earlier) = seen.insert(motif.name.clone(), number) {
            let what = match earlier {
                0 => format!("{CONTROL} is the name of the background without a motif"),
                line => format!("motif {} is already on line {line}", motif.name),
            };
            return Err(Problem::new(what)
                .at(lines::place(path, number))
                .fix("give every motif a name of its own")
                .into());
        }
        motifs.push(motif);
        Ok(())
    })?;
    if motifs.is_empty() {
        return Err(Problem::new("file has no motifs")
            .at(path.display())
            .fix("write one motif a line: name, tab, sequence")
            .into());
    }
    Ok(motifs)
}

fn parse(line: &str) -> Result<Motif, Problem> {
    let columns: Vec<&str> = line.split('\t').collect();
    let &[name, bases] = columns.as_slice() else {
        return Err(Problem::new(format!(
            "line has {} columns, expected 2: name and sequence, a tab between them",
            columns.len()
        ))
        .fix("separate the name from the sequence by one tab"));
    };
    Motif::new(lines::used(name.trim(), "name of the motif")?, bases.trim())
}

/// Writes motifs as `read` reads them: the official `motif_to_pwm.tsv`.
pub fn write(path: &Path, motifs: &[Motif]) -> Result<()> {
    atomic::write(path, |out| {
        for motif in motifs {
            writeln!(out, "{}\t{}", motif.name, motif.bases())?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<Motif>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("motifs.tsv");
        std::fs::write(&path, text).unwrap();
        read(&path).map_err(|e| e.to_string().replace(&path.display().to_string(), "motifs.tsv"))
    }

    #[test]
    fn names_and_bases() {
        let motifs = read_text("# mine\nGATA+TAL\tacgtn \r\n\nTn5_x\tTTT").unwrap();
        assert_eq!(motifs[0], Motif { name: "GATA+TAL".into(), codes: vec![0, 1, 2, 3, 4] });
        assert_eq!(motifs[1].codes, [3, 3, 3]);
        assert_eq!(motifs.iter().map(Motif::is_enzyme).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn built_in_motifs_survive_a_file() {
        for data_type in [DataType::Atac, DataType::Dnase] {
            let motifs = enzyme(data_type);
            assert!(motifs.iter().all(Motif::is_enzyme));
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("motif_to_pwm.tsv");
            write(&path, &motifs).unwrap();
            assert_eq!(read(&path).unwrap(), motifs);
        }
    }

    #[test]
    fn what_is_no_motif_names_its_line() {
        for (text, wanted) in [
            ("", "file has no motifs"),
            ("# only this\n", "file has no motifs"),
            ("a ACGT\n", "line has 1 columns, expected 2"),
            ("a\tACGT\tx\n", "line has 3 columns"),
            ("a\tACGU\n", "motif a has the letter 'U'"),
            ("a\t\n", "motif a has no bases"),
            ("../a\tACGT\n", "cannot name a motif"),
            ("\tACGT\n", "cannot name a motif"),
            ("n\x1b[31m\tACGT\n", r#""n\u{1b}[31m" cannot name a motif"#),
            ("a b\tACGT\n", "use letters, digits, _ - and +"),
            (&format!("{}\tACGT\n", "x".repeat(101)), "cannot name a motif"),
            ("a\tACGT\nb\tA\na\tGG\n", "motif a is already on line 1\n  where: motifs.tsv line 3"),
            ("control\tACGT\n", "control is the name of the background"),
        ] {
            let error = read_text(text).unwrap_err();
            assert!(error.contains(wanted) && error.contains("motifs.tsv"), "{text:?}: {error}");
        }
    }
}
