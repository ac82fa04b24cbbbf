//! `POST /v1/audio/transcriptions`: the form that is sent, and the answer in the form that is
//! wanted.
//!
//! Not here: taking a body of `multipart/form-data` apart (`gateway`).

use serde::Serialize;
use serde_json::Value;

use crate::{
    Error,
    limits::{
        FILE_NAME_CHARS_MAX, LISTEN_PROMPT_BYTES_MAX, MODEL_NAME_BYTES_MAX, SHORT_VALUE_BYTES_MAX,
    },
    read::{self, Path},
    write::to_json,
};

/// The file that comes with a form, which whoever reads the form keeps elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File<'a> {
    /// Its name, as the client says.
    pub name: Option<&'a str>,
    /// Its length.
    pub bytes: u64,
}

/// A request to write down what is said.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Name of what is to listen; `None` leaves the choice to the hub.
    pub model: Option<String>,
    /// A harmless name of the sound's file, since servers tell by its ending what it is.
    pub file_name: String,
    /// The language it is in, as the client names it.
    pub language: Option<String>,
    /// Words that help to understand it.
    pub prompt: Option<String>,
    /// How freely to guess, from 0 to 1.
    pub temperature: Option<f32>,
    /// The form of the answer.
    pub format: Format,
}

/// A form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An object with the text.
    Json,
    /// The text alone.
    Text,
    /// An object with the text and all that is known of its parts.
    VerboseJson,
    /// Subtitles of `SubRip`.
    Srt,
    /// Subtitles for the web.
    Vtt,
}

/// What a listener gave.
#[derive(Debug, Clone, Copy)]
pub struct Heard<'a> {
    /// Its output.
    pub bytes: &'a [u8],
    /// What kind of output that is.
    pub content_type: &'a str,
    /// Whether it was told the form of the answer and so gave that.
    pub follows_format: bool,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What kind it is.
    pub content_type: &'static str,
    /// The text of it.
    pub body: String,
}

/// Reads the parts of a form beside its file, of which only the length matters here. What nobody knows
/// is ignored, because vendors add fields.
///
/// # Errors
/// Names the field that is wrong and what it should be.
pub fn decode(parts: Vec<(String, Vec<u8>)>, file: Option<File<'_>>) -> Result<Request, Error> {
    let mut request = Request {
        model: None,
        file_name: file_name(file.and_then(|file| file.name)),
        language: None,
        prompt: None,
        temperature: None,
        format: Format::Json,
    };
    for (name, value) in parts {
        let path = Path::Key(&Path::Root, &name);
        let text = |bytes_max| text(&path, &value, bytes_max);
        match &*name {
            "model" => request.model = text(MODEL_NAME_BYTES_MAX)?,
            "language" => request.language = text(SHORT_VALUE_BYTES_MAX)?,
            "prompt" => request.prompt = text(LISTEN_PROMPT_BYTES_MAX)?,
            "temperature" => {
                request.temperature = temperature(&path, text(SHORT_VALUE_BYTES_MAX)?)?;
            }
            "response_format" => {
                request.format = format(&path, text(SHORT_VALUE_BYTES_MAX)?)?;
            }
            _ => {}
        }
    }
    let path = Path::Key(&Path::Root, "file");
    match file {
        Some(File { bytes: 1.., .. }) => Ok(request),
        Some(File { bytes: 0, .. }) => Err(path.refuse("must not be empty")),
        None => Err(path.missing()),
    }
}

/// The end of a name, without what could mean something in a path or a header.
fn file_name(name: Option<&str>) -> String {
    let is_harmless = |letter: &char| letter.is_ascii_alphanumeric() || "._-".contains(*letter);
    let harmless: Vec<char> = name.unwrap_or_default().chars().filter(is_harmless).collect();
    let kept = &harmless[harmless.len().saturating_sub(FILE_NAME_CHARS_MAX)..];
    if kept.is_empty() { "sound".to_owned() } else { kept.iter().collect() }
}

/// A field of the form; one that is empty counts as absent, since forms send what nobody filled in.
fn text(path: &Path<'_>, value: &[u8], bytes_max: usize) -> Result<Option<String>, Error> {
    path.bytes_at_most(value.len(), bytes_max)?;
    let text = str::from_utf8(value).map_err(|_| path.refuse("must be text in UTF-8"))?;
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

fn temperature(path: &Path<'_>, value: Option<String>) -> Result<Option<f32>, Error> {
    let Some(text) = value else { return Ok(None) };
    let number: f64 = text
        .trim()
        .parse()
        .map_err(|_| path.refuse(format_args!("must be a number, but it is {text:?}")))?;
    path.number(&Value::from(number), 0.0..=1.0).map(Some)
}

fn format(path: &Path<'_>, value: Option<String>) -> Result<Format, Error> {
    let Some(name) = value else { return Ok(Format::Json) };
    let found = Format::ALL.into_iter().find(|format| format.name() == name);
    found.ok_or_else(|| {
        let names = Format::ALL.map(Format::name).join(", ");
        path.refuse(format_args!("must be one of {names}, but it is {name:?}"))
    })
}

/// The answer in the form that the request wants.
///
/// # Errors
/// The listener does not give that form, or what it gave is not what its settings say.
pub fn answer(format: Format, heard: Heard<'_>) -> Result<Answer, Error> {
    let Ok(output) = str::from_utf8(heard.bytes) else {
        return Err(broken("what it wrote is not text in UTF-8"));
    };
    match format {
        Format::Json => {
            #[derive(Serialize)]
            struct Whole<'a> {
                text: &'a str,
            }
            let body = to_json(&Whole { text: &heard.text(output)? });
            Ok(Answer { content_type: JSON, body })
        }
        Format::Text => {
            let body = format!("{}\n", heard.text(output)?);
            Ok(Answer { content_type: "text/plain; charset=utf-8", body })
        }
        Format::VerboseJson if heard.is_json() || heard.follows_format => {
            object(output)?;
            Ok(Answer { content_type: JSON, body: output.to_owned() })
        }
        Format::Srt if heard.follows_format => {
            Ok(Answer { content_type: "application/x-subrip", body: output.to_owned() })
        }
        Format::Vtt if heard.follows_format => {
            Ok(Answer { content_type: "text/vtt; charset=utf-8", body: output.to_owned() })
        }
        Format::VerboseJson | Format::Srt | Format::Vtt => {
            let path = Path::Key(&Path::Root, "response_format");
            Err(path.unsupported(format_args!(
                "is {:?}, which this listener does not give; use json or text",
                format.name()
            )))
        }
    }
}

const JSON: &str = "application/json";

impl Heard<'_> {
    fn is_json(&self) -> bool {
        let essence = self.content_type.split(';').next().unwrap_or_default();
        essence.trim().eq_ignore_ascii_case(JSON)
    }

    /// The text alone: the whole output, or what an object holds as its text.
    fn text(&self, output: &str) -> Result<String, Error> {
        if !self.is_json() {
            return Ok(output.trim().to_owned());
        }
        match object(output)?.get("text") {
            Some(Value::String(text)) => Ok(text.trim().to_owned()),
            Some(_) | None => Err(broken("the object that it wrote has no \"text\"")),
        }
    }
}

fn object(output: &str) -> Result<Value, Error> {
    read::check_shape(output.as_bytes())
        .map_err(|_| broken("what it wrote is nested too deeply or holds too much"))?;
    let value: Value = serde_json::from_str(output)
        .map_err(|error| broken(&format!("what it wrote is not JSON: {error}")))?;
    if value.is_object() { Ok(value) } else { Err(broken("what it wrote is no JSON object")) }
}

/// The listener and its settings disagree; the client can do nothing about it.
fn broken(why: &str) -> Error {
    Error::new(500, format!("the listener cannot be understood: {why}; see its settings"))
        .code("engine_failed")
}

impl Format {
    /// Every form that OpenAI names for all its listeners.
    pub const ALL: [Self; 5] = [Self::Json, Self::Text, Self::VerboseJson, Self::Srt, Self::Vtt];

    /// Its name in requests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Text => "text",
            Self::VerboseJson => "verbose_json",
            Self::Srt => "srt",
            Self::Vtt => "vtt",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(fields: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
        fields.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().into())).collect()
    }

    fn decode_with(file: &str, fields: &[(&str, &str)]) -> Result<Request, Error> {
        let file = File { name: Some("a.wav"), bytes: file.len() as u64 };
        decode(parts(fields), Some(file))
    }

    #[test]
    fn a_form_is_read_and_what_nobody_filled_in_is_absent() {
        let request = decode_with(
            "RIFF",
            &[
                ("model", "whisper-1"),
                ("language", ""),
                ("temperature", "0.5"),
                ("response_format", "srt"),
                ("timestamp_granularities[]", "word"),
            ],
        );
        let request = request.unwrap();
        assert_eq!((request.model.as_deref(), request.language), (Some("whisper-1"), None));
        assert_eq!((request.temperature, request.format), (Some(0.5), Format::Srt));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let long = "x".repeat(SHORT_VALUE_BYTES_MAX + 1);
        for (field_sent, field, word) in [
            (("temperature", "hot"), "temperature", "\"hot\""),
            (("temperature", "2"), "temperature", "from 0 to 1"),
            (("temperature", "nan"), "temperature", "must be a number"),
            (("response_format", "doc"), "response_format", "verbose_json"),
            (("language", &*long), "language", "257 bytes"),
        ] {
            let error = decode_with("x", &[field_sent]).unwrap_err();
            assert_eq!((error.status, error.param.as_deref()), (400, Some(field)), "{error}");
            assert!(error.message.contains(word), "{error}");
        }
        let file = |bytes| File { name: None, bytes };
        for (file, word) in [(None, "required"), (Some(file(0)), "empty")] {
            let error = decode(Vec::new(), file).unwrap_err();
            assert_eq!((error.status, error.param.as_deref()), (400, Some("file")), "{error}");
            assert!(error.message.contains(word), "{error}");
        }
        let not_text = vec![("prompt".to_owned(), vec![0xff])];
        assert_eq!(decode(not_text, Some(file(1))).unwrap_err().param.as_deref(), Some("prompt"));
    }

    const PLAIN: Heard<'_> =
        Heard { bytes: b" Hello.\n", content_type: "text/plain", follows_format: false };
    const RICH: Heard<'_> = Heard {
        bytes: br#"{"text":" Hello.","language":"en"}"#,
        content_type: "application/json; charset=utf-8",
        follows_format: false,
    };

    #[test]
    fn a_text_and_an_object_both_give_json_and_text() {
        for heard in [PLAIN, RICH] {
            assert_eq!(answer(Format::Json, heard).unwrap().body, r#"{"text":"Hello."}"#);
            assert_eq!(answer(Format::Text, heard).unwrap().body, "Hello.\n");
        }
        let verbose = answer(Format::VerboseJson, RICH).unwrap();
        assert_eq!(verbose.body.as_bytes(), RICH.bytes);
    }

    #[test]
    fn only_who_was_told_the_form_gives_the_others() {
        for format in [Format::VerboseJson, Format::Srt, Format::Vtt] {
            let error = answer(format, PLAIN).unwrap_err();
            assert_eq!((error.status, error.param.as_deref()), (400, Some("response_format")));
        }
        let told = Heard { bytes: b"WEBVTT\n", content_type: "text/plain", follows_format: true };
        let answer = answer(Format::Vtt, told).unwrap();
        assert_eq!((answer.content_type, &*answer.body), ("text/vtt; charset=utf-8", "WEBVTT\n"));
    }

    #[test]
    fn a_listener_against_its_settings_is_the_hubs_fault() {
        let not_text = Heard { bytes: b"\xff", ..PLAIN };
        let not_json = Heard { bytes: b"Hello.", ..RICH };
        let no_text = Heard { bytes: b"{}", ..RICH };
        let deep = "[".repeat(1 << 20);
        let deep = Heard { bytes: deep.as_bytes(), ..RICH };
        for heard in [not_text, not_json, no_text, deep] {
            assert_eq!(answer(Format::Json, heard).unwrap_err().status, 500);
        }
    }
}
