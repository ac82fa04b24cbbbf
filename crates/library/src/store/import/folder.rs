//! Folders of GGUF files: what lies in them makes models by the names of the files.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use planner::gguf::split;

use super::{Error, Offer, Offers, headers, name_like};
use crate::{
    limits::{FOLDER_DEPTH_MAX, FOLDER_ENTRIES_MAX},
    manifest::{Role, Settings},
    projector,
    store::{error::io, garbage::entries, header, take::Coming},
};

const ENDING: &str = ".gguf";
const OTHER_ENDING: &str = ".safetensors";

/// Files that make one model: its parts in their order, and what it sees and hears with.
#[derive(Debug)]
pub(super) struct Group {
    /// What the file's name is without its ending and the number of its part.
    pub(super) stem: String,
    pub(super) files: Vec<Coming>,
    pub(super) quantization: Option<String>,
}

/// The models of one folder.
#[derive(Debug, Default)]
pub(super) struct Groups {
    pub(super) models: Vec<Group>,
    pub(super) skipped: Vec<String>,
    /// Whether there are weights in a format that has to be converted.
    pub(super) has_safetensors: bool,
}

pub(super) fn offers(folder: &Path) -> Result<Offers, Error> {
    let folder = &whole(folder)?;
    std::fs::read_dir(folder).map_err(io("read", folder))?;
    let mut offers = Offers::default();
    for below in folders(folder) {
        let groups = groups(&below);
        offers.skipped.extend(groups.skipped);
        let offered = groups.models.into_iter().filter_map(|group| {
            let source = group.files.first()?.path.display().to_string();
            offer(group, source, None, &mut offers.skipped)
        });
        offers.models.extend(offered);
    }
    if offers.models.is_empty() && offers.skipped.is_empty() {
        offers.skipped.push(format!("{} has no GGUF files", folder.display()));
    }
    Ok(offers)
}

/// The model that a file is, or is a part of.
pub(super) fn offer_of_file(path: &Path) -> Result<Offers, Error> {
    let path = std::path::absolute(path).map_err(io("use", path))?;
    std::fs::metadata(&path).map_err(io("read", &path))?;
    let mut offers = Offers::default();
    let named = path.file_name().and_then(|name| name.to_str()).zip(path.parent());
    let Some((name, folder)) = named else {
        return Err(io("use", &path)(std::io::ErrorKind::InvalidFilename.into()));
    };
    let folder = &whole(folder)?;
    let (stem, parts) = match split::names(name) {
        Ok(parts) => (stem_of(name), parts),
        Err(error) => {
            offers.skipped.push(error.to_string());
            return Ok(offers);
        }
    };
    match group(folder, stem, &parts) {
        Ok(group) => {
            let source = group.files[0].path.display().to_string();
            offers.models.extend(offer(group, source, None, &mut offers.skipped));
        }
        Err(sentence) => offers.skipped.push(sentence),
    }
    Ok(offers)
}

/// The one path of a folder, so that what was imported is known again whichever way it is named. Its files keep
/// the names that they have in it, links or not.
fn whole(folder: &Path) -> Result<PathBuf, Error> {
    // Elsewhere the real path has a form that people do not write.
    let path = if cfg!(unix) { folder.canonicalize() } else { std::path::absolute(folder) };
    path.map_err(io("read", folder))
}

/// A group under the name of its files.
pub(super) fn offer(
    group: Group,
    source: String,
    revision: Option<String>,
    skipped: &mut Vec<String>,
) -> Option<Offer> {
    let Some(name) = name_like(&group.stem) else {
        skipped.push(format!(
            "{source} is left out: '{}' cannot be a model's name; import it alone with --name",
            group.stem
        ));
        return None;
    };
    let Group { files, quantization, .. } = group;
    Some(Offer { name, source, revision, quantization, files, settings: Settings::default() })
}

/// The folder itself and what is below it, as deep as people make folders.
pub(super) fn folders(top: &Path) -> Vec<PathBuf> {
    let mut found = vec![(top.to_owned(), 0)];
    let (mut at, mut left) = (0, FOLDER_ENTRIES_MAX);
    while let Some((folder, depth)) = found.get(at).cloned() {
        at += 1;
        if depth == FOLDER_DEPTH_MAX {
            continue;
        }
        for (name, path) in entries(&folder).into_iter().take(left) {
            left -= 1;
            // A folder that begins with a point is another program's own, and a link may lead upwards.
            if !name.starts_with('.') && path.is_dir() && !path.is_symlink() {
                found.push((path, depth + 1));
            }
        }
    }
    let mut folders: Vec<_> = found.into_iter().map(|(folder, _)| folder).collect();
    folders.sort();
    folders
}

/// The models whose files lie in this very folder.
pub(super) fn groups(folder: &Path) -> Groups {
    let mut groups = Groups::default();
    let listed =
        entries(folder).into_iter().take(FOLDER_ENTRIES_MAX).filter(|(_, path)| path.is_file());
    let names: BTreeSet<String> = listed.map(|(name, _)| name).collect();
    groups.has_safetensors = names.iter().any(|name| name.ends_with(OTHER_ENDING));
    let is_model = |name: &&String| {
        name.to_lowercase().ends_with(ENDING) && !projector::is_projector(Path::new(name))
    };
    let mut by_stem: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in names.iter().filter(is_model) {
        match split::names(name) {
            Ok(parts) => {
                by_stem.insert(stem_of(name), parts);
            }
            Err(error) => groups.skipped.push(format!("{}: {error}", folder.join(name).display())),
        }
    }
    for (stem, parts) in by_stem {
        match group(folder, stem, &parts) {
            Ok(group) => groups.models.push(group),
            Err(sentence) => groups.skipped.push(sentence),
        }
    }
    groups
}

/// The model of these parts; else a sentence about why it is none.
fn group(folder: &Path, stem: String, parts: &[String]) -> Result<Group, String> {
    let coming = |role, path: PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Coming { role, name, path, digest: None, is_final: false }
    };
    let mut files: Vec<Coming> =
        parts.iter().map(|name| coming(Role::Model, folder.join(name))).collect();
    if let Some(missing) = files.iter().find(|file| !file.path.is_file()) {
        return Err(format!(
            "{stem} in {} is left out: {} is missing; put all parts of the model side by side",
            folder.display(),
            missing.name
        ));
    }
    let first = &files[0].path;
    let left_out = |why: String| format!("{} is left out: it {why}", first.display());
    let header = header::read(first).map_err(left_out)?;
    if !header.is_model() {
        return Err(left_out("is no model, but belongs to one".to_owned()));
    }
    files.extend(projector::beside(first).map(|path| coming(Role::Projector, path)));
    let quantization = headers(&files)?;
    Ok(Group { stem, files, quantization })
}

/// A file's name without its ending and the number of its part.
fn stem_of(name: &str) -> String {
    let stem = match split::Part::of(name) {
        Some(part) => part.stem,
        None => name.get(..name.len().saturating_sub(ENDING.len())).unwrap_or(name),
    };
    stem.to_owned()
}
