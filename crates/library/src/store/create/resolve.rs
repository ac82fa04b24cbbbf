//! What the words of a Modelfile mean on this machine: files, folders, digests and names.

use std::path::{Path, PathBuf};

use planner::gguf::split;

use super::{Base, Error, Recipe};
use crate::{digest::Sha256, modelfile::Modelfile, name::Name, store::garbage::entries};

/// What Ollama's names may begin with and mean the same without.
const DEFAULTS: [&str; 2] = ["registry.ollama.ai/", "library/"];

impl Recipe {
    /// What a Modelfile says that lies in `folder`: a path from there, when something is at it, else a digest or
    /// the name of a model.
    ///
    /// # Errors
    /// When something is none of these.
    pub fn of_modelfile(modelfile: &Modelfile, folder: &Path) -> Result<Self, Error> {
        let bases = |texts: &[String]| {
            texts.iter().map(|text| base(text, folder)).collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            from: bases(&modelfile.from)?,
            adapters: bases(&modelfile.adapters)?,
            drafts: bases(&modelfile.drafts)?,
            settings: modelfile.settings.clone(),
        })
    }
}

impl Base {
    /// The model that Ollama's clients mean by a name, with or without its defaults before it.
    #[must_use]
    pub fn model(text: &str) -> Option<Self> {
        let short =
            DEFAULTS.iter().fold(text, |text, begin| text.strip_prefix(begin).unwrap_or(text));
        Name::new(short).ok().map(Self::Model)
    }
}

fn base(text: &str, folder: &Path) -> Result<Base, Error> {
    let path = from_home(text).unwrap_or_else(|| folder.join(text));
    if path.exists() {
        return Ok(Base::File(path));
    }
    let digits = text.strip_prefix('@').unwrap_or(text);
    if let Ok(digest) = digits.parse::<Sha256>() {
        return Ok(Base::Blob { digest, name: format!("{}.gguf", digest.short()) });
    }
    Base::model(text).ok_or_else(|| Error::From { text: text.to_owned() })
}

fn from_home(text: &str) -> Option<PathBuf> {
    let rest = text.strip_prefix("~/")?;
    std::env::home_dir().map(|home| home.join(rest))
}

/// The files that a path means, in their order.
pub(super) fn files(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let wrong = |why: String| Error::File { path: path.to_owned(), why };
    if path.is_dir() {
        let has_ending = |path: &PathBuf, ending: &str| {
            path.extension().is_some_and(|end| end.eq_ignore_ascii_case(ending))
        };
        let mut all: Vec<PathBuf> = entries(path).into_iter().map(|(_, path)| path).collect();
        all.sort();
        let found: Vec<PathBuf> =
            all.iter().filter(|path| has_ending(path, "gguf")).cloned().collect();
        return match (found.is_empty(), all.iter().any(|path| has_ending(path, "safetensors"))) {
            (false, _) => Ok(found),
            (true, true) => Err(wrong(
                "it has safetensors and no GGUF; `resident convert` makes one of them".to_owned(),
            )),
            (true, false) => Err(wrong("it has no GGUF files".to_owned())),
        };
    }
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return Ok(vec![path.to_owned()]);
    };
    let parts = split::names(name).map_err(|error| wrong(error.to_string()))?;
    Ok(parts.iter().map(|part| path.with_file_name(part)).collect())
}

/// A plain file name out of what a client calls a file, which may be a path of its machine.
pub(super) fn plain(text: &str) -> String {
    let last = text.rsplit(['/', '\\']).next().unwrap_or_default();
    let is_allowed = |c: char| c.is_alphanumeric() || "._- +@".contains(c);
    let plain: String =
        last.chars().map(|c| if is_allowed(c) { c } else { '-' }).take(120).collect();
    let plain = plain.trim_matches(['.', ' ']);
    let stem = plain.strip_suffix(".gguf").unwrap_or(plain);
    if stem.is_empty() { "model.gguf".to_owned() } else { format!("{stem}.gguf") }
}
