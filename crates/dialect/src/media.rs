//! Pictures and sounds in requests: out of base64, recognised by their first bytes, measured by their
//! headers.
//!
//! Nothing is decoded and nothing is fetched here. A header is enough to refuse a small file that would
//! become gigabytes; whoever decodes looks again. An address on a network is refused: to fetch it would
//! let a client reach through the hub what only the hub can reach.

mod content;
mod format;
mod sound;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use worker_protocol::MediaKind;

pub(crate) use content::Content;
pub(crate) use format::media_type;

use crate::{
    Error,
    limits::{
        JSON_VALUES_MAX, MEDIA_BYTES_MAX, MEDIA_MAX, PICTURE_PIXELS_MAX, PICTURE_RATIO_MAX,
        PICTURE_SIDE_PIXELS_MAX, SOUND_SECONDS_MAX,
    },
    read::{self, Path},
};
use format::Format;

/// As most clients write it; some leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// How every data URI begins.
const DATA: &str = "data:";

/// A picture or a sound that may come in.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) kind: MediaKind,
    pub(crate) bytes: Vec<u8>,
}

/// Lets in what one request packs into texts, as long as it is not too much: pictures, sounds, JSON.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    files: usize,
    /// Values of JSON inside strings, which the count of the whole body takes for one each.
    values: usize,
}

impl Intake {
    /// Whether the JSON in `text` is as deep and large as it may be, with all that came before it.
    pub(crate) fn takes_json(&mut self, text: &str) -> bool {
        let Ok(values) = read::check_shape(text.as_bytes()) else { return false };
        self.values = self.values.saturating_add(values);
        self.values <= JSON_VALUES_MAX
    }

    /// What a URI holds.
    pub(crate) fn uri(
        &mut self,
        path: &Path<'_>,
        uri: &str,
        kind: MediaKind,
    ) -> Result<File, Error> {
        if behind_data(uri).is_none() {
            return Err(no_data(path, uri, kind));
        }
        self.base64(path, uri, Some(kind))
    }

    /// A file in base64, alone or as a data URI; `None` takes a file of any kind.
    pub(crate) fn base64(
        &mut self,
        path: &Path<'_>,
        text: &str,
        wanted: Option<MediaKind>,
    ) -> Result<File, Error> {
        self.files += 1;
        if self.files > MEDIA_MAX {
            return Err(path.refuse(format_args!(
                "is one too many: at most {MEDIA_MAX} pictures and sounds are allowed in one request"
            )));
        }
        let encoded = match behind_data(text) {
            Some(rest) => data(path, rest, wanted)?,
            None => text,
        };
        let bytes = decoded(path, encoded)?;
        let format = Format::of(&bytes).map_err(|is| unread(path, is, wanted))?;
        let kind = format.kind();
        if let Some(wanted) = wanted.filter(|wanted| *wanted != kind) {
            return Err(unread(path, format.name(), Some(wanted)));
        }
        measure(path, format, &bytes)?;
        Ok(File { kind, bytes })
    }
}

/// Whether a media type that a client names can be one of this kind. Which of them it is the bytes say
/// themselves, since clients often name the wrong one.
pub(crate) fn check_type(path: &Path<'_>, named: &str, wanted: MediaKind) -> Result<(), Error> {
    let family = match wanted {
        MediaKind::Image => "image/",
        MediaKind::Audio => "audio/",
    };
    let named_in_small = named.to_ascii_lowercase();
    let is_open = named.is_empty() || named_in_small == "application/octet-stream";
    if is_open || named_in_small.starts_with(family) {
        return Ok(());
    }
    let (named, ways_out) = (short(named), ways_out(Some(wanted)));
    Err(path.refuse(format_args!("is of type {named:?}, which is no {}; {ways_out}", word(wanted))))
}

fn behind_data(uri: &str) -> Option<&str> {
    let (scheme, rest) = uri.split_at_checked(DATA.len())?;
    scheme.eq_ignore_ascii_case(DATA).then_some(rest)
}

/// The base64 in what follows `data:`.
fn data<'a>(path: &Path<'_>, rest: &'a str, wanted: Option<MediaKind>) -> Result<&'a str, Error> {
    const IS_BASE64: &str = ";base64";
    let form = "must be like \"data:image/png;base64,…\"";
    let Some((head, encoded)) = rest.split_once(',') else {
        return Err(path.refuse(format_args!("{form}, but it has no comma")));
    };
    let split = head.len().checked_sub(IS_BASE64.len()).and_then(|at| head.split_at_checked(at));
    let Some((named, _)) = split.filter(|(_, end)| end.eq_ignore_ascii_case(IS_BASE64)) else {
        return Err(path.refuse(format_args!("{form}, but it is not in base64")));
    };
    // Parameters such as a character set may follow the type.
    let named = named.split(';').next().unwrap_or_default();
    if let Some(wanted) = wanted {
        check_type(path, named.trim(), wanted)?;
    }
    Ok(encoded)
}

fn decoded(path: &Path<'_>, encoded: &str) -> Result<Vec<u8>, Error> {
    let encoded = encoded.trim();
    if encoded.is_empty() {
        return Err(path.refuse("is empty; send the file in base64"));
    }
    // Before it takes memory; four letters are three bytes.
    if encoded.len() / 4 > MEDIA_BYTES_MAX / 3 {
        return Err(path.refuse(format_args!(
            "is a file of about {} MiB, and at most {} MiB are allowed; make it smaller",
            (encoded.len() / 4 * 3) >> 20,
            MEDIA_BYTES_MAX >> 20
        )));
    }
    let is_broken = encoded.bytes().any(|byte| byte == b'\r' || byte == b'\n');
    let decoded = if is_broken {
        // Mail breaks base64 into lines, and some libraries do it always.
        let lines: Vec<u8> =
            encoded.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
        BASE64.decode(lines)
    } else {
        BASE64.decode(encoded)
    };
    decoded.map_err(|error| {
        let error = error.to_string();
        let why = error.trim_end_matches('.');
        path.refuse(format_args!("is not valid base64: {why}; send the bytes of the file in it"))
    })
}

/// Refuses what would take too much once it is decoded.
fn measure(path: &Path<'_>, format: Format, bytes: &[u8]) -> Result<(), Error> {
    let name = format.name();
    let broken = || {
        path.refuse(format_args!(
            "is {name} whose header is broken or cut; send the whole file, or save it anew"
        ))
    };
    match format.kind() {
        MediaKind::Image => {
            let (width, height) = format::sides(format, bytes).ok_or_else(broken)?;
            check_sides(path, width, height)?;
        }
        MediaKind::Audio => {
            let seconds = sound::seconds(format, bytes).ok_or_else(broken)?;
            if seconds > SOUND_SECONDS_MAX {
                return Err(path.refuse(format_args!(
                    "is a sound of {seconds} s, and at most {SOUND_SECONDS_MAX} s are allowed; cut it \
                     into parts, or send it to /v1/audio/transcriptions"
                )));
            }
        }
    }
    Ok(())
}

fn check_sides(path: &Path<'_>, width: u64, height: u64) -> Result<(), Error> {
    let (short, long) = (width.min(height), width.max(height));
    let what = format!("is a picture of {width} × {height} pixels");
    if width.saturating_mul(height) > PICTURE_PIXELS_MAX {
        return Err(path.refuse(format_args!(
            "{what}, and at most {PICTURE_PIXELS_MAX} in all are allowed; make it smaller, since models \
             scale pictures down anyway"
        )));
    }
    if long > PICTURE_SIDE_PIXELS_MAX || long > short.saturating_mul(PICTURE_RATIO_MAX) {
        return Err(path.refuse(format_args!(
            "{what}, and a side may have at most {PICTURE_SIDE_PIXELS_MAX} and be at most \
             {PICTURE_RATIO_MAX} times as long as the other; cut it into parts"
        )));
    }
    Ok(())
}

/// The refusal of a URI that holds no data.
fn no_data(path: &Path<'_>, uri: &str, kind: MediaKind) -> Error {
    let (uri, word) = (short(uri), word(kind));
    path.unsupported(format_args!(
        "is {uri:?}: this hub fetches nothing from addresses; send the {word} itself as \
         \"data:{}/…;base64,…\"",
        match kind {
            MediaKind::Image => "image",
            MediaKind::Audio => "audio",
        }
    ))
}

/// The refusal of a file that `is` something else than what is wanted.
fn unread(path: &Path<'_>, is: &str, wanted: Option<MediaKind>) -> Error {
    path.unsupported(format_args!("is {is}, which is not read here; {}", ways_out(wanted)))
}

fn ways_out(wanted: Option<MediaKind>) -> &'static str {
    match wanted {
        Some(MediaKind::Image) => "send a picture as PNG, JPEG, WebP, GIF or BMP",
        Some(MediaKind::Audio) => "send a sound as WAV, MP3 or FLAC",
        None => "send a picture as PNG, JPEG, WebP, GIF or BMP, or a sound as WAV, MP3 or FLAC",
    }
}

fn word(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Image => "picture",
        MediaKind::Audio => "sound",
    }
}

/// The beginning of what a client wrote, for a message.
fn short(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 40;
    let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
