//! Readable names beside the blobs: for people, for other programs, and for engines, which find the parts of a
//! model by their names.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use super::{
    Error, NAMES, Store,
    blobs::{has_length_of, new_name},
    error,
};
use crate::{
    manifest::{File, Manifest, Role},
    name::Name,
};

impl Store {
    pub(super) fn names_of(&self, name: &Name) -> PathBuf {
        self.folder.join(NAMES).join(name.file_stem())
    }

    /// Whether parts can be linked, before anything changes.
    pub(super) fn check_links(&self, manifest: &Manifest) -> Result<(), Error> {
        let parts: Vec<_> = manifest.files_for(Role::Model).collect();
        let [first, _, ..] = parts[..] else { return Ok(()) };
        if lie_together(&parts) {
            return Ok(());
        }
        let trial = self.made(NAMES)?.join(new_name());
        let linked = self.link(&self.path_of(first), first.at.is_some(), &trial);
        let _none = self.disk.remove(&trial);
        linked.map_err(|error| Error::NoLinks { name: manifest.name.clone(), path: trial, error })
    }

    /// Links a model's files by their names. Where the file system knows no links, that is an error only for
    /// the parts of a model.
    pub(super) fn link_all(&self, manifest: &Manifest) -> Result<(), Error> {
        let folder = self.names_of(&manifest.name);
        let parts: Vec<_> = manifest.files_for(Role::Model).collect();
        let are_parts = parts.len() > 1 && !lie_together(&parts);
        let made = self.disk.make_folder(&folder);
        for file in &manifest.files {
            let path = folder.join(&file.name);
            let result = match &made {
                Ok(()) => self.link(&self.path_of(file), file.at.is_some(), &path),
                Err(error) => Err(error.kind().into()),
            };
            if let Err(error) = result
                && are_parts
                && file.role == Role::Model
            {
                return Err(Error::NoLinks { name: manifest.name.clone(), path, error });
            }
        }
        Ok(())
    }

    fn link(&self, content: &Path, is_elsewhere: bool, path: &Path) -> io::Result<()> {
        if has_length_of(path, content) {
            return Ok(());
        }
        // A link that leads nowhere, or to content that was damaged and is replaced.
        self.disk.remove(path)?;
        if is_elsewhere {
            // A second name would keep what the other program thinks it has removed.
            return self.disk.symlink(content, path);
        }
        self.disk.hard_link(content, path).or_else(|_| self.disk.symlink(content, path))
    }

    /// Removes a model's readable names.
    pub(super) fn unlink_all(&self, name: &Name) -> Result<(), Error> {
        self.unlink(&self.names_of(name))
    }

    /// Removes a folder of links.
    pub(super) fn unlink(&self, folder: &Path) -> Result<(), Error> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error::io("read", folder)(error)),
        };
        for entry in entries {
            let path = entry.map_err(error::io("read", folder))?.path();
            self.disk.remove(&path).map_err(error::io("remove", &path))?;
        }
        self.disk.remove_folder(folder).map_err(error::io("remove", folder))
    }
}

/// Whether parts lie side by side already, by the names that they have.
pub(super) fn lie_together(parts: &[&File]) -> bool {
    let mut folders = parts.iter().map(|part| {
        let at = part.at.as_deref()?;
        (at.file_name()?.to_str()? == part.name).then(|| at.parent())?
    });
    let first = folders.next().flatten();
    first.is_some() && folders.all(|folder| folder == first)
}

/// Whether a file has the length it came with, and elsewhere its time.
pub(super) fn is_unchanged(file: &File, metadata: &fs::Metadata) -> bool {
    let has_its_time = || match file.modified_unix_ns {
        Some(modified) => modified_unix_ns(metadata) == Some(modified),
        None => true,
    };
    metadata.is_file() && metadata.len() == file.bytes && (file.at.is_none() || has_its_time())
}

/// When a file was last changed, in nanoseconds since 1970.
pub(super) fn modified_unix_ns(metadata: &fs::Metadata) -> Option<u64> {
    let since = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_nanos()).ok()
}
