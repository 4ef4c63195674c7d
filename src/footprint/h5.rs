//! `*_footprints.h5`: marginal footprints in the layout of deepdish, which is that of PyTables.
//!
//! ```text
//! <motif>     TITLE = list:2      i0  f32 [outputlen]  profile
//!                                 i1  f32 [1]          predicted counts of both strands
//! ```
//!
//! deepdish, PyTables and h5py read it. Datasets are stored plainly: they are a few KB, and blosc,
//! which official files use, takes a plugin to read.

use std::path::Path;

use anyhow::Result;
use hdf5_metno::types::{FixedAscii, TypeDescriptor};
use hdf5_metno::{Extents, File, Group, Location};

use super::Footprint;
use crate::files::atomic;

/// Longer than any text below.
const MAX_TEXT: usize = 16;

/// Writes all footprints, the control among them.
pub fn write(path: &Path, footprints: &[Footprint]) -> Result<()> {
    atomic::write_with(path, |temporary| {
        let file = File::create(temporary)?;
        text(&file, "CLASS", "GROUP")?;
        text(&file, "VERSION", "1.0")?;
        text(&file, "TITLE", "")?;
        text(&file, "PYTABLES_FORMAT_VERSION", "2.1")?;
        file.new_attr::<i64>().create("DEEPDISH_IO_VERSION")?.write_scalar(&12)?;
        for footprint in footprints {
            let group = file.create_group(&footprint.name)?;
            text(&group, "CLASS", "GROUP")?;
            text(&group, "VERSION", "1.0")?;
            text(&group, "TITLE", "list:2")?;
            array(&group, "i0", &footprint.profile)?;
            array(&group, "i1", &[footprint.counts])?;
        }
        file.flush()?;
        Ok(file.close()?)
    })
}

fn array(group: &Group, name: &str, values: &[f32]) -> Result<()> {
    let dataset =
        group.new_dataset::<f32>().shape(values.len()).obj_track_times(false).create(name)?;
    dataset.write_raw(values)?;
    text(&dataset, "CLASS", "ARRAY")?;
    text(&dataset, "VERSION", "2.4")?;
    text(&dataset, "TITLE", "")?;
    text(&dataset, "FLAVOR", "numpy")
}

/// A byte string of its own length, as PyTables writes; an empty one has no data space.
fn text(at: &Location, name: &str, value: &str) -> Result<()> {
    if value.is_empty() {
        at.new_attr::<FixedAscii<1>>().shape(Extents::Null).create(name)?;
        return Ok(());
    }
    let fixed = FixedAscii::<MAX_TEXT>::from_ascii(value)?;
    let scalar = ndarray::arr0(fixed);
    at.new_attr_builder()
        .with_data_as(scalar.view(), &TypeDescriptor::FixedAscii(value.len()))
        .create(name)?;
    Ok(())
}

/// Reads what `write` wrote, or what deepdish wrote where its filter can be read.
pub fn read(path: &Path) -> Result<Vec<Footprint>> {
    let file = crate::files::h5_file::open(path)?;
    let mut footprints = Vec::new();
    for name in file.member_names()? {
        let group = file.group(&name)?;
        let counts: Vec<f32> = group.dataset("i1")?.read_raw()?;
        footprints.push(Footprint {
            profile: group.dataset("i0")?.read_raw()?,
            counts: counts.first().copied().unwrap_or(f32::NAN),
            name,
        });
    }
    Ok(footprints)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x_footprints.h5");
        let footprint = |name: &str, counts| Footprint {
            name: name.to_string(),
            profile: vec![0.25, 0.75],
            counts,
        };
        let footprints = [footprint("GATA+TAL", 2.5), footprint("control", 1.5)];
        write(&path, &footprints).unwrap();
        assert_eq!(read(&path).unwrap(), footprints);

        let file = File::open(&path).unwrap();
        let title = file.group("control").unwrap().attr("TITLE").unwrap();
        assert!(title.dtype().unwrap().is::<FixedAscii<6>>());
        assert_eq!(title.read_scalar::<FixedAscii<6>>().unwrap().as_str(), "list:2");
        let empty = file.attr("TITLE").unwrap();
        assert!(empty.space().unwrap().is_null());
    }
}
