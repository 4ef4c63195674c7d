//! HDF5 files that somebody else made: opened and searched so that nothing but the file's own bytes
//! is ever used.
//!
//! HDF5 follows soft and external links, reads a dataset's values from other files (external storage,
//! virtual datasets), and makes values up where none were stored. None of that belongs into a model
//! or a result, so it is refused here, before anything is read or allocated. Every reader of HDF5
//! goes through these functions; sizes are held against the file's length.
//!
//! Source: HDF5 file format specification 3.0; the library is 1.14.

use std::ffi::{CString, c_void};
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::ZlibDecoder;
use hdf5_metno::dataset::Layout;
use hdf5_metno::filters::Filter;
use hdf5_metno::{Dataset, File, Group, LinkType};
use hdf5_metno_sys::LOCK;
use hdf5_metno_sys::h5d::H5Dget_storage_size;
use hdf5_metno_sys::h5f::{H5F_ACC_RDONLY, H5Fopen};
use hdf5_metno_sys::h5l::{H5L_type_t, H5Lunregister};
use hdf5_metno_sys::h5p::{
    H5P_CLS_FILE_ACCESS, H5Pclose, H5Pcreate, H5Pget_external_count, H5Pset_fapl_core,
    H5Pset_file_image,
};

use super::{h5_damage, h5_file};
use crate::error::Problem;
use crate::store::mapped_file::MappedFile;

/// The first bytes of every HDF5 file.
pub const SIGNATURE: [u8; 8] = *b"\x89HDF\r\n\x1a\n";

/// The most that deflate makes of one byte (zlib's documentation: 1032:1).
const MAX_RATIO: u64 = 1032;

/// Memory that the core driver adds when a file grows; ours never does.
const INCREMENT: usize = 1 << 16;

const DAMAGED: &str = "the file is damaged or truncated; copy it again or make it again";

/// What a file that HDF5 cannot read is called.
pub fn unreadable(error: &hdf5_metno::Error) -> Problem {
    let reason = error.to_string();
    Problem::new(format!(
        "HDF5 cannot read the file: {}",
        reason.lines().next().unwrap_or_default()
    ))
    .fix(DAMAGED)
}

/// Refuses bytes that are no HDF5 file, or one on which the library loops or crashes.
fn check_bytes(bytes: &[u8]) -> Result<(), Problem> {
    // The library also looks at bytes 512, 1024, ... and would open a file inside another one, such
    // as the first member of an archive.
    if !bytes.starts_with(&SIGNATURE) {
        return Err(Problem::new("the file is not HDF5"));
    }
    match h5_damage::first(bytes) {
        None => Ok(()),
        Some(damage) => Err(Problem::new(format!("the file is damaged ({})", damage.what))
            .at(format!("byte {}", damage.at))
            .fix(DAMAGED)),
    }
}

/// External links are not followed by any file of this process.
fn forbid_external_links() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Sets the library up.
        let _ = hdf5_metno::library_version();
        let _library = LOCK.lock();
        // SAFETY: a plain call; where it fails links are still refused one by one.
        unsafe { H5Lunregister(H5L_type_t::H5L_TYPE_EXTERNAL) };
    });
}

/// Opens a file's image, which the library copies. No file is opened.
pub fn open_image(bytes: &[u8]) -> Result<File, Problem> {
    check_bytes(bytes)?;
    forbid_external_links();
    let refused = || unreadable(&"no file image".into());
    // The library takes images of one name that are open at once for one file.
    static OPENED: AtomicU64 = AtomicU64::new(0);
    let label = CString::new(format!("image {}", OPENED.fetch_add(1, Ordering::Relaxed)));
    let label = label.map_err(|_| refused())?;
    let _library = LOCK.lock();
    // SAFETY: the list is closed below; the library copies the image and does not write into it; the
    // name is a label, since the core driver takes the image instead of a file.
    unsafe {
        let list = H5Pcreate(*H5P_CLS_FILE_ACCESS);
        if list < 0 {
            return Err(refused());
        }
        let image = bytes.as_ptr().cast_mut().cast::<c_void>();
        let is_set = H5Pset_fapl_core(list, INCREMENT, 0) >= 0
            && H5Pset_file_image(list, image, bytes.len()) >= 0;
        let id = if is_set { H5Fopen(label.as_ptr(), H5F_ACC_RDONLY, list) } else { -1 };
        H5Pclose(list);
        match id {
            0.. => hdf5_metno::from_id(id).map_err(|error| unreadable(&error)),
            _ => Err(unreadable(&"the image cannot be opened".into())),
        }
    }
}

/// Opens a file that may be larger than memory.
pub fn open(path: &Path) -> Result<File, Problem> {
    let denied = |error| Problem::new(format!("cannot read the file: {error}"));
    let bytes = fs::File::open(path).map_err(denied)?;
    if !bytes.metadata().map_err(denied)?.is_file() {
        return Err(Problem::new("this is not a file"));
    }
    // Only to look for what the HDF5 library would never return from.
    let bytes = MappedFile::open(&bytes, path, "make it again").map_err(denied)?;
    check_bytes(&bytes)?;
    forbid_external_links();
    h5_file::open(path).map_err(|error| unreadable(&error))
}

/// Names of what a group holds, with how each is linked.
pub fn members(group: &Group) -> Result<Vec<(String, LinkType)>, Problem> {
    let add = |_: &Group, name: &str, info: hdf5_metno::LinkInfo, names: &mut Vec<_>| {
        names.push((name.to_string(), info.link_type));
        true
    };
    group.iter_visit_default(Vec::new(), add).map_err(|error| unreadable(&error))
}

/// Errors unless `name` of `group` is in this file under its own name.
pub fn check_link(group: &Group, name: &str, link: LinkType) -> Result<(), Problem> {
    let kind = match link {
        LinkType::Hard => return Ok(()),
        LinkType::Soft => "a soft link",
        LinkType::External => "a link to another file",
    };
    Err(Problem::new(format!("{name} is {kind}, expected the data itself"))
        .at(format!("{}/{name}", group.name().trim_end_matches('/')))
        .fix("write the file again without links (h5repack keeps them)"))
}

/// The last group of a path and the name in it; `None` where the path ends before.
fn parent(root: &Group, path: &str) -> Result<Option<(Group, String)>, Problem> {
    let mut group = root.clone();
    let mut names = path.split('/').peekable();
    while let Some(name) = names.next() {
        let found = members(&group)?.into_iter().find(|(n, _)| n == name);
        let Some((_, link)) = found else { return Ok(None) };
        check_link(&group, name, link)?;
        if names.peek().is_none() {
            return Ok(Some((group, name.to_string())));
        }
        match group.group(name) {
            Ok(inner) => group = inner,
            Err(_) => return Ok(None),
        }
    }
    Ok(None)
}

/// The group at `path` below `root`; `None` where there is none.
pub fn group(root: &Group, path: &str) -> Result<Option<Group>, Problem> {
    Ok(parent(root, path)?.and_then(|(group, name)| group.group(&name).ok()))
}

/// The dataset at `path` below `root`, with all its values in this file; `None` where there is none.
pub fn dataset(root: &Group, path: &str) -> Result<Option<Dataset>, Problem> {
    let Some((group, name)) = parent(root, path)? else { return Ok(None) };
    let Ok(dataset) = group.dataset(&name) else { return Ok(None) };
    check_stored(&dataset)?;
    Ok(Some(dataset))
}

/// Bytes that the values of a dataset take in the file.
pub fn stored_bytes(dataset: &Dataset) -> u64 {
    let _library = LOCK.lock();
    // SAFETY: the handle is open.
    unsafe { H5Dget_storage_size(dataset.id()) }
}

/// Errors unless every value of a dataset is stored, and stored in this file.
///
/// The layout is looked at before the shape: the shape of a virtual dataset is found by opening the
/// files behind it.
fn check_stored(dataset: &Dataset) -> Result<(), Problem> {
    let refuse = |what: String| Problem::new(what).at(dataset.name());
    let fail = |error: hdf5_metno::Error| unreadable(&error).at(dataset.name());
    let list = dataset.create_plist().map_err(fail)?;
    let external = {
        let _library = LOCK.lock();
        // SAFETY: the handle is open.
        unsafe { H5Pget_external_count(list.id()) }
    };
    if external != 0 {
        let name = list.external().first().map_or_else(String::new, |file| file.name.clone());
        return Err(refuse(format!(
            "the values lie in another file ({name:?}), expected them here"
        ))
        .fix("write the file again with its values inside (h5repack does)"));
    }
    let layout = list.get_layout().map_err(fail)?;
    if layout == Layout::Virtual {
        return Err(refuse(
            "the values lie in other datasets (virtual), expected them here".into(),
        )
        .fix("write the file again with its values inside (h5repack does)"));
    }
    // Without a filter's code the values cannot be read. Unknown ones end in the same error.
    let filters = list.get_filters().map_err(fail)?;
    if let Some(filter) = filters.iter().find(|filter| !filter.is_available()) {
        return Err(refuse(format!(
            "the values are compressed by HDF5 filter {}{}, which needs a plug-in of HDF5",
            filter.id(),
            if filter.id() == BLOSC { " (blosc)" } else { "" },
        ))
        .fix("official files use blosc: make the file with cbp-fast, or repack it (h5repack -f GZIP=4)"));
    }
    let length = dataset.file().map_err(fail)?.size();
    let shape = dataset.shape();
    let width = dataset.dtype().map_err(fail)?.size() as u64;
    let product =
        |sizes: &[usize]| sizes.iter().try_fold(1u64, |n, &size| n.checked_mul(size as u64));
    let too_large =
        || refuse(format!("a dataset of shape {shape:?} is larger than the file can hold"));
    let needed = product(&shape).and_then(|n| n.checked_mul(width)).ok_or_else(too_large)?;
    if needed == 0 {
        return Ok(());
    }
    let stored = stored_bytes(dataset);
    if stored > length {
        return Err(too_large());
    }
    let unstored = |what: String| {
        refuse(format!("only {what} of shape {shape:?} are stored, the rest would be made up"))
            .fix("the file was not written to its end; make it again")
    };
    let Some(chunk) = dataset.chunk() else {
        return match stored >= needed {
            true => Ok(()),
            false => Err(unstored(format!("{stored} of {needed} bytes of a dataset"))),
        };
    };
    let blocks = shape.iter().zip(&chunk).map(|(&size, &chunk)| size.div_ceil(chunk.max(1)));
    let blocks = product(&blocks.collect::<Vec<_>>()).ok_or_else(too_large)?;
    let unpacked = product(&chunk)
        .and_then(|n| n.checked_mul(width))
        .and_then(|n| n.checked_mul(blocks))
        .ok_or_else(too_large)?;
    if unpacked > stored.saturating_mul(if filters.is_empty() { 1 } else { MAX_RATIO }) {
        return Err(match filters.is_empty() {
            true => unstored(format!("{stored} of {unpacked} bytes of a dataset")),
            false => refuse(format!(
                "{stored} compressed bytes stand for {unpacked}, more than the {MAX_RATIO} to 1 \
                 that compression reaches"
            )),
        });
    }
    // Counted last: it walks the index of the blocks, whose number is bounded now.
    let found = dataset.num_chunks().unwrap_or(0) as u64;
    match found >= blocks {
        true => Ok(()),
        false => Err(unstored(format!("{found} of {blocks} blocks of a dataset"))),
    }
}

/// Errors where a compressed block of a dataset, which `dataset` gave, unpacks to more than a block.
/// HDF5 would take all the memory that it unpacks to. `image` is the whole file.
pub fn check_blocks(dataset: &Dataset, image: &[u8]) -> Result<(), Problem> {
    let filters = dataset.filters();
    if !filters.iter().any(|filter| matches!(filter, Filter::Deflate(_))) {
        return Ok(());
    }
    let refuse = |what: &str| Problem::new(what).at(dataset.name());
    // Undone from the last to the first. A sum stands behind the compressed bytes.
    let sum = match &filters[..] {
        [.., Filter::Deflate(_)] => 0,
        [.., Filter::Deflate(_), Filter::Fletcher32] => 4,
        _ => return Err(refuse("the values are changed after they were compressed")),
    };
    if filters.iter().filter(|filter| matches!(filter, Filter::Deflate(_))).count() > 1 {
        return Err(refuse("the values are compressed twice"));
    }
    let block: usize = dataset.chunk().unwrap_or_default().iter().product();
    let width = dataset.dtype().map_err(|error| unreadable(&error))?.size();
    // A sum in front of the compression adds 4 bytes.
    let limit = (block * width) as u64 + 4;
    for index in 0..dataset.num_chunks().unwrap_or(0) {
        let packed = dataset.chunk_info(index).and_then(|info| {
            let start = usize::try_from(info.addr).ok()?;
            let end = start.checked_add(usize::try_from(info.size).ok()?)?.checked_sub(sum)?;
            image.get(start..end)
        });
        let Some(packed) = packed else {
            return Err(refuse("a block of the values lies outside the file"));
        };
        let mut unpacked = ZlibDecoder::new(packed).take(limit + 1);
        // What does not unpack at all is the library's to report.
        if io::copy(&mut unpacked, &mut io::sink()).unwrap_or(0) > limit {
            return Err(refuse("a compressed block unpacks to more than its size")
                .fix("the file is damaged; copy it again or make it again"));
        }
    }
    Ok(())
}

/// The filter of official contribution files.
const BLOSC: i32 = 32001;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use hdf5_metno_sys::h5d::H5Dwrite_chunk;
    use hdf5_metno_sys::h5p::H5P_DEFAULT;

    use super::*;

    /// A file with what `make` puts into it.
    fn image(make: impl FnOnce(&File)) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.h5");
        let file = File::create(&path).unwrap();
        make(&file);
        file.close().unwrap();
        fs::read(&path).unwrap()
    }

    /// Cannot be done once the library has been forbidden to, by another test in this process.
    fn link_outside(file: &File, name: &str) {
        if file.link_external(name, "/a", "external").is_err() {
            println!("skipped: external links, as this process has read a file before");
        }
    }

    /// One block of 16 values, stored as what `bytes` zeros compress to.
    fn zeros_in_a_block(bytes: usize) -> Vec<u8> {
        image(|file| {
            let builder = file.new_dataset::<f32>().chunk([16]).deflate(9).shape([16]);
            let dataset = builder.create("x").unwrap();
            let mut packed = ZlibEncoder::new(Vec::new(), Compression::best());
            packed.write_all(&vec![0; bytes]).unwrap();
            let packed = packed.finish().unwrap();
            let _library = LOCK.lock();
            // SAFETY: the handle is open, the offset has one axis, the block lives through the call.
            let written = unsafe {
                let (at, block) = ([0].as_ptr(), packed.as_ptr().cast());
                H5Dwrite_chunk(dataset.id(), H5P_DEFAULT, 0, at, packed.len(), block)
            };
            assert!(written >= 0);
        })
    }

    #[test]
    fn a_block_that_unpacks_to_more_than_a_block_is_refused() {
        let check = |image: &[u8]| {
            let file = open_image(image).unwrap();
            check_blocks(&dataset(&file, "x").unwrap().unwrap(), image)
        };
        check(&zeros_in_a_block(64)).unwrap();
        let error = check(&zeros_in_a_block(1 << 20)).unwrap_err().to_string();
        assert!(error.contains("unpacks to more than its size"), "{error}");
    }

    #[test]
    fn images_that_are_open_at_once_are_not_mixed_up() {
        let images = ["a", "b"].map(|name| image(|file| drop(file.create_group(name).unwrap())));
        let files = images.map(|image| open_image(&image).unwrap());
        for (file, name) in files.iter().zip(["a", "b"]) {
            assert_eq!(file.member_names().unwrap(), [name]);
        }
    }

    #[test]
    fn paths_lead_to_what_is_in_the_file_only() {
        let image = image(|file| {
            let group = file.create_group("a/b").unwrap();
            group
                .new_dataset::<i64>()
                .shape([2])
                .create("c")
                .unwrap()
                .write_raw(&[1i64, 2])
                .unwrap();
            file.new_dataset::<i64>().shape([0]).create("empty").unwrap();
            file.link_soft("/a", "soft").unwrap();
            link_outside(file, "other.h5");
        });
        let file = open_image(&image).unwrap();
        let found = dataset(&file, "a/b/c").unwrap().unwrap();
        assert_eq!(found.read_raw::<i64>().unwrap(), [1, 2]);
        assert_eq!(dataset(&file, "empty").unwrap().unwrap().size(), 0);
        assert!(group(&file, "a/b").unwrap().is_some());
        for none in ["a/x", "x", "a/b", "a/b/c/d", "", "/a/b/c"] {
            assert!(dataset(&file, none).unwrap().is_none(), "{none}");
        }
        let error = dataset(&file, "soft/b/c").unwrap_err().to_string();
        assert!(error.contains("a soft link"), "{error}");
        // `None` where the link could not be made.
        if let Err(problem) = dataset(&file, "external/b") {
            assert!(problem.what().contains("a link to another file"), "{problem}");
        }
    }

    #[test]
    fn the_library_itself_does_not_follow_external_links_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other.h5");
        let other = File::create(&path).unwrap();
        other.create_group("a").unwrap();
        other.close().unwrap();
        let name = path.to_str().unwrap();
        let image = image(|file| link_outside(file, name));
        assert!(open_image(&image).unwrap().group("external").is_err());
    }
}
