//! What models take of the disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use super::{BLOB, BLOBS, NAMES, PULLS, Store, garbage::entries};
use crate::{digest::Sha256, name::Name};

/// What the library takes of the disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Each model, by name.
    pub models: Vec<ModelUsage>,
    /// Contents that the store has.
    pub blobs: u64,
    /// Their lengths.
    pub blobs_bytes: u64,
    /// Of them, what another program has as well, under a name of its own: it is on the disk once. Zero on systems
    /// that do not tell.
    pub linked_bytes: u64,
    /// What more than one model has, counted for all but one of them.
    pub shared_bytes: u64,
    /// What models use that lies elsewhere.
    pub elsewhere_bytes: u64,
    /// What pulls that are not done have on the disk.
    pub half_pulled_bytes: u64,
    /// What no model names, young uploads among it, unfinished files, and damaged contents that were moved aside.
    pub garbage_bytes: u64,
    /// What could not be read, each in a whole sentence.
    pub problems: Vec<String>,
}

/// What one model takes of the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelUsage {
    /// The model.
    pub name: Name,
    /// All its files.
    pub bytes: u64,
    /// What would be free without it: files of the store that no other model has.
    pub own_bytes: u64,
    /// What lies elsewhere.
    pub elsewhere_bytes: u64,
}

impl Store {
    /// What the library takes of the disk.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let scan = self.manifests();
        let mut usage = Usage { problems: scan.problems, ..Usage::default() };
        // How many models have each content.
        let mut users: BTreeMap<Sha256, u64> = BTreeMap::new();
        for model in &scan.models {
            let digests: BTreeSet<Sha256> =
                model.files.iter().filter(|file| file.at.is_none()).map(|f| f.digest).collect();
            digests.into_iter().for_each(|digest| *users.entry(digest).or_default() += 1);
        }
        for model in &scan.models {
            let mut of_model = ModelUsage {
                name: model.name.clone(),
                bytes: model.bytes(),
                own_bytes: 0,
                elsewhere_bytes: 0,
            };
            let mut seen = BTreeSet::new();
            for file in &model.files {
                if file.at.is_some() {
                    of_model.elsewhere_bytes += file.bytes;
                } else if seen.insert(file.digest) && users.get(&file.digest) == Some(&1) {
                    of_model.own_bytes += file.bytes;
                }
            }
            usage.elsewhere_bytes += of_model.elsewhere_bytes;
            usage.models.push(of_model);
        }
        let names = names_by_file(&self.folder.join(NAMES));
        for (name, path) in entries(&self.folder.join(BLOBS)) {
            let digest = name.strip_prefix(BLOB).and_then(|digits| digits.parse().ok());
            let Some(digest) = digest else { continue };
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            usage.blobs += 1;
            usage.blobs_bytes += metadata.len();
            let others = users.get(&digest).map_or(0, |users| users.saturating_sub(1));
            usage.shared_bytes += metadata.len() * others;
            if system::links(&metadata)
                > 1 + names.get(&system::file(&metadata)).copied().unwrap_or(0)
            {
                usage.linked_bytes += metadata.len();
            }
        }
        // Each has a folder of its own; beside them are locks, which say who has what and are nothing pulled.
        let pulls = entries(&self.folder.join(PULLS)).into_iter();
        usage.half_pulled_bytes = pulls.map(|(_, path)| bytes_below(&path)).sum();
        let garbage = self.garbage(&mut Vec::new());
        usage.garbage_bytes = garbage.iter().map(|garbage| garbage.metadata.len()).sum();
        usage
    }
}

/// How many readable names each file has.
fn names_by_file(names: &Path) -> BTreeMap<(u64, u64), u64> {
    let mut counts = BTreeMap::new();
    for (_, model) in entries(names) {
        for (_, path) in entries(&model) {
            if let Ok(metadata) = fs::symlink_metadata(path) {
                *counts.entry(system::file(&metadata)).or_default() += 1;
            }
        }
    }
    counts
}

/// What is on the disk in a folder and below it.
fn bytes_below(folder: &Path) -> u64 {
    let below = entries(folder).into_iter().map(|(_, path)| match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_dir() => bytes_below(&path),
        Ok(metadata) => system::allocated_bytes(&metadata),
        Err(_) => 0,
    });
    below.sum()
}

#[cfg(unix)]
mod system {
    use std::{fs::Metadata, os::unix::fs::MetadataExt as _};

    /// What POSIX counts a file's blocks in.
    const BLOCK_BYTES: u64 = 512;

    pub(super) fn links(metadata: &Metadata) -> u64 {
        metadata.nlink()
    }

    /// What tells it from all other files.
    pub(super) fn file(metadata: &Metadata) -> (u64, u64) {
        (metadata.dev(), metadata.ino())
    }

    /// Half pulled files have holes.
    pub(super) fn allocated_bytes(metadata: &Metadata) -> u64 {
        metadata.blocks() * BLOCK_BYTES
    }
}

#[cfg(not(unix))]
mod system {
    use std::fs::Metadata;

    pub(super) fn links(_: &Metadata) -> u64 {
        0
    }

    pub(super) fn file(_: &Metadata) -> (u64, u64) {
        (0, 0)
    }

    pub(super) fn allocated_bytes(metadata: &Metadata) -> u64 {
        metadata.len()
    }
}
