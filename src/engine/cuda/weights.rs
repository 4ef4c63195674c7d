//! A branch's parameters in device memory, and the way there and back.
//!
//! Tensors keep their Keras order and layout; channels are padded with zeros to whole mask words.
//! What tensor cores read (the dilated kernels) also lies there in their element type, or as bytes.

use anyhow::Result;
use half::{bf16, f16};

use super::arena::{Arena, Slot};
use super::device::{Address, Device};
use super::ops::head::HeadWeights;
use super::ops::int8::{self, Quantized};
use super::ops::{Element, padded_channels};
use super::precision::Precision;
use crate::model::{Architecture, ParameterSet, Tensor};

/// How one tensor lies: `outer` matrices, whose rows and columns may be padded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    outer: usize,
    rows: [usize; 2],
    columns: [usize; 2],
}

impl Layout {
    /// The layout of the parameter `name`, with shape `shape` in files.
    fn of(name: &str, shape: &[usize], filters: usize) -> Self {
        let wide = [filters, padded_channels(filters)];
        let plain = |n: usize| [n, n];
        match (name, shape) {
            ("bpnet_1st_conv/kernel", &[taps, bases, _]) => {
                Self { outer: 1, rows: plain(taps * bases), columns: wide }
            }
            ("prof_out_precrop/kernel", &[taps, _, 1]) => {
                Self { outer: 1, rows: plain(taps), columns: wide }
            }
            ("prof_out_precrop/bias" | "logcount_predictions/bias", &[1]) => {
                Self { outer: 1, rows: plain(1), columns: plain(1) }
            }
            ("logcount_predictions/kernel", &[_, 1]) | (_, &[_]) => {
                Self { outer: 1, rows: plain(1), columns: wide }
            }
            (_, &[taps, _, _]) => Self { outer: taps, rows: wide, columns: wide },
            _ => unreachable!("{name} {shape:?} is no parameter of this architecture"),
        }
    }

    /// Elements in device memory.
    pub fn elements(&self) -> usize {
        self.outer * self.rows[1] * self.columns[1]
    }

    fn pad(&self, values: &[f32]) -> Vec<f32> {
        let mut padded = vec![0.0; self.elements()];
        for (to, from) in self.places() {
            padded[to..to + self.columns[0]].copy_from_slice(&values[from..from + self.columns[0]]);
        }
        padded
    }

    /// Leaves the padding out.
    pub fn unpad(&self, padded: &[f32]) -> Vec<f32> {
        let mut values = vec![0.0; self.outer * self.rows[0] * self.columns[0]];
        for (from, to) in self.places() {
            values[to..to + self.columns[0]].copy_from_slice(&padded[from..from + self.columns[0]]);
        }
        values
    }

    /// First element of every row, in device memory and in files.
    fn places(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let Self { outer, rows, columns } = *self;
        (0..outer).flat_map(move |o| {
            (0..rows[0])
                .map(move |r| ((o * rows[1] + r) * columns[1], (o * rows[0] + r) * columns[0]))
        })
    }
}

/// One tensor's f32 master, and its copy in 16 bits or in bytes where there is one.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    pub layout: Layout,
    pub master: Slot,
    pub copy: Option<Slot>,
    quantized: Option<Quantized<Slot>>,
}

/// All tensors of a branch, in the order of `Architecture::parameter_shapes`.
#[derive(Clone, Debug)]
pub struct Weights {
    arch: Architecture,
    precision: Precision,
    pub tensors: Vec<Parameter>,
}

impl Weights {
    /// Plans them as `{branch}/{name}`.
    pub fn plan(
        arch: &Architecture,
        precision: Precision,
        branch: &str,
        arena: &mut Arena,
    ) -> Self {
        let element = precision.element();
        let tensors = arch
            .parameter_shapes()
            .iter()
            .map(|(name, shape)| {
                let layout = Layout::of(name, shape, arch.filters);
                let master = arena.plan::<f32>(format!("{branch}/{name}"), layout.elements());
                let dilated = layout.outer > 1;
                let in_bytes = precision == Precision::Int8;
                let quantized = (dilated && in_bytes).then(|| {
                    let label = format!("{branch}/{name}");
                    Quantized::plan_weights(layout.columns[1], &label, arena)
                });
                let copy = (dilated && !in_bytes && element != Element::F32).then(|| {
                    let label = format!("{branch}/{name}, {element:?}");
                    arena.plan_bytes(label, layout.elements() * element.bytes())
                });
                Parameter { layout, master, copy, quantized }
            })
            .collect();
        Self { arch: *arch, precision, tensors }
    }

    /// Plans f32 arrays of the sizes of the tensors: of each tensor one a name that `names` has for its shape.
    pub fn plan_like(
        &self,
        names: impl Fn(&[usize]) -> &'static [&'static str],
        arena: &mut Arena,
    ) -> Vec<Vec<Slot>> {
        let shapes = self.arch.parameter_shapes();
        let of_one = |(parameter, (of, shape)): (&Parameter, (String, Vec<usize>))| {
            let plan = |name: &&str| {
                let label = format!("{}/{of}", name.replace('_', " "));
                arena.plan::<f32>(label, parameter.layout.elements())
            };
            names(&shape).iter().map(plan).collect()
        };
        self.tensors.iter().zip(shapes).map(of_one).collect()
    }

    pub fn upload(
        &self,
        arena: &Arena,
        set: &ParameterSet,
        device: &mut impl Device,
    ) -> Result<()> {
        for (parameter, tensor) in self.tensors.iter().zip(&set.tensors) {
            let padded = parameter.layout.pad(&tensor.data);
            device.upload(arena[parameter.master], bytemuck::cast_slice(&padded))?;
            if let Some(copy) = parameter.copy {
                device.upload(arena[copy], &rounded(&padded, self.precision.element()))?;
            }
            if let Some(quantized) = parameter.quantized {
                let at = quantized.at(arena);
                let (bytes, scales) = int8::quantize_weights(&padded, parameter.layout.columns[1]);
                device.upload(at.bytes, bytemuck::cast_slice(&bytes))?;
                device.upload(at.scales, bytemuck::cast_slice(&scales))?;
            }
        }
        Ok(())
    }

    /// Uploads an array of `plan_like`, of tensor `i`.
    pub fn upload_one(
        &self,
        i: usize,
        to: Address,
        values: &[f32],
        device: &mut impl Device,
    ) -> Result<()> {
        device.upload(to, bytemuck::cast_slice(&self.tensors[i].layout.pad(values)))
    }

    /// Downloads an array of `plan_like`, or the master, of tensor `i`.
    pub fn download_one(
        &self,
        i: usize,
        from: Address,
        device: &mut impl Device,
    ) -> Result<Vec<f32>> {
        let layout = self.tensors[i].layout;
        let mut padded = vec![0.0f32; layout.elements()];
        device.download(from, bytemuck::cast_slice_mut(&mut padded))?;
        Ok(layout.unpad(&padded))
    }

    /// Downloads the masters.
    pub fn download(&self, arena: &Arena, device: &mut impl Device) -> Result<ParameterSet> {
        let shapes = self.arch.parameter_shapes().into_iter().enumerate();
        let tensor = |(i, (name, shape)): (usize, (String, Vec<usize>))| {
            let data = self.download_one(i, arena[self.tensors[i].master], device)?;
            Ok(Tensor { name, shape, data })
        };
        Ok(ParameterSet { tensors: shapes.map(tensor).collect::<Result<_>>()? })
    }

    /// Kernel and bias of the first convolution.
    pub fn first(&self, arena: &Arena) -> (Address, Address) {
        (arena[self.tensors[0].master], arena[self.tensors[1].master])
    }

    /// Kernel (as the tensor cores read it) and bias of dilated layer `i`, from 1.
    pub fn dilated(&self, arena: &Arena, i: usize) -> (Address, Address) {
        let [kernel, bias] = [self.tensors[2 * i], self.tensors[2 * i + 1]];
        (arena[kernel.copy.unwrap_or(kernel.master)], arena[bias.master])
    }

    /// Kernel of dilated layer `i`, from 1, in a precision that has it in bytes.
    pub fn quantized(&self, arena: &Arena, i: usize) -> Option<Quantized<Address>> {
        self.tensors[2 * i].quantized.map(|slots| slots.at(arena))
    }

    pub fn head(&self, arena: &Arena) -> HeadWeights {
        let at = 2 + 2 * self.arch.n_dilation_layers;
        let master = |i: usize| arena[self.tensors[at + i].master];
        HeadWeights {
            profile: master(0),
            profile_bias: master(1),
            dense: master(2),
            dense_bias: master(3),
        }
    }
}

/// f32 values as bytes of the element type, to nearest even.
fn rounded(values: &[f32], element: Element) -> Vec<u8> {
    match element {
        Element::F16 => values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect(),
        Element::Bf16 => values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect(),
        Element::F32 => bytemuck::cast_slice(values).to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_and_back() {
        let arch = Architecture::new(160, 24, 5, 2).unwrap();
        let set = ParameterSet::glorot_uniform(&arch, 1);
        for tensor in &set.tensors {
            let layout = Layout::of(&tensor.name, &tensor.shape, 5);
            let padded = layout.pad(&tensor.data);
            assert_eq!(layout.unpad(&padded), tensor.data, "{}", tensor.name);
            let sum = |values: &[f32]| values.iter().map(|v| f64::from(v.abs())).sum::<f64>();
            assert_eq!(sum(&padded), sum(&tensor.data), "{}: padding is zero", tensor.name);
        }
        // w[tap, in, out] of a dilated kernel
        let kernel = &set.tensors[2];
        let layout = Layout::of(&kernel.name, &kernel.shape, 5);
        assert_eq!(layout.elements(), 3 * 32 * 32);
        let padded = layout.pad(&kernel.data);
        assert_eq!(padded[(2 * 32 + 4) * 32 + 3], kernel.data[(2 * 5 + 4) * 5 + 3]);
    }
}
