//! The argv shim: official command lines use two-letter flags with one dash (`-fl`, `-bs`), which
//! the parser would read as clusters of one-letter flags. They become long flags here.

use std::ffi::OsString;

/// Official short flag and the long flag it stands for, for every command that has it.
const SHORT_FLAGS: [(&str, &str); 28] = [
    ("-ibam", "--input-bam-file"),
    ("-ifrag", "--input-fragment-file"),
    ("-itag", "--input-tagalign-file"),
    ("-bw", "--bigwig"),
    ("-fl", "--chr-fold-path"),
    ("-oth", "--outlier-threshold"),
    ("-il", "--inputlen"),
    ("-ol", "--outputlen"),
    ("-es", "--early-stop"),
    ("-track", "--trackables"),
    ("-fp", "--file-prefix"),
    ("-hp", "--html-prefix"),
    ("-fil", "--filters"),
    ("-dil", "--n-dilation-layers"),
    ("-bs", "--batch-size"),
    ("-sr", "--negative-sampling-ratio"),
    ("-bm", "--bias-model"),
    ("-cm", "--chrombpnet-model"),
    ("-cmb", "--chrombpnet-model-nb"),
    ("-op", "--output-prefix"),
    ("-os", "--output-prefix-stats"),
    ("-st", "--stride"),
    ("-npr", "--neg-to-pos-ratio-train"),
    ("-br", "--blacklist-regions"),
    ("-tcr", "--test-chroms"),
    ("-vcr", "--valid-chroms"),
    ("-pc", "--profile-or-counts"),
    ("-pwm_f", "--motifs-to-pwm"),
];

/// Short flags of variant-scorer, some of which mean something else in another command.
const OF_VARIANTS: [(&str, &str); 11] = [
    ("-snps", "--snp-data"),
    ("-pg", "--peak-genome"),
    ("-ps", "--peak-chrom-sizes"),
    ("-li", "--lite"),
    ("-dm", "--debug-mode"),
    ("-sc", "--schema"),
    ("-mp", "--max-peaks"),
    ("-nc", "--num-chunks"),
    ("-fo", "--forward-only"),
    ("-st", "--shap-type"),
    ("-sh", "--shuffled-scores"),
];

/// What a command means by its own short flags, looked up before those that all share.
fn own_flags(command: &str) -> &'static [(&'static str, &'static str)] {
    match command {
        "variants" | "snp_score" => &OF_VARIANTS,
        _ => &[],
    }
}

/// Replaces official two-letter flags, with or without `=value`; everything after `--` stays.
pub fn expand_short_flags(argv: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut positional_only = false;
    let mut own: &[(&str, &str)] = &[];
    argv.into_iter()
        .enumerate()
        .map(|(position, argument)| {
            positional_only |= argument == "--";
            match argument.to_str() {
                Some(command) if position == 1 => {
                    own = own_flags(command);
                    argument
                }
                Some(text) if !positional_only => {
                    expand(text, own).map_or(argument, OsString::from)
                }
                _ => argument,
            }
        })
        .collect()
}

fn expand(argument: &str, own: &[(&str, &str)]) -> Option<String> {
    let (flag, value) = match argument.split_once('=') {
        Some((flag, value)) => (flag, Some(value)),
        None => (argument, None),
    };
    let (_, long) = own.iter().chain(&SHORT_FLAGS).find(|(short, _)| *short == flag)?;
    Some(match value {
        Some(value) => format!("{long}={value}"),
        None => (*long).to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(argv: &[&str]) -> Vec<String> {
        expand_short_flags(argv.iter().map(OsString::from))
            .into_iter()
            .map(|a| a.into_string().unwrap())
            .collect()
    }

    #[test]
    fn official_flags_become_long_flags() {
        assert_eq!(
            expanded(&["cbp-fast", "train", "-fl", "f.json", "-bs=64", "-g", "-dil", "8"]),
            [
                "cbp-fast",
                "train",
                "--chr-fold-path",
                "f.json",
                "--batch-size=64",
                "-g",
                "--n-dilation-layers",
                "8"
            ]
        );
    }

    #[test]
    fn a_command_may_mean_something_of_its_own() {
        for (command, wanted) in [("snp_score", "--shap-type"), ("prep", "--stride")] {
            assert_eq!(
                expanded(&["cbp-fast", command, "-st", "-bs"])[2..],
                [wanted, "--batch-size"]
            );
        }
    }

    #[test]
    fn other_arguments_stay() {
        let argv = ["x", "-p", "-flx", "--fl", "-", "-b", "0.5", "--", "-fl"];
        assert_eq!(expanded(&argv), argv);
    }
}
