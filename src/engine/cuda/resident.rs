//! Genome and signal in device memory: whole packs, so that any plan can be assembled there.
//!
//! A process uploads a pack to a device once, however many engines it opens there: whoever comes next holds the same
//! memory. Tracks hold it, too, so that it stays from one engine of a job to the next. It is given back with the last of
//! them. A pack is known by its checksum.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::Result;

use super::arena::Arena;
use super::device::{Detached, Device, Location};
use super::ops::batch::{GenomeContig, ResidentGenome, ResidentSignal, SignalContig, ValueType};
use crate::store::signal::Values;
use crate::store::{GenomePack, SignalPack, Tracks};

/// A pack in device memory. Who holds it ends its work before it lets go.
pub struct Pack<T> {
    pub arena: Arena,
    /// Where its parts lie.
    pub at: T,
    _memory: Vec<Detached>,
}

/// The packs of an engine.
#[derive(Clone)]
pub struct Resident {
    pub genome: Arc<Pack<ResidentGenome>>,
    pub signal: Option<Arc<Pack<ResidentSignal>>>,
}

/// Checksums of the genome, and of the signal whose contigs are in its order.
type Key = (Location, u64, Option<u64>);

/// The packs of this process that somebody holds.
struct Known<T>(Mutex<Vec<(Key, Weak<Pack<T>>)>>);

static GENOMES: Known<ResidentGenome> = Known(Mutex::new(Vec::new()));
static SIGNALS: Known<ResidentSignal> = Known(Mutex::new(Vec::new()));

impl<T> Known<T> {
    /// The pack of `key`, uploaded where nobody holds it. Others wait meanwhile, as they may want the same.
    fn get<D: Device>(
        &self,
        key: Key,
        device: &mut D,
        upload: impl FnOnce(&mut Arena, &mut D) -> Result<T>,
    ) -> Result<Arc<Pack<T>>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(_, pack)| pack.strong_count() > 0);
        let found = known.iter().find(|(of, _)| *of == key);
        if let Some(pack) = found.and_then(|(_, pack)| pack.upgrade()) {
            return Ok(pack);
        }
        let mut arena = Arena::default();
        let at = upload(&mut arena, device)?;
        let pack = Arc::new(Pack { _memory: arena.detach(device)?, arena, at });
        known.push((key, Arc::downgrade(&pack)));
        Ok(pack)
    }
}

impl Resident {
    /// Finds the packs in the device's memory, or uploads them.
    pub fn open(tracks: &Tracks, device: &mut impl Device) -> Result<Self> {
        let (location, genome) = (device.location(), tracks.genome.checksum());
        let resident = Self {
            genome: GENOMES.get((location, genome, None), device, |arena, device| {
                upload_genome(&tracks.genome, arena, device)
            })?,
            signal: match &tracks.signal {
                None => None,
                Some(signal) => {
                    let key = (location, genome, Some(signal.checksum()));
                    Some(SIGNALS.get(key, device, |arena, device| {
                        upload_signal(tracks, signal, arena, device)
                    })?)
                }
            },
        };
        tracks.keep(Arc::new(resident.clone()));
        Ok(resident)
    }

    pub fn arenas(&self) -> impl Iterator<Item = &Arena> {
        let signal = self.signal.as_ref().map(|pack| &pack.arena);
        std::iter::once(&self.genome.arena).chain(signal)
    }
}

fn upload_genome(
    genome: &GenomePack,
    arena: &mut Arena,
    device: &mut impl Device,
) -> Result<ResidentGenome> {
    let (bases, first_bytes) = genome.all_nibbles();
    let contigs: Vec<GenomeContig> = genome
        .contigs()
        .iter()
        .zip(first_bytes)
        .map(|(contig, first_byte)| GenomeContig { first_byte, length: contig.length })
        .collect();
    let table = arena.plan::<GenomeContig>("genome contigs", contigs.len());
    let bases_slot = arena.plan::<u8>("genome, 4 bits a base", bases.len());
    arena.allocate(device)?;
    device.upload(arena[table], bytemuck::cast_slice(&contigs))?;
    device.upload(arena[bases_slot], bases)?;
    Ok(ResidentGenome { contigs: arena[table], bases: arena[bases_slot] })
}

fn upload_signal(
    tracks: &Tracks,
    signal: &SignalPack,
    arena: &mut Arena,
    device: &mut impl Device,
) -> Result<ResidentSignal> {
    let (offsets, values, bins) = signal.all_entries();
    let (value_type, values): (_, &[u8]) = match values {
        Values::U16(v) => (ValueType::U16, bytemuck::cast_slice(v)),
        Values::F32(v) => (ValueType::F32, bytemuck::cast_slice(v)),
    };
    let table: Vec<SignalContig> = (0..tracks.genome.contigs().len() as u32)
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
    arena.allocate(device)?;
    let [contigs, bins_at, offsets_at, values_at] = slots.map(|slot| arena[slot]);
    device.upload(contigs, bytemuck::cast_slice(&table))?;
    device.upload(bins_at, bytemuck::cast_slice(bins))?;
    device.upload(offsets_at, bytemuck::cast_slice(offsets))?;
    device.upload(values_at, values)?;
    Ok(ResidentSignal {
        contigs,
        bins: bins_at,
        offsets: offsets_at,
        values: values_at,
        value_type,
        entries: offsets.len() as u64,
    })
}
