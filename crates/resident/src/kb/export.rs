//! `resident kb export`: all of a collection as lines of JSON, piece by piece as the hub writes them.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;
use tempfile::NamedTempFile;

use super::{PATH, encoded, with_hub};
use crate::{cli::Place, client::Error, client::Pieces};

/// `resident kb export`
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The collection
    collection: String,
    /// Write into this file, which has all of it or stays as it was; - is standard output
    #[arg(long, value_name = "FILE", default_value = "-")]
    to: PathBuf,
    #[command(flatten)]
    place: Place,
}

/// Where it goes, and what is left to do at its end.
enum Out {
    Stdout(io::Stdout),
    /// Something that is there and no file, such as a pipe.
    Other(fs::File),
    /// Beside the file that it becomes.
    Beside(NamedTempFile, PathBuf),
}

pub(super) fn export(arguments: &Export) -> anyhow::Result<()> {
    let path = format!("{PATH}/{}/export", encoded(&arguments.collection));
    with_hub(&arguments.place, async |client| {
        let pieces = client.pieces(&path).await?;
        Ok(written(pieces, &arguments.to).await)
    })?
}

async fn written(mut pieces: Pieces, to: &Path) -> anyhow::Result<()> {
    let cannot = || format!("cannot write {}", to.display());
    let mut out = Out::open(to).with_context(cannot)?;
    while let Some(piece) = pieces.next().await.map_err(Error::with_code)? {
        match out.write_all(&piece) {
            // Nobody reads any more, as with `resident kb export files | head`.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            other => other.with_context(cannot)?,
        }
    }
    out.end().with_context(cannot)
}

impl Out {
    fn open(to: &Path) -> io::Result<Self> {
        if to == Path::new("-") {
            return Ok(Self::Stdout(io::stdout()));
        }
        // The file itself, where a link leads to it.
        let real = match fs::canonicalize(to) {
            Ok(real) if !real.is_file() => {
                return Ok(Self::Other(fs::File::options().write(true).open(real)?));
            }
            Ok(real) => real,
            Err(error) if error.kind() == io::ErrorKind::NotFound => to.to_owned(),
            Err(error) => return Err(error),
        };
        let folder = real.parent().filter(|folder| *folder != Path::new(""));
        Ok(Self::Beside(NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?, real))
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout(out) => out.write_all(bytes),
            Self::Other(file) => file.write_all(bytes),
            Self::Beside(file, _) => file.write_all(bytes),
        }
    }

    fn end(self) -> io::Result<()> {
        match self {
            Self::Stdout(mut out) => out.flush(),
            Self::Other(mut file) => file.flush(),
            Self::Beside(file, path) => {
                file.as_file().sync_all()?;
                file.persist(path)?;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_all_of_it_or_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        fs::write(&path, "before").unwrap();
        let mut broken = Out::open(&path).unwrap();
        broken.write_all(b"half").unwrap();
        drop(broken);
        assert_eq!(fs::read_to_string(&path).unwrap(), "before");
        let mut out = Out::open(&path).unwrap();
        out.write_all(b"all").unwrap();
        out.end().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "all");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
