//! What a run works on: a file in a private folder, which becomes the run's own. It is written as it
//! comes, so that neither a large upload nor one that waits takes memory where temporary files are on
//! a disk.

use std::{
    fs,
    future::poll_fn,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tempfile::TempDir;
use tokio::{
    fs::File,
    io::{AsyncRead, AsyncWriteExt, ReadBuf},
    task::spawn_blocking,
};

use crate::limits::READ_BYTES;

/// The file's name until a tool says how it wants its input.
const NAME: &str = "content";

/// What a run works on. Dropping it removes it.
#[derive(Debug)]
pub struct Content {
    folder: TempDir,
    file: File,
    bytes: u64,
}

impl Content {
    /// Nothing yet.
    ///
    /// # Errors
    /// There is no place for temporary files.
    pub async fn empty() -> io::Result<Self> {
        let made = spawn_blocking(|| {
            let folder = private_folder()?;
            let file = fs::File::create_new(folder.path().join(NAME))?;
            Ok(Self { folder, file: file.into(), bytes: 0 })
        });
        made.await?
    }

    /// All at once.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn of(bytes: &[u8]) -> io::Result<Self> {
        let mut content = Self::empty().await?;
        content.write(bytes).await?;
        Ok(content)
    }

    /// What a file holds now, copied by the system.
    ///
    /// # Errors
    /// It cannot be read, or not be written.
    pub async fn copy_of(path: &Path) -> io::Result<Self> {
        let from = path.to_owned();
        let copied = spawn_blocking(move || {
            let folder = private_folder()?;
            let mut file = fs::File::create_new(folder.path().join(NAME))?;
            let bytes = io::copy(&mut fs::File::open(from)?, &mut file)?;
            Ok(Self { folder, file: file.into(), bytes })
        });
        copied.await?
    }

    /// Adds a piece.
    ///
    /// # Errors
    /// It cannot be written: the disk is full.
    pub async fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.file.write_all(piece).await?;
        // A write that is under way reports its failure only here.
        self.file.flush().await?;
        self.bytes += piece.len() as u64;
        Ok(())
    }

    /// Bytes so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The same from its beginning, as often as it is wanted.
    pub(crate) fn pieces(&self) -> io::Result<Pieces> {
        Pieces::open(&self.folder.path().join(NAME))
    }

    /// The folder, and the file in it, which nobody writes any more.
    pub(super) fn into_parts(self) -> (TempDir, PathBuf) {
        let path = self.folder.path().join(NAME);
        (self.folder, path)
    }
}

/// A file that is read piece by piece. Its name may be gone already.
#[derive(Debug)]
pub(crate) struct Pieces {
    file: File,
}

impl Pieces {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: fs::File::open(path)?.into() })
    }

    /// The next piece; `None` at the end.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        poll_fn(|context| self.poll_next(context)).await.transpose()
    }

    pub(crate) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Bytes>>> {
        let mut piece = vec![0; READ_BYTES];
        let mut read = ReadBuf::new(&mut piece);
        let bytes = match ready!(Pin::new(&mut self.file).poll_read(context, &mut read)) {
            Ok(()) => read.filled().len(),
            Err(error) => return Poll::Ready(Some(Err(error))),
        };
        piece.truncate(bytes);
        Poll::Ready((bytes > 0).then(|| Ok(piece.into())))
    }
}

#[cfg(unix)]
fn private_folder() -> io::Result<TempDir> {
    use std::os::unix::fs::PermissionsExt;
    let owner_only = fs::Permissions::from_mode(0o700);
    tempfile::Builder::new().prefix("resident-tool-").permissions(owner_only).tempdir()
}

/// Elsewhere the user's own folder for temporary files has the access list that keeps others out.
#[cfg(not(unix))]
fn private_folder() -> io::Result<TempDir> {
    tempfile::Builder::new().prefix("resident-tool-").tempdir()
}
