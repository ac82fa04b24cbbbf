//! What a request wishes beside its answer: how long the model is kept afterwards, and whether
//! others come first.
//!
//! `keep_alive` is Ollama's word, `service_tier` OpenAI's and Anthropic's, `priority` our own. Every
//! dialect takes them in the same form.

use std::time::Duration;

use serde_json::Value;

use crate::{
    Error,
    limits::{KNOWLEDGE_MAX, SHORT_VALUE_BYTES_MAX},
    read::{Object, Path},
};

const KEEP_ALIVE_FORMS: &str =
    "a time such as \"10m\" or \"1h30m\", a number of seconds, 0 to unload at once, or -1 for ever";

/// What a request wishes beside its answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// Whether requests that somebody waits for come first.
    pub background: bool,
    /// How long the model stays unused after this request, `Duration::MAX` for ever; `None` leaves
    /// that to the model's settings.
    pub keep_alive: Option<Duration>,
    /// Collections of the person's files that are to answer.
    pub knowledge: Vec<String>,
}

impl Wish {
    /// Takes the fields out of a request.
    ///
    /// # Errors
    /// Names the field, its value and what it may be.
    pub(crate) fn decode(fields: &mut Object<'_>) -> Result<Self, Error> {
        let path = fields.path("keep_alive");
        let keep_alive = fields.take("keep_alive").map(|value| keep_alive(&path, &value));
        let (background, keep_alive) = (background(fields)?, keep_alive.transpose()?);
        Ok(Self { background, keep_alive, knowledge: knowledge(fields)? })
    }
}

/// A name or a list of names.
fn knowledge(fields: &mut Object<'_>) -> Result<Vec<String>, Error> {
    let path = fields.path("knowledge");
    let form = "the name of a collection of files, or a list of such names";
    let name = |value: &Value| match value {
        Value::String(name) => {
            path.bytes_at_most(name.len(), SHORT_VALUE_BYTES_MAX)?;
            Ok(name.clone())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err(path.wrong(form, value))
        }
    };
    match fields.take("knowledge") {
        None => Ok(Vec::new()),
        Some(Value::Array(names)) if names.len() <= KNOWLEDGE_MAX => {
            names.iter().map(name).collect()
        }
        Some(Value::Array(names)) => Err(path.refuse(format_args!(
            "must name at most {KNOWLEDGE_MAX} collections, but it has {}",
            names.len()
        ))),
        Some(value) => Ok(vec![name(&value)?]),
    }
}

/// Our own word wins over OpenAI's when both are there.
fn background(fields: &mut Object<'_>) -> Result<bool, Error> {
    let path = fields.path("service_tier");
    let is_flex = match fields.string("service_tier")?.as_deref() {
        None | Some("auto" | "default" | "scale" | "priority" | "standard_only") => false,
        Some("flex") => true,
        Some(other) => {
            return Err(path.refuse(format_args!(
                "must be \"auto\", \"default\", \"flex\", \"scale\", \"priority\" or \
                 \"standard_only\", but it is {other:?}; \"flex\" lets others go first"
            )));
        }
    };
    let path = fields.path("priority");
    match fields.string("priority")?.as_deref() {
        None => Ok(is_flex),
        Some("interactive") => Ok(false),
        Some("background") => Ok(true),
        Some(other) => Err(path.refuse(format_args!(
            "must be \"interactive\" or \"background\", but it is {other:?}; leave it out for \
             \"interactive\""
        ))),
    }
}

fn keep_alive(path: &Path<'_>, value: &Value) -> Result<Duration, Error> {
    if let Some(seconds) = value.as_f64() {
        return Ok(seconds_or_for_ever(seconds));
    }
    let Value::String(text) = value else { return Err(path.wrong(KEEP_ALIVE_FORMS, value)) };
    path.bytes_at_most(text.len(), SHORT_VALUE_BYTES_MAX)?;
    match text.trim().parse::<f64>() {
        Ok(seconds) if seconds.is_finite() => Ok(seconds_or_for_ever(seconds)),
        Ok(_) | Err(_) => {
            let refused = || {
                path.refuse(format_args!("must be {KEEP_ALIVE_FORMS}, but it is the text {text:?}"))
            };
            duration(text.trim()).ok_or_else(refused)
        }
    }
}

/// A time below zero, or longer than any clock runs, means for ever.
fn seconds_or_for_ever(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// A time as Go writes it, which is how Ollama's clients write it: numbers with units, the largest
/// first by custom but in any order.
fn duration(text: &str) -> Option<Duration> {
    let (is_negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if rest.is_empty() {
        return None;
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        seconds += number * unit_seconds(&rest[..unit_end])?;
        rest = &rest[unit_end..];
    }
    Some(if is_negative { Duration::MAX } else { seconds_or_for_ever(seconds) })
}

fn unit_seconds(unit: &str) -> Option<f64> {
    match unit {
        "ns" => Some(1e-9),
        "us" | "µs" | "μs" => Some(1e-6),
        "ms" => Some(1e-3),
        "s" => Some(1.0),
        "m" => Some(60.0),
        "h" => Some(3600.0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn decoded(body: Value) -> Result<Wish, Error> {
        Wish::decode(&mut Object::new(&Path::Root, body).unwrap())
    }

    #[test]
    fn times_are_taken_in_all_forms_that_clients_write() {
        let cases = [
            (json!("10m"), Duration::from_secs(600)),
            (json!("1h30m"), Duration::from_secs(5400)),
            (json!("1.5h"), Duration::from_secs(5400)),
            (json!("300ms"), Duration::from_millis(300)),
            (json!(" 5s "), Duration::from_secs(5)),
            (json!("24h"), Duration::from_secs(86_400)),
            (json!("90"), Duration::from_secs(90)),
            (json!(90), Duration::from_secs(90)),
            (json!(0.5), Duration::from_millis(500)),
            (json!(0), Duration::ZERO),
            (json!("0"), Duration::ZERO),
            (json!("0s"), Duration::ZERO),
            (json!(-1), Duration::MAX),
            (json!("-1"), Duration::MAX),
            (json!("-1m"), Duration::MAX),
            (json!(1e300), Duration::MAX),
        ];
        for (value, expected) in cases {
            let wish = decoded(json!({ "keep_alive": value })).unwrap();
            assert_eq!(wish.keep_alive, Some(expected), "{value}");
        }
    }

    #[test]
    fn no_word_is_no_wish() {
        for body in [json!({}), json!({ "keep_alive": null, "priority": null })] {
            assert_eq!(decoded(body).unwrap(), Wish::default());
        }
    }

    #[test]
    fn collections_of_files_are_a_name_or_a_list_of_names() {
        let cases: [(Value, &[&str]); 4] = [
            (json!({}), &[]),
            (json!({ "knowledge": null }), &[]),
            (json!({ "knowledge": "notes" }), &["notes"]),
            (json!({ "knowledge": ["notes", "letters"] }), &["notes", "letters"]),
        ];
        for (body, names) in cases {
            assert_eq!(decoded(body.clone()).unwrap().knowledge, names, "{body}");
        }
        for wrong in [json!(7), json!([7]), json!({}), json!(vec!["a"; KNOWLEDGE_MAX + 1])] {
            let error = decoded(json!({ "knowledge": wrong })).unwrap_err();
            assert_eq!((error.status, error.param.as_deref()), (400, Some("knowledge")), "{error}");
        }
    }

    #[test]
    fn the_word_for_the_background_is_openais_or_ours() {
        let cases = [
            (json!({ "priority": "background" }), true),
            (json!({ "priority": "interactive" }), false),
            (json!({ "service_tier": "flex" }), true),
            (json!({ "service_tier": "auto" }), false),
            (json!({ "service_tier": "standard_only" }), false),
            (json!({ "service_tier": "priority" }), false),
            (json!({ "service_tier": "flex", "priority": "interactive" }), false),
        ];
        for (body, background) in cases {
            assert_eq!(decoded(body.clone()).unwrap().background, background, "{body}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_field_value_and_way_out() {
        let cases = [
            (json!({ "keep_alive": "soon" }), ["keep_alive", "soon", "10m"]),
            (json!({ "keep_alive": "" }), ["keep_alive", "\"\"", "10m"]),
            (json!({ "keep_alive": "-" }), ["keep_alive", "-", "10m"]),
            (json!({ "keep_alive": "10x" }), ["keep_alive", "10x", "10m"]),
            (json!({ "keep_alive": "5m10" }), ["keep_alive", "5m10", "10m"]),
            (json!({ "keep_alive": "inf" }), ["keep_alive", "inf", "10m"]),
            (json!({ "keep_alive": "NaN" }), ["keep_alive", "NaN", "10m"]),
            (json!({ "keep_alive": true }), ["keep_alive", "true", "10m"]),
            (json!({ "priority": "high" }), ["priority", "high", "background"]),
            (json!({ "priority": 1 }), ["priority", "1", "string"]),
            (json!({ "service_tier": "slow" }), ["service_tier", "slow", "flex"]),
        ];
        for (body, words) in cases {
            let error = decoded(body.clone()).unwrap_err();
            assert_eq!((error.status, error.param.as_deref()), (400, Some(words[0])), "{body}");
            for word in words {
                assert!(error.message.contains(word), "no {word} in: {}", error.message);
            }
        }
    }
}
