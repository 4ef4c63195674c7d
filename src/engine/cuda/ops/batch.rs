//! `kernels/batch.cu`: examples of a plan as base codes and counts.

use bytemuck::{Pod, Zeroable};

use super::{Floor, size};
use crate::engine::cuda::device::{Address, Launch};

/// Mirror of `GenomeContig`: where a contig's nibbles begin, and its bp.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct GenomeContig {
    pub first_byte: u64,
    pub length: u64,
}

/// Mirror of `SignalContig`: first bin and bp of a genome contig in the signal; zeros where the
/// signal lacks it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct SignalContig {
    pub first_bin: u64,
    pub length: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    U16,
    F32,
}

/// A genome pack's bases in device memory.
#[derive(Clone, Copy, Debug)]
pub struct ResidentGenome {
    /// [`GenomeContig`] of each contig
    pub contigs: Address,
    /// nibbles of all contigs
    pub bases: Address,
}

/// A signal pack's entries in device memory.
#[derive(Clone, Copy, Debug)]
pub struct ResidentSignal {
    /// [`SignalContig`] of each contig of the genome
    pub contigs: Address,
    /// u64, one more than there are bins
    pub bins: Address,
    /// u16 `[entries]`
    pub offsets: Address,
    /// `[entries]`
    pub values: Address,
    pub value_type: ValueType,
    pub entries: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct BatchArgs {
    state: Address,
    plan: Address,
    genome: Address,
    bases: Address,
    signal: Address,
    bins: Address,
    offsets: Address,
    values: Address,
    codes: Address,
    counts: Address,
    entries: u64,
    inputlen: u32,
    outputlen: u32,
    value_type: u32,
    padding: u32,
}

/// Rows of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    pub batch: usize,
    pub inputlen: usize,
    pub outputlen: usize,
}

impl Batch {
    /// Fills `codes` u8 [batch, inputlen] and, with a signal, `counts` f32 [batch, outputlen].
    pub fn launch(
        &self,
        state: Address,
        plan: Address,
        genome: &ResidentGenome,
        signal: Option<(&ResidentSignal, Address)>,
        codes: Address,
    ) -> Launch {
        assert!(self.inputlen >= self.outputlen);
        let mut args = BatchArgs {
            state,
            plan,
            genome: genome.contigs,
            bases: genome.bases,
            codes,
            inputlen: size(self.inputlen),
            outputlen: size(self.outputlen),
            ..BatchArgs::zeroed()
        };
        if let Some((signal, counts)) = signal {
            args.signal = signal.contigs;
            args.bins = signal.bins;
            args.offsets = signal.offsets;
            args.values = signal.values;
            args.counts = counts;
            args.entries = signal.entries;
            args.value_type = match signal.value_type {
                ValueType::U16 => 1,
                ValueType::F32 => 2,
            };
        }
        let outputs = 1 + u32::from(signal.is_some());
        Launch::new("batch", [size(self.batch), outputs, 1], [256, 1, 1], 0, &args, "batch")
            .with_floor(self.floor())
    }

    /// The least traffic of the launch, without the signal's entries, whose number depends on the data.
    pub fn floor(&self) -> Floor {
        let (batch, inputlen) = (self.batch as f64, self.inputlen as f64);
        Floor { flop: 0.0, bytes: batch * (1.5 * inputlen + 4.0 * self.outputlen as f64) }
    }
}
