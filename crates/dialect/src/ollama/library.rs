//! Bodies by which models are pulled, made, copied and deleted: `/api/pull`, `create`, `copy`, `delete` and
//! `push`. `progress` has what is told meanwhile.
//!
//! Not here: whether a name or a digest is one (`library`), and what a Modelfile says.

use serde_json::{Map, Value};

use super::{options, refuse};
use crate::{
    Error,
    limits::{
        LAYERS_MAX, LICENSES_MAX, MESSAGES_MAX, PARAMETERS_MAX, SHORT_VALUE_BYTES_MAX,
        SOURCE_BYTES_MAX,
    },
    read::{self, Object, Path},
    request,
};

/// A request to pull a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// Its name, which says where it is from.
    pub model: String,
    /// Whether what comes is told line by line.
    pub stream: bool,
}

/// Reads the body of `POST /api/pull`. What is said of user and password counts for nothing, as in Ollama; nor
/// does `insecure`, since nothing is fetched unprotected but from this machine.
///
/// # Errors
/// Names the field that is wrong and what it should be.
pub fn decode_pull(body: &[u8]) -> Result<Pull, Error> {
    let mut fields = root(body)?;
    let model = name(&mut fields)?;
    Ok(Pull { model, stream: fields.bool("stream")?.unwrap_or(true) })
}

/// A request to make a model of what is here.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Create {
    /// What it is to be called.
    pub model: String,
    /// The model that it begins with.
    pub from: Option<String>,
    /// Names of files, each with the digest that its content was sent under.
    pub files: Vec<(String, String)>,
    /// The same of adapters.
    pub adapters: Vec<(String, String)>,
    /// The same of a model that guesses for it.
    pub drafts: Vec<(String, String)>,
    /// Its chat template.
    pub template: Option<String>,
    /// Its licences.
    pub licenses: Vec<String>,
    /// Its instructions.
    pub system: Option<String>,
    /// Its parameters, by Ollama's names, of the types that they have.
    pub parameters: Map<String, Value>,
    /// What was said before: role and text.
    pub messages: Vec<(String, String)>,
    /// A whole Modelfile, as older clients sent it.
    pub modelfile: Option<String>,
    /// Whether what is done is told line by line.
    pub stream: bool,
}

/// What would be lost or be another model than the client means.
const REFUSED: [(&str, &str); 4] = [
    (
        "quantize",
        "is not done here: quantize the file before with resident quantize, or pull the quantization that \
         you want",
    ),
    ("draft_quantize", "is not done here: quantize the file before with resident quantize"),
    (
        "remote_host",
        "is not supported: name servers elsewhere as [upstreams.NAME] in the hub's configuration",
    ),
    ("path", "is not supported: send the content to /api/blobs/DIGEST and name it in files"),
];

/// Reads the body of `POST /api/create`. Ollama's own parsers and renderers are passed over: the hub tells from the
/// model's template what its answers look like.
///
/// # Errors
/// Names the field that is wrong and what it should be.
pub fn decode_create(body: &[u8]) -> Result<Create, Error> {
    let mut fields = root(body)?;
    let model = name(&mut fields)?;
    refuse(&mut fields, &REFUSED)?;
    let parameters = fields.object("parameters")?.unwrap_or_default();
    Path::Key(&Path::Root, "parameters").at_most(parameters.len(), PARAMETERS_MAX)?;
    // They are kept, and must make sense when they are used.
    options::parameters(&parameters)?;
    Ok(Create {
        model,
        from: source(&mut fields, "from")?,
        files: layers(&mut fields, "files")?,
        adapters: layers(&mut fields, "adapters")?,
        drafts: layers(&mut fields, "draft_files")?,
        template: super::text_of(&mut fields, "template")?,
        licenses: licenses(&mut fields)?,
        system: super::text_of(&mut fields, "system")?,
        parameters,
        messages: messages(&mut fields)?,
        modelfile: super::text_of(&mut fields, "modelfile")?,
        stream: fields.bool("stream")?.unwrap_or(true),
    })
}

/// A request to give a model another name beside its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// The model.
    pub source: String,
    /// The other name.
    pub destination: String,
}

/// Reads the body of `POST /api/copy`.
///
/// # Errors
/// Names the field that is wrong and what it should be.
pub fn decode_copy(body: &[u8]) -> Result<Copy, Error> {
    let mut fields = root(body)?;
    let mut name =
        |key| request::word(&mut fields, key)?.ok_or_else(|| Path::Key(&Path::Root, key).missing());
    Ok(Copy { source: name("source")?, destination: name("destination")? })
}

/// Reads the body of `DELETE /api/delete`: the name of a model.
///
/// # Errors
/// Names the field that is wrong and what it should be.
pub fn decode_delete(body: &[u8]) -> Result<String, Error> {
    name(&mut root(body)?)
}

/// Refuses `POST /api/push`, whatever it is asked for.
#[must_use]
pub fn push_refused() -> Error {
    Error::invalid(
        "this hub gives no model away: it uploads nothing; send the file yourself, for example with hf \
         upload, or ask Ollama itself to push it",
    )
    .code("unsupported_endpoint")
}

fn root(body: &[u8]) -> Result<Object<'static>, Error> {
    Object::new(&Path::Root, read::body(body)?)
}

/// The model's name. Older clients say `name`, and those of Go send an empty text for what they do not say.
fn name(fields: &mut Object<'_>) -> Result<String, Error> {
    let model = source(fields, "model")?;
    let model = model.or(source(fields, "name")?);
    model.ok_or_else(|| Path::Key(&Path::Root, "model").missing())
}

/// A name that may say where a model is from; an empty one counts as none.
fn source(fields: &mut Object<'_>, key: &str) -> Result<Option<String>, Error> {
    let Some(text) = super::text_of(fields, key)? else { return Ok(None) };
    Path::Key(&Path::Root, key).bytes_at_most(text.len(), SOURCE_BYTES_MAX)?;
    Ok(Some(text))
}

/// An object of file names to digests.
fn layers(fields: &mut Object<'_>, key: &str) -> Result<Vec<(String, String)>, Error> {
    let path = Path::Key(&Path::Root, key);
    let entries = fields.object(key)?.unwrap_or_default();
    path.at_most(entries.len(), LAYERS_MAX)?;
    let one = |(name, digest): (String, Value)| {
        path.bytes_at_most(name.len(), SHORT_VALUE_BYTES_MAX)?;
        let at = Path::Key(&path, &name);
        let digest = at.string(digest)?;
        at.bytes_at_most(digest.len(), SHORT_VALUE_BYTES_MAX)?;
        Ok((name, digest))
    };
    entries.into_iter().map(one).collect()
}

/// One licence or several.
fn licenses(fields: &mut Object<'_>) -> Result<Vec<String>, Error> {
    let path = Path::Key(&Path::Root, "license");
    let texts = match fields.take("license") {
        None => return Ok(Vec::new()),
        Some(Value::Array(texts)) => texts,
        Some(Value::String(text)) => vec![Value::String(text)],
        Some(ref other) => return Err(path.wrong("a text or a list of texts", other)),
    };
    path.at_most(texts.len(), LICENSES_MAX)?;
    let one = |(index, text)| Path::Index(&path, index).string(text);
    let mut texts = texts.into_iter().enumerate().map(one).collect::<Result<Vec<_>, _>>()?;
    texts.retain(|text| !text.is_empty());
    Ok(texts)
}

fn messages(fields: &mut Object<'_>) -> Result<Vec<(String, String)>, Error> {
    let path = Path::Key(&Path::Root, "messages");
    let entries = fields.list("messages", MESSAGES_MAX)?.unwrap_or_default();
    let one = |(index, entry)| {
        let at = Path::Index(&path, index);
        let mut fields = Object::new(&at, entry)?;
        let role_at = fields.path("role");
        let role = fields.string("role")?.ok_or_else(|| role_at.missing())?.to_lowercase();
        if !["system", "user", "assistant"].contains(&&*role) {
            return Err(role_at
                .refuse(format_args!("must be system, user or assistant, but it is {role:?}")));
        }
        let content = fields.string("content")?.unwrap_or_default();
        refuse(
            &mut fields,
            &[
                ("images", "cannot be kept with a model"),
                ("tool_calls", "cannot be kept with a model"),
            ],
        )?;
        Ok((role, content))
    };
    entries.into_iter().enumerate().map(one).collect()
}
