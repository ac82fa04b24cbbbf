//! The error that a client sees, in the form every OpenAI client parses.
//!
//! Not here: the decision which HTTP error a failed hub call is (`gateway`).

use std::time::Duration;

use serde_json::json;
use worker_protocol::{Failure, FailureKind};

/// Where OpenAI's clients say what an answer must look like.
const CONSTRAINT_FIELD: &str = "response_format.json_schema.schema";

/// Where clients say which adapters act.
pub(crate) const ADAPTERS_FIELD: &str = "lora";

/// Why a request is refused or failed, ready to be shown to the one who sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// HTTP status.
    pub status: u16,
    /// OpenAI's `type`: a coarse class.
    pub kind: &'static str,
    /// What to show: names the thing, the value and the way out.
    pub message: String,
    /// The field that is to blame, as a path (`messages[2].content`).
    pub param: Option<String>,
    /// A fine, stable word to branch on.
    pub code: Option<String>,
    /// When to try again, where that is known. It goes into a header, not into the object.
    pub retry_after: Option<Duration>,
}

impl Error {
    /// An error of this HTTP status; the class follows from the status.
    #[must_use]
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self {
            status,
            kind: kind(status),
            message: message.into(),
            param: None,
            code: None,
            retry_after: None,
        }
    }

    /// A request that does not make sense (400).
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    /// The same error, blaming a field.
    #[must_use]
    pub fn at(self, param: impl ToString) -> Self {
        Self { param: Some(param.to_string()), ..self }
    }

    /// The same error with a word to branch on.
    #[must_use]
    pub fn code(self, code: impl Into<String>) -> Self {
        Self { code: Some(code.into()), ..self }
    }

    /// The same error, saying when to try again.
    #[must_use]
    pub fn retry_after(self, wait: Option<Duration>) -> Self {
        Self { retry_after: wait, ..self }
    }

    /// A request chooses an adapter that its model does not have (400).
    #[must_use]
    pub fn no_such_adapter(message: impl Into<String>) -> Self {
        Self::invalid(message).at(ADAPTERS_FIELD).code("no_such_adapter")
    }

    /// The stream of events broke off without an end.
    pub(crate) fn unfinished() -> Self {
        Self::new(500, "the answer broke off before its end; try again").code("engine_failed")
    }

    /// OpenAI's error object. All four keys are always there: its schema requires them.
    #[must_use]
    pub fn to_json(&self) -> String {
        json!({ "error": {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        } })
        .to_string()
    }
}

impl From<&Failure> for Error {
    fn from(failure: &Failure) -> Self {
        match failure.kind {
            FailureKind::Invalid => Self::invalid(&*failure.message),
            // What it was read from is not known any more, so that all names are said.
            FailureKind::Constraint => Self::invalid(format!(
                "{CONSTRAINT_FIELD} (text.format.schema of a response, output_config.format.schema for \
                 Anthropic's clients, format for Ollama's): {}",
                failure.message
            ))
            .at(CONSTRAINT_FIELD)
            .code("invalid_schema"),
            FailureKind::ContextLength { .. } => {
                Self::invalid(&*failure.message).code("context_length_exceeded")
            }
            FailureKind::Overloaded => Self::new(503, &*failure.message).code("overloaded"),
            FailureKind::Broken => Self::new(500, &*failure.message).code("engine_failed"),
        }
    }
}

/// OpenAI's word for a class of errors.
fn kind(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_four_keys_are_always_there() {
        let error = Error::invalid("no");
        assert_eq!(
            error.to_json(),
            r#"{"error":{"message":"no","type":"invalid_request_error","param":null,"code":null}}"#
        );
    }

    #[test]
    fn a_schema_that_cannot_be_enforced_is_the_clients_error_and_its_field_is_named() {
        let message = "Unimplemented keys: [\"not\"]".to_owned();
        let error = Error::from(&Failure { kind: FailureKind::Constraint, message });
        assert_eq!((error.status, error.code.as_deref()), (400, Some("invalid_schema")));
        assert_eq!(error.param.as_deref(), Some("response_format.json_schema.schema"));
        for word in ["response_format.json_schema.schema", "format", "[\"not\"]"] {
            assert!(error.message.contains(word), "no {word} in: {error}");
        }
    }

    #[test]
    fn a_prompt_over_the_context_is_the_clients_error() {
        let failure = Failure {
            kind: FailureKind::ContextLength { prompt_tokens: 9, context_tokens: 8 },
            message: "too long".to_owned(),
        };
        let error = Error::from(&failure);
        assert_eq!((error.status, error.code.as_deref()), (400, Some("context_length_exceeded")));
    }
}
