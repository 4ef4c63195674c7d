//! What help, README and documents say of the command line is held against the parser, and what they
//! name against the repository.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Command;

use super::*;

/// Groups of flags in help.
const HEADINGS: [&str; 13] = [
    "Inputs",
    "Reads",
    "Regions",
    "Model",
    "Training",
    "Scores",
    "Explanation",
    "Sampling",
    "Folds",
    "Measurement",
    "Device",
    "Output",
    "Messages",
];

/// Shows every command with what one types for it, such as `cbp-fast bias train`.
fn each_command(mut visit: impl FnMut(&str, &Command)) {
    fn walk(path: &str, command: &Command, visit: &mut impl FnMut(&str, &Command)) {
        visit(path, command);
        for sub in command.get_subcommands() {
            walk(&format!("{path} {}", sub.get_name()), sub, visit);
        }
    }
    let mut parser = parser().disable_help_subcommand(true);
    parser.build();
    walk(NAME, &parser, &mut visit);
}

/// Command lines of this program in text for people; a backslash joins the next line.
fn command_lines(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let lines = joined.lines().map(str::trim).filter(|l| l.starts_with("cbp-fast "));
    lines.map(String::from).collect()
}

/// Parses a line as a shell would pass it on, up to where its output goes.
fn assert_parses(line: &str, place: &str) {
    let words = shlex::split(line).unwrap_or_else(|| panic!("{place}: quotes in {line}"));
    let words = words.into_iter().take_while(|word| word != ">").map(OsString::from);
    if let Err(error) = parse(words) {
        panic!("{place}: {line}\n{error}");
    }
}

#[test]
fn every_flag_has_a_heading() {
    each_command(|path, command| {
        for argument in command.get_arguments() {
            let (id, heading) = (argument.get_id(), argument.get_help_heading());
            let heading = heading.unwrap_or_default();
            assert!(HEADINGS.contains(&heading), "{path} {id}: {heading:?}");
            // A flag without a heading takes that of a group flattened above it.
            let console = ["help", "version", "quiet", "log_json"].contains(&id.as_str());
            assert_eq!(heading == "Messages", console, "{path} {id}");
        }
    });
}

#[test]
fn every_command_has_examples_that_parse() {
    each_command(|path, command| {
        if let Some(text) = command.get_after_help() {
            let lines = command_lines(&text.to_string());
            assert!(lines.len() >= 3, "{path}: {} examples", lines.len());
            for line in lines {
                assert!(line.starts_with(path), "{path}: {line}");
                assert_parses(&line, path);
            }
        } else if !command.has_subcommands() {
            // Subcommands of `check`, `pack` and `bench` are shown by their parent.
            let family = path.split(' ').nth(1);
            assert!(matches!(family, Some("check" | "pack" | "bench")), "{path}");
        }
    });
}

/// README, the other pages at the top, and all of docs/: name and text.
fn documents() -> Vec<(String, String)> {
    fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => pages(&path, found),
                false if path.extension().is_some_and(|e| e == "md") => found.push(path),
                false => {}
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"].map(|n| root.join(n)).to_vec();
    pages(&root.join("docs"), &mut found);
    found
        .into_iter()
        .map(|path| (path.display().to_string(), fs::read_to_string(&path).unwrap()))
        .collect()
}

/// What stands between single backticks, outside code blocks.
fn code_spans(text: &str) -> Vec<String> {
    let prose: String = text.split("```").step_by(2).collect();
    prose.split('`').skip(1).step_by(2).map(|span| span.replace('\n', " ")).collect()
}

#[test]
fn every_command_in_the_documents_parses() {
    let mut lines = 0;
    for (page, text) in documents() {
        for block in text.split("```").skip(1).step_by(2) {
            for line in command_lines(block) {
                assert_parses(&line, &page);
                lines += 1;
            }
        }
    }
    assert!(lines > 30, "{lines}");
}

#[test]
fn every_command_is_in_the_documents() {
    let spans: BTreeSet<String> =
        documents().iter().flat_map(|(_, text)| code_spans(text)).collect();
    each_command(|path, command| {
        let name = path.strip_prefix("cbp-fast ").unwrap_or_default();
        assert!(command.has_subcommands() || spans.contains(name), "{path}");
    });
}

#[test]
fn every_flag_in_the_documents_exists() {
    let mut flags_seen = 0;
    let mut known = BTreeSet::new();
    each_command(|_, command| {
        for argument in command.get_arguments() {
            known.extend(argument.get_long().map(String::from));
            known.extend(argument.get_all_aliases().into_iter().flatten().map(String::from));
        }
    });
    for (page, text) in documents() {
        let spans = code_spans(&text);
        let flags = spans.iter().filter_map(|span| span.strip_prefix("--"));
        for flag in flags.map(|f| f.split([' ', '=']).next().unwrap()) {
            assert!(known.contains(flag), "{page}: --{flag}");
            flags_seen += 1;
        }
    }
    assert!(flags_seen > 50, "{flags_seen}");
}

#[test]
fn every_path_and_link_in_the_documents_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["src", "benches", "docs", "kernels", "scripts", "tests", "fuzz", ".ci"];
    let mut paths = 0;
    for (page, text) in documents() {
        for span in code_spans(&text) {
            let ours =
                folders.iter().any(|f| span.strip_prefix(f).is_some_and(|s| s.starts_with('/')));
            // Capitals stand for a name, as in benches/runs/DATE.
            if ours && !span.contains(['*', ' ']) && span == span.to_lowercase() {
                assert!(root.join(&span).exists(), "{page}: {span}");
                paths += 1;
            }
        }
        for target in text.split("](").skip(1).map(|link| link.split(')').next().unwrap()) {
            let file = target.split('#').next().unwrap();
            if !file.is_empty() && !file.starts_with("https://") {
                assert!(Path::new(&page).with_file_name(file).exists(), "{page}: {target}");
                paths += 1;
            }
        }
    }
    assert!(paths > 80, "{paths}");
}

#[test]
fn readme_is_short() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    assert!(
        fs::metadata(readme).unwrap().len() <= 7_000,
        "what is more than a start goes into docs/"
    );
}

/// Numbers and `...` stand for what the program fills in.
#[test]
fn every_error_text_of_the_troubleshooting_page_is_one_of_ours() {
    fn sources(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => sources(&path, text),
                false => text.push_str(&fs::read_to_string(&path).unwrap()),
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut ours = String::new();
    ["src", "build"].iter().for_each(|folder| sources(&root.join(folder), &mut ours));
    // Text that goes on in the next line of a literal.
    let lines = ours.lines().map(|line| line.trim_start().trim_end_matches('\\'));
    let ours = lines.collect::<String>();

    let page = fs::read_to_string(root.join("docs/troubleshooting.md")).unwrap();
    let bold = page.split("**").skip(1).step_by(2).filter_map(|text| text.strip_prefix('`'));
    let table = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let mut texts = 0;
    for text in bold.chain(table).map(|text| text.split('`').next().unwrap().replace('\n', " ")) {
        let pieces = text.split(|c: char| c.is_ascii_digit()).flat_map(|piece| piece.split("..."));
        for piece in pieces.map(|piece| piece.trim_matches([' ', ':', '?', '-', '.'])) {
            assert!(piece.len() < 8 || ours.contains(piece), "{text}: {piece:?}");
        }
        texts += 1;
    }
    assert!(texts > 20, "{texts}");
}
