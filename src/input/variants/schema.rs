//! What the columns of a variant list are. Source: variant-scorer `get_variant_schema`; `snps` is
//! the list of the official tool's `snp_score`.

use std::fmt;

use clap::ValueEnum;

/// A column of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    Chrom,
    Pos,
    End,
    Allele1,
    Allele2,
    Id,
    /// Read past, not written.
    Ignored,
}

impl Column {
    /// The name that variant-scorer gives the column in its tables.
    pub fn name(self) -> &'static str {
        match self {
            Column::Chrom => "chr",
            Column::Pos => "pos",
            Column::End => "end",
            Column::Allele1 => "allele1",
            Column::Allele2 => "allele2",
            Column::Id => "variant_id",
            Column::Ignored => "ignore1",
        }
    }
}

/// The order of the columns of a variant list, tabs between them, no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Schema {
    /// chr, pos, allele1, allele2, variant_id
    Chrombpnet,
    /// chr, pos (0-based), end, allele1, allele2, variant_id
    Bed,
    /// chr, variant_id, ignored, pos, allele1, allele2
    Plink,
    /// chr, variant_id, pos, allele1, allele2
    Plink2,
    /// chr, pos, variant_id, allele1, allele2
    Original,
    /// chr, pos (0-based), allele1, allele2: the list of snp_score
    Snps,
    /// VCF or BCF, told apart by their content
    Vcf,
}

impl Schema {
    /// Columns of the file; those of a VCF are not its own but the ones it is written with.
    pub fn columns(self) -> &'static [Column] {
        use Column::{Allele1, Allele2, Chrom, End, Id, Ignored, Pos};
        match self {
            Schema::Chrombpnet | Schema::Vcf => &[Chrom, Pos, Allele1, Allele2, Id],
            Schema::Bed => &[Chrom, Pos, End, Allele1, Allele2, Id],
            Schema::Plink => &[Chrom, Id, Ignored, Pos, Allele1, Allele2],
            Schema::Plink2 => &[Chrom, Id, Pos, Allele1, Allele2],
            Schema::Original => &[Chrom, Pos, Id, Allele1, Allele2],
            Schema::Snps => &[Chrom, Pos, Allele1, Allele2],
        }
    }

    /// Names of the columns of the file, for messages.
    pub fn listed(self) -> String {
        let names: Vec<&str> = self.columns().iter().map(|c| c.name()).collect();
        names.join(", ")
    }

    /// Columns of the tables that are written: those of the file, and always a variant_id.
    pub fn written(self) -> impl Iterator<Item = Column> {
        let columns = self.columns();
        let id = (!columns.contains(&Column::Id)).then_some(Column::Id);
        columns.iter().copied().filter(|c| *c != Column::Ignored).chain(id)
    }

    /// What the first base of a chromosome is called in the file.
    pub fn first_position(self) -> u64 {
        match self {
            Schema::Bed | Schema::Snps => 0,
            _ => 1,
        }
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Schema::Chrombpnet => "chrombpnet",
            Schema::Bed => "bed",
            Schema::Plink => "plink",
            Schema::Plink2 => "plink2",
            Schema::Original => "original",
            Schema::Snps => "snps",
            Schema::Vcf => "vcf",
        })
    }
}
