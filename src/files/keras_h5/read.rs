//! Model file -> networks, with every way a file can be wrong told apart.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use anyhow::Result;
use flate2::read::MultiGzDecoder;
use hdf5_metno::types::{FixedAscii, FixedUnicode, TypeDescriptor, VarLenAscii, VarLenUnicode};
use hdf5_metno::{Dataset, Group, Location};

use super::layout::{self, LayerGroup};
use super::read_config::{self, BranchConfig};
use super::{KerasModel, Role, archive};
use crate::error::Problem;
use crate::files::h5_input;
use crate::input::{lines, pipe, sniff};
use crate::model::{Architecture, Network, ParameterSet, Tensor};

/// More weights than any such model has (the official full model: 6.4 million). Compressed weights
/// can stand for far more than the file's bytes.
const MAX_WEIGHTS: u64 = 1 << 27;

/// The largest file, bytes: those weights, and Adam's two moments beside them.
const MAX_FILE: u64 = 3 << 29;

/// HDF5 keeps attributes below 64 KiB unless they are of variable length.
const MAX_FIXED_ATTRIBUTE: usize = 1 << 16;

/// What is looked at to tell kinds of files apart: a header of tar.
const START: u64 = 512;

/// Reads a Keras 2 model file: bias, bias_model_scaled, chrombpnet_nobias or chrombpnet.
///
/// Weights of f16, f32 or f64 become f32. Optimizer weights and Lambda bodies are ignored.
///
/// Errors: missing, truncated or foreign file; an archive; weights without a model; layers or shapes
/// that are not BPNet's; weights that are not finite or not in the file.
pub fn read(path: &Path) -> Result<KerasModel> {
    Ok(of_image(&image(path, None)?).map_err(|inside| inside.0.within(path.display()))?)
}

/// Reads the model of one role, from a model file or from an archive of models. `flag` is how the
/// user gave it.
///
/// Errors: those of `read`; an archive without one such model; a model of another role.
pub fn read_role(path: &Path, role: Role, flag: &str) -> Result<KerasModel> {
    let image = image(path, Some(role))?;
    let place = match &image.member {
        Some(member) => format!("{}, {member}", path.display()),
        None => path.display().to_string(),
    };
    let model = of_image(&image).map_err(|inside| inside.0.within(&place))?;
    if model.kind() == role {
        return Ok(model);
    }
    let (wanted, found) = (role.stem(), model.role());
    Err(Problem::new(format!("{flag} takes a {wanted} model, but this is a {found} model"))
        .at(place)
        .fix(match image.member {
            Some(_) => {
                "the archive's names are wrong: unpack it and pass the right file".to_string()
            }
            None => format!("pass {wanted}.h5 of the run; {}", role_flags()),
        })
        .into())
}

/// The flags of `predict` and `qc`, for those who mixed up their models.
fn role_flags() -> String {
    [("-bm", Role::Bias), ("-cm", Role::Full), ("-cmb", Role::WithoutBias)]
        .map(|(flag, role)| format!("{flag} takes {}.h5", role.stem()))
        .join(", ")
}

/// A problem inside the file, which does not name the file yet.
struct Inside(Problem);

impl From<Problem> for Inside {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<hdf5_metno::Error> for Inside {
    fn from(error: hdf5_metno::Error) -> Self {
        Self(h5_input::unreadable(&error))
    }
}

/// The bytes of a model file.
struct Image {
    bytes: Vec<u8>,
    /// The member's name, where the model comes from an archive.
    member: Option<String>,
}

/// Reads the model file, or the member of an archive.
fn image(path: &Path, role: Option<Role>) -> Result<Image, Problem> {
    pipe::refuse(path, "model weights")?;
    let denied = |e: io::Error| {
        Problem::new(format!("cannot open the model file: {e}"))
            .at(path.display())
            .fix("check the path")
    };
    let foreign = |what: String| {
        Problem::new(what)
            .at(path.display())
            .fix("pass a Keras 2 model file (.h5): bias, chrombpnet or chrombpnet_nobias")
    };
    let unreadable =
        |e: io::Error| Problem::new(format!("cannot read the model file: {e}")).at(path.display());
    let file = File::open(path).map_err(denied)?;
    let metadata = file.metadata().map_err(denied)?;
    if metadata.is_dir() {
        return Err(foreign("the model is a folder, expected a .h5 file".into()));
    }
    let (start, file) = peek(file).map_err(unreadable)?;
    let of_archive = |archive: Box<dyn Read>| {
        let found = archive::read(archive, role, MAX_FILE);
        let (member, bytes) = found.map_err(|problem| problem.within(path.display()))?;
        Ok(Image { bytes, member: Some(member) })
    };
    if archive::is_tar(&start) {
        return of_archive(Box::new(file));
    }
    if start.starts_with(b"\x1f\x8b") {
        let packed = MultiGzDecoder::new(BufReader::with_capacity(1 << 16, file));
        let (start, unpacked) = peek(packed).map_err(|e| lines::unreadable(path, &e))?;
        if archive::is_tar(&start) {
            return of_archive(Box::new(unpacked));
        }
        if start.starts_with(&h5_input::SIGNATURE) {
            return Err(Problem::new("the model file is compressed by gzip, expected HDF5 itself")
                .at(path.display())
                .fix("unpack it with gunzip"));
        }
        return Err(foreign("the model file is a gzip file, expected HDF5".into()));
    }
    if start.is_empty() {
        return Err(foreign("the model file is empty".into()));
    }
    if start.starts_with(b"PK\x03\x04") {
        let what = "the model file is a zip archive (Keras 3 .keras?), expected Keras 2 HDF5";
        return Err(foreign(what.into()));
    }
    if !start.starts_with(&h5_input::SIGNATURE) {
        let kind =
            sniff::head(&start).map_or_else(String::new, |kind| format!(": it is {}", kind.name()));
        return Err(foreign(format!("the model file is not HDF5{kind}")));
    }
    let mut bytes = Vec::new();
    if metadata.len() <= MAX_FILE {
        file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    }
    if metadata.len().max(bytes.len() as u64) > MAX_FILE {
        return Err(foreign(format!(
            "the file has more than {MAX_FILE} bytes, far more than any model"
        )));
    }
    Ok(Image { bytes, member: None })
}

/// The first bytes of a stream, and the stream from its start.
fn peek(mut stream: impl Read + 'static) -> io::Result<(Vec<u8>, impl Read)> {
    let mut start = Vec::new();
    stream.by_ref().take(START).read_to_end(&mut start)?;
    Ok((start.clone(), io::Cursor::new(start).chain(stream)))
}

fn of_image(image: &Image) -> Result<KerasModel, Inside> {
    let file = h5_input::open_image(&image.bytes)?;
    let Some(weights) = h5_input::group(&file, "model_weights")? else {
        return Err(without_model(&file).into());
    };
    let Some(config) = string_attribute(&file, "model_config")? else {
        return Err(Problem::new(
            "the file has weights but no model_config, so it names no lengths",
        )
        .fix("save the whole model (model.save), not its weights only")
        .into());
    };
    if let Some(version) = string_attribute(&file, "keras_version")?
        && version.starts_with('3')
    {
        return Err(Problem::new(format!(
            "the model was saved by Keras {version}, expected Keras 2"
        ))
        .fix("save it again with tf_keras (Keras 2)")
        .into());
    }
    let groups = layout::layer_groups(&weights)?;
    let mut networks = Vec::new();
    let branches = read_config::branches(&config)?;
    let bytes = image.bytes.len() as u64;
    let mut budget = Budget { image: &image.bytes, bytes, weights: MAX_WEIGHTS };
    for branch in &branches {
        networks.push(network(branch, &groups, &mut budget)?);
    }
    match (networks.pop(), networks.pop()) {
        (Some(network), None) => Ok(KerasModel::Single { network, naming: branches[0].naming }),
        (Some(bias), Some(main)) => {
            if main.arch.outputlen != bias.arch.outputlen {
                return Err(Problem::new(format!(
                    "main and bias branch predict {} and {} bp, expected the same outputlen",
                    main.arch.outputlen, bias.arch.outputlen
                ))
                .into());
            }
            Ok(KerasModel::Full { main, bias })
        }
        (None, _) => Err(Problem::new("the file holds no model").into()),
    }
}

/// Says what kind of HDF5 file it is instead.
fn without_model(file: &Group) -> Problem {
    let members = file.member_names().unwrap_or_default();
    let has = |name: &str| members.iter().any(|m| m == name);
    let fix = "pass a Keras 2 model file (.h5): bias, chrombpnet or chrombpnet_nobias";
    let what = if has("predictions") {
        "the file holds predictions, expected a model".to_string()
    } else if has("shap") || has("projected_shap") {
        "the file holds contribution scores, expected a model".to_string()
    } else if has("layers") || has("_layer_checkpoint_dependencies") {
        "the file holds Keras 3 weights only, expected a whole Keras 2 model".to_string()
    } else if file.attr_names().is_ok_and(|names| names.iter().any(|n| n == "layer_names")) {
        return Problem::new("the file holds weights only, expected a whole model (model_weights)")
            .fix("save the whole model (model.save), not its weights only");
    } else {
        format!("the HDF5 file has no group model_weights (it has: {})", members.join(", "))
    };
    Problem::new(what).fix(fix)
}

/// A string attribute, of fixed or variable length; None when there is none of that name.
fn string_attribute(at: &Location, name: &str) -> Result<Option<String>, Inside> {
    if !at.attr_names()?.iter().any(|n| n == name) {
        return Ok(None);
    }
    let unreadable = |why: &str| Problem::new(format!("attribute {name} {why}"));
    let attribute = at.attr(name)?;
    if attribute.size() != 1 {
        return Err(unreadable("is not one string").into());
    }
    let bytes: Vec<u8> = match attribute.dtype()?.to_descriptor()? {
        TypeDescriptor::VarLenAscii => attribute
            .read_raw::<VarLenAscii>()?
            .first()
            .map_or_else(Vec::new, |s| s.as_bytes().to_vec()),
        TypeDescriptor::VarLenUnicode => attribute
            .read_raw::<VarLenUnicode>()?
            .first()
            .map_or_else(Vec::new, |s| s.as_bytes().to_vec()),
        TypeDescriptor::FixedAscii(n) if n <= MAX_FIXED_ATTRIBUTE => attribute
            .read_raw::<FixedAscii<MAX_FIXED_ATTRIBUTE>>()?
            .first()
            .map_or_else(Vec::new, |s| s.as_bytes().to_vec()),
        TypeDescriptor::FixedUnicode(n) if n <= MAX_FIXED_ATTRIBUTE => attribute
            .read_raw::<FixedUnicode<MAX_FIXED_ATTRIBUTE>>()?
            .first()
            .map_or_else(Vec::new, |s| s.as_bytes().to_vec()),
        other => return Err(unreadable(&format!("is a {other}, expected text")).into()),
    };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(unreadable("is not text").into()),
    }
}

/// What the weights of a file may still take, so that no sum of sizes is beyond the file.
struct Budget<'a> {
    image: &'a [u8],
    /// Bytes in the file. Two tensors never share theirs.
    bytes: u64,
    weights: u64,
}

impl Budget<'_> {
    fn spend(&mut self, name: &str, bytes: u64, weights: u64) -> Result<(), Problem> {
        let left = self.bytes.checked_sub(bytes).zip(self.weights.checked_sub(weights));
        let Some((bytes, weights)) = left else {
            return Err(Problem::new(format!(
                "{weights} weights in {bytes} bytes are more than the file holds, or more than \
                 {MAX_WEIGHTS} with those before"
            ))
            .at(format!("layer {name}")));
        };
        (self.bytes, self.weights) = (bytes, weights);
        Ok(())
    }
}

fn network(
    branch: &BranchConfig,
    groups: &[LayerGroup],
    budget: &mut Budget<'_>,
) -> Result<Network, Inside> {
    let of_layer = |layer: &str| find_layer(groups, layer, branch.nested.as_deref());
    let first = &branch.layers[0];
    let kernel =
        of_layer(first)?.dataset("kernel")?.ok_or_else(|| missing_weights(first, "kernel"))?;
    let &[_, _, filters] = kernel.shape().as_slice() else {
        return Err(wrong_shape(first, &kernel.shape(), "[width, 4, filters]").into());
    };
    let mut arch = Architecture {
        inputlen: branch.inputlen,
        outputlen: 0,
        filters,
        n_dilation_layers: branch.n_dilation_layers,
        first_kernel: branch.first_kernel,
        profile_kernel: branch.profile_kernel,
    };
    // Checked before `profile_len`, which subtracts: sizes from a file can be anything.
    arch.outputlen = output_length(&arch, branch.profile_crop)?;
    arch.check()?;
    let mut parameters = ParameterSet::default();
    for (index, (name, shape)) in arch.parameter_shapes().into_iter().enumerate() {
        let layer = &branch.layers[index / 2];
        let leaf = if index % 2 == 0 { "kernel" } else { "bias" };
        let dataset =
            of_layer(layer)?.dataset(leaf)?.ok_or_else(|| missing_weights(layer, leaf))?;
        let data = weights(&dataset, &format!("{layer}/{leaf}"), &shape, budget)?;
        parameters.tensors.push(Tensor { name, shape, data });
    }
    Ok(Network { arch, parameters })
}

/// bp out: the profile convolution's length less the crop on both sides.
fn output_length(arch: &Architecture, crop: usize) -> Result<usize, Problem> {
    let too_short = || {
        Problem::new(format!(
            "inputlen {} is too short for {} dilated layers and a profile crop of {crop}",
            arch.inputlen, arch.n_dilation_layers
        ))
    };
    if arch.n_dilation_layers > 24 || arch.first_kernel == 0 || arch.profile_kernel == 0 {
        return Err(too_short());
    }
    let profile = arch.inputlen.checked_sub(arch.context()).ok_or_else(too_short)?;
    let cropped = crop.checked_mul(2).and_then(|both| profile.checked_sub(both));
    cropped.ok_or_else(too_short)
}

fn find_layer<'a>(
    groups: &'a [LayerGroup],
    layer: &str,
    nested: Option<&str>,
) -> Result<&'a LayerGroup, Problem> {
    let named: Vec<&LayerGroup> =
        groups.iter().filter(|g| g.path.last().is_some_and(|p| p == layer)).collect();
    // Both branches may use the same layer names; then the nested model's group decides.
    let inside = |g: &&&LayerGroup| nested.is_some_and(|n| g.path.first().is_some_and(|p| p == n));
    match (named.as_slice(), named.iter().find(inside)) {
        ([], _) => Err(Problem::new(format!("the file has no weights for layer {layer}"))
            .at(format!("layer {layer}"))
            .fix("the file is damaged, or its model is not the official architecture")),
        (_, Some(group)) => Ok(group),
        ([only], None) => Ok(only),
        _ => Err(Problem::new(format!("the file has weights for layer {layer} more than once"))
            .at(format!("layer {layer}"))),
    }
}

fn missing_weights(layer: &str, leaf: &str) -> Problem {
    Problem::new(format!("the layer has no {leaf}:0")).at(format!("layer {layer}"))
}

fn wrong_shape(layer: &str, found: &[usize], wanted: &str) -> Problem {
    Problem::new(format!("weights of shape {found:?}, expected {wanted}"))
        .at(format!("layer {layer}"))
}

fn weights(
    dataset: &Dataset,
    name: &str,
    shape: &[usize],
    budget: &mut Budget<'_>,
) -> Result<Vec<f32>, Inside> {
    let found = dataset.shape();
    if found != shape {
        return Err(wrong_shape(name, &found, &format!("{shape:?}")).into());
    }
    // The product was held against the file when the dataset was opened.
    let count = shape.iter().map(|&size| size as u64).product();
    budget.spend(name, h5_input::stored_bytes(dataset), count)?;
    h5_input::check_blocks(dataset, budget.image)?;
    let dtype = dataset.dtype()?;
    // f16 has no descriptor in this build of the wrapper; HDF5 itself converts it.
    let is_float = match dtype.to_descriptor() {
        Ok(TypeDescriptor::Float(_)) => true,
        Ok(_) => false,
        Err(_) => dtype.size() == 2,
    };
    if !is_float {
        return Err(Problem::new(format!("weights of type {dtype}, expected float16, 32 or 64"))
            .at(format!("layer {name}"))
            .into());
    }
    let data: Vec<f32> = dataset.read_raw()?;
    if let Some(at) = data.iter().position(|v| !v.is_finite()) {
        return Err(Problem::new(format!("weight {at} of {name} is {}", data[at]))
            .at(format!("layer {name}"))
            .fix("the model diverged in training or the file is damaged; train it again")
            .into());
    }
    Ok(data)
}
