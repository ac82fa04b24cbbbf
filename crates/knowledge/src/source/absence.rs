//! Proof that a file is gone. Without it a disk that is not mounted would empty a collection.

use std::{
    collections::HashMap,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use super::{Walk, stat};
use crate::limits::FOLDERS_REMEMBERED_MAX;

/// What is known about a file that a walk has not met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Absence {
    /// It is not there: the folder that should have it can be read, and is on the disk where the file was.
    Gone,
    /// Something is there: the rules leave it out, or it came while nobody looked.
    Present,
    /// Nothing is known, for this reason.
    Unproven(String),
}

/// Proves absences of one source after one walk.
#[derive(Debug)]
pub struct Proof<'a> {
    root: PathBuf,
    walk: &'a Walk,
    /// Disks that have another number now, as files on them show that have not changed.
    renamed: Vec<(u64, u64)>,
    /// Folders that were looked at: their disk, whether there is nothing in them, or why they cannot be read.
    folders: HashMap<PathBuf, Result<Folder, String>>,
}

#[derive(Debug, Clone, Copy)]
struct Folder {
    device: u64,
    is_empty: bool,
}

impl<'a> Proof<'a> {
    /// After `walk` of the source at `root`, a folder or a file.
    pub fn new(root: &Path, walk: &'a Walk, renamed: Vec<(u64, u64)>) -> Proof<'a> {
        Proof { root: root.to_owned(), walk, renamed, folders: HashMap::new() }
    }

    /// What is known about the file that was at `path`, on the disk `device`.
    pub fn of(&mut self, path: &Path, device: u64) -> Absence {
        if let Some(why) = self.walk.hides(path) {
            return Absence::Unproven(why.to_owned());
        }
        match fs::symlink_metadata(path) {
            Ok(_) => return Absence::Present,
            Err(error)
                if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => {}
            Err(error) => return Absence::Unproven(error.to_string()),
        }
        let Some((at, folder)) = self.nearest(path) else {
            return Absence::Unproven("no folder above it is there".to_owned());
        };
        let above_root = self.root.starts_with(&at) && at != self.root;
        match folder {
            Err(why) => Absence::Unproven(why),
            // Where the folder itself is gone, that may be a disk that is not mounted; only for a single file is the
            // folder that held it the proof.
            Ok(_) if above_root && path != self.root => {
                Absence::Unproven(format!("{} is not there", self.root.display()))
            }
            Ok(_) if path == self.root && Some(at.as_path()) != path.parent() => Absence::Unproven(
                format!("{} is not there", path.parent().unwrap_or(path).display()),
            ),
            Ok(folder) if self.is_on(folder, device) => Absence::Gone,
            Ok(_) => {
                Absence::Unproven(format!("{} is on another disk than the file was", at.display()))
            }
        }
    }

    /// Where disks have no numbers, an empty folder at the top is as good as one that is not mounted.
    fn is_on(&self, folder: Folder, device: u64) -> bool {
        if device == 0 && folder.device == 0 {
            return !folder.is_empty;
        }
        folder.device == device || self.renamed.contains(&(device, folder.device))
    }

    /// The nearest folder above `path` that is there, and what it is like.
    fn nearest(&mut self, path: &Path) -> Option<(PathBuf, Result<Folder, String>)> {
        for folder in path.ancestors().skip(1) {
            if let Some(known) = self.folders.get(folder) {
                return Some((folder.to_owned(), known.clone()));
            }
            let found = match look(folder) {
                Ok(None) => continue,
                Ok(Some(found)) => Ok(found),
                Err(why) => Err(why),
            };
            if self.folders.len() >= FOLDERS_REMEMBERED_MAX {
                self.folders.clear();
            }
            self.folders.insert(folder.to_owned(), found.clone());
            return Some((folder.to_owned(), found));
        }
        None
    }
}

/// The folder, if it is there.
fn look(folder: &Path) -> Result<Option<Folder>, String> {
    let found = match fs::symlink_metadata(folder) {
        Ok(found) => found,
        Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => {
            return Ok(None);
        }
        Err(error) => return Err(error.to_string()),
    };
    // A file or a link in the place of a folder: what was in it is not there any more.
    if !found.is_dir() {
        return Ok(None);
    }
    let mut entries =
        fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let is_empty = match entries.next() {
        None => true,
        Some(Ok(_)) => false,
        Some(Err(error)) => return Err(format!("{}: {error}", folder.display())),
    };
    Ok(Some(Folder { device: stat(&found).device, is_empty }))
}
