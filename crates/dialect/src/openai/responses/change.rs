//! What happens to the items of an answer, in OpenAI's words, and the numbers of these events.

use serde::Serialize;

use super::{
    answer::Response,
    item::{Item, Part},
};
use crate::write::{Token, to_json};

/// An event of a stream.
#[derive(Serialize)]
#[serde(tag = "type")]
pub(super) enum Change<'a> {
    #[serde(rename = "response.created")]
    Created { response: Response<'a> },
    #[serde(rename = "response.in_progress")]
    InProgress { response: Response<'a> },
    #[serde(rename = "response.completed")]
    Completed { response: Response<'a> },
    #[serde(rename = "response.incomplete")]
    Incomplete { response: Response<'a> },
    #[serde(rename = "response.failed")]
    Failed { response: Response<'a> },
    #[serde(rename = "response.output_item.added")]
    ItemAdded { output_index: usize, item: &'a Item },
    #[serde(rename = "response.output_item.done")]
    ItemDone { output_index: usize, item: &'a Item },
    #[serde(rename = "response.content_part.added")]
    PartAdded { item_id: &'a str, output_index: usize, content_index: usize, part: &'a Part },
    #[serde(rename = "response.content_part.done")]
    PartDone { item_id: &'a str, output_index: usize, content_index: usize, part: &'a Part },
    #[serde(rename = "response.output_text.delta")]
    Text {
        item_id: &'a str,
        output_index: usize,
        content_index: usize,
        delta: &'a str,
        logprobs: &'a [Token],
    },
    #[serde(rename = "response.output_text.done")]
    TextDone {
        item_id: &'a str,
        output_index: usize,
        content_index: usize,
        text: &'a str,
        logprobs: &'a [Token],
    },
    #[serde(rename = "response.reasoning_text.delta")]
    Thought { item_id: &'a str, output_index: usize, content_index: usize, delta: &'a str },
    #[serde(rename = "response.reasoning_text.done")]
    ThoughtDone { item_id: &'a str, output_index: usize, content_index: usize, text: &'a str },
    #[serde(rename = "response.reasoning_summary_part.added")]
    SummaryAdded { item_id: &'a str, output_index: usize, summary_index: usize, part: &'a Part },
    #[serde(rename = "response.reasoning_summary_part.done")]
    SummaryPartDone { item_id: &'a str, output_index: usize, summary_index: usize, part: &'a Part },
    #[serde(rename = "response.reasoning_summary_text.delta")]
    Summary { item_id: &'a str, output_index: usize, summary_index: usize, delta: &'a str },
    #[serde(rename = "response.reasoning_summary_text.done")]
    SummaryDone { item_id: &'a str, output_index: usize, summary_index: usize, text: &'a str },
    #[serde(rename = "response.function_call_arguments.delta")]
    Arguments { item_id: &'a str, output_index: usize, delta: &'a str },
    #[serde(rename = "response.function_call_arguments.done")]
    ArgumentsDone { item_id: &'a str, output_index: usize, name: &'a str, arguments: &'a str },
    #[serde(rename = "response.custom_tool_call_input.delta")]
    Input { item_id: &'a str, output_index: usize, delta: &'a str },
    #[serde(rename = "response.custom_tool_call_input.done")]
    InputDone { item_id: &'a str, output_index: usize, input: &'a str },
}

impl Change<'_> {
    /// What the event is called.
    fn name(&self) -> &'static str {
        match self {
            Self::Created { .. } => "response.created",
            Self::InProgress { .. } => "response.in_progress",
            Self::Completed { .. } => "response.completed",
            Self::Incomplete { .. } => "response.incomplete",
            Self::Failed { .. } => "response.failed",
            Self::ItemAdded { .. } => "response.output_item.added",
            Self::ItemDone { .. } => "response.output_item.done",
            Self::PartAdded { .. } => "response.content_part.added",
            Self::PartDone { .. } => "response.content_part.done",
            Self::Text { .. } => "response.output_text.delta",
            Self::TextDone { .. } => "response.output_text.done",
            Self::Thought { .. } => "response.reasoning_text.delta",
            Self::ThoughtDone { .. } => "response.reasoning_text.done",
            Self::SummaryAdded { .. } => "response.reasoning_summary_part.added",
            Self::SummaryPartDone { .. } => "response.reasoning_summary_part.done",
            Self::Summary { .. } => "response.reasoning_summary_text.delta",
            Self::SummaryDone { .. } => "response.reasoning_summary_text.done",
            Self::Arguments { .. } => "response.function_call_arguments.delta",
            Self::ArgumentsDone { .. } => "response.function_call_arguments.done",
            Self::Input { .. } => "response.custom_tool_call_input.delta",
            Self::InputDone { .. } => "response.custom_tool_call_input.done",
        }
    }
}

/// Where events are told, each with its number; or nowhere, of an answer in one piece.
#[derive(Debug)]
pub(super) struct Teller {
    tells: bool,
    told: u64,
}

impl Teller {
    pub(super) fn new(tells: bool) -> Self {
        Self { tells, told: 0 }
    }

    /// Adds an event: two lines without a break behind them.
    pub(super) fn tell(&mut self, change: &Change<'_>, out: &mut Vec<String>) {
        if !self.tells {
            return;
        }
        let data = to_json(&Numbered { sequence_number: self.told, change });
        out.push(format!("event: {}\ndata: {data}", change.name()));
        self.told += 1;
    }
}

#[derive(Serialize)]
struct Numbered<'a> {
    #[serde(flatten)]
    change: &'a Change<'a>,
    sequence_number: u64,
}
