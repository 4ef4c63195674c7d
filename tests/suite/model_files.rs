//! Keras model files: every golden and real model reads, what we write reads back bit for bit.

use std::path::{Path, PathBuf};

use cbp_fast::files::keras_h5::{self, KerasModel, Naming, Role};
use cbp_fast::model::{Architecture, Network, ParameterSet};
use hdf5_metno::types::{VarLenAscii, VarLenUnicode};
use hdf5_metno::{File, Group, H5Type};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

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

/// A network with weights that differ everywhere, some of them awkward for printing or rounding.
fn network(arch: Architecture, seed: u64) -> Network {
    let mut parameters = ParameterSet::glorot_uniform(&arch, seed);
    for (index, tensor) in parameters.tensors.iter_mut().enumerate() {
        if tensor.name.ends_with("/bias") {
            tensor.data.fill(index as f32 * 0.1 - 1.0);
        }
        tensor.data[0] = [f32::MIN_POSITIVE / 8.0, -0.0, f32::MAX, 0.1][index % 4];
    }
    Network { arch, parameters }
}

/// (filters, layers, inputlen, outputlen, first kernel, profile kernel)
fn arch(shape: [usize; 6]) -> Architecture {
    let arch = Architecture {
        filters: shape[0],
        n_dilation_layers: shape[1],
        inputlen: shape[2],
        outputlen: shape[3],
        first_kernel: shape[4],
        profile_kernel: shape[5],
    };
    arch.check().unwrap();
    arch
}

const SHAPES: [[usize; 6]; 6] = [
    [1, 0, 96, 2, 21, 75],
    [1, 1, 100, 2, 21, 75],
    [3, 2, 160, 24, 21, 75],
    [5, 10, 4190, 4, 21, 75],
    [7, 3, 400, 100, 25, 1],
    [16, 4, 2114, 1000, 21, 75],
];

fn bits(network: &Network) -> Vec<Vec<u32>> {
    let bits = |data: &Vec<f32>| data.iter().map(|v| v.to_bits()).collect();
    network.parameters.tensors.iter().map(|t| bits(&t.data)).collect()
}

#[test]
fn awkward_shapes_round_trip_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.h5");
    for shape in SHAPES {
        for naming in [Naming::Bias, Naming::WithoutBias] {
            let written = network(arch(shape), 1);
            keras_h5::write_single(&path, &written, naming).unwrap();
            let back = keras_h5::read(&path).unwrap();
            assert_eq!(back, KerasModel::Single { network: written.clone(), naming }, "{shape:?}");
            assert_eq!(bits(back.main()), bits(&written), "{shape:?}");
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn full_models_round_trip_and_equal_networks_give_equal_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a.h5", "b.h5"].map(|name| folder.path().join(name));
    for (main, bias) in [
        ([4, 3, 200, 20, 21, 75], [2, 1, 200, 20, 21, 75]),
        ([1, 0, 200, 20, 21, 75], [6, 4, 200, 20, 21, 75]),
        ([2, 2, 200, 20, 21, 75], [2, 2, 200, 20, 21, 75]),
    ] {
        let (main, bias) = (network(arch(main), 1), network(arch(bias), 2));
        keras_h5::write_full(&a, &main, &bias).unwrap();
        keras_h5::write_full(&b, &main, &bias).unwrap();
        assert_eq!(keras_h5::read(&a).unwrap(), KerasModel::Full { main, bias });
        assert!(std::fs::read(&a).unwrap() == std::fs::read(&b).unwrap());
    }
}

#[test]
fn what_we_write_has_the_names_that_others_look_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.h5");
    let shape = arch([2, 4, 400, 20, 21, 75]);
    let names = |path: &str| -> Vec<String> {
        let file = File::open(folder.path().join("model.h5")).unwrap();
        file.group(path).unwrap().member_names().unwrap()
    };
    keras_h5::write_single(&path, &network(shape, 1), Naming::WithoutBias).unwrap();
    // bpnet-lite takes a file with this key for a bias model.
    assert!(!names("model_weights").contains(&"bpnet_1conv".to_string()));
    // It counts layers by the largest number that ends a name.
    let numbers = |names: Vec<String>| -> Vec<usize> {
        let last = |n: &String| n.rsplit('_').next().unwrap().replace("conv", "").parse().ok();
        names.iter().filter_map(last).collect()
    };
    assert_eq!(numbers(names("model_weights")).into_iter().max(), Some(4));
    let leaf = "model_weights/wo_bias_bpnet_4conv/wo_bias_bpnet_4conv";
    assert_eq!(names(leaf), ["bias:0", "kernel:0"]);
    keras_h5::write_single(&path, &network(shape, 1), Naming::Bias).unwrap();
    assert_eq!(numbers(names("model_weights")).into_iter().max(), Some(4));
    assert_eq!(names("model_weights/bpnet_4conv/bpnet_4conv"), ["bias:0", "kernel:0"]);
    keras_h5::write_full(&path, &network(shape, 1), &network(shape, 2)).unwrap();
    assert_eq!(names("model_weights/model/bpnet_4conv"), ["bias:0", "kernel:0"]);
    assert_eq!(names("model_weights/model_wo_bias/wo_bias_bpnet_4conv"), ["bias:0", "kernel:0"]);
}

#[test]
fn a_model_that_cannot_be_used_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.h5");
    let shape = arch([2, 1, 200, 20, 21, 75]);
    let mut nan = network(shape, 1);
    nan.parameters.tensors[2].data[1] = f32::NAN;
    let error = keras_h5::write_single(&path, &nan, Naming::Bias).unwrap_err();
    assert!(format!("{error:#}").contains("bpnet_1conv/kernel holds a NaN"), "{error:#}");
    let other = network(arch([2, 1, 200, 40, 21, 75]), 1);
    let error = keras_h5::write_full(&path, &network(shape, 1), &other).unwrap_err();
    assert!(format!("{error:#}").contains("expected the same"), "{error:#}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// A file being damaged on purpose: written, altered through HDF5, read again.
struct Altered {
    folder: tempfile::TempDir,
}

impl Altered {
    fn single() -> Self {
        let altered = Self { folder: tempfile::tempdir().unwrap() };
        let network = network(arch([2, 2, 200, 20, 21, 75]), 1);
        keras_h5::write_single(&altered.path(), &network, Naming::Bias).unwrap();
        altered
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("model.h5")
    }

    fn edit(self, edit: impl FnOnce(&File)) -> Self {
        let file = File::open_rw(self.path()).unwrap();
        edit(&file);
        file.close().unwrap();
        self
    }

    /// Replaces text in the model's JSON.
    fn config(self, from: &str, to: &str) -> Self {
        self.edit(|file| {
            let old: VarLenAscii = file.attr("model_config").unwrap().read_scalar().unwrap();
            assert!(old.as_str().contains(from), "{from} is not in {old}");
            file.delete_attr("model_config").unwrap();
            let new = VarLenAscii::from_ascii(&old.as_str().replacen(from, to, 1)).unwrap();
            let attr = file.new_attr::<VarLenAscii>().create("model_config").unwrap();
            attr.write_scalar(&new).unwrap();
        })
    }

    fn replace_dataset<T: H5Type>(self, path: &str, data: &[T], shape: &[usize]) -> Self {
        self.edit(|file| {
            file.unlink(path).unwrap();
            let dataset = file.new_dataset::<T>().shape(shape).create(path).unwrap();
            dataset.write_raw(data).unwrap();
        })
    }

    /// The error has each of `wanted`, names the file, and is not HDF5's own noise.
    fn fails_with(self, wanted: &[&str]) {
        let error = match keras_h5::read(&self.path()) {
            Ok(model) => panic!("read as {}, expected an error with {wanted:?}", model.role()),
            Err(error) => format!("{error:#}"),
        };
        for wanted in wanted.iter().chain(&["model.h5"]) {
            assert!(error.contains(wanted), "{wanted:?} is not in: {error}");
        }
    }
}

#[test]
fn every_way_to_be_wrong_has_its_own_message() {
    const CONV: &str = "model_weights/bpnet_1conv/bpnet_1conv/kernel:0";
    Altered::single()
        .edit(|file| file.unlink("model_weights").unwrap())
        .fails_with(&["no group model_weights"]);
    Altered::single()
        .edit(|file| {
            file.unlink("model_weights").unwrap();
            file.create_group("predictions").unwrap();
        })
        .fails_with(&["holds predictions", "fix: pass a Keras 2 model"]);
    Altered::single()
        .edit(|file| {
            file.unlink("model_weights").unwrap();
            file.create_group("layers").unwrap();
        })
        .fails_with(&["Keras 3 weights only"]);
    Altered::single()
        .edit(|file| {
            file.unlink("model_weights").unwrap();
            file.new_attr::<f64>().create("layer_names").unwrap();
        })
        .fails_with(&["weights only", "model.save"]);
    Altered::single()
        .edit(|file| file.delete_attr("model_config").unwrap())
        .fails_with(&["no model_config", "model.save"]);
    Altered::single()
        .edit(|file| {
            file.delete_attr("keras_version").unwrap();
            let version: VarLenUnicode = "3.3.3".parse().unwrap();
            let attr = file.new_attr::<VarLenUnicode>().create("keras_version").unwrap();
            attr.write_scalar(&version).unwrap();
        })
        .fails_with(&["Keras 3.3.3", "tf_keras"]);
    Altered::single()
        .edit(|file| file.unlink("model_weights/bpnet_2conv").unwrap())
        .fails_with(&["no weights for layer bpnet_2conv"]);
    Altered::single()
        .edit(|file| file.unlink("model_weights/bpnet_2conv/bpnet_2conv/bias:0").unwrap())
        .fails_with(&["no bias:0", "layer bpnet_2conv"]);
    Altered::single()
        .replace_dataset::<f32>(CONV, &[0.0; 8], &[2, 2, 2])
        .fails_with(&["shape [2, 2, 2], expected [3, 2, 2]", "bpnet_1conv/kernel"]);
    Altered::single()
        .replace_dataset::<i32>(CONV, &[0; 12], &[3, 2, 2])
        .fails_with(&["type int32, expected float16, 32 or 64", "bpnet_1conv/kernel"]);
    let mut nan = [0.0f32; 12];
    nan[7] = f32::NAN;
    Altered::single()
        .replace_dataset(CONV, &nan, &[3, 2, 2])
        .fails_with(&["weight 7 of bpnet_1conv/kernel is NaN"]);
    Altered::single()
        .config(r#""dilation_rate":[4]"#, r#""dilation_rate":[3]"#)
        .fails_with(&["dilation 3, expected width 3 and dilation 2^2", "bpnet_2conv"]);
    Altered::single()
        .config(r#""padding":"valid""#, r#""padding":"same""#)
        .fails_with(&[r#"padding is "same", expected "valid""#, "bpnet_1st_conv"]);
    Altered::single()
        .config(r#""class_name":"Add""#, r#""class_name":"BatchNormalization""#)
        .fails_with(&["layer add is a BatchNormalization"]);
    Altered::single()
        .config(r#"[null,200,4]"#, r#"[null,200,5]"#)
        .fails_with(&["input shape is [null,200,5]"]);
    Altered::single()
        .config(r#"[null,200,4]"#, r#"[null,100,4]"#)
        .fails_with(&["inputlen 100 is too short"]);
    Altered::single()
        .config(r#"[null,200,4]"#, r#"[null,18446744073709551615,4]"#)
        .fails_with(&["must be even"]);
    Altered::single().config(r#"{"class_name":"Functional""#, "[").fails_with(&["not JSON"]);
}

#[test]
fn files_that_are_not_hdf5_are_told_apart() {
    let cases: [(&[u8], &str); 6] = [
        (b"", "empty"),
        (b"PK\x03\x04 and so on", "zip archive"),
        (b"chr1\t0\t10\n", "not HDF5"),
        (b"BAM\x01", "not HDF5: it is a BAM file"),
        (b"\x1f\x8b", "truncated"),
        (b"\x89HDF\r\n\x1a\n and nothing more", "damaged or truncated"),
    ];
    for (bytes, wanted) in cases {
        let altered = Altered::single();
        std::fs::write(altered.path(), bytes).unwrap();
        altered.fails_with(&[wanted]);
    }
    let altered = Altered::single();
    std::fs::remove_file(altered.path()).unwrap();
    altered.fails_with(&["cannot open the model file", "check the path"]);
    let folder = tempfile::tempdir().unwrap();
    let error = format!("{:#}", keras_h5::read(folder.path()).unwrap_err());
    assert!(error.contains("is a folder"), "{error}");
}

#[test]
fn other_float_types_and_odd_layouts_are_read() {
    const CONV: &str = "model_weights/bpnet_1conv/bpnet_1conv/kernel:0";
    let doubles: Vec<f64> = (0..12).map(|i| 0.1 * f64::from(i)).collect();
    let altered = Altered::single().replace_dataset(CONV, &doubles, &[3, 2, 2]);
    let model = keras_h5::read(&altered.path()).unwrap();
    let kernel = &model.main().parameters.get("bpnet_1conv/kernel").unwrap().data;
    assert_eq!(kernel[11], (0.1f64 * 11.0) as f32);
    // An older counts head, automatic names that started elsewhere, optimizer weights beside.
    let altered = Altered::single()
        .config(
            r#""class_name":"Dense","config":{"name":"logcount_predictions""#,
            r#""class_name":"Dense","config":{"name":"logcounts""#,
        )
        .config(r#""name":"logcount_predictions","inbound"#, r#""name":"logcounts","inbound"#)
        .config(r#""name":"add""#, r#""name":"add_17""#)
        .edit(|file| {
            let weights = file.group("model_weights").unwrap();
            weights.create_group("logcounts").unwrap();
            let old = "logcount_predictions/logcount_predictions";
            weights.relink(old, "logcounts/logcounts").unwrap();
            weights.unlink("logcount_predictions").unwrap();
            let optimizer = file.create_group("optimizer_weights").unwrap();
            optimizer.new_dataset::<f32>().shape([3]).create("kernel:0").unwrap();
        });
    let model = keras_h5::read(&altered.path()).unwrap();
    assert_eq!((model.role(), model.arch().n_dilation_layers), ("bias", 2));
}

#[test]
fn fixed_length_config_and_float16_weights_are_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/bias_f16.h5");
    let model = keras_h5::read(&path).unwrap();
    let written = network(arch([2, 1, 100, 2, 21, 75]), 1);
    for (half, full) in model.main().parameters.tensors.iter().zip(&written.parameters.tensors) {
        assert_eq!((&half.name, &half.shape), (&full.name, &full.shape));
        for (half, full) in half.data.iter().zip(&full.data) {
            // 11 bits of mantissa; f32::MAX was clipped to the largest float16 in the fixture.
            let full = full.min(65504.0);
            assert!((half - full).abs() <= full.abs() / 2048.0 + 1e-7, "{half} {full}");
        }
    }
}

const CONV: &str = "model_weights/bpnet_1conv/bpnet_1conv/kernel:0";

/// A model whose weights are what `make` puts into the place of a kernel of shape [3, 2, 2].
fn with_kernel(make: impl FnOnce(&Group, &Path)) -> Altered {
    let altered = Altered::single();
    let folder = altered.folder.path().to_path_buf();
    altered.edit(|file| {
        file.unlink(CONV).unwrap();
        make(&file.group("model_weights/bpnet_1conv/bpnet_1conv").unwrap(), &folder);
    })
}

#[test]
fn weights_that_lie_elsewhere_are_refused() {
    let other = |folder: &Path| {
        let path = folder.join("other.bin");
        std::fs::write(&path, [0u8; 48]).unwrap();
        path.to_str().unwrap().to_string()
    };
    with_kernel(|group, folder| {
        let name = other(folder);
        let builder = group.new_dataset::<f32>().external(&name, 0, 48).shape([3, 2, 2]);
        builder.create("kernel:0").unwrap();
    })
    .fails_with(&["the values lie in another file", "other.bin", "bpnet_1conv/kernel:0"]);
    with_kernel(|group, folder| {
        let source = folder.join("other.h5");
        let file = File::create(&source).unwrap();
        let dataset = file.new_dataset::<f32>().shape([3, 2, 2]).create("kernel").unwrap();
        dataset.write_raw(&[0.0f32; 12]).unwrap();
        file.close().unwrap();
        let builder = group.new_dataset::<f32>().virtual_map(
            source.to_str().unwrap(),
            "kernel",
            [3, 2, 2],
            ..,
            [3, 2, 2],
            ..,
        );
        builder.shape([3, 2, 2]).create("kernel:0").unwrap();
    })
    .fails_with(&["the values lie in other datasets", "bpnet_1conv/kernel:0"]);
    with_kernel(|group, _| {
        group.link_soft("/model_weights/bpnet_2conv/bpnet_2conv/kernel:0", "kernel:0").unwrap();
    })
    .fails_with(&["kernel:0 is a soft link", "bpnet_1conv"]);
    Altered::single()
        .edit(|file| {
            file.relink("model_weights", "elsewhere").unwrap();
            file.link_soft("/elsewhere", "model_weights").unwrap();
        })
        .fails_with(&["model_weights is a soft link"]);
}

/// The library cannot make such a link any more once a file has been read, so this is a process of its
/// own (one a test under nextest).
#[test]
fn links_to_other_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.h5");
    let file = File::create(&path).unwrap();
    let group = file.create_group("model_weights").unwrap();
    if group.link_external("other.h5", "/kernel", "bpnet_1conv").is_err() {
        println!("skipped: this process has read a file before");
        return;
    }
    let config = VarLenAscii::from_ascii("{}").unwrap();
    file.new_attr::<VarLenAscii>().create("model_config").unwrap().write_scalar(&config).unwrap();
    drop(group);
    file.close().unwrap();
    let error = keras_h5::read(&path).unwrap_err().to_string();
    assert!(error.contains("bpnet_1conv is a link to another file"), "{error}");
}

#[test]
fn weights_that_are_not_stored_are_refused_before_memory_is_asked_for() {
    with_kernel(|group, _| {
        group.new_dataset::<f32>().shape([3, 2, 2]).create("kernel:0").unwrap();
    })
    .fails_with(&["0 of 48 bytes", "bpnet_1conv/kernel:0"]);
    with_kernel(|group, _| {
        group.new_dataset::<f32>().shape([3, 1 << 14, 1 << 14]).create("kernel:0").unwrap();
    })
    .fails_with(&["0 of 3221225472 bytes"]);
    with_kernel(|group, _| {
        let chunked = group.new_dataset::<f32>().chunk([1, 2, 2]).deflate(4).shape([3, 2, 2]);
        let dataset = chunked.create("kernel:0").unwrap();
        dataset
            .write_slice(&ndarray::Array3::<f32>::ones((2, 2, 2)), ndarray::s![..2, .., ..])
            .unwrap();
    })
    .fails_with(&["2 of 3 blocks", "bpnet_1conv/kernel:0"]);
    with_kernel(|group, _| {
        let chunked = group.new_dataset::<f32>().chunk([1, 1 << 13, 1 << 13]).deflate(9);
        let dataset = chunked.shape([16, 1 << 13, 1 << 13]).create("kernel:0").unwrap();
        let chunk = ndarray::Array3::<f32>::zeros((1, 4, 4));
        dataset.write_slice(&chunk, ndarray::s![..1, ..4, ..4]).unwrap();
    })
    .fails_with(&["compressed bytes stand for 4294967296, more than"]);
}

#[test]
fn compressed_weights_are_read() {
    let values: Vec<f32> = (0..12).map(|i| i as f32).collect();
    let altered = with_kernel(|group, _| {
        let packed = group.new_dataset::<f32>().chunk([2, 2, 2]).shuffle().deflate(4).fletcher32();
        packed.shape([3, 2, 2]).create("kernel:0").unwrap().write_raw(&values).unwrap();
    });
    let model = keras_h5::read(&altered.path()).unwrap();
    assert_eq!(model.main().parameters.get("bpnet_1conv/kernel").unwrap().data, values);
}

/// Groups that hold each other, once or a hundred times, end the search.
#[test]
fn groups_without_an_end_are_refused() {
    for links in [1, 100] {
        let altered = Altered::single().edit(|file| {
            let weights = file.group("model_weights").unwrap();
            for i in 0..links {
                weights.link_hard("/model_weights", &format!("again_{i}")).unwrap();
            }
        });
        match links {
            1 => altered.fails_with(&["weights for layer bpnet_1st_conv more than once"]),
            _ => altered.fails_with(&["more than 10000 groups"]),
        }
    }
}

/// A file behind a user block is another file's business: so starts the first member of an archive.
#[test]
fn hdf5_that_starts_later_is_not_looked_for() {
    let altered = Altered::single();
    let model = std::fs::read(altered.path()).unwrap();
    std::fs::write(altered.path(), [vec![b' '; 512], model].concat()).unwrap();
    altered.fails_with(&["not HDF5"]);
}

#[test]
fn a_sparse_file_of_gigabytes_is_refused() {
    let altered = Altered::single();
    let file = std::fs::OpenOptions::new().write(true).open(altered.path()).unwrap();
    file.set_len(1 << 32).unwrap();
    altered.fails_with(&["far more than any model"]);
}

/// A tar archive as GNU tar writes it.
fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, body) in members {
        let mut header = [0u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..108].copy_from_slice(b"0000644\0");
        header[124..136].copy_from_slice(format!("{:011o}\0", body.len()).as_bytes());
        header[156] = b'0';
        header[257..265].copy_from_slice(b"ustar  \0");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend(header);
        archive.extend(*body);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

/// ENCODE's archives hold all three models; HDF5 itself would open the first one, whatever is wanted.
#[test]
fn archives_are_opened_by_role() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("models.tar");
    let (main, bias) =
        (network(arch([2, 2, 200, 20, 21, 75]), 1), network(arch([2, 1, 200, 20, 21, 75]), 2));
    let image = |write: &dyn Fn(&Path)| {
        write(&path);
        std::fs::read(&path).unwrap()
    };
    let scaled = image(&|p| keras_h5::write_single(p, &bias, Naming::Bias).unwrap());
    let full = image(&|p| keras_h5::write_full(p, &main, &bias).unwrap());
    let nobias = image(&|p| keras_h5::write_single(p, &main, Naming::WithoutBias).unwrap());
    let members = [
        ("./fold_0/model.bias_scaled.fold_0.ENCSR1.h5", &scaled[..]),
        ("./fold_0/model.chrombpnet.fold_0.ENCSR1.h5", &full[..]),
        ("./fold_0/model.chrombpnet_nobias.fold_0.ENCSR1.h5", &nobias[..]),
    ];
    let archive = tar(&members);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, &archive).unwrap();
    let packed = packed.finish().unwrap();
    let naming = Naming::WithoutBias;
    for bytes in [&archive, &packed] {
        std::fs::write(&path, bytes).unwrap();
        let read = |role| keras_h5::read_role(&path, role, "-x").unwrap();
        assert_eq!(
            read(Role::Bias),
            KerasModel::Single { network: bias.clone(), naming: Naming::Bias }
        );
        assert_eq!(read(Role::WithoutBias), KerasModel::Single { network: main.clone(), naming });
        assert_eq!(read(Role::Full), KerasModel::Full { main: main.clone(), bias: bias.clone() });
        let error = keras_h5::read(&path).unwrap_err().to_string();
        assert!(error.contains("archive") && error.contains("fold_0/model.bias_scaled"), "{error}");
        assert!(error.contains("models.tar") && error.contains("-cmb"), "{error}");
    }
    let refusal = |bytes: &[u8], role| {
        std::fs::write(&path, bytes).unwrap();
        keras_h5::read_role(&path, role, "-x").unwrap_err().to_string()
    };
    let error = refusal(&tar(&members[..2]), Role::WithoutBias);
    assert!(error.contains("no .h5 file whose name says chrombpnet_nobias"), "{error}");
    let wrong = tar(&[("model.chrombpnet_nobias.h5", &scaled)]);
    let error = refusal(&wrong, Role::WithoutBias);
    assert!(
        error.contains("-x takes a chrombpnet_nobias model, but this is a bias model"),
        "{error}"
    );
    assert!(error.contains("models.tar, model.chrombpnet_nobias.h5"), "{error}");
    let error = refusal(&packed[..packed.len() / 2], Role::Bias);
    assert!(error.contains("ends early") || error.contains("truncated"), "{error}");
    let mut alone = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut alone, &scaled).unwrap();
    let error = refusal(&alone.finish().unwrap(), Role::Bias);
    assert!(error.contains("compressed by gzip") && error.contains("gunzip"), "{error}");
    let error = refusal(&nobias, Role::Bias);
    assert!(error.contains("-x takes a bias model, but this is a chrombpnet_nobias"), "{error}");
}

#[test]
fn truncated_and_mutated_files_never_crash_or_hang() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good.h5");
    let bad = folder.path().join("bad.h5");
    let branch = network(arch([2, 1, 200, 20, 21, 75]), 1);
    keras_h5::write_full(&good, &branch, &branch).unwrap();
    let good = std::fs::read(&good).unwrap();
    for length in (0..good.len()).step_by(509) {
        std::fs::write(&bad, &good[..length]).unwrap();
        assert!(keras_h5::read(&bad).is_err(), "cut to {length} of {} bytes", good.len());
    }
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut refused = 0;
    for _ in 0..400 {
        let mut bytes = good.clone();
        // An address or a size in the place of another one: structures that lead back.
        if rng.random_bool(0.5) {
            let word = |rng: &mut ChaCha8Rng| rng.random_range(0..good.len() / 8) * 8;
            let (from, to) = (word(&mut rng), word(&mut rng));
            bytes[to..to + 8].copy_from_slice(&good[from..from + 8]);
        }
        for _ in 0..rng.random_range(1..6) {
            let at = rng.random_range(0..bytes.len());
            bytes[at] = match rng.random_range(0..4) {
                0 => 0,
                1 => 0xff,
                2 => bytes[at] ^ (1 << rng.random_range(0..8)),
                _ => rng.random(),
            };
        }
        std::fs::write(&bad, &bytes).unwrap();
        refused += usize::from(keras_h5::read(&bad).is_err());
    }
    // A changed weight is not seen (Keras files have no checksums), a changed structure is.
    assert!((40..400).contains(&refused), "{refused} of 400 refused");
}
