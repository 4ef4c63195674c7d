//! Values of overlapping regions as one bigWig, as the official tools draw it.
//!
//! In: the regions (all of one width), then one array of values for each, in the same order. Out: a
//! bigWig with one value a base. Where regions overlap, neighbours meet at the floor of the mean of
//! their midpoints, so that a base takes the value of the region whose midpoint is nearest.
//!
//! A bigWig wants coordinate order. Which bases of a region are written is known from all regions
//! before the first value comes, so regions that come in coordinate order stream straight into the
//! file, and others go to their place in an unnamed temporary file (4 bytes a covered base, in the
//! folder of the output) from which the bigWig is written at the end. Memory: 24 bytes a region.
//!
//! Source: official `write_bigwig`. Regions with the same midpoint three times over, which stop that
//! tool, leave no base to the ones in the middle.

use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;

use super::atomic::{self, OutFile, Pending};
use super::bigwig_stream::BigWigStream;
use super::track_stats::{self, TrackStats};
use crate::error::Problem;
use crate::input::assembly::Assembly;
use crate::store::GenomePack;

/// First base of a region on a contig of the layout's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub contig: u32,
    /// 0-based
    pub start: u32,
}

/// Where windows of a genome, (contig, first base), lie in a bigWig of `contigs`.
///
/// Errors: the name of a contig that has a window and is not listed.
pub fn spans<'g>(
    genome: &'g GenomePack,
    contigs: &Assembly,
    windows: impl IntoIterator<Item = (u32, u32)>,
) -> Result<Vec<Span>, &'g str> {
    let span = |(contig, start)| {
        let name = genome.contigs()[contig as usize].name.as_str();
        Ok(Span { contig: contigs.id(name).ok_or(name)?, start })
    };
    windows.into_iter().map(span).collect()
}

/// The part of a region that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    contig: u32,
    /// First base written, on the contig.
    start: u32,
    /// The same base in the region's values.
    skip: u32,
    /// Bases written; 0 where neighbours leave nothing.
    length: u32,
}

/// Which bases each region gives to a track. Tracks of the same regions share one.
#[derive(Clone, Debug)]
pub struct TrackLayout {
    contigs: Assembly,
    width: usize,
    /// In coordinate order.
    pieces: Vec<Piece>,
    /// Index into `pieces` of each region; empty where the regions are in coordinate order.
    places: Vec<u32>,
}

impl TrackLayout {
    /// `contigs`: names and lengths in the order of the bigWig. `regions`: in the order in which
    /// their values will come, each `width` bp long.
    ///
    /// Errors: no region, a region outside its contig.
    pub fn new(contigs: Assembly, regions: &[Span], width: usize) -> Result<Self> {
        if regions.is_empty() || width == 0 {
            return Err(Problem::new("a track needs at least one region").into());
        }
        for region in regions {
            let contig = contigs.get(region.contig as usize);
            let end = u64::from(region.start) + width as u64;
            if contig.is_none_or(|contig| end > contig.length) {
                let name = contig.map_or("?", |contig| contig.name.as_str());
                return Err(Problem::new("region leaves its contig")
                    .at(format!("{name}:{}-{end}", region.start))
                    .into());
            }
        }
        let key = |r: &Span| (r.contig, r.start);
        let sorted = regions.is_sorted_by_key(key);
        let mut order: Vec<u32> = (0..regions.len() as u32).collect();
        if !sorted {
            // Stable, so that equal regions stay in the order given.
            order.sort_by_key(|&i| key(&regions[i as usize]));
        }
        let mut pieces = Vec::with_capacity(regions.len());
        let mut written_to = 0;
        for (at, &i) in order.iter().enumerate() {
            let region = regions[i as usize];
            let end = region.start + width as u32;
            let neighbour = |j: Option<&u32>| {
                j.map(|&j| regions[j as usize]).filter(|n| n.contig == region.contig)
            };
            if neighbour(at.checked_sub(1).and_then(|j| order.get(j))).is_none() {
                written_to = 0;
            }
            let start = region.start.max(written_to);
            let stop = match neighbour(order.get(at + 1)) {
                // (start + width/2 + next + width/2) / 2, floored
                Some(next) if next.start < end => {
                    ((u64::from(region.start) + u64::from(next.start)) / 2) as u32
                        + (width / 2) as u32
                }
                _ => end,
            };
            let skip = start - region.start;
            let length = stop.saturating_sub(start);
            pieces.push(Piece { contig: region.contig, start, skip, length });
            written_to = start + length;
        }
        let mut places = Vec::new();
        if !sorted {
            places = vec![0; regions.len()];
            for (place, &i) in order.iter().enumerate() {
                places[i as usize] = place as u32;
            }
        }
        Ok(Self { contigs, width, pieces, places })
    }

    /// Bases with a value.
    pub fn covered(&self) -> u64 {
        self.pieces.iter().map(|p| u64::from(p.length)).sum()
    }
}

/// Writes one bigWig of a layout; the file appears when it is complete.
///
/// Dropped before [`finish`](Self::finish), it leaves nothing behind.
pub struct RegionTrack {
    layout: Arc<TrackLayout>,
    pending: Pending,
    sink: Sink,
    /// Regions that came.
    pushed: usize,
}

enum Sink {
    Stream(BigWigStream),
    Spool(Spool),
}

/// Values at their place in coordinate order.
struct Spool {
    file: OutFile,
    /// First value of each piece.
    offsets: Vec<u64>,
    /// Where the file stands.
    at: u64,
}

impl RegionTrack {
    /// `with_stats`: the values will be asked for their quantiles, which need a second look.
    pub fn create(path: &Path, layout: &Arc<TrackLayout>, with_stats: bool) -> Result<Self> {
        let create = || -> Result<Self> {
            let pending = Pending::create(path)?;
            let sink = if layout.places.is_empty() && !with_stats {
                let folder = atomic::folder_of(path);
                Sink::Stream(BigWigStream::create(pending.file(), folder, &layout.contigs)?)
            } else {
                Sink::Spool(Spool::create(path, layout)?)
            };
            Ok(Self { layout: Arc::clone(layout), pending, sink, pushed: 0 })
        };
        create().map_err(|error| atomic::unwritable(path, error))
    }

    /// The values of the next region, one a base.
    ///
    /// Errors: another number of values, a region too many, a value that is not finite, anything
    /// the disk says.
    pub fn push(&mut self, values: &[f32]) -> Result<()> {
        let layout = Arc::clone(&self.layout);
        if values.len() != layout.width || self.pushed == layout.pieces.len() {
            return Err(Problem::new(format!(
                "{} values for region {} of {}, which are {} bp long",
                values.len(),
                self.pushed + 1,
                layout.pieces.len(),
                layout.width
            ))
            .into());
        }
        let place = layout.places.get(self.pushed).map_or(self.pushed, |&p| p as usize);
        let piece = layout.pieces[place];
        self.pushed += 1;
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            let first = i64::from(piece.start) - i64::from(piece.skip);
            return Err(Problem::new(format!("value is {}, which no track can show", values[at]))
                .at(format!("{}:{}", layout.contigs[piece.contig as usize].name, first + at as i64))
                .into());
        }
        let values = &values[piece.skip as usize..][..piece.length as usize];
        let pushed = match &mut self.sink {
            Sink::Stream(stream) => stream.push(piece.contig, piece.start, values),
            Sink::Spool(spool) => spool.write(place, values),
        };
        pushed.map_err(|error| atomic::unwritable(self.pending.path(), error))
    }

    /// Writes what is left and gives the file its name. Statistics only where `create` was told so.
    pub fn finish(self) -> Result<Option<TrackStats>> {
        let (pending, stats) = self.complete()?;
        pending.publish()?;
        Ok(stats)
    }

    /// Writes what is left; the file still lacks its name.
    pub fn complete(self) -> Result<(Pending, Option<TrackStats>)> {
        let path = self.pending.path().to_path_buf();
        self.try_complete().map_err(|error| atomic::unwritable(&path, error))
    }

    fn try_complete(self) -> Result<(Pending, Option<TrackStats>)> {
        let Self { layout, pending, sink, pushed } = self;
        if pushed != layout.pieces.len() {
            let wanted = layout.pieces.len();
            return Err(Problem::new(format!("{pushed} regions came, expected {wanted}")).into());
        }
        let mut spool = match sink {
            Sink::Spool(spool) => spool,
            Sink::Stream(stream) => {
                stream.finish()?;
                return Ok((pending, None));
            }
        };
        let stats = track_stats::of(|each| spool.read(&layout, |_, values| each(values)))?;
        let folder = atomic::folder_of(pending.path());
        let mut stream = BigWigStream::create(pending.file(), folder, &layout.contigs)?;
        spool.read(&layout, |piece, values| stream.push(piece.contig, piece.start, values))?;
        stream.finish()?;
        Ok((pending, Some(stats)))
    }
}

impl Spool {
    fn create(beside: &Path, layout: &TrackLayout) -> Result<Self> {
        let mut offsets = Vec::with_capacity(layout.pieces.len());
        let mut sum = 0;
        for piece in &layout.pieces {
            offsets.push(sum);
            sum += u64::from(piece.length);
        }
        Ok(Self { file: atomic::scratch(atomic::folder_of(beside))?, offsets, at: 0 })
    }

    fn write(&mut self, place: usize, values: &[f32]) -> Result<()> {
        if self.at != self.offsets[place] {
            self.at = self.offsets[place];
            self.file.seek(SeekFrom::Start(self.at * size_of::<f32>() as u64))?;
        }
        self.file.write_all(bytemuck::cast_slice(values))?;
        self.at += values.len() as u64;
        Ok(())
    }

    /// Every piece with its values, in coordinate order.
    fn read(
        &mut self,
        layout: &TrackLayout,
        mut each: impl FnMut(Piece, &[f32]) -> Result<()>,
    ) -> Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        self.at = u64::MAX;
        let mut file = BufReader::with_capacity(1 << 20, self.file.clone());
        let mut values = vec![0.0f32; layout.width];
        for piece in &layout.pieces {
            let values = &mut values[..piece.length as usize];
            file.read_exact(bytemuck::cast_slice_mut(values))?;
            each(*piece, values)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const WIDTH: usize = 20;

    fn contigs() -> Vec<(String, u64)> {
        [("b", 90), ("empty", 5), ("a", 60)].map(|(n, l)| (n.to_string(), l)).to_vec()
    }

    fn write(path: &Path, regions: &[Span], values: &[Vec<f32>], stats: bool) -> Result<()> {
        let layout = Arc::new(TrackLayout::new(contigs().into_iter().collect(), regions, WIDTH)?);
        let mut track = RegionTrack::create(path, &layout, stats)?;
        values.iter().try_for_each(|v| track.push(v))?;
        assert_eq!(track.finish()?.is_some(), stats || !layout.places.is_empty());
        Ok(())
    }

    /// (contig, base) -> value
    fn read(path: &Path) -> BTreeMap<(u32, u32), f32> {
        let mut file = bigtools::BigWigRead::open_file(path).unwrap();
        let mut found = BTreeMap::new();
        for (contig, (name, length)) in contigs().iter().enumerate() {
            let Ok(values) = file.values(name, 0, *length as u32) else { continue };
            let values = values.into_iter().enumerate().filter(|(_, v)| !v.is_nan());
            found.extend(values.map(|(at, value)| ((contig as u32, at as u32), value)));
        }
        found
    }

    /// Every base takes the value of the region with the nearest midpoint, of two equally near ones
    /// the one further right. A midpoint lies between two bases.
    fn naive(regions: &[Span], values: &[Vec<f32>]) -> BTreeMap<(u32, u32), f32> {
        let mut best: BTreeMap<(u32, u32), (i64, i64, f32)> = BTreeMap::new();
        for (region, values) in regions.iter().zip(values) {
            for (offset, &value) in values.iter().enumerate() {
                let distance = (2 * offset as i64 + 1 - WIDTH as i64).abs();
                let rank = (distance, -i64::from(region.start), value);
                let base = best.entry((region.contig, region.start + offset as u32));
                let kept = base.or_insert(rank);
                if (rank.0, rank.1) < (kept.0, kept.1) {
                    *kept = rank;
                }
            }
        }
        best.into_iter().map(|(base, (_, _, value))| (base, value)).collect()
    }

    /// Regions at the same place have the same values, as predictions have.
    fn values_of(regions: &[Span]) -> Vec<Vec<f32>> {
        let value = |r: &Span, i: usize| (r.contig * 10_000 + r.start * 100) as f32 + i as f32;
        regions.iter().map(|r| (0..WIDTH).map(|i| value(r, i)).collect()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn a_base_takes_the_value_of_the_nearest_midpoint(
            regions in prop::collection::vec((0..2u32, 0..=40u32), 1..25),
            stats: bool,
            sort: bool,
        ) {
            let mut regions: Vec<Span> = regions
                .iter()
                .map(|&(contig, start)| Span { contig: 2 * contig, start })
                .collect();
            if sort {
                regions.sort_by_key(|r| (r.contig, r.start));
            }
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("x.bw");
            let values = values_of(&regions);
            write(&path, &regions, &values, stats).unwrap();
            prop_assert_eq!(read(&path), naive(&regions, &values));
            prop_assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_disk_that_fails_anywhere_is_an_error() {
        let regions = [Span { contig: 2, start: 5 }, Span { contig: 0, start: 7 }];
        for stats in [false, true] {
            let steps = crate::files::atomic::faults::every_step("x.bw", |path| {
                write(path, &regions, &values_of(&regions), stats)
            });
            assert!(steps > 6, "{steps}");
        }
    }

    #[test]
    fn one_place_many_times() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.bw");
        let regions = [Span { contig: 0, start: 7 }; 5];
        write(&path, &regions, &values_of(&regions), false).unwrap();
        assert_eq!(read(&path).len(), WIDTH);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.bw");
        let at = |contig, start| Span { contig, start };
        let good = vec![1.0; WIDTH];
        let mut infinite = good.clone();
        infinite[3] = f32::INFINITY;
        for (regions, values, wanted) in [
            (vec![], vec![], "at least one region"),
            (vec![at(0, 71)], vec![], "b:71-91"),
            (vec![at(3, 0)], vec![], "region leaves its contig"),
            (vec![at(2, 0)], vec![vec![1.0; 3]], "3 values for region 1 of 1"),
            (vec![at(2, 0)], vec![good.clone(), good.clone()], "region 2 of 1"),
            (vec![at(2, 0), at(2, 1)], vec![good.clone()], "1 regions came, expected 2"),
            (vec![at(2, 1), at(2, 0)], vec![good.clone()], "1 regions came, expected 2"),
            (vec![at(2, 9)], vec![infinite], "a:12"),
        ] {
            let message = write(&path, &regions, &values, false).unwrap_err().to_string();
            assert!(message.contains(wanted), "{message}");
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{wanted}");
        }
        let nowhere = folder.path().join("no/such/x.bw");
        let message = write(&nowhere, &[at(0, 0)], &[good], true).unwrap_err().to_string();
        assert!(message.contains("cannot write") && message.contains("no/such/x.bw"), "{message}");
    }
}
