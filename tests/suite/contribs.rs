//! `contribs` through the binary: files that agree with each other, runs that go on, bad input.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use cbp_fast::engine::{self, Contributions, Device, Explain, Heads, Rule, ToExplain};
use cbp_fast::files::contributions_h5::{ContributionsReader, ScoreRows};
use cbp_fast::files::keras_h5::{self, Naming};
use cbp_fast::interpret::ism;
use cbp_fast::model::{Architecture, Network, ParameterSet};
use cbp_fast::sequence::dinuc_shuffle;
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize_to_file};

use crate::fixture::{Fixture, INPUTLEN, OUTPUTLEN, stderr, strs, tree};
#[cfg(unix)]
use crate::output_folder::run_with_room;

/// Unsorted; overlapping on chr1; an N window is not among them; the second row leaves its contig.
const REGIONS: &str = "chr2\t5000\t5200\ta\t1\t+\t0.5\t.\t.\t100\n\
                       chr1\t0\t90\tedge\t2\t+\t0.5\t.\t.\t50\n\
                       chr1\t9000\t9300\tb\t3\t-\t2.25\t.\t.\t120\n\
                       chr1\t8900\t9100\tc\t4\t.\t7\t.\t.\t85\n\
                       chr3\t12000\t12001\td\t5\t.\t7\t.\t.\t0\n";
/// Rows of `REGIONS` that are explained: contig and centre.
const EXPLAINED: [(&str, usize); 4] =
    [("chr2", 5100), ("chr1", 9120), ("chr1", 8985), ("chr3", 12000)];

fn network(seed: u64) -> Network {
    let arch = Architecture::new(INPUTLEN, OUTPUTLEN, 4, 2).unwrap();
    let mut parameters = ParameterSet::glorot_uniform(&arch, seed);
    // Biases of zero would leave ReLUs without the offsets that trained models have.
    for tensor in &mut parameters.tensors {
        if tensor.name.ends_with("bias") {
            tensor.data.iter_mut().enumerate().for_each(|(i, b)| *b = 0.05 * (i % 3) as f32);
        }
    }
    Network { arch, parameters }
}

fn fixture() -> Fixture {
    let fixture = Fixture::new();
    for (name, seed) in [("a.h5", 1), ("b.h5", 2)] {
        keras_h5::write_single(&fixture.path(name), &network(seed), Naming::WithoutBias).unwrap();
    }
    fixture.write("regions.bed", REGIONS);
    fixture
}

fn arguments(output: &str, more: &[&str]) -> Vec<String> {
    let all = [
        "contribs",
        "-m",
        "a.h5",
        "-r",
        "regions.bed",
        "-g",
        "genome.fa",
        "-c",
        "chrom.sizes",
        "-op",
        output,
        "--device",
        "cpu",
    ];
    all.iter().chain(more).map(|s| s.to_string()).collect()
}

fn scores(path: &Path) -> ScoreRows {
    let reader = ContributionsReader::open(path).unwrap();
    reader.rows(0..reader.n).unwrap()
}

fn genome(fixture: &Fixture) -> BTreeMap<String, Vec<u8>> {
    let contigs = cbp_fast::input::fasta::read_all(&fixture.path("genome.fa")).unwrap();
    let code = |base: u8| b"ACGT".iter().position(|&b| b == base).unwrap_or(4) as u8;
    contigs.into_iter().map(|(n, s)| (n, s.into_iter().map(code).collect())).collect()
}

fn explained_codes(fixture: &Fixture) -> Vec<u8> {
    let genome = genome(fixture);
    let window = |&(chrom, center): &(&str, usize)| {
        genome[chrom][center - INPUTLEN / 2..center + INPUTLEN / 2].to_vec()
    };
    EXPLAINED.iter().flat_map(window).collect()
}

fn open_engine(seed: u64) -> Box<dyn Explain> {
    engine::open_explain(&Device::Cpu, network(seed)).unwrap()
}

fn within(found: &[f32], wanted: &[f32], tolerance: f32) {
    assert_eq!(found.len(), wanted.len());
    let largest = wanted.iter().fold(0f32, |max, w| max.max(w.abs()));
    assert!(largest > 0.0);
    for (i, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        // 16 bits keep 11 of the mantissa.
        let tolerance = tolerance * largest + wanted.abs() / 1024.0 + 1e-7;
        assert!((found - wanted).abs() <= tolerance, "{i}: {found}, wanted {wanted}");
    }
}

#[test]
fn every_file_says_the_same() {
    let fixture = fixture();
    let run = arguments("x", &["-os", "stats.txt"]);
    let said = stderr(&fixture.succeed(&strs(&run)));
    assert!(said.contains("kept 4 of 5 regions, e.g. not line 2"), "{said}");
    assert!(
        said.contains("scores of 4 regions without N sum to the change of the output"),
        "{said}"
    );
    assert!(fixture.read("x_dropped_regions.tsv").contains("306 bp window leaves the contig"));

    let rows: String =
        REGIONS.lines().filter(|l| !l.contains("edge")).map(|l| format!("{l}\n")).collect();
    assert_eq!(fixture.read("x.interpreted_regions.bed"), rows);
    let codes = explained_codes(&fixture);
    // What the engine says of the same sequences and shuffles.
    let references: Vec<u8> =
        codes.chunks(INPUTLEN).flat_map(|codes| dinuc_shuffle::shuffles(codes, 1234, 20)).collect();
    let rule = Rule::Rescale { references: &references, per_sequence: 20 };
    let mut direct = Contributions::default();
    let explain = ToExplain { codes: &codes, rule, heads: Heads::BOTH };
    open_engine(1).contributions(&explain, &mut direct).unwrap();

    for (head, wanted) in [("counts", &direct.counts), ("profile", &direct.profile)] {
        let found = scores(&fixture.path(&format!("x.{head}_scores.h5")));
        assert_eq!(found.codes, codes, "{head}");
        within(&found.hypothetical, wanted, 0.0);
        for (at, &code) in codes.iter().enumerate() {
            assert_eq!(found.projected[at], found.hypothetical[at * 4 + usize::from(code)]);
        }
        assert_eq!(
            official_track(&found.projected),
            read_track(&fixture.path(&format!("x.{head}_scores.bw"))),
            "{head}"
        );
        let stats = fixture.read(if head == "profile" { "stats.txt" } else { "stats.txt.counts" });
        assert!(stats.starts_with("Min\t-0.") && stats.lines().count() == 9, "{stats}");
    }
    let args: serde_json::Value =
        serde_json::from_str(&fixture.read("x.interpret.args.json")).unwrap();
    assert_eq!(args["cmd"], "contribs_bw");
    assert_eq!(args["model_h5"], "a.h5");
    assert_eq!(args["profile_or_counts"], serde_json::json!(["counts", "profile"]));
    let left: Vec<String> =
        tree(fixture.folder.path()).into_iter().filter(|n| n.contains("partial")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn numpy_archives_hold_the_scores_unrounded() {
    let fixture = fixture();
    fixture.succeed(&strs(&arguments("x", &["--also", "npz"])));
    let codes = explained_codes(&fixture);
    let n = EXPLAINED.len();
    for head in ["counts", "profile"] {
        let h5 = scores(&fixture.path(&format!("x.{head}_scores.h5")));
        let sequences = array(&fixture.path(&format!("x.{head}_scores.ohe.npz")), "|i1", n);
        let exact = array(&fixture.path(&format!("x.{head}_scores.npz")), "<f4", n);
        assert_eq!((sequences.len(), exact.len()), (n * 4 * INPUTLEN, 4 * n * 4 * INPUTLEN));
        let mut rounded = 0;
        for row in 0..n {
            for base in 0..4 {
                for at in 0..INPUTLEN {
                    let (there, here) = ((row * 4 + base) * INPUTLEN + at, row * INPUTLEN + at);
                    assert_eq!(sequences[there], u8::from(usize::from(codes[here]) == base));
                    let bytes = exact[4 * there..][..4].try_into().unwrap();
                    let score = f32::from_le_bytes(bytes);
                    assert_eq!(
                        half::f16::from_f32(score).to_f32(),
                        h5.hypothetical[here * 4 + base]
                    );
                    rounded += usize::from(score != h5.hypothetical[here * 4 + base]);
                }
            }
        }
        assert!(rounded > n * INPUTLEN, "{head}: {rounded} scores are more than 16 bits");
    }
    // A complete run that is asked for them afterwards is not done; they are made again when forced.
    fixture.succeed(&strs(&arguments("y", &[])));
    assert!(!fixture.path("y.counts_scores.npz").exists());
    fixture.succeed(&strs(&arguments("y", &["--also", "npz"])));
    for name in ["counts_scores.npz", "profile_scores.ohe.npz"] {
        let [x, y] =
            ["x", "y"].map(|run| fs::read(fixture.path(&format!("{run}.{name}"))).unwrap());
        assert!(x == y, "{name}");
    }
    let said = stderr(&fixture.succeed(&strs(&arguments("y", &["--also", "npz"]))));
    assert!(said.contains("is complete already"), "{said}");
    // Scores that are made again, without them: none are left of the earlier ones.
    fixture.succeed(&strs(&arguments("y", &["--force"])));
    assert!(!fixture.path("y.counts_scores.npz").exists());
}

/// The bytes of `arr_0` in an archive, which is `[n, 4, INPUTLEN]` of `kind`.
fn array(path: &Path, kind: &str, n: usize) -> Vec<u8> {
    let mut archive = zip::ZipArchive::new(fs::File::open(path).unwrap()).unwrap();
    assert_eq!(archive.len(), 1);
    let mut bytes = Vec::new();
    archive.by_name("arr_0.npy").unwrap().read_to_end(&mut bytes).unwrap();
    assert!(bytes.starts_with(b"\x93NUMPY\x01\x00"));
    let length = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert!(length.is_multiple_of(64) && bytes[length - 1] == b'\n');
    let head = String::from_utf8(bytes[10..length].to_vec()).unwrap();
    let wanted =
        format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({n}, 4, {INPUTLEN}), }}");
    assert_eq!(head.trim_end(), wanted);
    bytes.split_off(length)
}

/// The official bigWig helper on these rows: in order of contig and start, each from where the one
/// before stopped, up to the floored mean of its centre and the next one's where they overlap.
fn official_track(projected: &[f32]) -> BTreeMap<(String, usize), f32> {
    let contigs = ["chr1", "chr2", "chr3"];
    let mut order: Vec<usize> = (0..EXPLAINED.len()).collect();
    order.sort_by_key(|&i| (contigs.iter().position(|c| *c == EXPLAINED[i].0), EXPLAINED[i].1));
    let (mut track, mut last, mut to) = (BTreeMap::new(), "", 0);
    for (at, &i) in order.iter().enumerate() {
        let (chrom, center) = EXPLAINED[i];
        let (start, end) = (center - INPUTLEN / 2, center + INPUTLEN / 2);
        to = if chrom == last { to.max(start) } else { start };
        last = chrom;
        let stop = match order.get(at + 1).map(|&next| EXPLAINED[next]) {
            Some((c, next)) if c == chrom && next - INPUTLEN / 2 < end => (center + next) / 2,
            _ => end,
        };
        for base in to..stop {
            track.insert((chrom.to_string(), base), projected[i * INPUTLEN + base - start]);
        }
        to = stop;
    }
    track
}

fn read_track(path: &Path) -> BTreeMap<(String, usize), f32> {
    let mut file = bigtools::BigWigRead::open_file(path).unwrap();
    let contigs: Vec<(String, u32)> =
        file.chroms().iter().map(|c| (c.name.clone(), c.length)).collect();
    let mut track = BTreeMap::new();
    for (name, length) in contigs {
        let values = file.values(&name, 0, length).unwrap_or_default();
        let values = values.into_iter().enumerate().filter(|(_, v)| !v.is_nan());
        track.extend(values.map(|(at, value)| ((name.clone(), at), value)));
    }
    track
}

#[test]
fn the_official_command_line_with_one_head() {
    let fixture = fixture();
    fixture.succeed(&[
        "contribs_bw",
        "-m",
        "a.h5",
        "-r",
        "regions.bed",
        "-g",
        "genome.fa",
        "-c",
        "chrom.sizes",
        "-op",
        "y",
        "-pc",
        "counts",
        "-d",
        "chr1",
        "-t",
        "0",
    ]);
    let made: Vec<String> =
        tree(fixture.folder.path()).into_iter().filter(|n| n.starts_with("y")).collect();
    assert_eq!(
        made,
        [
            "y.counts_scores.bw",
            "y.counts_scores.h5",
            "y.counts_scores.run.json",
            "y.interpret.args.json",
            "y.interpreted_regions.bed",
            "y_dropped_regions.tsv"
        ]
    );
    assert_eq!(fixture.read("y.interpreted_regions.bed").lines().count(), 2);
    // Alone or with others, a region has the same scores.
    fixture.succeed(&strs(&arguments("x", &[])));
    let (all, some) = (fixture.path("x.counts_scores.h5"), fixture.path("y.counts_scores.h5"));
    let row = INPUTLEN * 4;
    assert_eq!(scores(&all).hypothetical[row..3 * row], scores(&some).hypothetical);
    // The other head under the same prefix is another run.
    fixture.succeed(&strs(&arguments("y", &["-pc", "profile", "-d", "chr1"])));
    assert!(fixture.path("y.profile_scores.bw").exists());
}

#[test]
fn given_references_stand_in_for_shuffles() {
    let fixture = fixture();
    fixture.succeed(&strs(&arguments("x", &["--n-references", "3", "--seed", "9"])));
    let codes = explained_codes(&fixture);
    let references: Vec<u8> =
        codes.chunks(INPUTLEN).flat_map(|c| dinuc_shuffle::shuffles(c, 9, 3)).collect();
    let write = |name: &str, shape: Vec<usize>, bytes: &[u8]| {
        let tensor = TensorView::new(Dtype::U8, shape, bytes).unwrap();
        serialize_to_file([("references", tensor)], None, &fixture.path(name)).unwrap();
    };
    write("refs", vec![4, 3, INPUTLEN], &references);
    fixture.succeed(&strs(&arguments("y", &["--references", "refs"])));
    for file in ["counts_scores.h5", "profile_scores.h5", "counts_scores.bw"] {
        let [x, y] = ["x", "y"].map(|p| fs::read(fixture.path(&format!("{p}.{file}"))).unwrap());
        assert!(x == y, "{file}");
    }

    write("many", vec![5, 3, INPUTLEN], &[&references[..], &references[..3 * INPUTLEN]].concat());
    let said = fixture.fail(&strs(&arguments("z", &["--references", "many"])));
    assert!(
        said.contains("for 5 sequences, but 4 are explained (1 of the regions given"),
        "{said}"
    );
    write("short", vec![4, 3, 300], &references[..4 * 3 * 300]);
    let said = fixture.fail(&strs(&arguments("z", &["--references", "short"])));
    assert!(said.contains("300 bp long, but the model reads 306"), "{said}");
    let said = fixture.fail(&strs(&arguments("z", &["--references", "refs", "--method", "ism"])));
    assert!(said.contains("--method ism compares with no references"), "{said}");
}

#[test]
fn several_models_give_the_mean_of_their_scores() {
    let fixture = fixture();
    for (output, models) in [("a", &["a.h5"][..]), ("b", &["b.h5"]), ("both", &["a.h5", "b.h5"])] {
        let mut run = arguments(output, &[]);
        run.splice(2..3, models.iter().map(|s| s.to_string()));
        fixture.succeed(&strs(&run));
    }
    for head in ["counts", "profile"] {
        let [a, b, both] = ["a", "b", "both"]
            .map(|run| scores(&fixture.path(&format!("{run}.{head}_scores.h5"))).hypothetical);
        let mean: Vec<f32> = a.iter().zip(&b).map(|(a, b)| (a + b) / 2.0).collect();
        // Each of the three is rounded to 16 bits.
        within(&both, &mean, 1e-3);
        assert_ne!(a, b);
    }
}

#[test]
fn mutagenesis_is_what_mutating_by_hand_gives() {
    let fixture = fixture();
    let mut sequence = String::from_utf8(
        explained_codes(&fixture)[..INPUTLEN].iter().map(|&c| b"ACGT"[usize::from(c)]).collect(),
    )
    .unwrap();
    sequence.replace_range(150..152, "NN");
    fixture.write("s.fa", &format!(">first\n{sequence}\n"));
    fixture.succeed(&[
        "contribs", "-m", "a.h5", "--fasta", "s.fa", "-op", "ism", "--method", "ism", "--device",
        "cpu",
    ]);
    assert!(!fixture.path("ism.counts_scores.bw").exists());

    let codes: Vec<u8> =
        sequence.bytes().map(|b| b"ACGT".iter().position(|&x| x == b).unwrap_or(4) as u8).collect();
    let mut engine = open_engine(1);
    let mut outputs = |codes: &[u8]| {
        let mut out = Default::default();
        engine.predict_sequences(codes, &mut out).unwrap();
        [f64::from(out.logcounts[0]), ism::profile_scalar(&out.logits)]
    };
    let mut wanted: [Vec<f32>; 2] = Default::default();
    for at in 0..INPUTLEN {
        let mutated = [0, 1, 2, 3].map(|base| {
            let mut codes = codes.clone();
            codes[at] = base;
            outputs(&codes)
        });
        for (head, wanted) in wanted.iter_mut().enumerate() {
            let mean = mutated.iter().map(|m| m[head]).sum::<f64>() / 4.0;
            wanted.extend(mutated.iter().map(|m| (m[head] - mean) as f32));
        }
    }
    for (head, wanted) in ["counts", "profile"].into_iter().zip(&wanted) {
        let found = scores(&fixture.path(&format!("ism.{head}_scores.h5")));
        // Differences of f32 outputs that are much larger.
        within(&found.hypothetical, wanted, 2e-3);
        assert_eq!(found.projected[150..152], [0.0, 0.0], "an N has no score");
    }
}

#[test]
fn gradients_are_the_engines() {
    let fixture = fixture();
    fixture.succeed(&strs(&arguments("g", &["--method", "grad"])));
    let codes = explained_codes(&fixture);
    let mut direct = Contributions::default();
    let explain = ToExplain { codes: &codes, rule: Rule::Gradient, heads: Heads::BOTH };
    open_engine(1).contributions(&explain, &mut direct).unwrap();
    for (head, wanted) in [("counts", direct.counts), ("profile", direct.profile)] {
        let found = scores(&fixture.path(&format!("g.{head}_scores.h5")));
        within(&found.hypothetical, &wanted, 0.0);
        assert!(found.projected.iter().zip(&codes).enumerate().all(|(at, (score, &code))| {
            *score == found.hypothetical[at * 4 + usize::from(code)]
        }));
    }
}

/// Enough regions that a run is caught in the middle.
fn many_regions(fixture: &Fixture) {
    let peaks = fixture.read("peaks.bed");
    fixture.write("regions.bed", &peaks.repeat(3));
}

/// Starts a run and sends it `signal` once rows are on disk; returns what it said.
fn interrupted(fixture: &Fixture, output: &str, signal: &str) -> std::process::Output {
    let partial = fixture.path(&format!("{output}.scores.partial"));
    let mut child =
        fixture.command(&strs(&arguments(output, &[]))).stderr(Stdio::piped()).spawn().unwrap();
    let before = fs::metadata(&partial).map_or(0, |m| m.len());
    while fs::metadata(&partial).map_or(0, |m| m.len()) < before + 200_000 {
        assert!(child.try_wait().unwrap().is_none(), "ended before it could be stopped");
        std::thread::sleep(Duration::from_millis(2));
    }
    let process = child.id().to_string();
    let status = std::process::Command::new("kill").args([signal, &process]).status().unwrap();
    assert!(status.success());
    child.wait_with_output().unwrap()
}

#[cfg(unix)]
#[test]
fn a_stopped_or_killed_run_goes_on_and_ends_with_the_same_bytes() {
    let fixture = fixture();
    many_regions(&fixture);
    fixture.succeed(&strs(&arguments("whole", &[])));

    let stopped = interrupted(&fixture, "part", "-TERM");
    let said = stderr(&stopped);
    assert_eq!(stopped.status.code(), Some(1), "{said}");
    assert!(said.contains("regions, which are saved") && said.contains("run the same command"));
    let killed = interrupted(&fixture, "part", "-KILL");
    assert_eq!(killed.status.code(), None);
    assert!(!fixture.path("part.counts_scores.h5").exists());
    // What a kill in the middle of a write leaves.
    let partial = fixture.path("part.scores.partial");
    let mut bytes = fs::read(&partial).unwrap();
    bytes.extend_from_slice(&[0x5a; 700]);
    fs::write(&partial, bytes).unwrap();

    // Other settings and other inputs do not go on.
    let refused = fixture.fail(&strs(&arguments("part", &["--seed", "5"])));
    assert!(refused.contains("seed: 1234 now 5") && refused.contains("--force"), "{refused}");
    let other = fixture.read("regions.bed").replacen("\t100\n", "\t101\n", 1);
    let regions = fixture.read("regions.bed");
    fixture.write("regions.bed", &other);
    let refused = fixture.fail(&strs(&arguments("part", &[])));
    assert!(refused.contains("regions: regions.bed"), "{refused}");
    fixture.write("regions.bed", &regions);

    let said = stderr(&fixture.succeed(&strs(&arguments("part", &[]))));
    assert!(said.contains("going on: "), "{said}");
    let files = [
        "counts_scores.h5",
        "profile_scores.h5",
        "counts_scores.bw",
        "profile_scores.bw",
        "interpreted_regions.bed",
    ];
    for file in files {
        let [whole, part] =
            ["whole", "part"].map(|run| fs::read(fixture.path(&format!("{run}.{file}"))).unwrap());
        assert!(whole == part, "{file}");
    }
    // The record's proof covers the regions before the interruptions too.
    let [whole, part] = ["whole", "part"].map(|run| {
        let record = fixture.read(&format!("{run}.scores.run.json"));
        let record: serde_json::Value = serde_json::from_str(&record).unwrap();
        record["outcome"]["sum_check"].clone()
    });
    assert!(whole["regions"].as_u64().unwrap() > 0, "{whole}");
    assert_eq!(whole, part);
    assert!(!partial.exists());
    let temporary = tree(fixture.folder.path()).into_iter().find(|n| n.starts_with(".cbp-fast-"));
    assert!(temporary.is_none_or(|n| n.contains("cache")));
}

/// A disk that fills up, at any stage, is told; with room again the run goes on.
#[cfg(unix)]
#[test]
fn a_full_disk_loses_no_finished_row() {
    let fixture = fixture();
    many_regions(&fixture);
    fixture.succeed(&strs(&arguments("whole", &[])));
    for blocks in [0, 2, 300, 900] {
        let output = run_with_room(&fixture, blocks, &strs(&arguments("part", &[])));
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{blocks} blocks: {said}");
        assert!(said.contains("cannot write") && said.contains("fix: "), "{said}");
        assert!(!fixture.path("part.counts_scores.h5").exists(), "{blocks} blocks");
    }
    let said = stderr(&fixture.succeed(&strs(&arguments("part", &[]))));
    assert!(said.contains("going on: "), "{said}");
    for head in ["counts", "profile"] {
        let [whole, part] = ["whole", "part"]
            .map(|run| fs::read(fixture.path(&format!("{run}.{head}_scores.h5"))).unwrap());
        assert!(whole == part, "{head}");
    }
}

#[test]
fn a_complete_run_is_not_repeated_and_not_replaced() {
    let fixture = fixture();
    fixture.succeed(&strs(&arguments("x", &[])));
    let h5 = fixture.path("x.counts_scores.h5");
    let before = fs::metadata(&h5).unwrap().modified().unwrap();
    let said = stderr(&fixture.succeed(&strs(&arguments("x", &[]))));
    assert!(said.contains("complete already; pass --force"), "{said}");
    assert_eq!(fs::metadata(&h5).unwrap().modified().unwrap(), before);
    let said = fixture.fail(&strs(&arguments("x", &["--method", "grad"])));
    assert!(said.contains("method: \"deepshap\" now \"grad\""), "{said}");
    let said = fixture.fail(&strs(&arguments("x", &["-pc", "counts"])));
    assert!(said.contains("scores of another run"), "{said}");
    fixture.succeed(&strs(&arguments("x", &["--method", "grad", "--force"])));
    assert_ne!(fs::metadata(&h5).unwrap().modified().unwrap(), before);
    fixture.write("new.scores.partial", "what somebody else left, for whatever reason");
    let said = fixture.fail(&strs(&arguments("new", &[])));
    assert!(said.contains("not a file of finished rows"), "{said}");
}

#[test]
fn bad_input_has_one_clear_message_and_leaves_nothing() {
    let fixture = fixture();
    let full = fixture.path("chrombpnet.h5");
    keras_h5::write_full(&full, &network(1), &network(2)).unwrap();
    let wide = Architecture::new(INPUTLEN + 20, OUTPUTLEN + 20, 4, 2).unwrap();
    let wide = Network { arch: wide, parameters: ParameterSet::glorot_uniform(&wide, 1) };
    keras_h5::write_single(&fixture.path("wide.h5"), &wide, Naming::WithoutBias).unwrap();
    keras_h5::write_single(&fixture.path("bias.h5"), &network(1), Naming::Bias).unwrap();
    fixture.write("text.h5", "no model");
    fixture.write("names.bed", &REGIONS.replace("chr", ""));
    fixture.write("three.bed", "chr1\t5\t10\n");
    fixture.write("edge.bed", REGIONS.lines().nth(1).unwrap());
    fixture.write("empty.bed", "");
    fixture.write("sizes.tsv", "chr1\t24000\n");
    fixture.write("short.fa", ">s\nACGT\n");
    let before = tree(fixture.folder.path());

    let with = |changes: &[(&str, &str)]| {
        let mut all = arguments("bad/x", &[]);
        fs::create_dir_all(fixture.path("bad")).unwrap();
        for (flag, value) in changes {
            match all.iter().position(|a| a == flag) {
                Some(at) => all[at + 1] = value.to_string(),
                None => all.extend([flag.to_string(), value.to_string()]),
            }
        }
        all
    };
    for (changes, wanted) in [
        (&[("-m", "none.h5")][..], "none.h5"),
        (&[("-m", "text.h5")], "text.h5"),
        (&[("-m", "chrombpnet.h5")], "chrombpnet_nobias.h5"),
        (&[("-r", "none.bed")], "none.bed"),
        (&[("-r", "names.bed")], "chr1"),
        (&[("-r", "three.bed")], "3 columns, expected 10"),
        (&[("-r", "edge.bed")], "no region is left"),
        (&[("-r", "empty.bed")], "no regions"),
        (&[("-g", "none.fa")], "none.fa"),
        (&[("-c", "none.sizes")], "none.sizes"),
        (&[("-c", "sizes.tsv")], "which is not listed"),
        (&[("-d", "chr9")], "no region is left to explain\n  where: regions.bed"),
        (&[("-op", "no/such/folder/x")], "no such folder\n  where: no/such/folder\n"),
        (&[("--references", "regions.bed")], "not a safetensors file"),
        (&[("--n-references", "0")], "at least 1"),
    ] {
        let said = fixture.fail(&strs(&with(changes)));
        assert!(said.contains(wanted), "{changes:?}: {said}");
        assert!(said.lines().filter(|l| l.starts_with("error: ")).count() == 1, "{said}");
        let left: Vec<String> = tree(&fixture.path("bad"))
            .into_iter()
            .filter(|name| !name.ends_with("_dropped_regions.tsv"))
            .collect();
        assert!(left.is_empty(), "{changes:?} left {left:?}");
    }
    let both = |second: &str| {
        let mut all = with(&[]);
        all.insert(3, second.to_string());
        fixture.fail(&strs(&all))
    };
    assert!(both("wide.h5").contains("different lengths"), "{}", both("wide.h5"));
    assert!(both("bias.h5").contains("no common mean"), "{}", both("bias.h5"));
    let fasta = ["contribs", "-m", "a.h5", "--fasta", "short.fa", "-op", "bad/x"];
    assert!(fixture.fail(&fasta).contains("sequence is 4 bp long, but the model reads 306"));
    let cached = |name: &String| !name.contains(".cbp-fast-cache") && !name.starts_with("bad/");
    let after: Vec<String> = tree(fixture.folder.path()).into_iter().filter(cached).collect();
    assert_eq!(after, before);
    // The nobias model beside a full one is named with its path.
    fs::copy(fixture.path("a.h5"), fixture.path("chrombpnet_nobias.h5")).unwrap();
    let said = fixture.fail(&strs(&with(&[("-m", "chrombpnet.h5")])));
    assert!(said.contains("-m chrombpnet_nobias.h5"), "{said}");
}
