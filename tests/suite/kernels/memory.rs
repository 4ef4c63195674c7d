//! Arrays in an emulated device's memory, and the schedules that every kernel is run under.

use bytemuck::Pod;
use cbp_fast::engine::cuda::device::{Address, Device, Launch};
use cbp_fast::engine::cuda::emulated::{Delivery, EmulatedDevice, Options};
use cbp_fast::engine::cuda::ops::Element;
use half::{bf16, f16};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Eight orders of threads and blocks, every access checked.
pub fn schedules() -> impl Iterator<Item = Options> {
    let deliveries = [Delivery::AtOnce, Delivery::Random, Delivery::Starved, Delivery::Random];
    (0..8).map(move |seed| Options::checked(seed, deliveries[seed as usize % 4]))
}

/// One of them, for shapes beyond the first.
pub fn schedule(seed: u64) -> Options {
    Options::checked(seed, Delivery::Random)
}

pub struct Memory {
    device: EmulatedDevice,
}

impl Memory {
    pub fn new(options: Options) -> Self {
        Self { device: EmulatedDevice::new(options) }
    }

    /// Memory for `n` values, NaN bits until a kernel writes them.
    pub fn room<T: Pod>(&mut self, label: &str, n: usize) -> Address {
        self.device.alloc(n.max(1) * size_of::<T>(), label).unwrap()
    }

    pub fn put<T: Pod>(&mut self, label: &str, values: &[T]) -> Address {
        let at = self.room::<T>(label, values.len());
        self.set(at, values);
        at
    }

    pub fn set<T: Pod>(&mut self, at: Address, values: &[T]) {
        self.device.upload(at, bytemuck::cast_slice(values)).unwrap();
    }

    pub fn get<T: Pod>(&mut self, at: Address, n: usize) -> Vec<T> {
        let mut values = vec![T::zeroed(); n];
        self.device.download(at, bytemuck::cast_slice_mut(&mut values)).unwrap();
        values
    }

    pub fn put_elements(&mut self, element: Element, label: &str, values: &[f32]) -> Address {
        match element {
            Element::F16 => self.put(
                label,
                &values.iter().map(|&v| f16::from_f32(v).to_bits()).collect::<Vec<_>>(),
            ),
            Element::Bf16 => self.put(
                label,
                &values.iter().map(|&v| bf16::from_f32(v).to_bits()).collect::<Vec<_>>(),
            ),
            Element::F32 => self.put(label, values),
        }
    }

    pub fn element_room(&mut self, element: Element, label: &str, n: usize) -> Address {
        self.room::<u8>(label, n * element.bytes())
    }

    pub fn get_elements(&mut self, element: Element, at: Address, n: usize) -> Vec<f32> {
        match element {
            Element::F16 => {
                self.get::<u16>(at, n).into_iter().map(|b| f16::from_bits(b).to_f32()).collect()
            }
            Element::Bf16 => {
                self.get::<u16>(at, n).into_iter().map(|b| bf16::from_bits(b).to_f32()).collect()
            }
            Element::F32 => self.get(at, n),
        }
    }

    pub fn launch(&mut self, launch: &Launch) {
        self.device.launch(launch).unwrap();
    }

    pub fn launch_all(&mut self, launches: &[Launch]) {
        launches.iter().for_each(|launch| self.launch(launch));
    }
}

/// `value` as the element type keeps it.
pub fn rounded(element: Element, value: f32) -> f32 {
    match element {
        Element::F16 => f16::from_f32(value).to_f32(),
        Element::Bf16 => bf16::from_f32(value).to_f32(),
        Element::F32 => value,
    }
}

/// Largest relative error of one rounding to the element type.
pub fn half_ulp(element: Element) -> f64 {
    match element {
        Element::F16 => 2f64.powi(-11),
        Element::Bf16 => 2f64.powi(-8),
        Element::F32 => 2f64.powi(-24),
    }
}

/// Uniform in -1..1, the same for the same seed.
pub struct Random(ChaCha8Rng);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub fn uniform(&mut self) -> f32 {
        (self.0.random::<f64>() * 2.0 - 1.0) as f32
    }

    pub fn values(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.uniform()).collect()
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.0.random_range(0..n)
    }

    /// [rows, channels] with zeros from `filters` on, as padded tensors are.
    pub fn padded(&mut self, rows: usize, filters: usize, channels: usize) -> Vec<f32> {
        let value = |i: usize| if i % channels < filters { self.uniform() } else { 0.0 };
        (0..rows * channels).map(value).collect()
    }

    /// Base codes, one in eight N.
    pub fn codes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| if self.below(8) == 0 { 4 } else { self.below(4) as u8 }).collect()
    }
}

/// |found - wanted| / |wanted| in L2; fails where lengths differ or something is not finite.
pub fn distance(found: &[f32], wanted: &[f64]) -> f64 {
    assert_eq!(found.len(), wanted.len());
    let (mut off, mut all) = (0.0, 0.0);
    for (at, (&f, &w)) in found.iter().zip(wanted).enumerate() {
        assert!(f.is_finite(), "element {at} is {f}, wanted {w}");
        off += (f64::from(f) - w).powi(2);
        all += w * w;
    }
    if all == 0.0 { off.sqrt() } else { (off / all).sqrt() }
}

/// Largest |found - wanted| beyond `relative * |wanted|`, with its index in the message.
pub fn assert_close(what: &str, found: &[f32], wanted: &[f64], absolute: f64, relative: f64) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    let beyond = |(at, (&f, &w)): (usize, (&f32, &f64))| {
        let off = (f64::from(f) - w).abs() - relative * w.abs();
        (if off.is_nan() { f64::INFINITY } else { off }, at)
    };
    let worst = found.iter().zip(wanted).enumerate().map(beyond).max_by(|a, b| a.0.total_cmp(&b.0));
    if let Some((off, at)) = worst {
        assert!(off <= absolute, "{what}: element {at} is {}, wanted {}", found[at], wanted[at]);
    }
}

/// Fails unless every call for the same key brings the same bits: a result does not depend on the
/// order in which threads and blocks run.
#[derive(Default)]
pub struct SameBits(std::collections::HashMap<String, Vec<u32>>);

impl SameBits {
    pub fn check(&mut self, key: impl std::fmt::Debug, found: &[f32]) {
        let bits: Vec<u32> = found.iter().map(|f| f.to_bits()).collect();
        let first = self.0.entry(format!("{key:?}")).or_insert_with(|| bits.clone());
        assert!(*first == bits, "{key:?}: other bits in another schedule");
    }
}
