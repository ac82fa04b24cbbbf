//! Models that other programs have on this machine: each store is read by its own rules, and what it has becomes
//! models here without another byte of disk (`take`). What cannot be used is told in words and left out.

mod folder;
mod huggingface;
mod lmstudio;
mod ollama;
#[cfg(test)]
mod tests;

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

pub(super) use ollama::file_name;

use super::{
    Error, Store, Watcher, header,
    take::{Coming, How, Stamp},
};
use crate::{
    limits::NAME_CHARACTERS_MAX,
    manifest::{File, Manifest, Settings},
    name::Name,
};

/// Where models lie that are to be imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Ollama's store: a folder with `manifests` and `blobs`.
    Ollama(PathBuf),
    /// LM Studio's folder: owners, their repositories, and files in them.
    LmStudio(PathBuf),
    /// Hugging Face's cache: a folder of `models--OWNER--REPOSITORY`.
    HuggingFace(PathBuf),
    /// A folder of GGUF files.
    Folder(PathBuf),
    /// One GGUF file, or one part of several.
    File(PathBuf),
}

/// What an import came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Models that are new, or new again, and how the store has them.
    pub models: Vec<(Name, How)>,
    /// Models that were imported before and have not changed.
    pub already: Vec<Name>,
    /// What was left out, each in a whole sentence.
    pub skipped: Vec<String>,
    /// Whether it was stopped before its end.
    pub is_stopped: bool,
}

/// A model as another program has it.
#[derive(Debug, Clone)]
struct Offer {
    /// What it would be called here.
    name: Name,
    source: String,
    revision: Option<String>,
    quantization: Option<String>,
    files: Vec<Coming>,
    settings: Settings,
}

/// What a place has.
#[derive(Debug, Default)]
struct Offers {
    models: Vec<Offer>,
    skipped: Vec<String>,
}

impl Place {
    /// Where `ollama`, `lmstudio` or `huggingface` keeps its models on this machine, by the environment that
    /// `variable` reads; the first place that exists. None for another word, or when there is none.
    #[must_use]
    pub fn usual(word: &str, variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let variable = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = variable("HOME").or_else(|| variable("USERPROFILE"));
        let (make, places): (fn(PathBuf) -> Self, Vec<PathBuf>) = match word {
            "ollama" => (Self::Ollama, ollama::usual(&variable, home.as_deref())),
            "lmstudio" => (Self::LmStudio, lmstudio::usual(home.as_deref())),
            "huggingface" => (Self::HuggingFace, huggingface::usual(&variable, home.as_deref())),
            _ => return None,
        };
        places.into_iter().find(|place| place.is_dir()).map(make)
    }

    /// The folder or file.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Ollama(path)
            | Self::LmStudio(path)
            | Self::HuggingFace(path)
            | Self::Folder(path)
            | Self::File(path) => path,
        }
    }

    fn offers(&self) -> Result<Offers, Error> {
        match self {
            Self::Ollama(path) => ollama::offers(path),
            Self::LmStudio(path) => lmstudio::offers(path),
            Self::HuggingFace(path) => huggingface::offers(path),
            Self::Folder(path) => folder::offers(path),
            Self::File(path) => folder::offer_of_file(path),
        }
    }
}

impl Store {
    /// Imports what a place has. Content whose digest the other program does not say is read once for it, with
    /// `watcher` told how far that is.
    ///
    /// `name` is what the model shall be called, where there is only one.
    ///
    /// # Errors
    /// When the place cannot be read, or the store cannot be written. What is wrong with one model leaves only
    /// that one out.
    pub fn import(
        &self,
        place: &Place,
        name: Option<&Name>,
        watcher: &mut Watcher<'_>,
    ) -> Result<Imported, Error> {
        let mut offers = place.offers()?;
        self.leave_out_own(&mut offers, place);
        if let Some(name) = name {
            match &mut offers.models[..] {
                [one] => one.name = name.clone(),
                several => {
                    let why = format!(
                        "{} has {} models, and only one can be called so; import without a name",
                        place.path().display(),
                        several.len()
                    );
                    return Err(Error::Manifest { name: name.clone(), why });
                }
            }
        }
        offers.models.sort_by(|a, b| a.name.cmp(&b.name));
        let mut imported = Imported { skipped: offers.skipped, ..Imported::default() };
        for offer in offers.models {
            match self.import_one(&offer, &mut imported, watcher) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => {
                    imported.is_stopped = true;
                    break;
                }
                Err(error) if self.is_of_one(&error) => {
                    imported.skipped.push(format!("{} is left out: {error}", offer.source));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(imported)
    }

    /// Readable names in the library lead to models that it has already.
    fn leave_out_own(&self, offers: &mut Offers, place: &Place) {
        let Ok(own) = std::fs::canonicalize(&self.folder) else { return };
        let is_own = |file: &Coming| file.path.starts_with(&own);
        let count = offers.models.len();
        offers.models.retain(|offer| !offer.files.iter().any(is_own));
        if offers.models.is_empty() && count > 0 {
            let place = place.path().display();
            offers.skipped.push(format!("{place} has only what the library has already"));
        }
    }

    /// Whether something is wrong with one model that is imported, and not with the store.
    fn is_of_one(&self, error: &Error) -> bool {
        match error {
            Error::Manifest { .. } | Error::NoBlob { .. } | Error::NoLinks { .. } => true,
            Error::Io { path, .. } => !path.starts_with(&self.folder),
            Error::NoModel { .. }
            | Error::Capitals { .. }
            | Error::From { .. }
            | Error::File { .. }
            | Error::Digest { .. } => false,
        }
    }

    fn import_one(
        &self,
        offer: &Offer,
        imported: &mut Imported,
        watcher: &mut Watcher<'_>,
    ) -> Result<ControlFlow<()>, Error> {
        let name = &offer.name;
        if let Some(there) = self.find(name) {
            if there.source != offer.source || there.name != *name {
                imported.skipped.push(format!(
                    "{} is left out: the library has another model '{}', from {}; `resident cp` and `resident rm` \
                     give that one another name, or import this one alone with --name",
                    offer.source, there.name, there.source
                ));
                return Ok(ControlFlow::Continue(()));
            }
            if offer.is(&there) && self.what_is_missing(&there).is_none() {
                imported.already.push(name.clone());
                return Ok(ControlFlow::Continue(()));
            }
        }
        let manifest = Manifest {
            name: name.clone(),
            source: offer.source.clone(),
            revision: offer.revision.clone(),
            added_unix_s: now_unix_s(),
            quantization: offer.quantization.clone(),
            files: Vec::new(),
            settings: offer.settings.clone(),
        };
        let Some((_, how)) = self.take(&manifest, &offer.files, watcher)? else {
            return Ok(ControlFlow::Break(()));
        };
        imported.models.push((name.clone(), how));
        Ok(ControlFlow::Continue(()))
    }
}

impl Offer {
    /// Whether it is what is there, as far as one can know without reading it.
    fn is(&self, there: &Manifest) -> bool {
        let is_same = |(coming, file): (&Coming, &File)| {
            let has_content = match coming.digest {
                Some(digest) => digest == file.digest,
                None => Stamp::of(&coming.path).is_ok_and(|stamp| {
                    stamp == Stamp { bytes: file.bytes, modified_unix_ns: file.modified_unix_ns }
                }),
            };
            coming.role == file.role && coming.name == file.name && has_content
        };
        self.revision == there.revision
            && self.files.len() == there.files.len()
            && self.files.iter().zip(&there.files).all(is_same)
    }
}

/// Now, in seconds since 1970.
pub(super) fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The name that is most like a text: what cannot be in one becomes a dash.
pub(super) fn name_like(text: &str) -> Option<Name> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._-:+@/".contains(c);
    let text: String = text.chars().map(|c| if is_allowed(c) { c } else { '-' }).collect();
    let text = text.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    Name::new(&text[..text.len().min(NAME_CHARACTERS_MAX)]).ok()
}

/// What the headers of these files say; in words what is wrong with the first that cannot be used.
fn headers(files: &[Coming]) -> Result<Option<String>, String> {
    let mut headers = Vec::new();
    for file in files {
        let header = header::read(&file.path);
        headers.push((file.role, header.map_err(|why| format!("{} {why}", file.path.display()))?));
    }
    Ok(header::quantization(&headers))
}
