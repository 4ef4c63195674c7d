//! What a pack holds, in words.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use super::cache;
use crate::console::grouped;
use crate::input::assembly::Contig;
use crate::store::format::{self, Header, Kind, ValueType};
use crate::store::{GenomePack, SignalPack};

/// Contigs that are listed unless all are asked for.
const LISTED: usize = 30;

/// What values that are no whole u16 mean.
pub const FRACTIONAL: &str =
    "the track has fractional counts or counts above 65,535, stored as f32";

/// Bases and counts, in words.
pub fn content(header: &Header) -> String {
    match header.kind {
        Kind::Genome => format!("{} bp", grouped(header.total)),
        Kind::Signal => {
            format!("{} bases with counts, sum {}", grouped(header.total), header.sum)
        }
    }
}

/// Kind, source, content and contigs of the pack `file`, as `pack info` prints them.
///
/// Errors: no pack, or a damaged one.
pub fn describe(file: &Path, all_contigs: bool) -> Result<String> {
    let (kind, contigs): (Kind, Vec<Contig>) = match cache::pack_kind(file)? {
        Some(Kind::Signal) => (Kind::Signal, SignalPack::open(file)?.contigs().to_vec()),
        // A file that is no pack at all gets its message from here, too.
        _ => (Kind::Genome, GenomePack::open(file)?.contigs().to_vec()),
    };
    let header = format::read_header(file)?;
    let mut out = String::new();
    // A name that holds ends of lines stays on its own.
    let mut row =
        |key: &str, value: String| writeln!(out, "{key:<10}{}", value.replace('\n', "\\n"));
    row("kind", kind.name().to_string())?;
    row("version", header.version.to_string())?;
    match &header.source {
        Some(s) => row("source", format!("{} ({} bytes, xxh3 {})", s.name, s.size, s.xxh3))?,
        None => row("source", "made in memory".to_string())?,
    }
    row("content", content(&header))?;
    row(
        "values",
        match header.value_type {
            ValueType::F32 => format!("f32: {FRACTIONAL}"),
            other => other.name().to_string(),
        },
    )?;
    row("checksum", format!("{:016x} (`pack verify` compares it)", header.checksum))?;
    for (name, range) in &header.sections {
        row(
            "section",
            format!("{name}, {} bytes at {}", grouped(range.len() as u64), range.start),
        )?;
    }
    row("contigs", grouped(header.contig_count))?;
    let listed = if all_contigs { contigs.len() } else { contigs.len().min(LISTED) };
    for contig in &contigs[..listed] {
        row("", format!("{}\t{}", contig.name, contig.length))?;
    }
    if listed < contigs.len() {
        row("", format!("and {} more (--all-contigs)", grouped((contigs.len() - listed) as u64)))?;
    }
    Ok(out)
}
