//! Contribution scores of the CPU engine: against the definition written out, against finite
//! differences, and against themselves with other threads, calls and heads.

use std::sync::Arc;

use crate::engine::spec;
use cbp_fast::batch::Example;
use cbp_fast::engine::cpu::{CpuEngine, CpuEngineOf, CpuTrainerOf, Options};
use cbp_fast::engine::{
    Contributions, Engine, Explain, Heads, Predict, Predictions, Rule, ToExplain, Train,
};
use cbp_fast::model::{Architecture, Branches, Network, ParameterSet};
use cbp_fast::store::{GenomePack, SignalPack, Tracks};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn network(inputlen: usize, outputlen: usize, filters: usize, layers: usize, seed: u64) -> Network {
    let arch = Architecture::new(inputlen, outputlen, filters, layers).unwrap();
    let mut parameters = ParameterSet::glorot_uniform(&arch, seed);
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xb1a5);
    for tensor in parameters.tensors.iter_mut().filter(|t| t.name.ends_with("/bias")) {
        tensor.data.iter_mut().for_each(|v| *v = rng.random::<f32>() * 0.4 - 0.2);
    }
    Network { arch, parameters }
}

fn engine<T: cbp_fast::engine::cpu::Scalar>(network: &Network, pairs: bool) -> CpuEngineOf<T> {
    let options = Options { pairs: Some(pairs), ..Options::default() };
    CpuEngineOf::with_options(network.clone(), None, options).unwrap()
}

/// Random codes, one in `n_in` of them N.
fn codes(len: usize, n_in: u32, seed: u64) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len)
        .map(|_| if rng.random_range(0..n_in) == 0 { 4 } else { rng.random_range(0..4) })
        .collect()
}

fn explain(engine: &mut dyn Explain, of: &ToExplain) -> Contributions {
    let mut found = Contributions::default();
    engine.contributions(of, &mut found).unwrap();
    found
}

/// The model and the rescale rule as their definitions read, position by position.
mod definition {
    use cbp_fast::model::Network;

    pub struct Pass {
        /// sums before each ReLU, [layer][position][channel]
        sums: Vec<Vec<Vec<f64>>>,
        pub logits: Vec<f64>,
        pub logcounts: f64,
    }

    fn tensor(network: &Network, at: usize) -> Vec<f64> {
        network.parameters.tensors[at].data.iter().map(|&v| f64::from(v)).collect()
    }

    pub fn forward(network: &Network, codes: &[u8]) -> Pass {
        let arch = &network.arch;
        let c = arch.filters;
        let (kernel, bias) = (tensor(network, 0), tensor(network, 1));
        let first: Vec<Vec<f64>> = codes
            .windows(arch.first_kernel)
            .map(|window| {
                let mut z = bias.clone();
                for (k, &code) in window.iter().enumerate().filter(|(_, code)| **code < 4) {
                    for (o, z) in z.iter_mut().enumerate() {
                        *z += kernel[(k * 4 + usize::from(code)) * c + o];
                    }
                }
                z
            })
            .collect();
        let relu = |z: &Vec<f64>| z.iter().map(|z| z.max(0.0)).collect::<Vec<f64>>();
        let mut x: Vec<Vec<f64>> = first.iter().map(relu).collect();
        let mut sums = vec![first];
        for layer in 1..=arch.n_dilation_layers {
            let (kernel, bias) = (tensor(network, 2 * layer), tensor(network, 2 * layer + 1));
            let d = arch.dilation(layer);
            let z: Vec<Vec<f64>> = (0..x.len() - 2 * d)
                .map(|t| {
                    let mut z = bias.clone();
                    for k in 0..3 {
                        for (i, x) in x[t + k * d].iter().enumerate() {
                            for (o, z) in z.iter_mut().enumerate() {
                                *z += kernel[(k * c + i) * c + o] * x;
                            }
                        }
                    }
                    z
                })
                .collect();
            x = (0..z.len())
                .map(|t| relu(&z[t]).iter().zip(&x[t + d]).map(|(y, x)| y + x).collect())
                .collect();
            sums.push(z);
        }
        let at = 2 * arch.n_dilation_layers + 2;
        let (kernel, bias) = (tensor(network, at), tensor(network, at + 1)[0]);
        let crop = arch.profile_crop();
        let logits = (0..arch.outputlen)
            .map(|t| {
                let taps = kernel.chunks_exact(c).zip(&x[crop + t..]);
                bias + taps.flat_map(|(w, x)| w.iter().zip(x)).map(|(w, x)| w * x).sum::<f64>()
            })
            .collect();
        let dense = tensor(network, at + 2);
        let sum: f64 = x.iter().flat_map(|x| x.iter().zip(&dense)).map(|(x, w)| x * w).sum();
        let logcounts = tensor(network, at + 3)[0] + sum / x.len() as f64;
        Pass { sums, logits, logcounts }
    }

    pub fn softmax(logits: &[f64]) -> Vec<f64> {
        let sum: f64 = logits.iter().map(|l| l.exp()).sum();
        logits.iter().map(|l| l.exp() / sum).collect()
    }

    /// [inputlen][4], led back from weights of the outputs.
    pub fn multipliers(
        network: &Network,
        of: &Pass,
        against: &Pass,
        by_logits: &[f64],
        by_logcounts: f64,
    ) -> Vec<[f64; 4]> {
        let arch = &network.arch;
        let c = arch.filters;
        let n = arch.n_dilation_layers;
        let at = 2 * n + 2;
        let (kernel, dense) = (tensor(network, at), tensor(network, at + 2));
        let length = arch.trunk_len(n);
        let share = |w: &f64| w * by_logcounts / length as f64;
        let mut g: Vec<Vec<f64>> = vec![dense.iter().map(share).collect(); length];
        for (t, by) in by_logits.iter().enumerate() {
            for (k, w) in kernel.chunks_exact(c).enumerate() {
                let g = &mut g[arch.profile_crop() + t + k];
                g.iter_mut().zip(w).for_each(|(g, w)| *g += w * by);
            }
        }
        let through = |layer: usize, g: &[Vec<f64>]| -> Vec<Vec<f64>> {
            let pairs = of.sums[layer].iter().zip(&against.sums[layer]);
            g.iter()
                .zip(pairs)
                .map(|(g, (a, b))| {
                    let slope = |(a, b): (&f64, &f64)| match a - b {
                        change if change.abs() < 1e-6 => f64::from(u8::from(*a > 0.0)),
                        change => (a.max(0.0) - b.max(0.0)) / change,
                    };
                    g.iter().zip(a.iter().zip(b).map(slope)).map(|(g, slope)| g * slope).collect()
                })
                .collect()
        };
        for layer in (1..=n).rev() {
            let dz = through(layer, &g);
            let d = arch.dilation(layer);
            let kernel = tensor(network, 2 * layer);
            let mut below = vec![vec![0.0; c]; arch.trunk_len(layer - 1)];
            for (t, (dz, g)) in dz.iter().zip(&g).enumerate() {
                below[t + d].iter_mut().zip(g).for_each(|(below, g)| *below += g);
                for k in 0..3 {
                    for (i, below) in below[t + k * d].iter_mut().enumerate() {
                        let row = &kernel[(k * c + i) * c..][..c];
                        *below += row.iter().zip(dz).map(|(w, dz)| w * dz).sum::<f64>();
                    }
                }
            }
            g = below;
        }
        let kernel = tensor(network, 0);
        let mut m = vec![[0.0; 4]; arch.inputlen];
        for (t, dz) in through(0, &g).iter().enumerate() {
            for (k, taps) in kernel.chunks_exact(4 * c).enumerate() {
                for (m, w) in m[t + k].iter_mut().zip(taps.chunks_exact(c)) {
                    *m += w.iter().zip(dz).map(|(w, dz)| w * dz).sum::<f64>();
                }
            }
        }
        m
    }
}

fn close(what: &str, found: &[f32], wanted: &[f64], tolerance: f64) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    let size = wanted.iter().fold(0.0_f64, |max, w| w.abs().max(max));
    assert!(size > 0.0, "{what}: nothing was checked");
    let off = found.iter().zip(wanted).map(|(&f, w)| (f64::from(f) - w).abs());
    let off = off.fold(0.0, f64::max) / size;
    assert!(off <= tolerance, "{what}: off by {off:e} of the largest");
}

fn check_against_the_definition(shape: (usize, usize, usize, usize), pairs: bool) {
    let (inputlen, outputlen, filters, layers) = shape;
    let network = network(inputlen, outputlen, filters, layers, 11);
    let (n, per_sequence) = (2, 3);
    let sequences = codes(n * inputlen, 30, 5);
    let mut references = codes(n * per_sequence * inputlen, 40, 6);
    // One that is the sequence but for its middle: sums are equal at both ends.
    references[..inputlen].copy_from_slice(&sequences[..inputlen]);
    references[inputlen / 2] = (sequences[inputlen / 2] + 1) % 4;

    let mut wanted = [Vec::new(), Vec::new()];
    let mut deltas = [Vec::new(), Vec::new()];
    for (codes, references) in
        sequences.chunks_exact(inputlen).zip(references.chunks_exact(per_sequence * inputlen))
    {
        let of = definition::forward(&network, codes);
        let mut means = [vec![0.0; inputlen * 4], vec![0.0; inputlen * 4]];
        let mut delta = [0.0; 2];
        for reference in references.chunks_exact(inputlen) {
            let against = definition::forward(&network, reference);
            let (p, q) = (definition::softmax(&of.logits), definition::softmax(&against.logits));
            let weights: Vec<f64> = p.iter().zip(&q).map(|(p, q)| (p + q) / 2.0).collect();
            let centred: Vec<f64> = weights.iter().map(|w| w - 1.0 / outputlen as f64).collect();
            let changes = of.logits.iter().zip(&against.logits).map(|(l, r)| l - r);
            let mean = changes.clone().sum::<f64>() / outputlen as f64;
            delta[0] += of.logcounts - against.logcounts;
            delta[1] += weights.iter().zip(changes).map(|(w, c)| w * (c - mean)).sum::<f64>();
            for (head, (by_logits, by_logcounts)) in
                [(&[][..], 1.0), (&centred[..], 0.0)].into_iter().enumerate()
            {
                let m = definition::multipliers(&network, &of, &against, by_logits, by_logcounts);
                let scores = m.iter().zip(reference).flat_map(|(m, &code)| {
                    let replaced = m.get(usize::from(code)).copied().unwrap_or(0.0);
                    m.map(|m| m - replaced)
                });
                means[head].iter_mut().zip(scores).for_each(|(sum, s)| *sum += s / 3.0);
            }
        }
        for head in 0..2 {
            wanted[head].extend_from_slice(&means[head]);
            deltas[head].push(delta[head] / 3.0);
        }
    }

    let rule = Rule::Rescale { references: &references, per_sequence };
    let of = ToExplain { codes: &sequences, rule, heads: Heads::BOTH };
    let exact = explain(&mut engine::<f64>(&network, pairs), &of);
    let single = explain(&mut engine::<f32>(&network, pairs), &of);
    for (head, wanted) in wanted.iter().enumerate() {
        let what = format!("{shape:?} pairs {pairs} head {head}");
        let scores = |c: &Contributions| [c.counts.clone(), c.profile.clone()][head].clone();
        close(&format!("{what} f64"), &scores(&exact), wanted, 1e-6);
        close(&format!("{what} f32"), &scores(&single), wanted, 2e-4);
        let deltas_found = [&exact.delta_counts, &exact.delta_profile][head];
        for (found, wanted) in deltas_found.iter().zip(&deltas[head]) {
            assert!((found - wanted).abs() < 1e-9, "{what}: delta {found}, wanted {wanted}");
        }
    }
}

#[test]
fn equal_the_definition_for_awkward_shapes() {
    // (inputlen, outputlen, filters, layers): odd filters, more than a panel, a crop, few layers.
    for shape in
        [(140, 10, 5, 1), (200, 40, 17, 2), (182, 60, 3, 3), (96, 2, 4, 0), (150, 20, 33, 1)]
    {
        for pairs in [false, true] {
            check_against_the_definition(shape, pairs);
        }
    }
}

/// A sequence of A, C and G with one T. With the kernel's row of T made from those of A and another
/// base, `w_T = w_A + by * w_base`, the T stands for a one-hot input moved by `by` in that base's
/// column: differences of outputs are derivatives by the input.
#[test]
fn gradients_are_finite_differences() {
    let (inputlen, outputlen, filters, layers) = (182, 60, 6, 3);
    let network = network(inputlen, outputlen, filters, layers, 3);
    let mut checked = 0;
    for (at, seed) in [(0, 1), (1, 2), (60, 3), (91, 4), (140, 5), (181, 6)] {
        let mut sequence: Vec<u8> = codes(inputlen, 30, seed);
        sequence.iter_mut().filter(|code| **code == 3).for_each(|code| *code = 0);
        sequence[at] = 3;
        let letters: Vec<u8> = sequence.iter().map(|&c| b"ACGTN"[usize::from(c)]).collect();
        let tracks = Tracks::new(
            Arc::new(GenomePack::from_sequences([("it", &letters[..])])),
            Some(Arc::new(SignalPack::from_dense([("it", &vec![1.0; inputlen][..])]))),
        );
        let spec = spec(network.clone(), None);
        let mut engine = CpuTrainerOf::<f64>::new(spec, tracks).unwrap();
        let weights = engine.weights().to_vec();
        let outputs = |engine: &mut CpuTrainerOf<f64>, base: usize, by: f64| {
            let mut moved = weights.clone();
            for tap in moved[0].chunks_exact_mut(4 * filters) {
                for c in 0..filters {
                    tap[3 * filters + c] = tap[c] + by * tap[base * filters + c];
                }
            }
            engine.set_weights(&moved);
            let plan = [Example { contig: 0, start: 0, flags: 0, row: 0 }];
            let found = engine.gradients(&plan).unwrap();
            (found.logits, found.logcounts[0])
        };
        let (logits, _) = outputs(&mut engine, 0, 0.0);
        let p = definition::softmax(&logits);
        let of = ToExplain { codes: &sequence, rule: Rule::Gradient, heads: Heads::BOTH };
        let moved = Network { arch: network.arch, parameters: engine.parameters().unwrap() };
        let found = explain(&mut CpuEngineOf::<f64>::new(moved, None).unwrap(), &of);
        for base in 0..3 {
            let step = 1e-5;
            let (above, counts_above) = outputs(&mut engine, base, step);
            let (below, counts_below) = outputs(&mut engine, base, -step);
            let counts = (counts_above - counts_below) / (2.0 * step);
            let slopes = above.iter().zip(&below).map(|(a, b)| (a - b) / (2.0 * step));
            let mean = slopes.clone().sum::<f64>() / outputlen as f64;
            let profile: f64 = slopes.zip(&p).map(|(slope, p)| p * (slope - mean)).sum();
            for (head, found, wanted) in
                [("counts", &found.counts, counts), ("profile", &found.profile, profile)]
            {
                let found = f64::from(found[at * 4 + base]);
                checked += usize::from(wanted.abs() > 1e-7);
                assert!(
                    (found - wanted).abs() < 1e-7 + 1e-5 * wanted.abs(),
                    "{head} at {at}, base {base}: {found}, by differences {wanted}"
                );
            }
        }
    }
    assert!(checked >= 30, "{checked} of 36 derivatives do not vanish");
}

#[test]
fn same_bits_for_any_threads_calls_and_heads() {
    let inputlen = 300;
    let network = network(inputlen, 80, 33, 3, 1);
    // More references than are held at once.
    let (n, per_sequence) = (5, 35);
    let sequences = codes(n * inputlen, 50, 1);
    let references = codes(n * per_sequence * inputlen, 50, 2);
    let run = |threads: usize, calls: &[usize], heads: Heads, rescale: bool| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut engine = engine::<f32>(&network, true);
            let mut found = Contributions::default();
            let mut first = 0;
            for &size in calls {
                let references = &references[first * per_sequence * inputlen..]
                    [..size * per_sequence * inputlen];
                let rule = match rescale {
                    true => Rule::Rescale { references, per_sequence },
                    false => Rule::Gradient,
                };
                let codes = &sequences[first * inputlen..][..size * inputlen];
                engine.contributions(&ToExplain { codes, rule, heads }, &mut found).unwrap();
                first += size;
            }
            assert_eq!(first, n);
            found
        })
    };
    for rescale in [true, false] {
        let one = run(1, &[5], Heads::BOTH, rescale);
        assert_eq!(one.counts.len(), n * inputlen * 4);
        assert_eq!(one.predictions.logits.len(), n * 80);
        assert!(run(2, &[5], Heads::BOTH, rescale) == one, "2 threads");
        assert!(run(8, &[5], Heads::BOTH, rescale) == one, "8 threads");
        assert!(run(3, &[1, 0, 3, 1], Heads::BOTH, rescale) == one, "several calls");
        let counts = run(2, &[4, 1], Heads { counts: true, profile: false }, rescale);
        let without = (Vec::new(), Vec::new());
        let wanted = Contributions { profile: without.0, delta_profile: without.1, ..one.clone() };
        assert!(counts == wanted, "counts alone");
        let profile = run(2, &[2, 3], Heads { counts: false, profile: true }, rescale);
        let wanted = Contributions { counts: Vec::new(), delta_counts: Vec::new(), ..one };
        assert!(profile == wanted, "profile alone");
    }
}

#[test]
fn a_window_and_its_codes_predict_the_same() {
    let inputlen = 300;
    let bases: Vec<u8> =
        codes(3000, 20, 7).iter().map(|&code| b"ACGTN"[usize::from(code)]).collect();
    let tracks = Tracks::new(Arc::new(GenomePack::from_sequences([("chr", &bases[..])])), None);
    let main = network(inputlen, 80, 20, 3, 1);
    let branches = Branches { main, bias: Some(network(inputlen, 80, 6, 2, 2)) };
    let mut engine = CpuEngine::new(branches, tracks.clone()).unwrap();
    // The last window reaches beyond the contig.
    let at = |(i, start)| Example { contig: 0, start, flags: i % 2, row: i };
    let plan: Vec<Example> = (0..).zip([0, 700, 1234, 2690, 2900]).map(at).collect();
    let mut sequences = vec![0; plan.len() * inputlen];
    for (example, codes) in plan.iter().zip(sequences.chunks_exact_mut(inputlen)) {
        tracks.fill_codes(example, codes);
    }
    let (mut wanted, mut found) = (Predictions::default(), Predictions::default());
    engine.predict(&plan, &mut wanted).unwrap();
    engine.predict_sequences(&sequences, &mut found).unwrap();
    assert_eq!(found, wanted);
    engine.predict_sequences(&[], &mut found).unwrap();
    assert_eq!(found, wanted);
}

#[test]
fn what_cannot_be_explained_is_refused() {
    let inputlen = 140;
    let network = network(inputlen, 10, 5, 1, 1);
    let mut engine = engine::<f32>(&network, false);
    let mut out = Contributions::default();
    let sequences = codes(2 * inputlen, 50, 1);
    let mut message = |codes: &[u8], references: &[u8], per_sequence| {
        let rule = Rule::Rescale { references, per_sequence };
        let of = ToExplain { codes, rule, heads: Heads::BOTH };
        engine.contributions(&of, &mut out).unwrap_err().to_string()
    };
    let references = codes(6 * inputlen, 50, 2);
    let text = message(&sequences, &references, 2);
    assert!(text.contains("6 references were given for 2 sequences, 2 each"), "{text}");
    assert!(message(&sequences, &[], 0).contains("need references"));
    assert!(message(&sequences[1..], &references, 3).contains("not a whole number"));
    let text = message(&sequences, &[&references[1..], &[9]].concat(), 3);
    assert!(text.contains("9 is no base code") && text.contains("references, number 6"), "{text}");
    // Nothing to explain is no error.
    let rule = Rule::Rescale { references: &[], per_sequence: 20 };
    engine.contributions(&ToExplain { codes: &[], rule, heads: Heads::BOTH }, &mut out).unwrap();
    assert_eq!(out, Contributions::default());

    let branches = Branches { main: network.clone(), bias: Some(network) };
    let mut full = CpuEngine::new(branches, None).unwrap();
    let of = ToExplain { codes: &sequences, rule: Rule::Gradient, heads: Heads::BOTH };
    let text = format!("{:#}", full.contributions(&of, &mut out).unwrap_err());
    assert!(text.contains("one branch") && text.contains("chrombpnet_nobias.h5"), "{text}");
}

#[test]
fn bench_contribs_leaves_what_a_peer_needs() {
    let folder = tempfile::tempdir().unwrap();
    let run = |more: &[&str]| {
        let small = ["--filters", "8", "--n-dilation-layers", "2", "--regions", "2"];
        let sizes = ["--references", "3", "--predictions", "2", "--device", "cpu", "--json"];
        let arguments = [&["bench", "contribs"], &small[..], &sizes, more].concat();
        crate::fixture::command(folder.path(), &arguments).output().unwrap()
    };
    let output = run(&["--write", "peer"]);
    assert!(output.status.success(), "{}", crate::fixture::stderr(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let found: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    for field in ["seconds_per_region", "gflop_per_region", "contributions_percent_of_ceiling"] {
        assert!(found[field].as_f64().unwrap() > 0.0, "{field}: {found}");
    }
    let size = |name: &str| std::fs::metadata(folder.path().join("peer").join(name)).unwrap().len();
    assert_eq!(size("references.u8"), 2 * 3 * 2114);
    assert_eq!(size("profile.f32"), 2 * 2114 * 4 * 4);
    assert_eq!(size("logits.f32"), 2 * 1000 * 4);
    let output = run(&["--heads", "tails"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(crate::fixture::stderr(&output).contains("is not a head"));
}
