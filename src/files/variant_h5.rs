//! The HDF5 files of variants, in the layouts of variant-scorer.
//!
//! ```text
//! *.variant_predictions.h5
//!   observed/allele{1,2}_pred_counts    f32 [n, 1]
//!   observed/allele{1,2}_pred_profiles  f32 [n, outputlen]    logits, not probabilities
//! *.variant_shap.{counts,profile}.h5    allele1 of all variants, then allele2 of all
//!   raw/seq             i8 [2n, 4, inputlen]      one-hot
//!   shap/seq            f16 [2n, 4, inputlen]     hypothetical contributions
//!   projected_shap/seq  f16 [2n, 4, inputlen]     those of the bases that are there
//!   variant_ids         vlen str [2n]
//!   alleles             i64 [2n]                  0, 1
//! ```
//!
//! Both are written batch by batch under a temporary name. variant-scorer writes the second with
//! deepdish (blosc, ids as bytes of UTF-32); this one is plain HDF5 with gzip.

use std::path::Path;
use std::str::FromStr;

use anyhow::Result;
use half::f16;
use hdf5_metno::Dataset;
use hdf5_metno::types::VarLenUnicode;
use ndarray::{ArrayView1, ArrayView2, ArrayView3};

use super::atomic;
use super::h5_out::H5Out;
use super::predictions_h5::dataset;
use crate::error::Problem;

/// Rows of a file of known length, of which some have come.
struct Rows {
    out: H5Out,
    wanted: usize,
    written: usize,
}

impl Rows {
    fn create(path: &Path, wanted: usize) -> Result<Self> {
        Ok(Self { out: H5Out::create(path)?, wanted, written: 0 })
    }

    fn finish(self) -> Result<()> {
        if self.written != self.wanted {
            let what = format!("{} variants were written, expected {}", self.written, self.wanted);
            return Err(Problem::new(what).into());
        }
        self.out.finish()
    }
}

/// Writes `*.variant_predictions.h5`.
pub struct VariantPredictionsWriter {
    // Datasets drop before the file they belong to.
    counts: [Dataset; 2],
    profiles: [Dataset; 2],
    rows: Rows,
    outputlen: usize,
}

impl VariantPredictionsWriter {
    pub fn create(path: &Path, variants: usize, outputlen: usize) -> Result<Self> {
        let create = || -> Result<Self> {
            let rows = Rows::create(path, variants)?;
            let group = rows.out.attempt(|file| Ok(file.create_group("observed")?))?;
            let pair = |what: &str, width: usize| -> Result<[Dataset; 2]> {
                let one = |allele| {
                    let name = format!("allele{allele}_pred_{what}");
                    dataset::<f32>(&group, &name, &[variants, width])
                };
                Ok([one(1)?, one(2)?])
            };
            let (counts, profiles) = (pair("counts", 1)?, pair("profiles", outputlen)?);
            Ok(Self { counts, profiles, rows, outputlen })
        };
        create().map_err(|e| atomic::unwritable(path, e))
    }

    /// Appends variants: of each allele counts [n] and logits [n, outputlen].
    pub fn append(&mut self, counts: [&[f32]; 2], logits: [&[f32]; 2]) -> Result<()> {
        let n = counts[0].len();
        let at = self.rows.written..self.rows.written + n;
        let write = || -> Result<()> {
            for allele in 0..2 {
                let column = ArrayView2::from_shape((n, 1), counts[allele])?;
                self.counts[allele].write_slice(column, (at.clone(), ..))?;
                let table = ArrayView2::from_shape((n, self.outputlen), logits[allele])?;
                self.profiles[allele].write_slice(table, (at.clone(), ..))?;
            }
            Ok(())
        };
        self.rows
            .out
            .attempt(|_| write())
            .map_err(|e| atomic::unwritable(self.rows.out.path(), e))?;
        self.rows.written += n;
        Ok(())
    }

    pub fn finish(self) -> Result<()> {
        let Self { counts, profiles, rows, .. } = self;
        drop((counts, profiles));
        let path = rows.out.path().to_path_buf();
        rows.finish().map_err(|e| atomic::unwritable(&path, e))
    }
}

/// Writes `*.variant_shap.{counts,profile}.h5`.
pub struct VariantShapWriter {
    raw: Dataset,
    shap: Dataset,
    projected: Dataset,
    ids: Dataset,
    rows: Rows,
    inputlen: usize,
}

impl VariantShapWriter {
    pub fn create(path: &Path, variants: usize, inputlen: usize) -> Result<Self> {
        let create = || -> Result<Self> {
            let rows = Rows::create(path, variants)?;
            let shape = [2 * variants, 4, inputlen];
            let (raw, shap, projected, ids) = rows.out.attempt(|file| {
                let raw = dataset::<i8>(&file.create_group("raw")?, "seq", &shape)?;
                let shap = dataset::<f16>(&file.create_group("shap")?, "seq", &shape)?;
                let projected = file.create_group("projected_shap")?;
                let projected = dataset::<f16>(&projected, "seq", &shape)?;
                let ids = dataset::<VarLenUnicode>(file, "variant_ids", &shape[..1])?;
                let alleles = dataset::<i64>(file, "alleles", &shape[..1])?;
                let numbers: Vec<i64> =
                    (0..2 * variants).map(|i| i64::from(i >= variants)).collect();
                alleles.write(ArrayView1::from(&numbers))?;
                Ok((raw, shap, projected, ids))
            })?;
            Ok(Self { raw, shap, projected, ids, rows, inputlen })
        };
        create().map_err(|e| atomic::unwritable(path, e))
    }

    /// Appends one allele of consecutive variants, both alleles of a batch in turn; the second
    /// moves on. `codes` [n, inputlen], `hypothetical` [n, inputlen, 4].
    pub fn append(
        &mut self,
        allele: usize,
        ids: &[&str],
        codes: &[u8],
        hypothetical: &[f32],
    ) -> Result<()> {
        let n = ids.len();
        let first = self.rows.written + allele * self.rows.wanted;
        let at = first..first + n;
        let width = 4 * self.inputlen;
        let mut raw = vec![0i8; n * width];
        let mut shap = vec![f16::ZERO; n * width];
        let mut projected = vec![f16::ZERO; n * width];
        // out[row, base, i] <- hypothetical[row, i, base]
        for (i, (&code, scores)) in codes.iter().zip(hypothetical.chunks_exact(4)).enumerate() {
            let start = i / self.inputlen * width + i % self.inputlen;
            for (base, &score) in scores.iter().enumerate() {
                let to = start + base * self.inputlen;
                shap[to] = f16::from_f32(score);
                if usize::from(code) == base {
                    raw[to] = 1;
                    projected[to] = shap[to];
                }
            }
        }
        let write = || -> Result<()> {
            let shape = (n, 4, self.inputlen);
            let rows = (at.clone(), .., ..);
            self.raw.write_slice(ArrayView3::from_shape(shape, &raw)?, rows.clone())?;
            self.shap.write_slice(ArrayView3::from_shape(shape, &shap)?, rows.clone())?;
            self.projected.write_slice(ArrayView3::from_shape(shape, &projected)?, rows)?;
            let ids: Vec<VarLenUnicode> =
                ids.iter().map(|id| VarLenUnicode::from_str(id)).collect::<Result<_, _>>()?;
            self.ids.write_slice(ArrayView1::from(&ids), at.clone())?;
            Ok(())
        };
        self.rows
            .out
            .attempt(|_| write())
            .map_err(|e| atomic::unwritable(self.rows.out.path(), e))?;
        self.rows.written += n * allele;
        Ok(())
    }

    pub fn finish(self) -> Result<()> {
        let Self { raw, shap, projected, ids, rows, .. } = self;
        drop((raw, shap, projected, ids));
        let path = rows.out.path().to_path_buf();
        rows.finish().map_err(|e| atomic::unwritable(&path, e))
    }
}
