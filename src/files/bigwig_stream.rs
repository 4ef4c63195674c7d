//! A bigWig that takes its values as they come, in coordinate order.
//!
//! The writing library pulls values from an iterator; here they are pushed. A thread stands between
//! the two, and a short queue, so that whoever pushes waits for the disk rather than for memory.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow};
use bigtools::beddata::BedParserStreamingIterator;
use bigtools::{BigWigWrite, Value};

use super::bigwig::length_in_bigwig;

/// Slices of values that may wait.
const QUEUE: usize = 64;

struct Slice {
    contig: u32,
    start: u32,
    /// One a base.
    values: Vec<f32>,
}

/// Writes one bigWig. Contigs that get no value are not in it.
pub struct BigWigStream {
    /// `None` once the thread has been waited for.
    queue: Option<SyncSender<Slice>>,
    writer: Option<JoinHandle<Result<()>>>,
}

impl BigWigStream {
    /// Writes to `path` itself: the caller has made it a temporary name.
    ///
    /// Errors: a contig of 2^32 bp or more, a file that cannot be made.
    pub fn create(path: &Path, contigs: &[(String, u64)]) -> Result<Self> {
        let mut sizes = HashMap::new();
        let mut names = Vec::with_capacity(contigs.len());
        for (name, length) in contigs {
            let place = || format!("contig {name}");
            sizes.insert(name.clone(), length_in_bigwig(*length, place)?);
            names.push(name.clone());
        }
        let file = File::create(path)?;
        let (queue, slices) = sync_channel(QUEUE);
        let writer = std::thread::Builder::new()
            .name("bigwig".into())
            .spawn(move || write(file, sizes, &names, slices))
            .context("cannot start the thread that writes the bigWig")?;
        Ok(Self { queue: Some(queue), writer: Some(writer) })
    }

    /// The values of `[start, start + values.len())`, which lie after all bases pushed before.
    pub fn push(&mut self, contig: u32, start: u32, values: &[f32]) -> Result<()> {
        if values.is_empty() {
            return Ok(());
        }
        let slice = Slice { contig, start, values: values.to_vec() };
        let sent = self.queue.as_ref().is_some_and(|queue| queue.send(slice).is_ok());
        if sent {
            return Ok(());
        }
        // The thread hangs up early only when it cannot write.
        self.wait()?;
        Err(anyhow!("the thread that writes the bigWig ended early"))
    }

    /// Writes indices and overviews, and waits for them.
    pub fn finish(mut self) -> Result<()> {
        self.wait()
    }

    fn wait(&mut self) -> Result<()> {
        self.queue = None;
        match self.writer.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(anyhow!("the thread that writes the bigWig stopped")),
        }
    }
}

fn write(
    file: File,
    sizes: HashMap<String, u32>,
    names: &[String],
    slices: Receiver<Slice>,
) -> Result<()> {
    // bigtools wants a runtime of its own to compress on; two threads keep up with any disk.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .context("cannot start the threads that compress the bigWig")?;
    let values = slices.into_iter().flat_map(|Slice { contig, start, values }| {
        let name = names[contig as usize].as_str();
        (start..)
            .zip(values)
            .map(move |(at, value)| (name, Value { start: at, end: at + 1, value }))
    });
    let values = BedParserStreamingIterator::wrap_infallible_iter(values, true);
    BigWigWrite::new(file, sizes).write(values, runtime)?;
    Ok(())
}
