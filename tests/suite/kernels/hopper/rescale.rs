//! DeepSHAP's dilated layer on the Hopper core, against the same f64 reference and tolerances as on the portable one.

use cbp_fast::engine::cuda::device::Address;
use cbp_fast::engine::cuda::emulated::{Delivery, Options, kernels};
use cbp_fast::engine::cuda::ops::dilated::{Layer, Pass};
use cbp_fast::engine::cuda::ops::hopper::{self, Core, TILE_COLUMNS};
use cbp_fast::engine::cuda::ops::rescale::dilated::{Dgrad, Forward};
use cbp_fast::engine::cuda::ops::rescale::{self, Keep};
use cbp_fast::engine::cuda::precision::Precision;

use super::PRECISIONS;
use crate::kernels::memory::Memory;
use crate::kernels::rescale::dilated::{Case, check_nan_and_overflow, forward};

/// Sequences, references of each, length in, dilation, channels; both heads share the ratios on the way back.
const SHAPES: [[usize; 5]; 8] = [
    [1, 1, 5, 2, 128],     // one row out: far less than a tile
    [2, 3, 61, 4, 256],    // tiles over examples of two sequences, ragged; one or two column tiles
    [1, 7, 41, 16, 128],   // many short examples in one tile
    [2, 1, 141, 64, 128],  // outputs shorter than the dilation: rows that no tap reaches
    [1, 1, 531, 256, 128], // the largest dilation; clusters with one tap each, heads that meet within a tile
    [1, 5, 94, 32, 128],   // a tap that only an example between a tile's ends has
    [3, 1, 190, 8, 128],   // the last cluster has a single row tile
    [1, 1, 280, 128, 384], // three column tiles
];

#[test]
fn arguments_match_the_kernels() {
    let kernels = kernels();
    let at = Address::NULL;
    let keep = Keep::PreActivations { z: at };
    let forward = Forward { x: at, weights: at, bias: at, y: at, keep };
    let dgrad = Dgrad {
        dz_out: at,
        g_out: at,
        weights: at,
        ratio: at,
        ratio_batch: 1,
        g: at,
        dz: at,
        overflow: at,
    };
    for precision in PRECISIONS {
        let layer = Layer { batch: 1, length_in: 9, dilation: 2, channels: 256, precision };
        for columns in TILE_COLUMNS {
            for launch in [
                rescale::hopper::forward(&layer, columns, 1, &forward, ""),
                rescale::hopper::dgrad(&layer, columns, 1, &dgrad, ""),
            ] {
                let kernel = kernels.iter().find(|kernel| kernel.name == launch.kernel);
                let kernel = kernel.unwrap_or_else(|| panic!("no kernel {}", launch.kernel));
                assert_eq!(kernel.args_bytes, launch.args.len(), "{}", launch.kernel);
            }
        }
    }
}

/// And the portable kernels' numbers: on the host both cores add products in the order of k, so where the two differ,
/// addresses or an epilogue are wrong. Tensor cores of a GPU have orders of their own.
#[test]
fn at_all_shapes() {
    for precision in PRECISIONS {
        for shape in SHAPES {
            let case = Case::new(precision, shape);
            let check = |core: Core, columns: usize| {
                let dgrad = |heads| case.check_dgrad(core, columns, heads, Options::fast());
                [case.check_forward(core, columns, Options::fast()), dgrad(1), dgrad(2)]
            };
            let portable = check(Core::Portable, case.layer.columns(Pass::Forward));
            for columns in hopper::possible_columns(&case.layer) {
                let equal = check(Core::H100, columns) == portable;
                assert!(equal, "{precision} {shape:?} {columns}: not as the portable kernels");
            }
        }
    }
}

/// Same bits whatever the order of threads and the arrival of copies, and no access out of place.
fn all_schedules(check: impl Fn(&Case, Core, usize, Options) -> Vec<f32>) {
    let deliveries = [Delivery::AtOnce, Delivery::Random, Delivery::Starved];
    // Three taps over two examples, two column tiles; rows that one tap or two reach, a single column tile. No barrier
    // depends on the type, so each has one of them.
    for (precision, shape, columns) in
        [(Precision::Fp16, [1, 2, 90, 8, 256], 128), (Precision::Bf16, [1, 1, 130, 64, 256], 256)]
    {
        let case = Case::new(precision, shape);
        let bits = |values: Vec<f32>| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        let expected = bits(check(&case, Core::H100, columns, Options::fast()));
        for seed in 0..8 {
            for delivery in deliveries {
                let options = Options::checked(seed, delivery);
                // One cluster takes tile after tile; several, in any order.
                let core = if seed % 2 == 0 { Core::Hopper { clusters: 1 } } else { Core::H100 };
                let got = bits(check(&case, core, columns, options));
                assert!(got == expected, "{precision} {columns}: {core:?} {options:?} differs");
            }
        }
    }
}

#[test]
fn forward_under_all_schedules() {
    all_schedules(|case, core, columns, options| case.check_forward(core, columns, options));
}

#[test]
fn dgrad_under_all_schedules() {
    all_schedules(|case, core, columns, options| case.check_dgrad(core, columns, 2, options));
}

/// Where a reference does not differ from its sequence, neither do the bits of z, wherever tiles cut the two; the ratio is
/// there the derivative, to the bit.
#[test]
fn equal_inputs_have_equal_bits() {
    for precision in PRECISIONS {
        let element = precision.element();
        // Of three references, so that a position lies in other rows and other tiles in each.
        let case = Case::new(precision, [2, 3, 105, 8, 256]);
        let (layer, of_sequences) = (case.layer, case.layer_of_sequences());
        let (n, n_x) = (layer.rows_out() * 256, of_sequences.rows_out() * 256);
        for columns in TILE_COLUMNS {
            let mut memory = Memory::new(Options::fast());
            let (z, z_x) = (memory.room::<f32>("z", n), memory.room::<f32>("z of sequences", n_x));
            let ratio = memory.element_room(element, "ratio", n);
            let weights = memory.put_elements(element, "weights", &case.weights);
            let bias = memory.put("bias", &case.bias);
            let of_x = memory.put_elements(element, "x of sequences", &case.of_sequences);
            let x = memory.put_elements(element, "x", &case.x);
            let y = memory.element_room(element, "y", n);
            let per_sequence = case.per_sequence;
            for (layer, x, keep) in [
                (&of_sequences, of_x, Keep::PreActivations { z: z_x }),
                (&layer, x, Keep::PreActivations { z }),
                (&layer, x, Keep::Ratios { of: z_x, per_sequence, ratio }),
            ] {
                let at = Forward { x, weights, bias, y, keep };
                memory.launch(&forward(Core::H100, layer, columns, &at, "forward"));
            }
            let (z, z_x): (Vec<f32>, Vec<f32>) = (memory.get(z, n), memory.get(z_x, n_x));
            let ratio = memory.get_elements(element, ratio, n);

            let size = layer.length_out() * 256;
            let equal = (layer.length_in / 2 - layer.dilation) * 256;
            let mut others = 0;
            for (at, (&r, &ratio)) in z.iter().zip(&ratio).enumerate() {
                let x = z_x[at / size / per_sequence * size + at % size];
                if at % size < equal {
                    assert_eq!(r.to_bits(), x.to_bits(), "{precision} {columns}: {at}");
                    assert_eq!(ratio, f32::from(x > 0.0), "{precision} {columns}: {at}");
                } else {
                    others += usize::from(ratio != 0.0 && ratio != 1.0);
                }
            }
            assert!(others * 4 > z.len() / size * (size - equal), "hardly a unit changes sign");
        }
    }
}

#[test]
fn nan_stays_and_overflow_is_flagged() {
    for precision in PRECISIONS {
        check_nan_and_overflow(Core::H100, precision, 128);
    }
}
