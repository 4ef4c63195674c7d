//! What the bytes of a file hash to, and a memory of it, so that an unchanged file is not read again.
//!
//! In: a path. Out: its `Fingerprint`. The memory is one small file in the cache folder, beside a copy
//! of what this process has learnt. An entry holds for a path whose stat is the one that was hashed
//! (see `store::stat` for when a stat proves that), and is no more than a shortcut: without it, or
//! when it is damaged, of another version or cannot be written, files are hashed again.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::error::Problem;
use crate::files::atomic;
use crate::input::lines;
use crate::store::format::{Fingerprint, HEADER, Kind};
use crate::store::mapped::ReadBuffer;
use crate::store::stat::Stat;

/// Name of the memory in a cache folder.
const INDEX: &str = "content-hashes.json";
/// Raised when the meaning of an entry changes.
const VERSION: u32 = 1;
/// Smaller files are hashed sooner than found.
const WORTH_REMEMBERING: u64 = 1 << 20;
/// Entries kept, the newest: some 300 bytes each.
const MOST: usize = 4096;

/// A file that is about to be read, as it was before.
pub struct Watched {
    path: PathBuf,
    stat: Stat,
    begun: SystemTime,
    /// True when the stat proves the content to other runs, too.
    is_proof: bool,
}

impl Watched {
    /// A pipe is known by what it gave, which `lines` keeps.
    ///
    /// Errors: a missing or unreadable file.
    pub fn begin(path: &Path) -> Result<Self> {
        let begun = SystemTime::now();
        let file = lines::open_file(path)?;
        let metadata = file.metadata().map_err(|e| lines::unreadable(path, &e))?;
        let stat = Stat::from(&metadata);
        let is_proof = stat.is_proof(begun, &file);
        Ok(Self { path: path.to_path_buf(), stat, begun, is_proof })
    }

    /// Errors when the file is not what it was: what was read of it may be of two files.
    pub fn check(&self) -> Result<()> {
        let file = lines::open_file(&self.path)?;
        let now = Stat::of(&file).map_err(|e| lines::unreadable(&self.path, &e))?;
        match now.same_bytes(&self.stat) {
            true => Ok(()),
            false => Err(Problem::new("the file changed while it was read")
                .at(self.path.display())
                .fix("wait until it is complete, then run the same command again")
                .into()),
        }
    }

    fn fingerprint(&self, xxh3: String) -> Fingerprint {
        let name = self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy();
        let Stat { size, mtime_ns, .. } = self.stat;
        Fingerprint { name: name.into_owned(), size, mtime_ns, xxh3 }
    }

    /// The path that entries go by; `None` for a file that is not remembered.
    fn key(&self) -> Option<String> {
        let worth = self.stat.size >= WORTH_REMEMBERING && self.stat.is_settled(self.begun);
        let whole = worth.then(|| fs::canonicalize(&self.path).ok()).flatten()?;
        whole.to_str().map(str::to_string)
    }

    /// What the file is, if that is remembered.
    pub fn known(&self, cache_dir: Option<&Path>) -> Option<Fingerprint> {
        let key = self.key()?;
        let mut learnt = LEARNT.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match learnt.get(&key).filter(|entry| entry.stat == self.stat) {
            Some(entry) => entry.clone(),
            None => {
                let index = cache_dir.filter(|_| self.is_proof)?.join(INDEX);
                let entry = read(&index).remove(&key).filter(|entry| entry.stat == self.stat)?;
                learnt.insert(key, entry.clone());
                entry
            }
        };
        Some(self.fingerprint(found.xxh3))
    }

    /// Notes what the file hashed to; call after `check`. Written into `cache_dir` where that is
    /// there.
    pub fn learn(&self, xxh3: &str, cache_dir: Option<&Path>) {
        let Some(key) = self.key() else { return };
        let hashed = self.begun.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let (stat, xxh3, is_proof) = (self.stat, xxh3.to_string(), self.is_proof);
        let entry = Entry { stat, xxh3, hashed, is_proof };
        LEARNT.lock().unwrap_or_else(PoisonError::into_inner).insert(key, entry);
        if let Some(folder) = cache_dir {
            save(folder);
        }
    }
}

/// Writes what this process has learnt into `cache_dir`, where that is there.
pub fn save(cache_dir: &Path) {
    let learnt = LEARNT.lock().unwrap_or_else(PoisonError::into_inner);
    if learnt.values().any(|entry| entry.is_proof) && cache_dir.is_dir() {
        // Without it files are merely hashed again.
        let _ = write(&cache_dir.join(INDEX), &learnt);
    }
}

/// What a file is: name, size, time and content. Of a pack only the header is hashed, which holds the
/// checksum of the rest; opening it compares the two.
///
/// Errors: a file that cannot be read, or changes meanwhile.
pub fn fingerprint(path: &Path, cache_dir: Option<&Path>) -> Result<Fingerprint> {
    let watched = Watched::begin(path)?;
    if let Some(known) = watched.known(cache_dir) {
        return Ok(known);
    }
    let is_pack = pack_kind(path)?.is_some();
    let limit = if is_pack { HEADER as u64 } else { u64::MAX };
    let xxh3 = hex(hash(path, limit)?);
    watched.check()?;
    if !is_pack {
        watched.learn(&xxh3, cache_dir);
    }
    Ok(watched.fingerprint(xxh3))
}

/// The kind of pack that `path` is, by its first bytes; `None` for any other file.
pub fn pack_kind(path: &Path) -> Result<Option<Kind>> {
    let file = lines::open_file(path)?;
    if !file.metadata().map_err(|e| lines::unreadable(path, &e))?.is_file() {
        return Ok(None);
    }
    let mut start = Vec::with_capacity(8);
    file.take(8).read_to_end(&mut start).map_err(|e| lines::unreadable(path, &e))?;
    Ok(Kind::of(&start))
}

/// xxh3 of the first `limit` bytes of a file.
pub fn hash(path: &Path, limit: u64) -> Result<u64> {
    let mut file = lines::open_file(path)?.take(limit);
    let mut hash = Xxh3::new();
    let mut buffer = ReadBuffer::new(1 << 18);
    loop {
        let bytes = buffer.bytes();
        match file.read(bytes) {
            Ok(0) => return Ok(hash.digest()),
            Ok(n) => hash.update(&bytes[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(lines::unreadable(path, &e).into()),
        }
    }
}

pub fn hex(hash: u64) -> String {
    format!("{hash:016x}")
}

/// A file that was hashed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Entry {
    #[serde(flatten)]
    stat: Stat,
    /// 16 hex digits.
    xxh3: String,
    /// When, seconds since 1970.
    hashed: u64,
    /// It may be written; one that was read is written already.
    #[serde(skip)]
    is_proof: bool,
}

/// By whole path, symlinks resolved.
type Entries = BTreeMap<String, Entry>;

/// What this process has hashed or found.
static LEARNT: Mutex<Entries> = Mutex::new(Entries::new());

#[derive(Serialize, Deserialize)]
struct Index {
    version: u32,
    /// xxh3 of `files` as JSON: an entry that was damaged would name a wrong content.
    checksum: String,
    files: Entries,
}

fn checksum(files: &Entries) -> String {
    hex(xxh3_64(&serde_json::to_vec(files).unwrap_or_default()))
}

/// Entries of an index; none where it is missing, damaged or of another version.
fn read(path: &Path) -> Entries {
    let index = fs::read(path).ok().and_then(|text| serde_json::from_slice::<Index>(&text).ok());
    match index {
        Some(Index { version: VERSION, checksum: sum, files }) if sum == checksum(&files) => files,
        _ => Entries::new(),
    }
}

/// Adds `learnt` to an index. Of two processes that write at once one may lose what it added, which
/// is hashed again some day.
fn write(path: &Path, learnt: &Entries) -> Result<()> {
    let mut files = read(path);
    let proven = learnt.iter().filter(|(_, entry)| entry.is_proof);
    files.extend(proven.map(|(path, entry)| (path.clone(), entry.clone())));
    if files.len() > MOST {
        let mut times: Vec<u64> = files.values().map(|entry| entry.hashed).collect();
        times.sort_unstable();
        let oldest = times[files.len() - MOST];
        files.retain(|_, entry| entry.hashed >= oldest);
    }
    let index = Index { version: VERSION, checksum: checksum(&files), files };
    let text = serde_json::to_vec_pretty(&index)?;
    atomic::write(path, |out| Ok(out.write_all(&text)?))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::Duration;

    use super::*;

    /// A folder with a file of `WORTH_REMEMBERING` bytes.
    struct Place {
        folder: tempfile::TempDir,
        file: PathBuf,
    }

    impl Place {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("x.bam");
            let place = Self { folder, file };
            place.fill(b'a');
            place
        }

        fn fill(&self, byte: u8) {
            fs::write(&self.file, vec![byte; WORTH_REMEMBERING as usize]).unwrap();
        }

        /// The file as it will be seen some time after its last change.
        fn later(&self) -> Watched {
            let begun = SystemTime::now() + Duration::from_secs(60);
            let file = File::open(&self.file).unwrap();
            let stat = Stat::of(&file).unwrap();
            let is_proof = stat.is_proof(begun, &file);
            Watched { path: self.file.clone(), stat, begun, is_proof }
        }

        fn index(&self) -> PathBuf {
            self.folder.path().join(INDEX)
        }
    }

    /// Forgets what this process knows of `place`, as another process would.
    fn forget(place: &Place) {
        let key = fs::canonicalize(&place.file).unwrap();
        LEARNT.lock().unwrap().remove(key.to_str().unwrap());
    }

    #[test]
    fn an_unchanged_file_is_known_and_a_changed_one_is_not() {
        let place = Place::new();
        let cache = Some(place.folder.path());
        if !place.later().is_proof {
            println!("skipped: this file system does not stamp changes");
            return;
        }
        assert_eq!(place.later().known(cache), None);
        place.later().learn("00000000deadbeef", cache);
        assert_eq!(place.later().known(None).unwrap().xxh3, "00000000deadbeef");
        forget(&place);
        assert_eq!(place.later().known(None), None);
        assert_eq!(place.later().known(cache).unwrap().xxh3, "00000000deadbeef");
        assert_eq!(
            fingerprint(&place.file, cache).unwrap().xxh3,
            hex(hash(&place.file, u64::MAX).unwrap()),
            "it changed just now"
        );
        // Where a stat is no proof, it holds within this process alone.
        let elsewhere = || Watched { is_proof: false, ..place.later() };
        assert!(elsewhere().known(None).is_some());
        forget(&place);
        assert_eq!(elsewhere().known(cache), None);
        // Other bytes, the same size and time of modification.
        let modified = fs::metadata(&place.file).unwrap().modified().unwrap();
        place.fill(b'b');
        File::options().write(true).open(&place.file).unwrap().set_modified(modified).unwrap();
        assert_eq!(fs::metadata(&place.file).unwrap().modified().unwrap(), modified);
        assert_eq!(place.later().known(cache), None);
        // A copy with equal times in another folder is another file.
        let copy = tempfile::tempdir().unwrap();
        let file = copy.path().join("x.bam");
        fs::copy(&place.file, &file).unwrap();
        place.later().learn("0000000000000001", cache);
        assert_eq!(Place { folder: copy, file }.later().known(cache), None);
    }

    #[test]
    fn a_damaged_or_foreign_index_holds_nothing() {
        let place = Place::new();
        if !place.later().is_proof {
            println!("skipped: this file system does not stamp changes");
            return;
        }
        let cache = Some(place.folder.path());
        place.later().learn("00000000deadbeef", cache);
        let whole = fs::read(place.index()).unwrap();
        let text = String::from_utf8(whole.clone()).unwrap();
        for other in [
            text.replace("\"version\": 1", "\"version\": 2"),
            text.replace("deadbeef", "deadbeee"),
            text.replace("\"inode\": ", "\"inode\": 1"),
            text[..text.len() / 2].to_string(),
            String::new(),
            "[]".to_string(),
        ] {
            assert_ne!(other, text);
            fs::write(place.index(), other).unwrap();
            forget(&place);
            assert_eq!(place.later().known(cache), None);
        }
        // It is written anew, and nobody minds where that is not possible.
        place.later().learn("00000000deadbeef", cache);
        assert!(!read(&place.index()).is_empty());
        place.later().learn("00000000deadbeef", Some(Path::new("/proc/self")));
        place.later().learn("00000000deadbeef", Some(Path::new("no/such/folder")));
    }

    #[test]
    fn what_changed_just_now_and_what_is_small_is_hashed_every_time() {
        let place = Place::new();
        let cache = Some(place.folder.path());
        fingerprint(&place.file, cache).unwrap();
        assert!(!place.index().exists(), "remembered although it may change within a tick");
        fs::write(&place.file, "small").unwrap();
        place.later().learn("0000000000000001", cache);
        assert!(!place.index().exists());
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_is_an_error() {
        let place = Place::new();
        let watched = Watched::begin(&place.file).unwrap();
        watched.check().unwrap();
        File::options().append(true).open(&place.file).unwrap().write_all(b"x").unwrap();
        let text = watched.check().unwrap_err().to_string();
        assert!(text.contains("changed while it was read") && text.contains("x.bam"), "{text}");
    }
}
