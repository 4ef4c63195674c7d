//! What a file system says about a file: cheap to ask, and enough to tell that bytes read earlier are
//! still these.
//!
//! Two changes within one tick of a clock look like one, so a stat says nothing about a file that
//! changed shortly before it was looked at (as git treats its index). Within one run an older stat is
//! enough. From one run to another it proves nothing by itself: images and archives carry constant
//! times, object stores invent inodes. There the file system must be one that stamps every change with
//! a fine clock of its own, and the file's change time such a stamp.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A file that changed this shortly before it was looked at may change again without a new stamp:
/// clocks of file systems tick every 10 ms at worst, and a server's may be behind ours.
const MARGIN: Duration = Duration::from_secs(3);

/// Identity and times of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stat {
    pub device: u64,
    pub inode: u64,
    /// bytes
    pub size: u64,
    /// Modification time, ns since 1970; can be set to anything by the file's owner.
    pub mtime_ns: i64,
    /// Time of the last change of bytes, name or owner, ns since 1970; set by the system alone.
    pub ctime_ns: i64,
}

impl Stat {
    pub fn of(file: &File) -> io::Result<Self> {
        Ok(Self::from(&file.metadata()?))
    }

    /// True when the file, looked at from `begun` on, cannot change without another stat as long as
    /// this process may live.
    pub fn is_settled(&self, begun: SystemTime) -> bool {
        let begun = begun.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let settled = i128::from(self.ctime_ns) + (MARGIN.as_nanos() as i128);
        // False too where clocks disagree so that the change lies in the future.
        settled <= begun as i128
    }

    /// True when another file, or other bytes of this one, will never have this stat at its path.
    pub fn is_proof(&self, begun: SystemTime, file: &File) -> bool {
        self.is_settled(begun) && self.has_stamp() && stamps_changes(file)
    }

    /// True when the change time is a stamp of a fine clock: whole seconds come of a coarse one, or of
    /// none at all.
    fn has_stamp(&self) -> bool {
        self.ctime_ns % 1_000_000_000 != 0
    }

    /// True when two stats of one path, before and after reading it, show the same content. The
    /// change time is left out: a new link or mode changes no bytes.
    pub fn same_bytes(&self, other: &Self) -> bool {
        Self { ctime_ns: 0, ..*self } == Self { ctime_ns: 0, ..*other }
    }
}

impl From<&Metadata> for Stat {
    fn from(metadata: &Metadata) -> Self {
        let ns = |s: i64, ns: i64| s.saturating_mul(1_000_000_000).saturating_add(ns);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            mtime_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            ctime_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// True on file systems that keep inodes and stamp every change of a file. Those that are not listed
/// (FUSE, images, object stores, FAT) cost another reading of the file, no more.
#[cfg(target_os = "linux")]
fn stamps_changes(file: &File) -> bool {
    // Source: linux/magic.h, statfs(2); Lustre, GPFS, BeeGFS and ZFS from their own sources. Not SMB,
    // whose servers stamp as they please.
    const KNOWN: [u64; 13] = [
        0xEF53,      // ext2, ext3, ext4
        0x5846_5342, // xfs
        0x9123_683E, // btrfs
        0x0102_1994, // tmpfs
        0x794C_7630, // overlayfs
        0xF2F5_2010, // f2fs
        0xCA45_1A4E, // bcachefs
        0x2FC1_2FC1, // zfs
        0x6969,      // nfs
        0x0BD0_0BD0, // lustre
        0x4750_4653, // gpfs
        0x1983_0326, // beegfs
        0x00C3_6400, // ceph
    ];
    rustix::fs::fstatfs(file).is_ok_and(|fs| KNOWN.contains(&(fs.f_type as u64 & 0xFFFF_FFFF)))
}

#[cfg(not(target_os = "linux"))]
fn stamps_changes(_file: &File) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_old_and_fine_stamp_counts() {
        let at = |seconds: u64, ns: u32| UNIX_EPOCH + Duration::new(seconds, ns);
        let stat =
            |ctime_ns| Stat { device: 1, inode: 2, size: 3, mtime_ns: 1_000_000_000, ctime_ns };
        let settled = stat(100_000_000_007);
        assert!(settled.is_settled(at(104, 0)));
        assert!(!settled.is_settled(at(103, 6)), "within the margin");
        assert!(!settled.is_settled(at(100, 7)), "changed just now");
        assert!(!settled.is_settled(at(50, 0)), "the clock went back");
        assert!(!stat(1).is_settled(UNIX_EPOCH), "no clock");
        assert!(settled.has_stamp());
        assert!(!stat(100_000_000_000).has_stamp() && !stat(0).has_stamp(), "whole seconds");
        assert!(settled.same_bytes(&stat(5)));
        assert!(!settled.same_bytes(&Stat { size: 4, ..settled }));
        assert!(!settled.same_bytes(&Stat { inode: 4, ..settled }));
        assert!(!settled.same_bytes(&Stat { mtime_ns: 4, ..settled }));
    }
}
