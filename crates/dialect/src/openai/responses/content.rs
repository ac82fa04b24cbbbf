//! What is said in a message or by a tool: a text, or a list of parts that are text.
//!
//! The one place where this dialect meets pictures, sounds and files.

use serde_json::Value;

use crate::{
    Error,
    read::{Object, Path},
};

/// The texts of all parts.
pub(super) fn texts(path: &Path<'_>, value: Value) -> Result<Vec<String>, Error> {
    if let Value::String(text) = value {
        return Ok(vec![text]);
    }
    let Value::Array(parts) = value else {
        return Err(path.wrong("a string or a list of parts", &value));
    };
    let one = |(index, part)| text_of(&Path::Index(path, index), part);
    parts.into_iter().enumerate().map(one).collect()
}

fn text_of(path: &Path<'_>, part: Value) -> Result<String, Error> {
    // Some clients put bare strings into the list.
    if let Value::String(text) = part {
        return Ok(text);
    }
    let mut fields = Object::new(path, part)?;
    let at = fields.path("type");
    let kind = fields.string("type")?.ok_or_else(|| at.missing())?;
    let key = match &*kind {
        "input_text" | "output_text" | "text" | "summary_text" | "reasoning_text" => "text",
        "refusal" => "refusal",
        "input_image" | "image_url" | "computer_screenshot" => {
            return Err(at.unsupported("is an image, and images are not supported yet; send text"));
        }
        "input_audio" => {
            return Err(at.unsupported("is audio, and audio is not supported yet; send text"));
        }
        "input_file" => {
            return Err(at.unsupported("is a file, and only text is read yet; send its text"));
        }
        _ => {
            return Err(at.unsupported(format_args!(
                "is {kind:?}, and only parts of type \"input_text\" and \"output_text\" are supported"
            )));
        }
    };
    let at = fields.path(key);
    fields.string(key)?.ok_or_else(|| at.missing())
}
