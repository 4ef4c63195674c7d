//! A few variants at a time: their windows, each predicted once, and their scores.
//!
//! Both alleles and both strands of a batch go to the engine together. Windows that occur twice
//! (allele1 of the ALTs of one site, allele1 equal to allele2) are predicted once.

use std::collections::HashMap;

use anyhow::Result;
use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_128;

use super::alleles::{Cut, Placed};
use super::predict::{Predictor, StrandMeans};
use super::scores::{Allele, Scores};
use crate::input::variants::Variant;
use crate::sequence::dinuc_shuffle;
use crate::store::GenomePack;

/// A variant to score, in the genome or in a shuffle of it.
#[derive(Clone, Debug)]
pub struct ToScore {
    pub variant: Variant,
    pub placed: Placed,
    /// Index of the shuffle.
    pub shuffle: Option<u32>,
}

/// Where windows come from.
#[derive(Clone, Copy)]
pub struct Windows<'a> {
    pub genome: &'a GenomePack,
    pub cut: Cut,
    /// Seed of the shuffles.
    pub seed: u64,
}

impl Windows<'_> {
    /// Windows of both alleles, [2, inputlen].
    pub fn of(&self, job: &ToScore) -> Vec<u8> {
        let mut flank = self.cut.flank(&job.placed, self.genome);
        if let Some(index) = job.shuffle {
            let mut shuffled = vec![0; flank.len()];
            dinuc_shuffle::shuffle(&flank, self.seed, index, &mut shuffled);
            flank = shuffled;
        }
        let mut out = Vec::with_capacity(2 * self.cut.inputlen);
        for allele in 0..2 {
            self.cut.window(&job.placed, allele, &flank, &mut out);
        }
        out
    }
}

/// The windows of some jobs, each once.
pub struct Batch {
    /// Distinct windows [n, inputlen].
    pub codes: Vec<u8>,
    /// The two windows in `codes` of each job's alleles.
    pub alleles: Vec<[usize; 2]>,
}

impl Batch {
    pub fn of(jobs: &[ToScore], windows: &Windows) -> Self {
        let inputlen = windows.cut.inputlen;
        let pairs: Vec<Vec<u8>> = jobs.par_iter().map(|job| windows.of(job)).collect();
        let mut codes = Vec::with_capacity(pairs.len() * inputlen);
        let mut seen = HashMap::new();
        let alleles = pairs
            .iter()
            .map(|pair| {
                [0, 1].map(|allele| {
                    let window = &pair[allele * inputlen..][..inputlen];
                    *seen.entry(xxh3_128(window)).or_insert_with(|| {
                        codes.extend_from_slice(window);
                        codes.len() / inputlen - 1
                    })
                })
            })
            .collect();
        Self { codes, alleles }
    }
}

/// What models say about the jobs of a batch.
pub struct Predicted {
    alleles: Vec<[usize; 2]>,
    /// Predictions of the distinct windows, by model.
    models: Vec<StrandMeans>,
    outputlen: usize,
}

impl Predicted {
    pub fn new(jobs: &[ToScore], windows: &Windows, predictor: &mut Predictor) -> Result<Self> {
        let batch = Batch::of(jobs, windows);
        let models = predictor.predict(&batch.codes)?;
        Ok(Self { alleles: batch.alleles, models, outputlen: windows.cut.outputlen })
    }

    /// Counts and mean logits of one allele of a job.
    pub fn allele(&self, model: usize, job: usize, allele: usize) -> (f64, &[f32]) {
        let at = self.alleles[job][allele];
        let means = &self.models[model];
        (means.counts[at], &means.logits[at * self.outputlen..][..self.outputlen])
    }

    /// Scores of every job by one model.
    pub fn scores(
        &self,
        model: usize,
        jobs: &[ToScore],
        peak_counts: Option<&[f32]>,
    ) -> Vec<Scores> {
        (0..jobs.len())
            .into_par_iter()
            .map(|job| {
                let alleles = [0, 1].map(|allele| {
                    let (counts, logits) = self.allele(model, job, allele);
                    Allele { counts, logits, length: jobs[job].placed.alleles[allele].len() }
                });
                Scores::of(alleles, peak_counts)
            })
            .collect()
    }
}
