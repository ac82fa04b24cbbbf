//! Which files there are: folders walked as their `.gitignore` says, single files, and what has changed since.
//!
//! A walk streams: whoever calls it notes what it meets in the store, which compares. Files leave a collection only on
//! proof (`absence`): the folder that held them could be read, is on the disk that they were on, and does not have
//! them. Here nothing is read but names and what the file system says of them; `read` has the exception, a hash.

mod absence;
mod globs;
mod read;
mod watch;

use std::{
    collections::HashSet,
    fs::{FileType, Metadata},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use ignore::WalkBuilder;

pub use absence::{Absence, Proof};
pub use read::{hash, stat_of};
pub use watch::{Changed, Watch};

use crate::{
    limits::UNREADABLE_FOLDERS_MAX,
    store::{Kind, Seen, Source, Stat},
};

/// Why a source cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing there, or it cannot be looked at.
    #[error("cannot look at {path}: {source}; name a folder or file that can be read", path = path.display())]
    Unreachable {
        /// What was named.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It is neither a folder nor a file.
    #[error("{path} is {what}; name a folder or a file", path = path.display())]
    Special {
        /// What was named.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A glob that is none.
    #[error(
        "the glob {glob:?} cannot be read: {why}; `*.md`, `drafts/` and `2024/**/*.pdf` are globs"
    )]
    Glob {
        /// What was written.
        glob: String,
        /// Why not.
        why: String,
    },
}

/// A source as a person names it: the path made whole, the globs read once.
///
/// # Errors
/// When there is no folder or file there, or a glob is none.
pub fn parse(
    path: &Path,
    include: &[String],
    exclude: &[String],
    hidden: bool,
) -> Result<Source, Error> {
    let unreachable = |source| Error::Unreachable { path: path.to_owned(), source };
    let whole = path.canonicalize().map_err(unreachable)?;
    let kind = whole.metadata().map_err(unreachable)?.file_type();
    let kind = match special(kind) {
        _ if kind.is_dir() => Kind::Folder,
        None => Kind::File,
        Some(what) => return Err(Error::Special { path: path.to_owned(), what }),
    };
    globs::Globs::parse(include, exclude)?;
    Ok(Source {
        id: 0,
        kind,
        path: whole,
        include: include.to_vec(),
        exclude: exclude.to_vec(),
        hidden,
    })
}

/// What a walk could not see.
#[derive(Debug, Default)]
pub struct Walk {
    /// Folders that could not be read, and why. Nothing in them is known to be gone.
    pub unreadable: Vec<(PathBuf, String)>,
    /// Whether there were more of them than are kept, so that nothing at all is known to be gone.
    pub blind: bool,
    /// Links that were not followed.
    pub links: u64,
    /// Whether it was stopped before its end.
    pub stopped: bool,
}

impl Walk {
    fn unreadable(&mut self, path: PathBuf, why: String) {
        if self.unreadable.len() < UNREADABLE_FOLDERS_MAX {
            self.unreadable.push((path, why));
        } else {
            self.blind = true;
        }
    }

    /// Why nothing can be said about what is at `path`, if that is so.
    fn hides(&self, path: &Path) -> Option<&str> {
        if self.blind {
            return Some("more folders than can be kept in mind could not be read");
        }
        self.unreadable
            .iter()
            .find(|(folder, _)| path.starts_with(folder))
            .map(|(_, why)| why.as_str())
    }
}

/// Walks a folder or looks at a file, and tells `each` of every file that its rules let through. With `scopes`, only of
/// what is at or below one of these paths. Links are not followed, so there are no loops.
///
/// # Errors
/// What `each` says; what the file system says is in [`Walk`], but for globs that cannot be read.
pub fn walk<E: From<Error>>(
    source: &Source,
    scopes: Option<&[PathBuf]>,
    stop: &AtomicBool,
    mut each: impl FnMut(Seen) -> Result<(), E>,
) -> Result<Walk, E> {
    let mut walk = Walk::default();
    match source.kind {
        Kind::Text => return Ok(walk),
        Kind::File => {
            match source.path.symlink_metadata() {
                Ok(found) => each(seen(source.path.clone(), &found))?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => walk.unreadable(source.path.clone(), error.to_string()),
            }
            return Ok(walk);
        }
        Kind::Folder => {}
    }
    let globs = globs::Globs::parse(&source.include, &source.exclude)?;
    for entry in builder(source, globs.clone(), scopes).build() {
        if stop.load(Ordering::Relaxed) {
            walk.stopped = true;
            break;
        }
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                note(&mut walk, source, error);
                continue;
            }
        };
        let Some(kind) = entry.file_type() else { continue };
        if kind.is_symlink() && entry.depth() > 0 {
            walk.links += 1;
            continue;
        }
        if kind.is_dir() || entry.depth() == 0 || !globs.includes(&source.path, entry.path()) {
            continue;
        }
        match entry.metadata() {
            Ok(found) => each(seen(entry.into_path(), &found))?,
            Err(error) => note(&mut walk, source, error),
        }
    }
    Ok(walk)
}

fn builder(source: &Source, globs: globs::Globs, scopes: Option<&[PathBuf]>) -> WalkBuilder {
    let root = source.path.clone();
    let scopes = scopes.map(|scopes| Scopes::new(&root, scopes));
    let mut builder = WalkBuilder::new(&root);
    builder
        .standard_filters(false)
        .hidden(!source.hidden)
        .ignore(true)
        .git_ignore(true)
        .git_exclude(true)
        // A folder is asked about itself: what is above it, or in a person's own settings of git, is not about it.
        .parents(false)
        .git_global(false)
        .require_git(false)
        .follow_links(false)
        .filter_entry(move |entry| {
            let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
            let inside = scopes.as_ref().is_none_or(|scopes| scopes.allows(entry.path()));
            inside && (entry.depth() == 0 || !globs.excludes(&root, entry.path(), is_folder))
        });
    builder
}

/// Notes what could not be read. What vanished meanwhile is nothing to note: it is not there.
fn note(walk: &mut Walk, source: &Source, error: ignore::Error) {
    let is_root_gone = |path: &Path| path == source.path;
    let path = path_of(&error).unwrap_or(&source.path).to_owned();
    let is_gone = error.io_error().is_some_and(|error| error.kind() == io::ErrorKind::NotFound);
    if !is_gone || is_root_gone(&path) {
        walk.unreadable(path, error.to_string());
    }
}

fn path_of(error: &ignore::Error) -> Option<&Path> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => {
            path_of(err)
        }
        ignore::Error::Partial(errors) => errors.iter().find_map(path_of),
        ignore::Error::Loop { child, .. } => Some(child),
        ignore::Error::Io(_)
        | ignore::Error::Glob { .. }
        | ignore::Error::UnrecognizedFileType(_)
        | ignore::Error::InvalidDefinition => None,
    }
}

fn seen(path: PathBuf, found: &Metadata) -> Seen {
    let refused =
        special(found.file_type()).map(|what| format!("it is {what}, not a file")).or_else(|| {
            let readable = cfg!(unix) || path.to_str().is_some();
            (!readable).then(|| "its name is no text".to_owned())
        });
    Seen { path, stat: stat(found), refused }
}

/// What the file system says of a file.
#[cfg(unix)]
pub(crate) fn stat(found: &Metadata) -> Stat {
    use std::os::unix::fs::MetadataExt;
    let modified_ns =
        found.mtime().saturating_mul(1_000_000_000).saturating_add(found.mtime_nsec());
    Stat { size: found.size(), modified_ns, device: found.dev(), inode: found.ino() }
}

/// What the file system says of a file.
#[cfg(not(unix))]
pub(crate) fn stat(found: &Metadata) -> Stat {
    let since = found.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    let modified_ns = since.map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX));
    Stat { size: found.len(), modified_ns, device: 0, inode: 0 }
}

/// What something is that is neither a file nor a folder.
fn special(kind: FileType) -> Option<&'static str> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return Some("a named pipe");
        }
        if kind.is_socket() {
            return Some("a socket");
        }
        if kind.is_block_device() || kind.is_char_device() {
            return Some("a device");
        }
    }
    if kind.is_symlink() {
        return Some("a link");
    }
    if kind.is_dir() { Some("a folder") } else { None }
}

/// Parts of a folder: paths, with all that is in them.
struct Scopes {
    scopes: HashSet<PathBuf>,
    /// The folders on the way to them.
    above: HashSet<PathBuf>,
    root: Arc<Path>,
}

impl Scopes {
    fn new(root: &Path, scopes: &[PathBuf]) -> Scopes {
        let above = scopes.iter().flat_map(|scope| scope.ancestors().skip(1));
        let above = above.filter(|folder| folder.starts_with(root)).map(Path::to_owned).collect();
        Scopes { scopes: scopes.iter().cloned().collect(), above, root: root.into() }
    }

    fn allows(&self, path: &Path) -> bool {
        let here = path.ancestors().take_while(|folder| folder.starts_with(&self.root));
        self.above.contains(path)
            || path == &*self.root
            || here.into_iter().any(|at| self.scopes.contains(at))
    }
}
