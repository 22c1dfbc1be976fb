//! Steps 8 to 12: which other process holds the right to write to the file, as far as the system tells.
//!
//! It is read from the system's list of locks. To ask for a lock of one's own would open the file once more, and closing it
//! again would give up the locks that SQLite has on it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

#[cfg(test)]
mod tests;

/// Linux: one line for each lock on a file.
const LOCKS: &str = "/proc/locks";
/// In the index of the write-ahead log, the byte that whoever writes has locked.
const WRITE_BYTE: u64 = 120;

/// Who else may write at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// This process.
    Process(u32),
    /// Nobody who can be seen from here. Another container's processes cannot.
    Nobody,
    /// The system does not tell.
    Unknown,
}

/// Which process other than this one has the database `file` locked for writing.
pub fn writer(file: &Path) -> Writer {
    let Ok(locks) = fs::read_to_string(LOCKS) else { return Writer::Unknown };
    let mut index = OsString::from(file);
    index.push("-shm");
    // Until it keeps a write-ahead log, the file itself is locked.
    let files = [(inode(file), None), (inode(Path::new(&index)), Some(WRITE_BYTE))];
    let mut found = files.into_iter().filter_map(|(inode, byte)| holder(&locks, &inode?, byte));
    found.next().map_or(Writer::Nobody, Writer::Process)
}

/// Device and number of a file, as they stand in the list.
fn inode(file: &Path) -> Option<String> {
    let known = fs::metadata(file).ok()?;
    let device = known.dev();
    // Two parts that are each in two pieces, as the system's C library takes them apart.
    let major = (device >> 8 & 0xfff) | (device >> 32 & !0xfff);
    let minor = (device & 0xff) | (device >> 12 & !0xff & 0xffff_ffff);
    Some(format!("{major:02x}:{minor:02x}:{}", known.ino()))
}

/// The process, not this one, that has this byte of the file, or any, locked for itself.
fn holder(locks: &str, inode: &str, byte: Option<u64>) -> Option<u32> {
    // `7: POSIX  ADVISORY  WRITE 4711 fe:00:5243 120 120`; whoever waits for it has an arrow after the number.
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let &[_, "POSIX", _, "WRITE", process, of, first, last] = fields.as_slice() else { return None };
        let last = last.parse().unwrap_or(u64::MAX);
        let covers = byte.is_none_or(|byte| first.parse().is_ok_and(|first: u64| first <= byte && byte <= last));
        let process = process.parse().ok().filter(|process| *process != std::process::id())?;
        (of == inode && covers).then_some(process)
    })
}
