//! Which models can be served, and where their files are.
//!
//! Four sources, the first wins: `--model NAME=PATH`, `[models.NAME]` of the configuration file, the library,
//! and the models folder, where `x.gguf` is the model `x`, at the top or one folder down; of a model in parts
//! `x-00001-of-00002.gguf` is the first. The folder is read whenever somebody asks, so a new file needs no restart.
//! A name never becomes a path: it is looked for among the names that were found. A projector (`mmproj`) is no
//! model; it belongs to one. Not here: what is inside the files.

mod shelf;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};

pub(crate) use library::projector::beside as projector_beside;
use planner::gguf::split;
pub(crate) use shelf::Shelved;

use crate::{
    exit::{self, Code},
    limits::{LIKENESS_MIN, NAME_CHARACTERS_MAX},
};

/// The ending of a model's file.
const ENDING: &str = "gguf";

/// Why a name cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameError {
    /// A character outside the set, or none at all.
    #[error(
        "'{name}' cannot be a model's name: use 1 to {NAME_CHARACTERS_MAX} of A-Z a-z 0-9 . _ - : + @, \
         a letter or digit first"
    )]
    Characters {
        /// What was given.
        name: String,
    },
    /// `NAME=PATH` without its `=`.
    #[error("'{text}' is not NAME=PATH; write for example chat=/models/qwen3-8b.gguf")]
    NotAPair {
        /// What was given.
        text: String,
    },
}

/// A model that the user named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    /// Its GGUF file.
    pub(crate) path: PathBuf,
    /// Its own context, instead of the general one.
    pub(crate) context_tokens: Option<u32>,
}

/// A model that can be served.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    /// What clients call it.
    pub(crate) name: String,
    /// Its GGUF file; of a model in parts the first.
    pub(crate) path: PathBuf,
    /// Length of the file, of all parts together.
    pub(crate) file_bytes: u64,
    /// When the file was last written, in seconds since 1970.
    pub(crate) modified_unix_s: u64,
    /// Its own context, instead of the general one.
    pub(crate) context_tokens: Option<u32>,
    /// What the library has beside the file, if it is from there.
    pub(crate) shelved: Option<Arc<Shelved>>,
}

/// What one look at all sources gave.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Scan {
    /// Models by name.
    pub(crate) models: Vec<Found>,
    /// What was left out and why.
    pub(crate) problems: Vec<Problem>,
}

/// Something that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// What and why, in a whole sentence for the user.
    pub(crate) sentence: String,
    /// Whether it could not be read at all. Otherwise it was left out by rule.
    pub(crate) is_unreadable: bool,
}

impl Problem {
    fn unreadable(sentence: String) -> Self {
        Self { sentence, is_unreadable: true }
    }

    fn left_out(sentence: String) -> Self {
        Self { sentence, is_unreadable: false }
    }
}

/// The sources of models.
#[derive(Debug, Clone)]
pub(crate) struct Catalog {
    /// The models folder; it need not exist.
    pub(crate) folder: PathBuf,
    /// Models the user named.
    pub(crate) named: BTreeMap<String, Named>,
    /// Contexts of models in the folder or the library that have their own.
    pub(crate) contexts: BTreeMap<String, u32>,
}

impl Catalog {
    /// Looks at all sources now.
    pub(crate) fn scan(&self) -> Scan {
        let mut problems = Vec::new();
        let mut models = BTreeMap::new();
        for (name, named) in &self.named {
            match found(name, &named.path, named.context_tokens) {
                Ok(found) => {
                    models.insert(name.clone(), found);
                }
                Err(error) => problems.push(Problem::unreadable(format!(
                    "model '{name}': cannot read {}: {error}",
                    named.path.display()
                ))),
            }
        }
        for found in self.shelved(&mut problems) {
            if let Some(named) = self.named.get(&found.name) {
                problems.push(Problem::left_out(format!(
                    "the model '{}' of the library is hidden, because it is {}; name one of them otherwise",
                    found.name,
                    named.path.display()
                )));
                continue;
            }
            models.insert(found.name.clone(), found);
        }
        for (name, path) in self.folder_files(&mut problems) {
            if self.named.contains_key(&name) {
                if self.named[&name].path != path {
                    problems.push(hidden(&path, &name, &self.named[&name].path));
                }
                continue;
            }
            if let Some(first) = models.get(&name) {
                problems.push(hidden(&path, &name, &first.path));
                continue;
            }
            match found(&name, &path, self.contexts.get(&name).copied()) {
                Ok(found) => {
                    models.insert(name, found);
                }
                Err(error) => {
                    let sentence = format!("cannot read {}: {error}", path.display());
                    problems.push(Problem::unreadable(sentence));
                }
            }
        }
        Scan { models: models.into_values().collect(), problems }
    }

    /// The model that is called `name` now. It looks at its files only, because every request asks.
    pub(crate) fn find(&self, name: &str) -> Option<Found> {
        if let Some(named) = self.named.get(name) {
            return found(name, &named.path, named.context_tokens).ok();
        }
        if let Some(found) = self.find_shelved(name) {
            return Some(found);
        }
        check_name(name).ok()?;
        let files = self.folder_files(&mut Vec::new());
        let (name, path) = files.into_iter().find(|(file_name, _)| file_name == name)?;
        found(&name, &path, self.contexts.get(&name).copied()).ok()
    }

    /// Adds a file under its own name, in front of every other model of that name.
    ///
    /// # Errors
    /// When the file's name cannot be a model's.
    pub(crate) fn add_file(&mut self, file: &Path) -> anyhow::Result<String> {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        check_name(&name).map_err(|error| {
            exit::error(Code::Model, format!("{}: {error}; rename the file", file.display()))
        })?;
        let named = Named { path: file.to_owned(), context_tokens: None };
        self.named.insert(name.clone(), named);
        Ok(name)
    }

    /// Name and path of every model file in the folder: those at the top first, then those one
    /// folder down, each in the order of their names.
    fn folder_files(&self, problems: &mut Vec<Problem>) -> Vec<(String, PathBuf)> {
        let (top, folders) = entries(&self.folder, problems);
        let below = folders.iter().flat_map(|folder| entries(folder, problems).0);
        let mut files = top;
        files.extend(below.collect::<Vec<_>>());
        files.retain(|path| !library::projector::is_projector(path));
        files.into_iter().filter_map(|path| named_file(path, problems)).collect()
    }
}

/// What `--model` says.
///
/// # Errors
/// [`NameError`] when there is no `=` or the name cannot be used.
pub(crate) fn parse_pair(text: &str) -> Result<(String, PathBuf), NameError> {
    match text.split_once('=') {
        Some((name, path)) if !path.is_empty() => {
            check_name(name)?;
            Ok((name.to_owned(), PathBuf::from(path)))
        }
        Some(_) | None => Err(NameError::NotAPair { text: text.to_owned() }),
    }
}

/// Whether `name` can be a model's name.
///
/// # Errors
/// [`NameError::Characters`] when it cannot.
pub(crate) fn check_name(name: &str) -> Result<(), NameError> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._-:+@".contains(c);
    let is_name = name.len() <= NAME_CHARACTERS_MAX
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(is_allowed);
    if is_name { Ok(()) } else { Err(NameError::Characters { name: name.to_owned() }) }
}

/// Whether `name` can follow the name of a pool of servers and a slash: as other models' names, and
/// with slashes between its parts, which servers elsewhere use.
pub(crate) fn is_name_elsewhere(name: &str) -> bool {
    name.len() <= NAME_CHARACTERS_MAX && name.split('/').all(|part| check_name(part).is_ok())
}

/// The name most like `name`, if one is alike at all.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// What to say when no model is called `name`.
pub(crate) fn unknown<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> String {
    match nearest(name, names) {
        Some(nearest) => format!("no model is named '{name}'; did you mean '{nearest}'?"),
        None => format!("no model is named '{name}'; resident ls lists what there is"),
    }
}

/// The file that `model` means, if it means one: no name looks like a path to a GGUF file.
///
/// # Errors
/// When it means a file that is not there.
pub(crate) fn file_of(model: &str) -> anyhow::Result<Option<PathBuf>> {
    let path = Path::new(model);
    // A name with slashes may be a model of servers elsewhere, unless such a file is there.
    let is_name =
        check_name(model).is_ok() || is_name_elsewhere(model) && !Path::new(model).is_file();
    if !has_ending(path) && is_name {
        return Ok(None);
    }
    // Absolute, so that a hub that runs elsewhere means the same file.
    let absolute = fs::canonicalize(path).map_err(|error| {
        exit::error(Code::Model, format!("cannot read the model file {model}: {error}"))
    })?;
    Ok(Some(absolute))
}

fn has_ending(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case(ENDING))
}

/// The model whose file is `path`, under the file's own name.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn from_file(path: &Path) -> io::Result<Found> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    found(&stem, path, None)
}

fn found(name: &str, path: &Path, context_tokens: Option<u32>) -> io::Result<Found> {
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let modified = |metadata: &fs::Metadata| {
        let modified = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        modified.map_or(0, |since| since.as_secs())
    };
    let (mut file_bytes, mut modified_unix_s) = (metadata.len(), modified(&metadata));
    // Whoever reads the headers says which part is missing.
    for part in further_parts(path).iter().filter_map(|part| fs::metadata(part).ok()) {
        file_bytes = file_bytes.saturating_add(part.len());
        modified_unix_s = modified_unix_s.max(modified(&part));
    }
    Ok(Found {
        name: name.to_owned(),
        path: path.to_owned(),
        file_bytes,
        modified_unix_s,
        context_tokens,
        shelved: None,
    })
}

/// The other parts of a model whose first this is, if it is one.
fn further_parts(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let names = match split::Part::of(name) {
        Some(part) if part.number == 1 => split::names(name).unwrap_or_default(),
        Some(_) | None => Vec::new(),
    };
    names.iter().skip(1).map(|name| path.with_file_name(name)).collect()
}

/// Model files and folders in `folder`, sorted. A folder that does not exist is empty.
fn entries(folder: &Path, problems: &mut Vec<Problem>) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    let listing = match fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return (files, folders),
        Err(error) => {
            let sentence = format!("cannot read the models folder {}: {error}", folder.display());
            problems.push(Problem::unreadable(sentence));
            return (files, folders);
        }
    };
    for entry in listing.flatten() {
        let path = entry.path();
        if has_ending(&path) {
            files.push(path);
        } else if entry.file_type().is_ok_and(|kind| kind.is_dir() || kind.is_symlink()) {
            folders.push(path);
        }
    }
    folders.retain(|path| path.is_dir());
    files.sort();
    folders.sort();
    (files, folders)
}

/// The name of a model file, if it can be served under one. Of a model in parts that is the first.
fn named_file(path: PathBuf, problems: &mut Vec<Problem>) -> Option<(String, PathBuf)> {
    let file_name = path.file_name()?.to_string_lossy().into_owned();
    let stem = match split::Part::of(&file_name) {
        Some(part) if part.number == 1 => part.stem.to_owned(),
        Some(_) => return None,
        None => path.file_stem()?.to_string_lossy().into_owned(),
    };
    if let Err(error) = check_name(&stem) {
        let sentence = format!("{}: {error}; rename the file", path.display());
        problems.push(Problem::left_out(sentence));
        return None;
    }
    Some((stem, path))
}

fn hidden(path: &Path, name: &str, by: &Path) -> Problem {
    Problem::left_out(format!(
        "{} is hidden, because the model '{name}' is {}; rename one of them",
        path.display(),
        by.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn with(files: &[&str]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            for file in files {
                let path = folder.path().join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, *file).unwrap();
            }
            Self(folder)
        }

        fn catalog(&self, named: &[(&str, &str)]) -> Catalog {
            let named = named.iter().map(|(name, file)| {
                let path = self.0.path().join(file);
                ((*name).to_owned(), Named { path, context_tokens: Some(77) })
            });
            let contexts = BTreeMap::from([("tiny".to_owned(), 55)]);
            Catalog { folder: self.0.path().join("models"), named: named.collect(), contexts }
        }

        /// What was found as `name=path`, and the problems, with the folder's own path taken out.
        #[track_caller]
        fn check(&self, named: &[(&str, &str)], models: &[&str], problems: &[&str]) {
            let root = format!("{}/", self.0.path().display());
            let catalog = self.catalog(named);
            let scan = catalog.scan();
            let found: Vec<String> = scan
                .models
                .iter()
                .map(|found| format!("{}={}", found.name, found.path.display()).replace(&root, ""))
                .collect();
            assert_eq!(found, models);
            let said: Vec<String> =
                scan.problems.iter().map(|problem| problem.sentence.replace(&root, "")).collect();
            assert_eq!(said, problems);
            for model in scan.models {
                assert_eq!(catalog.find(&model.name), Some(model), "find agrees with scan");
            }
        }
    }

    #[test]
    fn files_are_found_at_the_top_and_one_folder_down() {
        let folder = Folder::with(&[
            "models/qwen3-8b.gguf",
            "models/Big.GGUF",
            "models/notes.txt",
            "models/small/tiny.gguf",
            "models/small/deep/lost.gguf",
        ]);
        folder.check(
            &[],
            &[
                "Big=models/Big.GGUF",
                "qwen3-8b=models/qwen3-8b.gguf",
                "tiny=models/small/tiny.gguf",
            ],
            &[],
        );
    }

    #[test]
    fn a_file_of_the_folder_may_have_its_own_context() {
        let folder = Folder::with(&["models/tiny.gguf", "models/a.gguf"]);
        let catalog = folder.catalog(&[]);
        let contexts = |name: &str| catalog.find(name).unwrap().context_tokens;
        assert_eq!((contexts("tiny"), contexts("a")), (Some(55), None));
        let scanned: Vec<_> =
            catalog.scan().models.iter().map(|found| found.context_tokens).collect();
        assert_eq!(scanned, [None, Some(55)]);
    }

    #[test]
    fn a_new_file_shows_without_a_restart() {
        let folder = Folder::with(&["models/a.gguf"]);
        let catalog = folder.catalog(&[]);
        assert_eq!(catalog.find("b"), None);
        fs::write(folder.0.path().join("models/b.gguf"), "b").unwrap();
        assert_eq!(catalog.find("b").map(|found| found.file_bytes), Some(1));
    }

    #[test]
    fn one_name_is_one_model_and_the_hidden_file_is_reported() {
        let folder = Folder::with(&[
            "models/a.gguf",
            "models/x/a.gguf",
            "models/x/b.gguf",
            "elsewhere/other.gguf",
        ]);
        folder.check(
            &[("b", "elsewhere/other.gguf")],
            &["a=models/a.gguf", "b=elsewhere/other.gguf"],
            &[
                "models/x/a.gguf is hidden, because the model 'a' is models/a.gguf; rename one of them",
                "models/x/b.gguf is hidden, because the model 'b' is elsewhere/other.gguf; \
                 rename one of them",
            ],
        );
    }

    #[test]
    fn what_cannot_be_served_is_said() {
        let folder = Folder::with(&["models/-x.gguf"]);
        folder.check(
            &[("gone", "nowhere.gguf")],
            &[],
            &[
                "model 'gone': cannot read nowhere.gguf: No such file or directory (os error 2)",
                "models/-x.gguf: '-x' cannot be a model's name: use 1 to 128 of \
                 A-Z a-z 0-9 . _ - : + @, a letter or digit first; rename the file",
            ],
        );
    }

    #[test]
    fn a_model_in_parts_is_its_first_with_the_bytes_of_all() {
        let parts = ["models/big-00001-of-00003.gguf", "models/big-00002-of-00003.gguf"];
        let folder = Folder::with(&[parts[0], parts[1], "models/big-00003-of-00003.gguf"]);
        folder.check(&[], &["big=models/big-00001-of-00003.gguf"], &[]);
        let bytes = folder.catalog(&[]).find("big").unwrap().file_bytes;
        assert_eq!(bytes, 3 * parts[0].len() as u64);
        fs::remove_file(folder.0.path().join(parts[1])).unwrap();
        let bytes = folder.catalog(&[]).find("big").unwrap().file_bytes;
        assert_eq!(bytes, 2 * parts[0].len() as u64, "whoever reads the headers misses it");
    }

    #[test]
    fn what_is_left_out_by_rule_is_not_unreadable() {
        let folder = Folder::with(&["models/a.gguf", "models/x/a.gguf", "models/-x.gguf"]);
        let unreadable = |named: &[(&str, &str)]| {
            let problems = folder.catalog(named).scan().problems;
            (problems.len(), problems.iter().filter(|problem| problem.is_unreadable).count())
        };
        assert_eq!(unreadable(&[]), (2, 0));
        assert_eq!(unreadable(&[("gone", "nowhere.gguf")]), (3, 1));
    }

    #[test]
    fn a_folder_that_does_not_exist_is_empty() {
        Folder::with(&["other"]).check(&[], &[], &[]);
    }

    #[test]
    fn a_name_is_never_a_path() {
        let folder = Folder::with(&["models/a.gguf", "secret.gguf"]);
        let catalog = folder.catalog(&[]);
        for name in ["../secret", "/a", "a.gguf", "x/../a", "", ".", "a\0", "models/a", "A"] {
            assert_eq!(catalog.find(name), None, "{name:?}");
        }
        assert!(catalog.find("a").is_some());
    }

    #[test]
    fn pairs() {
        assert_eq!(parse_pair("a=b=c"), Ok(("a".into(), "b=c".into())));
        for text in ["a", "a=", ""] {
            assert!(matches!(parse_pair(text), Err(NameError::NotAPair { .. })), "{text}");
        }
        assert!(matches!(parse_pair("../a=b"), Err(NameError::Characters { .. })));
    }

    #[test]
    fn a_name_is_no_file_and_a_path_is_no_name() {
        assert_eq!(file_of("qwen3-8b").unwrap(), None);
        assert_eq!(file_of("qwen3:8b").unwrap(), None);
        assert_eq!(file_of("lab/org/qwen3:8b").unwrap(), None, "a model of servers elsewhere");
        assert!(file_of("../qwen3").is_err());
        let message = file_of("no/such.gguf").unwrap_err().to_string();
        assert!(message.starts_with("cannot read the model file no/such.gguf: "), "{message}");
        let folder = Folder::with(&["models/x.gguf"]);
        let path = folder.0.path().join("models/x.gguf").canonicalize().unwrap();
        assert_eq!(file_of(path.to_str().unwrap()).unwrap(), Some(path.clone()));
        let mut catalog = folder.catalog(&[]);
        assert_eq!(catalog.add_file(&path).unwrap(), "x");
        assert_eq!(catalog.find("x").unwrap().path, path);
    }

    #[test]
    fn an_unknown_name_is_refused_with_a_way_out() {
        let names = || ["demo", "qwen3-8b"].into_iter();
        assert_eq!(unknown("dmeo", names()), "no model is named 'dmeo'; did you mean 'demo'?");
        let message = "no model is named 'zzz'; resident ls lists what there is";
        assert_eq!(unknown("zzz", names()), message);
    }

    #[test]
    fn the_nearest_name_is_alike() {
        let names = ["qwen3-8b", "llama-3.2-1b", "demo"];
        assert_eq!(nearest("qwen3_8b", names.into_iter()), Some("qwen3-8b"));
        assert_eq!(nearest("zzz", names.into_iter()), None);
    }
}
