//! References that are given instead of drawn: for comparing with another tool on the very same ones.
//!
//! A safetensors file with one u8 tensor, `references`: one-hot [n, per sequence, length, 4] as the
//! official tool's `shuffle_several_times` returns it, or base codes [n, per sequence, length]
//! (0..=3 = ACGT, anything else N). Rows are those of `*.interpreted_regions.bed`, in its order.
//! Rows are read where they are needed, so that memory does not grow with the file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::Result;
use safetensors::{Dtype, SafeTensors};

use crate::error::Problem;
use crate::input::lines;
use crate::input::sniff::{self, Kind};
use crate::store::mapped_file::MappedFile;

const NAME: &str = "references";
const FIX: &str = "write a u8 tensor `references`, [regions, references, length, 4] one-hot or [regions, references, length] base codes: safetensors.numpy.save_file({\"references\": array}, path)";

/// An open file of references.
pub struct ReferenceFile {
    path: PathBuf,
    file: File,
    /// First byte of the tensor.
    start: u64,
    onehot: bool,
    /// Sequences that it has references for.
    pub n: usize,
    /// References per sequence.
    pub per_sequence: usize,
    /// bp
    pub length: usize,
}

impl ReferenceFile {
    /// Errors: a file that is no safetensors, or whose tensor has another name, type or shape.
    pub fn open(path: &Path) -> Result<Self> {
        let file = lines::open_file(path)?;
        let refuse = |what: String| Problem::new(what).at(path.display()).fix(FIX);
        let map = MappedFile::open(&file, path, FIX).map_err(|e| lines::unreadable(path, &e))?;
        let (header, metadata) = SafeTensors::read_metadata(&map)
            .map_err(|error| refuse(format!("not a safetensors file: {error}")))
            .map_err(|problem| sniff::explain(path, problem.into(), &[Kind::Safetensors]))?;
        let names: Vec<String> = metadata.tensors().into_keys().collect();
        let info = metadata.info(NAME).ok_or_else(|| {
            refuse(format!("tensor `{NAME}` is missing; there are {}", names.join(", ")))
        })?;
        let (onehot, shape) = match (info.dtype, info.shape.as_slice()) {
            (Dtype::U8, &[n, per_sequence, length]) => (false, [n, per_sequence, length]),
            (Dtype::U8, &[n, per_sequence, length, 4]) => (true, [n, per_sequence, length]),
            (dtype, shape) => {
                return Err(refuse(format!("`{NAME}` is {dtype:?} of shape {shape:?}")).into());
            }
        };
        let [n, per_sequence, length] = shape;
        if n * per_sequence * length == 0 {
            return Err(refuse(format!("`{NAME}` of shape {:?} is empty", info.shape)).into());
        }
        let start = (8 + header + info.data_offsets.0) as u64;
        Ok(Self { path: path.to_path_buf(), file, start, onehot, n, per_sequence, length })
    }

    /// Errors unless there are references for `n` sequences of `length` bp. `unused` of the regions
    /// were left out, which is the usual reason for another number.
    pub fn check(&self, n: usize, length: usize, unused: usize) -> Result<(), Problem> {
        if self.length != length {
            return Err(Problem::new(format!(
                "references are {} bp long, but the model reads {length} bp",
                self.length
            ))
            .at(self.path.display())
            .fix("make them from the sequences that the model reads"));
        }
        if self.n != n {
            let left_out = match unused {
                0 => String::new(),
                _ => format!(" ({unused} of the regions given are left out)"),
            };
            return Err(Problem::new(format!(
                "there are references for {} sequences, but {n} are explained{left_out}",
                self.n
            ))
            .at(self.path.display())
            .fix("give one row for each sequence that is explained, in the same order"));
        }
        Ok(())
    }

    /// References of `rows` as base codes, [rows, per sequence, length].
    ///
    /// Errors: a code that is none, a one-hot column with more than one base, anything the disk says.
    pub fn rows(&self, rows: Range<usize>) -> Result<Vec<u8>> {
        let columns = if self.onehot { 4 } else { 1 };
        let row = self.per_sequence * self.length * columns;
        let mut bytes = vec![0; rows.len() * row];
        let mut file = &self.file;
        file.seek(SeekFrom::Start(self.start + (rows.start * row) as u64))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|e| lines::unreadable(&self.path, &e))?;
        let place = |at: usize| {
            let (reference, base) = (at / self.length, at % self.length);
            let (row, reference) =
                (rows.start + reference / self.per_sequence, reference % self.per_sequence);
            format!("{}, `{NAME}`[{row}, {reference}, {base}]", self.path.display())
        };
        if !self.onehot {
            return match bytes.iter().position(|&code| code > 4) {
                None => Ok(bytes),
                Some(at) => Err(Problem::new(format!("{} is no base code", bytes[at]))
                    .at(place(at))
                    .fix("codes are 0 to 3 for A, C, G and T, and 4 for an unknown base")
                    .into()),
            };
        }
        let (columns, _) = bytes.as_chunks::<4>();
        columns
            .iter()
            .enumerate()
            .map(|(at, column)| match column {
                [1, 0, 0, 0] => Ok(0),
                [0, 1, 0, 0] => Ok(1),
                [0, 0, 1, 0] => Ok(2),
                [0, 0, 0, 1] => Ok(3),
                [0, 0, 0, 0] => Ok(4),
                other => Err(Problem::new(format!("{other:?} is no one-hot column"))
                    .at(place(at))
                    .fix(FIX)
                    .into()),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::{TensorView, serialize_to_file};

    use super::*;

    fn write(path: &Path, name: &str, dtype: Dtype, shape: &[usize], bytes: &[u8]) {
        let other = TensorView::new(Dtype::U8, vec![3], &[9, 9, 9]).unwrap();
        let tensor = TensorView::new(dtype, shape.to_vec(), bytes).unwrap();
        serialize_to_file([("another", other), (name, tensor)], None, path).unwrap();
    }

    fn refusal(path: &Path) -> String {
        match ReferenceFile::open(path) {
            Ok(_) => panic!("opened"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn codes_and_one_hot_are_the_same_references() {
        let folder = tempfile::tempdir().unwrap();
        let [codes, onehot] = ["codes", "onehot"].map(|name| folder.path().join(name));
        let bases: Vec<u8> = (0..2 * 3 * 5).map(|i| (i * 7 % 5) as u8).collect();
        write(&codes, "references", Dtype::U8, &[2, 3, 5], &bases);
        let columns: Vec<u8> =
            bases.iter().flat_map(|&code| (0..4).map(move |base| u8::from(base == code))).collect();
        write(&onehot, "references", Dtype::U8, &[2, 3, 5, 4], &columns);
        for path in [&codes, &onehot] {
            let file = ReferenceFile::open(path).unwrap();
            assert_eq!((file.n, file.per_sequence, file.length), (2, 3, 5));
            assert_eq!(file.rows(0..2).unwrap(), bases);
            assert_eq!(file.rows(1..2).unwrap(), bases[15..]);
        }
    }

    #[test]
    fn what_is_no_file_of_references_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, "text").unwrap();
        assert!(refusal(&path).contains("not a safetensors file"));
        std::fs::write(&path, "chr1\t5\t9\nchr1\t7\t9\n").unwrap();
        assert!(refusal(&path).contains("the file looks like a text file of intervals"));
        write(&path, "refs", Dtype::U8, &[1, 1, 1], &[0]);
        assert!(refusal(&path).contains("tensor `references` is missing"));
        write(&path, "references", Dtype::F32, &[1, 1, 1], &[0; 4]);
        assert!(refusal(&path).contains("F32 of shape [1, 1, 1]"), "{}", refusal(&path));
        write(&path, "references", Dtype::U8, &[1, 1, 1, 5], &[0; 5]);
        assert!(refusal(&path).contains("of shape [1, 1, 1, 5]"));
        write(&path, "references", Dtype::U8, &[1, 0, 4], &[]);
        assert!(refusal(&path).contains("is empty"));
        write(&path, "references", Dtype::U8, &[1, 2, 1, 4], &[0, 0, 0, 1, 1, 1, 0, 0]);
        let file = ReferenceFile::open(&path).unwrap();
        let error = file.rows(0..1).unwrap_err().to_string();
        assert!(error.contains("[1, 1, 0, 0] is no one-hot column"), "{error}");
        assert!(error.contains("`references`[0, 1, 0]"), "{error}");
    }

    #[test]
    fn damaged_headers_never_panic() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        write(&path, "references", Dtype::U8, &[3, 2, 4], &[0; 24]);
        let good = std::fs::read(&path).unwrap();
        let mut refused = 0;
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                std::fs::write(&path, bad).unwrap();
                match ReferenceFile::open(&path) {
                    // A row more than there is would be memory; the file's length is held to.
                    Ok(file) => drop(file.rows(0..file.n)),
                    Err(_) => refused += 1,
                }
            }
        }
        assert!(refused > 4 * good.len(), "{refused}");
        for length in [u64::MAX, 1 << 62, 1 << 30, 0, 1] {
            let mut bad = good.clone();
            bad[..8].copy_from_slice(&length.to_le_bytes());
            std::fs::write(&path, bad).unwrap();
            assert!(refusal(&path).contains("not a safetensors file"), "{length}");
        }
    }

    #[test]
    fn numbers_and_lengths_must_fit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        write(&path, "references", Dtype::U8, &[3, 2, 4], &[0; 24]);
        let file = ReferenceFile::open(&path).unwrap();
        file.check(3, 4, 0).unwrap();
        let length = file.check(3, 5, 0).unwrap_err().to_string();
        assert!(length.contains("4 bp long, but the model reads 5 bp"), "{length}");
        let number = file.check(2, 4, 1).unwrap_err().to_string();
        assert!(number.contains("for 3 sequences, but 2 are explained (1 of"), "{number}");
    }
}
