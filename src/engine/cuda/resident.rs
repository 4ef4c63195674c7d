//! Genome and signal in device memory: whole packs, so that any plan can be assembled there.

use anyhow::Result;

use super::arena::Arena;
use super::device::Device;
use super::ops::batch::{GenomeContig, ResidentGenome, ResidentSignal, SignalContig, ValueType};
use crate::store::Tracks;
use crate::store::signal::Values;

/// Where the packs lie.
pub struct Resident {
    pub arena: Arena,
    pub genome: ResidentGenome,
    pub signal: Option<ResidentSignal>,
}

impl Resident {
    pub fn upload(tracks: &Tracks, device: &mut impl Device) -> Result<Self> {
        let contigs = tracks.genome.contigs();
        let (bases, first_bytes) = tracks.genome.all_nibbles();
        let genome_contigs: Vec<GenomeContig> = contigs
            .iter()
            .zip(first_bytes)
            .map(|(contig, first_byte)| GenomeContig { first_byte, length: contig.length })
            .collect();

        let mut arena = Arena::default();
        let genome_table = arena.plan::<GenomeContig>("genome contigs", contigs.len());
        let bases_slot = arena.plan::<u8>("genome, 4 bits a base", bases.len());
        let signal = tracks.signal.as_deref().map(|signal| {
            let (offsets, values, bins) = signal.all_entries();
            let (value_type, values): (_, &[u8]) = match values {
                Values::U16(v) => (ValueType::U16, bytemuck::cast_slice(v)),
                Values::F32(v) => (ValueType::F32, bytemuck::cast_slice(v)),
            };
            let table: Vec<SignalContig> = (0..contigs.len() as u32)
                .map(|genome| match tracks.signal_contig(genome) {
                    Some(contig) => SignalContig {
                        first_bin: signal.first_bin(contig),
                        length: signal.contigs()[contig as usize].length,
                    },
                    None => SignalContig { first_bin: 0, length: 0 },
                })
                .collect();
            let slots = [
                arena.plan::<SignalContig>("signal contigs", table.len()),
                arena.plan::<u64>("signal bins", bins.len()),
                arena.plan::<u16>("signal offsets", offsets.len()),
                arena.plan::<u8>("signal values", values.len()),
            ];
            (slots, table, bins, offsets, values, value_type)
        });

        arena.allocate(device)?;
        device.upload(arena[genome_table], bytemuck::cast_slice(&genome_contigs))?;
        device.upload(arena[bases_slot], bases)?;
        let genome = ResidentGenome { contigs: arena[genome_table], bases: arena[bases_slot] };
        let signal = match signal {
            None => None,
            Some((slots, table, bins, offsets, values, value_type)) => {
                let [contigs, bins_at, offsets_at, values_at] = slots.map(|slot| arena[slot]);
                device.upload(contigs, bytemuck::cast_slice(&table))?;
                device.upload(bins_at, bytemuck::cast_slice(bins))?;
                device.upload(offsets_at, bytemuck::cast_slice(offsets))?;
                device.upload(values_at, values)?;
                Some(ResidentSignal {
                    contigs,
                    bins: bins_at,
                    offsets: offsets_at,
                    values: values_at,
                    value_type,
                    entries: offsets.len() as u64,
                })
            }
        };
        Ok(Self { arena, genome, signal })
    }
}
