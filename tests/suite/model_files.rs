//! Keras model files: every golden and real model reads, what we write reads back bit for bit.

use std::path::{Path, PathBuf};

use cbp_fast::files::keras_h5::{self, KerasModel, Naming};

use crate::shared;

/// `.h5` files of a folder, sorted.
fn h5_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "h5"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no .h5 file in {}", folder.display());
    files
}

#[test]
fn every_golden_model_reads() {
    let Some(goldens) = shared::goldens() else { return };
    for path in h5_files(&goldens.join("models")) {
        let model = keras_h5::read(&path).unwrap_or_else(|e| panic!("{e:#}"));
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let wanted = if stem.starts_with("bias") {
            "bias"
        } else if stem.ends_with("nobias") {
            "chrombpnet_nobias"
        } else {
            "chrombpnet"
        };
        assert_eq!(model.role(), wanted, "{stem}");
        for network in std::iter::once(model.main()).chain(model.bias()) {
            assert!(network.parameters.matches(&network.arch), "{stem}");
            assert_eq!((network.arch.inputlen, network.arch.outputlen), (2114, 1000), "{stem}");
            assert_eq!((network.arch.first_kernel, network.arch.profile_kernel), (21, 75));
        }
        let counted = (model.arch().filters, model.arch().n_dilation_layers);
        println!("{stem}: {counted:?}, {} weights", model.parameter_count());
    }
}

#[test]
fn every_real_model_reads() {
    let Some(models) = shared::models() else { return };
    for path in h5_files(&models) {
        let model = keras_h5::read(&path).unwrap_or_else(|e| panic!("{e:#}"));
        let KerasModel::Single { network, naming } = &model else {
            panic!("{}: expected a single model", path.display())
        };
        assert_eq!(*naming, Naming::Bias);
        assert_eq!((network.arch.filters, network.arch.n_dilation_layers), (128, 4));
        assert_eq!((network.arch.inputlen, network.arch.outputlen), (2114, 1000));
        assert_eq!(model.parameter_count(), 217_730, "{}", path.display());
    }
}
