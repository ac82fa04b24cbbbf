//! What an index was made for, kept beside it, so that it is not used for anything else.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Error, Point};
use crate::words::WORDS_VERSION;

const FILE_NAME: &str = "description.json";

/// What an index was made for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Which form of index it is: `exact`, `segments`, `qdrant`.
    pub engine: String,
    /// The version of the terms in it ([`WORDS_VERSION`]).
    pub words: u32,
    /// Whose vectors it holds; nothing if it is found by terms alone.
    pub embedder: Option<Embedder>,
}

/// Whose vectors an index holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Embedder {
    /// The model's name, with its version where it has one.
    pub name: String,
    /// How many numbers each of its vectors has.
    pub dimension: usize,
}

impl Description {
    pub(super) fn new(engine: &str, embedder: Option<Embedder>) -> Self {
        Description { engine: engine.to_owned(), words: WORDS_VERSION, embedder }
    }

    /// Writes it into a new index's folder, or makes sure that the folder's index was made for the same.
    pub(super) fn keep(&self, folder: &Path) -> Result<(), Error> {
        fs::create_dir_all(folder)
            .map_err(|error| Error::file("make the folder", folder, error))?;
        let path = folder.join(FILE_NAME);
        let made = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return self.write(folder),
            Err(error) => return Err(Error::file("read", &path, error)),
        };
        let made: Description = serde_json::from_slice(&made)
            .map_err(|error| Error::Damaged { path: path.clone(), why: error.to_string() })?;
        if made == *self {
            return Ok(());
        }
        Err(Error::Different {
            path: folder.to_owned(),
            made: made.in_words(self),
            wanted: self.in_words(&made),
        })
    }

    fn write(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.join(FILE_NAME);
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::Damaged { path: path.clone(), why: error.to_string() })?;
        super::files::write_whole(&path, &text)
    }

    /// What tells it from another one.
    fn in_words(&self, other: &Description) -> String {
        let mut parts = Vec::new();
        if self.embedder != other.embedder {
            parts.push(match &self.embedder {
                Some(Embedder { name, dimension }) => {
                    format!("the embedder {name} ({dimension} numbers)")
                }
                None => "no embedder".to_owned(),
            });
        }
        if self.words != other.words {
            parts.push(format!("terms of version {}", self.words));
        }
        if self.engine != other.engine {
            parts.push(format!("the engine {}", self.engine));
        }
        parts.join(" and ")
    }

    /// How many numbers a vector has; 0 where there are none.
    pub(super) fn dimension(&self) -> usize {
        self.embedder.as_ref().map_or(0, |embedder| embedder.dimension)
    }

    /// Refuses passages of which one has a vector that cannot be one of this index.
    pub(super) fn check_all(&self, points: &[Point]) -> Result<(), Error> {
        points
            .iter()
            .filter_map(|point| point.dense.as_ref())
            .try_for_each(|vector| self.check(vector))
    }

    /// Refuses a vector that cannot be one of this index.
    pub(super) fn check(&self, vector: &[f32]) -> Result<(), Error> {
        let wanted = self.dimension();
        if vector.len() == wanted {
            Ok(())
        } else {
            Err(Error::Dimension { wanted, got: vector.len() })
        }
    }
}
