//! `variants` on the built binary: against a direct computation and against recorded output of
//! variant-scorer; lists, VCF and BCF; what is skipped; several models; bad input.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cbp_fast::engine::{Device, Predictions, open_explain};
use cbp_fast::files::keras_h5::{self, Naming};
use cbp_fast::model::{Architecture, Network, ParameterSet};
use cbp_fast::variants::predict::Predictor;
use noodles_bcf as bcf;
use noodles_bgzf as bgzf;
use noodles_vcf::{self as vcf, variant::io::Write as _};

use crate::compress::bgzip;
use crate::fixture::{CONTIG, Fixture, INPUTLEN, Lcg, OUTPUTLEN, command, stderr, tree};

const HALF: usize = INPUTLEN / 2;

/// Weights large enough that alleles matter.
fn network(seed: u64) -> Network {
    let arch = Architecture::new(INPUTLEN, OUTPUTLEN, 4, 2).unwrap();
    let mut parameters = ParameterSet::glorot_uniform(&arch, seed);
    for tensor in &mut parameters.tensors {
        tensor.data.iter_mut().for_each(|w| *w *= 2.0);
    }
    Network { arch, parameters }
}

fn fixture() -> Fixture {
    let fixture = Fixture::new();
    for (name, seed) in [("f0.h5", 1), ("f1.h5", 2), ("f2.h5", 3)] {
        keras_h5::write_single(&fixture.path(name), &network(seed), Naming::WithoutBias).unwrap();
    }
    keras_h5::write_single(&fixture.path("bias.h5"), &network(4), Naming::Bias).unwrap();
    keras_h5::write_full(&fixture.path("full.h5"), &network(1), &network(4)).unwrap();
    fixture
}

fn succeed(fixture: &Fixture, line: &str) -> String {
    stderr(&fixture.succeed(&line.split(' ').collect::<Vec<_>>()))
}

fn fail(fixture: &Fixture, line: &str) -> String {
    fixture.fail(&line.split(' ').collect::<Vec<_>>())
}

/// Bases of each contig.
fn genome(fixture: &Fixture) -> BTreeMap<String, Vec<u8>> {
    let mut contigs = BTreeMap::new();
    let mut name = String::new();
    for line in fixture.read("genome.fa").lines() {
        match line.strip_prefix('>') {
            Some(header) => name = header.split(' ').next().unwrap().to_string(),
            None => contigs
                .entry(name.clone())
                .or_insert_with(Vec::new)
                .extend_from_slice(line.as_bytes()),
        }
    }
    contigs
}

/// A table by column.
struct Columns(Vec<(String, Vec<String>)>);

impl Columns {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        let mut lines = text.lines();
        let mut columns: Vec<(String, Vec<String>)> =
            lines.next().unwrap().split('\t').map(|name| (name.to_string(), vec![])).collect();
        for line in lines {
            let cells: Vec<&str> = line.split('\t').collect();
            assert_eq!(cells.len(), columns.len(), "{line}");
            columns.iter_mut().zip(cells).for_each(|((_, column), cell)| column.push(cell.into()));
        }
        Self(columns)
    }

    fn names(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).collect()
    }

    fn text(&self, name: &str) -> &[String] {
        let found = self.0.iter().find(|(n, _)| n == name);
        &found.unwrap_or_else(|| panic!("no {name} in {:?}", self.names())).1
    }

    fn numbers(&self, name: &str) -> Vec<f64> {
        self.text(name).iter().map(|cell| cell.parse().unwrap()).collect()
    }
}

/// (contig, 0-based position, allele1, allele2), allele1 being the genome's.
type Row = (String, usize, String, String);

/// Variants of every sort.
fn some_variants(fixture: &Fixture, n: usize) -> Vec<Row> {
    let genome = genome(fixture);
    let mut rng = Lcg::new(11);
    (0..n)
        .map(|i| {
            let contig = format!("chr{}", 1 + rng.below(3));
            let pos = HALF + 20 + rng.below((CONTIG - INPUTLEN - 40) as u64) as usize;
            let length = 1 + rng.below(9) as usize;
            let there = std::str::from_utf8(&genome[&contig][pos..pos + length]).unwrap();
            let made: String =
                (0..length).map(|_| char::from(b"ACGT"[rng.below(4) as usize])).collect();
            let first = &there[..1];
            let (allele1, allele2) = match i % 6 {
                0 | 1 => (first.into(), if first == "A" { "C".into() } else { "A".into() }),
                2 => (there.to_string(), made),
                3 => (there.to_string(), "-".into()),
                4 => ("-".into(), made),
                _ => (first.into(), format!("{first}{made}")),
            };
            (contig, pos, allele1, allele2)
        })
        .collect()
}

/// A list of the schema chrombpnet.
fn list(rows: &[Row]) -> String {
    rows.iter()
        .enumerate()
        .map(|(i, (contig, pos, a, b))| format!("{contig}\t{}\t{a}\t{b}\tv{i}\n", pos + 1))
        .collect()
}

/// What a run of the engine says of sequences, one strand: (logits, log counts).
fn outputs(network: &Network, sequences: &[String]) -> Vec<(Vec<f64>, f64)> {
    let mut engine = open_explain(&Device::Cpu, network.clone()).unwrap();
    let codes: Vec<u8> = sequences
        .iter()
        .flat_map(|s| s.bytes())
        .map(|b| b"ACGT".iter().position(|c| *c == b).unwrap_or(4) as u8)
        .collect();
    let mut out = Predictions::default();
    engine.predict_sequences(&codes, &mut out).unwrap();
    out.logits
        .chunks(OUTPUTLEN)
        .zip(&out.logcounts)
        .map(|(l, c)| (l.iter().map(|&l| f64::from(l)).collect(), f64::from(*c)))
        .collect()
}

fn reverse_complement(sequence: &str) -> String {
    let other = |base| match base {
        'A' => 'T',
        'C' => 'G',
        'G' => 'C',
        'T' => 'A',
        n => n,
    };
    sequence.chars().rev().map(other).collect()
}

fn probabilities(logits: &[f64]) -> Vec<f64> {
    let exp: Vec<f64> = logits.iter().map(|l| l.exp()).collect();
    let sum: f64 = exp.iter().sum();
    exp.into_iter().map(|e| e / sum).collect()
}

/// sqrt of the mean of both divergences from the middle, in bits.
fn distance(p: &[f64], q: &[f64]) -> f64 {
    let kl = |a: &[f64], b: &[f64]| -> f64 {
        a.iter().zip(b).map(|(a, b)| a * (2.0 * a / (a + b)).log2()).sum()
    };
    ((kl(p, q) + kl(q, p)) / 2.0).max(0.0).sqrt()
}

/// Written from the definition, on strings: windows by cutting and gluing text, and everything else
/// in f64.
#[test]
fn scores_equal_a_direct_computation() {
    let fixture = fixture();
    let rows = some_variants(&fixture, 60);
    fixture.write("list.tsv", &list(&rows));
    succeed(&fixture, "variants -l list.tsv -g genome.fa -m f0.h5 -o x -n 0");
    let table = Columns::read(&fixture.path("x.variant_scores.tsv"));
    assert_eq!(table.text("variant_id").len(), rows.len());
    assert!(!fixture.path("x.skipped.tsv").exists());

    let genome = genome(&fixture);
    let network = network(1);
    let (mut logfcs, mut jsds, mut originals) = (Vec::new(), Vec::new(), Vec::new());
    for (contig, pos, allele1, allele2) in &rows {
        let bases = std::str::from_utf8(&genome[contig]).unwrap();
        let [one, two] = [allele1, allele2].map(|a| a.replace('-', ""));
        let after = &bases[pos + one.len()..];
        let windows = [&one, &two].map(|allele| {
            let whole = format!("{}{allele}{after}", &bases[pos - HALF..*pos]);
            whole[..INPUTLEN].to_string()
        });
        let mut counts = [0.0; 2];
        let mut profiles: [Vec<f64>; 2] = Default::default();
        for (i, window) in windows.iter().enumerate() {
            let both = outputs(&network, &[window.clone(), reverse_complement(window)]);
            counts[i] = (both[0].1.exp() + both[1].1.exp()) / 2.0;
            let turned = both[1].0.iter().rev();
            let mean: Vec<f64> = both[0].0.iter().zip(turned).map(|(a, b)| (a + b) / 2.0).collect();
            profiles[i] = probabilities(&mean);
        }
        logfcs.push((counts[1] / counts[0]).log2());
        originals.push(distance(&profiles[0], &profiles[1]));
        // Positions that both alleles have: of the longer allele's window the bases it has more are
        // left out, of the other's as many at the end.
        let shared = one.len().min(two.len());
        let [p, q] = [(0, one.len()), (1, two.len())].map(|(i, length)| {
            let cut = one.len().max(two.len()) - shared;
            let kept: Vec<f64> = (0..OUTPUTLEN)
                .filter(|&at| match length > shared {
                    true => at < OUTPUTLEN / 2 + shared || at >= OUTPUTLEN / 2 + length,
                    false => at < OUTPUTLEN - cut,
                })
                .map(|at| profiles[i][at])
                .collect();
            let sum: f64 = kept.iter().sum();
            kept.iter().map(|p| p / sum).collect::<Vec<f64>>()
        });
        jsds.push(distance(&p, &q));
    }
    for (name, wanted) in [("logfc", &logfcs), ("jsd", &jsds), ("original_jsd", &originals)] {
        for (i, (found, wanted)) in table.numbers(name).iter().zip(wanted).enumerate() {
            // f32 logits, averaged in f32: a distance is the square root of what rounding leaves
            let slack = 2e-6 + 1e-5 * wanted.abs();
            assert!(
                (found - wanted).abs() < slack,
                "{name} of {:?}: {found}, expected {wanted}",
                rows[i]
            );
        }
    }
    let most = logfcs.iter().fold(0.0f64, |most, l| most.max(l.abs()));
    assert!(most > 0.05, "the model does not see variants: {most}");
    let products = table.numbers("abs_logfc_x_jsd");
    for (i, product) in products.iter().enumerate() {
        let wanted = table.numbers("abs_logfc")[i] * table.numbers("jsd")[i];
        assert!((product - wanted).abs() <= 1e-6 * wanted + 1e-9);
    }
}

#[test]
fn swapped_alleles_flip_the_sign() {
    let fixture = fixture();
    let rows: Vec<Row> =
        some_variants(&fixture, 40).into_iter().filter(|r| r.2.len() == r.3.len()).collect();
    let rows: Vec<Row> = rows.into_iter().filter(|r| r.2 != "-" && r.3 != "-").collect();
    let swapped: Vec<Row> =
        rows.iter().map(|(c, p, a, b)| (c.clone(), *p, b.clone(), a.clone())).collect();
    fixture.write("a.tsv", &list(&rows));
    fixture.write("b.tsv", &list(&swapped));
    succeed(&fixture, "variants -l a.tsv -g genome.fa -m f0.h5 -o a -n 0");
    let said = succeed(&fixture, "variants -l b.tsv -g genome.fa -m f0.h5 -o b -n 0");
    assert!(said.contains("have allele2 where the genome has it"), "{said}");
    let [a, b] =
        ["a", "b"].map(|p| Columns::read(&fixture.path(&format!("{p}.variant_scores.tsv"))));
    let negated: Vec<f64> = b.numbers("logfc").iter().map(|l| -l).collect();
    assert_eq!(a.numbers("logfc"), negated);
    assert_eq!(a.text("jsd"), b.text("jsd"));
    assert_eq!(a.text("allele1_pred_counts"), b.text("allele2_pred_counts"));
    assert!(a.numbers("logfc").len() >= 10);
}

#[test]
fn both_strands_say_the_same() {
    let arch = network(1).arch;
    let engine = open_explain(&Device::Cpu, network(1)).unwrap();
    let mut predictor =
        Predictor { engines: vec![engine], arch, batch_size: 3, both_strands: true };
    let mut rng = Lcg::new(3);
    let codes: Vec<u8> = (0..4 * INPUTLEN).map(|_| rng.below(5) as u8).collect();
    let mut turned = Vec::new();
    for sequence in codes.chunks(INPUTLEN) {
        turned.extend(cbp_fast::sequence::reverse_complement(sequence));
    }
    let [forward, reverse] = [&codes, &turned].map(|c| predictor.predict(c).unwrap().remove(0));
    assert_eq!(forward.counts, reverse.counts);
    for (a, b) in forward.logits.chunks(OUTPUTLEN).zip(reverse.logits.chunks(OUTPUTLEN)) {
        assert!(a.iter().eq(b.iter().rev()));
    }
    predictor.both_strands = false;
    assert_ne!(predictor.predict(&codes).unwrap()[0].counts, forward.counts);
}

#[test]
fn neither_batches_nor_threads_matter() {
    let fixture = fixture();
    let mut rows = some_variants(&fixture, 25);
    rows.push(rows[3].clone()); // a duplicate is scored again, as it is listed
    fixture.write("list.tsv", &list(&rows));
    let line = "variants -l list.tsv -g genome.fa -m f0.h5 f1.h5 -p peaks.bed -n 2";
    succeed(&fixture, &format!("{line} -o one -bs 4 --threads 1"));
    succeed(&fixture, &format!("{line} -o two --threads 3"));
    let files: Vec<String> =
        tree(fixture.folder.path()).into_iter().filter(|f| f.starts_with("one.")).collect();
    assert_eq!(files.len(), 9, "{files:?}");
    for file in files {
        assert_eq!(fixture.read(&file), fixture.read(&file.replacen("one", "two", 1)), "{file}");
    }
    let shuffled = fixture.read("one.fold_0.variant_scores.shuffled.tsv");
    assert_eq!(shuffled.lines().count(), 1 + 2 * rows.len());
    succeed(&fixture, &format!("{line} -o three -r 99"));
    assert_ne!(shuffled, fixture.read("three.fold_0.variant_scores.shuffled.tsv"));
    let table = Columns::read(&fixture.path("one.fold_0.variant_scores.tsv"));
    let logfc = table.text("logfc");
    assert_eq!(logfc[3], logfc[25]);
}

#[test]
fn folds_and_their_means() {
    let fixture = fixture();
    fixture.write("list.tsv", &list(&some_variants(&fixture, 30)));
    succeed(
        &fixture,
        "snp_score -l list.tsv -g genome.fa -m f0.h5 f1.h5 f2.h5 -p peaks.bed -t 45 -o x",
    );
    let folds: Vec<Columns> = (0..3)
        .map(|k| Columns::read(&fixture.path(&format!("x.fold_{k}.variant_scores.tsv"))))
        .collect();
    let mean = Columns::read(&fixture.path("x.mean.variant_scores.tsv"));
    let mut compared = 0;
    for name in mean.names().into_iter().filter(|n| n.contains(".mean")) {
        let metric = name.replace(".mean", "");
        let of_folds: Vec<Vec<f64>> = folds.iter().map(|f| f.numbers(&metric)).collect();
        for (i, found) in mean.numbers(name).iter().enumerate() {
            let values = of_folds.iter().map(|f| f[i]);
            let wanted = match metric.ends_with(".pval") {
                true => (values.map(f64::ln).sum::<f64>() / 3.0).exp(),
                false => values.sum::<f64>() / 3.0,
            };
            assert!((found - wanted).abs() <= 1e-5 * wanted.abs() + 1e-9, "{name} {i}");
        }
        compared += 1;
    }
    assert_eq!(compared, 26);

    // A model says alone what it says among others; its p-values come from the table it wrote.
    succeed(&fixture, "variants -l list.tsv -g genome.fa -m f1.h5 -p peaks.bed -t 45 -o y");
    for suffix in ["variant_scores.tsv", "variant_scores.shuffled.tsv", "peak_scores.tsv"] {
        assert_eq!(
            fixture.read(&format!("y.{suffix}")),
            fixture.read(&format!("x.fold_1.{suffix}")),
            "{suffix}"
        );
    }
    let before = fixture.read("y.variant_scores.tsv");
    let again = "variants -l list.tsv -g genome.fa -m f1.h5 -p peaks.bed -o y -sh";
    succeed(&fixture, &format!("{again} x.fold_1.variant_scores.shuffled.tsv"));
    assert_eq!(fixture.read("y.variant_scores.tsv"), before);

    // Scores of another model are refused, those of unknown origin are taken with a word.
    let other = format!("{again} x.fold_0.variant_scores.shuffled.tsv");
    let text = fixture.fail(&other.split(' ').collect::<Vec<_>>());
    assert!(text.contains("made from something else") && text.contains("model: "), "{text}");
    fs::copy(fixture.path("x.fold_0.variant_scores.shuffled.tsv"), fixture.path("z.tsv")).unwrap();
    let text = stderr(&fixture.succeed(&format!("{again} z.tsv").split(' ').collect::<Vec<_>>()));
    assert!(text.contains("nothing beside it says"), "{text}");
    succeed(&fixture, &format!("{again} x.fold_1.variant_scores.shuffled.tsv"));

    let table = Columns::read(&fixture.path("y.variant_scores.tsv"));
    let peaks = Columns::read(&fixture.path("y.peak_scores.tsv")).numbers("peak_score");
    let counts = table.numbers("allele2_pred_counts");
    for (i, quantile) in table.numbers("allele2_quantile").into_iter().enumerate() {
        let below = peaks.iter().filter(|&&p| p < counts[i]).count().max(1);
        assert!((quantile - below as f64 / peaks.len() as f64).abs() < 1e-6);
    }
    let shuffled = Columns::read(&fixture.path("y.variant_scores.shuffled.tsv"));
    let background = shuffled.numbers("abs_logfc");
    assert_eq!(background.len(), 45);
    let logfc = table.numbers("abs_logfc");
    for (i, p) in table.numbers("abs_logfc.pval").into_iter().enumerate() {
        let as_large = background.iter().filter(|&&b| b >= logfc[i]).count();
        assert!((p - (as_large + 1) as f64 / 46.0).abs() < 1e-6);
    }
}

/// The same variants as a VCF; REF and ALT of indels share their first base.
fn vcf_text(rows: &[Row]) -> String {
    let mut text = String::from("##fileformat=VCFv4.3\n");
    for contig in ["chr1", "chr2", "chr3"] {
        text.push_str(&format!("##contig=<ID={contig},length={CONTIG}>\n"));
    }
    text.push_str("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n");
    for (i, (contig, pos, a, b)) in rows.iter().enumerate() {
        text.push_str(&format!("{contig}\t{}\tv{i}\t{a}\t{b}\t.\t.\t.\n", pos + 1));
    }
    text
}

fn bcf_bytes(text: &str, compressed: bool) -> Vec<u8> {
    let mut reader = vcf::io::Reader::new(text.as_bytes());
    let header = reader.read_header().unwrap();
    let records: Vec<vcf::variant::RecordBuf> =
        reader.record_bufs(&header).collect::<Result<_, _>>().unwrap();
    let write = |writer: &mut dyn std::io::Write| {
        let mut writer = bcf::io::Writer::from(writer);
        writer.write_variant_header(&header).unwrap();
        records.iter().for_each(|r| writer.write_variant_record(&header, r).unwrap());
    };
    if compressed {
        let mut writer = bgzf::io::Writer::new(Vec::new());
        write(&mut writer);
        writer.finish().unwrap()
    } else {
        let mut bytes = Vec::new();
        write(&mut bytes);
        bytes
    }
}

#[test]
fn vcf_and_bcf_say_what_lists_say() {
    let fixture = fixture();
    let rows: Vec<Row> =
        some_variants(&fixture, 40).into_iter().filter(|r| r.2 != "-" && r.3 != "-").collect();
    fixture.write("list.tsv", &list(&rows));
    succeed(&fixture, "variants -l list.tsv -g genome.fa -m f0.h5 -o wanted -n 1");
    let text = vcf_text(&rows);
    for (name, bytes) in [
        ("a.vcf", text.clone().into_bytes()),
        ("a.vcf.bgz", bgzip(text.as_bytes())),
        ("a.bcf", bcf_bytes(&text, true)),
        ("plain.bcf", bcf_bytes(&text, false)),
    ] {
        fs::write(fixture.path(name), bytes).unwrap();
        succeed(&fixture, &format!("variants -l {name} -g genome.fa -m f0.h5 -o got -n 1"));
        for suffix in ["variant_scores.tsv", "variant_scores.shuffled.tsv"] {
            let [got, wanted] = ["got", "wanted"].map(|p| fixture.read(&format!("{p}.{suffix}")));
            assert_eq!(got, wanted, "{name} {suffix}");
        }
    }
    // Other schemas, with a chromosome name that wants its chr.
    for (schema, line) in [
        (
            "bed",
            rows.iter()
                .map(|(c, p, a, b)| format!("{c}\t{p}\t{}\t{a}\t{b}\tx\n", p + 1))
                .collect::<String>(),
        ),
        (
            "plink",
            rows.iter().map(|(c, p, a, b)| format!("{c}\tx\t0\t{}\t{a}\t{b}\n", p + 1)).collect(),
        ),
        (
            "plink2",
            rows.iter().map(|(c, p, a, b)| format!("{c}\tx\t{}\t{a}\t{b}\n", p + 1)).collect(),
        ),
        (
            "original",
            rows.iter().map(|(c, p, a, b)| format!("{c}\t{}\tx\t{a}\t{b}\n", p + 1)).collect(),
        ),
    ] {
        fixture.write("other.tsv", &line.replace("chr", ""));
        succeed(
            &fixture,
            &format!("variants -l other.tsv -sc {schema} -g genome.fa -m f0.h5 -o got -n 0"),
        );
        let [got, wanted] = ["got", "wanted"]
            .map(|p| Columns::read(&fixture.path(&format!("{p}.variant_scores.tsv"))));
        assert_eq!(got.text("logfc"), wanted.text("logfc"), "{schema}");
        assert_eq!(got.text("chr"), wanted.text("chr"), "{schema}");
        let first: usize = got.text("pos")[0].parse().unwrap();
        assert_eq!(first, rows[0].1 + usize::from(schema != "bed"), "{schema}");
    }
    let snps: String = rows.iter().map(|(c, p, a, b)| format!("{c}\t{p}\t{a}\t{b}\n")).collect();
    fixture.write("snps.tsv", &snps);
    succeed(&fixture, "snp_score -snps snps.tsv -g genome.fa -m f0.h5 -op got -bs 32 -n 0");
    let [got, wanted] =
        ["got", "wanted"].map(|p| Columns::read(&fixture.path(&format!("{p}.variant_scores.tsv"))));
    assert_eq!(got.text("logfc"), wanted.text("logfc"));
    assert_eq!(got.names()[..5], ["chr", "pos", "allele1", "allele2", "variant_id"]);
}

#[test]
fn what_cannot_be_scored_is_counted_and_listed() {
    let fixture = fixture();
    let genome = genome(&fixture);
    let base = |pos: usize| char::from(genome["chr1"][pos - 1]);
    let others = |pos: usize| "ACGT".chars().filter(|&b| b != base(pos)).collect::<Vec<_>>();
    let (reference, other) = (base(5_000), others(5_000));
    let mut text = vcf_text(&[]);
    let mut record = |pos: usize, reference: &str, alternates: &str| {
        text.push_str(&format!("chr1\t{pos}\t.\t{reference}\t{alternates}\t.\tPASS\t.\n"));
    };
    record(5_000, &reference.to_string(), &format!("{},{},*,<DEL>", other[0], other[1]));
    record(5_000, &other[0].to_string(), &other[1].to_string());
    record(5_000, &reference.to_string(), ".");
    record(5_000, &reference.to_string(), "N");
    record(5_000, &reference.to_string(), "G]chr2:77]");
    record(0, &reference.to_string(), "A");
    record(10, &base(10).to_string(), &others(10)[0].to_string());
    text.push_str(&format!("chrUn\t5000\trs1\t{reference}\t{}\t.\t.\t.\n\n", other[0]));
    fixture.write("a.vcf", &text);
    let said = succeed(&fixture, "variants -l a.vcf -g genome.fa -m f0.h5 -o x -n 0");
    assert!(said.contains("2 of 11 variants are scored, 9 are not (see x.skipped.tsv)"), "{said}");
    assert!(said.contains("1 neither allele is the genome's (e.g. row 7, chr1:5000"), "{said}");
    let table = Columns::read(&fixture.path("x.variant_scores.tsv"));
    assert_eq!(table.text("variant_id")[0], format!("chr1_5000_{reference}_{}", other[0]));
    let skipped = Columns::read(&fixture.path("x.skipped.tsv"));
    assert_eq!(skipped.text("row"), ["6", "6", "7", "8", "9", "10", "11", "12", "13"]);
    for (reason, wanted) in skipped.text("reason").iter().zip([
        "allele deleted by an overlapping",
        "symbolic allele",
        "neither allele is the genome's, which has",
        "no alternative allele",
        "letters other than",
        "breakend",
        "position 0",
        "window leaves the contig",
        "contig is not in the genome",
    ]) {
        assert!(reason.contains(wanted), "{reason}, expected {wanted}");
    }

    // The same alleles in a text list: the same reasons, and what is left has the same scores.
    let mut text = String::new();
    for allele in [&other[0].to_string(), &other[1].to_string(), "*", "<DEL>", "N", "G]chr2:77]"] {
        text.push_str(&format!("chr1\t5000\t{reference}\t{allele}\tx\n"));
    }
    text.push_str(&format!("chr1\t5000\tN\t{reference}\tx\n"));
    fixture.write("a.tsv", &text);
    let said = succeed(&fixture, "variants -l a.tsv -g genome.fa -m f0.h5 -o t -n 0");
    assert!(said.contains("2 of 7 variants are scored, 5 are not (see t.skipped.tsv)"), "{said}");
    let of_list = Columns::read(&fixture.path("t.variant_scores.tsv"));
    assert_eq!(of_list.text("logfc"), table.text("logfc"));
    let reasons = |skipped: &Columns, rows: &[usize]| -> Vec<String> {
        rows.iter().map(|&row| skipped.text("reason")[row].clone()).collect()
    };
    let of_list = Columns::read(&fixture.path("t.skipped.tsv"));
    assert_eq!(of_list.text("row"), ["3", "4", "5", "6", "7"]);
    assert_eq!(reasons(&of_list, &[0, 1, 2, 3, 4]), reasons(&skipped, &[0, 1, 4, 5, 4]));

    let wrong = format!("chr1\t5000\t{}\t{}\trs1\n", other[0], other[1]);
    fixture.write("wrong.tsv", &wrong);
    let said = fail(&fixture, "variants -l wrong.tsv -g genome.fa -m f0.h5 -o y -n 0");
    assert!(said.contains("none of 1 variants can be scored"), "{said}");
    assert!(said.contains("y.skipped.tsv") && !fixture.path("y.variant_scores.tsv").exists());
    let said = succeed(
        &fixture,
        "variants -l wrong.tsv -g genome.fa -m f0.h5 -o y -n 0 --allow-ref-mismatch",
    );
    assert!(said.contains("1 variants are scored although neither allele"), "{said}");
    assert!(!fixture.path("y.skipped.tsv").exists(), "an earlier run's reasons");

    // Sizes and --chrom leave chromosomes out.
    let both = format!("chr1\t5000\t{reference}\t{}\ta\nchr2\t5000\tA\tA\tb\n", other[0]);
    fixture.write("both.tsv", &both);
    fixture.write("chr1.sizes", &format!("chr1\t{CONTIG}\n"));
    succeed(&fixture, "variants -l both.tsv -g genome.fa -m f0.h5 -o z -n 0 -s chr1.sizes");
    assert_eq!(Columns::read(&fixture.path("z.skipped.tsv")).text("variant_id"), ["b"]);
    succeed(&fixture, "variants -l both.tsv -g genome.fa -m f0.h5 -o z -n 0 -c chr1");
    assert!(!fixture.path("z.skipped.tsv").exists());
    assert_eq!(Columns::read(&fixture.path("z.variant_scores.tsv")).text("chr"), ["chr1"]);
}

#[test]
fn predictions_and_contributions_of_both_alleles() {
    let fixture = fixture();
    let rows = some_variants(&fixture, 6);
    fixture.write("list.tsv", &list(&rows));
    succeed(
        &fixture,
        "variants -l list.tsv -g genome.fa -m f0.h5 -o x -n 0 --h5 -st counts profile",
    );
    let file = hdf5_metno::File::open(fixture.path("x.variant_predictions.h5")).unwrap();
    let table = Columns::read(&fixture.path("x.variant_scores.tsv"));
    for allele in ["allele1", "allele2"] {
        let counts = file.dataset(&format!("observed/{allele}_pred_counts")).unwrap();
        assert_eq!(counts.shape(), [6, 1]);
        let counts: Vec<f32> = counts.read_raw().unwrap();
        let wanted = table.numbers(&format!("{allele}_pred_counts"));
        assert!(counts.iter().zip(wanted).all(|(&a, b)| f64::from(a) == f64::from(b as f32)));
        let profiles = file.dataset(&format!("observed/{allele}_pred_profiles")).unwrap();
        assert_eq!(profiles.shape(), [6, OUTPUTLEN]);
    }
    for head in ["counts", "profile"] {
        let name = format!("x.variant_shap.{head}.h5");
        let file = hdf5_metno::File::open(fixture.path(&name)).unwrap();
        let alleles: Vec<i64> = file.dataset("alleles").unwrap().read_raw().unwrap();
        assert_eq!(alleles, [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]);
        assert_eq!(file.dataset("variant_ids").unwrap().shape(), [12]);
        let raw = file.dataset("raw/seq").unwrap();
        assert_eq!(raw.shape(), [12, 4, INPUTLEN]);
        let raw: Vec<i8> = raw.read_raw().unwrap();
        let shap: Vec<half::f16> = file.dataset("shap/seq").unwrap().read_raw().unwrap();
        let projected: Vec<half::f16> =
            file.dataset("projected_shap/seq").unwrap().read_raw().unwrap();
        for i in 0..raw.len() {
            let wanted = if raw[i] == 1 { shap[i] } else { half::f16::ZERO };
            assert_eq!(projected[i], wanted);
        }
        // the middle base of the first variant's windows is its allele
        for (row, allele) in [(0, &rows[0].2), (6, &rows[0].3)] {
            let column: Vec<i8> = (0..4).map(|b| raw[(row * 4 + b) * INPUTLEN + HALF]).collect();
            let wanted = b"ACGT".map(|b| i8::from(b == allele.as_bytes()[0]));
            assert_eq!(column, wanted);
        }
        assert!(shap.iter().any(|s| s.to_f32().abs() > 1e-4), "{head}");
    }
    let said = fail(&fixture, "variants -l list.tsv -g genome.fa -m full.h5 -o y -st counts");
    assert!(said.contains("pass chrombpnet_nobias.h5"), "{said}");
    let said = succeed(&fixture, "variants -l list.tsv -g genome.fa -m full.h5 -o y -n 0");
    assert!(said.contains("usually scored with chrombpnet_nobias.h5"), "{said}");
}

#[test]
fn bad_input_is_one_clear_message_and_leaves_nothing() {
    let fixture = fixture();
    let good = list(&some_variants(&fixture, 4));
    fixture.write("good.tsv", &good);
    fixture.write("four.tsv", &format!("{good}chr1\t5\tA\tG\n"));
    fixture.write("zero.tsv", &format!("{good}chr1\t0\tA\tG\trs1\n"));
    fixture.write("letters.tsv", "chr1\t5000\tA\tR\trs1\n");
    fixture.write("empty.tsv", "");
    fixture.write("names.tsv", &good.replace("chr", "scaffold_chr"));
    fixture.write("peaks3.bed", "chr1\t5\n");
    fixture.write("far.bed", "chr9\t500\t600\n");
    fixture.write("sizes.bad", "chr1\t77\n");
    fixture.write("notvcf.vcf", "chr1\t5\trs1\tA\tG\t.\t.\t.\n");
    fixture.write("noheader.vcf", "##fileformat=VCFv4.2\nchr1\t5000\t.\tA\tC\t.\t.\t.\n");
    fixture.write("short.vcf", &(vcf_text(&[]) + "chr1\t5000\t.\tA\tC\n"));
    fixture.write("cut.vcf", &(vcf_text(&[]) + "chr1\t5000\t.\tA\tC\t."));
    fixture.write("pos.vcf", &(vcf_text(&[]) + "chr1\tfive\t.\tA\tC\t.\t.\t.\n"));
    fixture.write("shuffled.tsv", "chr\tpos\n1\t2\n");
    let rows: Vec<Row> =
        some_variants(&fixture, 40).into_iter().filter(|r| r.2 != "-" && r.3 != "-").collect();
    let text = vcf_text(&rows);
    let compressed = bgzip(text.as_bytes());
    fs::write(fixture.path("cut.vcf.gz"), &compressed[..compressed.len() - 40]).unwrap();
    let bytes = bcf_bytes(&text, false);
    fs::write(fixture.path("cut.bcf"), &bytes[..bytes.len() - 5]).unwrap();
    fs::write(fixture.path("head.bcf"), &bytes[..60]).unwrap();

    let before = tree(fixture.folder.path());
    let model = "-g genome.fa -m f0.h5 --cache-dir cache -o x";
    for (line, wanted) in [
        (format!("-l four.tsv {model}"), vec!["row has 4 columns, expected 5", "four.tsv line 5"]),
        (
            format!("-l zero.tsv {model}"),
            vec!["expected 1 or more", "zero.tsv line 5", "--schema bed"],
        ),
        (
            format!("-l letters.tsv {model}"),
            vec![
                "none of 1 variants can be scored: 1 allele with letters",
                "columns of chrombpnet are: chr, pos, allele1, allele2, variant_id",
            ],
        ),
        (format!("-l empty.tsv {model}"), vec!["the list has no variants", "empty.tsv"]),
        (format!("-l names.tsv {model}"), vec!["no variant lies on a contig", "genome: chr1"]),
        (format!("-l nowhere.tsv {model}"), vec!["file does not exist", "nowhere.tsv"]),
        (
            format!("-l good.tsv -sc bed {model}"),
            vec!["row has 5 columns, expected 6 (schema bed)"],
        ),
        (format!("-l good.tsv -c chr7 {model}"), vec!["no variant on chr7", "chromosomes are chr"]),
        (
            format!("-l good.tsv -p peaks3.bed {model}"),
            vec!["2 columns, expected 3 to 10", "line 1"],
        ),
        (format!("-l good.tsv -p far.bed {model}"), vec!["0 of 1 peaks are scored"]),
        (format!("-l good.tsv -s sizes.bad {model}"), vec!["but 77 bp here"]),
        (format!("-l good.tsv -bs 0 {model}"), vec!["--batch-size must be at least 1"]),
        (format!("-l good.tsv -li {model}"), vec!["chrombpnet-lite"]),
        (format!("-l good.tsv -sh a b {model}"), vec!["names 2 files for 1 models"]),
        (format!("-l good.tsv -sh shuffled.tsv {model}"), vec!["no column logfc", "shuffled.tsv"]),
        (format!("-l genome.fa {model}"), vec!["genome.fa line 1"]),
        (format!("-l signal.bw {model}"), vec!["found a bigWig file"]),
        (format!("-l notvcf.vcf -sc vcf {model}"), vec!["neither VCF nor BCF"]),
        (format!("-l short.vcf -sc plink {model}"), vec!["found a VCF, expected the schema plink"]),
        (format!("-l noheader.vcf {model}"), vec!["no #CHROM line", "noheader.vcf line 2"]),
        (format!("-l short.vcf {model}"), vec!["fewer than 8 columns", "short.vcf line 6"]),
        (format!("-l cut.vcf {model}"), vec!["truncated", "cut.vcf line 6"]),
        (format!("-l pos.vcf {model}"), vec!["not a valid record", "pos.vcf line 6"]),
        (format!("-l cut.vcf.gz {model}"), vec!["truncated", "cut.vcf.gz"]),
        (format!("-l cut.bcf {model}"), vec!["truncated", "cut.bcf, record"]),
        (format!("-l head.bcf {model}"), vec!["head.bcf, header"]),
        (
            "-l good.tsv -g genome.fa -m f0.h5 --cache-dir cache -o no/such/x".into(),
            vec!["cannot write", "no such folder", "no/such", "make the folder"],
        ),
        (
            "-l good.tsv -g genome.fa -m f0.h5 bias.h5 --cache-dir cache -o x".into(),
            vec!["no common mean"],
        ),
        ("-l good.tsv -g genome.fa -m genome.fa --cache-dir cache -o x".into(), vec!["genome.fa"]),
    ] {
        let said = fail(&fixture, &format!("variants {line}"));
        for part in wanted {
            assert!(said.contains(part), "{line}\nexpected {part:?}\n{said}");
        }
        assert!(said.lines().filter(|l| l.starts_with("error:")).count() == 1, "{said}");
        let mut after = tree(fixture.folder.path());
        after.retain(|f| !f.starts_with("cache") && f != "x.skipped.tsv");
        assert_eq!(after, before, "{line}");
        let _ = fs::remove_file(fixture.path("x.skipped.tsv"));
    }
    let output =
        fixture.run(&["variants", "-l", "good.tsv", "-sc", "csv", "-o", "x", "-g", "g", "-m", "m"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("possible values: chrombpnet, bed, plink"));
}

/// Where output of variant-scorer is recorded, with the inputs it was made from.
fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/variant_scorer").join(name)
}

/// The inputs of the recorded output. Run on its own, and only to record again.
#[test]
#[ignore = "writes tests/data/variant_scorer"]
fn write_the_inputs_of_variant_scorer() {
    let fixture = fixture();
    let genome: String = ["chr1", "chr2"]
        .map(|name| {
            format!(">{name}\n{}\n", std::str::from_utf8(&genome(&fixture)[name][..4_000]).unwrap())
        })
        .concat();
    let small = |row: &Row| row.0 != "chr3" && row.1 + INPUTLEN < 4_000;
    let rows: Vec<Row> = some_variants(&fixture, 400).into_iter().filter(small).take(36).collect();
    let peaks: String = (0..24)
        .map(|i| {
            let start = 200 + 130 * i;
            format!(
                "chr{}\t{start}\t{}\t.\t0\t.\t1.5\t{i}.25\t{i}\t{}\n",
                1 + i % 2,
                start + 90,
                30 + i
            )
        })
        .collect();
    fs::create_dir_all(golden("")).unwrap();
    fs::write(golden("genome.fa"), genome).unwrap();
    fs::write(golden("chrom.sizes"), "chr1\t4000\nchr2\t4000\n").unwrap();
    fs::write(golden("list.tsv"), list(&rows)).unwrap();
    fs::write(golden("peaks.bed"), peaks).unwrap();
    fs::copy(fixture.path("f0.h5"), golden("model.h5")).unwrap();
}

/// p-value of a (signed or absolute) quantile change, from rounded scores: variant-scorer's are
/// differences in f64, whose last bits split ties.
fn with_ties(scores: &Columns, shuffled: &Columns, absolute: bool, row: usize) -> f64 {
    let name = if absolute { "abs_quantile_change" } else { "quantile_change" };
    let rounded = |table: &Columns| -> Vec<i64> {
        table.numbers(name).iter().map(|v| (v * 1e6).round() as i64).collect()
    };
    let (score, shuffled) = (rounded(scores)[row], rounded(shuffled));
    let p = |rank: usize| (rank + 1) as f64 / (shuffled.len() + 1) as f64;
    let right = p(shuffled.iter().filter(|&&s| s >= score).count());
    let left = p(shuffled.iter().filter(|&&s| s <= score).count());
    if absolute { right } else { 2.0 * right.min(left) }
}

/// Every column, name and order, and every value, as variant-scorer wrote them; the shuffled scores
/// are those it drew. Tolerance 2e-5 (counts: 1e-5 relative): f32 sums in another order.
#[test]
fn parity_with_variant_scorer() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = command(folder.path(), arguments).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    };
    let input = |name: &str| golden(name).to_str().unwrap().to_string();
    let (list, genome, model) = (input("list.tsv"), input("genome.fa"), input("model.h5"));
    let (sizes, peaks) = (input("chrom.sizes"), input("peaks.bed"));
    let shuffled = input("expected.variant_scores.shuffled.tsv");
    run(&[
        "snp_score",
        "-l",
        &list,
        "-g",
        &genome,
        "-m",
        &model,
        "-s",
        &sizes,
        "-p",
        &peaks,
        "-sh",
        &shuffled,
        "-o",
        "got",
        "--device",
        "cpu",
    ]);
    let shuffled_scores = Columns::read(Path::new(&shuffled));
    for table in ["variant_scores.tsv", "peak_scores.tsv"] {
        let expected = Columns::read(&golden(&format!("expected.{table}")));
        let got = Columns::read(&folder.path().join(format!("got.{table}")));
        assert_eq!(got.names(), expected.names(), "{table}");
        for name in expected.names() {
            let (texts, wanted) = (got.text(name), expected.text(name));
            assert_eq!(texts.len(), wanted.len(), "{table}");
            for (row, (found, wanted)) in texts.iter().zip(wanted).enumerate() {
                let numbers = (found.parse::<f64>(), wanted.parse::<f64>());
                let (Ok(found), Ok(wanted)) = numbers else {
                    assert_eq!(found, wanted, "{table} {name} row {row}");
                    continue;
                };
                let wanted = match name.strip_suffix("quantile_change.pval") {
                    Some(sign) => with_ties(&expected, &shuffled_scores, !sign.is_empty(), row),
                    None => wanted,
                };
                let tolerance = match name {
                    _ if name.ends_with(".pval") => 1e-6,
                    "allele1_pred_counts" | "allele2_pred_counts" | "peak_score" => 1e-5 * wanted,
                    _ => 2e-5,
                };
                let off = (found - wanted).abs();
                assert!(off <= tolerance, "{table} {name} row {row}: {found}, expected {wanted}");
            }
        }
    }
    // Shuffles of our own have the same columns.
    run(&[
        "variants", "-l", &list, "-g", &genome, "-m", &model, "-p", &peaks, "-n", "2", "-o", "own",
        "--device", "cpu",
    ]);
    let own = Columns::read(&folder.path().join("own.variant_scores.shuffled.tsv"));
    let theirs = Columns::read(&golden("expected.variant_scores.shuffled.tsv"));
    assert_eq!(own.names(), theirs.names());
    let with_p_values = Columns::read(&folder.path().join("own.variant_scores.tsv"));
    assert_eq!(
        with_p_values.names(),
        Columns::read(&golden("expected.variant_scores.tsv")).names()
    );
}

/// Bytes of a BCF changed one at a time, in header and records: an error or other variants, no
/// panic. In the process itself, since runs of the binary would take long.
#[test]
fn damaged_bcf_never_panics() {
    let fixture = fixture();
    let rows: Vec<Row> =
        some_variants(&fixture, 12).into_iter().filter(|r| r.2 != "-" && r.3 != "-").collect();
    let bytes = bcf_bytes(&vcf_text(&rows), false);
    let mut rng = Lcg::new(5);
    let mut refused = 0;
    for _ in 0..60 {
        let mut damaged = bytes.clone();
        let at = 9 + rng.below(damaged.len() as u64 - 9) as usize;
        damaged[at] ^= 1 << rng.below(4);
        fs::write(fixture.path("d.bcf"), &damaged).unwrap();
        let read =
            cbp_fast::input::variants::for_each(&fixture.path("d.bcf"), None, &mut |_| Ok(()));
        refused += usize::from(read.is_err());
    }
    assert!(refused > 0);
}
