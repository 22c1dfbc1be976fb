//! The data directory: the database and the service key. Whoever can read it can sign; so only its owner can. One service at
//! a time serves it; commands work beside that one, and what they make there belongs to it.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

#[cfg(test)]
mod tests;

/// Name of the database's file.
const DATABASE: &str = "holdpoint.db";
/// Name of the file in which a running service notes where it listens.
const ADDRESS: &str = "address";
/// Name of the file that a running service has locked. It says which process that is, and where it listens.
const SERVING: &str = "serving";
/// Most bytes of it that are read.
const SERVING_BYTES_MAX: u64 = 200;

/// The directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("cannot write in the data directory `{}`: {error}: choose another with `--data-dir`", dir.display())]
    Write { dir: PathBuf, error: io::Error },
    #[error(
        "another service{by} serves `{}`{at}: end that one first; several at once need PostgreSQL (`--database-url`), see the \
         README",
        dir.display()
    )]
    Served { dir: PathBuf, by: String, at: String },
}

/// That this process is the one that serves a directory, until it ends, in whatever way.
#[derive(Debug)]
pub struct Serving {
    file: File,
}

/// Makes the directory, closed to others, unless it is there.
pub fn create(dir: &Path) -> Result<(), DataDirError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| DataDirError::Write { dir: dir.to_owned(), error })
}

/// Takes the directory for the service that this process is; commands do not ask. Two services would each decide by what
/// they remember of one database. The system gives the lock up when the process ends.
pub fn serve(dir: &Path) -> Result<Serving, DataDirError> {
    let path = dir.join(SERVING);
    let at = |error| DataDirError::Write { dir: dir.to_owned(), error };
    let is_new = !path.exists();
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(at)?;
    let serving = Serving { file: locked(dir, file)? };
    if is_new {
        hand_over(&serving.file, &path, None).map_err(at)?;
    }
    serving.note("");
    Ok(serving)
}

/// Keeps services away from a directory that one may have served before; an error while one does.
pub fn keep_unserved(dir: &Path) -> Result<Option<Serving>, DataDirError> {
    match OpenOptions::new().read(true).write(true).open(dir.join(SERVING)) {
        Ok(file) => Ok(Some(Serving { file: locked(dir, file)? })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DataDirError::Write { dir: dir.to_owned(), error }),
    }
}

fn locked(dir: &Path, file: File) -> Result<File, DataDirError> {
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(error)) => Err(DataDirError::Write { dir: dir.to_owned(), error }),
        Err(TryLockError::WouldBlock) => {
            let mut said = String::new();
            // What it does not say of itself is left out.
            let _ = file.take(SERVING_BYTES_MAX).read_to_string(&mut said);
            let mut words = said.split_whitespace();
            let by = words.next().and_then(|word| word.parse::<u32>().ok());
            let at = words.next().and_then(|word| word.parse::<SocketAddr>().ok());
            Err(DataDirError::Served {
                dir: dir.to_owned(),
                by: by.map(|process| format!(" (pid {process})")).unwrap_or_default(),
                at: at.map(|address| format!(" at {address}")).unwrap_or_default(),
            })
        }
    }
}

impl Serving {
    /// Says where the service listens, for whoever is refused.
    pub fn listens(&self, address: SocketAddr) {
        self.note(&format!(" {address}"));
    }

    /// A full disk keeps nobody from serving.
    fn note(&self, address: &str) {
        use std::os::unix::fs::FileExt as _;
        let text = format!("{}{address}\n", std::process::id());
        let _ = self.file.set_len(0).and_then(|()| self.file.write_all_at(text.as_bytes(), 0));
    }
}

/// Gives a file that root has just made at `path` to whom it must belong: as `like`, the file whose place it takes, with its
/// rights, or as its folder. The service runs as a user of its own and would not be able to read it.
pub fn hand_over(file: &File, path: &Path, like: Option<&Path>) -> io::Result<()> {
    let own = file.metadata()?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let model = fs::metadata(like.unwrap_or(folder))?;
    let mode = if like.is_some() { model.mode() & 0o777 } else { own.mode() & 0o777 };
    file.set_permissions(Permissions::from_mode(mode))?;
    if (own.uid(), own.gid()) == (model.uid(), model.gid()) {
        return Ok(());
    }
    let Err(error) = fchown(file, Some(model.uid()), Some(model.gid())) else { return Ok(()) };
    // A volume belongs to root where only a group of the service's user may write to it: then who makes a file is who reads it.
    let is_for_us = like.is_none() && own.uid() != 0;
    let is_same_user = own.uid() == model.uid() && mode & 0o070 == 0;
    if is_for_us || is_same_user {
        return Ok(());
    }
    let (user, group) = (model.uid(), model.gid());
    let why = format!("{error}: it must belong to user {user} and group {group}; run this as that user, or as root");
    Err(io::Error::new(error.kind(), why))
}

/// Makes a file that is not there yet, readable by its owner alone; see [`hand_over`]. One that cannot be made whole is
/// removed.
pub fn write_new(file: &Path, text: &str, like: Option<&Path>) -> io::Result<()> {
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    let written = out.write_all(text.as_bytes()).and_then(|()| out.sync_all());
    let written = written.and_then(|()| hand_over(&out, file, like));
    if written.is_err() {
        // The error says why there is none.
        let _ = fs::remove_file(file);
    }
    written
}

/// Makes the database's file, readable by its owner alone, unless it is there: it holds the arguments of every held call.
pub fn create_database(dir: &Path) -> Result<PathBuf, DataDirError> {
    let file = database(dir);
    let at = |error| DataDirError::Write { dir: dir.to_owned(), error };
    match OpenOptions::new().append(true).create_new(true).mode(0o600).open(&file) {
        // Files that SQLite makes beside it belong to whom it belongs to.
        Ok(made) => hand_over(&made, &file, None).map_err(at)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            OpenOptions::new().append(true).open(&file).map_err(at)?;
        }
        Err(error) => return Err(at(error)),
    }
    Ok(file)
}

/// Where its database is.
pub fn database(dir: &Path) -> PathBuf {
    dir.join(DATABASE)
}

/// Notes where the service listens, for links that the command line prints.
pub fn note_address(dir: &Path, address: SocketAddr) -> io::Result<()> {
    let path = dir.join(ADDRESS);
    let is_new = !path.exists();
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
    file.write_all(format!("{address}\n").as_bytes())?;
    if is_new { hand_over(&file, &path, None) } else { Ok(()) }
}

/// Where a browser on this machine reaches the service that runs, or ran last, on this directory.
pub fn noted_address(dir: &Path) -> Option<SocketAddr> {
    let mut address: SocketAddr = fs::read_to_string(dir.join(ADDRESS)).ok()?.trim().parse().ok()?;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    Some(address)
}
