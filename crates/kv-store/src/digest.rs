//! What a model's weights are: the digest of its files, remembered so that a file that has not
//! changed is read once.
//!
//! A file is hashed in parts of 64 MiB by several threads; its digest is the BLAKE3 of the digests
//! of its parts. A name or a time never stands for the weights: a file replaced under its name has
//! other time stamps and is hashed anew.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::disk::{Disk as _, System};
use crate::key::Key;
use crate::limits::{
    DIGEST_PART_BYTES, DIGEST_READ_BYTES, DIGEST_THREADS, DIGESTS_BYTES_MAX, DIGESTS_MAX, SETTLED,
};

/// The context that keeps this hash apart from others. It is part of the format.
const CONTEXT: &str = "resident kv-store 2026-11 model files";

/// What of a file changes when its content does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Marks {
    device: u64,
    inode: u64,
    bytes: u64,
    modified_ns: u64,
    changed_ns: u64,
}

/// A digest that was computed before.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    marks: Marks,
    digest: String,
    /// When it was last used, in seconds since 1970; the oldest are forgotten first.
    used_s: u64,
}

/// The digest of these files' content, in this order. `memory` is a small file that remembers
/// digests; without it everything is hashed.
///
/// # Errors
/// A file cannot be read, or changes while it is.
pub fn digest(files: &[PathBuf], memory: &Path) -> io::Result<Key> {
    digest_at(files, memory, SystemTime::now())
}

/// Whether [`digest`] of these files would hash nothing, and so be there at once.
#[must_use]
pub fn is_remembered(files: &[PathBuf], memory: &Path) -> bool {
    let known = recall(memory);
    files.iter().all(|path| {
        let (Ok(name), Ok(metadata)) = (path.canonicalize(), path.metadata()) else { return false };
        digest_of(&known, &name.display().to_string(), marks(&metadata)).is_some()
    })
}

fn digest_at(files: &[PathBuf], memory: &Path, now: SystemTime) -> io::Result<Key> {
    let known = recall(memory);
    let mut all = blake3::Hasher::new_derive_key(CONTEXT);
    let mut news = BTreeMap::new();
    for path in files {
        let name = path.canonicalize()?.display().to_string();
        let marks = marks(&path.metadata()?);
        let used_s = since_1970(now).as_secs();
        let (digest, is_news) = match digest_of(&known, &name, marks) {
            Some((digest, last_s)) => (digest, last_s / 86_400 != used_s / 86_400),
            None => (file_digest(path, marks)?, is_settled(&marks, now)),
        };
        if is_news {
            news.insert(name, Remembered { marks, digest: digest.to_string(), used_s });
        }
        all.update(&marks.bytes.to_le_bytes());
        all.update(&digest.0);
    }
    if !news.is_empty() {
        remember(memory, news);
    }
    Ok(Key(all.finalize().into()))
}

/// What is remembered of a file with these marks, and when that was last used.
fn digest_of(known: &BTreeMap<String, Remembered>, name: &str, marks: Marks) -> Option<(Key, u64)> {
    let remembered = known.get(name).filter(|remembered| remembered.marks == marks)?;
    Some((Key::parse(&remembered.digest)?, remembered.used_s))
}

/// Hashes a whole file.
fn file_digest(path: &Path, before: Marks) -> io::Result<Key> {
    let parts = before.bytes.div_ceil(DIGEST_PART_BYTES);
    let digests: Mutex<BTreeMap<u64, blake3::Hash>> = Mutex::default();
    let next = AtomicU64::new(0);
    let work = || -> io::Result<()> {
        let mut file = File::open(path)?;
        let mut buffer = vec![0; DIGEST_READ_BYTES];
        loop {
            let part = next.fetch_add(1, Ordering::Relaxed);
            if part >= parts {
                return Ok(());
            }
            let digest = part_digest(&mut file, part, &mut buffer)?;
            digests.lock().unwrap_or_else(PoisonError::into_inner).insert(part, digest);
        }
    };
    let threads = parts.min(DIGEST_THREADS as u64);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| {
            worker.join().unwrap_or_else(|_| Err(io::Error::other("hashing stopped")))
        })
    })?;
    if marks(&path.metadata()?) != before {
        let shown = path.display();
        return Err(io::Error::other(format!("{shown} changes while it is read; try again later")));
    }
    let mut whole = blake3::Hasher::new_derive_key(CONTEXT);
    let digests = digests.into_inner().unwrap_or_else(PoisonError::into_inner);
    for digest in digests.values() {
        whole.update(digest.as_bytes());
    }
    Ok(Key(whole.finalize().into()))
}

fn part_digest(file: &mut File, part: u64, buffer: &mut [u8]) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    file.seek(SeekFrom::Start(part * DIGEST_PART_BYTES))?;
    let mut rest = file.take(DIGEST_PART_BYTES);
    loop {
        let read = rest.read(buffer)?;
        if read == 0 {
            return Ok(hasher.finalize());
        }
        hasher.update(&buffer[..read]);
    }
}

/// Whether the file is old enough that another change would show in its time stamps.
fn is_settled(marks: &Marks, now: SystemTime) -> bool {
    let changed = Duration::from_nanos(marks.modified_ns.max(marks.changed_ns));
    since_1970(now).saturating_sub(changed) >= SETTLED
}

/// What was remembered; a file that is damaged or not there has nothing.
fn recall(memory: &Path) -> BTreeMap<String, Remembered> {
    let size = usize::try_from(DIGESTS_BYTES_MAX).unwrap_or(usize::MAX);
    let read = System.read(memory, size).map(|read| read.head);
    read.ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Adds to what is remembered by now: others may have hashed other files meanwhile. Forgetting costs
/// time and nothing else, so a failure is only noted.
fn remember(memory: &Path, news: BTreeMap<String, Remembered>) {
    // A model and its projector are hashed by two threads of one process.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut known = recall(memory);
    known.extend(news);
    while known.len() > DIGESTS_MAX {
        let oldest = known.iter().min_by_key(|(_, remembered)| remembered.used_s);
        let Some(name) = oldest.map(|(name, _)| name.clone()) else { break };
        known.remove(&name);
    }
    // Two processes at once each write a file of their own, and the last one stays.
    let half_made = memory.with_extension(format!("{}.tmp", std::process::id()));
    let written = serde_json::to_vec_pretty(&known).map_err(io::Error::from).and_then(|text| {
        if let Some(folder) = memory.parent() {
            System.make_folder(folder)?;
        }
        let _ = System.remove(&half_made);
        System.write_new(&half_made, &[&text], SystemTime::now())?;
        System.rename(&half_made, memory)
    });
    if let Err(error) = written {
        tracing::debug!("{} cannot be written: {error}; files are hashed again", memory.display());
    }
}

fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

fn marks(metadata: &Metadata) -> Marks {
    let modified = metadata.modified().map(since_1970).unwrap_or_default();
    let (device, inode, changed_ns) = system_marks(metadata);
    let modified_ns = modified.as_nanos() as u64;
    Marks { device, inode, bytes: metadata.len(), modified_ns, changed_ns }
}

/// Device, inode, and when anything of the file changed.
#[cfg(unix)]
fn system_marks(metadata: &Metadata) -> (u64, u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    let changed = i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec());
    (metadata.dev(), metadata.ino(), u64::try_from(changed).unwrap_or(0))
}

/// Without these numbers a file that is replaced still has another time of creation.
#[cfg(not(unix))]
fn system_marks(metadata: &Metadata) -> (u64, u64, u64) {
    let created = metadata.created().map(since_1970).unwrap_or_default();
    (0, 0, created.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A time at which every file made by the test is settled.
    fn later() -> SystemTime {
        SystemTime::now() + SETTLED * 10
    }

    fn remembered(memory: &Path) -> BTreeMap<String, Remembered> {
        recall(memory)
    }

    #[test]
    fn a_digest_is_of_the_content_alone() {
        let folder = tempfile::tempdir().unwrap();
        let memory = folder.path().join("cache/digests.json");
        let [one, two, other] = ["one", "two", "other"].map(|name| folder.path().join(name));
        std::fs::write(&one, b"weights").unwrap();
        std::fs::write(&two, b"weights").unwrap();
        std::fs::write(&other, b"Weights").unwrap();
        let digest = |files: &[&PathBuf]| {
            let files: Vec<PathBuf> = files.iter().map(|file| (*file).clone()).collect();
            digest_at(&files, &memory, later()).unwrap()
        };
        assert_eq!(digest(&[&one]), digest(&[&two]));
        assert_ne!(digest(&[&one]), digest(&[&other]));
        assert_ne!(digest(&[&one, &other]), digest(&[&other, &one]));
        assert_ne!(digest(&[&one]), digest(&[&one, &one]));
        assert_eq!(remembered(&memory).len(), 3);
    }

    #[test]
    fn a_file_is_hashed_once_and_a_replaced_one_again() {
        let folder = tempfile::tempdir().unwrap();
        let memory = folder.path().join("digests.json");
        let file = folder.path().join("model.gguf");
        std::fs::write(&file, b"old weights").unwrap();
        let files = [file.clone()];
        let old = digest_at(&files, &memory, later()).unwrap();
        // What is remembered is believed while the marks are the same: so it was not hashed again.
        let mut planted = remembered(&memory);
        planted.values_mut().for_each(|one| one.digest = "11".repeat(32));
        remember(&memory, planted);
        let planted = digest_at(&files, &memory, later()).unwrap();
        assert_ne!(planted, old);
        // As a download does it: another file takes the name, with the same length and time.
        let modified = std::fs::metadata(&file).unwrap().modified().unwrap();
        let fresh = folder.path().join("fresh");
        std::fs::write(&fresh, b"new weights").unwrap();
        File::options().write(true).open(&fresh).unwrap().set_modified(modified).unwrap();
        std::fs::rename(&fresh, &file).unwrap();
        let new = digest_at(&files, &memory, later()).unwrap();
        assert!(new != old && new != planted);
        std::fs::write(&memory, b"{ damaged").unwrap();
        assert_eq!(digest_at(&files, &memory, later()).unwrap(), new);
    }

    #[test]
    fn files_that_are_hashed_at_the_same_time_are_all_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let memory = folder.path().join("digests.json");
        let files: Vec<PathBuf> = (0..8).map(|at| folder.path().join(at.to_string())).collect();
        std::thread::scope(|scope| {
            for file in &files {
                std::fs::write(file, file.as_os_str().as_encoded_bytes()).unwrap();
                scope.spawn(|| digest_at(std::slice::from_ref(file), &memory, later()).unwrap());
            }
        });
        assert_eq!(remembered(&memory).len(), files.len());
        assert!(is_remembered(&files, &memory));
        std::fs::write(&files[3], b"other").unwrap();
        assert!(!is_remembered(&files, &memory));
        assert!(is_remembered(&files[..3], &memory));
        std::fs::remove_file(&files[0]).unwrap();
        assert!(!is_remembered(&files[..3], &memory));
    }

    #[test]
    fn a_file_that_has_only_just_changed_is_not_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let memory = folder.path().join("digests.json");
        let file = folder.path().join("model.gguf");
        std::fs::write(&file, b"weights").unwrap();
        let now = std::fs::metadata(&file).unwrap().modified().unwrap();
        let digest = digest_at(std::slice::from_ref(&file), &memory, now).unwrap();
        assert!(!memory.exists());
        assert_eq!(digest_at(&[file], &memory, later()).unwrap(), digest);
        assert!(memory.exists());
    }

    #[test]
    fn a_file_of_several_parts_is_hashed_whole() {
        let folder = tempfile::tempdir().unwrap();
        let memory = folder.path().join("digests.json");
        let file = folder.path().join("model.gguf");
        // A hole takes no room on the disk.
        let hole = File::create(&file).unwrap();
        hole.set_len(DIGEST_PART_BYTES + 10).unwrap();
        let files = [file.clone()];
        let zeros = digest_at(&files, &memory, later()).unwrap();
        let mut file = File::options().write(true).open(&file).unwrap();
        file.seek(SeekFrom::Start(DIGEST_PART_BYTES + 9)).unwrap();
        io::Write::write_all(&mut file, b"x").unwrap();
        assert_ne!(digest_at(&files, &memory, later()).unwrap(), zeros);
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let nowhere = folder.path().join("nowhere");
        assert!(digest(&[nowhere], &folder.path().join("digests.json")).is_err());
    }
}
