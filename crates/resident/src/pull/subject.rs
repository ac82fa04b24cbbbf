//! What a person means by SOURCE: a file of this machine, something that lies elsewhere, or a name of the
//! catalogue; and which file of it this machine should take. Not here: pulling it.

use std::path::{Path, PathBuf};

use library::{name::Name, source::Source};
use planner::catalogue::{self, Entry};

use crate::{
    config::Settings,
    exit::{self, Code},
    models,
    plan::taken::{self, Taken},
    terminal,
};

/// What is meant.
#[derive(Debug)]
pub(super) enum Meant {
    /// Something that is on this machine already.
    Here(PathBuf),
    /// Something that is pulled.
    Elsewhere(Box<Order>),
}

/// What is to be pulled.
#[derive(Debug)]
pub(super) struct Order {
    /// Where from, with the file that is taken.
    pub(super) source: String,
    /// What it shall be called; without it, as its source suggests.
    pub(super) name: Option<Name>,
    /// The plan behind it, where there is one.
    pub(super) taken: Option<Taken>,
}

impl Order {
    /// Where from, without what may be secret in an address.
    pub(super) fn shown(&self) -> String {
        match Source::parse(&self.source) {
            Some(Ok(source)) => terminal::inert(&source.to_string()),
            Some(Err(_)) | None => terminal::inert(&self.source),
        }
    }
}

/// What `text` means, and what of it this machine should take.
///
/// # Errors
/// With [`Code::Model`] when it means nothing, with [`Code::Elsewhere`] when nobody may be asked.
pub(super) fn meant(
    text: &str,
    name: Option<&Name>,
    is_forced: bool,
    settings: &Settings,
) -> anyhow::Result<Meant> {
    if let Some(source) = Source::parse(text) {
        let source = source.map_err(super::of_source)?;
        refuse_offline(text, settings)?;
        return Ok(Meant::Elsewhere(Box::new(elsewhere(
            text, &source, name, is_forced, settings,
        )?)));
    }
    if let Some(file) = models::file_of(text)? {
        return Ok(Meant::Here(file));
    }
    match entry(text) {
        Some((entry, quantization)) => {
            let order = of_catalogue(text, entry, quantization, name, settings)?;
            refuse_offline(text, settings)?;
            Ok(Meant::Elsewhere(Box::new(order)))
        }
        None if Path::new(text).exists() => Ok(Meant::Here(PathBuf::from(text))),
        None => Err(exit::error(Code::Model, unknown(text))),
    }
}

/// Refuses to go on where servers must not be asked, before anything is planned in vain.
fn refuse_offline(text: &str, settings: &Settings) -> anyhow::Result<()> {
    if !settings.library.offline {
        return Ok(());
    }
    let message = format!(
        "{} lies elsewhere, and offline is set; take --offline, RESIDENT_OFFLINE or offline = true away \
         to pull it, or import what is on this machine",
        terminal::inert(text)
    );
    Err(exit::error(Code::Elsewhere, message))
}

fn elsewhere(
    text: &str,
    source: &Source,
    name: Option<&Name>,
    is_forced: bool,
    settings: &Settings,
) -> anyhow::Result<Order> {
    let order = |source: String, taken| Order { source, name: name.cloned(), taken };
    let plan = || taken::taken(text, settings);
    match source.as_repository() {
        // What is picked is wanted as it is.
        Some((_, Some(_))) if is_forced => Ok(order(text.to_owned(), None)),
        Some((repository, _)) => {
            let taken = plan()?;
            let source = match taken.of {
                // What was written means one file alone.
                1 => text.to_owned(),
                _ => format!("{repository}:{}", taken.quantization),
            };
            Ok(order(source, Some(taken)))
        }
        None => {
            // A server may well have a file and no ranges of it.
            let taken = plan().inspect_err(|error| {
                terminal::note(format_args!(
                    "note: what it needs is not known before it is here: {error:#}"
                ));
            });
            Ok(order(text.to_owned(), taken.ok()))
        }
    }
}

/// The entry of the catalogue that `text` names, and the quantization behind its colon. A colon may also stand
/// inside a name, as in `qwen3:8b`.
fn entry(text: &str) -> Option<(&'static Entry, Option<&str>)> {
    let catalogue = catalogue::builtin();
    if let Ok(entry) = catalogue.find(text) {
        return Some((entry, None));
    }
    let (name, quantization) = text.rsplit_once(':')?;
    catalogue.find(name).ok().map(|entry| (entry, Some(quantization)))
}

fn of_catalogue(
    text: &str,
    entry: &Entry,
    quantization: Option<&str>,
    name: Option<&Name>,
    settings: &Settings,
) -> anyhow::Result<Order> {
    if entry.runtime_bytes.is_some() {
        let note = entry.note.as_deref().unwrap_or(&entry.architecture);
        let message = format!(
            "{} is no GGUF model: {note}; the program that runs it gets its own files",
            entry.name
        );
        return Err(exit::error(Code::Model, message));
    }
    let taken = taken::of_catalogue(text, settings)?;
    let own = match quantization {
        Some(_) => format!("{}:{}", entry.name, taken.quantization),
        None => entry.name.clone(),
    };
    let own = Name::new(&own).map_err(|error| exit::error(Code::Usage, error.to_string()))?;
    Ok(Order {
        source: format!("hf:{}:{}", entry.repository, taken.quantization),
        name: Some(name.cloned().unwrap_or(own)),
        taken: Some(taken),
    })
}

/// What to say of a name that means nothing.
fn unknown(text: &str) -> String {
    let nearest = match catalogue::builtin().find(text) {
        Err(error) => error.to_string(),
        Ok(entry) => format!("no model `{}` here", entry.name),
    };
    let hub = match text.split_once('/') {
        Some(_) => format!("hf:{text} is a repository of Hugging Face"),
        None => format!(
            "ollama:{text} asks Ollama's registry, `resident search --online {text}` Hugging Face"
        ),
    };
    terminal::inert(&format!("{nearest}; {hub}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_catalogue_with_and_without_quantization() {
        for (text, name, quantization) in [
            ("qwen3-8b", "qwen3-8b", None),
            ("qwen3:8b", "qwen3-8b", None),
            ("Qwen3-8B:Q6_K", "qwen3-8b", Some("Q6_K")),
            ("qwen3:8b:Q6_K", "qwen3-8b", Some("Q6_K")),
        ] {
            let (entry, found) = entry(text).unwrap();
            assert_eq!((entry.name.as_str(), found), (name, quantization));
        }
        assert!(entry("nothing-of-this-name").is_none());
    }

    #[test]
    fn what_is_secret_in_an_address_is_not_shown() {
        let source = "https://me:hidden@h/a.gguf?key=hidden".to_owned();
        let order = Order { source, name: None, taken: None };
        assert_eq!(order.shown(), "https://h/a.gguf");
    }

    #[test]
    fn what_means_nothing_is_told_where_to_look() {
        let message = unknown("qwen3-8c");
        assert!(
            message.starts_with("no model `qwen3-8c` in the catalogue; did you mean "),
            "{message}"
        );
        assert!(message.contains("ollama:qwen3-8c asks Ollama's registry"), "{message}");
        let message = unknown("owner/repo");
        assert!(message.ends_with("; hf:owner/repo is a repository of Hugging Face"), "{message}");
    }
}
