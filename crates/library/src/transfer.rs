//! Brings one file here, and always finishes: over several connections, each of which may fail, stall or slow down,
//! from any of its addresses, through restarts of this program, down to the right digest.
//!
//! A file comes as ranges (`plan` says which connection fetches which), is written where it belongs (`keep`), noted
//! in a journal (`journal`), and hashed as far as it is there from the beginning on (`follow`). Whatever passes, such
//! as a network that is gone, is waited for; whatever does not, ends it, and all bytes stay for the next time. Not
//! here: what a file is wanted for (`sources`), and where it belongs when it is whole (`store`).

mod again;
mod drive;
mod error;
mod follow;
mod head;
mod journal;
mod keep;
mod lane;
mod origins;
mod pace;
mod place;
mod plan;
mod progress;
mod ranges;
mod rate;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::sync::watch;

pub use crate::wanted::{Key, Wanted};
use crate::{digest::Sha256, limits, outside::Outside};
use drive::Drive;
pub use error::Error;
use error::of_disk;
use keep::{Keep, Lock};
pub(crate) use pace::MayPass;
pub use pace::Pace;
pub use rate::Rate;

/// How a file is brought here.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The most connections at a time; small files take fewer.
    pub connections: usize,
    /// A bandwidth limit, shared with whoever has the same.
    pub rate: Option<Arc<Rate>>,
    /// Waits and thresholds.
    pub pace: Pace,
}

impl Default for Terms {
    fn default() -> Self {
        Self { connections: limits::CONNECTIONS, rate: None, pace: Pace::default() }
    }
}

/// How a transfer stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// What is here.
    pub done_bytes: u64,
    /// The length of the file, once that is known.
    pub whole_bytes: Option<u64>,
    /// How fast it comes, over some seconds.
    pub bytes_per_s: u64,
    /// How long it takes at that rate.
    pub left: Option<Duration>,
    /// Connections that are open or being opened.
    pub connections: usize,
    /// What it waits for or does, when it is not simply fetching.
    pub note: Option<String>,
}

/// A file that is whole, durable, and has the right digest.
#[derive(Debug)]
pub struct Fetched {
    /// Where it is, for whoever takes it from there.
    pub path: PathBuf,
    /// What it hashes to.
    pub digest: Sha256,
    /// Its length.
    pub bytes: u64,
    /// Nobody else works on this file before it was taken away.
    held: Held,
}

impl Fetched {
    /// The library has it now: what is here of it is forgotten, and whoever waits for it hears that.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn taken(self) -> Result<(), Error> {
        let lock = match &self.held {
            Held::Lock(lock) => lock,
            Held::Keep(keep) => keep.lock(),
        };
        lock.say_taken(&self.digest, self.bytes);
        self.path.parent().map_or(Ok(()), remove)
    }
}

/// What keeps others off.
enum Held {
    Lock(Lock),
    Keep(Arc<Keep>),
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Held")
    }
}

/// Brings `wanted` here, into a folder of its own below `folder`, and goes on where an earlier call stopped, in
/// whatever way that did. Dropping the future pauses it. When somebody else fetches the same file, it waits for them.
///
/// Whoever takes the file away does so before [`Fetched`] is dropped, and then calls [`Fetched::taken`].
///
/// # Errors
/// [`Error`]: what no waiting helps with. [`Error::Taken`] means that whoever was waited for brought it into the
/// library.
pub async fn fetch(
    outside: &Outside,
    wanted: &Wanted,
    folder: &Path,
    terms: &Terms,
    seen: &watch::Sender<Seen>,
) -> Result<Fetched, Error> {
    let key = wanted.key();
    let own = folder.join(key.as_str());
    let (lock, has_waited) = lock(folder, &key, seen).await?;
    if has_waited
        && !own.exists()
        && let Some((digest, bytes)) = lock.taken()
    {
        return Err(Error::Taken { name: wanted.name.clone(), digest, bytes });
    }
    lock.begin();
    if let Some((path, digest, bytes)) = whole(outside, wanted, &own, &terms.pace).await? {
        return Ok(Fetched { path, digest, bytes, held: Held::Lock(lock) });
    }
    let keep = Keep::open(&own, wanted, lock)?;
    let drive = Drive::new(outside, wanted, terms, keep, seen);
    let (path, digest, bytes, keep) = drive.run().await?;
    Ok(Fetched { path, digest, bytes, held: Held::Keep(keep) })
}

/// The file, if it came whole earlier and still is the wanted one. Another one that is whole is forgotten.
async fn whole(
    outside: &Outside,
    wanted: &Wanted,
    own: &Path,
    pace: &Pace,
) -> Result<Option<(PathBuf, Sha256, u64)>, Error> {
    let Some(found) = keep::finished(own, wanted) else {
        keep::forget_whole(own)?;
        return Ok(None);
    };
    let is_same = wanted.digest.is_some()
        || again::is_same(outside, wanted, &keep::identity(own), pace).await?;
    if is_same {
        return Ok(Some(found));
    }
    remove(own)?;
    Ok(None)
}

/// Forgets what is here of the file with this key, which is not wanted any more; nothing of one that somebody works
/// on now. Whether nothing is there any more.
///
/// # Errors
/// [`Error::Disk`].
pub fn forget(key: &Key, folder: &Path) -> Result<bool, Error> {
    let own = folder.join(key.as_str());
    if !own.exists() {
        return Ok(true);
    }
    let Some(lock) = keep::lock(folder, key)? else { return Ok(false) };
    lock.begin();
    remove(&own).map(|()| true)
}

/// Removes the folder of a file, whose lock the caller has.
fn remove(own: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(own) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(of_disk(own, &error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Forgets all that is half here, but for what somebody works on now.
///
/// # Errors
/// [`Error::Disk`]; what was forgotten until then is gone.
pub fn forget_all(folder: &Path) -> Result<(), Error> {
    // Without the folder there is nothing to forget.
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        match name.to_str().and_then(Key::of_text) {
            Some(key) => {
                let _in_use = forget(&key, folder)?;
            }
            // No pull of ours works there.
            None if entry.path().is_dir() => remove(&entry.path())?,
            None => {}
        }
    }
    Ok(())
}

/// How much of `wanted` is here.
#[must_use]
pub fn kept_bytes(wanted: &Wanted, folder: &Path) -> u64 {
    let own = folder.join(wanted.key().as_str());
    keep::finished(&own, wanted).map_or_else(|| keep::bytes(&own), |(.., bytes)| bytes)
}

/// Whether the disk of `folder`, which exists, has room for `bytes` more of `name`.
///
/// # Errors
/// [`Error::Space`] if not, [`Error::Disk`] if it does not tell.
pub fn is_room(folder: &Path, name: &str, bytes: u64) -> Result<(), Error> {
    is_room_beside(folder, name, bytes, limits::DISK_SPARE_BYTES)
}

/// The same, where so much else is to stay free.
fn is_room_beside(folder: &Path, name: &str, bytes: u64, spare_bytes: u64) -> Result<(), Error> {
    let free_bytes = fs4::available_space(folder).map_err(|error| of_disk(folder, &error))?;
    let needed_bytes = bytes.saturating_add(spare_bytes);
    if bytes == 0 || needed_bytes <= free_bytes {
        return Ok(());
    }
    let (name, folder) = (name.to_owned(), folder.display().to_string());
    Err(Error::Space { name, needed_bytes, free_bytes, folder })
}

/// The lock for `key`, and whether somebody else had it first.
async fn lock(folder: &Path, key: &Key, seen: &watch::Sender<Seen>) -> Result<(Lock, bool), Error> {
    let mut has_waited = false;
    loop {
        if let Some(lock) = keep::lock(folder, key)? {
            return Ok((lock, has_waited));
        }
        has_waited = true;
        let note = "another pull of it is under way".to_owned();
        seen.send_modify(|seen| seen.note = Some(note));
        tokio::time::sleep(limits::LOCK_WAIT).await;
    }
}
