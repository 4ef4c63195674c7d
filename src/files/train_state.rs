//! Training state (`.safetensors`): enough to go on as if never stopped, bit for bit.
//!
//! Tensors are `parameters/<name>`, those of the optimizer under its own names for them (`first_moment/<name>`) and,
//! once an epoch has been validated, `best/<name>`, all f32 with Keras shapes. The header's metadata holds the
//! format version, the optimizer's step and loss scale, the caller's JSON, and a checksum over all of it: a flipped bit in
//! the middle of a weight would otherwise train on unnoticed.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::Result;
use safetensors::tensor::{Dtype, Metadata, SafeTensors, View, serialize};
use xxhash_rust::xxh3::Xxh3;

use super::atomic;
use crate::engine::{LossScale, OptimizerState};
use crate::error::Problem;
use crate::model::{Architecture, ParameterSet, Tensor};

/// Raised when the meaning of a tensor or a metadata key changes.
const VERSION: &str = "2";
const FORMAT: &str = "cbp-fast training state";

const PARAMETERS: &str = "parameters";
const BEST: &str = "best";

/// Parameters, best, and the two tensors that an optimizer keeps for each parameter at most.
const GROUPS: u64 = 4;

/// The longest header that the format's library takes.
const MAX_HEADER: u64 = 100_000_000;

/// Everything a training run carries from one step to the next.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainState {
    pub parameters: ParameterSet,
    pub optimizer: OptimizerState,
    /// Parameters of the best validated epoch so far.
    pub best: Option<ParameterSet>,
    /// The training loop's own position and configuration.
    pub meta: serde_json::Value,
}

impl TrainState {
    fn groups(&self) -> Vec<(&str, &ParameterSet)> {
        let mut groups = vec![(PARAMETERS, &self.parameters)];
        groups.extend(self.optimizer.tensors.iter().map(|(name, set)| (name.as_str(), set)));
        groups.extend(self.best.as_ref().map(|best| (BEST, best)));
        groups
    }
}

struct Bytes<'a>(&'a Tensor);

impl View for Bytes<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        bytemuck::cast_slice(&self.0.data).into()
    }

    fn data_len(&self) -> usize {
        size_of_val(self.0.data.as_slice())
    }
}

/// In the order of groups and of `Architecture::parameter_shapes`, then what else there is.
fn checksum(groups: &[(&str, &ParameterSet)], header: [&str; 3]) -> String {
    let mut hasher = Xxh3::new();
    for (group, set) in groups {
        hasher.update(group.as_bytes());
        for tensor in &set.tensors {
            hasher.update(tensor.name.as_bytes());
            hasher.update(bytemuck::cast_slice(&tensor.data));
        }
    }
    header.iter().for_each(|text| hasher.update(text.as_bytes()));
    format!("{:016x}", hasher.digest())
}

/// `none`, or `1024 17`: the scale and the clean steps.
fn loss_scale_text(scale: Option<LossScale>) -> String {
    scale.map_or("none".into(), |s| format!("{} {}", s.scale, s.clean_steps))
}

fn loss_scale_of(text: &str) -> Result<Option<LossScale>, ()> {
    if text == "none" {
        return Ok(None);
    }
    let (scale, clean_steps) = text.split_once(' ').ok_or(())?;
    let (scale, clean_steps) = (scale.parse().map_err(drop)?, clean_steps.parse().map_err(drop)?);
    Ok(Some(LossScale { scale, clean_steps }))
}

/// Writes `state` to `path`, atomically.
pub fn save(path: &Path, state: &TrainState) -> Result<()> {
    let groups = state.groups();
    let step = state.optimizer.step.to_string();
    let loss_scale = loss_scale_text(state.optimizer.loss_scale);
    let meta = serde_json::to_string(&state.meta)?;
    let header = HashMap::from([
        ("format".to_string(), FORMAT.to_string()),
        ("version".to_string(), VERSION.to_string()),
        ("checksum_xxh3".to_string(), checksum(&groups, [&step, &loss_scale, &meta])),
        ("step".to_string(), step),
        ("loss_scale".to_string(), loss_scale),
        ("meta".to_string(), meta),
    ]);
    let tensors: Vec<(String, Bytes)> = groups
        .iter()
        .flat_map(|(group, set)| {
            set.tensors.iter().map(move |t| (format!("{group}/{}", t.name), Bytes(t)))
        })
        .collect();
    // Not `serialize_to_file`, which makes a temporary file of its own, for its owner only.
    let bytes = serialize(tensors, Some(header))?;
    atomic::write(path, |out| Ok(out.write_all(&bytes)?))
}

/// Reads the state of a run with architecture `arch`.
///
/// Errors: missing, truncated or damaged file; a file of another program or version; another
/// architecture.
pub fn load(path: &Path, arch: &Architecture) -> Result<TrainState> {
    const START_OVER: &str = "pass --force to start over";
    let wrong = |what: String| Problem::new(what).at(path.display()).fix(START_OVER);
    let unreadable = |e| wrong(format!("cannot read the training state: {e}"));
    let length = fs::metadata(path).map_err(unreadable)?.len();
    let weights: usize =
        arch.parameter_shapes().iter().map(|(_, s)| s.iter().product::<usize>()).sum();
    let most = GROUPS * size_of::<f32>() as u64 * weights as u64 + MAX_HEADER;
    if length > most {
        return Err(wrong(format!(
            "the training state has {length} bytes, expected at most {most}: it is of another \
             architecture"
        ))
        .into());
    }
    let bytes = fs::read(path).map_err(unreadable)?;
    let damaged = |e| wrong(format!("the training state is truncated, damaged or foreign ({e})"));
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(damaged)?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(damaged)?;
    let header = header(&metadata).map_err(|what| wrong(what.to_string()))?;

    let read = |group: &str, tensor: &mut Tensor| -> Result<(), Problem> {
        let name = format!("{group}/{}", tensor.name);
        let missing =
            |_| wrong(format!("the training state has no {name}: it is of another architecture"));
        let found = tensors.tensor(&name).map_err(missing)?;
        if found.shape() != tensor.shape || found.dtype() != Dtype::F32 {
            return Err(wrong(format!(
                "{name} is {:?} {:?}, expected F32 {:?}: the state is of another architecture",
                found.dtype(),
                found.shape(),
                tensor.shape
            )));
        }
        // The file's bytes need not be aligned for f32, so they are copied.
        let values: &mut [u8] = bytemuck::cast_slice_mut(&mut tensor.data);
        values.copy_from_slice(found.data());
        Ok(())
    };
    let whole = |group: &str| -> Result<ParameterSet, Problem> {
        let mut set = ParameterSet::zeros(arch);
        set.tensors.iter_mut().try_for_each(|tensor| read(group, tensor))?;
        Ok(set)
    };
    // An optimizer may keep a tensor for some parameters only.
    let names = tensors.names();
    let part = |group: &str| -> Result<ParameterSet, Problem> {
        let mut set = ParameterSet::zeros(arch);
        set.tensors.retain(|t| names.iter().any(|name| **name == format!("{group}/{}", t.name)));
        set.tensors.iter_mut().try_for_each(|tensor| read(group, tensor))?;
        Ok(set)
    };
    let group_of = |name: &&str| name.split('/').next().unwrap_or_default().to_string();
    let groups: BTreeSet<String> = names.iter().map(group_of).collect();
    let of_optimizer = groups.iter().filter(|name| ![PARAMETERS, BEST].contains(&name.as_str()));
    let state = TrainState {
        parameters: whole(PARAMETERS)?,
        optimizer: OptimizerState {
            step: header.step.parse().map_err(|_| wrong("the step is not a number".into()))?,
            tensors: of_optimizer
                .map(|name| Ok((name.clone(), part(name)?)))
                .collect::<Result<_, Problem>>()?,
            loss_scale: loss_scale_of(header.loss_scale)
                .map_err(|()| wrong("the loss scale is not two numbers".into()))?,
        },
        best: groups.contains(BEST).then(|| whole(BEST)).transpose()?,
        meta: serde_json::from_str(header.meta)
            .map_err(|e| wrong(format!("the metadata is not JSON: {e}")))?,
    };
    let groups = state.groups();
    let expected: usize = groups.iter().map(|(_, set)| set.tensors.len()).sum();
    if tensors.len() != expected {
        return Err(wrong(format!(
            "the training state has {} tensors, expected {expected}: it is of another architecture",
            tensors.len()
        ))
        .into());
    }
    let found = checksum(&groups, [header.step, header.loss_scale, header.meta]);
    if found != header.checksum {
        return Err(wrong(format!(
            "the training state is damaged: checksum {found}, expected {}",
            header.checksum
        ))
        .into());
    }
    Ok(state)
}

struct Header<'a> {
    step: &'a str,
    loss_scale: &'a str,
    meta: &'a str,
    checksum: &'a str,
}

fn header(metadata: &Metadata) -> Result<Header<'_>, String> {
    let key = |name: &str| {
        let keys = metadata.metadata().as_ref();
        keys.and_then(|m| m.get(name)).map(String::as_str).ok_or(())
    };
    if key("format") != Ok(FORMAT) {
        return Err(format!("the file is not a {FORMAT}"));
    }
    let version = key("version").unwrap_or("none");
    if version != VERSION {
        return Err(format!("training state of version {version}, expected {VERSION}"));
    }
    let get = |name| key(name).map_err(|()| format!("the training state has no {name}"));
    Ok(Header {
        step: get("step")?,
        loss_scale: get("loss_scale")?,
        meta: get("meta")?,
        checksum: get("checksum_xxh3")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::tensor::serialize_to_file;
    use serde_json::json;

    fn arch() -> Architecture {
        Architecture::new(160, 24, 3, 2).unwrap()
    }

    fn state(best: bool) -> TrainState {
        let set = |seed| ParameterSet::glorot_uniform(&arch(), seed);
        TrainState {
            parameters: set(1),
            optimizer: OptimizerState {
                step: u64::MAX - 1,
                tensors: [("first_moment", set(2)), ("second_moment", set(3))]
                    .map(|(name, set)| (name.to_string(), set))
                    .into(),
                loss_scale: best.then_some(LossScale { scale: 2f32.powi(-7), clean_steps: 1999 }),
            },
            best: best.then(|| set(4)),
            meta: json!({"epoch": 3, "loss": 0.1 + 0.2, "key": "a\"ü"}),
        }
    }

    #[test]
    fn round_trip_is_exact() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.safetensors");
        for best in [true, false] {
            let mut state = state(best);
            // Bit patterns that compare or print badly survive too.
            state.parameters.tensors[0].data[0] = -0.0;
            state.parameters.tensors[0].data[1] = f32::MIN_POSITIVE / 4.0;
            save(&path, &state).unwrap();
            let back = load(&path, &arch()).unwrap();
            assert_eq!(back, state);
            assert!(back.parameters.tensors[0].data[0].is_sign_negative());
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }

    /// Names and checksum as a build wrote them in which Adam's moments were fields of the state.
    #[test]
    fn states_of_earlier_builds_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.safetensors");
        save(&path, &state(true)).unwrap();
        let bytes = fs::read(&path).unwrap();
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(header(&metadata).unwrap().checksum, "ce2ed80ba46ba8f6");
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        for group in ["parameters", "first_moment", "second_moment", "best"] {
            for (name, shape) in arch().parameter_shapes() {
                let tensor = tensors.tensor(&format!("{group}/{name}")).unwrap();
                assert_eq!(tensor.shape(), shape, "{group}/{name}");
            }
        }
        assert_eq!(tensors.len(), 4 * arch().parameter_shapes().len());
    }

    #[test]
    fn damage_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.safetensors");
        save(&path, &state(true)).unwrap();
        let good = fs::read(&path).unwrap();
        for length in [0, 7, 8, 100, good.len() / 2, good.len() - 1] {
            fs::write(&path, &good[..length]).unwrap();
            assert!(load(&path, &arch()).is_err(), "cut to {length} bytes");
        }
        // Every byte counts, but for the spaces that pad the header.
        let header = 8 + u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
        for at in (0..header).chain((header..good.len()).step_by(97)) {
            if good[at] == b' ' {
                continue;
            }
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            match load(&path, &arch()) {
                Err(_) => {}
                Ok(back) => panic!("byte {at} flipped unnoticed: {:?}", back.meta),
            }
        }
    }

    #[test]
    fn other_files_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.safetensors");
        let message = |arch: &Architecture| load(&path, arch).unwrap_err().to_string();
        assert!(message(&arch()).contains("cannot read"), "missing file");
        save(&path, &state(true)).unwrap();
        let wider = Architecture::new(160, 24, 4, 2).unwrap();
        assert!(message(&wider).contains("another architecture"));
        let shallower = Architecture::new(160, 24, 3, 1).unwrap();
        assert!(message(&shallower).contains("tensors, expected"));
        // Sparse: nothing of it may be read.
        fs::File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
        assert!(message(&arch()).contains("has 1099511627776 bytes, expected at most"));
        let tensors: Vec<(String, Bytes)> = Vec::new();
        serialize_to_file(tensors, None, &path).unwrap();
        assert!(message(&arch()).contains("not a cbp-fast training state"));
    }
}
