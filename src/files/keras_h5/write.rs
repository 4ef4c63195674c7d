//! Networks -> a complete Keras 2 model file, laid out as the official tool's.
//!
//! Same networks, same bytes: creation times are not recorded.

use std::path::Path;

use anyhow::Result;
use hdf5_metno::types::{FixedAscii, TypeDescriptor, VarLenAscii, VarLenUnicode};
use hdf5_metno::{File, Group, Location};

use super::names::Naming;
use super::write_config::{self, Layers};
use crate::error::Problem;
use crate::files::h5_out;
use crate::model::{Network, Tensor};

/// The Keras of TensorFlow 2.8, which the official tool pins; newer ones read it too.
const KERAS_VERSION: &str = "2.8.0";

/// Longest name we write is `wo_bias_bpnet_logits_profile_predictions`.
const MAX_NAME: usize = 64;

/// Writes one branch: `bias.h5`, `bias_model_scaled.h5` (`Naming::Bias`) or
/// `chrombpnet_nobias.h5` (`Naming::WithoutBias`). Atomic.
pub fn write_single(path: &Path, network: &Network, naming: Naming) -> Result<()> {
    check(network)?;
    let layers = write_config::branch(&network.arch, naming, true);
    let name = match naming {
        Naming::Bias => "model",
        Naming::WithoutBias => "model_wo_bias",
    };
    h5_out::write(path, |file| {
        create(file, &layers, name)?;
        let weights = file.group("model_weights")?;
        for (layer, tensors) in by_layer(network) {
            let layer = naming.layer(&layer);
            let group = weights.group(&layer)?;
            let written = write_layer(&group, &layer, &tensors)?;
            names_attribute(&group, "weight_names", &written)?;
        }
        fill_weight_names(&weights, &layers.names())
    })
}

/// Writes `chrombpnet.h5`: the main branch nested as `model_wo_bias`, the bias as `model`. Atomic.
pub fn write_full(path: &Path, main: &Network, bias: &Network) -> Result<()> {
    check(main)?;
    check(bias)?;
    let lengths = |n: &Network| (n.arch.inputlen, n.arch.outputlen);
    if lengths(main) != lengths(bias) {
        return Err(Problem::new(format!(
            "main and bias branch have (inputlen, outputlen) {:?} and {:?}, expected the same",
            lengths(main),
            lengths(bias)
        ))
        .at(path.display())
        .into());
    }
    let branches =
        [("model_wo_bias", main, Naming::WithoutBias, true), ("model", bias, Naming::Bias, false)];
    let nested = branches.map(|(_, n, naming, train)| write_config::branch(&n.arch, naming, train));
    let layers = write_config::full(
        main.arch.inputlen,
        (branches[0].0, &nested[0]),
        (branches[1].0, &nested[1]),
    );
    h5_out::write(path, |file| {
        create(file, &layers, "model_1")?;
        let weights = file.group("model_weights")?;
        for (name, network, naming, _) in branches {
            let group = weights.group(name)?;
            let mut written = Vec::new();
            for (layer, tensors) in by_layer(network) {
                written.extend(write_layer(&group, &naming.layer(&layer), &tensors)?);
            }
            names_attribute(&group, "weight_names", &written)?;
        }
        fill_weight_names(&weights, &layers.names())
    })
}

fn check(network: &Network) -> Result<(), Problem> {
    network.arch.check()?;
    if !network.parameters.matches(&network.arch) {
        return Err(Problem::new("the parameters do not have the shapes of the architecture"));
    }
    match network.parameters.first_non_finite() {
        Some(name) => Err(Problem::new(format!(
            "{name} holds a NaN or an infinity, so the model is not worth keeping"
        ))),
        None => Ok(()),
    }
}

/// Kernel and bias of each layer, in order.
fn by_layer(network: &Network) -> Vec<(String, Vec<&Tensor>)> {
    let mut layers: Vec<(String, Vec<&Tensor>)> = Vec::new();
    for tensor in &network.parameters.tensors {
        let layer = tensor.name.split_once('/').map_or(tensor.name.as_str(), |(layer, _)| layer);
        match layers.last_mut() {
            Some((last, tensors)) if last == layer => tensors.push(tensor),
            _ => layers.push((layer.to_string(), vec![tensor])),
        }
    }
    layers
}

/// Root attributes, `model_weights` and an empty group per layer.
fn create(file: &File, layers: &Layers, name: &str) -> Result<()> {
    unicode_attribute(file, "keras_version", KERAS_VERSION)?;
    unicode_attribute(file, "backend", "tensorflow")?;
    let config = serde_json::to_string(&layers.functional(name))?;
    ascii_attribute(file, "model_config", &config)?;
    let weights = file.create_group("model_weights")?;
    names_attribute(&weights, "layer_names", &layers.names())?;
    ascii_attribute(&weights, "backend", "tensorflow")?;
    ascii_attribute(&weights, "keras_version", KERAS_VERSION)?;
    for layer in layers.names() {
        weights.create_group(&layer)?;
    }
    // Keras keeps weights that belong to no layer here; there are none, but it looks.
    let top = weights.create_group("top_level_model_weights")?;
    names_attribute(&top, "weight_names", &[])
}

/// `<group>/<layer>/{kernel:0, bias:0}`; in single models `group` is the layer's own group.
/// Returns the weights' names.
fn write_layer(group: &Group, layer: &str, tensors: &[&Tensor]) -> Result<Vec<String>> {
    let inner = group.create_group(layer)?;
    let mut names = Vec::new();
    for tensor in tensors {
        let leaf = tensor.name.rsplit('/').next().unwrap_or_default();
        inner
            .new_dataset::<f32>()
            .shape(tensor.shape.as_slice())
            .obj_track_times(false)
            .create(format!("{leaf}:0").as_str())?
            .write_raw(&tensor.data)?;
        names.push(format!("{layer}/{leaf}:0"));
    }
    Ok(names)
}

/// Layers without weights say so with an empty list.
fn fill_weight_names(weights: &Group, layers: &[String]) -> Result<()> {
    for layer in layers {
        let group = weights.group(layer)?;
        if group.attr_names()?.is_empty() {
            names_attribute(&group, "weight_names", &[])?;
        }
    }
    Ok(())
}

fn ascii_attribute(at: &Location, name: &str, text: &str) -> Result<()> {
    let value = VarLenAscii::from_ascii(text)?;
    at.new_attr::<VarLenAscii>().create(name)?.write_scalar(&value)?;
    Ok(())
}

fn unicode_attribute(at: &Location, name: &str, text: &str) -> Result<()> {
    let value: VarLenUnicode = text.parse()?;
    at.new_attr::<VarLenUnicode>().create(name)?.write_scalar(&value)?;
    Ok(())
}

/// A list of names as Keras stores it: fixed-length byte strings; an empty list is f64 [0].
fn names_attribute(at: &Location, name: &str, names: &[String]) -> Result<()> {
    if names.is_empty() {
        at.new_attr::<f64>().shape(0).create(name)?;
        return Ok(());
    }
    let longest = names.iter().map(String::len).max().unwrap_or(1);
    let fixed: Vec<FixedAscii<MAX_NAME>> =
        names.iter().map(FixedAscii::from_ascii).collect::<Result<_, _>>()?;
    at.new_attr_builder()
        .with_data_as(&fixed, &TypeDescriptor::FixedAscii(longest))
        .create(name)?;
    Ok(())
}
