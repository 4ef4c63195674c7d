//! `*_{counts,profile}_scores.h5`: contribution scores of many sequences, in the official layout.
//!
//! ```text
//! raw/seq            int8 [n, 4, length]   one-hot, rows A C G T
//! shap/seq           f16  [n, 4, length]   hypothetical scores: what each base would contribute
//! projected_shap/seq f16  [n, 4, length]   of the base that is there, 0 elsewhere
//! coords/coords_chrom  vlen str [n]        coords/coords_center  int64 [n]   (not in official files)
//! ```
//!
//! Plain HDF5 with gzip, so that readers need no plugin; official files are compressed with blosc,
//! which this program cannot read. A sequence is a chunk: [`pack`] compresses it on any thread, and
//! [`ScoresFile`] takes the finished chunks without looking inside.
//!
//! Source: official `generate_shap_dict`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Result;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use half::f16;
use half::slice::HalfFloatSliceExt;
use hdf5_metno::types::VarLenUnicode;
use hdf5_metno::{Dataset, File, H5Type};
use hdf5_metno_sys::LOCK;
use hdf5_metno_sys::h5d::H5Dwrite_chunk;
use hdf5_metno_sys::h5p::H5P_DEFAULT;
use ndarray::ArrayView1;

use super::atomic;
use super::h5_out::H5Out;
use crate::error::Problem;

/// gzip level of h5py's `compression="gzip"`.
const GZIP: u8 = 4;
/// Coordinates of so many rows are written at a time.
const COORDS: usize = 4096;

const RAW: &str = "raw/seq";
const SHAP: &str = "shap/seq";
const PROJECTED: &str = "projected_shap/seq";

/// One sequence's compressed chunk of each dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunks {
    pub raw: Vec<u8>,
    pub shap: Vec<u8>,
    pub projected: Vec<u8>,
}

/// Errors: a score that is no finite number in 16 bits. `hypothetical` is `[length, 4]`.
pub fn check(hypothetical: &[f32]) -> Result<(), Problem> {
    match hypothetical.iter().position(|&score| !f16::from_f32(score).is_finite()) {
        None => Ok(()),
        Some(at) => Err(Problem::new(format!(
            "the score of base {} is {}, which 16 bits cannot hold",
            at / 4 + 1,
            hypothetical[at]
        ))),
    }
}

/// The chunks of a sequence.
///
/// Shapes: `codes` `[length]`, 0..=3 = ACGT, anything else an N; `hypothetical` `[length, 4]`.
pub fn pack(codes: &[u8], hypothetical: &[f32]) -> Chunks {
    let length = codes.len();
    let mut raw = vec![0u8; 4 * length];
    let mut shap = vec![f16::ZERO; 4 * length];
    let mut projected = vec![f16::ZERO; 4 * length];
    for (at, (&code, scores)) in codes.iter().zip(hypothetical.chunks_exact(4)).enumerate() {
        for (base, &score) in scores.iter().enumerate() {
            let (to, rounded) = (base * length + at, f16::from_f32(score));
            shap[to] = rounded;
            if usize::from(code) == base {
                raw[to] = 1;
                projected[to] = rounded;
            }
        }
    }
    let (shap, projected) = (deflate(&shuffled(&shap)), deflate(&shuffled(&projected)));
    Chunks { raw: deflate(&raw), shap, projected }
}

/// The track of a sequence, as the official bigWigs show it: the sum over the four rows of its
/// `projected_shap/seq`, which is the score of the base that is there, rounded to 16 bits.
///
/// Shapes: `codes` and `out` `[length]`, `hypothetical` `[length, 4]`.
pub fn track(codes: &[u8], hypothetical: &[f32], out: &mut [f32]) {
    for ((out, &code), scores) in out.iter_mut().zip(codes).zip(hypothetical.chunks_exact(4)) {
        let there = scores.get(usize::from(code)).map_or(f16::ZERO, |&score| f16::from_f32(score));
        // As a sum that begins at zero, which no -0 leaves.
        *out = 0.0 + there.to_f32();
    }
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(GZIP.into()));
    // Memory takes every write.
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("a chunk in memory")
}

/// HDF5's shuffle filter: first bytes of all values, then second bytes.
fn shuffled(values: &[f16]) -> Vec<u8> {
    let bits: &[u16] = values.reinterpret_cast();
    bits.iter().map(|v| *v as u8).chain(bits.iter().map(|v| (v >> 8) as u8)).collect()
}

/// What names the rows.
pub trait Rows {
    /// Contig, or the name of a sequence.
    fn chrom(&self, row: usize) -> &str;
    /// 0-based position of the window's centre.
    fn center(&self, row: usize) -> i64;
}

/// A scores file that is being written; it appears when it is complete.
pub struct ScoresFile {
    // Closed before the file is.
    datasets: [Dataset; 3],
    out: H5Out,
    path: PathBuf,
    n: usize,
}

impl ScoresFile {
    /// A file of `n` sequences of `length` bases. `bytes` is about what their chunks add up to: so much
    /// disk is reserved, so that a disk that is too small is known before the long work.
    pub fn create(path: &Path, (n, length): (usize, usize), bytes: u64) -> Result<Self> {
        let create = || -> Result<Self> {
            let out = H5Out::create(path)?;
            // The index and the coordinates take less than 400 bytes a row.
            out.reserve(bytes + 400 * n as u64 + (1 << 20))?;
            let shape = [n, 4, length];
            let datasets = out.attempt(|file| {
                Ok([
                    dataset::<i8>(file, RAW, &shape)?,
                    dataset::<f16>(file, SHAP, &shape)?,
                    dataset::<f16>(file, PROJECTED, &shape)?,
                ])
            })?;
            Ok(Self { datasets, out, path: path.to_path_buf(), n })
        };
        create().map_err(|error| atomic::unwritable(path, error))
    }

    /// Writes the chunks of row `row`; each row once.
    pub fn write(&mut self, row: usize, chunks: &Chunks) -> Result<()> {
        let Chunks { raw, shap, projected } = chunks;
        let mut pairs = self.datasets.iter().zip([raw, shap, projected]);
        self.out
            .attempt(|_| pairs.try_for_each(|(dataset, chunk)| write_chunk(dataset, row, chunk)))
            .map_err(|error| atomic::unwritable(&self.path, error))
    }

    /// Adds the coordinates, and gives the file its name.
    pub fn finish(self, rows: &impl Rows) -> Result<()> {
        let Self { datasets, out, path, n } = self;
        let finish = || -> Result<()> {
            out.attempt(|file| write_coords(file, n, rows))?;
            drop(datasets);
            out.finish()
        };
        finish().map_err(|error| atomic::unwritable(&path, error))
    }
}

fn dataset<T: H5Type>(file: &File, name: &str, shape: &[usize; 3]) -> Result<Dataset> {
    let (group, _) = name.split_once('/').unwrap_or_default();
    file.create_group(group)?;
    let builder = file.new_dataset::<T>().shape(*shape).obj_track_times(false);
    if shape.contains(&0) {
        return Ok(builder.create(name)?);
    }
    let builder = builder.chunk([1, shape[1], shape[2]]);
    let builder = if size_of::<T>() > 1 { builder.shuffle() } else { builder };
    Ok(builder.deflate(GZIP).create(name)?)
}

fn write_chunk(dataset: &Dataset, row: usize, chunk: &[u8]) -> Result<()> {
    let offset = [row as u64, 0, 0];
    let _library = LOCK.lock();
    // SAFETY: the handle is open, the dataset has three axes, and the buffer has the length given.
    let status = unsafe {
        H5Dwrite_chunk(
            dataset.id(),
            H5P_DEFAULT,
            0,
            offset.as_ptr(),
            chunk.len(),
            chunk.as_ptr().cast(),
        )
    };
    anyhow::ensure!(status >= 0, "HDF5 does not take the chunk of row {row}");
    Ok(())
}

fn write_coords(file: &File, n: usize, rows: &impl Rows) -> Result<()> {
    let coords = file.create_group("coords")?;
    let list = |builder: hdf5_metno::DatasetBuilderEmptyShape| match n {
        0 => builder,
        _ => builder.chunk(COORDS.min(n)).deflate(GZIP),
    };
    let chrom = coords.new_dataset::<VarLenUnicode>().shape(n).obj_track_times(false);
    let chrom = list(chrom).create("coords_chrom")?;
    let center = coords.new_dataset::<i64>().shape(n).obj_track_times(false);
    let center = list(center).create("coords_center")?;
    for first in (0..n).step_by(COORDS) {
        let at = first..(first + COORDS).min(n);
        let names: Vec<VarLenUnicode> = at
            .clone()
            .map(|row| VarLenUnicode::from_str(rows.chrom(row)))
            .collect::<Result<_, _>>()?;
        chrom.write_slice(ArrayView1::from(&names), at.clone())?;
        let centers: Vec<i64> = at.clone().map(|row| rows.center(row)).collect();
        center.write_slice(ArrayView1::from(&centers), at)?;
    }
    Ok(())
}

/// Reads a scores file, ours or any other of this layout whose compression is gzip or none.
pub struct ContributionsReader {
    raw: Dataset,
    shap: Dataset,
    projected: Dataset,
    /// Sequences.
    pub n: usize,
    /// bp of a sequence.
    pub length: usize,
}

/// Some rows of a scores file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScoreRows {
    /// [n, length], 0..=3 = ACGT, 4 = N
    pub codes: Vec<u8>,
    /// [n, length, 4]
    pub hypothetical: Vec<f32>,
    /// [n, length], score of the base that is there
    pub projected: Vec<f32>,
}

impl ContributionsReader {
    /// Errors: a file that is no HDF5, lacks a dataset, or has datasets of other shapes.
    pub fn open(path: &Path) -> Result<Self> {
        let open = || -> Result<Self> {
            let file = crate::files::h5_file::open(path)?;
            let dataset = |name: &str| {
                file.dataset(name).map_err(|_| {
                    Problem::new(format!("dataset {name} is missing"))
                        .fix("pass a *_counts_scores.h5 or *_profile_scores.h5")
                })
            };
            let (raw, shap, projected) = (dataset(RAW)?, dataset(SHAP)?, dataset(PROJECTED)?);
            let shapes = [&raw, &shap, &projected].map(|d| d.shape());
            let &[n, 4, length] = shapes[0].as_slice() else {
                return Err(Problem::new(format!(
                    "{RAW} has shape {:?}, expected [n, 4, length]",
                    shapes[0]
                ))
                .into());
            };
            if shapes[1] != shapes[0] || shapes[2] != shapes[0] {
                return Err(Problem::new(format!(
                    "{RAW}, {SHAP} and {PROJECTED} have shapes {shapes:?}, expected one"
                ))
                .into());
            }
            Ok(Self { raw, shap, projected, n, length })
        };
        open().map_err(|error| match error.downcast::<Problem>() {
            Ok(problem) => problem.within(path.display()).into(),
            Err(error) => Problem::new(format!("not a scores file: {error:#}"))
                .at(path.display())
                .fix("pass a *_counts_scores.h5 or *_profile_scores.h5")
                .into(),
        })
    }

    /// Rows `rows`, which are below `n`.
    ///
    /// Errors: a file compressed with a filter that is not built in (blosc), a damaged file.
    pub fn rows(&self, rows: std::ops::Range<usize>) -> Result<ScoreRows> {
        let n = rows.len();
        let raw = slice::<i8>(&self.raw, rows.clone())?;
        let shap = slice::<f32>(&self.shap, rows.clone())?;
        let projected = slice::<f32>(&self.projected, rows)?;
        let length = self.length;
        let mut out = ScoreRows {
            codes: vec![4; n * length],
            hypothetical: vec![0.0; n * length * 4],
            projected: vec![0.0; n * length],
        };
        for row in 0..n {
            for base in 0..4 {
                for at in 0..length {
                    // [row, base, at] of the file
                    let from = (row * 4 + base) * length + at;
                    let to = row * length + at;
                    if raw[from] == 1 {
                        out.codes[to] = base as u8;
                    }
                    out.hypothetical[to * 4 + base] = shap[from];
                    out.projected[to] += projected[from];
                }
            }
        }
        Ok(out)
    }
}

fn slice<T: H5Type>(dataset: &Dataset, rows: std::ops::Range<usize>) -> Result<Vec<T>> {
    let array = dataset.read_slice::<T, _, ndarray::Ix3>((rows, .., ..)).map_err(|error| {
        Problem::new(format!("cannot read {}: {error}", dataset.name())).fix(
            "official files are compressed with blosc, which this program does not read: rewrite them with h5py",
        )
    })?;
    Ok(array.into_raw_vec_and_offset().0)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Named;

    impl Rows for Named {
        fn chrom(&self, row: usize) -> &str {
            ["chr1", "chrÜ", "s"][row % 3]
        }

        fn center(&self, row: usize) -> i64 {
            (row as i64) << 33
        }
    }

    const LENGTH: usize = 7;

    /// Codes and scores of row `row`; the scores are exact in 16 bits.
    fn row(row: usize) -> (Vec<u8>, Vec<f32>) {
        let codes = (0..LENGTH).map(|at| ((at * 3 + row) % 5) as u8).collect();
        let scores = (0..LENGTH * 4).map(|i| (i as f32 - 12.5) * 0.25 * (row + 1) as f32).collect();
        (codes, scores)
    }

    fn write(path: &Path, n: usize) -> Result<()> {
        let mut file = ScoresFile::create(path, (n, LENGTH), 1000 * n as u64)?;
        for at in 0..n {
            let (codes, scores) = row(at);
            file.write(at, &pack(&codes, &scores))?;
        }
        file.finish(&Named)
    }

    fn write_rows(path: &Path, n: usize) {
        write(path, n).unwrap();
    }

    #[test]
    fn a_disk_that_fails_anywhere_is_an_error() {
        let steps = crate::files::atomic::faults::every_step("x.h5", |path| write(path, 11));
        assert!(steps > 10, "{steps}");
    }

    #[test]
    fn rows_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.counts_scores.h5");
        write_rows(&path, 11);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let reader = ContributionsReader::open(&path).unwrap();
        assert_eq!((reader.n, reader.length), (11, LENGTH));
        let read = reader.rows(4..7).unwrap();
        for (i, at) in (4..7).enumerate() {
            let (codes, scores) = row(at);
            assert_eq!(read.codes[i * LENGTH..][..LENGTH], codes);
            assert_eq!(read.hypothetical[i * LENGTH * 4..][..LENGTH * 4], scores);
            let mut shown = vec![9.0; LENGTH];
            track(&codes, &scores, &mut shown);
            assert_eq!(read.projected[i * LENGTH..][..LENGTH], shown);
            for (at, &code) in codes.iter().enumerate() {
                let wanted = if code < 4 { scores[at * 4 + usize::from(code)] } else { 0.0 };
                assert_eq!(shown[at], wanted);
            }
        }
        assert!(reader.rows(9..12).is_err());
    }

    /// What other programs rely on, looked at with HDF5 alone.
    #[test]
    fn the_layout_is_the_official_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.h5");
        write_rows(&path, 2);
        let file = File::open(&path).unwrap();
        assert!(file.dataset(RAW).unwrap().dtype().unwrap().is::<i8>());
        for name in [SHAP, PROJECTED] {
            assert!(file.dataset(name).unwrap().dtype().unwrap().is::<f16>(), "{name}");
        }
        let raw: Vec<i8> = file.dataset(RAW).unwrap().read_raw().unwrap();
        let (codes, _) = row(0);
        for base in 0..4 {
            for at in 0..LENGTH {
                assert_eq!(raw[base * LENGTH + at], i8::from(usize::from(codes[at]) == base));
            }
        }
        let center: Vec<i64> = file.dataset("coords/coords_center").unwrap().read_raw().unwrap();
        assert_eq!(center, [0, 1 << 33]);
        let chrom: Vec<VarLenUnicode> =
            file.dataset("coords/coords_chrom").unwrap().read_raw().unwrap();
        assert_eq!(chrom.iter().map(|c| c.as_str()).collect::<Vec<_>>(), ["chr1", "chrÜ"]);
    }

    #[test]
    fn the_same_rows_are_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b] = ["a.h5", "b.h5"].map(|name| folder.path().join(name));
        write_rows(&a, 300);
        write_rows(&b, 300);
        assert!(std::fs::read(&a).unwrap() == std::fs::read(&b).unwrap());
    }

    #[test]
    fn nothing_is_left_of_a_file_that_fails() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.h5");
        let mut begun = ScoresFile::create(&path, (3, LENGTH), 0).unwrap();
        let (codes, scores) = row(0);
        begun.write(0, &pack(&codes, &scores)).unwrap();
        drop(begun);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        write_rows(&path, 0);
        assert_eq!(ContributionsReader::open(&path).unwrap().n, 0);
    }

    #[test]
    fn scores_beyond_sixteen_bits_are_refused() {
        for score in [f32::NAN, f32::INFINITY, 70_000.0] {
            let mut scores = vec![0.0; 8];
            scores[6] = score;
            let problem = check(&scores).unwrap_err();
            assert!(problem.what().starts_with("the score of base 2 is"), "{problem}");
        }
    }

    #[test]
    fn other_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.h5");
        let refusal = || match ContributionsReader::open(&path) {
            Ok(_) => panic!("opened"),
            Err(error) => error.to_string(),
        };
        std::fs::write(&path, "text").unwrap();
        assert!(refusal().contains("not a scores file"), "{}", refusal());
        let file = File::create(&path).unwrap();
        for name in ["raw", "shap", "projected_shap"] {
            file.create_group(name).unwrap();
        }
        for (name, shape, wanted) in [
            (RAW, [2, 4, 9], "shap/seq is missing"),
            (SHAP, [2, 4, 9], "projected_shap/seq is missing"),
            (PROJECTED, [2, 4, 8], "expected one"),
        ] {
            file.new_dataset::<f32>().shape(shape).create(name).unwrap();
            file.flush().unwrap();
            assert!(refusal().contains(wanted), "{}", refusal());
        }
    }
}
