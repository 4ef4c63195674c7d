//! `model_config` -> what cannot be seen in the weights: lengths, dilations, which layers there are.
//!
//! Layers are known by class and by their own names. Automatic names (`add_4`, `model_1`) depend on
//! what was built before in the same process and mean nothing. Lambda bodies (bytecode of one Python
//! version) are not looked at: a model with two nested branches is a full ChromBPNet.

use serde_json::Value;

use super::names::{ConvRole, Naming};
use crate::error::Problem;
use crate::model::arch::DILATED_KERNEL;

/// One BPNet branch as the config describes it.
#[derive(Debug, PartialEq)]
pub struct BranchConfig {
    /// Name of the nested model; None when the branch is the file's only model.
    pub nested: Option<String>,
    pub naming: Naming,
    pub inputlen: usize,
    /// Positions cropped from either side of the profile.
    pub profile_crop: usize,
    pub n_dilation_layers: usize,
    pub first_kernel: usize,
    pub profile_kernel: usize,
    /// Layer names as spelled in the file, in the order of `Architecture::parameter_shapes`.
    pub layers: Vec<String>,
}

/// One or two branches (main, then bias).
pub fn branches(config: &str) -> Result<Vec<BranchConfig>, Problem> {
    let config: Value = serde_json::from_str(config)
        .map_err(|e| Problem::new(format!("model_config is not JSON: {e}")))?;
    let layers = layers_of(&config)?;
    if layers.iter().any(|l| class_of(l) == "Conv1D") {
        return Ok(vec![branch(layers, None)?]);
    }
    let mut found = Vec::new();
    for layer in layers {
        if let Ok(inner) = layers_of(layer)
            && inner.iter().any(|l| class_of(l) == "Conv1D")
        {
            found.push(branch(inner, Some(name_of(layer).to_string()))?);
        }
    }
    if found.len() != 2 {
        return Err(Problem::new(format!(
            "the model has {} nested BPNet models, expected 2 (main and bias) or a single flat one",
            found.len()
        ))
        .fix("pass a bias, chrombpnet or chrombpnet_nobias .h5 file"));
    }
    // Main first. Layer names tell; where both branches are spelled alike the nested model's does.
    let is_main = |b: &BranchConfig| b.naming == Naming::WithoutBias;
    let named_main = |b: &BranchConfig| b.nested.as_deref() == Some("model_wo_bias");
    let second_is_main = match (is_main(&found[0]), is_main(&found[1])) {
        (true, false) => false,
        (false, true) => true,
        _ if named_main(&found[0]) => false,
        _ if named_main(&found[1]) => true,
        _ => {
            return Err(Problem::new(
                "cannot tell the main branch from the bias branch: \
                 neither has layers named wo_bias_bpnet_*",
            ));
        }
    };
    if second_is_main {
        found.swap(0, 1);
    }
    if found[0].inputlen != found[1].inputlen {
        return Err(Problem::new(format!(
            "main and bias branch read {} and {} bp, expected the same inputlen",
            found[0].inputlen, found[1].inputlen
        )));
    }
    Ok(found)
}

fn layers_of(model: &Value) -> Result<&Vec<Value>, Problem> {
    model
        .get("config")
        .and_then(|c| c.get("layers"))
        .and_then(Value::as_array)
        .ok_or_else(|| Problem::new("model_config has no list of layers"))
}

fn class_of(layer: &Value) -> &str {
    layer.get("class_name").and_then(Value::as_str).unwrap_or("")
}

fn name_of(layer: &Value) -> &str {
    let inner = layer.get("config").and_then(|c| c.get("name"));
    layer.get("name").or(inner).and_then(Value::as_str).unwrap_or("")
}

/// `key` of a layer's config as a list of sizes; a bare number counts as a list of one.
fn sizes(layer: &Value, key: &str) -> Option<Vec<usize>> {
    let value = layer.get("config")?.get(key)?;
    let size = |v: &Value| v.as_u64().and_then(|n| usize::try_from(n).ok());
    match value.as_array() {
        Some(list) => list.iter().map(size).collect(),
        None => size(value).map(|n| vec![n]),
    }
}

/// Errors unless `key` is absent or says `wanted`: such a layer would compute something else.
fn demand(layer: &Value, key: &str, wanted: &Value) -> Result<(), Problem> {
    let found = layer.get("config").and_then(|c| c.get(key));
    match found {
        Some(found) if found != wanted => Err(Problem::new(format!(
            "{key} is {found}, expected {wanted}"
        ))
        .at(format!("layer {} ({})", name_of(layer), class_of(layer)))),
        _ => Ok(()),
    }
}

struct Conv {
    name: String,
    kernel: usize,
    dilation: usize,
}

fn conv(layer: &Value, activation: &str) -> Result<Conv, Problem> {
    demand(layer, "padding", &"valid".into())?;
    demand(layer, "strides", &vec![1].into())?;
    demand(layer, "groups", &1.into())?;
    demand(layer, "use_bias", &true.into())?;
    demand(layer, "data_format", &"channels_last".into())?;
    demand(layer, "activation", &activation.into())?;
    let one = |key: &str| match sizes(layer, key).as_deref() {
        Some(&[n]) => Ok(n),
        _ => Err(Problem::new(format!("{key} is missing or not a single number"))
            .at(format!("layer {} (Conv1D)", name_of(layer)))),
    };
    Ok(Conv {
        name: name_of(layer).to_string(),
        kernel: one("kernel_size")?,
        dilation: one("dilation_rate")?,
    })
}

fn cropping(layer: &Value) -> Result<usize, Problem> {
    match sizes(layer, "cropping").as_deref() {
        Some(&[left, right]) if left == right => Ok(left),
        other => Err(Problem::new(format!(
            "cropping is {other:?}, expected the same number of positions on both sides"
        ))
        .at(format!("layer {}", name_of(layer)))),
    }
}

fn branch(layers: &[Value], nested: Option<String>) -> Result<BranchConfig, Problem> {
    let mut inputlen = None;
    let (mut first, mut profile, mut counts) = (None, None, None);
    let mut dilated: Vec<(usize, Conv)> = Vec::new();
    let mut crops: Vec<(String, usize)> = Vec::new();
    let mut sums = 0;
    for layer in layers {
        let name = name_of(layer);
        match class_of(layer) {
            "InputLayer" => inputlen = Some(input_length(layer)?),
            "Conv1D" => match ConvRole::of(name) {
                Some(ConvRole::First) => first = Some(conv(layer, "relu")?),
                Some(ConvRole::Dilated(i)) => dilated.push((i, conv(layer, "relu")?)),
                Some(ConvRole::Profile) => profile = Some(conv(layer, "linear")?),
                None => {
                    return Err(Problem::new(format!(
                        "convolution named {name}, expected bpnet_1st_conv, bpnet_<i>conv or \
                         prof_out_precrop (with or without wo_bias_)"
                    )));
                }
            },
            "Dense" => {
                demand(layer, "activation", &"linear".into())?;
                demand(layer, "use_bias", &true.into())?;
                if counts.replace(name.to_string()).is_some() {
                    return Err(Problem::new(
                        "more than one Dense layer, expected the counts head only",
                    ));
                }
            }
            "Cropping1D" => crops.push((name.to_string(), cropping(layer)?)),
            "Add" => sums += 1,
            "Flatten" | "GlobalAveragePooling1D" => {}
            other => {
                return Err(Problem::new(format!(
                    "layer {name} is a {other}, which is not part of a BPNet model"
                ))
                .fix("only models of the official ChromBPNet architecture can be used"));
            }
        }
    }
    let missing = |what: &str| Problem::new(format!("the model has no {what}"));
    let inputlen = inputlen.ok_or_else(|| missing("input layer"))?;
    let first = first.ok_or_else(|| missing("layer bpnet_1st_conv"))?;
    let profile = profile.ok_or_else(|| missing("layer prof_out_precrop"))?;
    let counts = counts.ok_or_else(|| missing("Dense layer (logcount_predictions)"))?;
    for undilated in [&first, &profile] {
        if undilated.dilation != 1 {
            return Err(Problem::new(format!("dilation {}, expected 1", undilated.dilation))
                .at(format!("layer {}", undilated.name)));
        }
    }
    dilated.sort_by_key(|(i, _)| *i);
    for (at, (i, conv)) in dilated.iter().enumerate() {
        if *i != at + 1 {
            return Err(missing(&format!("layer bpnet_{}conv, but has {}", at + 1, conv.name)));
        }
        if *i >= usize::BITS as usize || conv.dilation != 1 << i || conv.kernel != DILATED_KERNEL {
            return Err(Problem::new(format!(
                "width {} and dilation {}, expected width {DILATED_KERNEL} and dilation 2^{i}",
                conv.kernel, conv.dilation
            ))
            .at(format!("layer {}", conv.name)));
        }
    }
    if sums != dilated.len() {
        return Err(Problem::new(format!(
            "{sums} residual sums for {} dilated layers, expected one each",
            dilated.len()
        )));
    }
    Ok(BranchConfig {
        naming: Naming::of(&first.name),
        inputlen,
        profile_crop: profile_crop(&crops, &dilated)?,
        n_dilation_layers: dilated.len(),
        first_kernel: first.kernel,
        profile_kernel: profile.kernel,
        layers: std::iter::once(first.name)
            .chain(dilated.into_iter().map(|(_, conv)| conv.name))
            .chain([profile.name, counts])
            .collect(),
        nested,
    })
}

/// Residual crops are `*bpnet_<i>crop` and must equal the dilation; whatever else is cropped is
/// the profile.
fn profile_crop(crops: &[(String, usize)], dilated: &[(usize, Conv)]) -> Result<usize, Problem> {
    let mut residual = vec![false; dilated.len()];
    let mut profile = 0;
    for (name, crop) in crops {
        let index = name
            .strip_suffix("crop")
            .and_then(|n| n.rsplit_once("bpnet_"))
            .and_then(|(_, i)| i.parse::<usize>().ok());
        match index.and_then(|i| i.checked_sub(1)) {
            Some(at) if at < dilated.len() => {
                if *crop != dilated[at].1.dilation {
                    return Err(Problem::new(format!(
                        "crops {crop} positions, expected {}",
                        dilated[at].1.dilation
                    ))
                    .at(format!("layer {name}")));
                }
                residual[at] = true;
            }
            _ => profile += crop,
        }
    }
    match residual.iter().position(|seen| !seen) {
        Some(at) => Err(Problem::new(format!("the model has no layer bpnet_{}crop", at + 1))),
        None => Ok(profile),
    }
}

fn input_length(layer: &Value) -> Result<usize, Problem> {
    let shape = layer.get("config").and_then(|c| c.get("batch_input_shape"));
    let Some(shape) = shape.and_then(Value::as_array) else {
        return Err(Problem::new("the input layer has no batch_input_shape (Keras 2)")
            .fix("if Keras 3 wrote the file, save it again with tf_keras"));
    };
    match (shape.len(), shape.get(1).and_then(Value::as_u64), shape.get(2).and_then(Value::as_u64))
    {
        (3, Some(length), Some(4)) => usize::try_from(length)
            .map_err(|_| Problem::new(format!("the model's input length is {length} bp"))),
        _ => Err(Problem::new(format!(
            "the model's input shape is {}, expected [null, inputlen, 4]",
            Value::from(shape.clone())
        ))),
    }
}
