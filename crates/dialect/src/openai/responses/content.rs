//! What is said in a message or by a tool: a text, or a list of parts.
//!
//! The one place where this dialect meets pictures, sounds and files.

use serde_json::Value;
use worker_protocol::Role;

use crate::{
    Error,
    media::{Content, Intake},
    openai::chat::message::{picture, refuse_unseen, sound},
    read::{Object, Path},
};

/// The texts of all parts, where there can be nothing else.
pub(super) fn texts(path: &Path<'_>, value: Value) -> Result<Vec<String>, Error> {
    let mut texts = Vec::new();
    each(path, value, |path, part| {
        texts.push(match Part::read(path, part)? {
            Part::Text(text) => text,
            Part::Other(at, kind, _) => return Err(unread(&Path::Key(at, "type"), &kind)),
        });
        Ok(())
    })?;
    Ok(texts)
}

/// Adds all parts of what this role says.
pub(super) fn add(
    path: &Path<'_>,
    value: Value,
    role: Role,
    intake: &mut Intake,
    content: &mut Content,
) -> Result<(), Error> {
    each(path, value, |path, part| {
        match Part::read(path, part)? {
            Part::Text(text) => content.text(&text),
            Part::Other(at, kind, mut fields) => {
                let at = Path::Key(at, "type");
                content.file(match &*kind {
                    "input_image" | "image_url" | "computer_screenshot" => {
                        refuse_unseen(&at, &kind, role)?;
                        picture(&mut fields, intake)?
                    }
                    "input_audio" => {
                        refuse_unseen(&at, &kind, role)?;
                        sound(&mut fields, intake)?
                    }
                    _ => return Err(unread(&at, &kind)),
                });
            }
        }
        Ok(())
    })
}

/// A string is one part.
fn each(
    path: &Path<'_>,
    value: Value,
    mut take: impl FnMut(&Path<'_>, Value) -> Result<(), Error>,
) -> Result<(), Error> {
    match value {
        Value::String(_) => take(path, value),
        Value::Array(parts) => {
            let mut parts = parts.into_iter().enumerate();
            parts.try_for_each(|(index, part)| take(&Path::Index(path, index), part))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            Err(path.wrong("a string or a list of parts", &value))
        }
    }
}

/// One part: a text, or of another kind, with its fields.
enum Part<'a> {
    Text(String),
    Other(&'a Path<'a>, String, Object<'a>),
}

impl<'a> Part<'a> {
    fn read(path: &'a Path<'a>, part: Value) -> Result<Self, Error> {
        // Some clients put bare strings into the list.
        if let Value::String(text) = part {
            return Ok(Self::Text(text));
        }
        let mut fields = Object::new(path, part)?;
        let at = fields.path("type");
        let kind = fields.string("type")?.ok_or_else(|| at.missing())?;
        let key = match &*kind {
            "input_text" | "output_text" | "text" | "summary_text" | "reasoning_text" => "text",
            "refusal" => "refusal",
            _ => return Ok(Self::Other(path, kind, fields)),
        };
        let at = fields.path(key);
        Ok(Self::Text(fields.string(key)?.ok_or_else(|| at.missing())?))
    }
}

/// The refusal of a part that nobody reads here; `at` is its type.
fn unread(at: &Path<'_>, kind: &str) -> Error {
    match kind {
        "input_file" => at.unsupported(
            "is a file, and files are not read here; send its text, or its pages as pictures",
        ),
        _ => at.unsupported(format_args!(
            "is {kind:?}, and only parts of type \"input_text\", \"output_text\", \"input_image\" and \
             \"input_audio\" are supported, of instructions and reasoning only texts"
        )),
    }
}
