//! Which form an index that is kept has.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::cluster::{Cluster, Server};
use super::segments::Segments;
use super::{Embedder, Error, Index};

/// Where indexes are kept.
#[derive(Debug, Clone, Default)]
pub enum Form {
    /// In files of this machine.
    #[default]
    Segments,
    /// On a server, and only what belongs to it there in files of this machine.
    Cluster(Arc<Server>),
}

impl Form {
    /// What it is called.
    pub fn name(&self) -> &'static str {
        match self {
            Form::Segments => Segments::FORM,
            Form::Cluster(_) => Cluster::FORM,
        }
    }

    /// The index of a folder, made if there is none.
    ///
    /// # Errors
    ///
    /// Those of [`Segments::open`] and [`Cluster::open`].
    pub fn open(&self, folder: &Path, embedder: Option<Embedder>) -> Result<Arc<dyn Index>, Error> {
        Ok(match self {
            Form::Segments => Arc::new(Segments::open(folder, embedder)?),
            Form::Cluster(server) => Arc::new(Cluster::open(server, folder, embedder)?),
        })
    }

    /// Removes the index of a folder, and the folder. What an index of another form has elsewhere stays there.
    ///
    /// # Errors
    ///
    /// Those of the files and of the server; what is removed in part is still known.
    pub fn remove(&self, folder: &Path) -> Result<(), Error> {
        if let Form::Cluster(server) = self {
            server.forget(folder)?;
        }
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::file("remove", folder, error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}
