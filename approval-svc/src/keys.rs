//! Step 8: the service's Ed25519 key. It signs claims and checkpoints; gateways hold only its public half.
//!
//! A rotation makes a new key current while the one before it goes on to sign beside it, so that gateways and auditors
//! with either key agree; it ends when the old key is retired. Both steps are entries of the record.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use crate::data_dir::{self, write_new};
use ed25519_dalek::{Signer, SigningKey};
use holdpoint_core::approval::{ServiceKey, signed_bytes};
use holdpoint_core::audit::note::{self, Checkpoint};
use holdpoint_core::digest::{Digest, hex_decode, hex_encode};
use holdpoint_core::fleet;
use holdpoint_core::freeze;
use subtle::ConstantTimeEq;

#[cfg(test)]
mod tests;

/// Name of the key's file in the data directory.
const FILE_NAME: &str = "service-key.hex";

/// The key that is being retired, while both sign.
const PREVIOUS_NAME: &str = "service-key.previous.hex";
/// A new key on its way into place.
const NEXT_NAME: &str = "service-key.next.hex";
/// The log's name, where it is not that of the key: it stays when the key changes.
const ORIGIN_NAME: &str = "log-origin";

/// The keys that sign. They may change while the service runs ([`ServiceSigner::refresh`]).
pub struct ServiceSigner {
    data_dir: PathBuf,
    keys: RwLock<Arc<Keys>>,
    /// Why the files could not be read the last time; what signs is then as old as that.
    trouble: RwLock<Option<String>>,
}

/// The keys of one moment.
#[derive(PartialEq, Eq)]
struct Keys {
    current: SigningKey,
    /// Signs as well, for gateways that do not trust the current one yet.
    previous: Option<SigningKey>,
    origin: String,
}

/// What the keys sign a text with.
pub struct Signatures {
    /// The current key's, in hex.
    pub signature: String,
    /// The previous one's.
    pub also: Vec<String>,
}

/// Why there is no key to sign with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("cannot read or write the service key `{}`: {error}", file.display())]
    File { file: PathBuf, error: io::Error },
    #[error("whoever runs this may not read the service key `{0}`, which belongs to user {owner}: run it as that user, or give \
             the file to the user of the service: `chown --reference={1} {0}`", file.display(), folder.display())]
    Denied { file: PathBuf, folder: PathBuf, owner: u32 },
    #[error("`{}` is not a service key: put back the original file; a new key needs every gateway's \
             `approval.service_key` changed", file.display())]
    Shape { file: PathBuf },
    #[error("the service key in `{}` is missing: put the original `{FILE_NAME}` back; gateways trust no other",
             data_dir.display())]
    Lost { data_dir: PathBuf },
    #[error("the system gave no random bytes: {0}")]
    Random(getrandom::Error),
    #[error(
        "the key before this one still signs: end that with `holdpoint keys retire` once every gateway trusts the new one"
    )]
    Rotating,
    #[error("no key waits to be retired: begin with `holdpoint keys rotate`")]
    NotRotating,
}

impl ServiceSigner {
    /// Reads the key of this data directory; where there is neither a key nor a record that one has signed, makes one, readable by its owner alone, where there is none.
    pub fn load_or_create(data_dir: &Path) -> Result<Self, KeyError> {
        let file = data_dir.join(FILE_NAME);
        let at_file = |error| KeyError::File { file: file.clone(), error };
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(KeyError::Random)?;
        // Written whole under another name and linked into place: whoever is second finds the first one's key.
        let draft = data_dir.join(format!("{FILE_NAME}.{}", std::process::id()));
        if !file.try_exists().map_err(at_file)? {
            // Whatever makes the database makes the key before it: a database alone has lost the key it trusted.
            if data_dir::database(data_dir).exists() {
                return Err(KeyError::Lost { data_dir: data_dir.to_owned() });
            }
            write_new(&draft, &hex_encode(&seed), None).map_err(at_file)?;
            let linked = fs::hard_link(&draft, &file);
            fs::remove_file(&draft).map_err(at_file)?;
            match linked {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(at_file(error)),
            }
        }
        Self::load(data_dir)
    }

    /// Whether this data directory has a key.
    pub fn is_there(data_dir: &Path) -> bool {
        data_dir.join(FILE_NAME).exists()
    }

    /// Reads the keys of this data directory.
    pub fn load(data_dir: &Path) -> Result<Self, KeyError> {
        let keys = RwLock::new(Arc::new(Keys::load(data_dir)?));
        Ok(Self { data_dir: data_dir.to_owned(), keys, trouble: RwLock::new(None) })
    }

    /// Takes up what `holdpoint keys rotate` or `retire` has changed meanwhile; whether anything has.
    pub fn refresh(&self) -> Result<bool, KeyError> {
        let read = Keys::load(&self.data_dir);
        let trouble = read.as_ref().err().map(ToString::to_string);
        *self.trouble.write().unwrap_or_else(PoisonError::into_inner) = trouble;
        let now = read?;
        let is_changed = *self.keys() != now;
        if is_changed {
            *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(now);
        }
        Ok(is_changed)
    }

    /// Why the keys could not be read again; `None` as long as they can.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The public half of the current key as gateways are configured with it: `ed25519:` and 64 hex digits.
    pub fn public(&self) -> String {
        self.public_key().to_string()
    }

    /// The public half of the current key, as everybody checks with it.
    pub fn public_key(&self) -> ServiceKey {
        ServiceKey::of(self.keys().current.verifying_key())
    }

    /// The public half of the key that is being retired.
    pub fn previous_key(&self) -> Option<ServiceKey> {
        self.keys().previous.as_ref().map(|key| ServiceKey::of(key.verifying_key()))
    }

    /// The public halves of all keys that sign, the current one first.
    pub fn public_keys(&self) -> Vec<ServiceKey> {
        std::iter::once(self.public_key()).chain(self.previous_key()).collect()
    }

    /// The log's name.
    pub fn origin(&self) -> String {
        self.keys().origin.clone()
    }

    fn sign(&self, bytes: &[u8]) -> Signatures {
        let keys = self.keys();
        let sign = |key: &SigningKey| hex_encode(&key.sign(bytes).to_bytes());
        Signatures { signature: sign(&keys.current), also: keys.previous.iter().map(sign).collect() }
    }

    /// Signs the text of a claim.
    pub fn sign_claim(&self, claim: &str) -> Signatures {
        self.sign(&signed_bytes(claim))
    }

    /// Signs the text of a list of freezes.
    pub fn sign_freezes(&self, list: &str) -> Signatures {
        self.sign(&freeze::signed_bytes(list))
    }

    /// Signs the text of an answer to who asks for places.
    pub fn sign_leases(&self, leases: &str) -> Signatures {
        self.sign(&fleet::signed_bytes(leases))
    }

    /// Signs a text of `purpose` that only this service reads again; hex. The purpose keeps it from passing for another.
    pub fn seal(&self, purpose: &str, text: &str) -> String {
        self.sign(&sealed_bytes(purpose, text)).signature
    }

    /// Whether `seal` is what [`ServiceSigner::seal`] gives, or gave before the last rotation.
    pub fn is_sealed(&self, purpose: &str, text: &str, seal: &str) -> bool {
        let Signatures { signature, also } = self.sign(&sealed_bytes(purpose, text));
        std::iter::once(&signature).chain(&also).any(|own| own.as_bytes().ct_eq(seal.as_bytes()).into())
    }

    /// The head of the log as a checkpoint, signed by every key.
    pub fn sign_checkpoint(&self, size: u64, root: Digest) -> String {
        let keys = self.keys();
        let name = &keys.origin;
        let text = note::checkpoint_text(&Checkpoint { origin: name.clone(), size, root });
        let public = |key: &SigningKey| ServiceKey::of(key.verifying_key());
        let signature = |key: &SigningKey| key.sign(text.as_bytes()).to_bytes();
        let first = note::write(name, &public(&keys.current), &text, &signature(&keys.current));
        keys.previous.iter().fold(first, |note, key| note::add_signature(&note, name, &public(key), &signature(key)))
    }
}

fn sealed_bytes(purpose: &str, text: &str) -> Vec<u8> {
    format!("holdpoint/{purpose}/v1\n{text}").into_bytes()
}

impl Keys {
    fn load(data_dir: &Path) -> Result<Self, KeyError> {
        let current =
            read_key(&data_dir.join(FILE_NAME))?.ok_or_else(|| KeyError::Lost { data_dir: data_dir.to_owned() })?;
        // Between two steps of a rotation the file of the previous key holds the current one.
        let previous = read_key(&data_dir.join(PREVIOUS_NAME))?.filter(|previous| *previous != current);
        let file = data_dir.join(ORIGIN_NAME);
        let origin = match fs::read_to_string(&file) {
            Ok(text) => text.trim().to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                note::origin(&ServiceKey::of(current.verifying_key()))
            }
            Err(error) => return Err(unreadable(&file, error)),
        };
        Ok(Self { current, previous, origin })
    }
}

/// `None` where there is no such file.
fn read_key(file: &Path) -> Result<Option<SigningKey>, KeyError> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(file, error)),
    };
    let seed = hex_decode(text.trim()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    match seed {
        Some(seed) => Ok(Some(SigningKey::from_bytes(&seed))),
        None => Err(KeyError::Shape { file: file.to_owned() }),
    }
}

/// Why a file of the keys cannot be read, and where that is to be mended.
fn unreadable(file: &Path, error: io::Error) -> KeyError {
    let folder = file.parent().unwrap_or(file);
    // Whoever may not enter the folder sees at most whose that is.
    match fs::metadata(file).or_else(|_| fs::metadata(folder)) {
        Ok(known) if error.kind() == io::ErrorKind::PermissionDenied => {
            KeyError::Denied { file: file.to_owned(), folder: folder.to_owned(), owner: known.uid() }
        }
        Ok(_) | Err(_) => KeyError::File { file: file.to_owned(), error },
    }
}

/// A new key beside the current one, not in use yet: what its rotation is written down as, before it is put in place.
pub struct NextKey {
    data_dir: PathBuf,
    pub new: ServiceKey,
    pub old: ServiceKey,
}

impl NextKey {
    /// Makes a key, or takes up the one that an interrupted rotation has left.
    pub fn make(data_dir: &Path) -> Result<Self, KeyError> {
        let signer = ServiceSigner::load(data_dir)?;
        if signer.previous_key().is_some() {
            return Err(KeyError::Rotating);
        }
        let file = data_dir.join(NEXT_NAME);
        let next = match read_key(&file)? {
            Some(next) => next,
            None => {
                let mut seed = [0; 32];
                getrandom::fill(&mut seed).map_err(KeyError::Random)?;
                // Whoever reads the key that it follows must come to read it.
                let made = write_new(&file, &hex_encode(&seed), Some(&data_dir.join(FILE_NAME)));
                made.map_err(|error| KeyError::File { file: file.clone(), error })?;
                SigningKey::from_bytes(&seed)
            }
        };
        let new = ServiceKey::of(next.verifying_key());
        Ok(Self { data_dir: data_dir.to_owned(), new, old: signer.public_key() })
    }

    /// Puts it in place. From here on both keys sign, and a running service notices within a second.
    pub fn put_in_place(self) -> Result<(), KeyError> {
        let path = |name: &str| self.data_dir.join(name);
        let at = |name: &str| {
            let file = path(name);
            move |error| KeyError::File { file, error }
        };
        match write_new(&path(ORIGIN_NAME), &note::origin(&self.old), Some(&path(FILE_NAME))) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(at(ORIGIN_NAME)(error)),
        }
        match fs::hard_link(path(FILE_NAME), path(PREVIOUS_NAME)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(at(PREVIOUS_NAME)(error)),
        }
        fs::rename(path(NEXT_NAME), path(FILE_NAME)).map_err(at(FILE_NAME))?;
        File::open(&self.data_dir).and_then(|dir| dir.sync_all()).map_err(at(FILE_NAME))
    }
}

/// Takes the previous key away for good.
pub fn remove_previous(data_dir: &Path) -> Result<(), KeyError> {
    let file = data_dir.join(PREVIOUS_NAME);
    fs::remove_file(&file).map_err(|error| KeyError::File { file, error })
}

/// Copies the keys of one data directory into another that has none: the current one, one that is being retired, and the
/// log's name.
pub fn copy(from: &Path, into: &Path) -> Result<(), KeyError> {
    ServiceSigner::load(from)?;
    // The current key last: where it is, all of them are.
    for name in [ORIGIN_NAME, PREVIOUS_NAME, FILE_NAME] {
        let file = from.join(name);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(unreadable(&file, error)),
        };
        let file = into.join(name);
        write_new(&file, text.trim(), None).map_err(|error| KeyError::File { file, error })?;
    }
    Ok(())
}
