//! Primitives on the host against their definitions in the PTX manual, written here a second time.

use bytemuck::{Pod, Zeroable};
use cbp_fast::engine::cuda::device::{Address, Device, Launch};
use cbp_fast::engine::cuda::emulated::{Delivery, EmulatedDevice, Options};
use cbp_fast::engine::cuda::fast_div::FastDiv;

/// The fast build and the checked one.
fn devices() -> [EmulatedDevice; 2] {
    [Options::fast(), Options::checked(3, Delivery::Random)].map(EmulatedDevice::new)
}

fn upload<T: Pod>(device: &mut EmulatedDevice, values: &[T]) -> Address {
    let bytes: &[u8] = bytemuck::cast_slice(values);
    let at = device.alloc(bytes.len(), "probe").unwrap();
    device.upload(at, bytes).unwrap();
    at
}

fn download<T: Pod>(device: &mut EmulatedDevice, at: Address, n: usize) -> Vec<T> {
    let mut out = vec![T::zeroed(); n];
    device.download(at, bytemuck::cast_slice_mut(&mut out)).unwrap();
    out
}

fn launch(
    device: &mut EmulatedDevice,
    kernel: &'static str,
    blocks: usize,
    threads: u32,
    args: &impl Pod,
) {
    let grid = [blocks as u32, 1, 1];
    device.launch(&Launch::new(kernel, grid, [threads, 1, 1], 8192, args, "probe")).unwrap();
}

// ---- matrices

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct LoadMatrixProbe {
    input: Address,
    out: Address,
    transposed: u32,
    pitch: u32,
    bug: u32,
    unused: u32,
}

/// Element (row, column) of matrix m is the number 64 m + 8 row + column.
fn load_matrix(device: &mut EmulatedDevice, transposed: bool, bug: bool) -> Vec<u32> {
    let elements: Vec<u16> = (0..256).collect();
    let input = upload(device, &elements);
    let out = upload(device, &[0u32; 128]);
    // Rows need not be adjacent, only aligned.
    let args = LoadMatrixProbe {
        input,
        out,
        transposed: transposed.into(),
        pitch: 48,
        bug: bug.into(),
        unused: 0,
    };
    launch(device, "probe_ldmatrix", 1, 32, &args);
    download(device, out, 128)
}

/// PTX, ldmatrix: register m of thread T holds row T / 4 of matrix m, elements 2 (T % 4) and the next; with .trans,
/// of the transposed matrix.
#[test]
fn ldmatrix_gives_each_lane_its_pair() {
    for mut device in devices() {
        for transposed in [false, true] {
            let registers = load_matrix(&mut device, transposed, false);
            for lane in 0..32 {
                for matrix in 0..4 {
                    let element = |k: usize| {
                        let (row, column) = (lane / 4, 2 * (lane % 4) + k);
                        let (row, column) = if transposed { (column, row) } else { (row, column) };
                        (64 * matrix + 8 * row + column) as u32
                    };
                    assert_eq!(registers[4 * lane + matrix], element(0) | element(1) << 16);
                }
            }
            assert_ne!(
                load_matrix(&mut device, transposed, true),
                registers,
                "swapped matrices show"
            );
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct MmaProbe {
    a: Address,
    b: Address,
    d: Address,
    kind: u32,
    unused: u32,
}

/// Small whole numbers, exact in every type and in any order of the sum.
fn small(row: usize, column: usize, salt: usize) -> f32 {
    ((row * 31 + column * 17 + salt * 7) % 13) as f32 - 6.0
}

/// Position of element i of a lane's accumulator: PTX, m16n8k16 and m16n8k8, "c_i".
fn accumulator(lane: usize, i: usize) -> (usize, usize) {
    let row = if i < 2 { lane / 4 } else { lane / 4 + 8 };
    (row, 2 * (lane % 4) + (i & 1))
}

fn mma(device: &mut EmulatedDevice, kind: u32, a: &[u32], b: &[u32], depth: usize) {
    let d: Vec<f32> = (0..128)
        .map(|i| {
            let (row, column) = accumulator(i / 4, i % 4);
            small(row, column, 3)
        })
        .collect();
    let [a, b] = [a, b].map(|fragment| upload(device, fragment));
    let d = upload(device, &d);
    launch(device, "probe_mma", 1, 32, &MmaProbe { a, b, d, kind, unused: 0 });
    for (i, value) in download::<f32>(device, d, 128).into_iter().enumerate() {
        let (row, column) = accumulator(i / 4, i % 4);
        let product: f32 = (0..depth).map(|k| small(row, k, 1) * small(k, column, 2)).sum();
        assert_eq!(value, small(row, column, 3) + product, "type {kind}, d[{row}][{column}]");
    }
}

/// PTX, m16n8k16 with 16-bit types: a_i is at row T / 4 (+ 8 unless i in 0..2 or 4..6), column 2 (T % 4) + (i & 1)
/// (+ 8 if i >= 4); b_i at row 2 (T % 4) + (i & 1) (+ 8 if i >= 2), column T / 4. Two elements a register.
#[test]
fn mma_of_16_bit_types() {
    let halves = half_values();
    let half = |f: f32| nearest(&halves, f);
    let bf16 = |f: f32| (f.to_bits() >> 16) as u16; // exact for whole numbers this small
    for mut device in devices() {
        for kind in [0, 1] {
            let encode = |f: f32| u32::from(if kind == 0 { half(f) } else { bf16(f) });
            let a_at = |lane: usize, i: usize| {
                let row = if i < 2 || (4..6).contains(&i) { lane / 4 } else { lane / 4 + 8 };
                let column = 2 * (lane % 4) + (i & 1) + if i >= 4 { 8 } else { 0 };
                encode(small(row, column, 1))
            };
            let b_at = |lane: usize, i: usize| {
                let row = 2 * (lane % 4) + (i & 1) + if i >= 2 { 8 } else { 0 };
                encode(small(row, lane / 4, 2))
            };
            let pair = |at: &dyn Fn(usize, usize) -> u32, lane, r| {
                at(lane, 2 * r) | at(lane, 2 * r + 1) << 16
            };
            let a: Vec<u32> = (0..128).map(|i| pair(&a_at, i / 4, i % 4)).collect();
            let b: Vec<u32> = (0..64).map(|i| pair(&b_at, i / 2, i % 2)).collect();
            mma(&mut device, kind, &a, &b, 16);
        }
    }
}

/// PTX, m16n8k8 with .tf32: a0 and a2 at row T / 4, a1 and a3 at T / 4 + 8; a0 and a1 at column T % 4, a2 and a3 at
/// T % 4 + 4; b0 at row T % 4, b1 at T % 4 + 4, column T / 4. The low 13 bits of an operand are not read.
#[test]
fn mma_of_tf32() {
    let encode = |f: f32| f.to_bits() | 0x1FFF;
    for mut device in devices() {
        let a: Vec<u32> = (0..128)
            .map(|i| {
                let (lane, i) = (i / 4, i % 4);
                let row = lane / 4 + if i == 1 || i == 3 { 8 } else { 0 };
                let column = lane % 4 + if i >= 2 { 4 } else { 0 };
                encode(small(row, column, 1))
            })
            .collect();
        let b: Vec<u32> = (0..64)
            .map(|i| {
                let (lane, i) = (i / 2, i % 2);
                encode(small(lane % 4 + 4 * i, lane / 4, 2))
            })
            .collect();
        mma(&mut device, 2, &a, &b, 8);
    }
}

/// PTX, m16n8k32 with .u8 and .s8: as m16n8k16, with four elements a register and 16 for 8: a_i is at row T / 4 (+ 8 if
/// i & 4), column 4 (T % 4) + (i & 3) (+ 16 if i >= 8); b_i at row 4 (T % 4) + (i & 3) (+ 16 if i >= 4), column T / 4.
#[test]
fn mma_of_bytes() {
    // Beyond 127 and below 0: only the right signs and the right order give the right sums.
    let unsigned = |row: usize, k: usize| (row * 37 + k * 91 + 5) % 256;
    let signed = |k: usize, column: usize| (k * 53 + column * 29 + 11) as i32 % 255 - 127;
    for mut device in devices() {
        let register =
            |element: &dyn Fn(usize) -> u8| u32::from_le_bytes([0, 1, 2, 3].map(element));
        let a: Vec<u32> = (0..128)
            .map(|r| {
                let (lane, r) = (r / 4, r % 4);
                let (row, column) = (lane / 4 + r % 2 * 8, 4 * (lane % 4) + r / 2 * 16);
                register(&|i| unsigned(row, column + i) as u8)
            })
            .collect();
        let b: Vec<u32> = (0..64)
            .map(|r| {
                let (lane, row) = (r / 2, 4 * (r / 2 % 4) + r % 2 * 16);
                register(&|i| signed(row + i, lane / 4) as i8 as u8)
            })
            .collect();
        let d: Vec<f32> = (0..128).map(|i| (i * 1000) as f32 - 5e4).collect();
        let [a, b] = [a, b].map(|fragment| upload(&mut device, &fragment));
        let at = upload(&mut device, &d);
        launch(&mut device, "probe_mma", 1, 32, &MmaProbe { a, b, d: at, kind: 3, unused: 0 });
        for (i, value) in download::<f32>(&mut device, at, 128).into_iter().enumerate() {
            let (row, column) = accumulator(i / 4, i % 4);
            let product: i32 = (0..32).map(|k| unsigned(row, k) as i32 * signed(k, column)).sum();
            assert_eq!(value, d[i] + product as f32, "d[{row}][{column}]");
        }
    }
}

// ---- warps

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct ShuffleProbe {
    input: Address,
    out: Address,
}

#[test]
fn shuffles_and_ballots_stay_in_their_warp() {
    let value = |t: usize| (t * t + 3 * t / 5) as u32;
    for mut device in devices() {
        let values: Vec<u32> = (0..64).map(value).collect();
        let input = upload(&mut device, &values);
        let out = upload(&mut device, &[0u32; 256]);
        launch(&mut device, "probe_shuffles", 1, 64, &ShuffleProbe { input, out });
        for (t, got) in download::<u32>(&mut device, out, 256).chunks(4).enumerate() {
            let (warp, lane) = (t / 32 * 32, t % 32);
            let down = if lane + 7 < 32 { t + 7 } else { t };
            let votes = (0..32).map(|l| (value(warp + l) & 1) << l).sum();
            assert_eq!(
                got,
                [value(warp + 5), value(warp + (lane ^ 3)), value(down), votes],
                "thread {t}"
            );
        }
    }
}

// ---- numbers

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct NumberProbe {
    input: Address,
    half: Address,
    bf16: Address,
    tf32: Address,
    back: Address,
    quotient: Address,
    by: FastDiv,
    n: u32,
}

/// All finite non-negative halves in order, by IEEE 754: bits and value. The one beyond the last stands for infinity.
fn half_values() -> Vec<(u16, f64)> {
    (0..=0x7C00u16)
        .map(|bits| {
            let (exponent, mantissa) = (i32::from(bits >> 10), f64::from(bits & 0x3FF));
            let value = match exponent {
                0 => mantissa * 2f64.powi(-24),
                _ => (1024.0 + mantissa) * 2f64.powi(exponent - 25),
            };
            (bits, value)
        })
        .collect()
}

/// The nearest of the values, of two equally near ones the even one; the sign on top.
fn nearest(values: &[(u16, f64)], f: f32) -> u16 {
    let (sign, x) = (((f.to_bits() >> 16) & 0x8000) as u16, f64::from(f.abs()));
    let above = values.partition_point(|&(_, value)| value < x).clamp(1, values.len() - 1);
    let ((low, below), (high, over)) = (values[above - 1], values[above]);
    let (down, up) = (x - below, over - x);
    sign | if down < up || (down == up && low % 2 == 0) { low } else { high }
}

/// Every kind of float: small whole numbers, powers of two and their neighbours, ties, subnormals, the largest.
fn interesting() -> Vec<f32> {
    let mut values = vec![
        0.0,
        f32::MIN_POSITIVE,
        f32::MAX,
        65_504.0,
        65_519.0,
        65_520.0,
        1e-8,
        5.96e-8,
        2.98e-8,
    ];
    for exponent in -30..20 {
        let power = 2f32.powi(exponent);
        for k in 0..40u32 {
            // Around the last bit of f16, bf16 and tf32: just below a tie, the tie, just above.
            for (bits, step) in [(10, 13), (7, 16)] {
                let base = power.to_bits() + (k << step) + (1 << (22 - bits));
                values.extend([base - 1, base, base + 1].map(f32::from_bits));
            }
        }
    }
    let negative: Vec<f32> = values.iter().map(|v| -v).collect();
    values.extend(negative);
    values
}

#[test]
fn conversions_round_as_the_gpu_does() {
    let values = interesting();
    let n = values.len();
    let halves = half_values();
    for mut device in devices() {
        let input = upload(&mut device, &values);
        let [half, bf16, tf32, quotient] = [(); 4].map(|()| upload(&mut device, &vec![0u32; n]));
        let back = upload(&mut device, &vec![0f32; 2 * n]);
        let by = FastDiv::new(2094);
        let args = NumberProbe { input, half, bf16, tf32, back, quotient, by, n: n as u32 };
        launch(&mut device, "probe_numbers", n.div_ceil(128), 128, &args);
        let [half, bf16, tf32, quotient] =
            [half, bf16, tf32, quotient].map(|at| download::<u32>(&mut device, at, n));
        let back = download::<f32>(&mut device, back, 2 * n);
        for (i, &f) in values.iter().enumerate() {
            let bits = f.to_bits();
            let wanted = nearest(&halves, f);
            assert_eq!(
                half[i],
                u32::from(wanted) | u32::from(wanted ^ 0x8000) << 16,
                "half of {f:e}"
            );
            let magnitude = halves.get(usize::from(wanted & 0x7FFF)).map_or(f64::INFINITY, |h| h.1);
            if wanted & 0x7FFF < 0x7C00 {
                assert_eq!(f64::from(back[2 * i].abs()), magnitude, "half of {f:e} and back");
            }

            // bf16 and tf32 are f32 with fewer bits: drop 16 to the even side, drop 13 away from zero on ties.
            let (kept, dropped) = (bits >> 16, bits & 0xFFFF);
            let up = dropped > 0x8000 || (dropped == 0x8000 && kept % 2 == 1);
            let wanted = kept + u32::from(up);
            assert_eq!(bf16[i], wanted | (wanted ^ 0x8000) << 16, "bf16 of {f:e}");
            assert_eq!(back[2 * i + 1].to_bits(), wanted << 16, "bf16 of {f:e} and back");
            let (kept, dropped) = (bits >> 13, bits & 0x1FFF);
            assert_eq!(tf32[i], (kept + u32::from(dropped >= 0x1000)) << 13, "tf32 of {f:e}");
            assert_eq!(quotient[i], bits / 2 / 2094, "fast division");
        }
    }
}
