//! Motifs that tfmodisco-lite found: patterns from its results file, names from its report.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Result;
use ndarray::Array2;

use super::h5;
use crate::error::Problem;
use crate::files::h5_input;

/// Motifs shown of each sign.
const SHOWN: usize = 30;

/// One pattern.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    /// `pos_patterns.pattern_0`, as the report of tfmodisco-lite names it.
    pub name: String,
    pub seqlets: u64,
    /// Mean contributions, A, C, G, T for each position, trimmed.
    pub heights: Vec<[f64; 4]>,
}

/// What a results file holds.
#[derive(Debug)]
pub struct Motifs {
    /// Patterns in the file, those not shown among them.
    pub found: usize,
    pub patterns: Vec<Pattern>,
}

/// Reads `modisco_results_*.h5`; `None` where there is no such file.
pub fn read(path: &Path) -> Result<Option<Motifs>> {
    let Some(file) = h5::open(path)? else { return Ok(None) };
    let fail = |error: hdf5_metno::Error| h5::damaged(path, &error);
    let mut motifs = Motifs { found: 0, patterns: Vec::new() };
    for sign in ["pos_patterns", "neg_patterns"] {
        // A group that found nothing is not written.
        let group = h5_input::group(&file, sign).map_err(|p| p.within(path.display()))?;
        let Some(group) = group else { continue };
        let mut names = group.member_names().map_err(fail)?;
        names.sort_by_key(|name| pattern_number(name));
        motifs.found += names.len();
        for name in names.iter().take(SHOWN) {
            let at = format!("{sign}/{name}");
            let scores = h5::dataset(&file, path, &format!("{at}/contrib_scores"), 2)?;
            let scores: Array2<f64> = scores.read_2d().map_err(fail)?;
            if scores.ncols() != 4 {
                return Err(Problem::new(format!("{at}/contrib_scores has no 4 columns"))
                    .at(path.display())
                    .into());
            }
            let seqlets = h5::dataset(&file, path, &format!("{at}/seqlets/n_seqlets"), 1)?;
            let seqlets: Vec<u64> = seqlets.read_raw().map_err(fail)?;
            let heights = scores.outer_iter().map(|row| [row[0], row[1], row[2], row[3]]).collect();
            motifs.patterns.push(Pattern {
                name: format!("{sign}.{name}"),
                seqlets: seqlets.first().copied().unwrap_or(0),
                heights: trimmed(heights),
            });
        }
    }
    Ok(Some(motifs))
}

fn pattern_number(name: &str) -> u64 {
    name.rsplit('_').next().and_then(|n| n.parse().ok()).unwrap_or(u64::MAX)
}

/// A motif without its weak flanks: positions below 0.3 of the strongest go, 4 bp are kept beside the rest.
/// Source: the report of tfmodisco-lite.
fn trimmed(heights: Vec<[f64; 4]>) -> Vec<[f64; 4]> {
    let strength = |h: &[f64; 4]| h.iter().map(|v| v.abs()).sum::<f64>();
    let strongest = heights.iter().map(strength).fold(0.0, f64::max);
    let strong = |h: &[f64; 4]| strength(h) >= 0.3 * strongest;
    let (first, last) = (heights.iter().position(strong), heights.iter().rposition(strong));
    match (first, last) {
        (Some(first), Some(last)) => {
            heights[first.saturating_sub(4)..(last + 5).min(heights.len())].to_vec()
        }
        _ => heights,
    }
}

/// Best match in a motif database, and its p-value or, of older versions, q-value.
#[derive(Clone, Debug, PartialEq)]
pub struct Match {
    pub motif: String,
    pub value: String,
}

/// Best matches by pattern, from the table in `motifs.html`; empty where there is no such file or it
/// was made without a database.
pub fn matches(path: &Path) -> Result<BTreeMap<String, Match>> {
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let text = fs::read_to_string(path)
        .map_err(|error| Problem::new(format!("cannot read: {error}")).at(path.display()))?;
    let mut rows = text.split("<tr").skip(1).map(cells);
    let Some(header) = rows.next() else { return Ok(BTreeMap::new()) };
    let column = |name: &str| header.iter().position(|h| h == name);
    let value = column("pval0").or_else(|| column("qval0"));
    let (Some(pattern), Some(motif), Some(value)) = (column("pattern"), column("match0"), value)
    else {
        return Ok(BTreeMap::new());
    };
    let row = |cells: Vec<String>| {
        let at = |i: usize| cells.get(i).cloned();
        Some((at(pattern)?, Match { motif: at(motif)?, value: at(value)? }))
    };
    Ok(rows.filter_map(row).filter(|(_, m)| !m.motif.is_empty()).collect())
}

/// Texts of the cells of a table row as pandas writes it, without tags.
fn cells(row: &str) -> Vec<String> {
    let row = row.split("</tr").next().unwrap_or_default();
    let starts = row.match_indices("<t").filter(|(at, _)| {
        matches!(row.as_bytes().get(at + 2), Some(b'd' | b'h'))
            && matches!(row.as_bytes().get(at + 3), Some(b'>' | b' '))
    });
    starts
        .map(|(at, _)| {
            let inside = row[at..].split_once('>').map_or("", |(_, rest)| rest);
            let inside = inside.split("</t").next().unwrap_or_default();
            plain(inside)
        })
        .collect()
}

/// The text of a cell, without tags and with the entities that pandas writes.
fn plain(html: &str) -> String {
    let mut text = String::new();
    let mut in_tag = false;
    for c in html.chars() {
        match c {
            '<' => in_tag = true,
            '>' => in_tag = false,
            c if !in_tag => text.push(c),
            _ => {}
        }
    }
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    text.trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flanks_are_trimmed_as_the_report_does() {
        let column = |x: f64| [0.0, x, 0.0, 0.0];
        let weak = vec![column(0.01); 10];
        let motif = [column(1.0), column(0.2), column(-0.5)];
        let heights = [&weak[..], &motif, &weak[..2]].concat();
        let trimmed = trimmed(heights.clone());
        assert_eq!(trimmed, heights[6..]);
    }

    #[test]
    fn names_come_from_the_table() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("motifs.html");
        assert!(matches(&path).unwrap().is_empty());
        let table = "<table border=\"1\"><thead><tr style=\"x\">\n<th>pattern</th><th>num_seqlets</th>\
            <th>match0</th><th>qval0</th></tr></thead><tbody>\n<tr>\n<td>pos_patterns.pattern_0</td>\
            <td>51</td><td><b>CTCF &lt;1&gt;</b></td><td>1e-05</td></tr><tr><td>pos_patterns.pattern_1\
            </td><td>7</td><td></td><td></td></tr></tbody></table>";
        fs::write(&path, table).unwrap();
        let found = matches(&path).unwrap();
        let wanted = Match { motif: "CTCF <1>".into(), value: "1e-05".into() };
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            [("pos_patterns.pattern_0".into(), wanted)]
        );
        fs::write(&path, "<p>no table</p>").unwrap();
        assert!(matches(&path).unwrap().is_empty());
    }
}
