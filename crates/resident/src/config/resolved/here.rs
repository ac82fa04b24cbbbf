//! Where the words of the configuration file are read: its folder, the variables, the presets; and
//! the small words that several tables share.
//!
//! Errors are fragments that begin with the key; whoever asks puts the table in front.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use super::super::{Machine, preset::Presets, raw::Api, secret};
use crate::{duration, size};

/// What the words of the file are read with.
pub(super) struct Here<'a> {
    /// The file's folder, which relative paths start from.
    pub(super) base: &'a Path,
    /// Where the program keeps its files.
    pub(super) data_dir: &'a Path,
    /// The machine and what surrounds the program.
    pub(super) machine: &'a Machine,
    /// The presets.
    pub(super) presets: &'a Presets,
    /// What the user should know though it stops nothing.
    pub(super) notes: RefCell<Vec<String>>,
}

impl Here<'_> {
    /// A path of the file: `~/` is the home folder, a relative one starts at the file's folder.
    pub(super) fn path(&self, path: &Path) -> PathBuf {
        super::from_file(path, self.base, &self.machine.home)
    }

    /// A word that may be a path or a name elsewhere, such as a model's: what begins with `~/`,
    /// `./` or `../` is a path of the file, and everything else stays as it is.
    pub(super) fn word(&self, word: &str) -> String {
        let is_path = ["~/", "./", "../"].iter().any(|start| word.starts_with(start));
        if is_path { self.path(Path::new(word)).display().to_string() } else { word.to_owned() }
    }

    /// Says something that stops nothing.
    pub(super) fn note(&self, note: String) {
        self.notes.borrow_mut().push(note);
    }

    /// The variables of a program: the preset's, then the user's, then those passed on.
    pub(super) fn environment(
        &self,
        of: &str,
        preset: (&BTreeMap<String, String>, &[String]),
        own: Option<BTreeMap<String, String>>,
        passed_on: &[String],
    ) -> Result<BTreeMap<String, String>, String> {
        let (mut environment, wished) = (preset.0.clone(), preset.1);
        for name in wished {
            // A preset only says which it would use.
            if let Some(value) = (self.machine.variable)(name) {
                environment.insert(name.clone(), value);
            }
        }
        for (name, value) in own.unwrap_or_default() {
            if name.is_empty() || name.contains(['=', '\0']) {
                return Err(format!("environment: '{name}' cannot be a variable's name"));
            }
            secret::refuse_variable(&name, &value)?;
            environment.insert(name, self.word(&value));
        }
        for name in passed_on {
            match (self.machine.variable)(name) {
                Some(_) if environment.get(name).is_some_and(|value| value == "{key}") => {
                    return Err(format!(
                        "environment_from: {name} is where the hub puts a key of its own, which it \
                         makes anew for each start; leave it out"
                    ));
                }
                Some(value) => {
                    environment.insert(name.clone(), value);
                }
                None => self.note(format!("{of}: environment_from: {name} is not set")),
            }
        }
        Ok(environment)
    }
}

/// A size that must be there.
pub(super) fn bytes(key: &str, text: &str) -> Result<u64, String> {
    match size::parse(text) {
        Ok(0) => Err(format!("{key} is 0; write what it takes, for example 500MB")),
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(format!("{key}: {error}")),
    }
}

/// A span of time that has an end.
pub(super) fn span(key: &str, text: &str) -> Result<Duration, String> {
    match duration::parse(text) {
        Ok(Some(span)) => Ok(span),
        Ok(None) => Err(format!("{key}: it needs an end; write for example 90s, 10m or 1h")),
        Err(error) => Err(format!("{key}: {error}")),
    }
}

/// How long something idle stays; `never` is for ever.
pub(super) fn idle(text: &str) -> Result<Duration, String> {
    let span = duration::parse(text).map_err(|error| format!("idle_unload: {error}"))?;
    Ok(span.unwrap_or(Duration::MAX))
}

/// Program and arguments of a preset, its program at another place if the user says so, and the
/// user's further arguments behind.
pub(super) fn argv(
    here: &Here<'_>,
    command: &[String],
    program: Option<&str>,
    arguments: Option<Vec<String>>,
) -> Result<Vec<String>, String> {
    let mut argv = command.to_vec();
    argv.extend(arguments.unwrap_or_default());
    if let (Some(first), Some(program)) = (argv.first_mut(), program) {
        *first = program.to_owned();
    }
    match argv.first_mut() {
        Some(program) if !program.trim().is_empty() => *program = here.word(program),
        Some(_) | None => {
            return Err("command is empty; write the program and its arguments, for example \
                        [\"prog\", \"--port\", \"{port}\"]"
                .to_owned());
        }
    }
    if argv.iter().any(|argument| argument.contains('\0')) {
        return Err("command: an argument cannot hold a zero byte".to_owned());
    }
    secret::refuse_arguments(&argv)?;
    Ok(argv)
}

/// The names in braces in an argument: `{port}`, `{model.name}`. Braces around anything else, as in
/// JSON, are no placeholders.
pub(super) fn placeholders(argument: &str) -> impl Iterator<Item = &str> {
    argument.split('{').skip(1).filter_map(|rest| {
        let (name, _) = rest.split_once('}')?;
        let is_name = |c: char| c.is_ascii_lowercase() || c == '.' || c == '_';
        (!name.is_empty() && name.chars().all(is_name)).then_some(name)
    })
}

/// Puts `value` wherever `{name}` stands.
pub(super) fn put(texts: &mut [String], name: &str, value: &str) {
    for text in texts {
        *text = text.replace(&format!("{{{name}}}"), value);
    }
}

/// How a server differs from OpenAI, by its preset and then by the user.
pub(super) fn manner(preset: &Api, own: &Api) -> Result<supervisor::Manner, String> {
    if own.context == Some(0) {
        return Err("api.context is 0; it must be 1 or more, or left out".to_owned());
    }
    let whether = |of: fn(&Api) -> Option<bool>| of(own).or(of(preset)).unwrap_or(true);
    let path = |key, example, of: fn(&Api) -> Option<&String>| match of(own).or(of(preset)) {
        Some(path) if path.starts_with('/') => Ok(Some(path.clone())),
        Some(path) if path.is_empty() => Ok(None),
        Some(path) => Err(format!(
            "api.{key}: '{path}' is no path; write for example \"{example}\", or \"\" where it \
             does not do that"
        )),
        None => Ok(None),
    };
    Ok(supervisor::Manner {
        model: own.model.clone().or_else(|| preset.model.clone()),
        drops: own.drops.clone().or_else(|| preset.drops.clone()).unwrap_or_default(),
        chat: whether(|api| api.chat),
        completions: whether(|api| api.completions),
        infill: own.infill.or(preset.infill).unwrap_or(false),
        embeddings: whether(|api| api.embeddings),
        tools: whether(|api| api.tools),
        images: whether(|api| api.images),
        json_schema: whether(|api| api.json_schema),
        transcriptions: path("transcriptions", "/v1/audio/transcriptions", |api| {
            api.transcriptions.as_ref()
        })?,
        speech: path("speech", "/v1/audio/speech", |api| api.speech.as_ref())?,
        rerank: path("rerank", "/v1/rerank", |api| api.rerank.as_ref())?,
        rerank_texts: own.rerank_texts.or(preset.rerank_texts).unwrap_or(false),
        context_tokens: own.context.or(preset.context),
        // A context that the user says is not asked for.
        context_from: match own.context {
            Some(_) => None,
            None => own.context_from.clone().or_else(|| preset.context_from.clone()),
        },
    })
}
