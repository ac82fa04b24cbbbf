//! `POST /v1/embeddings`: request and answer.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;
use worker_protocol::{Embed, EmbedInput, Event};

use crate::{
    Error, Wish,
    limits::{DIMENSIONS_MAX, EMBED_INPUTS_MAX},
    read::{self, Object, Path},
    request,
    vectors::{Embedded, Vectors},
    write::to_json,
};

/// A request for embeddings.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Name of the model.
    pub model: String,
    /// What to embed.
    pub embed: Embed,
    /// How the vectors are written.
    pub encoding_format: EncodingFormat,
    /// Cut vectors to this width and make them length 1 again; `None` leaves them whole.
    pub dimensions: Option<u32>,
    /// What it wishes beside the answer.
    pub wish: Wish,
}

/// How vectors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodingFormat {
    /// Lists of numbers.
    Float,
    /// Little-endian `f32`s in base64, which OpenAI's own client asks for unless told otherwise.
    Base64,
}

/// Reads the body of a request.
///
/// # Errors
/// Names the field that is wrong and what it should be.
pub fn decode(body: &[u8]) -> Result<Request, Error> {
    let mut fields = Object::new(&Path::Root, read::body(body)?)?;
    let dimensions = fields.integer("dimensions", 1..=DIMENSIONS_MAX.into())?;
    Ok(Request {
        model: request::model(&mut fields)?,
        encoding_format: encoding_format(&mut fields)?,
        dimensions: dimensions.and_then(|width| u32::try_from(width).ok()),
        wish: Wish::decode(&mut fields)?,
        embed: Embed { inputs: inputs(&mut fields)?, truncate: false },
    })
}

fn encoding_format(fields: &mut Object<'_>) -> Result<EncodingFormat, Error> {
    let path = fields.path("encoding_format");
    match fields.string("encoding_format")?.as_deref() {
        None | Some("float") => Ok(EncodingFormat::Float),
        Some("base64") => Ok(EncodingFormat::Base64),
        Some(other) => {
            Err(path.refuse(format_args!("must be \"float\" or \"base64\", but it is {other:?}")))
        }
    }
}

fn inputs(fields: &mut Object<'_>) -> Result<Vec<EmbedInput>, Error> {
    let path = fields.path("input");
    let value = fields.take("input").ok_or_else(|| path.missing())?;
    let texts = read::texts(&path, value, EMBED_INPUTS_MAX)?;
    let mut inputs = Vec::with_capacity(texts.len());
    for (index, text) in texts.into_iter().enumerate() {
        inputs.push(match text {
            read::Text::Text(text) if text.is_empty() => {
                return Err(Path::Index(&path, index).refuse("must not be an empty string"));
            }
            read::Text::Text(text) => EmbedInput::Text(text),
            read::Text::Tokens(tokens) => EmbedInput::Tokens(tokens),
        });
    }
    Ok(inputs)
}

/// Collects vectors into one answer.
#[derive(Debug)]
pub struct WholeEncoder {
    encoding_format: EncodingFormat,
    vectors: Vectors,
}

impl WholeEncoder {
    /// An answer with a place for each input.
    #[must_use]
    pub fn new(request: &Request, model: &str) -> Self {
        Self {
            encoding_format: request.encoding_format,
            vectors: Vectors::new(request.embed.inputs.len(), request.dimensions, model),
        }
    }

    /// The model that serves, where another name was asked for.
    pub fn served_by(&mut self, model: &str) {
        self.vectors.served_by(model);
    }

    /// Takes in one event.
    pub fn event(&mut self, event: &Event) {
        self.vectors.event(event);
    }

    /// The answer.
    ///
    /// # Errors
    /// The request failed or broke off, or `dimensions` is more than the model has.
    pub fn finish(self) -> Result<String, Error> {
        let Embedded { model, vectors, usage } = self.vectors.finish()?;
        let entry = |(index, vector)| {
            let embedding = Vector::new(vector, self.encoding_format);
            Entry { object: "embedding", index, embedding }
        };
        let data = vectors.into_iter().enumerate().map(entry).collect();
        let usage = Usage { prompt_tokens: usage.prompt_tokens, total_tokens: usage.prompt_tokens };
        Ok(to_json(&Whole { object: "list", data, model: &model, usage }))
    }
}

#[derive(Serialize)]
struct Whole<'a> {
    object: &'static str,
    data: Vec<Entry>,
    model: &'a str,
    usage: Usage,
}

#[derive(Serialize)]
struct Entry {
    object: &'static str,
    index: usize,
    embedding: Vector,
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: u32,
    total_tokens: u32,
}

/// A vector as it is written; writing knows the two forms apart by type alone.
#[derive(Serialize)]
#[serde(untagged)]
enum Vector {
    Float(Vec<f32>),
    Base64(String),
}

impl Vector {
    fn new(vector: Vec<f32>, format: EncodingFormat) -> Self {
        match format {
            EncodingFormat::Float => Self::Float(vector),
            EncodingFormat::Base64 => {
                let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
                Self::Base64(STANDARD.encode(bytes))
            }
        }
    }
}
