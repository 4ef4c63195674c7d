//! The dilated layer's kernels against plain loops in f64: every pass, precision and tile, at awkward shapes, and under
//! many schedules.
//!
//! Operands are rounded to the element type first, so what is compared is the kernels' arithmetic, their addresses and
//! the rounding of what they store.

pub mod case;

use cbp_fast::engine::cuda::device::Address;
use cbp_fast::engine::cuda::emulated::{Delivery, Options, kernels};
use cbp_fast::engine::cuda::ops::dilated::{self, Dgrad, Forward, Layer, Pass, args_bytes, symbol};
use cbp_fast::engine::cuda::precision::Precision;

use case::{Bench, Case, round};

const PASSES: [Pass; 3] = [Pass::Forward, Pass::Dgrad, Pass::Wgrad];

/// Widths of all tiles of a precision's kernels.
fn tiles(precision: Precision) -> impl Iterator<Item = usize> {
    Layer { batch: 1, length_in: 9, dilation: 2, channels: 128, precision }.possible_columns()
}

#[test]
fn arguments_match_the_kernels() {
    let kernels = kernels();
    for pass in PASSES {
        for precision in Precision::ALL {
            for columns in tiles(precision) {
                let name = symbol(pass, precision, columns);
                let kernel = kernels.iter().find(|kernel| kernel.name == name);
                let kernel = kernel.unwrap_or_else(|| panic!("no kernel {name}"));
                assert_eq!(kernel.args_bytes, args_bytes(pass), "{name}");
            }
        }
    }
}

/// batch, length in, dilation, channels
const SHAPES: [[usize; 4]; 12] = [
    [1, 5, 2, 32],     // one row out: far less than a tile
    [3, 61, 4, 64],    // a tile over three examples, ragged
    [1, 136, 4, 96],   // exactly one row tile out
    [2, 95, 8, 160],   // odd; five tiles of 32 columns
    [7, 41, 16, 32],   // many short examples in one tile
    [2, 141, 64, 64],  // outputs shorter than the dilation: rows that no tap reaches
    [1, 300, 128, 32], // whole tiles without some taps
    [1, 531, 256, 96], // the largest dilation
    [1, 70, 32, 256],  // four and two column tiles, two row tiles of weights a tap
    [4, 235, 64, 32],  // tile 5 starts at the last position that the middle tap reaches,
    [2, 191, 64, 32],  // tile 1 ends at the first,
    [5, 94, 32, 32],   // tile 2 has it only in the example between its ends
];

fn all_shapes(pass: Pass) {
    for precision in Precision::ALL {
        for shape in SHAPES {
            let case = Case::new(precision, shape);
            let mut tiles = case.layer.possible_columns();
            let first = case.check(pass, tiles.next().unwrap(), Options::fast());
            for columns in tiles {
                let other = case.check(pass, columns, Options::fast());
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
    for precision in Precision::ALL {
        for columns in tiles(precision) {
            // Three taps over two examples; two taps and one, so that a last step of dgrad lies where its column sums
            // go next.
            for shape in [[2, 23, 8, columns], [1, 130, 64, columns]] {
                let case = Case::new(precision, shape);
                let expected = case.check(pass, columns, Options::fast());
                for seed in 0..9 {
                    let options = Options::checked(seed, deliveries[seed as usize % 3]);
                    let got = case.check(pass, columns, options);
                    assert!(got == expected, "{pass:?} {precision} {columns}: {options:?} differs");
                }
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

/// TensorFlow's ReLU has no gradient at zero, and inputs of N alone have sums of exactly zero. A NaN stays, to be found.
#[test]
fn zero_is_not_let_through_and_nan_stays() {
    for precision in Precision::ALL {
        let mut case = Case::new(precision, [1, 21, 4, 32]);
        for tensor in [&mut case.x, &mut case.bias] {
            tensor.fill(0.0);
        }
        case.bias[7] = 0.5;
        case.bias[9] = f32::NAN;
        let mut device = Bench::new(precision, Options::fast());
        let at = device.forward(&case);
        device.run(&dilated::forward(&case.layer, &at, "forward"));
        let mask = device.bytes(at.mask, case.y.len() / 8);
        assert!(mask.chunks(4).all(|word| word == [1 << 7, 0, 0, 0]), "{precision}: {mask:x?}");
        for (at, y) in device.read(at.y, case.y.len()).iter().enumerate() {
            match at % 32 {
                7 => assert_eq!(*y, 0.5),
                9 => assert!(y.is_nan(), "{precision}: a NaN became {y}"),
                _ => assert_eq!(*y, 0.0),
            }
        }
    }
}

#[test]
fn outputs_that_are_not_wanted_change_nothing() {
    for precision in Precision::ALL {
        let case = Case::new(precision, [2, 23, 8, 32]);
        let mut device = Bench::new(precision, Options::checked(1, Delivery::Random));
        let with = device.forward(&case);
        let y = device.room("other y", case.y.len() * precision.bytes());
        let without = Forward { y, mask: Address::NULL, ..with };
        for at in [&with, &without] {
            device.run(&dilated::forward(&case.layer, at, "forward"));
        }
        assert_eq!(device.read(with.y, case.y.len()), device.read(without.y, case.y.len()));

        let with = device.dgrad(&case);
        let dz = device.room("other dz", case.dz.len() * precision.bytes());
        let without = Dgrad { dz, g: Address::NULL, ..with };
        for at in [&with, &without] {
            device.run(&dilated::dgrad(&case.layer, at, "dgrad"));
        }
        assert_eq!(device.read(with.dz, case.dz.len()), device.read(without.dz, case.dz.len()));
    }
}

/// The flag goes up for a single value, in a corner, masked or not; where nothing is wrong it stays (`Case::check`).
#[test]
fn overflow_is_flagged() {
    for precision in Precision::ALL {
        let largest = match precision {
            Precision::Fp16 => 65504.0,
            _ => f32::MAX,
        };
        for value in [f32::NAN, f32::INFINITY, largest] {
            let mut case = Case::new(precision, [2, 70, 8, 32]);
            // The last element; the gradient that reaches it is finite, and with `largest` too large only as a sum.
            let at = case.g_out.len() - 1;
            for tensor in [&mut case.dz_out, &mut case.g_out] {
                tensor[at] = round(precision, value);
            }
            case.weights.fill(1.0);
            case.let_through.fill(false);
            let mut device = Bench::new(precision, Options::fast());
            let dgrad = device.dgrad(&case);
            device.run(&dilated::dgrad(&case.layer, &dgrad, "dgrad"));
            assert_eq!(device.bytes(dgrad.overflow, 4), [1, 0, 0, 0], "dgrad {precision} {value}");

            // Sums of wgrad are f32, where 65504 times x is finite.
            let expected = u8::from(!value.is_finite() || precision != Precision::Fp16);
            case.x.fill(2.0);
            let wgrad = device.wgrad(&case, 2);
            device.run(&dilated::wgrad_with(&case.layer, 32, 2, &wgrad, "wgrad"));
            let flag = device.bytes(wgrad.overflow, 4);
            assert_eq!(flag, [expected, 0, 0, 0], "wgrad {precision} {value}");
        }
    }
}
