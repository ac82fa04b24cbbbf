//! What went wrong at a server, in the forms that servers say it: OpenAI's object, llama-server's
//! (its `code` is a number), the bare string of `mlx_lm.server`, FastAPI's `detail`, or plain text.
//!
//! Messages are fragments that go on after the server's name.

use serde_json::Value;
use worker_protocol::{Failure, FailureKind};

use super::{count, excerpt};

/// Words for a prompt over the context: OpenAI's and llama-server's.
const OVER_CONTEXT: [&str; 2] = ["context_length_exceeded", "exceed_context_size_error"];

/// Words for too much work at once.
const OVERLOADED: [&str; 2] = ["rate_limit_error", "overloaded_error"];

/// The failure that a reply of this status is.
///
/// A 404 is never the client's doing: the address or the model's name in the configuration is
/// wrong, or `mlx_lm.server` could not generate, which it says so. A refused key is the
/// configuration's too, and what the server says about it may quote the key, so it is not passed on.
#[must_use]
pub fn failure(status: u16, retry_after: Option<&str>, body: &[u8]) -> Failure {
    let said = match serde_json::from_slice::<Value>(body) {
        Ok(value) => Said::read(&value),
        Err(_) => Said { message: excerpt(&String::from_utf8_lossy(body)), ..Said::default() },
    };
    let message = match status {
        300..=399 => format!(
            "answered with a redirect ({status}), and none is followed; give its \
                             final address in the configuration"
        ),
        401 | 403 => format!(
            "refused this hub's key ({status}); set `key` for it in the \
                              configuration"
        ),
        _ if said.message.is_empty() => format!("answered {status}"),
        _ => format!("answered {status}: {}", said.message),
    };
    let wait = retry_after.filter(|_| kind_of(status) == FailureKind::Overloaded);
    let message = match wait {
        Some(wait) => format!("{message} (it asks to come back after: {})", excerpt(wait)),
        None => message,
    };
    Failure { kind: said.kind(kind_of(status)), message }
}

/// The failure inside a stream that had begun well. `error` is the error itself: an object or a
/// string.
pub(super) fn in_stream(error: &Value) -> Failure {
    let said = Said::of(error);
    let by_status = match said.status {
        Some(status) => kind_of(status),
        None if said.says("invalid_request_error") => FailureKind::Invalid,
        None => FailureKind::Broken,
    };
    let kind = said.kind(by_status);
    let message = if said.message.is_empty() { "it does not say why" } else { &said.message };
    Failure { kind, message: format!("broke off with an error: {message}") }
}

/// The failure that a reply is which should have been a stream. Some servers say an error so, with
/// the status of success; one that does not stream cannot be cancelled, and is no use.
#[must_use]
pub fn not_a_stream(content_type: &str, body: &[u8]) -> Failure {
    let said = serde_json::from_slice::<Value>(body).ok();
    match said.as_ref().and_then(|said| said.get("error")).filter(|error| !error.is_null()) {
        Some(error) => in_stream(error),
        None => {
            let body = excerpt(&String::from_utf8_lossy(body));
            let message = format!("answered with {content_type:?} instead of a stream: {body}");
            Failure { kind: FailureKind::Broken, message }
        }
    }
}

fn kind_of(status: u16) -> FailureKind {
    match status {
        429 | 503 => FailureKind::Overloaded,
        401 | 403 | 404 | 408 => FailureKind::Broken,
        400..=499 | 501 => FailureKind::Invalid,
        _ => FailureKind::Broken,
    }
}

/// What a server says about a failure.
#[derive(Debug, Default)]
struct Said {
    message: String,
    /// `code` and `type`, where they are words.
    words: Vec<String>,
    /// `code`, where it is a number.
    status: Option<u16>,
    /// Tokens in the prompt and in the context.
    figures: Option<(u32, u32)>,
}

impl Said {
    /// Of a whole body.
    fn read(body: &Value) -> Self {
        match body.get("error") {
            Some(error) if !error.is_null() => Self::of(error),
            Some(_) | None => Self::of(body),
        }
    }

    fn of(error: &Value) -> Self {
        let message = error.get("message").or_else(|| error.get("detail")).unwrap_or(error);
        let message = message.as_str().map_or_else(|| message.to_string(), str::to_owned);
        let word = |key: &str| error.get(key).and_then(Value::as_str).map(str::to_owned);
        let status = error.get("code").and_then(Value::as_u64);
        let figures = error.get("n_prompt_tokens").zip(error.get("n_ctx"));
        Self {
            figures: figures
                .map(|(prompt, context)| (count(prompt), count(context)))
                .or_else(|| figures_in(&message)),
            message: excerpt(&message),
            words: [word("code"), word("type")].into_iter().flatten().collect(),
            status: status.and_then(|status| u16::try_from(status).ok()),
        }
    }

    /// The kind by its words and figures, else by the status.
    fn kind(&self, by_status: FailureKind) -> FailureKind {
        match self.figures {
            Some((prompt_tokens, context_tokens)) => {
                FailureKind::ContextLength { prompt_tokens, context_tokens }
            }
            None if OVER_CONTEXT.into_iter().any(|word| self.says(word)) => FailureKind::Invalid,
            None if OVERLOADED.into_iter().any(|word| self.says(word)) => FailureKind::Overloaded,
            None => by_status,
        }
    }

    fn says(&self, word: &str) -> bool {
        self.words.iter().any(|said| said == word)
    }
}

/// Tokens in the prompt and in the context, out of the sentence of OpenAI and vLLM: "This model's
/// maximum context length is 4096 tokens. However, … 5000 tokens …".
fn figures_in(message: &str) -> Option<(u32, u32)> {
    let (_, rest) = message.split_once("maximum context length is ")?;
    let mut numbers = rest
        .split(|letter: char| !letter.is_ascii_digit())
        .filter_map(|digits| digits.parse::<u32>().ok());
    let (context, prompt) = (numbers.next()?, numbers.next()?);
    (prompt > context).then_some((prompt, context))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(status: u16, body: &str, kind: FailureKind, message: &str) {
        let failure = failure(status, None, body.as_bytes());
        assert_eq!((failure.kind, failure.message.as_str()), (kind, message));
    }

    #[test]
    fn each_servers_form_is_understood() {
        use FailureKind::{Broken, ContextLength, Invalid, Overloaded};
        let openai =
            r#"{"error":{"message":"no","type":"invalid_request_error","param":"n","code":null}}"#;
        check(400, openai, Invalid, "answered 400: no");
        let llama = r#"{"error":{"code":500,"message":"bang","type":"server_error"}}"#;
        check(500, llama, Broken, "answered 500: bang");
        check(404, r#"{"error":"generation died"}"#, Broken, "answered 404: generation died");
        check(404, "Not Found", Broken, "answered 404: Not Found");
        let unknown = r#"{"error":{"message":"no such model","type":"invalid_request_error"}}"#;
        check(404, unknown, Broken, "answered 404: no such model");
        check(422, r#"{"detail":[{"loc":["n"]}]}"#, Invalid, r#"answered 422: [{"loc":["n"]}]"#);
        check(501, r#"{"error":{"message":"not here"}}"#, Invalid, "answered 501: not here");
        check(502, "", Broken, "answered 502");
        check(
            503,
            r#"{"error":{"message":"Loading model"}}"#,
            Overloaded,
            "answered 503: Loading model",
        );
        let figures = ContextLength { prompt_tokens: 9000, context_tokens: 4096 };
        let llama = r#"{"error":{"code":400,"message":"too long","type":"exceed_context_size_error",
                        "n_prompt_tokens":9000,"n_ctx":4096}}"#;
        check(400, llama, figures, "answered 400: too long");
        let text = "This model's maximum context length is 4096 tokens. However, you requested 9000 tokens";
        let vllm = json!({ "object": "error", "message": text, "code": 400 }).to_string();
        check(400, &vllm, figures, &format!("answered 400: {text}"));
        let apfel = r#"{"error":{"message":"too long","type":"context_length_exceeded"}}"#;
        check(400, apfel, Invalid, "answered 400: too long");
        check(
            429,
            r#"{"error":{"message":"busy","type":"rate_limit_error"}}"#,
            Overloaded,
            "answered 429: busy",
        );
    }

    #[test]
    fn the_wait_that_a_busy_server_asks_for_is_said() {
        let busy = failure(429, Some("5"), b"");
        assert_eq!(busy.kind, FailureKind::Overloaded);
        assert_eq!(busy.message, "answered 429 (it asks to come back after: 5)");
    }

    #[test]
    fn a_refused_key_is_not_quoted_and_a_redirect_not_followed() {
        let quoted = failure(401, None, br#"{"error":{"message":"Incorrect API key: sk-abc"}}"#);
        assert_eq!(quoted.kind, FailureKind::Broken);
        assert!(!quoted.message.contains("sk-abc"), "{quoted}");
        let moved = failure(302, None, b"");
        assert_eq!(moved.kind, FailureKind::Broken);
        assert!(moved.message.contains("redirect (302)"), "{moved}");
    }

    #[test]
    fn an_answer_that_is_no_stream_says_its_error_or_what_it_is() {
        let error = not_a_stream("application/json", br#"{"error":{"message":"bang"}}"#);
        assert_eq!(error.message, "broke off with an error: bang");
        let page = not_a_stream("text/html", b"<h1>hi");
        assert_eq!(page.message, "answered with \"text/html\" instead of a stream: <h1>hi");
    }

    #[test]
    fn an_error_in_a_stream_has_a_kind_too() {
        let kind = |error: Value| in_stream(&error).kind;
        assert_eq!(kind(json!("died")), FailureKind::Broken);
        assert_eq!(kind(json!({ "code": 503, "message": "" })), FailureKind::Overloaded);
        assert_eq!(kind(json!({ "type": "overloaded_error" })), FailureKind::Overloaded);
        assert_eq!(kind(json!({ "type": "invalid_request_error" })), FailureKind::Invalid);
        assert!(in_stream(&json!({ "message": "" })).message.ends_with("it does not say why"));
    }
}
