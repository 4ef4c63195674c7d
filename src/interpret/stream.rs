//! From sequences to finished rows on disk, while the device works on the next ones.
//!
//! The calling thread explains groups of rows; another compresses them and appends them to the
//! spool. Memory: a few groups, whatever the number of rows. Groups begin at multiples of their size
//! from row 0 on, so that a run that goes on makes the same calls as one that never stopped.

use std::sync::mpsc::{Receiver, sync_channel};

use anyhow::Result;
use rayon::prelude::*;

use super::{Scores, SumCheck};
use crate::console::Progress;
use crate::engine::Heads;
use crate::error::Problem;
use crate::files::contributions_h5;
use crate::files::row_spool::RowSpool;
use crate::threads;

/// Groups that wait for the disk.
const WAITING: usize = 2;

/// The rows of a run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Rows in all.
    pub n: usize,
    /// bp of a sequence.
    pub length: usize,
    pub heads: Heads,
    /// Rows explained at once.
    pub group: usize,
}

impl Plan {
    /// Parts of a spool's record: base codes, scores of each head (f32 `[length, 4]`, little-endian), and
    /// the note of the sum check.
    pub fn parts(&self) -> usize {
        2 + (usize::from(self.heads.counts) + usize::from(self.heads.profile))
    }
}

/// How a stream of explained rows ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Explained {
    Finished,
    /// Asked to stop after so many rows, all of them on disk.
    Stopped {
        rows: usize,
    },
}

/// Scores of consecutive sequences ([n, length] codes) from a row on; `None` when asked to stop.
pub type ExplainRows<'a> = dyn FnMut(usize, &[u8]) -> Result<Option<Scores>> + 'a;

/// Explains the rows that the spool does not hold yet.
///
/// `codes` writes the sequence of a row; `stop` is asked before every group.
pub fn run(
    plan: &Plan,
    codes: &dyn Fn(usize, &mut [u8]),
    explain: &mut ExplainRows,
    spool: &mut RowSpool,
    stop: &dyn Fn() -> bool,
    progress: &mut Progress,
) -> Result<Explained> {
    spool.truncate(spool.len() / plan.group * plan.group)?;
    let first = spool.len();
    let stopped = std::thread::scope(|scope| -> Result<bool> {
        let (send, receive) = sync_channel::<Group>(WAITING);
        let writer = threads::scoped(scope, "spool", || write(receive, plan.length, spool))?;
        let mut stopped = false;
        let mut explained = Ok(());
        for first in (first..plan.n).step_by(plan.group) {
            stopped = stop();
            if stopped {
                break;
            }
            let rows = plan.group.min(plan.n - first);
            let mut group = Group { first, codes: vec![0; rows * plan.length], scores: None };
            for (codes_of, row) in group.codes.chunks_exact_mut(plan.length).zip(first..) {
                codes(row, codes_of);
            }
            match explain(first, &group.codes) {
                Ok(scores @ Some(_)) => group.scores = scores,
                Ok(None) => {
                    stopped = true;
                    break;
                }
                Err(error) => {
                    explained = Err(error);
                    break;
                }
            }
            // A send fails when the writer has, which has its own error to tell.
            if send.send(group).is_err() {
                break;
            }
            progress.advance(rows as u64, "");
        }
        drop(send);
        // A panic of the writer is a bug there, not to be hidden here.
        writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        explained.map(|()| stopped)
    })?;
    spool.sync()?;
    match stopped {
        true => Ok(Explained::Stopped { rows: spool.len() }),
        false => Ok(Explained::Finished),
    }
}

/// Explained rows on their way to the spool.
struct Group {
    first: usize,
    /// [rows, length]
    codes: Vec<u8>,
    scores: Option<Scores>,
}

fn write(groups: Receiver<Group>, length: usize, spool: &mut RowSpool) -> Result<()> {
    for group in groups {
        let Some(scores) = &group.scores else { continue };
        let packed: Vec<Result<Vec<Vec<u8>>, Problem>> = group
            .codes
            .par_chunks_exact(length)
            .enumerate()
            .map(|(row, codes)| {
                let mut parts = vec![codes.to_vec()];
                for (head, scores) in scores.heads() {
                    let scores = &scores[row * length * 4..][..length * 4];
                    contributions_h5::check(scores).map_err(|problem| {
                        problem.within(format!("{head} scores of row {}", group.first + row + 1))
                    })?;
                    parts.push(scores.iter().flat_map(|score| score.to_le_bytes()).collect());
                }
                parts.push(SumCheck::note(scores.sum_errors.get(row).copied().flatten()));
                Ok(parts)
            })
            .collect();
        for parts in packed {
            let parts = parts?;
            spool.append(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        }
    }
    Ok(())
}
