//! The items that an answer consists of: thoughts, messages and calls, one after the other.

use serde::Serialize;

use super::input::SEAL;
use crate::write::Token;

/// An item of an answer.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Item {
    /// Something is said.
    Message { id: String, status: Status, role: &'static str, content: Vec<Part> },
    /// Something is thought, told in one of two places.
    Reasoning {
        id: String,
        status: Status,
        summary: Vec<Part>,
        content: Vec<Part>,
        encrypted_content: Option<String>,
    },
    /// A function is called.
    FunctionCall {
        id: String,
        status: Status,
        call_id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        name: String,
        arguments: String,
    },
    /// A tool of free text is called.
    CustomToolCall {
        id: String,
        status: Status,
        call_id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        name: String,
        input: String,
    },
}

/// How far an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    InProgress,
    Completed,
    Incomplete,
}

/// A part of what is said or thought.
#[derive(Debug, Serialize)]
#[serde(tag = "type")]
pub(super) enum Part {
    #[serde(rename = "output_text")]
    Output { text: String, annotations: [(); 0], logprobs: Vec<Token> },
    #[serde(rename = "reasoning_text")]
    Reasoning { text: String },
    #[serde(rename = "summary_text")]
    Summary { text: String },
}

impl Item {
    pub(super) fn id(&self) -> &str {
        match self {
            Self::Message { id, .. }
            | Self::Reasoning { id, .. }
            | Self::FunctionCall { id, .. }
            | Self::CustomToolCall { id, .. } => id,
        }
    }

    /// It goes no further; `seals` where reasoning is told in a form that comes back.
    pub(super) fn end(&mut self, how: Status, seals: bool) {
        if let Self::Reasoning { summary, content, encrypted_content, .. } = self
            && seals
        {
            let thoughts: String = summary.iter().chain(&*content).map(Part::text).collect();
            *encrypted_content = Some(format!("{SEAL}{thoughts}"));
        }
        match self {
            Self::Message { status, .. }
            | Self::Reasoning { status, .. }
            | Self::FunctionCall { status, .. }
            | Self::CustomToolCall { status, .. } => *status = how,
        }
    }
}

impl Part {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Output { text, .. } | Self::Reasoning { text } | Self::Summary { text } => text,
        }
    }
}
