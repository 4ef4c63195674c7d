//! The demo as a whole: an experiment, the command lines a user would type on it, the comparison.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use super::check::{self, Trained};
use super::experiment::Experiment;
use super::{files, genome, table};
use crate::console::{self, Console, duration};
use crate::error::Problem;
use crate::run::claim::Claim;
use crate::threads;

/// Settings that differ from the official defaults, so that two cores need minutes and not days:
/// smaller models and windows, smaller batches (more steps from fewer regions), more nonpeaks.
const WINDOWS: &str = "-il 1114 -ol 500";
const BIAS_SETTINGS: &str = "-b 0.5 -fil 16 -dil 4 -bs 32 -e 8 -l 0.004";
/// 64 filters: with 32 the counts head sat on a plateau for up to 20 epochs with some seeds.
const MAIN_SETTINGS: &str = "-fil 64 -dil 7 -j 100 -bs 16 -e 18 -l 0.002 -sr 0.5";

/// A demo.
#[derive(Clone, Debug)]
pub struct Job {
    /// Seed of the simulation and of the training.
    pub seed: u64,
    pub output_dir: PathBuf,
    /// Replace what an earlier demo left.
    pub force: bool,
    /// Threads of the simulation; 0 takes every core.
    pub threads: usize,
    /// Flags that every command line ends in.
    pub flags: Vec<String>,
    /// Flags that every command gets beside those that are shown: how much it says.
    pub talk: Vec<&'static str>,
}

impl Job {
    /// Simulates, trains, compares; prints the table to stdout.
    ///
    /// Errors: a folder in use, a command that fails, models that did not learn.
    pub fn run(&self, console: &Console) -> Result<()> {
        let start = Instant::now();
        let folder = &self.output_dir;
        check_folder(folder, self.force)?;
        let _claimed = Claim::new("demo").folder("-o", folder).take(console)?;

        threads::pool(self.threads)?;
        let experiment = Experiment::simulate(self.seed, genome::CONTIG_BP);
        files::write(&experiment, folder)?;
        console.info(format!(
            "simulated {} contigs, {} bp, {} cuts; {} peaks, {} nonpeaks; the truth is in {}",
            experiment.contigs.len(),
            experiment.contigs.iter().map(|c| c.codes.len()).sum::<usize>(),
            experiment.cuts.iter().flatten().copied().map(f64::from).sum::<f64>(),
            experiment.peaks.len(),
            experiment.nonpeaks.len(),
            folder.join("truth").display()
        ));

        let at = |name: &str| folder.join(name).into_os_string();
        let data = vec![
            ("-g", at("genome.fa")),
            ("-c", at("chrom.sizes")),
            ("--bigwig", at("signal.bw")),
            ("-d", "ATAC".into()),
            ("-p", at("peaks.narrowPeak")),
            ("-n", at("nonpeaks.bed")),
            ("-fl", at("folds.json")),
            ("-s", self.seed.to_string().into()),
        ];
        let bias = folder.join("bias/models/bias.h5");
        let own = [("-o", at("bias"))];
        self.train(console, "bias train", &data, &own, BIAS_SETTINGS)?;
        let own = [("-b", bias.clone().into_os_string()), ("-o", at("chrombpnet"))];
        self.train(console, "train", &data, &own, MAIN_SETTINGS)?;

        // predict takes no assay, sizes or seed
        let inputs = data.iter().filter(|(flag, _)| !["-c", "-d", "-s"].contains(flag)).cloned();
        let own = [("-m", at("chrombpnet/models/chrombpnet.h5")), ("-o", at("test"))];
        self.command(console, "predict", own.into_iter().chain(inputs), "")?;

        let rows = check::compare(
            &experiment,
            &Trained {
                bias: &bias,
                nobias: &folder.join("chrombpnet/models/chrombpnet_nobias.h5"),
                metrics: &folder.join("test_metrics.json"),
            },
        )?;
        console::print(&table::render(&rows))?;
        let failed: Vec<&str> =
            rows.iter().filter(|r| !r.is_met()).map(|r| r.what.as_str()).collect();
        if !failed.is_empty() {
            return Err(Problem::new(format!(
                "the models did not learn what they should: {} of {} criteria failed:\n    {}",
                failed.len(),
                rows.len(),
                failed.join("\n    ")
            ))
            .at(folder.display())
            .into());
        }
        console.info(format!("demo done in {}", duration(start.elapsed().as_secs_f64())));
        Ok(())
    }

    fn train(
        &self,
        console: &Console,
        command: &str,
        data: &[(&'static str, OsString)],
        own: &[(&'static str, OsString)],
        settings: &str,
    ) -> Result<()> {
        let force = if self.force { " --force" } else { "" };
        let pairs = data.iter().chain(own).cloned();
        self.command(console, command, pairs, &format!("{WINDOWS} {settings}{force}"))
    }

    /// Shows the command line, runs this binary with it, and insists on success.
    fn command(
        &self,
        console: &Console,
        command: &str,
        pairs: impl Iterator<Item = (&'static str, OsString)>,
        more: &str,
    ) -> Result<()> {
        let mut arguments: Vec<OsString> = command.split(' ').map(OsString::from).collect();
        for (flag, value) in pairs {
            arguments.extend([flag.into(), value]);
        }
        arguments.extend(more.split_whitespace().map(OsString::from));
        arguments.extend(self.flags.iter().map(OsString::from));
        let shown: Vec<String> = arguments.iter().map(|a| quoted(&a.to_string_lossy())).collect();
        console.info(format!("$ cbp-fast {}", shown.join(" ")));
        arguments.extend(self.talk.iter().map(OsString::from));
        let binary = std::env::current_exe().context("cannot find this binary")?;
        let status = Command::new(binary)
            .args(&arguments)
            .status()
            .context("cannot start this binary again")?;
        if !status.success() {
            return Err(Problem::new(format!("`cbp-fast {command}` failed ({status})"))
                .fix("see its message above")
                .into());
        }
        Ok(())
    }
}

/// An empty folder, a new one, or one that an earlier demo filled and `--force` gives away.
fn check_folder(folder: &Path, force: bool) -> Result<()> {
    let is_used = match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => {
            return Err(Problem::new(format!("cannot write into the output folder: {error}"))
                .at(folder.display())
                .fix("choose another -o")
                .into());
        }
    };
    if is_used && !force {
        return Err(Problem::new("the output folder is not empty")
            .at(folder.display())
            .fix("choose another -o, or pass --force to replace what an earlier demo left")
            .into());
    }
    Ok(())
}

/// An argument as a shell takes it.
fn quoted(argument: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./,=+:".contains(c);
    match !argument.is_empty() && argument.chars().all(is_plain) {
        true => argument.to_string(),
        false => format!("'{}'", argument.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn command_lines_can_be_pasted() {
        assert_eq!(quoted("demo-out/genome.fa"), "demo-out/genome.fa");
        assert_eq!(quoted("my demo"), "'my demo'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
