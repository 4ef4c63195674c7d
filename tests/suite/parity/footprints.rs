//! Marginal footprints of the official code.

use cbp_fast::engine::Engine;
use cbp_fast::engine::cpu::CpuEngine;
use cbp_fast::footprint::{Motif, footprints};

use super::batches::{examples, model, to_f64, worst};
use super::golden::Tensors;
use crate::shared;

#[test]
fn footprints_are_the_official_ones() {
    let Some(goldens) = shared::goldens() else { return };
    let file = Tensors::read(&goldens.join("data/expected/footprints.safetensors"));
    let n = file.shape("bases")[0];
    let (tracks, plan) = examples(n, &file.u8("bases"), &[]);
    let motifs: Vec<Motif> = file
        .metadata
        .iter()
        .filter_map(|(key, bases)| Some((key.strip_prefix("motif_")?, bases)))
        .filter(|(_, bases)| !bases.is_empty())
        .map(|(name, bases)| Motif::new(name, bases).unwrap())
        .collect();
    assert!(motifs.len() >= 4, "{motifs:?}");
    for name in ["bias_trained", "chrombpnet_nobias"] {
        let branches = model(&goldens.join(format!("models/{name}.h5")), 1.0).spec.branches;
        let arch = branches.main.arch;
        let mut engine = CpuEngine::new(branches, None).unwrap();
        let mut done = 0;
        // 5 does not divide 12: the last batch is smaller.
        let found = footprints(
            &mut |codes, out| engine.predict_sequences(codes, out),
            &arch,
            &tracks,
            &plan,
            &motifs,
            5,
            &mut |regions| done += regions,
        )
        .unwrap();
        assert_eq!(done, n * (1 + motifs.len()));
        assert_eq!(found[0].name, "control");
        for footprint in &found {
            let golden = |what: &str| file.f32(&format!("{name}/{}/{what}", footprint.name));
            let (profile, counts) = (golden("footprint"), f64::from(golden("counts")[0]));
            let off = worst(&to_f64(&footprint.profile), &to_f64(&profile));
            let off_counts = (f64::from(footprint.counts) - counts).abs() / counts.abs();
            println!("{name} {}: profile {off:.1e}, counts {off_counts:.1e}", footprint.name);
            assert!(off <= 1e-6, "{name} {}: {off:e}", footprint.name);
            assert!(off_counts <= 1e-5, "{name} {}: {off_counts:e}", footprint.name);
        }
    }
}
