//! The buffers of a step at one batch size, planned together.

use super::arena::{Arena, Slot};
use super::device::Address;
use super::ops::dilated::Layer;
use super::ops::first_conv::FirstConv;
use super::ops::head::{Head, HeadScratch};
use super::ops::int8::Quantized;
use super::ops::{Element, padded_channels};
use super::precision::Precision;
use crate::error::Problem;
use crate::model::Architecture;

/// Rows of a feature map, all examples together: kernels count them in 32 bits, with room for a tile and a
/// dilation beyond the last.
const MOST_ROWS: usize = 1 << 29;
/// Examples of a batch: a grid's second and third dimension end there.
const MOST_EXAMPLES: usize = (1 << 16) - 1;

/// Errors when a batch is too large for the kernels' numbers, whatever the memory.
pub fn check_batch(arch: &Architecture, batch: usize) -> Result<(), Problem> {
    // The first feature map is the longest.
    let most = MOST_EXAMPLES.min(MOST_ROWS / arch.trunk_len(0));
    if batch <= most {
        return Ok(());
    }
    Err(Problem::new(format!(
        "a batch of {batch} examples of {} bp: the kernels take at most {most}",
        arch.inputlen
    ))
    .fix("lower --batch-size"))
}

/// A branch at one batch size: the shape of each of its operations.
#[derive(Clone, Debug)]
pub struct Shapes {
    pub first: FirstConv,
    /// Dilated layers, the first at 0.
    pub dilated: Vec<Layer>,
    pub head: Head,
    pub precision: Precision,
}

impl Shapes {
    pub fn new(arch: &Architecture, batch: usize, precision: Precision) -> Self {
        let channels = padded_channels(arch.filters);
        let n = arch.n_dilation_layers;
        let layer = |i| Layer {
            batch,
            length_in: arch.trunk_len(i - 1),
            dilation: arch.dilation(i),
            channels,
            precision,
        };
        Self {
            first: FirstConv { batch, inputlen: arch.inputlen, channels, width: arch.first_kernel },
            dilated: (1..=n).map(layer).collect(),
            head: Head {
                batch,
                length: arch.trunk_len(n),
                channels,
                width: arch.profile_kernel,
                crop: arch.profile_crop(),
                outputlen: arch.outputlen,
            },
            precision,
        }
    }

    pub fn element(&self) -> Element {
        self.precision.element()
    }

    /// Elements of feature map `i`, 0 being the first convolution's.
    pub fn map_len(&self, i: usize) -> usize {
        let length = match i {
            0 => self.first.length(),
            i => self.dilated[i - 1].length_out(),
        };
        self.first.batch * length * self.first.channels
    }
}

/// What the launches of a head's forward pass leave for each other.
#[derive(Clone, Copy, Debug)]
pub struct HeadSlots {
    diagonals: Slot,
    pooled: Slot,
    /// `None` for f32
    split: Option<Slot>,
}

impl HeadSlots {
    pub fn plan(head: &Head, element: Element, branch: &str, arena: &mut Arena) -> Self {
        let split = head.split_bytes(element);
        Self {
            diagonals: arena
                .plan::<f32>(format!("{branch}head diagonals"), head.diagonals_len(element)),
            pooled: arena.plan::<f32>(format!("{branch}head pooled"), head.pooled_len(element)),
            split: (split > 0)
                .then(|| arena.plan_bytes(format!("{branch}head weights in two parts"), split)),
        }
    }

    pub fn at(&self, arena: &Arena) -> HeadScratch {
        HeadScratch {
            diagonals: arena[self.diagonals],
            pooled: arena[self.pooled],
            split: self.split.map_or(Address::NULL, |slot| arena[slot]),
        }
    }
}

/// Feature maps and outputs of one branch.
#[derive(Clone, Debug)]
pub struct Activations {
    /// X_0 .. X_n, element type; without gradients they take turns in two buffers
    pub maps: Vec<Slot>,
    /// bits of X_0 .. X_n: where the ReLU let through; empty without gradients
    pub masks: Vec<Slot>,
    /// X_i as the layer above multiplies it, where that is in bytes
    pub quantized: Option<Quantized<Slot>>,
    pub head: HeadSlots,
    /// f32 [batch, outputlen]
    pub logits: Slot,
    /// f32 `[batch]`
    pub logcounts: Slot,
}

impl Activations {
    pub fn plan(shapes: &Shapes, trained: bool, branch: &str, arena: &mut Arena) -> Self {
        let n = shapes.dilated.len();
        let bytes = |i| shapes.map_len(i) * shapes.element().bytes();
        let maps = if trained {
            (0..=n).map(|i| arena.plan_bytes(format!("{branch} X_{i}"), bytes(i))).collect()
        } else {
            // Maps only get shorter, so the first of each turn is the longest.
            let turns: Vec<Slot> = (0..=n.min(1))
                .map(|i| {
                    arena.plan_bytes(format!("{branch} X_{i} and every second after"), bytes(i))
                })
                .collect();
            (0..=n).map(|i| turns[i % 2]).collect()
        };
        let mut masks = Vec::new();
        if trained {
            for i in 0..=n {
                masks.push(arena.plan::<u32>(format!("{branch} mask_{i}"), shapes.map_len(i) / 32));
            }
        }
        let quantized = (shapes.precision == Precision::Int8).then(|| {
            let first = &shapes.first;
            let rows = first.batch * first.length();
            Quantized::plan_rows(rows, first.channels, &format!("{branch} X_i"), arena)
        });
        let head = &shapes.head;
        Self {
            maps,
            masks,
            quantized,
            head: HeadSlots::plan(head, shapes.element(), &format!("{branch} "), arena),
            logits: arena.plan::<f32>(format!("{branch} logits"), head.batch * head.outputlen),
            logcounts: arena.plan::<f32>(format!("{branch} logcounts"), head.batch),
        }
    }
}

/// What only a backward pass needs. Everything is times the loss scale.
#[derive(Clone, Debug)]
pub struct Backward {
    pub by_logits: Slot,
    /// `[batch]`: sums of `by_logits`, the profile bias's partials
    pub by_logits_sums: Slot,
    /// `[batch]`, also the dense bias's partials
    pub by_logcounts: Slot,
    /// g_i and g_{i-1} in turns
    pub g: [Slot; 2],
    /// dz_i in turns of three: while dgrad goes on to dz_{i-2}, wgrad may still read dz_i
    pub dz: [Slot; 3],
    /// sums over rows of dz_0 .. dz_n, f32 `[tiles][channels]`
    pub column_sums: Vec<Slot>,
    pub first_partials: Slot,
    /// of dilated layer 1 .. n
    pub dilated_partials: Vec<Slot>,
    pub head_partials: Slot,
}

impl Backward {
    fn plan(shapes: &Shapes, arena: &mut Arena) -> Self {
        let head = &shapes.head;
        let channels = shapes.first.channels;
        let n = shapes.dilated.len();
        let map_bytes = shapes.map_len(0) * shapes.element().bytes();
        let g =
            ["even", "odd"].map(|turn| arena.plan_bytes(format!("g of {turn} layers"), map_bytes));
        let dz = [0, 1, 2].map(|turn| {
            arena.plan_bytes(format!("dz of layer {turn} and every third after"), map_bytes)
        });
        let column_sums = (0..=n)
            .map(|i| {
                let tiles = match shapes.dilated.get(i) {
                    Some(above) => above.column_sum_tiles(),
                    None => head.batch * head.row_tiles(),
                };
                arena.plan::<f32>(format!("column sums of dz_{i}"), tiles * channels)
            })
            .collect();
        let first = &shapes.first;
        let dilated_partials = (1..=n)
            .map(|i| {
                let layer = &shapes.dilated[i - 1];
                let elements = layer.splits() * layer.weights_len();
                arena.plan::<f32>(format!("partials of bpnet_{i}conv"), elements)
            })
            .collect();
        Self {
            by_logits: arena.plan::<f32>("by logits", head.batch * head.outputlen),
            by_logits_sums: arena.plan::<f32>("by logits, summed", head.batch),
            by_logcounts: arena.plan::<f32>("by logcounts", head.batch),
            g,
            dz,
            column_sums,
            first_partials: arena
                .plan::<f32>("partials of bpnet_1st_conv", first.splits() * first.partial_len()),
            dilated_partials,
            head_partials: arena
                .plan::<f32>("partials of the heads", head.splits() * head.partial_len()),
        }
    }
}

/// All buffers of a step.
#[derive(Clone, Debug)]
pub struct Workspace {
    pub arena: Arena,
    pub batch: usize,
    pub main: Shapes,
    pub bias: Option<Shapes>,
    /// u8 [batch, inputlen]
    pub codes: Slot,
    /// f32 [batch, outputlen]
    pub counts: Slot,
    /// f64 `[batch][2]`
    pub example_losses: Slot,
    pub main_out: Activations,
    pub bias_out: Option<Activations>,
    /// `None`: forward only
    pub backward: Option<Backward>,
}

impl Workspace {
    pub fn plan(
        main: &Architecture,
        bias: Option<&Architecture>,
        batch: usize,
        precision: Precision,
        trained: bool,
    ) -> Self {
        let (inputlen, outputlen) = (main.inputlen, main.outputlen);
        let main = Shapes::new(main, batch, precision);
        let bias = bias.map(|arch| Shapes::new(arch, batch, precision));
        let mut arena = Arena::default();
        Self {
            batch,
            codes: arena.plan::<u8>("codes", batch * inputlen),
            counts: arena.plan::<f32>("counts", batch * outputlen),
            example_losses: arena.plan::<f64>("losses of examples", 2 * batch),
            main_out: Activations::plan(&main, trained, "main", &mut arena),
            bias_out: bias.as_ref().map(|b| Activations::plan(b, false, "bias", &mut arena)),
            backward: trained.then(|| Backward::plan(&main, &mut arena)),
            main,
            bias,
            arena,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_the_standard_model() {
        let main = Architecture::new(2114, 1000, 512, 8).unwrap();
        let bias = Architecture::new(2114, 1000, 128, 4).unwrap();
        let bytes = |precision, trained| {
            Workspace::plan(&main, Some(&bias), 64, precision, trained).arena.bytes() as f64 / 1e9
        };
        // X 1.10 GB, masks 0.07, g and dz 5 x 0.137, partials 0.28 and sums
        let training = bytes(Precision::Fp16, true);
        assert!(training > 2.1 && training < 2.4, "{training} GB");
        let predicting = bytes(Precision::Fp16, false);
        assert!(predicting < 0.4, "{predicting} GB");
        assert!(bytes(Precision::F32, true) < 4.0);
    }

    #[test]
    fn a_model_without_dilated_layers_has_one_map() {
        let arch = Architecture::new(96, 2, 4, 0).unwrap();
        for trained in [true, false] {
            let plan = Workspace::plan(&arch, None, 3, Precision::F32, trained);
            assert_eq!(plan.main_out.maps.len(), 1);
            assert_eq!(plan.main_out.masks.len(), usize::from(trained));
        }
    }

    #[test]
    fn a_batch_beyond_32_bit_positions_is_refused() {
        let arch = |inputlen| Architecture::new(inputlen, 1000, 512, 8).unwrap();
        check_batch(&arch(2114), 65_535).unwrap();
        let error = check_batch(&arch(2114), 65_536).unwrap_err();
        assert!(error.what().contains("at most 65535"), "{error}");
        // 2^29 rows of 20,000
        check_batch(&arch(20_020), 26_843).unwrap();
        let error = check_batch(&arch(20_020), 26_844).unwrap_err();
        assert!(error.what().contains("20020 bp: the kernels take at most 26843"), "{error}");
    }
}
