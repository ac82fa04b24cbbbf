//! Whether contents still are what their digests say. What is not is moved aside, so that a pull gets it again; what
//! cannot be read is told and stays.

use std::{collections::BTreeMap, ops::ControlFlow, path::PathBuf};

use super::{BLOB, BLOBS, DAMAGED, Error, Progress, Store, Watcher, blobs};
use crate::{
    digest::Sha256,
    manifest::{File, Manifest},
    name::Name,
};

/// What a look at all bytes gave.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Files that were read to their end.
    pub files: u64,
    /// Their lengths.
    pub bytes: u64,
    /// Those that are not what they should be.
    pub damaged: Vec<Damage>,
    /// Whether it was stopped before its end.
    pub is_stopped: bool,
}

/// A file that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// What it should hold.
    pub digest: Sha256,
    /// What is wrong with it, in words.
    pub why: String,
    /// Models that need it.
    pub models: Vec<Name>,
    /// Where it was moved to; none of a file that is somebody else's, or cannot be read or moved.
    pub moved_to: Option<PathBuf>,
}

impl Store {
    /// Reads all files of these models, of all when none is named, with `watcher` told how far that is. Each
    /// content is read once, however many models have it.
    ///
    /// # Errors
    /// When a name is no model's, or what is damaged cannot be moved for want of a lock.
    pub fn verify(&self, names: &[Name], watcher: &mut Watcher<'_>) -> Result<Verified, Error> {
        let all = self.manifests().models;
        let is_wanted = |model: &&Manifest| {
            names.is_empty() || names.iter().any(|name| name.is_same(&model.name))
        };
        let unknown = |name: &&Name| !all.iter().any(|model| model.name.is_same(name));
        if let Some(name) = names.iter().find(unknown) {
            return Err(Error::NoModel { name: name.clone() });
        }
        let mut files: BTreeMap<PathBuf, &File> = BTreeMap::new();
        for file in all.iter().filter(is_wanted).flat_map(|model| &model.files) {
            files.insert(self.path_of(file), file);
        }
        let mut verified = Verified::default();
        for (path, file) in files {
            let (what, whole_bytes) = (file.name.as_str(), file.bytes);
            let found = blobs::digest_of(&path, |done_bytes| {
                watcher(&Progress { what, done_bytes, whole_bytes }) == ControlFlow::Continue(())
            });
            let (why, is_read) = match found {
                Ok(None) => {
                    verified.is_stopped = true;
                    break;
                }
                Ok(Some(found)) => {
                    verified.files += 1;
                    verified.bytes += file.bytes;
                    if found == file.digest {
                        continue;
                    }
                    (format!("its content has the digest {found}"), true)
                }
                // It may well be right: a disk that is not there, a permission.
                Err(error) => (format!("it cannot be read: {error}"), false),
            };
            let hit = all
                .iter()
                .filter(|model| model.files.iter().any(|other| self.path_of(other) == path));
            let models: Vec<Name> = hit.map(|model| model.name.clone()).collect();
            let moved_to = match file.at {
                None if is_read => self.move_aside(&path, file.digest, &models)?,
                None | Some(_) => None,
            };
            verified.damaged.push(Damage { path, digest: file.digest, why, models, moved_to });
        }
        Ok(verified)
    }

    /// Moves a content out of the way, and takes its readable names away, which would lead to it.
    fn move_aside(
        &self,
        path: &std::path::Path,
        digest: Sha256,
        models: &[Name],
    ) -> Result<Option<PathBuf>, Error> {
        let _lock = self.lock()?;
        let aside = self.made(DAMAGED)?.join(format!("{BLOB}{}", digest.hex()));
        if self.disk.rename(path, &aside).is_err() {
            return Ok(None);
        }
        // Its grace begins now, unless another program owns it.
        let _old = self.disk.touch(&aside);
        for model in models {
            self.unlink_all(model)?;
        }
        self.sync(BLOBS)?;
        Ok(Some(aside))
    }
}
