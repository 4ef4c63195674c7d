//! The variants of a command: read, found in the genome, and given out in batches.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;

use super::Job;
use crate::console::{Console, grouped};
use crate::error::Problem;
use crate::files::table::Table;
use crate::input::chrom_sizes;
use crate::input::variants::{Schema, Variant};
use crate::pack::inputs;
use crate::run::prefix;
use crate::store::GenomePack;
use crate::store::tracks::Disputed;
use crate::variants::alleles::{Cut, Placed, Skip};
use crate::variants::batch::{ToScore, Windows};
use crate::variants::rows::Rows;
use crate::variants::tables::Layout;

/// A list and the genome it is about.
pub struct Listed {
    pub genome: Arc<GenomePack>,
    path: PathBuf,
    rows: Rows,
    scope: Scope,
    seed: u64,
    /// Variants that can be scored; known after `check`.
    pub len: u64,
}

/// Which variants are wanted, and how they are found.
struct Scope {
    cut: Cut,
    /// In front of every chromosome name of the list.
    prefix: &'static str,
    /// Contigs that chromosome sizes name, where they are given.
    contigs: Option<HashSet<u32>>,
    chrom: Option<String>,
}

impl Scope {
    /// `None` for variants on other chromosomes than the one asked for.
    fn place(
        &self,
        variant: &Variant,
        unusable: Option<Skip>,
        genome: &GenomePack,
    ) -> Option<Result<Placed, Skip>> {
        let name = format!("{}{}", self.prefix, variant.chrom);
        if self.chrom.as_ref().is_some_and(|c| *c != name && *c != variant.chrom) {
            return None;
        }
        if let Some(skip) = unusable {
            return Some(Err(skip));
        }
        let contig = genome.contig_id(&name);
        let contig =
            contig.filter(|id| self.contigs.as_ref().is_none_or(|known| known.contains(id)));
        Some(self.cut.place(variant, contig, genome))
    }
}

/// Rows of one kind: how many, and the first.
struct Seen {
    count: u64,
    first: String,
}

impl Seen {
    fn one_more(seen: &mut Option<Self>, variant: &Variant) {
        match seen {
            Some(seen) => seen.count += 1,
            None => {
                let [allele1, allele2] = &variant.alleles;
                let (row, chrom, pos) = (variant.row, &variant.chrom, variant.pos + 1);
                *seen = Some(Self {
                    count: 1,
                    first: format!("e.g. row {row}, {chrom}:{pos} {allele1}>{allele2}"),
                });
            }
        }
    }
}

impl Listed {
    /// Opens the genome and reads the list.
    pub fn open(job: &Job, cut: Cut, console: &Console) -> Result<Self> {
        let genome = inputs::open_genome(&job.genome, &job.cache_dir, console)?;
        let (contigs, disputed) = match &job.chrom_sizes {
            Some(path) => {
                let (contigs, disputed) = known_contigs(path, &genome, console)?;
                (Some(contigs), disputed)
            }
            None => (None, Disputed::new()),
        };
        let rows = Rows::read(&job.list, job.schema, prefix::folder(&job.output_prefix))?;
        let prefix = rows.prefix(|name| genome.contig_id(name).is_some());
        let used: Vec<String> = rows.chroms.keys().map(|name| format!("{prefix}{name}")).collect();
        inputs::refuse_disputed(&disputed, used.iter().map(String::as_str))?;
        let scope = Scope { cut, prefix, contigs, chrom: job.chrom.clone() };
        let path = job.list.clone();
        let seed = u64::from(job.seed);
        Ok(Self { genome, path, rows, scope, seed, len: 0 })
    }

    pub fn layout(&self, with_peaks: bool, with_p_values: bool) -> Layout {
        let Scope { prefix, .. } = self.scope;
        Layout { schema: self.rows.schema, prefix, with_peaks, with_p_values }
    }

    /// Finds every variant in the genome. Rows that cannot be scored are counted, said, and listed
    /// in `skipped`.
    ///
    /// Errors: no variant is left.
    pub fn check(&mut self, skipped: &Path, console: &Console) -> Result<()> {
        let layout = self.layout(false, false);
        let mut table: Option<Table> = None;
        let mut reasons: BTreeMap<String, Option<Seen>> = BTreeMap::new();
        let (mut all, mut swapped, mut mismatched) = (0u64, None, None);
        let Self { genome, scope, rows, .. } = self;
        let mut left = 0;
        rows.for_each(|variant, unusable| {
            let Some(placed) = scope.place(&variant, unusable, genome) else { return Ok(()) };
            all += 1;
            match placed {
                Ok(placed) => {
                    left += 1;
                    match placed.genome_has {
                        Some(0) => {}
                        Some(_) => Seen::one_more(&mut swapped, &variant),
                        None => Seen::one_more(&mut mismatched, &variant),
                    }
                    Ok(())
                }
                Err(skip) => {
                    Seen::one_more(reasons.entry(skip.kind().to_string()).or_default(), &variant);
                    let table = match &mut table {
                        Some(table) => table,
                        None => table.insert(Table::create(skipped, &layout.skipped_header())?),
                    };
                    table.row(&layout.skipped_row(&variant, &skip.to_string()))
                }
            }
        })?;
        self.len = left;
        match table {
            Some(table) => table.finish()?,
            // What an earlier run left would tell of another list.
            None if skipped.exists() => fs::remove_file(skipped)?,
            None => {}
        }
        let text = reasons
            .iter()
            .filter_map(|(reason, seen)| Some((reason, seen.as_ref()?)))
            .map(|(reason, seen)| format!("{} {reason} ({})", grouped(seen.count), seen.first))
            .collect::<Vec<_>>()
            .join("; ");
        if left == 0 {
            return Err(self.nothing_left(all, &reasons, &text, skipped));
        }
        if !text.is_empty() {
            console.warning(format!(
                "{}: {} of {} variants are scored, {} are not (see {}): {text}",
                self.path.display(),
                grouped(left),
                grouped(all),
                grouped(all - left),
                skipped.display()
            ));
        }
        if let Some(seen) = swapped {
            console.warning(format!(
                "{} variants have allele2 where the genome has it, not allele1 ({}): scores are allele2 over allele1, as listed",
                grouped(seen.count), seen.first
            ));
        }
        if let Some(seen) = mismatched {
            console.warning(format!(
                "{} variants are scored although neither allele is the genome's ({})",
                grouped(seen.count),
                seen.first
            ));
        }
        Ok(())
    }

    fn nothing_left(
        &self,
        all: u64,
        reasons: &BTreeMap<String, Option<Seen>>,
        text: &str,
        skipped: &Path,
    ) -> anyhow::Error {
        let list = self.path.display();
        if all == 0 {
            let chrom = self.scope.chrom.as_deref().unwrap_or_default();
            return Problem::new(format!("the list has no variant on {chrom}"))
                .at(list)
                .fix(format!("its chromosomes are {}", self.rows.some_chroms()))
                .into();
        }
        if reasons.len() == 1 && reasons.contains_key(Skip::UnknownContig.kind()) {
            let found = self.rows.chroms.keys().map(|c| format!("{}{c}", self.scope.prefix));
            return inputs::different_names(
                "no variant lies on a contig of the genome",
                inputs::names(self.genome.contigs()),
                found.collect(),
            )
            .at(list)
            .into();
        }
        let schema = self.rows.schema;
        let columns = match schema {
            Schema::Vcf => String::new(),
            _ => format!("the columns of {schema} are: {}; ", schema.listed()),
        };
        Problem::new(format!("none of {} variants can be scored: {text}", grouped(all)))
            .at(list)
            .fix(format!(
                "see {}; {columns}positions are 1-based but for the schemas bed and snps, and the genome must be the assembly that the list was made for",
                skipped.display()
            ))
            .into()
    }

    /// Makes jobs of the variants that can be scored, in order, and runs them `size` at a time.
    pub fn in_batches(
        &mut self,
        size: usize,
        mut jobs_of: impl FnMut(Variant, Placed, &mut Vec<ToScore>),
        mut run: impl FnMut(&[ToScore], &Windows) -> Result<()>,
    ) -> Result<()> {
        let Self { genome, scope, rows, seed, .. } = self;
        let windows = Windows { genome, cut: scope.cut, seed: *seed };
        let mut jobs = Vec::with_capacity(size);
        rows.for_each(|variant, unusable| {
            if let Some(Ok(placed)) = scope.place(&variant, unusable, genome) {
                jobs_of(variant, placed, &mut jobs);
            }
            while jobs.len() >= size {
                run(&jobs[..size], &windows)?;
                jobs.drain(..size);
            }
            Ok(())
        })?;
        if !jobs.is_empty() {
            run(&jobs, &windows)?;
        }
        Ok(())
    }
}

/// Contigs of the genome that the sizes list, and those that they list with another length.
fn known_contigs(
    path: &Path,
    genome: &GenomePack,
    console: &Console,
) -> Result<(HashSet<u32>, Disputed)> {
    let sizes = chrom_sizes::read(path)?;
    let disputed =
        inputs::check_sizes(&sizes, path, genome, console).map_err(|p| p.within(path.display()))?;
    let known = sizes.names().filter_map(|name| genome.contig_id(name)).collect();
    Ok((known, disputed))
}
