//! Architecture -> `model_config`: the Keras 2 functional JSON that the official code would save.
//!
//! Layer names, order and node indices are those of the official models as Keras 2.8 writes them.
//! The exception is the count head of the full model, a Lambda around `reduce_logsumexp` there:
//! Keras stores a Lambda as marshalled bytecode that one Python version can read. Here it is the
//! same function in standard layers, `logsumexp(a, b) = a + softplus(b - a)`, so that the file loads
//! under any Python and without custom objects, in Keras 2 and 3. Output names and order stay the
//! official ones.

use serde_json::{Value, json};

use super::names::Naming;
use crate::model::Architecture;
use crate::model::arch::{BASES, DILATED_KERNEL};

/// Layers of a model: name and `{class_name, config, name, inbound_nodes}`.
pub struct Layers {
    pub layers: Vec<(String, Value)>,
    pub input: String,
    pub outputs: Vec<String>,
}

impl Layers {
    fn new(inputlen: usize) -> Self {
        let input = "sequence".to_string();
        let config = json!({
            "batch_input_shape": [null, inputlen, BASES], "dtype": "float32",
            "sparse": false, "ragged": false, "name": input,
        });
        let layer = json!({
            "class_name": "InputLayer", "config": config, "name": input, "inbound_nodes": [],
        });
        Self { layers: vec![(input.clone(), layer)], input, outputs: Vec::new() }
    }

    /// Adds a layer fed by `inputs`: (layer, node index, tensor index).
    fn push(&mut self, class: &str, config: Value, inputs: &[(&str, usize, usize)]) {
        let name = config["name"].as_str().unwrap_or_default().to_string();
        let nodes: Vec<Value> =
            inputs.iter().map(|(layer, node, tensor)| json!([layer, node, tensor, {}])).collect();
        let layer = json!({
            "class_name": class, "config": config, "name": name, "inbound_nodes": [nodes],
        });
        self.layers.push((name, layer));
    }

    /// Names in order: the `layer_names` attribute.
    pub fn names(&self) -> Vec<String> {
        self.layers.iter().map(|(name, _)| name.clone()).collect()
    }

    /// The layers as a functional model, for the top level or nested.
    pub fn functional(&self, name: &str) -> Value {
        let layers: Vec<&Value> = self.layers.iter().map(|(_, layer)| layer).collect();
        let outputs: Vec<Value> = self.outputs.iter().map(|name| json!([name, 0, 0])).collect();
        json!({
            "class_name": "Functional",
            "config": {
                "name": name, "layers": layers,
                "input_layers": [[self.input, 0, 0]], "output_layers": outputs,
            },
        })
    }
}

fn conv1d(name: &str, filters: usize, width: usize, dilation: usize, activation: &str) -> Value {
    json!({
        "name": name, "trainable": true, "dtype": "float32", "filters": filters,
        "kernel_size": [width], "strides": [1], "padding": "valid",
        "data_format": "channels_last", "dilation_rate": [dilation], "groups": 1,
        "activation": activation, "use_bias": true,
        "kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": null}},
        "bias_initializer": {"class_name": "Zeros", "config": {}},
        "kernel_regularizer": null, "bias_regularizer": null, "activity_regularizer": null,
        "kernel_constraint": null, "bias_constraint": null,
    })
}

fn dense(name: &str) -> Value {
    json!({
        "name": name, "trainable": true, "dtype": "float32", "units": 1,
        "activation": "linear", "use_bias": true,
        "kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": null}},
        "bias_initializer": {"class_name": "Zeros", "config": {}},
        "kernel_regularizer": null, "bias_regularizer": null, "activity_regularizer": null,
        "kernel_constraint": null, "bias_constraint": null,
    })
}

fn plain(name: &str, extra: Value) -> Value {
    let mut config = json!({"name": name, "trainable": true, "dtype": "float32"});
    if let (Value::Object(config), Value::Object(extra)) = (&mut config, extra) {
        config.extend(extra);
    }
    config
}

/// One BPNet branch. `trainable` is false for the bias branch of a full model.
pub fn branch(arch: &Architecture, naming: Naming, trainable: bool) -> Layers {
    let mut model = Layers::new(arch.inputlen);
    let name = |layer: &str| naming.layer(layer);
    let mut x = name("bpnet_1st_conv");
    let first = conv1d(&x, arch.filters, arch.first_kernel, 1, "relu");
    model.push("Conv1D", first, &[("sequence", 0, 0)]);
    for i in 1..=arch.n_dilation_layers {
        let conv = name(&format!("bpnet_{i}conv"));
        let crop = name(&format!("bpnet_{i}crop"));
        // The names Keras gives: no invented numbers, as bpnet-lite counts layers by them.
        let sum = if i == 1 { "add".to_string() } else { format!("add_{}", i - 1) };
        let d = arch.dilation(i);
        let config = conv1d(&conv, arch.filters, DILATED_KERNEL, d, "relu");
        model.push("Conv1D", config, &[(&x, 0, 0)]);
        model.push("Cropping1D", plain(&crop, json!({"cropping": [d, d]})), &[(&x, 0, 0)]);
        model.push("Add", plain(&sum, json!({})), &[(&conv, 0, 0), (&crop, 0, 0)]);
        x = sum;
    }
    let precrop = name("prof_out_precrop");
    let cropped = naming.cropped_profile();
    let crop = arch.profile_crop();
    let (profile, counts) = (naming.profile(), name("logcount_predictions"));
    let last = json!({"data_format": "channels_last"});
    let pool = json!({"data_format": "channels_last", "keepdims": false});
    let config = conv1d(&precrop, 1, arch.profile_kernel, 1, "linear");
    model.push("Conv1D", config, &[(&x, 0, 0)]);
    model.push(
        "Cropping1D",
        plain(cropped, json!({"cropping": [crop, crop]})),
        &[(&precrop, 0, 0)],
    );
    model.push("GlobalAveragePooling1D", plain("gap", pool), &[(&x, 0, 0)]);
    model.push("Flatten", plain(&profile, last), &[(cropped, 0, 0)]);
    model.push("Dense", dense(&counts), &[("gap", 0, 0)]);
    model.outputs = vec![profile, counts];
    if !trainable {
        for (_, layer) in &mut model.layers {
            if let Some(trainable) = layer["config"].get_mut("trainable") {
                *trainable = Value::Bool(false);
            }
        }
    }
    model
}

/// The full model around its two branches, nested under `main_name` and `bias_name`.
pub fn full(inputlen: usize, main: (&str, &Layers), bias: (&str, &Layers)) -> Layers {
    let mut model = Layers::new(inputlen);
    for (name, branch) in [main, bias] {
        let mut nested = branch.functional(name);
        nested["name"] = json!(name);
        // Keras 2 counts a nested model's own definition as node 0 and its calls from 1, Keras 3 its
        // calls from 0. With two equal calls node 1 is a call for both; what nobody refers to is not
        // computed.
        nested["inbound_nodes"] = json!([[["sequence", 0, 0, {}]], [["sequence", 0, 0, {}]]]);
        model.layers.push((name.to_string(), nested));
    }
    let ((main, _), (bias, _)) = (main, bias);
    let (profile, counts) = ("logits_profile_predictions", "logcount_predictions");
    model.push("Subtract", plain("subtract", json!({})), &[(bias, 1, 1), (main, 1, 1)]);
    let softplus = json!({"activation": "softplus"});
    model.push("Activation", plain("activation", softplus), &[("subtract", 0, 0)]);
    model.push("Add", plain(profile, json!({})), &[(main, 1, 0), (bias, 1, 0)]);
    model.push("Add", plain(counts, json!({})), &[(main, 1, 1), ("activation", 0, 0)]);
    model.outputs = vec![profile.to_string(), counts.to_string()];
    model
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keras 2.15 never returns from a file that refers to node 0 of a nested model, and Keras 3.15
    /// finds no node 1 where a nested model is called once (both tried).
    #[test]
    fn nested_models_have_a_node_1_in_keras_2_and_3() {
        let arch = Architecture::new(200, 20, 2, 1).unwrap();
        let [main, bias] = [Naming::WithoutBias, Naming::Bias].map(|n| branch(&arch, n, true));
        let model = full(200, ("model_wo_bias", &main), ("model", &bias));
        let is_nested = |name: &str| name == "model_wo_bias" || name == "model";
        for (name, layer) in &model.layers {
            let calls = layer["inbound_nodes"].as_array().unwrap();
            if is_nested(name) {
                assert_eq!(calls.len(), 2, "{name}");
                assert_eq!(calls[0], calls[1], "{name}");
            }
            for input in calls.iter().flat_map(|call| call.as_array().unwrap()) {
                let wanted = usize::from(is_nested(input[0].as_str().unwrap()));
                assert_eq!(input[1], wanted, "{name} <- {input}");
            }
        }
    }
}
