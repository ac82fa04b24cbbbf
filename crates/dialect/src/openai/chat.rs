//! `POST /v1/chat/completions`: the request.
//!
//! Messages and tools are read in `message` and `tools`, answers written in `stream` and `whole`.
//!
//! Pictures and sounds are read where they are sent whole; files and addresses are refused.

pub(super) mod message;
mod stream;
pub(super) mod tools;
mod whole;

use serde_json::Value;
use worker_protocol::{Chat, Generate, Message, Prompt, ToolChoice};

pub use stream::StreamEncoder;
pub use whole::WholeEncoder;

use super::choices::{self, Streaming};
use crate::{
    Error, Wish, constraint,
    limits::{DOCUMENTS_MAX, LOGPROBS_MAX},
    read::{self, Object, Path},
    reasoning::Reasoning,
    request, sampling,
    tools::Offered,
};

/// A request for an answer in a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Name of the model.
    pub model: String,
    /// One per choice (`n`), equal but for the seed.
    pub generates: Vec<Generate>,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// Whether the stream ends with a chunk that holds the usage.
    pub include_usage: bool,
    /// Whether the stream tells as reasoning how far the model is loaded.
    pub include_progress: bool,
    /// What it wishes beside the answer.
    pub wish: Wish,
}

/// Reads the body of a request.
///
/// # Errors
/// Names the field that is wrong and what it should be.
pub fn decode(body: &[u8]) -> Result<Request, Error> {
    let mut fields = Object::new(&Path::Root, read::body(body)?)?;
    let model = request::model(&mut fields)?;
    let Streaming { stream, include_usage, include_progress } = choices::streaming(&mut fields)?;
    let wish = Wish::decode(&mut fields)?;
    let choices = choices::count(&mut fields)?;
    refuse_modalities(&mut fields)?;
    let adapters = request::adapters(&mut fields)?;
    let (chat, reasoning_tokens_max) = chat(&mut fields)?;
    let may_call = !chat.tools.is_empty() && chat.tool_choice != ToolChoice::None;
    let generate = Generate {
        constraint: constraint::openai(&mut fields, may_call)?,
        reasoning_tokens_max,
        logprobs: logprobs(&mut fields)?,
        tokens_max: tokens_max(&mut fields)?,
        stop: request::stop(&mut fields, "stop")?,
        sampling: sampling::decode(&mut fields)?,
        ignore_end: fields.bool("ignore_eos")?.unwrap_or(false),
        adapters,
        prompt: Prompt::Chat(chat),
    };
    let generates = choices::multiply(vec![generate], choices, body.len())?;
    Ok(Request { model, generates, stream, include_usage, include_progress, wish })
}

/// The conversation, and how many tokens may be thought before the answer.
fn chat(fields: &mut Object<'_>) -> Result<(Chat, Option<u32>), Error> {
    let messages = message::decode(fields)?;
    let Offered { tools, choice: tool_choice, one_call } = tools::decode(fields)?;
    let documents = documents(fields)?;
    let variables = fields.object("chat_template_kwargs")?.unwrap_or_default();
    let Reasoning { variables, tokens_max } = Reasoning::openai(fields, variables)?;
    let continues = continues(fields, &messages)?;
    let chat = Chat {
        messages,
        tools,
        documents,
        variables,
        tool_choice,
        one_call,
        continues,
        ..Chat::default()
    };
    Ok((chat, tokens_max))
}

/// The newer of the two names wins when both are there.
fn tokens_max(fields: &mut Object<'_>) -> Result<Option<u32>, Error> {
    let old = request::tokens_max(fields, "max_tokens")?;
    let new = request::tokens_max(fields, "max_completion_tokens")?;
    Ok(new.or(old).and_then(request::TokensMax::tokens))
}

fn logprobs(fields: &mut Object<'_>) -> Result<Option<u8>, Error> {
    let wanted = fields.bool("logprobs")?.unwrap_or(false);
    let path = fields.path("top_logprobs");
    let alternatives = fields.integer("top_logprobs", 0..=LOGPROBS_MAX.into())?;
    match alternatives {
        Some(1..) if !wanted => Err(path.refuse("needs `logprobs` to be true")),
        Some(alternatives) if wanted => Ok(u8::try_from(alternatives).ok()),
        Some(_) | None => Ok(wanted.then_some(0)),
    }
}

fn documents(fields: &mut Object<'_>) -> Result<Vec<Value>, Error> {
    let path = fields.path("documents");
    let documents = fields.list("documents", DOCUMENTS_MAX)?.unwrap_or_default();
    for (index, document) in documents.iter().enumerate() {
        if !document.is_object() && !document.is_string() {
            return Err(Path::Index(&path, index).wrong("an object or a string", document));
        }
    }
    Ok(documents)
}

/// Whether the answer goes on from the assistant's own last words. Said by vLLM's two fields, or by a
/// conversation that ends with such words, as to llama-server.
fn continues(fields: &mut Object<'_>, messages: &[Message]) -> Result<bool, Error> {
    let path = fields.path("continue_final_message");
    let wanted = fields.bool("continue_final_message")?;
    let begins_anew = fields.bool("add_generation_prompt")?;
    let can = request::can_continue(messages);
    match wanted {
        Some(true) if !can => Err(path.refuse(
            "needs a conversation that ends with the assistant's own text and no calls; end with such a \
             message, or leave it out",
        )),
        Some(wanted) => Ok(wanted),
        None => Ok(can && begins_anew != Some(true)),
    }
}

fn refuse_modalities(fields: &mut Object<'_>) -> Result<(), Error> {
    let path = fields.path("modalities");
    if let Some(Value::Array(modalities)) = fields.take("modalities")
        && modalities.iter().any(|modality| modality.as_str() != Some("text"))
    {
        return Err(path.unsupported("may only name \"text\": this hub does not speak yet"));
    }
    Ok(())
}
