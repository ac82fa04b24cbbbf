//! Manifests: read from hostile folders, and written so that no end of the process tears one.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Read as _,
    path::PathBuf,
};

use super::{Error, MANIFEST_ENDING, MANIFESTS, Store, blobs::new_name, error::io};
use crate::{
    limits::{FILE_NAME_BYTES_MAX, FILES_MAX, MANIFEST_BYTES_MAX, MANIFESTS_MAX},
    manifest::{Manifest, Role},
    name::Name,
};

/// What one look at the store gave.
#[derive(Debug, Default, PartialEq)]
pub struct Scan {
    /// Models, by name.
    pub models: Vec<Manifest>,
    /// What was left out, each in a whole sentence for the user.
    pub problems: Vec<String>,
}

impl Store {
    /// All manifests that can be read, whether their files are there or not.
    pub(super) fn manifests(&self) -> Scan {
        let mut scan = Scan::default();
        for entry in self.listed() {
            match entry.and_then(|name| self.manifest(&name)) {
                Ok(manifest) => scan.models.push(manifest),
                Err(problem) => scan.problems.push(problem),
            }
        }
        scan.models.sort_by(|a, b| a.name.cmp(&b.name));
        scan
    }

    /// What manifests are called, readable or not.
    pub(super) fn manifest_names(&self) -> Vec<Name> {
        self.listed().into_iter().filter_map(Result::ok).collect()
    }

    fn listed(&self) -> Vec<Result<Name, String>> {
        let folder = self.folder.join(MANIFESTS);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => return vec![Err(format!("cannot read {}: {error}", folder.display()))],
        };
        let mut listed = Vec::new();
        for entry in entries {
            if listed.len() == MANIFESTS_MAX {
                let folder = folder.display();
                listed.push(Err(format!("{folder} holds more than {MANIFESTS_MAX} models; the others are left out, remove some")));
                break;
            }
            let name = match entry {
                Ok(entry) => entry.file_name(),
                Err(error) => {
                    listed.push(Err(format!("cannot read {}: {error}", folder.display())));
                    break;
                }
            };
            let shown = folder.join(&name);
            // What has another ending is being written, or left over from that.
            let Some(stem) = name.to_str().and_then(|name| name.strip_suffix(MANIFEST_ENDING))
            else {
                continue;
            };
            listed.push(Name::of_file_stem(stem).ok_or_else(|| {
                format!("{} is left out, because no model's manifest is called so", shown.display())
            }));
        }
        listed
    }

    /// The manifest of this very name; else what is wrong with it.
    pub(super) fn manifest(&self, name: &Name) -> Result<Manifest, String> {
        let path = self.manifest_path(name);
        let problem = |why: String| {
            let way_out = format!("pull or create '{name}' again, or `resident rm {name}`");
            format!("{} is left out: {why}; {way_out}", path.display())
        };
        let bytes = read_plain(&path, MANIFEST_BYTES_MAX).map_err(&problem)?;
        let manifest: Manifest =
            serde_json::from_slice(&bytes).map_err(|error| problem(error.to_string()))?;
        if manifest.name != *name {
            return Err(problem(format!("it says it is the model '{}'", manifest.name)));
        }
        check(&manifest).map_err(|error| problem(error.to_string()))?;
        Ok(manifest)
    }

    pub(super) fn manifest_path(&self, name: &Name) -> PathBuf {
        self.folder.join(MANIFESTS).join(format!("{}{MANIFEST_ENDING}", name.file_stem()))
    }

    /// Puts a manifest in the place of what has its name, in one stroke.
    pub(super) fn write_manifest(&self, manifest: &Manifest) -> Result<(), Error> {
        let unfinished = self.made(MANIFESTS)?.join(new_name());
        let path = self.manifest_path(&manifest.name);
        let bytes = serde_json::to_vec_pretty(manifest)
            .map_err(|error| invalid(manifest, error.to_string()))?;
        if bytes.len() as u64 > MANIFEST_BYTES_MAX {
            let why = format!(
                "what goes with it has {} bytes, at most {MANIFEST_BYTES_MAX} can be kept; shorten its licences or messages",
                bytes.len()
            );
            return Err(invalid(manifest, why));
        }
        let written = self
            .disk
            .write_new(&unfinished, &bytes)
            .and_then(|()| self.disk.rename(&unfinished, &path));
        if let Err(error) = written {
            let _left_over = self.disk.remove(&unfinished);
            return Err(io("write", &path)(error));
        }
        self.sync(MANIFESTS)
    }
}

/// A plain file's content, or why it cannot be had. What is no file might never end.
pub(super) fn read_plain(path: &std::path::Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    let text = |error: std::io::Error| error.to_string();
    if !fs::metadata(path).map_err(text)?.is_file() {
        return Err("it is no file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(text)?;
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(text)?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!("it has more than {bytes_max} bytes"));
    }
    Ok(bytes)
}

/// Whether a manifest can be: its files' names become files of one folder.
pub(super) fn check(manifest: &Manifest) -> Result<(), Error> {
    if manifest.files_for(Role::Model).next().is_none() {
        return Err(invalid(manifest, "it has no file with weights".to_owned()));
    }
    if manifest.files.len() > FILES_MAX {
        let count = manifest.files.len();
        return Err(invalid(manifest, format!("it has {count} files, at most {FILES_MAX} can be")));
    }
    let mut names = BTreeSet::new();
    for file in &manifest.files {
        if !is_plain(&file.name) {
            let why = format!("{:?} is no plain file name", shortened(&file.name));
            return Err(invalid(manifest, why));
        }
        if !names.insert(file.name.to_lowercase()) {
            return Err(invalid(manifest, format!("two of its files are called {}", file.name)));
        }
        if file.at.as_ref().is_some_and(|at| !at.is_absolute()) {
            let why = format!("{} lies at a path that is not absolute", file.name);
            return Err(invalid(manifest, why));
        }
    }
    Ok(())
}

fn shortened(text: &str) -> String {
    text.chars().take(FILE_NAME_BYTES_MAX).collect()
}

/// Whether this is a file's name on every system, and stays in its folder.
fn is_plain(name: &str) -> bool {
    let is_forbidden = |c: char| c.is_control() || r#"/\:*?"<>|"#.contains(c);
    !name.is_empty()
        && name.len() <= FILE_NAME_BYTES_MAX
        && !name.starts_with(['.', ' '])
        && !name.ends_with(['.', ' '])
        && !name.contains(is_forbidden)
}

fn invalid(manifest: &Manifest, why: String) -> Error {
    Error::Manifest { name: manifest.name.clone(), why }
}
