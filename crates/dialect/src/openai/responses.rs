//! `POST /v1/responses`: the request, and what is kept of its answer.
//!
//! Items of the input become messages in `input`, tools are read in `tools`, what else is said in
//! `settings`; answers are written in `stream` and `whole`, from what `output` makes of events. An answer
//! is kept as text (`kept`); where, and how many, is for whoever keeps it.
//!
//! Files are refused for now. What lives at OpenAI only (`background`, `conversation`, `prompt`) is refused
//! as well; tools that OpenAI runs itself (`web_search` and the like) are not offered to the model.

mod answer;
mod change;
mod content;
mod count;
mod input;
mod item;
mod kept;
mod output;
mod settings;
mod stream;
mod tools;
mod whole;

use worker_protocol::{Chat, Generate, Prompt};

pub use answer::Beginning;
pub use count::counted;
pub use kept::{Earlier, Entry, Kept, Page, Turn, deleted, not_found};
pub use stream::StreamEncoder;
pub(in crate::openai) use tools::known_name;
pub use whole::WholeEncoder;

use crate::{
    Error, Wish,
    openai::chat,
    read::{self, Object, Path},
    request, sampling,
};

/// A request for an answer in a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Name of the model.
    pub model: String,
    /// What to answer.
    pub generate: Generate,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// What it wishes beside the answer.
    pub wish: Wish,
    /// What the answer needs to know of it.
    pub told: Told,
}

/// What an answer needs to know of its request.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// What the answer repeats.
    echo: serde_json::Map<String, serde_json::Value>,
    /// What calls are called for the client.
    tools: tools::Offered,
    /// How reasoning is told.
    thoughts: settings::Thoughts,
    /// What is kept beside the answer, where it is kept.
    background: Option<kept::Background>,
}

/// Reads the body of a request. What it refers to is looked up in `earlier`.
///
/// # Errors
/// Names the field that is wrong and what it should be, or what it refers to and is not there any more.
pub fn decode(body: &[u8], earlier: &dyn Earlier) -> Result<Request, Error> {
    let mut fields = Object::new(&Path::Root, read::body(body)?)?;
    let model = request::model(&mut fields)?;
    let stream = fields.bool("stream")?.unwrap_or(false);
    settings::refuse_what_is_elsewhere(&mut fields)?;
    let mut echo = settings::echo(&mut fields)?;
    let wish = Wish::decode(&mut fields)?;
    let stop = request::stop(&mut fields, "stop")?;
    let sampling = sampling::decode(&mut fields)?;
    let tokens_max = request::tokens_max(&mut fields, "max_output_tokens")?;
    let settings = settings::decode(&mut fields)?;
    let input::Input { messages, mut tools, background } =
        input::decode(&mut fields, earlier, settings.keeps)?;
    echo.insert("tools".to_owned(), std::mem::take(&mut tools.told).into());
    let offered = chat::tools::choose(&mut fields, std::mem::take(&mut tools.offered))?;
    let constraint = settings::constraint(&mut fields)?;
    let chat = Chat {
        messages,
        tools: offered.tools,
        tool_choice: offered.choice,
        one_call: offered.one_call,
        variables: settings.reasoning.variables,
        shortens: settings::shortens(&mut fields)?,
        ..Chat::default()
    };
    let generate = Generate {
        sampling,
        tokens_max: tokens_max.and_then(request::TokensMax::tokens),
        stop,
        logprobs: settings.logprobs,
        constraint,
        reasoning_tokens_max: settings.reasoning.tokens_max,
        adapters: None,
        ..Generate::new(Prompt::Chat(chat))
    };
    let told = Told { echo, tools, thoughts: settings.thoughts, background };
    Ok(Request { model, generate, stream, wish, told })
}
