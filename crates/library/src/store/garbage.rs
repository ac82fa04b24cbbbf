//! What nobody needs any more: found by looking, so that it does not matter where a process ended.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{BLOB, BLOBS, DAMAGED, Error, MANIFESTS, NAMES, Store, blobs};
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
    /// Removes blobs that no manifest names, unfinished files and damaged ones, all once they are older than
    /// `grace`, and readable names of models that are no more. Half pulled files are none of its business.
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

    /// Blobs that no manifest names, unfinished and damaged files, young ones too.
    pub(super) fn garbage(&self, problems: &mut Vec<String>) -> Vec<Garbage> {
        let scan = self.manifests();
        let named = named(&scan.models);
        let all_are_read = scan.problems.is_empty();
        problems.extend(scan.problems);
        let is_unnamed = |name: &str| {
            let digest = name.strip_prefix(BLOB).and_then(|digits| digits.parse::<Sha256>().ok());
            all_are_read && digest.is_some_and(|digest| !named.contains(&digest))
        };
        let is_new = |name: &str| name.starts_with(blobs::NEW);
        let in_folder = |folder: &str| entries(&self.folder.join(folder)).into_iter();
        let blobs = in_folder(BLOBS).filter(|(name, _)| is_new(name) || is_unnamed(name));
        let manifests = in_folder(MANIFESTS).filter(|(name, _)| is_new(name));
        let garbage = blobs.chain(manifests).chain(in_folder(DAMAGED)).filter_map(|(_, path)| {
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

/// Contents of the store that manifests name.
pub(super) fn named(models: &[Manifest]) -> BTreeSet<Sha256> {
    let files = models.iter().flat_map(|model| &model.files);
    files.filter(|file| file.at.is_none()).map(|file| file.digest).collect()
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
