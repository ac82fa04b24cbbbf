//! `POST /v1/audio/speech`: the request. The answer is sound and nothing else.

use crate::{
    Error,
    limits::{SPEECH_BYTES_MAX, SPEECH_SPEED_MAX, SPEECH_SPEED_MIN},
    read::{self, Object, Path},
    request,
};

/// A request to read a text out.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Name of what is to speak; `None` leaves the choice to the hub.
    pub model: Option<String>,
    /// What to say.
    pub input: String,
    /// Who says it, by a name of OpenAI's or of the speaker's own.
    pub voice: Option<String>,
    /// The language it is in, where the client says so. Not OpenAI's; others of its API have it.
    pub language: Option<String>,
    /// The form of the sound; `None` takes what the speaker gives. OpenAI would give MP3 then.
    pub format: Option<Format>,
    /// 1 is the voice's own speed, 2 twice as fast.
    pub speed: f32,
}

/// A form of sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// MP3.
    Mp3,
    /// Opus in Ogg.
    Opus,
    /// AAC.
    Aac,
    /// FLAC.
    Flac,
    /// WAV.
    Wav,
    /// Samples of 16 bits without a header.
    Pcm,
}

/// Reads the body of a request.
///
/// # Errors
/// Names the field that is wrong and what it should be.
pub fn decode(body: &[u8]) -> Result<Request, Error> {
    let mut fields = Object::new(&Path::Root, read::body(body)?)?;
    refuse_events(&mut fields)?;
    let speed = SPEECH_SPEED_MIN..=SPEECH_SPEED_MAX;
    Ok(Request {
        model: request::model_if_named(&mut fields)?,
        input: request::text(&mut fields, "input", SPEECH_BYTES_MAX)?,
        voice: request::word(&mut fields, "voice")?,
        language: request::word(&mut fields, "language")?,
        format: format(&mut fields)?,
        speed: fields.number("speed", speed)?.unwrap_or(1.0),
    })
}

fn format(fields: &mut Object<'_>) -> Result<Option<Format>, Error> {
    let path = fields.path("response_format");
    let Some(name) = fields.string("response_format")? else { return Ok(None) };
    let found = Format::ALL.into_iter().find(|format| format.name() == name);
    found.map(Some).ok_or_else(|| {
        let names = Format::ALL.map(Format::name).join(", ");
        path.refuse(format_args!("must be one of {names}, but it is {name:?}"))
    })
}

/// Sound can come as events, for clients that play it while it is made.
fn refuse_events(fields: &mut Object<'_>) -> Result<(), Error> {
    let path = fields.path("stream_format");
    match fields.string("stream_format")?.as_deref() {
        None | Some("audio") => Ok(()),
        Some(other) => Err(path.unsupported(format_args!(
            "is {other:?}, and only \"audio\" can be had; leave it out"
        ))),
    }
}

/// What kind of sound the answer is, of a speaker that gives this kind, or any when it was told which.
///
/// # Errors
/// The form that was asked for cannot be had.
pub fn content_type(
    asked: Option<Format>,
    gives: &str,
    follows_format: bool,
) -> Result<String, Error> {
    match asked {
        Some(format) if follows_format => Ok(format.content_type().to_owned()),
        Some(format) if Format::of(gives) != Some(format) => {
            let path = Path::Key(&Path::Root, "response_format");
            let given = Format::of(gives).map_or(gives, |format| format.name());
            Err(path.unsupported(format_args!(
                "is {:?}, but this speaker gives {given}; ask for that, or leave it out",
                format.name()
            )))
        }
        Some(_) | None => Ok(gives.to_owned()),
    }
}

impl Format {
    /// Every form that OpenAI names.
    pub const ALL: [Self; 6] = [Self::Mp3, Self::Opus, Self::Aac, Self::Flac, Self::Wav, Self::Pcm];

    /// Its name in requests, which is also what files of it are called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mp3 => "mp3",
            Self::Opus => "opus",
            Self::Aac => "aac",
            Self::Flac => "flac",
            Self::Wav => "wav",
            Self::Pcm => "pcm",
        }
    }

    /// Its content type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Mp3 => "audio/mpeg",
            Self::Opus => "audio/ogg",
            Self::Aac => "audio/aac",
            Self::Flac => "audio/flac",
            Self::Wav => "audio/wav",
            Self::Pcm => "audio/pcm",
        }
    }

    /// The form behind a content type, under any name that is in use for it.
    #[must_use]
    pub fn of(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        match essence.to_ascii_lowercase().as_str() {
            "audio/mpeg" | "audio/mp3" => Some(Self::Mp3),
            "audio/ogg" | "audio/opus" => Some(Self::Opus),
            "audio/aac" => Some(Self::Aac),
            "audio/flac" | "audio/x-flac" => Some(Self::Flac),
            "audio/wav" | "audio/wave" | "audio/x-wav" | "audio/vnd.wave" => Some(Self::Wav),
            "audio/pcm" | "audio/l16" => Some(Self::Pcm),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_known_by_its_own_content_type() {
        for format in Format::ALL {
            assert_eq!(Format::of(format.content_type()), Some(format));
        }
        assert_eq!(Format::of("audio/x-wav; rate=22050"), Some(Format::Wav));
        assert_eq!(Format::of("text/plain"), None);
    }

    #[test]
    fn another_form_than_the_speakers_is_had_only_when_it_was_told() {
        let seen = |asked, follows_format| content_type(asked, "audio/x-wav", follows_format);
        assert_eq!(seen(None, false).unwrap(), "audio/x-wav");
        assert_eq!(seen(Some(Format::Wav), false).unwrap(), "audio/x-wav");
        assert_eq!(seen(Some(Format::Mp3), true).unwrap(), "audio/mpeg");
        let error = seen(Some(Format::Mp3), false).unwrap_err();
        assert!(
            error.message.contains("\"mp3\"") && error.message.contains("gives wav"),
            "{error}"
        );
    }
}
