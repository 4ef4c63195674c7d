//! The rescale rule of the dilated layers on Hopper GPUs: `kernels/hopper_rescale_{forward,dgrad}.cu`, and which core a layer takes.

use bytemuck::{Pod, Zeroable};

use super::RescaleArgs;
use super::dilated::{self, Dgrad, Forward};
use crate::engine::cuda::device::{Address, Launch};
use crate::engine::cuda::ops::dilated::{Layer, Pass, RowMap};
use crate::engine::cuda::ops::hopper::{
    self, Core, dgrad_maps, forward_maps, hopper_kernel, possible_columns, takes,
};

impl Core {
    /// Sequences and their references take the same kernel, whatever their numbers: what is equal has equal bits of z.
    pub fn rescale_forward(self, layer: &Layer, at: &Forward, label: &str) -> Launch {
        let launch = match self {
            Core::Hopper { clusters } if takes(layer) => {
                let columns = possible_columns(layer).next().expect("a multiple of 128 channels");
                forward(layer, columns, clusters, at, label)
            }
            _ => dilated::forward(layer, at, label),
        };
        launch.with_floor(dilated::forward_floor(layer, at.keep))
    }

    pub fn rescale_dgrad(self, layer: &Layer, at: &Dgrad, label: &str) -> Launch {
        let launch = match self {
            Core::Hopper { clusters } if takes(layer) => {
                dgrad(layer, hopper::columns(layer, Pass::Dgrad), clusters, at, label)
            }
            _ => dilated::dgrad(layer, at, label),
        };
        launch.with_floor(dilated::dgrad_floor(layer, at.ratio_batch))
    }
}

/// y = relu(z) + cropped x with z = conv(x) + bias, and z or its ratio, in tiles of `columns`.
pub fn forward(
    layer: &Layer,
    columns: usize,
    clusters: usize,
    at: &Forward,
    label: &str,
) -> Launch {
    let args = ForwardArgs {
        bias: at.bias,
        rescale: at.keep.args(),
        map: layer.out_to_in(),
        dilation: layer.dilation as u32,
        channels: layer.channels as u32,
        padding: 0,
    };
    let maps = forward_maps(layer, at.x, at.weights, at.y);
    let clusters = clusters.min(hopper::items(layer, Pass::Forward, columns, 1));
    let kernel = hopper_kernel!("hopper_rescale_forward", layer.precision, columns);
    hopper::launch(layer, (Pass::Forward, columns), kernel, clusters, maps, &args, label)
}

/// g = transposed conv(dz_out) + padded g_out; dz = g times the ratio.
pub fn dgrad(layer: &Layer, columns: usize, clusters: usize, at: &Dgrad, label: &str) -> Launch {
    let args = DgradArgs {
        ratio: at.ratio,
        g: at.g,
        overflow: at.overflow,
        map: layer.in_to_out(),
        dilation: layer.dilation as u32,
        channels: layer.channels as u32,
        ratio_rows: at.ratio_rows(layer),
    };
    let maps = dgrad_maps(layer, columns, at.weights, [at.dz_out, at.g_out], at.dz);
    let clusters = clusters.min(hopper::items(layer, Pass::Dgrad, columns, 1));
    let kernel = hopper_kernel!("hopper_rescale_dgrad", layer.precision, columns);
    hopper::launch(layer, (Pass::Dgrad, columns), kernel, clusters, maps, &args, label)
}

/// Mirror of `HopperRescaleForwardArgs` behind its tensor maps.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct ForwardArgs {
    bias: Address,
    rescale: RescaleArgs,
    map: RowMap,
    dilation: u32,
    channels: u32,
    padding: u32,
}

/// Mirror of `HopperRescaleDgradArgs` behind its tensor maps.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct DgradArgs {
    ratio: Address,
    g: Address,
    overflow: Address,
    map: RowMap,
    dilation: u32,
    channels: u32,
    ratio_rows: u32,
}

#[cfg(test)]
mod tests {
    use super::super::Keep;
    use super::*;
    use crate::engine::cuda::precision::Precision;

    const NULL: Address = Address::NULL;

    fn kernel(core: Core, layer: &Layer) -> [&'static str; 2] {
        let keep = Keep::PreActivations { z: NULL };
        let forward = Forward { x: NULL, weights: NULL, bias: NULL, y: NULL, keep };
        let dgrad = Dgrad {
            dz_out: NULL,
            g_out: NULL,
            weights: NULL,
            ratio: NULL,
            ratio_batch: layer.batch,
            g: NULL,
            dz: NULL,
            overflow: NULL,
        };
        [
            core.rescale_forward(layer, &forward, "").kernel,
            core.rescale_dgrad(layer, &dgrad, "").kernel,
        ]
    }

    #[test]
    fn a_forward_tile_is_a_function_of_the_channels_alone() {
        let (channels, precision) = (512, Precision::Fp16);
        let references = Layer { batch: 60, length_in: 2094, dilation: 2, channels, precision };
        let sequence = Layer { batch: 1, ..references };
        // Of one sequence there are not enough wide tiles for all clusters.
        assert_eq!(hopper::columns(&sequence, Pass::Forward), 128);
        for layer in [&references, &sequence] {
            assert_eq!(kernel(Core::H100, layer)[0], "hopper_rescale_forward_f16_n256");
        }
        assert_eq!(kernel(Core::H100, &references)[1], "hopper_rescale_dgrad_f16_n256");
        assert_eq!(kernel(Core::H100, &sequence)[1], "hopper_rescale_dgrad_f16_n128");
        let odd = Layer { channels: 384, precision: Precision::Bf16, ..references };
        let kernels = ["hopper_rescale_forward_bf16_n128", "hopper_rescale_dgrad_bf16_n128"];
        assert_eq!(kernel(Core::H100, &odd), kernels);
    }

    #[test]
    fn what_hopper_does_not_take_goes_to_the_portable_kernels() {
        let precision = Precision::Fp16;
        let layer = Layer { batch: 1, length_in: 300, dilation: 2, channels: 128, precision };
        let portable = ["rescale_forward_f16_n32", "rescale_dgrad_f16_n32"];
        assert_eq!(kernel(Core::Portable, &layer), portable);
        assert_eq!(kernel(Core::H100, &Layer { channels: 96, ..layer }), portable);
        let wide = Layer { precision: Precision::Tf32, ..layer };
        assert_eq!(
            kernel(Core::H100, &wide),
            ["rescale_forward_tf32_n32", "rescale_dgrad_tf32_n32"]
        );
    }
}
