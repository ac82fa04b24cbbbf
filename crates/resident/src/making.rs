//! A file that another program makes: in a folder of its own beside its place, guarded, and put in its
//! place when it is whole. So whatever ends the making, nothing half made is ever there, and nothing else
//! either. Not here: which program, and what it says (`quantize`, `convert`).

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use supervisor::{Chore, chore::End};
use tempfile::TempDir;

use crate::{
    exit::{self, Code},
    serve, stop_signal,
};

/// Not the ending of a model, so that no hub lists what is not whole.
const PARTIAL: &str = "partial";

/// A file that is being made.
#[derive(Debug)]
pub(crate) struct Making {
    folder: TempDir,
    target: PathBuf,
}

impl Making {
    /// Begins with an empty folder beside `target`.
    ///
    /// # Errors
    /// With [`Code::Usage`] when there is such a file already, or no folder that it could lie in.
    pub(crate) fn begin(target: &Path) -> anyhow::Result<Self> {
        let target = std::path::absolute(target)
            .with_context(|| format!("cannot tell where {} is", target.display()))?;
        let shown = target.display();
        if fs::symlink_metadata(&target).is_ok() {
            let message =
                format!("{shown} exists already; remove it, or name another file with --out");
            return Err(exit::error(Code::Usage, message));
        }
        let parent = target.parent().unwrap_or(Path::new("/"));
        let folder = tempfile::Builder::new().prefix(".resident-").tempdir_in(parent);
        let folder = folder.map_err(|error| {
            let message = format!(
                "cannot write into the folder {}: {error}; name a file elsewhere with --out",
                parent.display()
            );
            exit::error(Code::Usage, message)
        })?;
        Ok(Self { folder, target })
    }

    /// What the program is to write.
    ///
    /// # Errors
    /// When the folder's name is not Unicode, which a program's arguments here are.
    pub(crate) fn partial(&self) -> anyhow::Result<String> {
        text(&self.folder.path().join(PARTIAL))
    }

    /// Runs the program with these arguments; `said` gets each line of it. The first Ctrl-C ends it.
    ///
    /// # Errors
    /// When it cannot be started or ends badly, in words that follow its name, or with
    /// [`Code::Interrupted`].
    pub(crate) fn run(
        &self,
        argv: &[String],
        environment: &BTreeMap<String, String>,
        said: impl FnMut(&str),
    ) -> anyhow::Result<()> {
        let guard = serve::guard();
        let chore = Chore { guard: &guard, argv, environment, folder: self.folder.path() };
        let ended =
            serve::runtime()?.block_on(async { chore.run(said, stop_signal::first()).await });
        match ended.map_err(anyhow::Error::msg)? {
            End::Well => Ok(()),
            End::Badly(how) => Err(anyhow::Error::msg(how)),
            End::Stopped => {
                let message = format!("stopped; {} was not made", self.target.display());
                Err(exit::error(Code::Interrupted, message))
            }
        }
    }

    /// Puts what was made in its place; its length in bytes.
    ///
    /// # Errors
    /// When nothing was made, or the disk does not take it.
    pub(crate) fn keep(self) -> anyhow::Result<u64> {
        let partial = self.folder.path().join(PARTIAL);
        let bytes = self.put(&partial);
        bytes.with_context(|| format!("cannot write {}", self.target.display()))
    }

    fn put(&self, partial: &Path) -> io::Result<u64> {
        // A link would lead elsewhere, and be broken once this folder is gone.
        let metadata = fs::symlink_metadata(partial)?;
        if !metadata.is_file() {
            return Err(io::Error::other("what was made is not a file"));
        }
        // Windows lets only who may write a file wait for the disk.
        fs::OpenOptions::new().write(true).open(partial)?.sync_all()?;
        // Whoever was faster keeps it: a rename alone would replace it.
        if fs::symlink_metadata(&self.target).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        fs::rename(partial, &self.target)?;
        #[cfg(unix)]
        if let Some(folder) = self.target.parent() {
            fs::File::open(folder)?.sync_all()?;
        }
        Ok(metadata.len())
    }
}

/// A path as an argument.
///
/// # Errors
/// When it is not Unicode.
pub(crate) fn text(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str().map(str::to_owned);
    text.with_context(|| format!("{} is not Unicode; rename it", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn what_was_made_comes_to_its_place_alone() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("x.gguf");
        let making = Making::begin(&target).unwrap();
        let partial = making.partial().unwrap();
        assert!(
            !partial.ends_with(".gguf") && partial.starts_with(folder.path().to_str().unwrap())
        );
        fs::write(&partial, "content").unwrap();
        fs::write(making.folder.path().join("rubbish"), "").unwrap();
        assert!(!target.exists());
        assert_eq!(making.keep().unwrap(), 7);
        assert_eq!(fs::read(&target).unwrap(), b"content");
        assert_eq!(names(folder.path()), ["x.gguf"]);
    }

    #[test]
    fn what_is_there_stays_and_nothing_is_left_of_what_was_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("x.gguf");
        let making = Making::begin(&target).unwrap();
        let error = format!("{:#}", making.keep().unwrap_err());
        assert!(error.starts_with("cannot write ") && error.contains("x.gguf"), "{error}");
        let making = Making::begin(&target).unwrap();
        fs::write(making.partial().unwrap(), "new").unwrap();
        fs::write(&target, "old").unwrap();
        assert!(making.keep().is_err());
        assert_eq!(fs::read(&target).unwrap(), b"old");
        let error = Making::begin(&target).unwrap_err().to_string();
        assert!(error.contains("exists already") && error.contains("--out"), "{error}");
        assert_eq!(names(folder.path()), ["x.gguf"]);
        let error = Making::begin(&folder.path().join("no/x.gguf")).unwrap_err().to_string();
        assert!(error.contains("cannot write into the folder"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let making = Making::begin(&folder.path().join("x.gguf")).unwrap();
        fs::write(making.folder.path().join("other"), "").unwrap();
        std::os::unix::fs::symlink("other", making.partial().unwrap()).unwrap();
        assert!(format!("{:#}", making.keep().unwrap_err()).contains("not a file"));
    }
}
