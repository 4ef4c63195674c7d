//! `kernels/rescale_head.cu`: where the multipliers of both heads begin.

use bytemuck::{Pod, Zeroable};

use crate::engine::cuda::device::{Address, Launch};
use crate::engine::cuda::fast_div::FastDiv;
use crate::engine::cuda::ops::head::{Head, HeadWeights};
use crate::engine::cuda::ops::{Element, Floor, size};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct SeedArgs {
    logits_x: Address,
    logits_r: Address,
    seeds: Address,
    deltas: Address,
    per_sequence: FastDiv,
    outputlen: u32,
    scale: f32,
    padding: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct HeadArgs {
    seeds: Address,
    w: Address,
    dense: Address,
    ratio: Address,
    g: Address,
    dz: Address,
    overflow: Address,
    length: u32,
    channels: u32,
    width: u32,
    crop: u32,
    outputlen: u32,
    counts: u32,
    ratio_batch: u32,
    counts_scale: f32,
}

const SUM_THREADS: u32 = 256;

/// Powers of two that the multipliers of either head are computed times: near 0.1 at first, they then have the whole
/// range of fp16 around them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scales {
    pub counts: f32,
    pub profile: f32,
}

impl Scales {
    /// A logcount hangs on each position by 1 / length, a logit's multiplier is a share of 1.
    pub fn of(head: &Head) -> Self {
        let above = |n: usize| n.next_power_of_two() as f32;
        Self { counts: above(head.length), profile: above(head.outputlen) }
    }
}

/// Pairs whose profile multipliers begin here.
#[derive(Clone, Copy, Debug)]
pub struct Seed {
    pub pairs: usize,
    pub per_sequence: usize,
    pub outputlen: usize,
    pub scale: f32,
}

impl Seed {
    /// `logits_x` f32 [pairs / per_sequence, outputlen], and of references `logits_r` f32 [pairs, outputlen] -> `seeds` f32 [pairs,
    /// outputlen], the logits' multipliers times `scale`, and `deltas` f64 [pairs], what they come to in all.
    /// Without references `seeds` are the gradient.
    pub fn launch(
        &self,
        logits_x: Address,
        references: Option<(Address, Address)>,
        seeds: Address,
    ) -> Launch {
        let (logits_r, deltas) = references.unwrap_or((Address::NULL, Address::NULL));
        let args = SeedArgs {
            logits_x,
            logits_r,
            seeds,
            deltas,
            per_sequence: FastDiv::new(size(self.per_sequence)),
            outputlen: size(self.outputlen),
            scale: self.scale,
            padding: 0,
        };
        let shared = 8 * (SUM_THREADS / 32) * 8;
        let grid = [size(self.pairs), 1, 1];
        Launch::new("rescale_seed", grid, [SUM_THREADS, 1, 1], shared, &args, "rescale seed")
    }
}

/// What the first multipliers are made of and where they go.
#[derive(Clone, Copy, Debug)]
pub struct Multipliers {
    /// f32 [batch - counts, outputlen]; `Address::NULL` without rows of the profile head
    pub seeds: Address,
    /// examples of the counts head, the first of the batch
    pub counts: usize,
    /// what theirs are times
    pub counts_scale: f32,
    /// element type [ratio_batch, length, channels], of the last layer's ReLU
    pub ratio: Address,
    /// examples that `ratio` has: the batch, or half of it when two heads share them
    pub ratio_batch: usize,
    /// out: element type [batch, length, channels]; without dilated layers nobody wants it
    pub g: Option<Address>,
    /// out: element type [batch, length, channels], times the ratio
    pub dz: Address,
    /// u32, set to 1 if a multiplier does not fit its type
    pub overflow: Address,
}

/// Multipliers of the last feature map; `head.batch` is that of all heads' rows.
pub fn multipliers(
    head: &Head,
    element: Element,
    weights: &HeadWeights,
    at: &Multipliers,
) -> Launch {
    head.check();
    assert!(at.counts <= head.batch && (at.counts == head.batch || at.seeds != Address::NULL));
    assert!(at.ratio_batch == head.batch || 2 * at.ratio_batch == head.batch, "{head:?}");
    let args = HeadArgs {
        seeds: at.seeds,
        w: weights.profile,
        dense: weights.dense,
        ratio: at.ratio,
        g: at.g.unwrap_or(Address::NULL),
        dz: at.dz,
        overflow: at.overflow,
        length: size(head.length),
        channels: size(head.channels),
        width: size(head.width),
        crop: size(head.crop),
        outputlen: size(head.outputlen),
        counts: size(at.counts),
        ratio_batch: size(at.ratio_batch),
        counts_scale: at.counts_scale,
    };
    let kernels = ["rescale_head_f16", "rescale_head_bf16", "rescale_head_f32"];
    head.gradient_launch(element.pick(kernels), &args, "rescale head")
        .with_floor(multipliers_floor(head, element, at))
}

/// What `multipliers` has to do.
fn multipliers_floor(head: &Head, element: Element, at: &Multipliers) -> Floor {
    let profile = (head.batch - at.counts) as f64 / head.batch as f64;
    let ratios = at.ratio_batch as f64 / head.batch as f64;
    let bytes = head.map_values() * element.bytes() as f64 * (2.0 + ratios);
    Floor { flop: head.flop() * profile, bytes: bytes + head.small_bytes() }
}
