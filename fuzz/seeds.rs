//! A valid file or more for every reader: what mutation and fuzzing begin with.
//!
//! Out: `(reader, file name, bytes)`, a few hundred bytes to a few thousand, made by the library's own
//! writers where it has them, so that seeds follow the formats when those change.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::Result;
use cbp_fast::engine::OptimizerState;
use cbp_fast::files::keras_h5::{self, Naming};
use cbp_fast::files::predictions_h5::{PredictionRows, PredictionsOptions, PredictionsWriter};
use cbp_fast::files::row_spool::RowSpool;
use cbp_fast::files::{bigwig, train_state};
use cbp_fast::model::{Network, ParameterSet};
use cbp_fast::pack::{genome, signal};
use noodles_vcf::variant::io::Write as _;

use super::readers;

pub struct Seed {
    pub reader: &'static str,
    pub name: String,
    pub bytes: Vec<u8>,
}

const VCF: &str = "##fileformat=VCFv4.3\n##contig=<ID=chr1,length=1000>\n\
##INFO=<ID=DP,Number=1,Type=Integer,Description=\"depth\">\n\
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n\
chr1\t10\trs1\tA\tC\t.\tPASS\tDP=3\nchr1\t20\t.\tAC\tA,ACC\t50\t.\t.\nchr1\t30\tsv\tG\t<DEL>\t.\t.\tDP=1\n";

/// Text seeds: reader, name, content.
const TEXTS: [(&str, &str, &str); 22] = [
    ("barcodes", "plain", "AAACGAAAGT-1\nAAACGAACAA-1,x\n# note\nCCGT\t5\n"),
    ("chrom_sizes", "plain", "chr1\t1000\nchr2\t500\textra\n"),
    ("chrom_sizes", "crlf", "chr1\t1000\r\nchr2\t500\r\n"),
    (
        "epoch_log",
        "plain",
        "epoch,logcount_predictions_loss,logits_profile_predictions_loss,loss,\
val_logcount_predictions_loss,val_logits_profile_predictions_loss,val_loss\n0,1,2,3,1,2,3\n1,1,2,2.5,1,2,2.5\n",
    ),
    ("fasta", "plain", ">chr1 first\nACGTNNRYacgt\nACGT\n\n>chr2\nAC\n>empty\n"),
    ("folds", "plain", r#"{"train": ["chr1", "chr3"], "valid": ["chr2"], "test": []}"#),
    ("fragments", "plain", "# id=x\nchr1\t10\t60\tAAAC-1\t2\nchr2\t5\t50\tAAAG-1\t1\n"),
    ("intervals", "plain", "track x\nchr1\t10\t20\nchr2\t5\t9\tHigh Signal Region\n"),
    ("json", "plain", r#"{"a": [1, 2.5e3, null], "b": {"c": "d\u00e9"}}"#),
    ("lines", "plain", "a\tb\n\nc\r\nd"),
    (
        "modisco_html",
        "plain",
        "<table><tr><th>pattern</th><th>match0</th><th>qval0</th></tr><tr><td>pos_patterns.pattern_0</td><td>CTCF</td><td>0.01</td></tr></table>",
    ),
    ("motifs", "plain", "# name\ntn5_1\tGCACAGTACAGAGCTG\nCTCF+x\tTTGGCCACNAGGG\n"),
    ("peak_list", "plain", "chr1\t10\t20\tp1\t5\nchr2\t30\t90\tp2\t7\n"),
    ("peak_list", "narrow", "chr1\t10\t20\tp\t5\t.\t5.0\t9.0\t-1\t4\n"),
    (
        "regions",
        "plain",
        "chr1\t10\t20\tp\t5\t.\t5.0\t9.0\t-1\t4\nchr2\t0\t9\t.\t.\t.\t.\t.\t.\t3\n",
    ),
    ("tagalign", "plain", "chr1\t10\t60\tN\t1000\t+\nchr2\t5\t50\tN\t1000\t-\n"),
    ("variants", "list", "chr1\t10\tA\tC\trs1\nchr1\t20\t-\tAC\trs2\n"),
    ("variants", "bed", "chr1\t9\t10\tA\tC\trs1\n"),
    ("variants", "plink", "chr1\trs1\t0\t10\tA\tC\n"),
    ("variants", "plink2", "chr1\trs1\t10\tA\tC\n"),
    ("variants", "vcf", VCF),
    (
        "run_record",
        "plain",
        r#"{"version": "0.1.0", "command_line": ["cbp-fast", "train"], "settings": {"seed": 1}, "inputs": {}, "complete": true, "outcome": null}"#,
    ),
];

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
    encoder.write_all(bytes).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

pub fn bgzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = noodles_bgzf::io::Writer::new(Vec::new());
    writer.write_all(bytes).expect("memory takes it");
    writer.finish().expect("memory takes it")
}

/// A BAM without compression. Source: SAM specification, 4.2.
fn bam() -> Vec<u8> {
    let text = b"@HD\tVN:1.6\n";
    let mut out = b"BAM\x01".to_vec();
    out.extend((text.len() as i32).to_le_bytes());
    out.extend(text);
    out.extend(2i32.to_le_bytes());
    for (name, length) in [("chr1", 1000i32), ("chr2", 500)] {
        out.extend((name.len() as i32 + 1).to_le_bytes());
        out.extend(name.as_bytes());
        out.push(0);
        out.extend(length.to_le_bytes());
    }
    for (reference, start, flags) in [(0i32, 100i32, 0u16), (0, 200, 16), (1, 50, 4), (-1, -1, 4)] {
        let mut record = Vec::new();
        record.extend(reference.to_le_bytes());
        record.extend(start.to_le_bytes());
        record.extend([3, 30, 0, 0, 1, 0]);
        record.extend(flags.to_le_bytes());
        record.extend(0i32.to_le_bytes());
        record.extend([0xff; 12]);
        record.extend(b"r1\0");
        record.extend((20u32 << 4).to_le_bytes());
        out.extend((record.len() as i32).to_le_bytes());
        out.extend(record);
    }
    out
}

fn bcf() -> Result<Vec<u8>> {
    let mut reader = noodles_vcf::io::Reader::new(VCF.as_bytes());
    let header = reader.read_header()?;
    let records = reader.record_bufs(&header).collect::<Result<Vec<_>, _>>()?;
    let mut bytes = Vec::new();
    let mut writer = noodles_bcf::io::Writer::from(&mut bytes);
    writer.write_variant_header(&header)?;
    for record in &records {
        writer.write_variant_record(&header, record)?;
    }
    drop(writer);
    Ok(bytes)
}

/// Writes through `write`, which wants a path, and reads back.
fn written(folder: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<Vec<u8>> {
    let path = folder.join("seed");
    write(&path)?;
    let bytes = fs::read(&path)?;
    fs::remove_file(&path)?;
    Ok(bytes)
}

fn network(seed: u64) -> Network {
    let arch = readers::architecture();
    Network { arch, parameters: ParameterSet::glorot_uniform(&arch, seed) }
}

fn training_state() -> train_state::TrainState {
    let arch = readers::architecture();
    let zeros = ParameterSet::zeros(&arch);
    train_state::TrainState {
        parameters: ParameterSet::glorot_uniform(&arch, 1),
        optimizer: OptimizerState {
            step: 3,
            tensors: ["first_moment", "second_moment"]
                .map(|name| (name.to_string(), zeros.clone()))
                .into(),
            loss_scale: None,
        },
        best: None,
        meta: serde_json::json!({"epoch": 1}),
    }
}

fn predictions(path: &Path) -> Result<()> {
    let options = PredictionsOptions { peaks: true, logits: true };
    let mut writer = PredictionsWriter::create(path, 2, 4, options)?;
    writer.append(PredictionRows {
        chrom: &["chr1", "chr2"],
        center: &[100, 50],
        is_peak: &[true, false],
        logits: &[0.0, 1.0, 2.0, 3.0, 0.5, 0.5, 0.5, 0.5],
        logcounts: &[1.0, 2.0],
    })?;
    writer.finish()
}

fn references(path: &Path) -> Result<()> {
    let codes = [0u8, 1, 2, 3, 4, 3, 2, 1, 0, 0];
    let tensor =
        safetensors::tensor::TensorView::new(safetensors::Dtype::U8, vec![2, 1, 5], &codes)?;
    Ok(safetensors::tensor::serialize_to_file([("references", tensor)], None, path)?)
}

fn spool(path: &Path) -> Result<()> {
    let mut spool = RowSpool::open(path, readers::SPOOL_KEY, 2)?;
    spool.append(&[b"first", b"row"])?;
    spool.append(&[b"", b"second"])?;
    spool.sync()
}

/// All seeds; `folder` is for scratch.
pub fn all(folder: &Path) -> Result<Vec<Seed>> {
    let mut seeds = Vec::new();
    let mut add = |reader, name: &str, bytes| {
        seeds.push(Seed { reader, name: name.to_string(), bytes });
    };
    for (reader, name, text) in TEXTS {
        add(reader, name, text.as_bytes().to_vec());
    }
    // Compressed text comes through one opener; a few readers stand for all.
    for (reader, name, text) in
        TEXTS.into_iter().filter(|t| ["fasta", "fragments", "lines"].contains(&t.0) || t.1 == "vcf")
    {
        add(reader, &format!("{name}.gz"), gzip(text.as_bytes()));
        add(reader, &format!("{name}.bgz"), bgzip(text.as_bytes()));
    }
    add("bam", "plain", bam());
    add("bam", "bgzip", bgzip(&bam()));
    add("bcf", "plain", bcf()?);
    add("bcf", "bgzip", bgzip(&bcf()?));

    let fasta = folder.join("genome.fa");
    fs::write(&fasta, format!(">chr1\n{}\n>chr2\nACGTN\n", "ACGTTGCANN".repeat(40)))?;
    let pack = written(folder, |path| genome::write(&fasta, path, |_, _| {}))?;
    add("genome_pack", "plain", pack.clone());
    add("genome_pack_forged", "plain", pack);

    let sizes = [("chr1".to_string(), 70_000), ("chr2".to_string(), 50)];
    let mut dense = vec![vec![0.0; 70_000], vec![1.0; 50]];
    (0..70_000).step_by(977).for_each(|i| dense[0][i] = (i % 5) as f32);
    let track = folder.join("signal.bw");
    bigwig::write(&track, &sizes, &dense)?;
    add("bigwig", "plain", fs::read(&track)?);
    let pack = written(folder, |path| signal::write(&track, path, |_, _| {}))?;
    add("signal_pack", "plain", pack.clone());
    add("signal_pack_forged", "plain", pack);

    for (name, naming) in [("bias", Naming::Bias), ("nobias", Naming::WithoutBias)] {
        let bytes = written(folder, |p| keras_h5::write_single(p, &network(1), naming))?;
        add("keras_h5", name, bytes);
    }
    add(
        "keras_h5",
        "full",
        written(folder, |p| keras_h5::write_full(p, &network(1), &network(2)))?,
    );
    add("predictions_h5", "plain", written(folder, predictions)?);
    add("references", "plain", written(folder, references)?);
    add("row_spool", "plain", written(folder, spool)?);
    add("train_state", "plain", written(folder, |p| train_state::save(p, &training_state()))?);
    let mut motifs = String::new();
    for strand in ["plus", "minus"] {
        motifs += &format!(">x_{strand}\n");
        (0..20).for_each(|row| motifs += ["0.4\t0.2\t0.2\t0.2\n", "0.1\t0.3\t0.3\t0.3\n"][row % 2]);
    }
    add("reference_motifs", "plain", motifs.into_bytes());
    Ok(seeds)
}
