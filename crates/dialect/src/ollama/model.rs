//! `GET /api/tags`, `GET /api/ps` and `POST /api/show`: models as its clients know them.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    Error,
    read::{self, Object, Path},
    request,
    write::to_json,
};

/// What a name without a tag means to Ollama's clients, some of which say it always.
pub const TAG_DEFAULT: &str = ":latest";

/// The name as its clients show it: always with a tag.
#[must_use]
pub fn tagged(name: &str) -> String {
    if name.contains(':') { name.to_owned() } else { [name, TAG_DEFAULT].concat() }
}

/// A model that could be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// The hub's name for it.
    pub name: String,
    /// When its file was last changed, as RFC 3339 writes it.
    pub modified_at: String,
    /// Length of its file.
    pub size_bytes: u64,
    /// What changes whenever the file does: 64 hexadecimal digits, of which clients show the first 12.
    pub digest: String,
    /// What it is.
    pub details: Details,
    /// What it can do.
    pub capabilities: Vec<Capability>,
}

/// A model that is in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resident {
    /// The hub's name for it.
    pub name: String,
    /// See [`Model::digest`].
    pub digest: String,
    /// What it is.
    pub details: Details,
    /// Bytes it holds.
    pub size_bytes: u64,
    /// Those of them that are in a GPU's memory.
    pub gpu_bytes: u64,
    /// When it leaves if nobody asks, as RFC 3339 writes it.
    pub expires_at: String,
    /// Context that its requests share, in tokens; 0 where nobody knows.
    pub context_tokens: u32,
}

/// What a model is. What nobody knows is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Details {
    parent_model: &'static str,
    format: &'static str,
    family: String,
    families: Vec<String>,
    parameter_size: String,
    quantization_level: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    context_length: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding_length: Option<u32>,
}

impl Details {
    /// Of a GGUF file: its architecture, parameters, quantization, context it is served with and width of
    /// a token's vector.
    #[must_use]
    pub fn of_file(
        architecture: &str,
        parameters: u64,
        quantization: &str,
        context_tokens: Option<u32>,
        embedding_width: Option<u32>,
    ) -> Self {
        Self {
            parent_model: "",
            format: "gguf",
            family: architecture.to_owned(),
            families: vec![architecture.to_owned()],
            parameter_size: parameter_size(parameters),
            quantization_level: quantization.to_owned(),
            context_length: context_tokens,
            embedding_length: embedding_width,
        }
    }

    /// Of a model that only its server knows.
    #[must_use]
    pub fn unknown(context_tokens: Option<u32>) -> Self {
        Self { context_length: context_tokens, ..Self::default() }
    }
}

/// What a model can do, in Ollama's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Capability {
    /// It continues text.
    Completion,
    /// It can be offered tools.
    Tools,
    /// It thinks before it answers.
    Thinking,
    /// It looks at images.
    Vision,
    /// It listens to sounds.
    Audio,
    /// It fills in what stands between two texts.
    Insert,
    /// It embeds text.
    Embedding,
    /// It says how well documents answer a query; Ollama has no word for it.
    Rerank,
}

/// The answer of `GET /api/tags`.
#[must_use]
pub fn tags(models: &[Model]) -> String {
    to_json(&List { models: models.iter().map(Row::of).collect() })
}

/// The answer of `GET /api/ps`.
#[must_use]
pub fn ps(residents: &[Resident]) -> String {
    to_json(&List { models: residents.iter().map(ResidentRow::of).collect() })
}

/// A request to show a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Show {
    /// Name of the model.
    pub model: String,
    /// Whether the tensors are listed too.
    pub verbose: bool,
}

/// Reads the body of `POST /api/show`.
///
/// # Errors
/// Names the field that is wrong and what it should be.
pub fn decode_show(body: &[u8]) -> Result<Show, Error> {
    let mut fields = Object::new(&Path::Root, read::body(body)?)?;
    // Older clients say `name`, and those of Go send an empty text for what they do not say.
    let model = request::word(&mut fields, "model")?;
    let model = model.or(request::word(&mut fields, "name")?);
    let model = model.ok_or_else(|| fields.path("model").missing())?;
    Ok(Show { model, verbose: fields.bool("verbose")?.unwrap_or(false) })
}

/// Everything about a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// What lists say of it.
    pub model: Model,
    /// Its licence: its text, or what its file calls it.
    pub license: Option<String>,
    /// Its chat template, as Jinja or, of a model of Ollama's, in Go's form.
    pub template: Option<String>,
    /// What goes with it beside its files, of a model of the library.
    pub settings: Option<Settings>,
    /// What its file says about itself; long lists are null.
    pub info: Map<String, Value>,
    /// Its tensors, where they are wanted: name, type and shape.
    pub tensors: Option<Vec<Tensor>>,
}

/// What goes with a model beside its files.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// All of it, as a Modelfile.
    pub modelfile: String,
    /// Its parameters, by Ollama's names.
    pub parameters: Map<String, Value>,
    /// Its instructions.
    pub system: Option<String>,
    /// What was said before the first request: role and text.
    pub messages: Vec<(String, String)>,
}

/// A tensor of a model's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// How its numbers are encoded, such as `Q4_K`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Elements along each dimension, the contiguous one first.
    pub shape: Vec<u64>,
}

/// The answer of `POST /api/show`.
#[must_use]
pub fn show(shown: &Shown) -> String {
    let Shown { model, license, template, settings, info, tensors } = shown;
    let Model { modified_at, details, capabilities, .. } = model;
    let settings = settings.as_ref();
    let messages = settings.map_or(&[][..], |settings| &settings.messages);
    let parameters = settings.map(|settings| listed(&settings.parameters));
    to_json(&ShownObject {
        license: license.as_deref(),
        modelfile: settings.map(|settings| &*settings.modelfile),
        parameters: parameters.filter(|parameters| !parameters.is_empty()),
        template: template.as_deref(),
        system: settings.and_then(|settings| settings.system.as_deref()),
        details,
        messages: messages.iter().map(|(role, content)| Said { role, content }).collect(),
        model_info: info,
        tensors: tensors.as_deref(),
        capabilities,
        modified_at,
    })
}

/// Parameters as Ollama lists them: one line each, of a list one for each of its entries.
fn listed(parameters: &Map<String, Value>) -> String {
    let mut lines = String::new();
    for (name, value) in parameters {
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        for value in values {
            let between = if lines.is_empty() { "" } else { "\n" };
            // Writing to a text cannot fail.
            let _ = write!(lines, "{between}{name:<30} {value}");
        }
    }
    lines
}

/// A number of parameters as Ollama writes it: `8.2B`, `134.52M`, `260K`.
#[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
fn parameter_size(parameters: u64) -> String {
    const THOUSAND: f64 = 1e3;
    const MILLION: f64 = 1e6;
    const BILLION: f64 = 1e9;
    let count = parameters as f64;
    if count >= BILLION {
        format!("{:.1}B", count / BILLION)
    } else if count >= MILLION {
        format!("{:.2}M", count / MILLION)
    } else if count >= THOUSAND {
        format!("{:.0}K", count / THOUSAND)
    } else {
        parameters.to_string()
    }
}

#[derive(Serialize)]
struct List<T> {
    models: Vec<T>,
}

#[derive(Serialize)]
struct Row<'a> {
    name: String,
    model: String,
    modified_at: &'a str,
    size: u64,
    digest: &'a str,
    details: &'a Details,
    capabilities: &'a [Capability],
}

impl<'a> Row<'a> {
    fn of(model: &'a Model) -> Self {
        let Model { name, modified_at, size_bytes, digest, details, capabilities } = model;
        let name = tagged(name);
        let (model, size) = (name.clone(), *size_bytes);
        Self { name, model, modified_at, size, digest, details, capabilities }
    }
}

#[derive(Serialize)]
struct ResidentRow<'a> {
    name: String,
    model: String,
    size: u64,
    digest: &'a str,
    details: &'a Details,
    expires_at: &'a str,
    size_vram: u64,
    context_length: u32,
}

impl<'a> ResidentRow<'a> {
    fn of(resident: &'a Resident) -> Self {
        let name = tagged(&resident.name);
        Self {
            model: name.clone(),
            name,
            size: resident.size_bytes,
            digest: &resident.digest,
            details: &resident.details,
            expires_at: &resident.expires_at,
            size_vram: resident.gpu_bytes,
            context_length: resident.context_tokens,
        }
    }
}

#[derive(Serialize)]
struct ShownObject<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    license: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    modelfile: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<&'a str>,
    details: &'a Details,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    messages: Vec<Said<'a>>,
    /// Clients read it without looking whether it is there.
    model_info: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tensors: Option<&'a [Tensor]>,
    capabilities: &'a [Capability],
    modified_at: &'a str,
}

#[derive(Serialize)]
struct Said<'a> {
    role: &'a str,
    content: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_listed_one_a_line() {
        let parameters = serde_json::json!({ "temperature": 0.7, "stop": ["<|im_end|>", "\"x"] });
        let expected = "temperature                    0.7\n\
                        stop                           \"<|im_end|>\"\n\
                        stop                           \"\\\"x\"";
        assert_eq!(listed(parameters.as_object().unwrap()), expected);
    }

    #[test]
    fn parameters_are_written_as_ollama_does() {
        let cases =
            [(0, "0"), (260_000, "260K"), (134_515_008, "134.52M"), (8_190_735_360, "8.2B")];
        for (count, written) in cases {
            assert_eq!(parameter_size(count), written);
        }
    }

    #[test]
    fn names_have_a_tag() {
        assert_eq!((&*tagged("m"), &*tagged("m:7b")), ("m:latest", "m:7b"));
    }
}
