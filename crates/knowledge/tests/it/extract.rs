//! Extraction: files are made here, read by a child process, and every place is proved on the file itself.

mod formats;
#[cfg(unix)]
mod hostile;

mod made;

use std::{
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use knowledge::{
    document::Document,
    extract::{Error, Extractor, Limits, Located},
};

/// An extractor that starts the fixture.
fn extractor() -> Extractor {
    Extractor {
        program: PathBuf::from(env!("CARGO_BIN_EXE_knowledge-fixture-extract")),
        arguments: Vec::new(),
        limits: Limits::default(),
    }
}

fn read(path: &Path) -> Result<Document, Error> {
    extractor().extract(path, &AtomicBool::new(false)).map(|extracted| extracted.document)
}

fn locate(path: &Path, place: &knowledge::document::Place, quote: &str) -> Result<Located, Error> {
    extractor().locate(path, place, quote, &AtomicBool::new(false))
}
