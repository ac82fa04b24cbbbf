//! What nobody needs any more: found by looking, so that it does not matter where a process ended.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{BLOB, BLOBS, Error, MANIFESTS, NAMES, Store, blobs};
use crate::{digest::Sha256, manifest::Manifest, name::Name};

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Files that are gone.
    pub files: u64,
    /// Their lengths.
    pub bytes: u64,
    /// Why something stays, in whole sentences.
    pub problems: Vec<String>,
}

impl Store {
    /// Removes blobs that no manifest names and unfinished files, both once they are older than `grace`, and
    /// readable names of models that are no more. Half pulled files are none of its business.
    ///
    /// While a manifest cannot be read, nobody knows what it names, so all blobs stay.
    ///
    /// # Errors
    /// When the store cannot be locked.
    pub fn collect_garbage(&self, grace: Duration) -> Result<Collected, Error> {
        let mut collected = Collected::default();
        if !self.folder.exists() {
            return Ok(collected);
        }
        let _lock = self.lock()?;
        for garbage in self.garbage(&mut collected.problems) {
            if blobs::is_older(&garbage.metadata, grace) {
                match self.disk.remove(&garbage.path) {
                    Ok(()) => {
                        collected.files += 1;
                        collected.bytes += garbage.metadata.len();
                    }
                    // Windows keeps what somebody reads; it goes the next time.
                    Err(error) => collected
                        .problems
                        .push(format!("{} stays for now: {error}", garbage.path.display())),
                }
            }
        }
        let names: BTreeSet<String> = self.manifest_names().iter().map(Name::file_stem).collect();
        for (name, path) in entries(&self.folder.join(NAMES)) {
            if !names.contains(&name)
                && let Err(error) = self.unlink(&path)
            {
                collected.problems.push(error.to_string());
            }
        }
        Ok(collected)
    }

    /// Blobs that no manifest names, and unfinished files, young ones too.
    pub(super) fn garbage(&self, problems: &mut Vec<String>) -> Vec<Garbage> {
        let scan = self.manifests();
        let named = named(&scan.models);
        let all_are_read = scan.problems.is_empty();
        problems.extend(scan.problems);
        let is_garbage = |name: &str| match name.strip_prefix(BLOB) {
            Some(digits) => {
                all_are_read && digits.parse().is_ok_and(|digest: Sha256| !named.contains(&digest))
            }
            None => name.starts_with(blobs::NEW),
        };
        let folders = [self.folder.join(BLOBS), self.folder.join(MANIFESTS)];
        let listed = folders.iter().flat_map(|folder| entries(folder));
        let garbage = listed.filter(|(name, _)| is_garbage(name)).filter_map(|(_, path)| {
            let metadata = fs::symlink_metadata(&path).ok()?;
            metadata.is_file().then_some(Garbage { path, metadata })
        });
        garbage.collect()
    }
}

/// A file that nobody needs.
pub(super) struct Garbage {
    pub(super) path: PathBuf,
    pub(super) metadata: fs::Metadata,
}

/// Digests that manifests name.
pub(super) fn named(models: &[Manifest]) -> BTreeSet<Sha256> {
    models.iter().flat_map(|model| &model.files).map(|file| file.digest).collect()
}

/// What is in a folder; nothing when it cannot be read.
pub(super) fn entries(folder: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let named = entries.filter_map(Result::ok).filter_map(|entry| {
        // Our names are text; others are none of ours.
        Some((entry.file_name().into_string().ok()?, entry.path()))
    });
    named.collect()
}
