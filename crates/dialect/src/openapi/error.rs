//! Errors, in each vendor's words.

use super::shape::{Shape, fields, text, word};

/// Whose words errors are told in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Words {
    /// OpenAI's, and of all routes that are no vendor's.
    OpenAi,
    /// Anthropic's.
    Anthropic,
    /// Ollama's.
    Ollama,
    /// Cohere's.
    Cohere,
    /// Anthropic's for its own clients, OpenAI's for all others.
    AsAsked,
}

impl Words {
    pub(super) fn shape(self) -> Shape {
        match self {
            Self::OpenAi => openai(),
            Self::Anthropic => anthropic(),
            Self::Ollama => ollama(),
            Self::Cohere => cohere(),
            Self::AsAsked => super::shape::either([openai(), anthropic()]),
        }
    }
}

/// An error of OpenAI's.
pub(super) fn openai() -> Shape {
    let error = fields("Why it was refused or failed.")
        .has("message", "Names the thing, the value and the way out.", text())
        .has("type", "A coarse class, such as `invalid_request_error`.", text())
        .has("param", "The field to blame, as `messages[2].content`.", text().or_null())
        .has("code", "A stable word to branch on, such as `model_not_found`.", text().or_null());
    fields("An error in OpenAI's form.")
        .has("error", "What it was.", error.shape())
        .named("OpenAiError")
}

/// An error of Anthropic's.
pub(super) fn anthropic() -> Shape {
    let error = fields("Why it was refused or failed.")
        .has("type", "A class, such as `invalid_request_error` or `overloaded_error`.", text())
        .has("message", "Names the thing, the value and the way out.", text());
    fields("An error in Anthropic's form.")
        .has("type", "What kind of object this is.", word(&["error"]))
        .has("error", "What it was.", error.shape())
        .at_times("request_id", "What one can ask about; also in the header `request-id`.", text())
        .named("AnthropicError")
}

/// An error of Ollama's.
pub(super) fn ollama() -> Shape {
    fields("An error in Ollama's form.")
        .has("error", "Names the thing, the value and the way out.", text())
        .named("OllamaError")
}

/// An error of Cohere's.
pub(super) fn cohere() -> Shape {
    fields("An error in Cohere's form.")
        .has("message", "Names the thing, the value and the way out.", text())
        .named("CohereError")
}
