//! HDF5 files that are read, by any path. The library's binding takes names that are UTF-8; a path is any bytes, so
//! one that is not UTF-8 goes through the name that the kernel gives an open file.

use std::fs;
use std::os::fd::AsRawFd;
use std::path::Path;

use hdf5_metno::{File, Result};

/// Opens a file to read. Errors: those of HDF5.
pub fn open(path: &Path) -> Result<File> {
    match path.to_str() {
        Some(name) => File::open(name),
        None => File::open(by_descriptor(&fs::File::open(path).map_err(said)?)),
    }
}

/// Names an open file as long as it is open; HDF5 opens it again, for itself.
fn by_descriptor(file: &fs::File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

fn said(error: std::io::Error) -> hdf5_metno::Error {
    hdf5_metno::Error::Internal(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn names_of_any_bytes_are_files() {
        let folder = tempfile::tempdir().unwrap();
        for name in [&b"x.h5"[..], b"x\xff.h5"] {
            let path = folder.path().join(OsStr::from_bytes(name));
            let plain = folder.path().join("plain.h5");
            let file = File::create(&plain).unwrap();
            file.new_dataset_builder().with_data(&[1u8, 2, 3]).create("a").unwrap();
            drop(file);
            fs::rename(&plain, &path).unwrap();
            let file = open(&path).unwrap();
            assert_eq!(file.dataset("a").unwrap().read_raw::<u8>().unwrap(), [1, 2, 3]);
        }
        assert!(open(&folder.path().join(OsStr::from_bytes(b"\xff"))).is_err());
    }
}
