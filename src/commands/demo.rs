//! `demo`: simulates an experiment, trains on it with the commands a user would type, and compares
//! what was learned with the truth.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;

use crate::cli::args::{ConsoleArgs, DeviceArgs};
use crate::console::{self, Console, duration};
use crate::demo::check::{self, Trained};
use crate::demo::experiment::Experiment;
use crate::demo::{files, genome, table};
use crate::error::Problem;
use crate::run::claim::Claim;
use crate::threads;

/// Simulate a small genome with a known truth, train on it, compare.
///
/// Writes the inputs (genome.fa, signal.bw, peaks.narrowPeak, nonpeaks.bed, folds.json), the truth
/// behind them (truth/), and runs `bias train`, `train` and `predict` on them, showing each command
/// line. Prints a table to stdout. Exit code 1 when the models did not learn.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub struct DemoArgs {
    /// Seed of the simulation and of the training
    #[arg(short = 's', long, default_value_t = 1234, help_heading = "Training")]
    pub seed: u64,

    /// Output folder
    #[arg(short = 'o', long)]
    pub output_dir: PathBuf,

    /// Replace what an earlier demo left in the output folder
    #[arg(long)]
    pub force: bool,

    #[command(flatten)]
    pub device: DeviceArgs,
    #[command(flatten)]
    pub console: ConsoleArgs,
}

/// Settings that differ from the official defaults, so that two cores need minutes and not days:
/// smaller models and windows, smaller batches (more steps from fewer regions), more nonpeaks.
const WINDOWS: &str = "-il 1114 -ol 500";
const BIAS_SETTINGS: &str = "-b 0.5 -fil 16 -dil 4 -bs 32 -e 8 -l 0.004";
/// 64 filters: with 32 the counts head sat on a plateau for up to 20 epochs with some seeds.
const MAIN_SETTINGS: &str = "-fil 64 -dil 7 -j 100 -bs 16 -e 18 -l 0.002 -sr 0.5";

pub fn run(args: DemoArgs) -> Result<()> {
    let console = args.console.console();
    let start = Instant::now();
    let folder = &args.output_dir;
    check_folder(folder, args.force)?;
    let _claimed = Claim::new("demo").folder("-o", folder).take(&console)?;

    threads::pool(args.device.threads)?;
    let experiment = Experiment::simulate(args.seed, genome::CONTIG_BP);
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
    let steps = Steps { console, args: &args };
    let data = vec![
        ("-g", at("genome.fa")),
        ("-c", at("chrom.sizes")),
        ("--bigwig", at("signal.bw")),
        ("-d", "ATAC".into()),
        ("-p", at("peaks.narrowPeak")),
        ("-n", at("nonpeaks.bed")),
        ("-fl", at("folds.json")),
        ("-s", args.seed.to_string().into()),
    ];
    let bias = folder.join("bias/models/bias.h5");
    let own = [("-o", at("bias"))];
    steps.train("bias train", &data, &own, BIAS_SETTINGS)?;
    let own = [("-b", bias.clone().into_os_string()), ("-o", at("chrombpnet"))];
    steps.train("train", &data, &own, MAIN_SETTINGS)?;

    // predict takes no assay, sizes or seed
    let inputs = data.iter().filter(|(flag, _)| !["-c", "-d", "-s"].contains(flag)).cloned();
    let own = [("-m", at("chrombpnet/models/chrombpnet.h5")), ("-o", at("test"))];
    steps.run("predict", own.into_iter().chain(inputs), "")?;

    let rows = check::compare(
        &experiment,
        &Trained {
            bias: &bias,
            nobias: &folder.join("chrombpnet/models/chrombpnet_nobias.h5"),
            metrics: &folder.join("test_metrics.json"),
        },
    )?;
    console::print(&table::render(&rows))?;
    let failed: Vec<&str> = rows.iter().filter(|r| !r.is_met()).map(|r| r.what.as_str()).collect();
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

/// Runs command lines as a user would.
struct Steps<'a> {
    console: Console,
    args: &'a DemoArgs,
}

impl Steps<'_> {
    fn train(
        &self,
        command: &str,
        data: &[(&'static str, OsString)],
        own: &[(&'static str, OsString)],
        settings: &str,
    ) -> Result<()> {
        let force = if self.args.force { " --force" } else { "" };
        let pairs = data.iter().chain(own).cloned();
        self.run(command, pairs, &format!("{WINDOWS} {settings}{force}"))
    }

    /// Shows the command line, runs this binary with it, and insists on success.
    fn run(
        &self,
        command: &str,
        pairs: impl Iterator<Item = (&'static str, OsString)>,
        more: &str,
    ) -> Result<()> {
        let mut arguments: Vec<OsString> = command.split(' ').map(OsString::from).collect();
        for (flag, value) in pairs {
            arguments.extend([flag.into(), value]);
        }
        arguments.extend(more.split_whitespace().map(OsString::from));
        arguments.extend(self.args.device.flags().into_iter().map(OsString::from));
        let shown: Vec<String> = arguments.iter().map(|a| quoted(&a.to_string_lossy())).collect();
        self.console.info(format!("$ cbp-fast {}", shown.join(" ")));
        let ConsoleArgs { quiet, log_json, .. } = self.args.console;
        let talk = [(quiet, "--quiet"), (log_json, "--log-json")];
        arguments.extend(talk.iter().filter(|(on, _)| *on).map(|(_, flag)| flag.into()));
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
