//! The data directory: the database and the service key. Whoever can read it can sign; so only its owner can.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Name of the database's file.
const DATABASE: &str = "holdpoint.db";
/// Name of the file in which a running service notes where it listens.
const ADDRESS: &str = "address";

/// The directory could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot write in the data directory `{}`: {error}: choose another with `--data-dir`", dir.display())]
pub struct DataDirError {
    dir: PathBuf,
    error: io::Error,
}

/// Makes the directory, closed to others, unless it is there.
pub fn create(dir: &Path) -> Result<(), DataDirError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| DataDirError { dir: dir.to_owned(), error })
}

/// Makes the database's file, readable by its owner alone, unless it is there: it holds the arguments of every held call.
pub fn create_database(dir: &Path) -> Result<PathBuf, DataDirError> {
    let file = database(dir);
    let made = OpenOptions::new().append(true).create(true).mode(0o600).open(&file);
    made.map(|_| file).map_err(|error| DataDirError { dir: dir.to_owned(), error })
}

/// Where its database is.
pub fn database(dir: &Path) -> PathBuf {
    dir.join(DATABASE)
}

/// Notes where the service listens, for links that the command line prints.
pub fn note_address(dir: &Path, address: SocketAddr) -> io::Result<()> {
    std::fs::write(dir.join(ADDRESS), format!("{address}\n"))
}

/// Where a browser on this machine reaches the service that runs, or ran last, on this directory.
pub fn noted_address(dir: &Path) -> Option<SocketAddr> {
    let mut address: SocketAddr = std::fs::read_to_string(dir.join(ADDRESS)).ok()?.trim().parse().ok()?;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    Some(address)
}
