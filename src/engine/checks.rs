//! What every engine refuses, and how it says that a number is not finite.

use anyhow::Result;

use crate::batch::Example;
use crate::error::Problem;
use crate::model::{Architecture, Branches, Network, ParameterSet};
use crate::store::Tracks;

/// Errors when a network's tensors do not fit its shape, hold NaN, or when the two branches have
/// different lengths.
pub fn checked(branches: Branches) -> Result<Branches> {
    check_network("main", &branches.main)?;
    if let Some(bias) = &branches.bias {
        check_network("bias", bias)?;
        let (main, bias) = (&branches.main.arch, &bias.arch);
        if (main.inputlen, main.outputlen) != (bias.inputlen, bias.outputlen) {
            return Err(Problem::new(format!(
                "the bias model reads {} bp and predicts {}, the main branch reads {} and predicts {}",
                bias.inputlen, bias.outputlen, main.inputlen, main.outputlen
            ))
            .fix("use a bias model of the same --inputlen and --outputlen")
            .into());
        }
    }
    Ok(branches)
}

fn check_network(which: &str, network: &Network) -> Result<()> {
    network.arch.check()?;
    if !network.parameters.matches(&network.arch) {
        return Err(Problem::new(format!(
            "the tensors of the {which} model do not have the names and shapes of {} filters and {} dilated layers",
            network.arch.filters, network.arch.n_dilation_layers
        ))
        .into());
    }
    if let Some(name) = network.parameters.first_non_finite() {
        return Err(Problem::new(format!(
            "tensor {name} of the {which} model holds NaN or infinity"
        ))
        .fix("use a model whose training did not diverge")
        .into());
    }
    Ok(())
}

/// Errors when tensors given from outside are not those of the trained branch.
pub fn check_set(what: &str, set: &ParameterSet, arch: &Architecture) -> Result<()> {
    if set.matches(arch) {
        return Ok(());
    }
    Err(Problem::new(format!(
        "{what} do not fit a model of {} filters and {} dilated layers",
        arch.filters, arch.n_dilation_layers
    ))
    .into())
}

/// Errors when an engine was opened for sequences alone.
pub fn genome(tracks: &Option<Tracks>) -> Result<&Tracks, Problem> {
    tracks.as_ref().ok_or_else(|| {
        Problem::new("windows were given to an engine that was opened for sequences")
            .fix("open it with the genome")
    })
}

/// Errors on an empty batch, on contigs that the genome lacks, and on losses without a signal.
pub fn check_plan(tracks: &Tracks, plan: &[Example], with_signal: bool) -> Result<()> {
    if plan.is_empty() {
        return Err(Problem::new("a batch without examples").into());
    }
    if with_signal && tracks.signal.is_none() {
        return Err(Problem::new("losses need a signal, and none was given")
            .fix("pass --bigwig or a signal pack")
            .into());
    }
    let contigs = tracks.genome.contigs().len();
    if let Some(example) = plan.iter().find(|e| e.contig as usize >= contigs) {
        return Err(Problem::new(format!(
            "an example names contig {} of a genome with {contigs}",
            example.contig
        ))
        .into());
    }
    Ok(())
}

/// Number of sequences in `[n, inputlen]` codes. Errors on a partial sequence and on codes above 4.
pub fn check_codes(what: &str, codes: &[u8], inputlen: usize) -> Result<usize> {
    if !codes.len().is_multiple_of(inputlen) {
        return Err(Problem::new(format!(
            "{what} of {} bases in all are not a whole number of the model's {inputlen} bp",
            codes.len()
        ))
        .into());
    }
    if let Some(at) = codes.iter().position(|&code| code > 4) {
        return Err(Problem::new(format!("{} is no base code (0..=4 = ACGTN)", codes[at]))
            .at(format!("{what}, number {}, base {}", at / inputlen + 1, at % inputlen + 1))
            .into());
    }
    Ok(codes.len() / inputlen)
}

/// Errors when the engine holds a full model: the score of a sum of branches has no one meaning.
pub fn check_explained(bias: bool) -> Result<()> {
    if bias {
        return Err(Problem::new(
            "contribution scores are of one branch, and this model adds a bias branch to it",
        )
        .fix("explain chrombpnet_nobias.h5, or the bias model by itself")
        .into());
    }
    Ok(())
}

/// `chr1:100-2214`, the window of an example.
pub fn place(tracks: &Tracks, example: &Example, inputlen: usize) -> String {
    let contig = &tracks.genome.contigs()[example.contig as usize].name;
    format!("{contig}:{}-{}", example.start, u64::from(example.start) + inputlen as u64)
}

/// The losses of one example of a batch, when they are not finite.
pub struct BrokenLoss {
    pub profile: f64,
    pub counts: f64,
    pub logcounts: f64,
    /// Counted from 0.
    pub example: usize,
    pub batch: usize,
}

impl BrokenLoss {
    pub fn problem(&self, place: String) -> Problem {
        Problem::new(format!(
            "the loss is not a finite number: profile {}, counts {} (example {} of a batch of {}, logcounts {})",
            self.profile,
            self.counts,
            self.example + 1,
            self.batch,
            self.logcounts
        ))
        .at(place)
        .fix("lower --learning-rate, look for extreme values in the signal there, and check the bias model")
    }
}
