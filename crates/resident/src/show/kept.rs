//! What the library knows of a model beside its file: where it is from, and what a Modelfile said.

use library::{
    manifest::{Manifest, Role},
    modelfile::Modelfile,
    store::Store,
};
use planner::gguf::Header;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{config::Settings, pull, size, terminal};

/// A template or instruction is shown by its beginning, unless it is asked for alone.
const TEXT_CHARACTERS: usize = 60;

/// What is shown of it.
#[derive(Debug, Serialize)]
pub(super) struct Kept {
    /// Where it is from.
    source: String,
    /// What its source calls this state of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<String>,
    /// When it came here, in seconds since 1970.
    added_unix_s: u64,
    /// Its files.
    files: Vec<KeptFile>,
    /// Parameters of requests that do not name them.
    parameters_set: Map<String, Value>,
    /// What conversations begin with.
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<String>,
    /// Whether it has a chat template of its own.
    has_own_template: bool,
    /// How many licences it has.
    licenses: usize,
}

/// One of its files.
#[derive(Debug, Serialize)]
struct KeptFile {
    role: Role,
    name: String,
    digest: String,
    bytes: u64,
    /// Where it lies.
    path: String,
}

/// The manifest behind a name, if the name is one of the library's.
///
/// # Errors
/// When the library's folder is none.
pub(super) fn find(name: &str, settings: &Settings) -> anyhow::Result<Option<(Store, Manifest)>> {
    let shelved = settings.catalog.find(name).and_then(|found| found.shelved);
    let Some(shelved) = shelved else { return Ok(None) };
    Ok(Some((pull::store(settings)?, shelved.manifest.clone())))
}

impl Kept {
    /// What is shown of a model.
    pub(super) fn of(store: &Store, manifest: &Manifest) -> Self {
        let file = |file: &library::manifest::File| KeptFile {
            role: file.role,
            name: terminal::inert(&file.name),
            digest: file.digest.to_string(),
            bytes: file.bytes,
            path: store.path_of(file).display().to_string(),
        };
        let settings = &manifest.settings;
        Self {
            source: terminal::inert(&manifest.source),
            revision: manifest.revision.as_deref().map(terminal::inert),
            added_unix_s: manifest.added_unix_s,
            files: manifest.files.iter().map(file).collect(),
            parameters_set: settings.parameters.clone(),
            system: settings.system.as_deref().map(terminal::inert),
            has_own_template: settings.template.is_some(),
            licenses: settings.licenses.len(),
        }
    }

    /// Names and values, in the order in which they are shown.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![("source", self.source.clone())];
        lines.extend(self.revision.iter().map(|revision| ("revision", revision.clone())));
        for file in &self.files {
            let value = format!("{} ({}, {})", file.name, size::format(file.bytes), file.digest);
            lines.push((role(file.role), value));
        }
        lines.extend(self.parameters_set.iter().map(|(name, value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            ("set", terminal::inert(&format!("{name} = {}", beginning(&value))))
        }));
        lines.extend(self.system.iter().map(|text| ("system", beginning(text))));
        if self.has_own_template {
            lines.push(("template", "its own (--template shows it)".to_owned()));
        }
        if self.licenses > 0 {
            lines.push(("licences", format!("{} (--license shows them)", self.licenses)));
        }
        lines
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Model => "weights",
        Role::Projector => "projector",
        Role::Adapter => "adapter",
        Role::Draft => "draft",
    }
}

/// The first line of a text, as much of it as fits.
fn beginning(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let begun: String = line.chars().take(TEXT_CHARACTERS).collect();
    if begun.len() < text.trim_end().len() { format!("{begun}…") } else { begun }
}

/// What is asked of a model alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Modelfile,
    License,
    Template,
    System,
}

/// That part of a model as text, without what could move a cursor. Of a model that is no more than a file its header
/// says it.
pub(super) fn part(
    part: Part,
    kept: Option<&(Store, Manifest)>,
    path: Option<&str>,
    header: Option<&Header>,
) -> Option<String> {
    let own = kept.map(|(_, manifest)| &manifest.settings);
    let template = || {
        let own = own.and_then(|own| own.template.clone());
        own.or_else(|| header.and_then(Header::chat_template).map(str::to_owned))
    };
    let text = match part {
        Part::Template => template(),
        Part::System => own.and_then(|own| own.system.clone()),
        Part::License => {
            let own = own.map(|own| own.licenses.join("\n\n")).filter(|text| !text.is_empty());
            let of_header = || header.and_then(|header| header.str("general.license"));
            own.or_else(|| of_header().map(str::to_owned))
        }
        Part::Modelfile => match kept {
            Some((store, manifest)) => Some(store.modelfile(manifest).to_string()),
            None => path.map(|path| {
                let mut plain = Modelfile { from: vec![path.to_owned()], ..Modelfile::default() };
                plain.settings.template = template();
                plain.to_string()
            }),
        },
    };
    text.as_deref().map(terminal::inert)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_shown_by_their_beginning() {
        assert_eq!(beginning("You are a cat."), "You are a cat.");
        assert_eq!(beginning("one\ntwo"), "one…");
        assert_eq!(beginning(&"a".repeat(70)).chars().count(), TEXT_CHARACTERS + 1);
    }
}
