//! `POST /v1/images/generations`: request and answer.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;

use crate::{
    Error,
    limits::{IMAGE_PROMPT_BYTES_MAX, IMAGE_SIDE_PIXELS_MAX, IMAGES_MAX},
    read::{self, Object, Path},
    request,
    write::to_json,
};

/// A request to draw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Name of what is to draw; `None` leaves the choice to the hub.
    pub model: Option<String>,
    /// What to draw.
    pub prompt: String,
    /// How many pictures.
    pub images: u32,
    /// How large; `None` leaves it to who draws.
    pub size: Option<Size>,
    /// Where chance begins. Not OpenAI's; others of its API have it.
    pub seed: Option<u32>,
}

/// Size of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Pixels from left to right.
    pub width_pixels: u32,
    /// Pixels from top to bottom.
    pub height_pixels: u32,
}

/// Reads the body of a request.
///
/// # Errors
/// Names the field that is wrong and what it should be.
pub fn decode(body: &[u8]) -> Result<Request, Error> {
    let mut fields = Object::new(&Path::Root, read::body(body)?)?;
    refuse_unsupported(&mut fields)?;
    let images = fields.integer("n", 1..=IMAGES_MAX.into())?.unwrap_or(1);
    let seed = fields.integer("seed", 0..=u32::MAX.into())?;
    Ok(Request {
        model: request::model_if_named(&mut fields)?,
        prompt: request::text(&mut fields, "prompt", IMAGE_PROMPT_BYTES_MAX)?,
        images: u32::try_from(images).unwrap_or(1),
        size: size(&mut fields)?,
        seed: seed.and_then(|seed| u32::try_from(seed).ok()),
    })
}

fn refuse_unsupported(fields: &mut Object<'_>) -> Result<(), Error> {
    let path = fields.path("response_format");
    match fields.string("response_format")?.as_deref() {
        None | Some("b64_json") => {}
        Some("url") => {
            return Err(
                path.unsupported("is \"url\", but this hub keeps no pictures; use b64_json")
            );
        }
        Some(other) => {
            return Err(path.refuse(format_args!("must be \"b64_json\", but it is {other:?}")));
        }
    }
    if fields.bool("stream")? == Some(true) {
        let path = fields.path("stream");
        return Err(path.unsupported("is true, but pictures come whole; leave it out"));
    }
    Ok(())
}

fn size(fields: &mut Object<'_>) -> Result<Option<Size>, Error> {
    let path = fields.path("size");
    let Some(size) = fields.string("size")? else { return Ok(None) };
    if size.is_empty() || size == "auto" {
        return Ok(None);
    }
    let side = |pixels: &str| {
        let pixels: u32 = pixels.parse().ok()?;
        (1..=IMAGE_SIDE_PIXELS_MAX).contains(&pixels).then_some(pixels)
    };
    let sides = size.split_once('x').and_then(|(width, height)| {
        Some(Size { width_pixels: side(width)?, height_pixels: side(height)? })
    });
    sides.map(Some).ok_or_else(|| {
        path.refuse(format_args!(
            "must be like \"1024x1024\" with sides of 1 to {IMAGE_SIDE_PIXELS_MAX} pixels, or \
             \"auto\", but it is {size:?}"
        ))
    })
}

/// The answer with these pictures, in their order.
#[must_use]
pub fn answer(created_unix_s: u64, pictures: &[Vec<u8>]) -> String {
    #[derive(Serialize)]
    struct Whole {
        created: u64,
        data: Vec<Entry>,
    }
    #[derive(Serialize)]
    struct Entry {
        b64_json: String,
    }
    let entry = |picture: &Vec<u8>| Entry { b64_json: STANDARD.encode(picture) };
    to_json(&Whole { created: created_unix_s, data: pictures.iter().map(entry).collect() })
}
