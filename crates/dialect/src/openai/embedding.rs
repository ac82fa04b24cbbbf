//! `POST /v1/embeddings`: request and answer.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;
use worker_protocol::{Embed, EmbedInput, Event};

use crate::{
    Error, Wish,
    limits::{DIMENSIONS_MAX, EMBED_INPUTS_MAX},
    read::{self, Object, Path},
    request,
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
        embed: Embed { inputs: inputs(&mut fields)? },
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
    model: String,
    encoding_format: EncodingFormat,
    dimensions: Option<u32>,
    vectors: Vec<Option<Vec<f32>>>,
    prompt_tokens: u32,
    ended: bool,
    failure: Option<Error>,
}

impl WholeEncoder {
    /// An answer with a place for each input.
    #[must_use]
    pub fn new(request: &Request, model: &str) -> Self {
        Self {
            model: model.to_owned(),
            encoding_format: request.encoding_format,
            dimensions: request.dimensions,
            vectors: vec![None; request.embed.inputs.len()],
            prompt_tokens: 0,
            ended: false,
            failure: None,
        }
    }

    /// The model that serves, where another name was asked for.
    pub fn served_by(&mut self, model: &str) {
        model.clone_into(&mut self.model);
    }

    /// Takes in one event.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Progress { .. } | Event::Text(_) | Event::Reasoning(_) | Event::ToolCall(_) => {}
            Event::Embedded { index, vector } => match self.narrow(vector) {
                Ok(vector) => {
                    if let Some(place) = self.vectors.get_mut(*index as usize) {
                        *place = Some(vector);
                    }
                }
                Err(error) => self.failure = Some(error),
            },
            Event::Finished(finished) => {
                self.prompt_tokens = finished.usage.prompt_tokens;
                self.ended = true;
            }
            Event::Failed(failure) => self.failure = Some(Error::from(failure)),
        }
    }

    /// The answer.
    ///
    /// # Errors
    /// The request failed or broke off, or `dimensions` is more than the model has.
    pub fn finish(self) -> Result<String, Error> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        if !self.ended {
            return Err(Error::unfinished());
        }
        let mut data = Vec::with_capacity(self.vectors.len());
        for (index, vector) in self.vectors.into_iter().enumerate() {
            let vector = vector.ok_or_else(Error::unfinished)?;
            let embedding = Vector::new(vector, self.encoding_format);
            data.push(Entry { object: "embedding", index, embedding });
        }
        let usage = Usage { prompt_tokens: self.prompt_tokens, total_tokens: self.prompt_tokens };
        Ok(to_json(&Whole { object: "list", data, model: &self.model, usage }))
    }

    /// The vector in the width that was asked for. Cutting is what models trained for several
    /// widths expect; the rest is made length 1 again.
    fn narrow(&self, vector: &[f32]) -> Result<Vec<f32>, Error> {
        if !vector.iter().all(|value| value.is_finite()) {
            return Err(
                Error::new(500, "the model gave a vector that is not finite").code("engine_failed")
            );
        }
        let Some(width) = self.dimensions else {
            return Ok(vector.to_vec());
        };
        let Some(cut) = vector.get(..width as usize) else {
            let path = Path::Key(&Path::Root, "dimensions");
            return Err(path.refuse(format_args!(
                "is {width}, but the vectors of {:?} have {} numbers",
                self.model,
                vector.len()
            )));
        };
        let length = cut.iter().map(|value| value * value).sum::<f32>().sqrt();
        let scale = if length > 0.0 { 1.0 / length } else { 1.0 };
        Ok(cut.iter().map(|value| value * scale).collect())
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
