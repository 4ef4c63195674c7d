//! Named f32 tensors in Keras names and order, and their seeded initialisation.

use rand::RngExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::Architecture;

/// A named array, C order.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// `<layer>/kernel` or `<layer>/bias`, as `Architecture::parameter_shapes` spells it.
    pub name: String,
    pub shape: Vec<usize>,
    pub data: Vec<f32>,
}

/// The tensors of one network, in the order of `Architecture::parameter_shapes`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ParameterSet {
    pub tensors: Vec<Tensor>,
}

impl ParameterSet {
    /// All zeros: Adam moments and gradients.
    pub fn zeros(arch: &Architecture) -> Self {
        let tensors = arch
            .parameter_shapes()
            .into_iter()
            .map(|(name, shape)| Tensor { name, data: vec![0.0; shape.iter().product()], shape })
            .collect();
        Self { tensors }
    }

    /// Glorot-uniform kernels and zero biases, as Keras initialises them: limit
    /// sqrt(6 / (fan_in + fan_out)) with fans of width x channels. Each tensor has its own
    /// ChaCha stream, so a tensor's values do not depend on the others' sizes.
    pub fn glorot_uniform(arch: &Architecture, seed: u64) -> Self {
        let mut set = Self::zeros(arch);
        for (stream, tensor) in set.tensors.iter_mut().enumerate() {
            if tensor.shape.len() < 2 {
                continue;
            }
            let (width, fan) = tensor.shape.split_at(tensor.shape.len() - 2);
            let receptive: usize = width.iter().product();
            let limit = (6.0 / (receptive * (fan[0] + fan[1])) as f64).sqrt();
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(stream as u64);
            for value in &mut tensor.data {
                *value = ((rng.random::<f64>() * 2.0 - 1.0) * limit) as f32;
            }
        }
        set
    }

    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|t| t.name == name)
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut Tensor> {
        self.tensors.iter_mut().find(|t| t.name == name)
    }

    /// True when names and shapes are those of `arch`.
    pub fn matches(&self, arch: &Architecture) -> bool {
        let wanted = arch.parameter_shapes();
        wanted.len() == self.tensors.len()
            && wanted.iter().zip(&self.tensors).all(|((n, s), t)| {
                *n == t.name && *s == t.shape && t.data.len() == s.iter().product::<usize>()
            })
    }

    /// First tensor that holds a NaN or an infinity.
    pub fn first_non_finite(&self) -> Option<&str> {
        self.tensors.iter().find(|t| t.data.iter().any(|v| !v.is_finite())).map(|t| t.name.as_str())
    }
}
