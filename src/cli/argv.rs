//! The argv shim: official command lines use two-letter flags with one dash (`-fl`, `-bs`), which
//! the parser would read as clusters of one-letter flags. They become long flags here.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

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
            if position == 1 {
                own = argument.to_str().map_or(&[], own_flags);
                return argument;
            }
            match positional_only {
                true => argument,
                false => expand(&argument, own).unwrap_or(argument),
            }
        })
        .collect()
}

/// A value may be a path, which is any bytes.
fn expand(argument: &OsStr, own: &[(&str, &str)]) -> Option<OsString> {
    let bytes = argument.as_bytes();
    let end = bytes.iter().position(|&b| b == b'=').unwrap_or(bytes.len());
    let known = |(short, _): &&(&str, &str)| short.as_bytes() == &bytes[..end];
    let (_, long) = own.iter().chain(&SHORT_FLAGS).find(known)?;
    Some(OsString::from_vec([long.as_bytes(), &bytes[end..]].concat()))
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
    fn a_value_may_be_any_bytes() {
        let argv = [&b"cbp-fast"[..], b"predict", b"-op=x\xff", b"y\xff=", b"\xff"];
        let argv = argv.map(|bytes| OsString::from_vec(bytes.to_vec()));
        let found = expand_short_flags(argv.clone());
        assert_eq!(found[2], OsString::from_vec(b"--output-prefix=x\xff".to_vec()));
        assert_eq!([&found[..2], &found[3..]], [&argv[..2], &argv[3..]]);
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
