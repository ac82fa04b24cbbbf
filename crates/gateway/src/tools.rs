//! One-shot tools over HTTP: speech, transcriptions and pictures as OpenAI's clients ask for them,
//! and any tool by its name.
//!
//! Here requests become the values that a tool's command has places for. Speech both ways may also be
//! a server's work: then the request is sent on to it. Not here: running a tool (`supervisor::tool`),
//! talking to a server (`supervisor`).

mod choice;
mod file;
mod upload;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use axum::body::Body;
use axum::http::header::{HeaderMap, HeaderValue};
use axum::response::Response;
use dialect::Error;
use dialect::openai::{image, speech, transcription};
use percent_encoding::percent_decode_str;
use supervisor::{
    AcquireError, Content, Errand, Input, Lease, Purpose, Serves, Tool, ToolError, ToolOutput,
    Wish, tool,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::choice::Able;
use self::file::Source;
use crate::answer;
use crate::limits::{TOOL_REQUESTS_MAX, UPLOADS_MAX};
use crate::routes::Site;

/// Words of a minute at the usual speed of speech, for programs that count in them. It is what
/// espeak-ng's manual gives as its default.
const WORDS_PER_MINUTE: f32 = 175.0;

/// What an answer is of which nobody knows better.
const UNKNOWN: &str = "application/octet-stream";

/// The tools that can be asked.
#[derive(Debug)]
pub(crate) struct Tools {
    tools: RwLock<Arc<[Arc<Tool>]>>,
    places: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
}

/// What fills the places of a tool's command.
type Values = BTreeMap<String, String>;

impl Tools {
    pub(crate) fn new(tools: Vec<Tool>) -> Self {
        let tools = RwLock::new(in_order(tools));
        let [places, uploads] =
            [TOOL_REQUESTS_MAX, UPLOADS_MAX].map(|places| Arc::new(Semaphore::new(places)));
        Self { tools, places, uploads }
    }

    /// Other tools from now on. What runs goes on.
    pub(crate) fn replace(&self, tools: Vec<Tool>) {
        *self.tools.write().unwrap_or_else(PoisonError::into_inner) = in_order(tools);
    }

    /// Whether a tool has this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.now().iter().any(|tool| tool.name == name)
    }

    /// The tools as they are now.
    fn now(&self) -> Arc<[Arc<Tool>]> {
        Arc::clone(&self.tools.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A place for one request, from when its body is there until its answer is: until then it is up
    /// to the client how long it takes.
    fn place(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            let message =
                format!("{TOOL_REQUESTS_MAX} requests for tools are open already; try again later");
            Error::new(503, message).code("overloaded")
        })
    }

    /// A place for one upload, until it has one among the requests.
    fn upload(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.uploads).try_acquire_owned().map_err(|_| {
            let message = format!("{UPLOADS_MAX} uploads are under way already; try again later");
            Error::new(503, message).code("overloaded")
        })
    }
}

fn in_order(tools: Vec<Tool>) -> Arc<[Arc<Tool>]> {
    tools.into_iter().map(Arc::new).collect()
}

/// `POST /v1/audio/speech`.
pub(crate) async fn speech(site: &Site, body: Body) -> Result<Response, Error> {
    let request = speech::decode(&answer::read_body(body).await?)?;
    let place = site.tools.place()?;
    let able = site.tools.able(&site.hub, Serves::Speak, request.model.as_deref()).await?;
    match first_of(site, able, Purpose::Speak).await? {
        First::Tool(tool) => speak(site, tool, request, place).await,
        First::Model(lease) => {
            let kind = request.format.map_or(UNKNOWN, speech::Format::content_type);
            let delivered = lease.run(Errand::Speak(request)).await;
            let delivered = delivered.map_err(|failure| Error::from(&failure))?;
            Ok(file::answer(kind, Source::Server(delivered), place))
        }
    }
}

async fn speak(
    site: &Site,
    tool: Arc<Tool>,
    request: speech::Request,
    place: OwnedSemaphorePermit,
) -> Result<Response, Error> {
    let follows_format = tool.places().contains("format");
    let kind = speech::content_type(request.format, &tool.content_type, follows_format)?;
    let mut values = Values::new();
    put(&mut values, "prompt", Some(&request.input));
    put(&mut values, "voice", request.voice.map(|voice| own_voice(&tool, voice)));
    put(&mut values, "language", request.language);
    let format = request.format.or_else(|| speech::Format::of(&tool.content_type));
    put(&mut values, "format", format.map(speech::Format::name));
    put(&mut values, "speed", Some(request.speed));
    put(&mut values, "words_per_minute", Some((WORDS_PER_MINUTE * request.speed).round()));
    put(&mut values, "length_scale", Some(request.speed.recip()));
    let output = run_on(site, tool, values, request.input.as_bytes()).await?;
    Ok(file::answer(&kind, Source::Tool(output), place))
}

/// Who takes a request, with the right to use it.
enum First {
    Tool(Arc<Tool>),
    Model(Lease),
}

/// The first that can be had. A role none of whose models can be leaves it to the tools behind them.
async fn first_of(site: &Site, able: Vec<Able>, purpose: Purpose<'_>) -> Result<First, Error> {
    let mut able = able.into_iter().peekable();
    while let Some(next) = able.next() {
        let name = match next {
            Able::Tool(tool) => return Ok(First::Tool(tool)),
            Able::Model(name) => name,
        };
        match site.hub.serve(&name, purpose, Wish::default(), None).await {
            Ok(served) => return Ok(First::Model(served.lease)),
            Err(error @ AcquireError::NobodyServes { .. }) if able.peek().is_some() => {
                tracing::info!(role = name, %error, "on to the next of the role");
            }
            Err(error) => return Err(answer::refusal(&error)),
        }
    }
    Err(Error::new(500, "nobody was found for this request").code("engine_failed"))
}

fn own_voice(tool: &Tool, voice: String) -> String {
    tool.voices.get(&voice).cloned().unwrap_or(voice)
}

/// `POST /v1/audio/transcriptions`.
pub(crate) async fn transcriptions(
    site: &Site,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let uploading = site.tools.upload()?;
    let upload::Form { texts, file } = upload::form(headers, body, "file").await?;
    let described = file.as_ref().map(|file| transcription::File {
        name: file.name.as_deref(),
        bytes: file.content.bytes(),
    });
    let request = transcription::decode(texts, described)?;
    let content = match file {
        Some(file) => file.content,
        // Such a request was refused.
        None => upload::of(&[]).await?,
    };
    let place = site.tools.place()?;
    drop(uploading);
    let able = site.tools.able(&site.hub, Serves::Listen, request.model.as_deref()).await?;
    match first_of(site, able, Purpose::Listen).await? {
        First::Tool(tool) => listen(site, tool, request, content).await,
        First::Model(lease) => {
            let delivered = lease.run(Errand::Listen { request, content }).await;
            let delivered = delivered.map_err(|failure| Error::from(&failure))?;
            Ok(file::answer(UNKNOWN, Source::Server(delivered), place))
        }
    }
}

async fn listen(
    site: &Site,
    tool: Arc<Tool>,
    request: transcription::Request,
    content: Content,
) -> Result<Response, Error> {
    let mut values = Values::new();
    put(&mut values, "language", request.language);
    put(&mut values, "prompt", request.prompt);
    put(&mut values, "temperature", request.temperature);
    put(&mut values, "format", Some(request.format.name()));
    let follows_format = tool.places().contains("format");
    let output = run(site, tool, values, content).await?;
    let content_type = output.content_type.clone();
    let bytes = whole(output).await?;
    let heard = transcription::Heard { bytes: &bytes, content_type: &content_type, follows_format };
    let answer = transcription::answer(request.format, heard)?;
    Ok(answer::typed(HeaderValue::from_static(answer.content_type), answer.body.into()))
}

/// `POST /v1/images/generations`. One picture is one run, and one follows the other: two at once
/// would need the memory of two.
pub(crate) async fn images(site: &Site, body: Body) -> Result<Response, Error> {
    let request = image::decode(&answer::read_body(body).await?)?;
    let _place = site.tools.place()?;
    let tool = site.tools.first(&site.hub, Serves::Draw, request.model.as_deref())?;
    let mut values = Values::new();
    put(&mut values, "prompt", Some(&request.prompt));
    if let Some(size) = request.size {
        let image::Size { width_pixels, height_pixels } = size;
        put(&mut values, "size", Some(format!("{width_pixels}x{height_pixels}")));
        put(&mut values, "width", Some(width_pixels));
        put(&mut values, "height", Some(height_pixels));
    }
    // Whoever wants to see the same picture twice says so with a seed.
    let seed = request.seed.unwrap_or_else(|| (answer::unforeseen() >> 32) as u32);
    let mut pictures = Vec::new();
    for number in 0..request.images {
        put(&mut values, "seed", Some(seed.wrapping_add(number)));
        let prompt = request.prompt.as_bytes();
        let output = run_on(site, Arc::clone(&tool), values.clone(), prompt).await?;
        pictures.push(whole(output).await?);
    }
    Ok(answer::json(image::answer(answer::now_unix_s(), &pictures)))
}

/// `POST /api/tools/NAME`: a file in, a file out, and values in the query.
pub(crate) async fn by_name(
    site: &Site,
    name: &str,
    query: Option<&str>,
    body: Body,
) -> Result<Response, Error> {
    let name = percent_decode_str(name).decode_utf8_lossy();
    let tools = site.tools.now();
    let Some(tool) = tools.iter().find(|tool| tool.name == name) else {
        let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
        let known = if names.is_empty() { "there are none".to_owned() } else { names.join(", ") };
        let message = format!("no tool is named '{name}'; the tools here: {known}");
        return Err(Error::new(404, message).code("tool_not_found"));
    };
    let values = query_values(tool, query.unwrap_or_default())?;
    let uploading = site.tools.upload()?;
    let content = upload::whole(body).await?;
    let place = site.tools.place()?;
    drop(uploading);
    let output = run(site, Arc::clone(tool), values, content).await?;
    let kind = output.content_type.clone();
    Ok(file::answer(&kind, Source::Tool(output), place))
}

/// Only what the tool's command has a place for: a value that is ignored is a mistake.
fn query_values(tool: &Tool, query: &str) -> Result<Values, Error> {
    let places = tool.places();
    let mut values = Values::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if !places.contains(&*name) {
            let takes = places.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            let takes = if takes.is_empty() { "none" } else { &takes };
            let message = format!("tool '{}' has no value '{name}'; it takes: {takes}", tool.name);
            return Err(Error::invalid(message).at(name).code("unknown_parameter"));
        }
        values.insert(name.into_owned(), value.into_owned());
    }
    Ok(values)
}

fn put(values: &mut Values, name: &str, value: Option<impl ToString>) {
    values.extend(value.map(|value| (name.to_owned(), value.to_string())));
}

/// Runs a tool on the words of a request, which it may also take from its arguments.
async fn run_on(
    site: &Site,
    tool: Arc<Tool>,
    values: Values,
    words: &[u8],
) -> Result<ToolOutput, Error> {
    let content = match tool.input {
        Input::Stdin | Input::File { .. } => words,
        Input::None => &[],
    };
    run(site, tool, values, upload::of(content).await?).await
}

async fn run(
    site: &Site,
    tool: Arc<Tool>,
    values: Values,
    content: Content,
) -> Result<ToolOutput, Error> {
    tool::run(&site.hub, tool, values, content).await.map_err(|error| failure(&error))
}

/// An output that becomes part of an answer: words and pictures, within the tool's own limit.
async fn whole(output: ToolOutput) -> Result<Vec<u8>, Error> {
    output.whole().await.map_err(|error| {
        Error::new(500, format!("the tool's output cannot be read: {error}")).code("storage_failed")
    })
}

fn failure(error: &ToolError) -> Error {
    let message = error.to_string();
    match error {
        ToolError::Unusable { .. } => Error::new(500, message).code("tool_unusable"),
        ToolError::BadRequest { place, .. } => {
            Error::invalid(message).at(place).code("invalid_value")
        }
        ToolError::TooLarge { .. } => Error::invalid(message).code("tool_too_large"),
        ToolError::NotAdmitted(refused) => answer::refusal(refused),
        ToolError::Stopped { .. } => Error::new(503, message).code("tool_stopped"),
        ToolError::Failed { .. } => Error::new(500, message).code("tool_failed"),
        ToolError::TimedOut { .. } => Error::new(504, message).code("tool_timed_out"),
        ToolError::TooMuchOutput { .. } => Error::new(500, message).code("tool_output_too_large"),
    }
}
