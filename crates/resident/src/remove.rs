//! `resident rm NAME…`: models leave the library; it is said what that frees.
//!
//! Models that the configuration or a file of the models folder makes are no models of the library: they are
//! named, and a file goes only with `--file`.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;
use library::{digest::Sha256, manifest::Manifest, name::Name, store::Store};
use planner::gguf::split;
use serde::Serialize;

use crate::{
    cli::Shelf,
    config::Settings,
    exit::{self, Code},
    models::{self, Found},
    pull, size, terminal,
};

/// `resident rm`
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The models
    #[arg(value_name = "MODEL", required = true, value_parser = pull::name)]
    models: Vec<Name>,
    /// Remove the file too of a model that is a plain file of the models folder
    #[arg(long)]
    file: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    shelf: Shelf,
}

/// What `--json` prints.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Document {
    removed: Vec<Removed>,
    freed_bytes: u64,
}

/// One model that is gone.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Removed {
    model: String,
    freed_bytes: u64,
    /// What others have of its files: other models, or the program that it was imported from.
    kept_bytes: u64,
}

/// What a name means.
enum Meant {
    /// A model of the library.
    Kept(Box<Manifest>),
    /// A file of the models folder, with all parts of its model.
    Plain(Vec<PathBuf>),
}

/// Removes the models: all of them, or none when one of the names means nothing.
///
/// # Errors
/// With [`Code::Model`] when there is no such model, or it is not the library's.
pub(crate) fn remove(arguments: &Remove) -> anyhow::Result<()> {
    let settings = arguments.shelf.load()?;
    let store = pull::store(&settings)?;
    let mut seen = BTreeSet::new();
    let names = arguments.models.iter();
    let names: Vec<&Name> =
        names.filter(|name| seen.insert(name.as_str().to_ascii_lowercase())).collect();
    let meant: Result<Vec<Meant>, _> =
        names.iter().map(|name| meant(name, arguments.file, &store, &settings)).collect();
    let mut document = Document { removed: Vec::new(), freed_bytes: 0 };
    for (name, meant) in names.into_iter().zip(meant?) {
        let removed = match meant {
            Meant::Kept(manifest) => forget(&manifest, &store)?,
            Meant::Plain(paths) => delete(name, &paths)?,
        };
        document.freed_bytes = document.freed_bytes.saturating_add(removed.freed_bytes);
        if !arguments.json {
            terminal::line(line(&removed));
        }
        document.removed.push(removed);
    }
    if arguments.json { terminal::json(&document) } else { Ok(()) }
}

fn meant(
    name: &Name,
    with_file: bool,
    store: &Store,
    settings: &Settings,
) -> anyhow::Result<Meant> {
    if let Some(manifest) = store.find(name) {
        return Ok(Meant::Kept(Box::new(manifest)));
    }
    let Some(found) = plain(name, settings) else {
        let models = store.models().models;
        let names = models.iter().map(|manifest| manifest.name.as_str());
        return Err(exit::error(Code::Model, models::unknown(name.as_str(), names)));
    };
    let is_named = settings.catalog.named.contains_key(&found.name);
    if is_named {
        let message = format!(
            "'{name}' is {}, which the configuration or a flag names; take the name out there and remove the \
             file yourself",
            found.path.display()
        );
        return Err(exit::error(Code::Model, message));
    }
    if !with_file {
        return Err(exit::error(
            Code::Model,
            format!("{}; --file removes that file", plain_sentence(name, &found)),
        ));
    }
    Ok(Meant::Plain(parts(&found.path)))
}

/// All files of the model whose first is `path`.
fn parts(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match split::names(name) {
        Ok(names) => names.iter().map(|name| path.with_file_name(name)).collect(),
        Err(_) => vec![path.to_owned()],
    }
}

/// Refuses a model that is no model of the library.
///
/// # Errors
/// With [`Code::Model`], with the way to make it one.
pub(crate) fn refuse_plain(name: &Name, settings: &Settings) -> anyhow::Result<()> {
    let Some(found) = plain(name, settings) else { return Ok(()) };
    if pull::store(settings)?.find(name).is_some() {
        return Ok(());
    }
    let path = found.path.display();
    let message = format!(
        "{}; `resident import {path} --name NAME` takes it over without copying it",
        plain_sentence(name, &found)
    );
    Err(exit::error(Code::Model, message))
}

/// The model of that name that is no model of the library.
fn plain(name: &Name, settings: &Settings) -> Option<Found> {
    let found = settings.catalog.find(name.as_str())?;
    found.shelved.is_none().then_some(found)
}

fn plain_sentence(name: &Name, found: &Found) -> String {
    format!("'{name}' is a plain file, not of the library: {}", found.path.display())
}

fn forget(manifest: &Manifest, store: &Store) -> anyhow::Result<Removed> {
    let others = store.models().models;
    let others = others.iter().filter(|other| !other.name.is_same(&manifest.name));
    let shared: BTreeSet<Sha256> =
        others.flat_map(|other| &other.files).map(|file| file.digest).collect();
    let (mut freed_bytes, mut kept_bytes, mut seen) = (0_u64, 0_u64, BTreeSet::new());
    for file in manifest.files.iter().filter(|file| seen.insert(file.digest)) {
        let is_others = file.at.is_some()
            || shared.contains(&file.digest)
            || has_other_links(&store.path_of(file));
        let sum = if is_others { &mut kept_bytes } else { &mut freed_bytes };
        *sum = sum.saturating_add(file.bytes);
    }
    store.remove(&manifest.name).map_err(pull::of_store)?;
    Ok(Removed { model: manifest.name.to_string(), freed_bytes, kept_bytes })
}

/// Whether somebody else has the file too, by a link of its own: the library has the blob and a readable name.
#[cfg(unix)]
fn has_other_links(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(path).is_ok_and(|metadata| metadata.nlink() > 2)
}

/// Elsewhere nobody says how many links there are without further ado.
#[cfg(not(unix))]
fn has_other_links(_path: &Path) -> bool {
    false
}

fn delete(name: &Name, paths: &[PathBuf]) -> anyhow::Result<Removed> {
    let mut freed_bytes: u64 = 0;
    // The first part goes last: as long as it is there, the name means the model.
    for (number, path) in paths.iter().enumerate().rev() {
        let bytes = fs::metadata(path).map_or(0, |metadata| metadata.len());
        match fs::remove_file(path) {
            Ok(()) => freed_bytes = freed_bytes.saturating_add(bytes),
            // A part that was missing is no hindrance.
            Err(error) if number > 0 && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let message = format!("cannot remove {}: {error}", path.display());
                return Err(exit::error(Code::Failure, message));
            }
        }
    }
    Ok(Removed { model: name.to_string(), freed_bytes, kept_bytes: 0 })
}

fn line(removed: &Removed) -> String {
    let kept = match removed.kept_bytes {
        0 => String::new(),
        bytes => format!("; {} stay, which others have too", size::format(bytes)),
    };
    format!("{} is removed: {} freed{kept}", removed.model, size::format(removed.freed_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_of_a_plain_model_go() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let names = ["m-00001-of-00003.gguf", "m-00003-of-00003.gguf", "m-00001-of-00002.gguf"];
        for name in names.iter().chain(&["n.gguf"]) {
            fs::write(file(name), [0; 5]).unwrap();
        }
        let removed = |name: &str, path: &str| {
            delete(&Name::new(name).unwrap(), &parts(&file(path))).unwrap().freed_bytes
        };
        // The second part was never there.
        assert_eq!(removed("m", names[0]), 10);
        assert_eq!(removed("n", "n.gguf"), 5);
        let left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|one| one.unwrap().path()).collect();
        assert_eq!(left, [file(names[2])]);
        assert!(delete(&Name::new("n").unwrap(), &parts(&file("n.gguf"))).is_err());
    }

    #[test]
    fn what_is_freed_and_what_stays_is_said() {
        let mut removed = Removed { model: "a".to_owned(), freed_bytes: 5 << 30, kept_bytes: 0 };
        assert_eq!(line(&removed), "a is removed: 5.0 GiB freed");
        removed.kept_bytes = 1 << 30;
        removed.freed_bytes = 0;
        assert_eq!(line(&removed), "a is removed: 0 B freed; 1.0 GiB stay, which others have too");
    }
}
