//! HDF5 files that are written: the library builds them, this program does the input and output.
//!
//! In: groups, datasets and attributes, through `hdf5_metno`. Out: the file, under a temporary name
//! until it is complete.
//!
//! HDF5 1.14 does not survive a failed write: closing a dataset loses the error, and what is freed then
//! is used again by the next file. So the library writes through a driver of ours that always says
//! yes: the first error is kept, what cannot be written from then on stays in memory where the library
//! can read it back, and [`H5Out::attempt`] and [`H5Out::complete`] return the error in place of
//! whatever the library says. The driver needs no second look at the path and no lock, and lays a file
//! out like the library's own (sec2).

use std::ffi::{CString, c_char, c_int, c_uint, c_ulong, c_void};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::ptr;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, ensure};
use hdf5_metno::File;
use hdf5_metno::plist::{FileAccess, FileCreate};
use hdf5_metno_sys::LOCK;
use hdf5_metno_sys::h5f::{H5F_ACC_TRUNC, H5Fcreate};
use hdf5_metno_sys::h5fd::H5FDregister;
use hdf5_metno_sys::h5i::hid_t;
use hdf5_metno_sys::h5p::{H5Pget_driver_info, H5Pset_driver};

use super::atomic::{self, OutFile, Pending};

/// Writes a file that `fill` makes in one go.
pub fn write(path: &Path, fill: impl FnOnce(&File) -> Result<()>) -> Result<()> {
    let run = || -> Result<()> {
        let out = H5Out::create(path)?;
        out.attempt(fill)?;
        out.complete()?.finish()
    };
    run().map_err(|error| atomic::unwritable(path, error))
}

/// A file that is being written. Dropped before [`complete`](Self::complete), it leaves nothing behind.
///
/// Whoever keeps datasets of it drops them first.
pub struct H5Out {
    // Dropped before the temporary file under it.
    file: File,
    disk: Shared,
    pending: Pending,
}

impl H5Out {
    pub fn create(path: &Path) -> Result<Self> {
        let pending = Pending::create(path)?;
        let disk = Arc::new(Mutex::new(Disk::new(pending.file())));
        let file = create(pending.temporary(), &disk)?;
        Ok(Self { file, disk, pending })
    }

    /// Where the file will be.
    pub fn path(&self) -> &Path {
        self.pending.path()
    }

    /// Does something with the file. An error of the disk, now or earlier, outranks what comes of it.
    pub fn attempt<T>(&self, act: impl FnOnce(&File) -> Result<T>) -> Result<T> {
        let result = act(&self.file);
        lock(&self.disk).check()?;
        result
    }

    /// Claims disk for a file that will grow to `bytes`. Where the file system cannot, we go on.
    pub fn reserve(&self, bytes: u64) -> Result<()> {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{FallocateFlags, fallocate};
            use rustix::io::Errno;
            let file = self.pending.file();
            if let Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) =
                fallocate(file.file(), FallocateFlags::KEEP_SIZE, 0, bytes)
            {
                return Err(io::Error::from(error)).context(format!("{bytes} bytes are needed"));
            }
        }
        let _ = bytes;
        Ok(())
    }

    /// Writes what is left; the file still lacks its name.
    pub fn complete(self) -> Result<Pending> {
        let Self { file, disk, pending } = self;
        let closed = file.flush().and_then(|()| file.close());
        let mut disk = lock(&disk);
        disk.check()?;
        closed?;
        ensure!(disk.closed, "HDF5 did not close the file");
        // Gives back what was reserved beyond the end.
        disk.out.set_len(disk.end)?;
        disk.eof = disk.end;
        Ok(pending)
    }

    /// Writes what is left and gives the file its name.
    pub fn finish(self) -> Result<()> {
        self.complete()?.finish()
    }
}

/// Makes the HDF5 file; the path is a label.
fn create(path: &Path, disk: &Shared) -> Result<File> {
    let label = CString::new(path.as_os_str().as_bytes())?;
    let access = FileAccess::build().finish()?;
    let creation = FileCreate::build().finish()?;
    let driver = *DRIVER;
    ensure!(driver >= 0, "HDF5 does not take this program's file driver");
    let info: DriverInfo = Arc::as_ptr(disk);
    let _library = LOCK.lock();
    // SAFETY: the handles are open. HDF5 copies the pointer in `info`, which lives as long as `disk`,
    // and only `open`, which is called by `H5Fcreate`, follows it.
    let id = unsafe {
        ensure!(
            H5Pset_driver(access.id(), driver, (&raw const info).cast()) >= 0,
            "HDF5 does not use this program's file driver"
        );
        H5Fcreate(label.as_ptr(), H5F_ACC_TRUNC, creation.id(), access.id())
    };
    // SAFETY: the handle was made above and belongs to nobody else.
    let file = (id >= 0).then(|| unsafe { hdf5_metno::from_id(id) });
    lock(disk).check()?;
    Ok(file.context("HDF5 cannot make the file")??)
}

type Shared = Arc<Mutex<Disk>>;
/// What a list of access properties holds for the driver.
type DriverInfo = *const Mutex<Disk>;

fn lock(disk: &Mutex<Disk>) -> MutexGuard<'_, Disk> {
    disk.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The file under HDF5's.
struct Disk {
    out: OutFile,
    /// First byte behind what HDF5 has allocated.
    end: u64,
    /// First byte behind what was written.
    eof: u64,
    /// The first error.
    error: Option<io::Error>,
    /// What came after it, in order: offset and bytes.
    unwritten: Vec<(u64, Vec<u8>)>,
    closed: bool,
}

impl Disk {
    fn new(out: OutFile) -> Self {
        Self { out, end: 0, eof: 0, error: None, unwritten: Vec::new(), closed: false }
    }

    fn check(&self) -> io::Result<()> {
        match &self.error {
            None => Ok(()),
            Some(error) => Err(match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => error.kind().into(),
            }),
        }
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        if self.error.is_none() {
            self.error = self.out.write_all_at(bytes, offset).err();
        }
        if self.error.is_some() {
            self.unwritten.push((offset, bytes.to_vec()));
        }
        self.eof = self.eof.max(offset + bytes.len() as u64);
    }

    /// Bytes behind the end are 0.
    fn read(&mut self, offset: u64, bytes: &mut [u8]) {
        bytes.fill(0);
        let mut done = 0;
        while done < bytes.len() {
            match self.out.file().read_at(&mut bytes[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.error.get_or_insert(error);
                    break;
                }
            }
        }
        let end = offset + bytes.len() as u64;
        for (at, unwritten) in &self.unwritten {
            let (from, to) = (offset.max(*at), end.min(at + unwritten.len() as u64));
            if from < to {
                let len = (to - from) as usize;
                bytes[(from - offset) as usize..][..len]
                    .copy_from_slice(&unwritten[(from - at) as usize..][..len]);
            }
        }
    }

    fn truncate(&mut self) {
        if self.end != self.eof && self.error.is_none() {
            self.error = self.out.set_len(self.end).err();
        }
        self.eof = self.end;
    }
}

// From here on HDF5's H5FDdevelop.h (1.14), which hdf5-metno-sys declares without `version` and the
// vector calls.

/// `H5FD_t`, then ours.
#[repr(C)]
struct OpenFile {
    driver_id: hid_t,
    class: *const c_void,
    serial: c_ulong,
    access_flags: c_uint,
    feature_flags: c_ulong,
    max_address: u64,
    base_address: u64,
    threshold: u64,
    alignment: u64,
    paged: bool,
    disk: Shared,
}

type Type = c_int;
type Unused = Option<unsafe extern "C" fn()>;

/// `H5FD_class_t`. Calls that are left out have no type here.
#[repr(C)]
struct Class {
    version: c_uint,
    value: c_int,
    name: *const c_char,
    max_address: u64,
    close_degree: c_int,
    terminate: Unused,
    superblock: [Unused; 3],
    access_size: usize,
    access: [Unused; 3],
    transfer_size: usize,
    transfer: [Unused; 2],
    open: unsafe extern "C" fn(*const c_char, c_uint, hid_t, u64) -> *mut OpenFile,
    close: unsafe extern "C" fn(*mut OpenFile) -> c_int,
    compare: Unused,
    query: unsafe extern "C" fn(*const OpenFile, *mut c_ulong) -> c_int,
    type_map: Unused,
    allocate: Unused,
    free: Unused,
    get_end: unsafe extern "C" fn(*const OpenFile, Type) -> u64,
    set_end: unsafe extern "C" fn(*mut OpenFile, Type, u64) -> c_int,
    get_eof: unsafe extern "C" fn(*const OpenFile, Type) -> u64,
    get_handle: Unused,
    read: unsafe extern "C" fn(*mut OpenFile, Type, hid_t, u64, usize, *mut c_void) -> c_int,
    write: unsafe extern "C" fn(*mut OpenFile, Type, hid_t, u64, usize, *const c_void) -> c_int,
    vectors_and_selections: [Unused; 4],
    flush: Unused,
    truncate: unsafe extern "C" fn(*mut OpenFile, hid_t, bool) -> c_int,
    lock: [Unused; 2],
    delete: Unused,
    control: Unused,
    free_lists: [Type; 7],
}

const CLASS_VERSION: c_uint = 1;
/// Ours to choose beyond those of the library (below 256) and of its tests (below 512).
const CLASS_VALUE: c_int = 0x6362;
/// H5F_CLOSE_WEAK
const CLOSE_WEAK: c_int = 1;
/// H5FD_FLMAP_DICHOTOMY: free space of raw data and of all else.
const FREE_LISTS: [Type; 7] = [1, 1, 1, 3, 3, 1, 1];
/// Metadata aggregated and accumulated, raw data sieved, small data aggregated, and a file that the
/// default driver can read: as sec2.
const FEATURES: c_ulong = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x8000;

/// The driver's handle, negative where HDF5 does not take it. Never given back.
static DRIVER: LazyLock<hid_t> = LazyLock::new(|| {
    let class = Class {
        version: CLASS_VERSION,
        value: CLASS_VALUE,
        name: c"cbp-fast".as_ptr(),
        max_address: i64::MAX.cast_unsigned(),
        close_degree: CLOSE_WEAK,
        terminate: None,
        superblock: [None; 3],
        access_size: size_of::<DriverInfo>(),
        access: [None; 3],
        transfer_size: 0,
        transfer: [None; 2],
        open,
        close,
        compare: None,
        query,
        type_map: None,
        allocate: None,
        free: None,
        get_end,
        set_end,
        get_eof,
        get_handle: None,
        read,
        write: write_bytes,
        vectors_and_selections: [None; 4],
        flush: None,
        truncate,
        lock: [None; 2],
        delete: None,
        control: None,
        free_lists: FREE_LISTS,
    };
    let _library = LOCK.lock();
    // SAFETY: HDF5 copies the class, whose layout is that of `H5FD_class_t`; the name is static.
    unsafe { H5FDregister((&raw const class).cast()) }
});

// SAFETY of all calls below: HDF5 passes what `open` returned, not after `close`, and buffers of the
// length given, while this program holds the library's lock.

unsafe extern "C" fn open(
    _name: *const c_char,
    _flags: c_uint,
    access: hid_t,
    _max_address: u64,
) -> *mut OpenFile {
    // SAFETY: the list of properties is the one that `create` filled; its `Disk` is alive.
    let disk = unsafe {
        let info = H5Pget_driver_info(access) as *const DriverInfo;
        if info.is_null() {
            return ptr::null_mut();
        }
        Arc::increment_strong_count(*info);
        Arc::from_raw(*info)
    };
    Box::into_raw(Box::new(OpenFile {
        driver_id: 0,
        class: ptr::null(),
        serial: 0,
        access_flags: 0,
        feature_flags: 0,
        max_address: 0,
        base_address: 0,
        threshold: 0,
        alignment: 0,
        paged: false,
        disk,
    }))
}

unsafe extern "C" fn close(file: *mut OpenFile) -> c_int {
    // SAFETY: see above.
    let file = unsafe { Box::from_raw(file) };
    lock(&file.disk).closed = true;
    0
}

unsafe extern "C" fn query(_file: *const OpenFile, flags: *mut c_ulong) -> c_int {
    // SAFETY: see above.
    if let Some(flags) = unsafe { flags.as_mut() } {
        *flags = FEATURES;
    }
    0
}

unsafe extern "C" fn get_end(file: *const OpenFile, _type: Type) -> u64 {
    // SAFETY: see above.
    lock(unsafe { &(*file).disk }).end
}

unsafe extern "C" fn set_end(file: *mut OpenFile, _type: Type, address: u64) -> c_int {
    // SAFETY: see above.
    lock(unsafe { &(*file).disk }).end = address;
    0
}

unsafe extern "C" fn get_eof(file: *const OpenFile, _type: Type) -> u64 {
    // SAFETY: see above.
    lock(unsafe { &(*file).disk }).eof
}

unsafe extern "C" fn read(
    file: *mut OpenFile,
    _type: Type,
    _transfer: hid_t,
    offset: u64,
    size: usize,
    buffer: *mut c_void,
) -> c_int {
    // SAFETY: see above.
    let (disk, bytes) =
        unsafe { (&(*file).disk, std::slice::from_raw_parts_mut(buffer.cast::<u8>(), size)) };
    lock(disk).read(offset, bytes);
    0
}

unsafe extern "C" fn write_bytes(
    file: *mut OpenFile,
    _type: Type,
    _transfer: hid_t,
    offset: u64,
    size: usize,
    buffer: *const c_void,
) -> c_int {
    // SAFETY: see above.
    let (disk, bytes) =
        unsafe { (&(*file).disk, std::slice::from_raw_parts(buffer.cast::<u8>(), size)) };
    lock(disk).write(offset, bytes);
    0
}

unsafe extern "C" fn truncate(file: *mut OpenFile, _transfer: hid_t, _closing: bool) -> c_int {
    // SAFETY: see above.
    lock(unsafe { &(*file).disk }).truncate();
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::atomic::faults;

    /// Small datasets, large ones, text, and so many groups that metadata is written more than once.
    fn fill(file: &File) -> Result<()> {
        for i in 0..40 {
            let group = file.create_group(&format!("g{i}"))?;
            group
                .new_dataset::<i64>()
                .shape(3)
                .obj_track_times(false)
                .create("x")?
                .write_raw(&[i, 2, 3])?;
        }
        let values: Vec<f32> = (0..10_000).map(|i| i as f32).collect();
        let dataset = file.new_dataset::<f32>().shape(values.len()).obj_track_times(false);
        dataset.chunk(1000).deflate(4).create("y")?.write_raw(&values)?;
        Ok(())
    }

    #[test]
    fn files_are_those_of_the_library() {
        let folder = tempfile::tempdir().unwrap();
        let [ours, theirs] = ["ours.h5", "theirs.h5"].map(|name| folder.path().join(name));
        write(&ours, fill).unwrap();
        let file = File::create(&theirs).unwrap();
        fill(&file).unwrap();
        file.close().unwrap();
        assert!(std::fs::read(ours).unwrap() == std::fs::read(theirs).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_disk_that_fails_anywhere_is_an_error_and_the_library_lives_on() {
        let steps = faults::every_step("x.h5", |path| write(path, fill));
        assert!(steps > 8, "{steps}");
    }

    #[test]
    fn an_error_of_the_caller_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let error = write(&folder.path().join("x.h5"), |file| {
            fill(file)?;
            anyhow::bail!("no more")
        });
        assert!(error.unwrap_err().to_string().contains("no more"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
