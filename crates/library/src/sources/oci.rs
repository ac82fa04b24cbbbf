//! What a registry's manifest says a model is made of: files, and texts that go with them.
//!
//! Read are Ollama's media types, Docker's for models, and whatever names a GGUF file by its title. Nothing here asks
//! anybody, so that a manifest on disk is read alike.

use std::collections::BTreeMap;

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny},
};
use serde_json::{Map, Value};

use super::bounded::at_most;
use crate::{
    digest::Sha256,
    limits::{
        LAYERS_MAX, MESSAGES_MAX, MODEL_FILES_MAX, PARAMETER_VALUES_MAX, PARAMETERS_MAX,
        SETTING_BYTES_MAX, SETTINGS_BYTES_MAX, SETTINGS_MAX,
    },
    manifest::{Message, Role, Settings},
};

const OLLAMA: &str = "application/vnd.ollama.image.";
const DOCKER: &str = "application/vnd.docker.ai.";
/// Annotations that hold a file's name.
const TITLES: [&str; 2] = ["org.opencontainers.image.title", "org.cncf.model.filepath"];
/// Characters of the name of an encoding or a parser; the longest known has 20.
const WORD_CHARACTERS_MAX: usize = 64;

const TENSORS: &str = "its weights come tensor by tensor (safetensors or MLX), which only Ollama itself reads; \
     pull a GGUF of the same model, for example from Hugging Face";
const INDEX: &str = "it is a list of several images; name one by its own tag";
const NOTHING: &str =
    "it has no GGUF file; it may be a container image, or a model of another kind";
const CLOUD: &str = "the model runs on its maker's servers and has no weights to pull";

/// What a model is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// What says how the weights are encoded.
    pub config: Option<Blob>,
    /// Its files, those of the model first.
    pub files: Vec<(Role, Blob)>,
    /// Its texts.
    pub texts: Vec<(Text, Blob)>,
}

/// Content that is called by its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Its digest.
    pub digest: Sha256,
    /// Its length.
    pub bytes: u64,
    /// What its maker called it; anything.
    pub title: Option<String>,
}

/// What a text of a model says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Text {
    /// The chat template.
    Template,
    /// The system message.
    System,
    /// Parameters, as JSON.
    Parameters,
    /// What was said before, as JSON.
    Messages,
    /// A licence.
    License,
}

/// What a layer is.
enum Kind {
    File(Role),
    Text(Text),
    Tensor,
    /// Of no use here.
    Other,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    config: Option<Layer>,
    #[serde(default, deserialize_with = "at_most::<_, _, LAYERS_MAX>")]
    layers: Vec<Layer>,
    #[serde(default)]
    manifests: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    /// One that is a tensor ends the reading: there are thousands.
    #[serde(default, deserialize_with = "no_tensor")]
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

/// What the configuration of Ollama's images says.
#[derive(Default, Deserialize)]
struct Config {
    /// How the weights are encoded: `Q4_K_M`.
    file_type: Option<String>,
    /// `gguf` or `safetensors`.
    model_format: Option<String>,
    /// Where it runs, if it runs elsewhere.
    remote_host: Option<String>,
    /// What Ollama makes the prompt with instead of the template, takes answers apart with, and its version.
    renderer: Option<String>,
    parser: Option<String>,
    requires: Option<String>,
    /// Docker's own says the same one step down.
    config: Option<DockerConfig>,
}

#[derive(Deserialize)]
struct DockerConfig {
    quantization: Option<String>,
}

/// Reads a manifest.
///
/// # Errors
/// Why it cannot be used, for people.
pub fn read(body: &[u8]) -> Result<Contents, String> {
    let raw: Raw = serde_json::from_slice(body).map_err(|error| {
        // Where in the text it stands helps nobody.
        let message = error.to_string();
        if message.starts_with(TENSORS) { TENSORS.to_owned() } else { message }
    })?;
    if raw.layers.is_empty() && raw.manifests.is_some() {
        return Err(INDEX.to_owned());
    }
    let mut contents = Contents { config: None, files: Vec::new(), texts: Vec::new() };
    contents.config = raw.config.map(blob).transpose()?;
    for layer in raw.layers {
        match kind(&layer) {
            Kind::File(role) => contents.files.push((role, blob(layer)?)),
            Kind::Text(text) => contents.texts.push((text, blob(layer)?)),
            Kind::Tensor => return Err(TENSORS.to_owned()),
            Kind::Other => {}
        }
    }
    contents.files.sort_by_key(|(role, _)| *role);
    contents.check_bounds()?;
    Ok(contents)
}

impl Contents {
    /// Whether there is a model in it.
    #[must_use]
    pub fn has_model(&self) -> bool {
        self.files.iter().any(|(role, _)| *role == Role::Model)
    }

    fn check_bounds(&self) -> Result<(), String> {
        let lengths = self.texts.iter().map(|(_, blob)| blob.bytes);
        let longest = lengths.clone().max().unwrap_or(0);
        let texts_bytes = lengths.fold(0, u64::saturating_add);
        for (what, found, max) in [
            ("files", self.files.len() as u64, MODEL_FILES_MAX as u64),
            ("texts", self.texts.len() as u64, SETTINGS_MAX as u64),
            ("bytes in one text", longest, SETTING_BYTES_MAX),
            ("bytes in its texts", texts_bytes, SETTINGS_BYTES_MAX),
        ] {
            if found > max {
                return Err(format!("it has {found} {what}, and a model has at most {max}"));
            }
        }
        Ok(())
    }
}

/// Takes the configuration of an image into `settings`; what it says of how the weights are encoded is given back.
///
/// # Errors
/// Why the model cannot be used, for people.
pub fn configure(
    config: &[u8],
    has_model: bool,
    settings: &mut Settings,
) -> Result<Option<String>, String> {
    // Only what is an object says anything.
    let config: Config = serde_json::from_slice(config).unwrap_or_default();
    if config.remote_host.is_some_and(|host| !host.is_empty()) {
        return Err(CLOUD.to_owned());
    }
    if config.model_format.as_deref() == Some("safetensors") {
        return Err(TENSORS.to_owned());
    }
    if !has_model {
        return Err(NOTHING.to_owned());
    }
    settings.renderer = config.renderer.filter(|word| is_word(word));
    settings.parser = config.parser.filter(|word| is_word(word));
    settings.requires = config.requires.filter(|word| is_word(word));
    let encoding = config.file_type.or(config.config.and_then(|own| own.quantization));
    let is_known = |text: &String| is_word(text) && !text.eq_ignore_ascii_case("unknown");
    Ok(encoding.filter(is_known))
}

/// Whether it is one plain word.
fn is_word(text: &str) -> bool {
    let is_sign = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    !text.is_empty() && text.len() <= WORD_CHARACTERS_MAX && text.chars().all(is_sign)
}

/// Takes a text of a model into `settings`.
///
/// # Errors
/// Why it cannot be used, for people.
pub fn take(text: Text, body: Vec<u8>, settings: &mut Settings) -> Result<(), String> {
    let name = text.name();
    let body = String::from_utf8(body).map_err(|_| format!("its {name} is not text (UTF-8)"))?;
    let wrong = |error: serde_json::Error| format!("its {name} cannot be read: {error}");
    match text {
        Text::Template => settings.template = Some(body),
        Text::System => settings.system = Some(body),
        Text::License => settings.licenses.push(body),
        Text::Parameters => {
            let parameters: Map<String, Value> = serde_json::from_str(&body).map_err(wrong)?;
            if parameters.len() > PARAMETERS_MAX {
                let count = parameters.len();
                return Err(format!(
                    "it has {count} parameters, and models have at most {PARAMETERS_MAX}"
                ));
            }
            if let Some((name, _)) = parameters.iter().find(|(_, value)| !is_parameter(value)) {
                let name = name.escape_default();
                return Err(format!(
                    "its parameter '{name}' is no number, text, truth or list of texts"
                ));
            }
            settings.parameters = parameters;
        }
        Text::Messages => {
            let Messages(messages) = serde_json::from_str(&body).map_err(wrong)?;
            settings.messages = messages;
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct Messages(#[serde(deserialize_with = "at_most::<_, _, MESSAGES_MAX>")] Vec<Message>);

fn is_parameter(value: &Value) -> bool {
    match value {
        Value::Number(_) | Value::String(_) | Value::Bool(_) => true,
        Value::Array(values) => {
            values.len() <= PARAMETER_VALUES_MAX && values.iter().all(Value::is_string)
        }
        Value::Null | Value::Object(_) => false,
    }
}

impl Text {
    fn name(self) -> &'static str {
        match self {
            Self::Template => "template",
            Self::System => "system message",
            Self::Parameters => "list of parameters",
            Self::Messages => "list of messages",
            Self::License => "licence",
        }
    }
}

fn no_tensor<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let media_type = String::deserialize(deserializer)?;
    if is_tensor(&media_type) { Err(D::Error::custom(TENSORS)) } else { Ok(media_type) }
}

fn is_tensor(media_type: &str) -> bool {
    [(OLLAMA, "tensor"), (DOCKER, "safetensors")].iter().any(|(maker, what)| {
        media_type.strip_prefix(maker).is_some_and(|rest| rest.starts_with(what))
    })
}

fn kind(layer: &Layer) -> Kind {
    let media_type = layer.media_type.as_str();
    if is_tensor(media_type) {
        return Kind::Tensor;
    }
    let known = match (media_type.strip_prefix(OLLAMA), media_type.strip_prefix(DOCKER)) {
        (Some(own), _) => Some(kind_of_ollama(own)),
        (_, Some(own)) => Some(kind_of_docker(own)),
        (None, None) => None,
    };
    known.unwrap_or_else(|| kind_by_title(layer))
}

fn kind_of_ollama(own: &str) -> Kind {
    match own {
        "model" => Kind::File(Role::Model),
        "projector" => Kind::File(Role::Projector),
        "adapter" => Kind::File(Role::Adapter),
        "draft" => Kind::File(Role::Draft),
        // What the template was called in the beginning.
        "template" | "prompt" => Kind::Text(Text::Template),
        "system" => Kind::Text(Text::System),
        "params" => Kind::Text(Text::Parameters),
        "messages" => Kind::Text(Text::Messages),
        "license" => Kind::Text(Text::License),
        _ => Kind::Other,
    }
}

fn kind_of_docker(own: &str) -> Kind {
    match own {
        "mmproj" => Kind::File(Role::Projector),
        "license" => Kind::Text(Text::License),
        "chat.template.jinja" => Kind::Text(Text::Template),
        own if own.starts_with("gguf") && own.ends_with(".lora") => Kind::File(Role::Adapter),
        own if own.starts_with("gguf") && is_raw(own) => Kind::File(Role::Model),
        _ => Kind::Other,
    }
}

/// What somebody stored who knows of files only.
fn kind_by_title(layer: &Layer) -> Kind {
    let title = title(layer).map(str::to_lowercase);
    match title.filter(|title| title.ends_with(".gguf") && is_raw(&layer.media_type)) {
        Some(title) if title.contains("mmproj") => Kind::File(Role::Projector),
        Some(_) => Kind::File(Role::Model),
        None => Kind::Other,
    }
}

/// Whether the content is the file itself.
fn is_raw(media_type: &str) -> bool {
    !["tar", "gzip", "zstd"].iter().any(|packed| media_type.contains(packed))
}

fn title(layer: &Layer) -> Option<&str> {
    let annotations = layer.annotations.as_ref()?;
    TITLES.iter().find_map(|name| annotations.get(*name)).map(String::as_str)
}

fn blob(layer: Layer) -> Result<Blob, String> {
    let digest = layer.digest.parse::<Sha256>().map_err(|error| error.to_string())?;
    Ok(Blob { digest, bytes: layer.size, title: title(&layer).map(str::to_owned) })
}

#[cfg(test)]
mod tests;
