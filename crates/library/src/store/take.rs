//! Files of other programs become a model's, without their bytes being copied: shared by the file system where it
//! can, linked where the other program never changes a file in place, and else used where they lie.

use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use super::{BLOBS, Error, Progress, Store, Watcher, blobs, error::io, header, links};
use crate::{
    digest::Sha256,
    manifest::{File, Manifest, Role},
};

/// How the store has a file that came from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// The store had its content already.
    Present,
    /// It shares its bytes with the other file, and is another one.
    Shared,
    /// It is the other file under a second name.
    Linked,
    /// It lies where it lay.
    Referenced,
}

/// A file of another program.
#[derive(Debug, Clone)]
pub(super) struct Coming {
    pub(super) role: Role,
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// Its digest, when the other program says it.
    pub(super) digest: Option<Sha256>,
    /// Whether nobody ever changes it where it lies.
    pub(super) is_final: bool,
}

/// What tells whether a file is still the one it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) bytes: u64,
    pub(super) modified_unix_ns: Option<u64>,
}

impl Stamp {
    pub(super) fn of(path: &Path) -> Result<Self, Error> {
        let metadata = fs::metadata(path).map_err(io("read", path))?;
        Ok(Self { bytes: metadata.len(), modified_unix_ns: links::modified_unix_ns(&metadata) })
    }
}

impl Store {
    /// Keeps a model whose files come from elsewhere; `manifest` says all but its files. None when `watcher`
    /// wants no more.
    pub(super) fn take(
        &self,
        manifest: &Manifest,
        coming: &[Coming],
        watcher: &mut Watcher<'_>,
    ) -> Result<Option<(Manifest, How)>, Error> {
        let mut manifest = manifest.clone();
        let unusable = |name: &str, why: &str| Error::Manifest {
            name: manifest.name.clone(),
            why: format!("{name} {why}"),
        };
        let mut known = Vec::new();
        for file in coming {
            header::read(&file.path).map_err(|why| unusable(&file.name, &why))?;
            let stamp = Stamp::of(&file.path)?;
            let Some(digest) = hashed(file, stamp, watcher)? else { return Ok(None) };
            known.push((file, stamp, digest));
        }
        let _lock = self.lock()?;
        let mut how = How::Present;
        let kept: Vec<File> = manifest.files.clone();
        for (file, stamp, digest) in known {
            let (file, this) = self.place(file, stamp, digest)?;
            manifest.files.push(file);
            how = how.max(this);
        }
        if let Err(error) = self.put_locked(&manifest) {
            // What was linked is old already, and has no grace.
            self.remove_unnamed(manifest.files.iter().filter(|file| !kept.contains(file)));
            return Err(error);
        }
        Ok(Some((manifest, how)))
    }

    /// Gives the store a file's content, in the cheapest way there is.
    fn place(&self, coming: &Coming, stamp: Stamp, digest: Sha256) -> Result<(File, How), Error> {
        let mut file = File::new(coming.role, coming.name.clone(), digest, stamp.bytes);
        file.modified_unix_ns = stamp.modified_unix_ns;
        let blob = self.blob(&digest);
        if blob.is_file() {
            return Ok((file, How::Present));
        }
        let unfinished = self.made(BLOBS)?.join(blobs::new_name());
        // A name that leads to the file would be linked itself.
        let path = fs::canonicalize(&coming.path).map_err(io("read", &coming.path))?;
        let how = if self.disk.reflink(&path, &unfinished).is_ok() {
            How::Shared
        } else if coming.is_final && self.disk.hard_link(&path, &unfinished).is_ok() {
            How::Linked
        } else {
            How::Referenced
        };
        if how == How::Referenced {
            let at = std::path::absolute(&coming.path).map_err(io("use", &coming.path))?;
            file.at = Some(at);
        } else {
            let placed = self.disk.rename(&unfinished, &blob).map_err(io("write", &blob));
            placed.and_then(|()| self.sync(BLOBS)).inspect_err(|_| {
                let _garbage = self.disk.remove(&unfinished);
            })?;
        }
        if Stamp::of(&coming.path)? != stamp {
            self.remove_unnamed([&file]);
            let error = std::io::Error::other("it changes while it is imported");
            return Err(io("import", &coming.path)(error));
        }
        Ok((file, how))
    }
}

/// The digest of a file that comes, read where nobody says it.
fn hashed(file: &Coming, stamp: Stamp, watcher: &mut Watcher<'_>) -> Result<Option<Sha256>, Error> {
    if let Some(digest) = file.digest {
        return Ok(Some(digest));
    }
    let what = file.name.as_str();
    blobs::digest_of(&file.path, |done_bytes| {
        watcher(&Progress { what, done_bytes, whole_bytes: stamp.bytes })
            == ControlFlow::Continue(())
    })
    .map_err(io("read", &file.path))
}
