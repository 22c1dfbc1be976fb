//! Step 8: the service's Ed25519 key. It signs claims and checkpoints; gateways hold only its public half.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::data_dir;
use ed25519_dalek::{Signer, SigningKey};
use holdpoint_core::approval::{ServiceKey, signed_bytes};
use holdpoint_core::audit::note::{self, Checkpoint};
use holdpoint_core::digest::{Digest, hex_decode, hex_encode};
use holdpoint_core::freeze;
use subtle::ConstantTimeEq;

#[cfg(test)]
mod tests;

/// Name of the key's file in the data directory.
const FILE_NAME: &str = "service-key.hex";

/// The key that signs.
pub struct ServiceSigner(SigningKey);

/// Why there is no key to sign with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("cannot read or write the service key `{}`: {error}", file.display())]
    File { file: PathBuf, error: io::Error },
    #[error("`{}` is not a service key: put back the original file; a new key needs every gateway's \
             `approval.service_key` changed", file.display())]
    Shape { file: PathBuf },
    #[error("the service key in `{}` is missing: put the original `{FILE_NAME}` back; gateways trust no other",
             data_dir.display())]
    Lost { data_dir: PathBuf },
    #[error("the system gave no random bytes: {0}")]
    Random(getrandom::Error),
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
            let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).map_err(at_file)?;
            out.write_all(hex_encode(&seed).as_bytes()).and_then(|()| out.sync_all()).map_err(at_file)?;
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

    /// Reads the key of this data directory.
    pub fn load(data_dir: &Path) -> Result<Self, KeyError> {
        let file = data_dir.join(FILE_NAME);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(KeyError::Lost { data_dir: data_dir.to_owned() });
            }
            Err(error) => return Err(KeyError::File { file, error }),
        };
        let seed = hex_decode(text.trim()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        match seed {
            Some(seed) => Ok(Self(SigningKey::from_bytes(&seed))),
            None => Err(KeyError::Shape { file }),
        }
    }

    /// The public half as gateways are configured with it: `ed25519:` and 64 hex digits.
    pub fn public(&self) -> String {
        format!("ed25519:{}", hex_encode(self.0.verifying_key().as_bytes()))
    }

    /// The public half, as everybody checks with it.
    pub fn public_key(&self) -> ServiceKey {
        ServiceKey::of(self.0.verifying_key())
    }

    /// Signs the text of a claim; 64 bytes in hex.
    pub fn sign_claim(&self, claim: &str) -> String {
        hex_encode(&self.0.sign(&signed_bytes(claim)).to_bytes())
    }

    /// Signs the text of a list of freezes; 64 bytes in hex.
    pub fn sign_freezes(&self, list: &str) -> String {
        hex_encode(&self.0.sign(&freeze::signed_bytes(list)).to_bytes())
    }

    /// Signs a text of `purpose` that only this service reads again; hex. The purpose keeps it from passing for another.
    pub fn seal(&self, purpose: &str, text: &str) -> String {
        hex_encode(&self.0.sign(format!("holdpoint/{purpose}/v1\n{text}").as_bytes()).to_bytes())
    }

    /// Whether `seal` is what [`ServiceSigner::seal`] gives.
    pub fn is_sealed(&self, purpose: &str, text: &str, seal: &str) -> bool {
        self.seal(purpose, text).as_bytes().ct_eq(seal.as_bytes()).into()
    }

    /// The head of the log as a signed checkpoint of this key.
    pub fn sign_checkpoint(&self, size: u64, root: Digest) -> String {
        let key = self.public_key();
        let origin = note::origin(&key);
        let text = note::checkpoint_text(&Checkpoint { origin: origin.clone(), size, root });
        note::write(&origin, &key, &text, &self.0.sign(text.as_bytes()).to_bytes())
    }
}
