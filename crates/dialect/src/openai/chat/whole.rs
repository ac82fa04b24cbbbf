//! A chat answer in one piece.

use serde::Serialize;
use worker_protocol::{Event, Piece, ToolCallPiece};

use super::Request;
use crate::{
    CachedBy, Error,
    openai::answer::{ChatLogprobs, Usage, UsageTotal, finish_reason},
    timings::Timings,
    write::{to_json, tool_call_id},
};

/// Collects the events of all choices into one answer.
#[derive(Debug)]
pub struct WholeEncoder {
    id: String,
    created_unix_s: u64,
    model: String,
    choices: Vec<Collected>,
    usage: UsageTotal,
    failure: Option<Error>,
}

#[derive(Debug, Default)]
struct Collected {
    text: String,
    reasoning: String,
    /// Name and arguments, by position.
    tool_calls: Vec<(String, String)>,
    logprobs: Option<ChatLogprobs>,
    finish_reason: Option<&'static str>,
    timings: Option<Timings>,
}

impl WholeEncoder {
    /// `id` names the answer (it is prefixed with `chatcmpl-`); ids of tool calls derive from it.
    #[must_use]
    pub fn new(request: &Request, id: &str, created_unix_s: u64, model: &str) -> Self {
        let choices = request.generates.len();
        Self {
            id: format!("chatcmpl-{id}"),
            created_unix_s,
            model: model.to_owned(),
            choices: std::iter::repeat_with(Collected::default).take(choices).collect(),
            usage: UsageTotal::new(u32::try_from(choices).unwrap_or(u32::MAX)),
            failure: None,
        }
    }

    /// The model that serves, where another name was asked for.
    pub fn served_by(&mut self, model: &str) {
        model.clone_into(&mut self.model);
    }

    /// Takes in one event of one choice.
    pub fn event(&mut self, choice: u32, event: &Event) {
        let Some(collected) = self.choices.get_mut(choice as usize) else { return };
        match event {
            Event::Progress { .. } | Event::Embedded { .. } | Event::Ranked { .. } => {}
            Event::Text(piece) => {
                collected.text.push_str(&piece.text);
                collected.add_logprobs(piece);
            }
            Event::Reasoning(piece) => {
                collected.reasoning.push_str(&piece.text);
                collected.add_logprobs(piece);
            }
            Event::ToolCall(piece) => collected.add_tool_call(piece),
            Event::Finished(finished) => {
                collected.finish_reason = Some(finish_reason(&finished.reason));
                collected.timings = Some(Timings::new(&finished.usage));
                self.usage.add(choice, &finished.usage);
            }
            Event::Failed(failure) => self.failure = Some(Error::from(failure)),
        }
    }

    /// Where the cached tokens of what has ended were found.
    #[must_use]
    pub fn cached(&self) -> CachedBy {
        self.usage.cached()
    }

    /// The answer.
    ///
    /// # Errors
    /// Any choice failed, or did not end.
    pub fn finish(self) -> Result<String, Error> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let mut choices = Vec::with_capacity(self.choices.len());
        for (index, collected) in (0..).zip(&self.choices) {
            choices.push(collected.choice(&self.id, index).ok_or_else(Error::unfinished)?);
        }
        Ok(to_json(&Whole {
            id: &self.id,
            object: "chat.completion",
            created: self.created_unix_s,
            model: &self.model,
            choices,
            usage: self.usage.usage(),
            // Times of several choices overlap; a sum would mean nothing.
            timings: match &*self.choices {
                [only] => only.timings,
                _ => None,
            },
        }))
    }
}

impl Collected {
    fn add_logprobs(&mut self, piece: &Piece) {
        if !piece.logprobs.is_empty() {
            self.logprobs.get_or_insert_with(|| ChatLogprobs::new(&[])).extend(&piece.logprobs);
        }
    }

    fn add_tool_call(&mut self, piece: &ToolCallPiece) {
        // Calls come in order; a position that jumps would be the worker's mistake, and it must
        // not make us reserve memory for it.
        let index = (piece.index as usize).min(self.tool_calls.len());
        if index == self.tool_calls.len() {
            self.tool_calls.push((String::new(), String::new()));
        }
        let (name, arguments) = &mut self.tool_calls[index];
        name.push_str(piece.name.as_deref().unwrap_or_default());
        arguments.push_str(&piece.arguments);
    }

    /// `None` when the choice has not ended.
    fn choice(&self, id: &str, index: u32) -> Option<Choice<'_>> {
        let calls = (0..).zip(&self.tool_calls).map(|(position, (name, arguments))| ToolCall {
            id: tool_call_id(id, index, position),
            r#type: "function",
            function: Function { name, arguments },
        });
        let says_nothing = self.text.is_empty() && !self.tool_calls.is_empty();
        let reasoning = (!self.reasoning.is_empty()).then_some(&*self.reasoning);
        Some(Choice {
            index,
            message: Message {
                role: "assistant",
                content: (!says_nothing).then_some(&self.text),
                refusal: None,
                reasoning_content: reasoning,
                reasoning,
                tool_calls: calls.collect(),
            },
            logprobs: self.logprobs.as_ref(),
            finish_reason: self.finish_reason?,
        })
    }
}

#[derive(Serialize)]
struct Whole<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<Choice<'a>>,
    usage: Usage,
    #[serde(skip_serializing_if = "Option::is_none")]
    timings: Option<Timings>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    message: Message<'a>,
    logprobs: Option<&'a ChatLogprobs>,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Option<&'a str>,
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCall<'a>>,
}

#[derive(Serialize)]
struct ToolCall<'a> {
    id: String,
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    arguments: &'a str,
}
