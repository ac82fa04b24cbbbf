//! The models that lie on this machine: contents by their digests, manifests by their names.
//!
//! In the library's folder `blobs/` holds contents, each written elsewhere and renamed when it is whole;
//! `manifests/` says what belongs to which model; `names/` has readable links to the contents, for people and
//! other programs; `pulls/` what is half pulled; `damaged/` what [`Store::verify`] has found. Manifests and blobs change under one lock and in an order that
//! leaves, wherever the process ends, each model as it was or as it shall be; what is left over then is found by
//! [`Store::collect_garbage`]. Reading needs no lock. All of it blocks: async code calls it on a thread for that.
//! Not here: how files come (`transfer`), what runs a model.

mod blobs;
mod create;
mod disk;
mod error;
mod garbage;
mod header;
mod import;
mod links;
mod manifests;
mod progress;
mod take;
#[cfg(test)]
mod tests;
mod usage;
mod verify;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

pub use create::{Base, Recipe};
pub use error::Error;
pub use garbage::Collected;
pub use import::{Imported, Place};
pub use manifests::Scan;
pub use progress::{Progress, Watcher};
pub use take::How;
pub use usage::{ModelUsage, Usage};
pub use verify::{Damage, Verified};

use crate::{
    digest::Sha256,
    manifest::{self, Manifest, Role},
    name::Name,
};
use disk::Disk;
use error::io;

const BLOBS: &str = "blobs";
const MANIFESTS: &str = "manifests";
const NAMES: &str = "names";
const PULLS: &str = "pulls";
/// Contents that were found to be others than their digests say.
const DAMAGED: &str = "damaged";
const LOCK: &str = "lock";
/// What a blob's name begins with, before its digits.
const BLOB: &str = "sha256-";
const MANIFEST_ENDING: &str = ".json";

/// The library's folder.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
    disk: Disk,
}

/// Held while manifests or blobs change; it ends with the open file.
struct Lock {
    _file: File,
}

impl Store {
    /// The store in `folder`, which is made with the first model.
    ///
    /// # Errors
    /// When something else than a folder is there.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        match fs::metadata(folder) {
            Ok(metadata) if !metadata.is_dir() => {
                Err(io("use", folder)(std::io::ErrorKind::NotADirectory.into()))
            }
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(io("open", folder)(error))
            }
            Ok(_) | Err(_) => {
                // Links lead to whole paths.
                let folder = std::path::absolute(folder).map_err(io("use", folder))?;
                Ok(Self { folder, disk: Disk::default() })
            }
        }
    }

    /// Where pulls keep what they have.
    #[must_use]
    pub fn pulls(&self) -> PathBuf {
        self.folder.join(PULLS)
    }

    /// Models whose files are all there, by name, and in words what is wrong with the others.
    #[must_use]
    pub fn models(&self) -> Scan {
        let mut scan = self.manifests();
        let problems = &mut scan.problems;
        scan.models.retain(|manifest| match self.what_is_missing(manifest) {
            Some(problem) => {
                problems.push(problem);
                false
            }
            None => true,
        });
        scan
    }

    /// What the model's manifest says; capitals make no difference. Its files need not be there.
    #[must_use]
    pub fn find(&self, name: &Name) -> Option<Manifest> {
        let found = self.manifest_names().into_iter().find(|other| other.is_same(name))?;
        self.manifest(&found).ok()
    }

    /// Where a file of a model lies.
    #[must_use]
    pub fn path_of(&self, file: &manifest::File) -> PathBuf {
        file.at.clone().unwrap_or_else(|| self.blob(&file.digest))
    }

    /// What an engine opens of a model: its file, or the first of its parts, which lie side by side there by
    /// the names that engines look for.
    #[must_use]
    pub fn model_path(&self, manifest: &Manifest) -> PathBuf {
        let parts: Vec<_> = manifest.files_for(Role::Model).collect();
        let Some(first) = parts.first() else { return PathBuf::new() };
        if parts.len() == 1 || links::lie_together(&parts) {
            return self.path_of(first);
        }
        let linked = self.names_of(&manifest.name);
        let is_linked = |part: &&manifest::File| {
            blobs::has_length_of(&linked.join(&part.name), &self.path_of(part))
        };
        if !parts.iter().all(is_linked) {
            // The process ended before it had linked them. If they cannot be linked now, the engine says
            // which one it misses.
            let _missing = self.lock().and_then(|_lock| self.link_all(manifest));
        }
        linked.join(&first.name)
    }

    /// Keeps a model: its manifest is on the disk when this returns. One of the same name is replaced, and what it
    /// alone had is removed.
    ///
    /// # Errors
    /// When a file is not in the store, a name differs from another one in capitals alone, the manifest cannot
    /// be, or the disk refuses. Nothing has changed then.
    pub fn put(&self, manifest: &Manifest) -> Result<(), Error> {
        let _lock = self.lock()?;
        self.put_locked(manifest)
    }

    fn put_locked(&self, manifest: &Manifest) -> Result<(), Error> {
        manifests::check(manifest)?;
        let name = &manifest.name;
        let same = self.manifest_names().into_iter().find(|other| other.is_same(name));
        if let Some(other) = same.filter(|other| other != name) {
            return Err(Error::Capitals { name: name.clone(), other });
        }
        self.check_files(manifest)?;
        self.check_links(manifest)?;
        let replaced = self.manifest(name).ok();
        let has_other_files = replaced.as_ref().is_none_or(|old| old.files != manifest.files);
        if has_other_files {
            // At no time does a name lead to something else than what the manifest says.
            self.unlink_all(name)?;
        }
        self.write_manifest(manifest)?;
        self.link_all(manifest)?;
        if has_other_files {
            self.remove_unnamed(replaced.iter().flat_map(|old| &old.files));
        }
        Ok(())
    }

    fn check_files(&self, manifest: &Manifest) -> Result<(), Error> {
        let name = || manifest.name.clone();
        for file in &manifest.files {
            let path = self.path_of(file);
            match fs::metadata(&path) {
                Err(_) => {
                    let (file, digest) = (file.name.clone(), file.digest);
                    return Err(Error::NoBlob { name: name(), file, digest });
                }
                Ok(metadata) if !links::is_unchanged(file, &metadata) => {
                    let (path, found, bytes) = (path.display(), metadata.len(), file.bytes);
                    let why = format!(
                        "{path} has {found} bytes and should have {bytes}, or was changed meanwhile; get it again"
                    );
                    return Err(Error::Manifest { name: name(), why });
                }
                Ok(_) => {}
            }
        }
        Ok(())
    }

    /// Forgets a model, and removes what it alone had.
    ///
    /// # Errors
    /// When there is none of this name, or the disk refuses.
    pub fn remove(&self, name: &Name) -> Result<(), Error> {
        let _lock = self.lock()?;
        let found = self.manifest_names().into_iter().find(|other| other.is_same(name));
        let name = found.ok_or_else(|| Error::NoModel { name: name.clone() })?;
        // One that cannot be read goes all the same; its blobs are garbage then.
        let files = self.manifest(&name).map(|manifest| manifest.files).unwrap_or_default();
        let path = self.manifest_path(&name);
        self.disk.remove(&path).map_err(io("remove", &path))?;
        self.sync(MANIFESTS)?;
        self.unlink_all(&name)?;
        self.remove_unnamed(&files);
        Ok(())
    }

    /// Gives a model a second name. Its files are not copied.
    ///
    /// # Errors
    /// As [`Store::put`], and when there is none of the first name.
    pub fn copy(&self, from: &Name, to: &Name) -> Result<Manifest, Error> {
        let _lock = self.lock()?;
        let manifest = self.find(from).ok_or_else(|| Error::NoModel { name: from.clone() })?;
        let copy = Manifest { name: to.clone(), ..manifest };
        self.put_locked(&copy)?;
        Ok(copy)
    }

    /// Removes those files' blobs that no manifest names any more. What cannot be removed, as a file in use on
    /// Windows, is garbage for the next time; so is all while some manifest cannot be read.
    fn remove_unnamed<'a>(&self, files: impl IntoIterator<Item = &'a manifest::File>) {
        let scan = self.manifests();
        if !scan.problems.is_empty() {
            return;
        }
        let named = garbage::named(&scan.models);
        for file in files {
            if file.at.is_none() && !named.contains(&file.digest) {
                let _garbage = self.disk.remove(&self.blob(&file.digest));
            }
        }
    }

    fn blob(&self, digest: &Sha256) -> PathBuf {
        self.folder.join(BLOBS).join(format!("{BLOB}{}", digest.hex()))
    }

    /// Waits for whoever else changes something.
    fn lock(&self) -> Result<Lock, Error> {
        self.disk.make_folder(&self.folder).map_err(io("make", &self.folder))?;
        let path = self.folder.join(LOCK);
        let file = File::options().append(true).create(true).open(&path);
        let file = file.map_err(io("open", &path))?;
        file.lock().map_err(io("lock", &path))?;
        Ok(Lock { _file: file })
    }

    /// One of the store's folders, which is there afterwards.
    fn made(&self, folder: &str) -> Result<PathBuf, Error> {
        let path = self.folder.join(folder);
        self.disk.make_folder(&path).map_err(io("make", &path))?;
        Ok(path)
    }

    fn sync(&self, folder: &str) -> Result<(), Error> {
        let path = self.folder.join(folder);
        self.disk.sync_folder(&path).map_err(io("write", &path))
    }

    /// Why a model cannot be used.
    fn what_is_missing(&self, manifest: &Manifest) -> Option<String> {
        let name = &manifest.name;
        manifest.files.iter().find_map(|file| {
            let path = self.path_of(file);
            let why = match fs::metadata(&path) {
                Err(error) => format!("cannot be read: {error}"),
                Ok(metadata) if !links::is_unchanged(file, &metadata) => {
                    "is not what it was when it came here".to_owned()
                }
                Ok(_) => return None,
            };
            let way_out = match file.at {
                Some(_) => "import it again",
                None => "pull it again",
            };
            let path = path.display();
            Some(format!(
                "model '{name}' is left out: {path} {why}; {way_out}, or `resident rm {name}`"
            ))
        })
    }
}
