//! One contig table over all inputs: who knows a contig, how long it is there, who needs it.
//!
//! In: lists of names with lengths (genome, sizes, signal, BAM headers), names without (fragments),
//! regions, a fold. Out: findings on names and lengths, and rows to show.
//! The first list with lengths is the reference that all others are held against.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::{Finding, grouped};
use crate::error::Problem;
use crate::input::assembly::Assembly;
use crate::input::folds::{Folds, Split};
use crate::input::reads::peek::Peeked;
use crate::input::regions::Region;

/// The checks' names in the report: names and lengths; rows that will be left out.
const CHECK: &str = "contigs";
pub const ROWS: &str = "rows";

/// Bytes of a name that may be a contig's. Real ones have some 20; one far longer is damage.
const LONGEST_NAME: usize = 1000;

/// All inputs that name contigs.
#[derive(Clone, Debug, Default)]
pub struct ContigTable {
    lists: Vec<List>,
    users: Vec<User>,
    folds: Option<(String, Folds)>,
}

/// Names, and lengths where the input has them.
#[derive(Clone, Debug)]
struct List {
    role: &'static str,
    place: String,
    contigs: Vec<(String, Option<u64>)>,
    lengths: HashMap<String, Option<u64>>,
    /// False when the file was read in part, and may name others too.
    is_all: bool,
}

/// The contigs of an assembly as [`ContigTable::add_list`] takes them.
pub fn with_lengths(contigs: &Assembly) -> impl Iterator<Item = (String, Option<u64>)> {
    contigs.iter().map(|contig| (contig.name.clone(), Some(contig.length)))
}

/// Rows of a regions file by contig.
#[derive(Clone, Debug)]
struct User {
    role: &'static str,
    place: String,
    rows: usize,
    by_chrom: BTreeMap<String, Rows>,
}

#[derive(Clone, Debug)]
struct Rows {
    count: usize,
    first_line: usize,
    /// Largest end, and its line.
    last: (u64, usize),
}

/// A contig and what each input says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub name: String,
    /// bp in each list; `None` where the list does not have it, `Some(None)` without a length.
    pub lengths: Vec<Option<Option<u64>>>,
    /// Rows in each regions file.
    pub counts: Vec<usize>,
    pub split: Option<Split>,
}

impl ContigTable {
    /// Adds an input that lists contigs: `genome`, `chrom_sizes`, `signal`, `reads`. Lengths (bp) are
    /// `None` for formats that have none, such as fragment files.
    pub fn add_list(
        &mut self,
        role: &'static str,
        path: &Path,
        contigs: impl IntoIterator<Item = (String, Option<u64>)>,
    ) {
        let contigs: Vec<(String, Option<u64>)> = contigs.into_iter().collect();
        let lengths = contigs.iter().cloned().collect();
        let place = path.display().to_string();
        self.lists.push(List { role, place, contigs, lengths, is_all: true });
    }

    /// Adds the contigs that a file of reads names, as far as it was read.
    pub fn add_reads(&mut self, path: &Path, peeked: Peeked) {
        self.add_list("reads", path, peeked.contigs);
        if let Some(list) = self.lists.last_mut() {
            list.is_all = peeked.is_all;
        }
    }

    /// Adds the rows of a regions file: contig, end (bp), line.
    pub fn add_rows<'a>(
        &mut self,
        role: &'static str,
        path: &Path,
        rows: impl IntoIterator<Item = (&'a str, u64, usize)>,
    ) {
        let mut user =
            User { role, place: path.display().to_string(), rows: 0, by_chrom: BTreeMap::new() };
        for (chrom, end, line) in rows {
            user.rows += 1;
            match user.by_chrom.get_mut(chrom) {
                Some(rows) => {
                    rows.count += 1;
                    rows.last = rows.last.max((end, line));
                }
                None => {
                    let rows = Rows { count: 1, first_line: line, last: (end, line) };
                    user.by_chrom.insert(chrom.to_string(), rows);
                }
            }
        }
        self.users.push(user);
    }

    /// Adds peaks or nonpeaks.
    pub fn add_regions(&mut self, role: &'static str, path: &Path, regions: &[Region]) {
        self.add_rows(role, path, regions.iter().map(|r| (r.chrom.as_str(), r.end, r.line)));
    }

    pub fn set_folds(&mut self, path: &Path, folds: &Folds) {
        self.folds = Some((path.display().to_string(), folds.clone()));
    }

    /// bp of a contig in the first list.
    pub fn length(&self, name: &str) -> Option<u64> {
        self.lists.first()?.lengths.get(name).copied().flatten()
    }

    /// True when a window of `width` bp around the region's centre can be trained on: it lies within the
    /// contig of the first list, and of the signal. Without lists there is no telling.
    pub fn holds(&self, region: &Region, width: usize) -> bool {
        let (center, half) = (region.center(), width as u64 / 2);
        let in_list = |list: &List| {
            let length = list.lengths.get(&region.chrom);
            length.is_some_and(|length| length.is_none_or(|bp| center + half <= bp))
        };
        let others = self.lists.iter().skip(1).filter(|list| list.role == "signal");
        center >= half && self.lists.first().into_iter().chain(others).all(in_list)
    }

    /// Roles of the columns of a row: lists, then regions files.
    pub fn columns(&self) -> (Vec<&'static str>, Vec<&'static str>) {
        (self.lists.iter().map(|l| l.role).collect(), self.users.iter().map(|u| u.role).collect())
    }

    /// Every contig, in the order of the lists; those of regions and fold alone come last.
    pub fn rows(&self) -> Vec<Row> {
        let mut names: Vec<&str> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        let listed = self.lists.iter().flat_map(|l| l.contigs.iter().map(|(n, _)| n.as_str()));
        let used = self.users.iter().flat_map(|u| u.by_chrom.keys().map(String::as_str));
        let split = self.folds.iter().flat_map(|(_, folds)| {
            Split::ALL.into_iter().flat_map(|s| folds.names(s).iter().map(String::as_str))
        });
        for name in listed.chain(used).chain(split) {
            if seen.insert(name) {
                names.push(name);
            }
        }
        let splits = self.folds.as_ref().map(|(_, folds)| folds.splits());
        names
            .into_iter()
            .map(|name| Row {
                name: name.to_string(),
                lengths: self.lists.iter().map(|l| l.lengths.get(name).copied()).collect(),
                counts: self
                    .users
                    .iter()
                    .map(|u| u.by_chrom.get(name).map_or(0, |rows| rows.count))
                    .collect(),
                split: splits.as_ref().and_then(|splits| splits.of(name)),
            })
            .collect()
    }

    /// What the table shows: other names, other lengths, contigs that someone needs and no one has.
    pub fn findings(&self) -> Vec<Finding> {
        let Some((reference, others)) = self.lists.split_first() else { return Vec::new() };
        let mut found = Vec::new();
        let used = |name: &str| {
            // Without regions there is no telling.
            self.users.is_empty() || self.users.iter().any(|u| u.by_chrom.contains_key(name))
        };
        for list in others {
            found.extend(reference.against(list, used));
        }
        for user in &self.users {
            found.extend(user.against(reference));
            // Sizes and a genome that was read in part need not have everything.
            let partial = |l: &&List| matches!(l.role, "chrom_sizes" | "genome") || !l.is_all;
            for list in others.iter().filter(|l| !partial(l)) {
                found.extend(user.missing_from(list, reference));
            }
        }
        if let Some((place, folds)) = &self.folds {
            found.extend(folds_against(reference, place, folds));
        }
        if found.is_empty() {
            let shared = self.lists.iter().map(|l| l.role);
            found.push(Finding::pass(
                CHECK,
                format!(
                    "{} contigs in the {}; names and lengths agree in {}",
                    grouped(reference.contigs.len() as u64),
                    reference.role,
                    shared
                        .chain(self.users.iter().map(|u| u.role))
                        .chain(self.folds.iter().map(|_| "folds"))
                        .collect::<Vec<_>>()
                        .join(", ")
                ),
            ));
        }
        found
    }
}

impl List {
    fn names(&self) -> impl Iterator<Item = &str> {
        self.contigs.iter().map(|(name, _)| name.as_str())
    }

    /// Shared contigs that rows lie on must have one length, and there must be some that are shared.
    fn against(&self, other: &List, used: impl Fn(&str) -> bool) -> Option<Finding> {
        let mut shared = 0usize;
        let (mut different, mut unused) = (Vec::new(), Vec::new());
        for (name, length) in &other.contigs {
            let Some(known) = self.lengths.get(name) else { continue };
            shared += 1;
            if let (Some(known), Some(length)) = (*known, *length)
                && known != length
            {
                let of_use = if used(name) { &mut different } else { &mut unused };
                of_use.push((name, known, length));
            }
        }
        let place = format!("{} and {}", self.place, other.place);
        // Reads on what a smaller genome leaves out may come first; counting them tells.
        if shared == 0 && !other.is_all {
            return None;
        }
        if shared == 0 {
            let problem =
                other_names("the files share no contig name", self, other.names(), &other.place);
            return Some(Finding::fail(CHECK, problem.at(place)));
        }
        let (name, known, length) = different.first().or(unused.first())?;
        let named = |length: u64| assembly(length).map_or(String::new(), |a| format!(" ({a})"));
        let problem = Problem::new(format!(
            "{} of {shared} shared contigs differ in length: {name} is {known} bp long in the {}{} but {length} bp in the {}{}: another assembly?",
            different.len() + unused.len(),
            self.role,
            named(*known),
            other.role,
            named(*length),
        ));
        let problem = problem.at(place);
        Some(match different.is_empty() {
            true => Finding::warn(CHECK, problem.fix(
                "no region lies on it, so this run can go on; use files made from one assembly if one should",
            )),
            false => Finding::fail(CHECK, problem.fix("use files made from one assembly")),
        })
    }
}

impl User {
    fn missing<'a>(&'a self, list: &'a List) -> impl Iterator<Item = (&'a String, &'a Rows)> {
        self.by_chrom.iter().filter(|(name, _)| !list.lengths.contains_key(*name))
    }

    fn against(&self, reference: &List) -> Option<Finding> {
        let missing: usize = self.missing(reference).map(|(_, rows)| rows.count).sum();
        if missing == self.rows && self.rows > 0 {
            let names = self.by_chrom.keys().map(String::as_str);
            let what = format!("no region lies on a contig of the {}", reference.role);
            let problem = other_names(&what, reference, names, &self.place);
            return Some(Finding::fail(CHECK, problem.at(&self.place)));
        }
        if let Some((name, rows)) = self.missing(reference).next() {
            let problem = Problem::new(format!(
                "{} of {} {} lie on contigs missing from the {}, e.g. {name} (line {})",
                grouped(missing as u64),
                grouped(self.rows as u64),
                self.role,
                reference.role,
                rows.first_line
            ));
            let fix = "they are left out; if you need them, use files made from one assembly";
            return Some(Finding::warn(ROWS, problem.at(&self.place).fix(fix)));
        }
        let outside = self.by_chrom.iter().find_map(|(name, rows)| {
            let length = reference.lengths.get(name).copied().flatten()?;
            (rows.last.0 > length).then_some((name, length, rows.last))
        });
        let (name, length, (end, line)) = outside?;
        let problem = Problem::new(format!(
            "{} reach past the end of a contig: {name} is {length} bp long, but a row ends at {end}: another assembly?",
            self.role
        ));
        let place = format!("{} line {line}", self.place);
        Some(Finding::warn(CHECK, problem.at(place).fix("use files made from one assembly")))
    }

    /// Rows on contigs that the genome has and `list` lacks: their windows are dropped.
    fn missing_from(&self, list: &List, reference: &List) -> Option<Finding> {
        let gone = |(name, rows): (&String, &Rows)| {
            reference.lengths.contains_key(name).then_some((name.clone(), rows.count))
        };
        let gone: Vec<(String, usize)> = self.missing(list).filter_map(gone).collect();
        let (name, _) = gone.first()?;
        let count: usize = gone.iter().map(|(_, n)| n).sum();
        let problem = Problem::new(format!(
            "{} of {} {} lie on contigs that the {} does not have, e.g. {name}",
            grouped(count as u64),
            grouped(self.rows as u64),
            self.role,
            list.role
        ))
        .at(&list.place)
        .fix("they are left out; make the signal with all contigs of the genome in its header");
        Some(Finding::warn(ROWS, problem))
    }
}

fn folds_against(reference: &List, place: &str, folds: &Folds) -> Vec<Finding> {
    let mut found = Vec::new();
    for split in Split::ALL {
        let wanted = folds.names(split);
        let missing: Vec<&String> =
            wanted.iter().filter(|name| !reference.lengths.contains_key(*name)).collect();
        let Some(first) = missing.first() else { continue };
        if let Some(endless) = missing.iter().find(|name| name.len() > LONGEST_NAME) {
            let problem = Problem::new(format!(
                "a `{split}` chromosome of the fold is missing from the {}: {endless}",
                reference.role
            ));
            let fix =
                "no contig has so long a name: make the fold again with `cbp-fast prep splits`";
            found.push(Finding::fail(CHECK, problem.at(place).fix(fix)));
        } else if missing.len() == wanted.len() {
            let what =
                format!("no chromosome of the fold's `{split}` list is in the {}", reference.role);
            let names = wanted.iter().map(String::as_str);
            let problem = other_names(&what, reference, names, place);
            found.push(Finding::fail(CHECK, problem.at(place)));
        } else {
            let problem = Problem::new(format!(
                "{} of {} `{split}` chromosomes of the fold are not in the {}, e.g. {first}",
                missing.len(),
                wanted.len(),
                reference.role
            ));
            let fix = "they are left out; make the fold with `cbp-fast prep splits` from this genome's sizes";
            found.push(Finding::warn(CHECK, problem.at(place).fix(fix)));
        }
    }
    found
}

/// Names of the reference and of `here`, and how to make them one where that is clear.
fn other_names<'a>(
    what: &str,
    reference: &List,
    here: impl Iterator<Item = &'a str>,
    place: &str,
) -> Problem {
    fn some<'b>(names: impl Iterator<Item = &'b str>) -> String {
        let shown: Vec<&str> = names.take(4).collect();
        let dots = if shown.len() == 4 { ", ..." } else { "" };
        format!("{}{dots}", shown[..shown.len().min(3)].join(", "))
    }
    let known = |name: &str| reference.lengths.contains_key(name);
    let here: Vec<&str> = here.collect();
    let role = reference.role;
    let with_chr = here.iter().any(|name| known(&format!("chr{name}")));
    let without_chr = here.iter().any(|name| name.strip_prefix("chr").is_some_and(known));
    let fix = match (with_chr, without_chr) {
        (true, _) => format!(
            "add chr to the names, for a text file with: sed 's/^/chr/' {place} > renamed; or take chr off those of the {role}"
        ),
        (_, true) => format!(
            "take chr off the names, for a text file with: sed 's/^chr//' {place} > renamed; or add chr to those of the {role}"
        ),
        _ => "name contigs alike in every file, e.g. chr1 everywhere or 1 everywhere".to_string(),
    };
    Problem::new(format!(
        "{what} ({role}: {}; here: {})",
        some(reference.names()),
        some(here.into_iter())
    ))
    .fix(fix)
}

/// Assemblies by the length of their chr1. Source: UCSC's chrom.sizes of each.
fn assembly(chr1: u64) -> Option<&'static str> {
    Some(match chr1 {
        248_956_422 => "GRCh38/hg38",
        249_250_621 => "GRCh37/hg19",
        248_387_328 => "T2T-CHM13/hs1",
        195_471_971 => "GRCm38/mm10",
        195_154_279 => "GRCm39/mm39",
        197_195_432 => "NCBI37/mm9",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Verdict, worst};
    use super::*;

    fn list(names: &[(&str, u64)]) -> Vec<(String, Option<u64>)> {
        names.iter().map(|&(n, l)| (n.to_string(), Some(l))).collect()
    }

    fn table(genome: &[(&str, u64)], signal: &[(&str, u64)]) -> ContigTable {
        let mut table = ContigTable::default();
        table.add_list("genome", Path::new("g.fa"), list(genome));
        table.add_list("signal", Path::new("s.bw"), list(signal));
        table
    }

    fn folds(train: &[&str], valid: &[&str], test: &[&str]) -> Folds {
        let strings = |names: &[&str]| names.iter().map(|n| n.to_string()).collect();
        Folds { train: strings(train), valid: strings(valid), test: strings(test) }
    }

    /// The one finding's verdict and text.
    fn only(table: &ContigTable) -> (Verdict, String) {
        let found = table.findings();
        assert_eq!(found.len(), 1, "{found:?}");
        (found[0].verdict, found[0].problem.to_string())
    }

    const GENOME: &[(&str, u64)] = &[("chr1", 248_956_422), ("chr2", 50), ("chr3", 60)];

    #[test]
    fn agreement_passes_and_fills_the_rows() {
        let mut table = table(GENOME, &GENOME[..2]);
        table.add_list("reads", Path::new("f.tsv"), [("chr1".to_string(), None)]);
        table.add_rows("peaks", Path::new("p.bed"), [("chr1", 40, 1), ("chr1", 50, 2)]);
        table.set_folds(Path::new("f.json"), &folds(&["chr1"], &["chr2"], &["chr3"]));
        assert_eq!(only(&table).0, Verdict::Pass);
        let rows = table.rows();
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[0].lengths, [Some(Some(248_956_422)), Some(Some(248_956_422)), Some(None)]);
        assert_eq!((rows[0].counts[0], rows[0].split), (2, Some(Split::Train)));
        assert_eq!((rows[2].lengths[1], rows[2].split), (None, Some(Split::Test)));
    }

    #[test]
    fn another_assembly_is_named() {
        let (verdict, text) = only(&table(GENOME, &[("chr1", 249_250_621), ("chr2", 50)]));
        assert_eq!(verdict, Verdict::Fail);
        for wanted in ["1 of 2 shared", "(GRCh38/hg38)", "(GRCh37/hg19)", "g.fa and s.bw", "fix:"] {
            assert!(text.contains(wanted), "{text}");
        }
    }

    #[test]
    fn a_length_matters_where_rows_lie() {
        let mut all = table(GENOME, &[("chr1", 248_956_422), ("chr2", 49)]);
        all.add_rows("peaks", Path::new("p.bed"), [("chr1", 9, 1)]);
        let (verdict, text) = only(&all);
        assert_eq!(verdict, Verdict::Warn, "{text}");
        assert!(text.contains("chr2 is 50 bp long") && text.contains("no region lies on it"));
        all.add_rows("nonpeaks", Path::new("n.bed"), [("chr2", 9, 1)]);
        assert_eq!(only(&all).0, Verdict::Fail);
    }

    #[test]
    fn other_name_styles_come_with_the_command_that_mends_them() {
        let (verdict, text) = only(&table(GENOME, &[("1", 248_956_422)]));
        assert_eq!(verdict, Verdict::Fail);
        assert!(text.contains("genome: chr1, chr2, chr3; here: 1"), "{text}");
        assert!(text.contains("sed 's/^/chr/' s.bw"), "{text}");
        let (_, text) = only(&table(&[("1", 5), ("2", 6)], &[("chr1", 5)]));
        assert!(text.contains("sed 's/^chr//' s.bw"), "{text}");
        let (_, text) = only(&table(&[("I", 5)], &[("chrom_one", 5)]));
        assert!(text.contains("name contigs alike"), "{text}");
    }

    #[test]
    fn rows_and_folds_against_the_genome() {
        let mut all = table(GENOME, &GENOME[..2]);
        let rows = [("chr1", 9, 4), ("chr9", 9, 5), ("chr3", 9, 6)];
        all.add_rows("peaks", Path::new("p.bed"), rows);
        all.set_folds(Path::new("f.json"), &folds(&["chr1", "chr7"], &["chr2"], &["8"]));
        let texts: Vec<(Verdict, String)> =
            all.findings().iter().map(|f| (f.verdict, f.problem.to_string())).collect();
        for (verdict, wanted) in [
            (
                Verdict::Warn,
                "1 of 3 peaks lie on contigs missing from the genome, e.g. chr9 (line 5)",
            ),
            (Verdict::Warn, "1 of 3 peaks lie on contigs that the signal does not have, e.g. chr3"),
            (
                Verdict::Warn,
                "1 of 2 `train` chromosomes of the fold are not in the genome, e.g. chr7",
            ),
            (Verdict::Fail, "no chromosome of the fold's `test` list is in the genome"),
        ] {
            assert!(texts.iter().any(|(v, t)| *v == verdict && t.contains(wanted)), "{texts:?}");
        }
        assert_eq!((texts.len(), worst(&all.findings())), (4, Verdict::Fail));

        let mut all = table(GENOME, &GENOME[..2]);
        let damaged = "x".repeat(LONGEST_NAME + 1);
        all.set_folds(Path::new("f.json"), &folds(&["chr1"], &["chr2"], &["chr3", &damaged]));
        let found = all.findings();
        assert!(found.iter().any(|f| f.verdict == Verdict::Fail
            && f.problem.to_string().contains("missing from the genome")));
    }

    #[test]
    fn a_genome_read_in_part_still_tells_another_assembly() {
        let mut all = ContigTable::default();
        all.add_list("chrom_sizes", Path::new("c.sizes"), list(GENOME));
        all.add_list("genome", Path::new("g.fa"), list(&GENOME[..1]));
        all.add_rows("peaks", Path::new("p.bed"), [("chr2", 9, 1)]);
        assert_eq!(only(&all).0, Verdict::Pass);
        all.add_rows("nonpeaks", Path::new("n.bed"), [("2", 9, 1)]);
        let (verdict, text) = only(&all);
        assert_eq!(verdict, Verdict::Fail);
        assert!(text.contains("(chrom_sizes: chr1, chr2, chr3; here: 2)"), "{text}");
        let mut other = ContigTable::default();
        other.add_list("chrom_sizes", Path::new("c.sizes"), list(GENOME));
        other.add_list("genome", Path::new("g.fa"), list(&[("chr1", 249_250_621)]));
        assert!(only(&other).1.contains("GRCh37/hg19"));
    }

    #[test]
    fn rows_past_the_end_name_their_line() {
        let mut all = table(GENOME, GENOME);
        all.add_rows("peaks", Path::new("p.bed"), [("chr2", 51, 7), ("chr2", 20, 8)]);
        let (verdict, text) = only(&all);
        assert_eq!(verdict, Verdict::Warn);
        assert!(text.contains("chr2 is 50 bp long") && text.contains("p.bed line 7"), "{text}");
    }
}
