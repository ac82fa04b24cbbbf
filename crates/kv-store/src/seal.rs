//! Encryption of entries at rest: XChaCha20-Poly1305 with a key from a file that only its owner
//! reads. Whoever has the folder and not the key learns sizes, times and the model, and no prefix.

use std::io;
use std::path::Path;

use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{AeadInOut, KeyInit};

use crate::disk::Disk;
use crate::key::Key;

/// Bytes of a nonce. So long that random ones never meet.
pub(crate) const NONCE_BYTES: usize = 24;

/// Bytes that sealing adds.
pub(crate) const TAG_BYTES: usize = 16;

/// Bytes of the key.
const KEY_BYTES: usize = 32;

/// Contexts of the keys that are derived from the one in the file. They are part of the format.
const CONTENT: &str = "resident kv-store 2026-11 content key";
const NAMES: &str = "resident kv-store 2026-11 names key";

/// A key, ready for use.
pub struct Seal {
    cipher: XChaCha20Poly1305,
    names: [u8; KEY_BYTES],
}

impl Seal {
    /// The seal with this key.
    #[must_use]
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        let content = blake3::derive_key(CONTENT, key);
        let cipher = XChaCha20Poly1305::new(&content.into());
        Self { cipher, names: blake3::derive_key(NAMES, key) }
    }

    /// The seal with the key in this file, which is made at first use. The caller holds the folder's
    /// lock when the file does not exist.
    pub(crate) fn from_file(disk: &dyn Disk, path: &Path) -> io::Result<Self> {
        let shown = path.display();
        if disk.read(path, 0).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            let mut key = [0; KEY_BYTES];
            getrandom::fill(&mut key)
                .map_err(|error| io::Error::other(format!("no randomness: {error}")))?;
            if let Some(folder) = path.parent() {
                disk.make_folder(folder)?;
            }
            let half_made = path.with_extension("tmp");
            // What an earlier attempt left behind is no key.
            let _ = disk.remove(&half_made);
            disk.write_new(&half_made, &[&key], disk.now())?;
            disk.rename(&half_made, path)?;
        }
        if !disk.is_private(path)? {
            return Err(io::Error::other(format!(
                "{shown} can be read by others; it must belong to its owner alone (chmod 600)"
            )));
        }
        let key = disk.read(path, KEY_BYTES + 1)?.head;
        let bytes = key.len();
        let key: [u8; KEY_BYTES] = key.try_into().map_err(|_| {
            io::Error::other(format!(
                "{shown} must hold {KEY_BYTES} bytes and holds {bytes}; remove it to get a new key"
            ))
        })?;
        Ok(Self::new(&key))
    }

    /// A new random nonce.
    pub(crate) fn nonce() -> Result<[u8; NONCE_BYTES], String> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|error| format!("no randomness: {error}"))?;
        Ok(nonce)
    }

    /// The root under which sealed chains begin, so that no key or file name can be computed by one
    /// who merely guesses what was written.
    pub(crate) fn root(&self, root: Key) -> Key {
        Key(blake3::keyed_hash(&self.names, &root.0).into())
    }

    /// Encrypts; `bound` is what the content is bound to.
    pub(crate) fn close(
        &self,
        nonce: &[u8; NONCE_BYTES],
        bound: &[u8],
        mut content: Vec<u8>,
    ) -> Result<Vec<u8>, String> {
        let closed = self.cipher.encrypt_in_place(&(*nonce).into(), bound, &mut content);
        closed.map_err(|_| "too long to be sealed".to_owned())?;
        Ok(content)
    }

    /// Decrypts what was closed with the same nonce and bound to the same; nothing else opens.
    pub(crate) fn open(
        &self,
        nonce: &[u8; NONCE_BYTES],
        bound: &[u8],
        mut content: Vec<u8>,
    ) -> Option<Vec<u8>> {
        self.cipher.decrypt_in_place(&(*nonce).into(), bound, &mut content).ok()?;
        Some(content)
    }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is not for logs.
        formatter.write_str("Seal")
    }
}
