//! The Hopper core's kernels against the same f64 reference as the portable ones, and the emulator's own tests of the
//! primitives they stand on.

mod planted;
mod rescale;

use cbp_fast::engine::cuda::device::Address;
use cbp_fast::engine::cuda::emulated::{Delivery, Options, kernels};
use cbp_fast::engine::cuda::ops::dilated::{Dgrad, Forward, Pass};
use cbp_fast::engine::cuda::ops::hopper::{self, Core, TILE_COLUMNS};
use cbp_fast::engine::cuda::precision::Precision;

use super::dilated::case::{Bench, Case, round};

const PASSES: [Pass; 3] = [Pass::Forward, Pass::Dgrad, Pass::Wgrad];
const PRECISIONS: [Precision; 2] = [Precision::Fp16, Precision::Bf16];

/// batch, length in, dilation, channels
const SHAPES: [[usize; 4]; 9] = [
    [1, 5, 2, 128],      // one row out: far less than a tile
    [3, 61, 4, 256],     // a tile over three examples, ragged; one or two column tiles
    [7, 41, 16, 128],    // many short examples in one tile
    [2, 141, 64, 128],   // outputs shorter than the dilation: rows that no tap reaches
    [1, 531, 256, 128],  // three clusters of tiles, each with another tap
    [1, 1040, 512, 128], // a cluster's tiles without any
    [5, 94, 32, 128],    // a tap that only an example between a tile's ends has
    [3, 190, 4, 128],    // the last cluster has a single row tile
    [1, 40, 4, 384],     // three column tiles
];

#[test]
fn arguments_match_the_kernels() {
    let kernels = kernels();
    for precision in PRECISIONS {
        let case = Case::new(precision, [1, 9, 2, 256]);
        for columns in TILE_COLUMNS {
            let mut device = Bench::new(precision, Options::fast());
            let (forward, dgrad) = (device.forward(&case), device.dgrad(&case));
            let wgrad = device.wgrad(&case, 1);
            for launch in [
                hopper::forward(&case.layer, columns, 1, &forward, ""),
                hopper::dgrad(&case.layer, columns, 1, &dgrad, ""),
                hopper::wgrad(&case.layer, columns, 1, 1, &wgrad, ""),
            ] {
                let kernel = kernels.iter().find(|kernel| kernel.name == launch.kernel);
                let kernel = kernel.unwrap_or_else(|| panic!("no kernel {}", launch.kernel));
                assert_eq!(kernel.args_bytes, launch.args.len(), "{}", launch.kernel);
            }
        }
    }
}

fn all_shapes(pass: Pass) {
    for precision in PRECISIONS {
        for shape in SHAPES {
            let case = Case::new(precision, shape);
            let mut tiles = hopper::possible_columns(&case.layer);
            let widest = tiles.next().unwrap();
            let first = case.check_on(Core::H100, pass, widest, Options::fast());
            for columns in tiles {
                let other = case.check_on(Core::H100, pass, columns, Options::fast());
                assert!(other.elements == first.elements, "{pass:?} {shape:?}: {columns} differs");
            }
        }
    }
}

#[test]
fn forward_at_all_shapes() {
    all_shapes(Pass::Forward);
}

#[test]
fn dgrad_at_all_shapes() {
    all_shapes(Pass::Dgrad);
}

#[test]
fn wgrad_at_all_shapes() {
    all_shapes(Pass::Wgrad);
}

/// Same bits whatever the order of threads and the arrival of copies, and no access out of place.
fn all_schedules(pass: Pass) {
    let deliveries = [Delivery::AtOnce, Delivery::Random, Delivery::Starved];
    // Three taps over two examples, two column tiles; more tiles than a ring has stages.
    for (precision, shape, columns) in [
        (Precision::Fp16, [2, 90, 8, 256], 128),
        (Precision::Bf16, [1, 130, 64, 256], 256),
        (Precision::Fp16, [1, 130, 64, 256], 256),
        (Precision::Bf16, [2, 90, 8, 256], 128),
    ] {
        let case = Case::new(precision, shape);
        let expected = case.check_on(Core::H100, pass, columns, Options::fast());
        for seed in 0..8 {
            for delivery in deliveries {
                let options = Options::checked(seed, delivery);
                let got = case.check_on(Core::H100, pass, columns, options);
                assert!(got == expected, "{pass:?} {precision} {columns}: {options:?} differs");
            }
        }
    }
}

#[test]
fn forward_under_all_schedules() {
    all_schedules(Pass::Forward);
}

#[test]
fn dgrad_under_all_schedules() {
    all_schedules(Pass::Dgrad);
}

#[test]
fn wgrad_under_all_schedules() {
    all_schedules(Pass::Wgrad);
}

/// Clusters that take several tiles in turn, as on a GPU: the ring and the staging buffer go round.
#[test]
fn a_cluster_takes_tile_after_tile() {
    let case = Case::new(Precision::Fp16, [3, 250, 4, 128]);
    for pass in PASSES {
        let expected = case.check_on(Core::H100, pass, 128, Options::fast());
        for (seed, delivery) in
            [(1, Delivery::AtOnce), (2, Delivery::Random), (3, Delivery::Starved)]
        {
            let options = Options::checked(seed, delivery);
            let got = case.check_on(Core::Hopper { clusters: 1 }, pass, 128, options);
            assert!(got == expected, "{pass:?}, {options:?} differs");
        }
    }
}

/// TensorFlow's ReLU has no gradient at zero, and inputs of N alone have sums of exactly zero. A NaN stays, to be found.
#[test]
fn zero_is_not_let_through_and_nan_stays() {
    for precision in PRECISIONS {
        let mut case = Case::new(precision, [1, 21, 4, 128]);
        for tensor in [&mut case.x, &mut case.bias] {
            tensor.fill(0.0);
        }
        case.bias[39] = 0.5;
        case.bias[41] = f32::NAN;
        let mut device = Bench::new(precision, Options::fast());
        let at = device.forward(&case);
        device.run(&Core::H100.forward(&case.layer, &at, "forward"));
        let mask = device.bytes(at.mask, case.y.len() / 8);
        for row in mask.chunks(16) {
            assert_eq!(row[4], 1 << 7, "{precision}");
            assert_eq!(row.iter().map(|byte| byte.count_ones()).sum::<u32>(), 1, "{precision}");
        }
        for (at, y) in device.read(at.y, case.y.len()).iter().enumerate() {
            match at % 128 {
                39 => assert_eq!(*y, 0.5),
                41 => assert!(y.is_nan(), "{precision}: a NaN became {y}"),
                _ => assert_eq!(*y, 0.0),
            }
        }
    }
}

#[test]
fn outputs_that_are_not_wanted_change_nothing() {
    let case = Case::new(Precision::Fp16, [2, 23, 8, 128]);
    let mut device = Bench::new(Precision::Fp16, Options::checked(1, Delivery::Random));
    let with = device.forward(&case);
    let y = device.room("other y", case.y.len() * 2);
    let without = Forward { y, mask: Address::NULL, ..with };
    for at in [&with, &without] {
        device.run(&Core::H100.forward(&case.layer, at, "forward"));
    }
    assert_eq!(device.read(with.y, case.y.len()), device.read(without.y, case.y.len()));

    let with = device.dgrad(&case);
    let dz = device.room("other dz", case.dz.len() * 2);
    let without = Dgrad { dz, g: Address::NULL, ..with };
    for at in [&with, &without] {
        device.run(&Core::H100.dgrad(&case.layer, at, "dgrad"));
    }
    assert_eq!(device.read(with.dz, case.dz.len()), device.read(without.dz, case.dz.len()));
}

/// The flag goes up for a single value, in a corner, masked or not; where nothing is wrong it stays (`Case::check_on`).
#[test]
fn overflow_is_flagged() {
    for precision in PRECISIONS {
        let largest = if precision == Precision::Fp16 { 65504.0 } else { f32::MAX };
        for value in [f32::NAN, f32::INFINITY, largest] {
            let mut case = Case::new(precision, [1, 70, 8, 128]);
            // The last element; the gradient that reaches it is finite, and with `largest` too large only as a sum.
            let at = case.g_out.len() - 1;
            for tensor in [&mut case.dz_out, &mut case.g_out] {
                tensor[at] = round(precision, value);
            }
            case.weights.fill(1.0);
            case.let_through.fill(false);
            let mut device = Bench::new(precision, Options::fast());
            let dgrad = device.dgrad(&case);
            device.run(&Core::H100.dgrad(&case.layer, &dgrad, "dgrad"));
            assert_eq!(device.bytes(dgrad.overflow, 4), [1, 0, 0, 0], "dgrad {precision} {value}");

            // Sums of wgrad are f32, where 65504 times x is finite.
            let expected = u8::from(!value.is_finite() || precision != Precision::Fp16);
            case.x.fill(2.0);
            let wgrad = device.wgrad(&case, 2);
            device.run(&hopper::wgrad(&case.layer, 128, 2, 3, &wgrad, "wgrad"));
            let flag = device.bytes(wgrad.overflow, 4);
            assert_eq!(flag, [expected, 0, 0, 0], "wgrad {precision} {value}");
        }
    }
}
