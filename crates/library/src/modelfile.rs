//! Modelfiles, as Ollama reads and writes them: one command in each line, a value over several lines in quotes.
//!
//! What is read is what Ollama's parser reads, but for two things: characters that have no glyph but belong to
//! a text, as the joiners of emoji, stay, and blanks before a parameter's name do no harm. Not here: what a name
//! after FROM means on this machine (`store::create`).

mod error;
mod parameter;
mod read;
#[cfg(test)]
mod tests;

use std::fmt;

use serde_json::Value;

pub use error::{Error, ParameterError};
pub use parameter::{DEPRECATED, parameter};

use crate::manifest::Settings;

/// What a Modelfile says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Modelfile {
    /// What it is made from: names, paths or digests. The first is the model; further ones are parts of it or
    /// its projector.
    pub from: Vec<String>,
    /// Paths of LoRA adapters.
    pub adapters: Vec<String>,
    /// Paths of models that guess ahead.
    pub drafts: Vec<String>,
    /// All else.
    pub settings: Settings,
    /// Parameters that mean nothing any more, and were passed over.
    pub ignored: Vec<String>,
}

impl Modelfile {
    /// Reads a Modelfile: UTF-8, or UTF-16 with a byte order mark. What is no text becomes U+FFFD.
    ///
    /// # Errors
    /// [`Error`] with the line and the word that it did not understand.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        read::modelfile(&read::text(bytes)?)
    }
}

impl fmt::Display for Modelfile {
    /// As `ollama show --modelfile` prints one. A text of several lines, one of which ends with three quotes,
    /// cannot be written in a Modelfile; it is printed all the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.settings;
        let written = |command: &'static str, values: &[String]| {
            let lines = values.iter().map(|value| (command, value.clone()));
            lines.collect::<Vec<_>>()
        };
        let one = |command, value: &Option<String>| written(command, value.as_slice());
        let mut lines = written("FROM", &self.from);
        lines.extend(written("ADAPTER", &self.adapters));
        lines.extend(written("DRAFT", &self.drafts));
        lines.extend(one("TEMPLATE", &settings.template));
        lines.extend(one("SYSTEM", &settings.system));
        lines.extend(one("RENDERER", &settings.renderer));
        lines.extend(one("PARSER", &settings.parser));
        lines.extend(one("REQUIRES", &settings.requires));
        for (command, value) in lines {
            writeln!(f, "{command} {}", read::quoted(&value))?;
        }
        for (name, value) in &settings.parameters {
            for value in value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice) {
                writeln!(f, "PARAMETER {name} {}", read::quoted(&shown(value)))?;
            }
        }
        for license in &settings.licenses {
            writeln!(f, "LICENSE {}", read::quoted(license))?;
        }
        for message in &settings.messages {
            writeln!(f, "MESSAGE {} {}", message.role, read::quoted(&message.content))?;
        }
        Ok(())
    }
}

/// A parameter's value as it is written after its name.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            // Without the `.0` that JSON gives a whole one.
            Some(float) if number.is_f64() => float.to_string(),
            Some(_) | None => number.to_string(),
        },
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}
