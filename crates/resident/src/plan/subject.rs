//! What a person means by MODEL: a file, something that lies elsewhere, a model of the hub, or a
//! name of the catalogue; and the files of it that could be taken.

use std::path::{Path, PathBuf};

use planner::{
    catalogue::{self, Entry, Kind},
    footprint::{CacheType, Companions},
    gguf::Header,
};

use super::elsewhere;
use crate::{
    config::{Settings, resolved::group::Eyes},
    exit::{self, Code},
    models::{self, Found},
    terminal,
};

/// A model that is planned.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// What it is called in tables.
    pub(crate) name: String,
    /// What its makers call it.
    pub(crate) title: String,
    /// What it is for.
    pub(crate) purpose: &'static str,
    pub(crate) architecture: String,
    pub(crate) parameters: u64,
    /// Where its figures come from.
    pub(crate) source: String,
    /// The files that could be taken; one when the person chose.
    pub(crate) files: Vec<File>,
    /// Its own file on this machine.
    pub(crate) path: Option<PathBuf>,
    /// Its own context by the configuration.
    pub(crate) context_tokens: Option<u32>,
    /// How the configuration says that its cache is kept.
    pub(crate) kv_type: Option<CacheType>,
    /// The header of its projector on this machine, if it would be loaded with one.
    pub(crate) projector: Option<Header>,
}

/// One file of a model.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// As people write it, for example `Q4_K_M`.
    pub(crate) quantization: String,
    /// Its length, where it is known.
    pub(crate) file_bytes: Option<u64>,
    /// Whether its header was not read but derived from another file of the model.
    pub(crate) is_guess: bool,
    pub(crate) what: What,
}

impl File {
    /// Whether it belongs to a model and is none: a projector, an adapter, a vocabulary.
    pub(crate) fn is_companion(&self) -> bool {
        match &self.what {
            What::Header(header) => !header.is_model(),
            What::Runtime { .. } => false,
        }
    }
}

/// What is known of a file.
#[derive(Debug, Clone)]
pub(crate) enum What {
    /// Its header.
    Header(Header),
    /// What another engine needs for it in all.
    Runtime { bytes: u64, note: String },
}

impl Subject {
    /// What `text` means.
    ///
    /// # Errors
    /// With [`Code::Model`] when it means nothing, naming what is near.
    pub(crate) fn find(text: &str, settings: &Settings) -> anyhow::Result<Self> {
        if let Some(source) = library::remote::Source::parse(text) {
            return elsewhere::subject(text, source, settings);
        }
        let subject = Self::here(text, settings)?;
        subject.refuse_companion()?;
        Ok(subject)
    }

    fn here(text: &str, settings: &Settings) -> anyhow::Result<Self> {
        if let Some(found) = settings.catalog.find(text) {
            return Self::of_found(&found, settings);
        }
        // A name with `/` or an ending is a file; whatever else lies in this folder is one too.
        if let Some(file) = models::file_of(text)? {
            return Self::of_file(&file);
        }
        Self::of_catalogue(text).or_else(|error| {
            if Path::new(text).is_file() { Self::of_file(Path::new(text)) } else { Err(error) }
        })
    }

    /// A model that the hub serves. It may turn out to be a companion file.
    ///
    /// # Errors
    /// With [`Code::Model`] when its file cannot be read.
    pub(crate) fn of_found(found: &Found, settings: &Settings) -> anyhow::Result<Self> {
        let treatment = settings.served.treatments.get(&found.name);
        let eyes = treatment.map(|own| own.eyes.clone()).unwrap_or_default();
        let subject = Self::of_file_with(&found.path, &eyes)?;
        // The configuration's own word for a model wins over its word for all.
        let context_tokens = found.context_tokens.or(settings.context_tokens);
        let kv_type = treatment.and_then(|own| own.kv_type);
        Ok(Self { name: found.name.clone(), context_tokens, kv_type, ..subject })
    }

    /// Nobody plans a projector, an adapter or a vocabulary.
    ///
    /// # Errors
    /// With [`Code::Model`] when its file on this machine is no model.
    pub(crate) fn refuse_companion(&self) -> anyhow::Result<()> {
        match &self.path {
            Some(path) if self.files.iter().any(File::is_companion) => {
                Err(companion(&path.display().to_string()))
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn of_file(path: &Path) -> anyhow::Result<Self> {
        Self::of_file_with(path, &Eyes::Beside)
    }

    fn of_file_with(path: &Path, eyes: &Eyes) -> anyhow::Result<Self> {
        let found = models::from_file(path).map_err(|error| {
            exit::error(Code::Model, format!("{} cannot be read: {error}", path.display()))
        })?;
        let header = supervisor::read_header(path)
            .map_err(|error| exit::error(Code::Model, terminal::inert(&error)))?;
        let projector = projector(path, &header, eyes)?;
        let source = path.display().to_string();
        let quantization = header.quantization();
        let file = File {
            quantization,
            file_bytes: Some(found.file_bytes),
            is_guess: false,
            what: What::Header(header),
        };
        let subject = Self::of_header(found.name, source, vec![file]);
        Ok(Self { path: Some(path.to_owned()), projector, ..subject })
    }

    /// What is loaded beside it.
    pub(crate) fn companions(&self) -> Companions<'_> {
        Companions { projector: self.projector.as_ref(), ..Companions::default() }
    }

    /// A model of which the first file's header says what it is.
    pub(crate) fn of_header(name: String, source: String, files: Vec<File>) -> Self {
        let header = files.iter().find_map(|file| match &file.what {
            What::Header(header) => Some(header),
            What::Runtime { .. } => None,
        });
        // What a file says of itself is printed, so nothing in it may move a cursor.
        let text = |text: &str| terminal::inert(text);
        Self {
            title: header
                .and_then(|header| header.str("general.name"))
                .map_or_else(|| name.clone(), text),
            purpose: header.map_or("text", purpose),
            architecture: header.map_or_else(String::new, |header| text(header.architecture())),
            parameters: header.map_or(0, Header::parameters),
            name,
            source,
            files,
            path: None,
            context_tokens: None,
            kv_type: None,
            projector: None,
        }
    }

    /// `NAME` or `NAME:QUANTIZATION` of the catalogue.
    pub(super) fn of_catalogue(text: &str) -> anyhow::Result<Self> {
        let unknown = |error: catalogue::Error| exit::error(Code::Model, error.to_string());
        let catalogue = catalogue::builtin();
        // A colon may also stand inside a name, as in `qwen3:8b`.
        let found = catalogue.find(text);
        match (found, text.rsplit_once(':')) {
            (Ok(entry), _) => Self::of_entry(entry, None).map_err(unknown),
            (Err(error), Some((name, quantization))) => match catalogue.find(name) {
                Ok(entry) => Self::of_entry(entry, Some(quantization)).map_err(unknown),
                Err(_) => Err(unknown(error)),
            },
            (Err(error), None) => Err(unknown(error)),
        }
    }

    /// A model of the catalogue, in one quantization or in all that are published.
    ///
    /// # Errors
    /// When it has no such quantization.
    pub(crate) fn of_entry(
        entry: &Entry,
        quantization: Option<&str>,
    ) -> Result<Self, catalogue::Error> {
        let names: Vec<&str> = match quantization {
            // Any of llama.cpp's recipes may be asked for, published or not.
            Some(name) => vec![entry.quantization(name).map_or(name, |known| known.name.as_str())],
            None => entry.quantizations.iter().map(|one| one.name.as_str()).collect(),
        };
        let files: Result<Vec<File>, _> = names.iter().map(|name| file(entry, name)).collect();
        Ok(Self {
            name: entry.name.clone(),
            title: entry.title.clone(),
            purpose: entry.kind.name(),
            architecture: entry.architecture.clone(),
            parameters: entry.parameters,
            source: format!("the catalogue ({})", entry.sources),
            files: files?,
            path: None,
            context_tokens: None,
            kv_type: None,
            projector: None,
        })
    }
}

/// The projector that a model is loaded with. As where it is served, one that merely lies beside it and
/// cannot be used leaves it to text.
fn projector(path: &Path, header: &Header, eyes: &Eyes) -> anyhow::Result<Option<Header>> {
    let Some(file) = eyes.of(path).filter(|_| header.generates()) else { return Ok(None) };
    match supervisor::read_projector(&file.path) {
        Ok(header) => Ok(Some(header)),
        Err(why) if file.is_named => Err(exit::error(Code::Model, terminal::inert(&why))),
        Err(_) => Ok(None),
    }
}

/// Refuses a file that belongs to a model and is none.
pub(super) fn companion(shown: &str) -> anyhow::Error {
    let message = format!(
        "{} is a companion file (a projector, adapter or vocabulary), not a model; name the \
         model's own file",
        terminal::inert(shown)
    );
    exit::error(Code::Model, message)
}

fn file(entry: &Entry, name: &str) -> Result<File, catalogue::Error> {
    let published = entry.quantization(name).ok().and_then(|one| one.file_bytes);
    let (what, computed_bytes) = match (entry.runtime_bytes, entry.header(name)) {
        (_, Ok(header)) => {
            let bytes = header.tensor_bytes();
            (What::Header(header), Some(bytes))
        }
        (Some(bytes), Err(_)) => {
            let note = entry.note.clone().unwrap_or_else(|| entry.sources.clone());
            (What::Runtime { bytes, note }, None)
        }
        (None, Err(error)) => return Err(error),
    };
    Ok(File {
        quantization: name.to_owned(),
        file_bytes: published.or(computed_bytes),
        is_guess: false,
        what,
    })
}

/// What a model is for, as far as its header says it.
fn purpose(header: &Header) -> &'static str {
    match (header.generates(), header.chat_template().is_some()) {
        (true, true) => Kind::Chat.name(),
        (true, false) => "text",
        (false, _) if header.ranks() => Kind::Rerank.name(),
        (false, _) => Kind::Embedding.name(),
    }
}
