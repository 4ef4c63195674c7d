//! Draft genomes have hundreds of thousands of contigs: no command may search a list of them for
//! each of them.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::time::{Duration, Instant};

use crate::fixture::{command, stderr};

const CONTIGS: usize = 20_000;
/// bp
const LENGTH: usize = 160;
/// For each command. Searching lists took minutes of each; maps take a second at most.
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn take_no_longer_than_their_bases() {
    let folder = tempfile::tempdir().unwrap();
    let create = |name: &str| BufWriter::new(File::create(folder.path().join(name)).unwrap());
    let (mut fasta, mut sizes) = (create("g.fa"), create("g.sizes"));
    let (mut peaks, mut fragments) = (create("p.bed"), create("f.tsv"));
    // Peaks leave other contigs to the background.
    let mut few = create("few.bed");
    let mut names = Vec::new();
    for i in 0..CONTIGS {
        let name = format!("scaffold_{i:06}");
        let bases: String =
            (0..LENGTH).map(|at| char::from(b"ACGT"[(i * 7 + at * at / 3) % 4])).collect();
        writeln!(fasta, ">{name}\n{bases}").unwrap();
        writeln!(sizes, "{name}\t{LENGTH}").unwrap();
        let peak = format!("{name}\t60\t100\t.\t.\t.\t.\t.\t.\t20");
        writeln!(peaks, "{peak}").unwrap();
        if i % 20 == 0 {
            writeln!(few, "{peak}").unwrap();
        }
        writeln!(fragments, "{name}\t{}\t120\tb\t1", 40 + i % 30).unwrap();
        names.push(name);
    }
    drop((fasta, sizes, peaks, fragments, few));
    let list = |names: &[String]| {
        names.iter().fold(String::new(), |mut text, name| {
            let _ = write!(text, "{}{name:?}", if text.is_empty() { "" } else { "," });
            text
        })
    };
    let (train, rest) = names.split_at(CONTIGS / 2);
    let (valid, test) = rest.split_at(CONTIGS / 4);
    let folds = [train, valid, test].map(list);
    let [train, valid, test] = folds;
    let json = format!("{{\"train\":[{train}],\"valid\":[{valid}],\"test\":[{test}]}}");
    fs::write(folder.path().join("fold.json"), json).unwrap();

    let start = Instant::now();
    for line in [
        "pack genome -g g.fa -o g.cbg -q",
        "pack signal -ifrag f.tsv -g g.cbg -d ATAC --shift 0/0 -o s.cbs -q",
        "prep splits -c g.sizes --k 5 -op five -q",
        "prep splits -c g.sizes -tcr scaffold_000001 -vcr scaffold_000002 -op hand -q",
        "prep nonpeaks -g g.cbg -c g.sizes -p few.bed -fl fold.json -il 60 -st 50 -o n -q",
        "check bias train -g g.cbg -c g.sizes -d ATAC --bigwig s.cbs -p p.bed -n p.bed -fl fold.json -il 60 -ol 20 -fil 2 -dil 1 -b 0.9 -o o",
    ] {
        let arguments: Vec<&str> = line.split(' ').collect();
        let begun = Instant::now();
        let output = command(folder.path(), &arguments).output().unwrap();
        // Of `check` the time alone counts: what it finds is another test's matter.
        assert!(output.status.success() || line.starts_with("check"), "{}", stderr(&output));
        assert!(begun.elapsed() < LIMIT, "{line}: {:?}", begun.elapsed());
    }
    println!("{:?} in all", start.elapsed());
}
