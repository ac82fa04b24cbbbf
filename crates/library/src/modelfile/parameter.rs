//! Parameters of requests by Ollama's names, and what their values are. Not here: what they do (`dialect`).

use serde_json::Value;

use super::ParameterError;

/// Parameters that meant something once. They are accepted and passed over.
pub const DEPRECATED: [&str; 9] = [
    "f16_kv",
    "logits_all",
    "low_vram",
    "mirostat",
    "mirostat_eta",
    "mirostat_tau",
    "penalize_newline",
    "use_mlock",
    "vocab_only",
];

/// What a parameter's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Integer,
    Float,
    Truth,
    Texts,
}

/// Source: the options of Ollama's API, 2026.
const PARAMETERS: [(&str, Kind); 20] = [
    ("draft_num_predict", Kind::Integer),
    ("frequency_penalty", Kind::Float),
    ("main_gpu", Kind::Integer),
    ("min_p", Kind::Float),
    ("num_batch", Kind::Integer),
    ("num_ctx", Kind::Integer),
    ("num_gpu", Kind::Integer),
    ("num_keep", Kind::Integer),
    ("num_predict", Kind::Integer),
    ("num_thread", Kind::Integer),
    ("presence_penalty", Kind::Float),
    ("repeat_last_n", Kind::Integer),
    ("repeat_penalty", Kind::Float),
    ("seed", Kind::Integer),
    ("stop", Kind::Texts),
    ("temperature", Kind::Float),
    ("top_k", Kind::Integer),
    ("top_p", Kind::Float),
    ("typical_p", Kind::Float),
    ("use_mmap", Kind::Truth),
];

/// How alike a name must be to one that exists to be offered instead.
const LIKENESS_MIN: f64 = 0.75;

/// The value that `text` is for this parameter: a number, a truth value, or of `stop` a list of one text. `None` for
/// one that means nothing any more.
///
/// # Errors
/// When there is no such parameter, or its value is of another kind.
pub fn parameter(name: &str, text: &str) -> Result<Option<Value>, ParameterError> {
    if DEPRECATED.contains(&name) {
        return Ok(None);
    }
    let Some((_, kind)) = PARAMETERS.iter().find(|(known, _)| *known == name) else {
        return Err(ParameterError::Unknown { name: name.to_owned(), nearest: nearest(name) });
    };
    let (value, kind) = match kind {
        Kind::Integer => (text.parse::<i64>().ok().map(Value::from), "a whole number"),
        // What is not finite has no JSON, and no meaning as any of these.
        Kind::Float => {
            let number = text.parse::<f64>().ok().and_then(serde_json::Number::from_f64);
            (number.map(Value::Number), "a number")
        }
        Kind::Truth => (truth(text).map(Value::Bool), "true or false"),
        Kind::Texts => (Some(Value::from(vec![text])), "a text"),
    };
    let wrong = || ParameterError::Kind { name: name.to_owned(), value: text.to_owned(), kind };
    value.map(Some).ok_or_else(wrong)
}

/// As Go reads one.
fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Some(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

fn nearest(name: &str) -> Option<String> {
    let names = PARAMETERS.iter().map(|(known, _)| (strsim::jaro_winkler(known, name), *known));
    let nearest = names.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (nearest.0 >= LIKENESS_MIN).then(|| nearest.1.to_owned())
}
