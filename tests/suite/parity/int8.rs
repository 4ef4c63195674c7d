//! Golden and real models predicted in bytes on an emulated GPU, beside the same models on the CPU.

use std::path::Path;
use std::sync::Arc;

use cbp_fast::batch::Example;
use cbp_fast::engine::cpu::CpuEngine;
use cbp_fast::engine::cuda::emulated::{EmulatedDevice, Options};
use cbp_fast::engine::cuda::engine::CudaEngine;
use cbp_fast::engine::cuda::precision::Precision;
use cbp_fast::engine::{Predict, Predictions};
use cbp_fast::store::{GenomePack, Tracks};

use super::batches::{examples, model};
use super::golden::Tensors;
use super::real_models::fasta;
use crate::shared;

/// Of the profile: rms of the difference of logits, over the rms of the logits, both less their mean in the example,
/// which a softmax does not see.
///
/// A layer's sums are off by 5e-3 of themselves at most (`kernels::int8`), and layers err independently: eight of them
/// leave 1.4e-2 in the features. Heads are sums over features, whose errors are independent, too; where the terms of a
/// sum cancel more than their errors do, its share is larger. Twice that is allowed; 9.5e-3 seen.
const PROFILE: f64 = 3e-2;
/// Of the log counts, absolute: sums of some 3 to 8, of pooled features, in which the errors of positions average out
/// and those of weights, 4e-3 a layer, do not. 8.0e-3 seen.
const LOGCOUNTS: f32 = 3e-2;

fn check(file: &Path, tracks: &Tracks, plan: &[Example]) {
    let name = file.file_name().unwrap().to_str().unwrap();
    let branches = model(file, 1.0).spec.branches;
    let outputlen = branches.main.arch.outputlen;
    let (mut found, mut wanted) = (Predictions::default(), Predictions::default());
    CpuEngine::new(branches.clone(), tracks.clone()).unwrap().predict(plan, &mut wanted).unwrap();
    let device = EmulatedDevice::new(Options::fast());
    let mut engine = CudaEngine::new(device, Precision::Int8, branches, tracks.clone()).unwrap();
    engine.predict(plan, &mut found).unwrap();

    let (mut off, mut size) = (0.0, 0.0);
    let examples = found.logits.chunks_exact(outputlen).zip(wanted.logits.chunks_exact(outputlen));
    for (found, wanted) in examples {
        let mean = |row: &[f32]| row.iter().map(|&v| f64::from(v)).sum::<f64>() / row.len() as f64;
        let (mean_found, mean_wanted) = (mean(found), mean(wanted));
        for (&f, &w) in found.iter().zip(wanted) {
            let (f, w) = (f64::from(f) - mean_found, f64::from(w) - mean_wanted);
            off += (f - w) * (f - w);
            size += w * w;
        }
    }
    let profile = f64::sqrt(off / size);
    let logcounts = found.logcounts.iter().zip(&wanted.logcounts);
    let logcounts = logcounts.fold(0.0f32, |worst, (f, w)| worst.max((f - w).abs()));
    println!("{name}: profile {profile:.1e}, logcounts {logcounts:.1e}");
    assert!(profile <= PROFILE, "{name}: the profile is off by {profile:e}");
    assert!(logcounts <= LOGCOUNTS, "{name}: logcounts are off by {logcounts:e}");
}

#[test]
fn golden_models_in_bytes() {
    let Some(goldens) = shared::goldens() else { return };
    let file = Tensors::read(&goldens.join("forward/forward.safetensors"));
    let (tracks, plan) = examples(file.shape("tokens")[0], &file.u8("tokens"), &[]);
    for name in ["bias_trained", "chrombpnet", "chrombpnet_nobias"] {
        check(&goldens.join(format!("models/{name}.h5")), &tracks, &plan);
    }
}

#[test]
fn real_models_in_bytes() {
    let Some(folder) = shared::models() else { return };
    // Every third: emulation takes its time.
    let sequences = fasta(&folder.join("golden/golden_sequences.fa"));
    let named = sequences.iter().map(|(name, bases)| (name.as_str(), bases.as_slice()));
    let tracks = Tracks::new(Arc::new(GenomePack::from_sequences(named)), None);
    let plan: Vec<Example> = (0..sequences.len() as u32)
        .step_by(3)
        .map(|contig| Example { contig, start: 0, flags: 0, row: contig })
        .collect();
    for name in ["gm12878_v1_bias", "mesc_wt_bias"] {
        check(&folder.join(format!("{name}.h5")), &tracks, &plan);
    }
}
