//! The words with which some models say before each part of an answer what it is: harmony's channels
//! (GPT-OSS), and Functionary's recipients.

use super::json::{is_name, is_of_name};
use super::{Calling, Then};
use crate::limits::HEADER_BYTES_MAX;
use crate::text::markup::{Calls, Tools};

const START: &str = "<|start|>";
const CHANNEL: &str = "<|channel|>";
const CONSTRAIN: &str = "<|constrain|>";
const MESSAGE: &str = "<|message|>";
const RECIPIENT: &str = ">>>";

/// What ends a part in harmony.
const ENDS: &[&str] = &["<|end|>", "<|call|>", "<|return|>", START, CHANNEL, CONSTRAIN, MESSAGE];

/// Those of them that belong to the next header.
const BEGINS: &[&str] = &[START, CHANNEL, CONSTRAIN, MESSAGE];

/// What ends a part of an answer.
pub(super) fn ends(form: Calls) -> &'static [&'static str] {
    match form {
        Calls::Harmony => ENDS,
        Calls::Recipient => &[RECIPIENT],
        Calls::Hermes
        | Calls::Xml
        | Calls::Glm
        | Calls::Llama
        | Calls::Mistral
        | Calls::DeepSeek
        | Calls::Gemma
        | Calls::List
        | Calls::Python
        | Calls::Function => &[],
    }
}

/// Whether a marker that ended a part belongs to the next header.
pub(super) fn is_part(marker: &str) -> bool {
    BEGINS.contains(&marker)
}

/// What a header says, and how many bytes it has.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Announced {
    /// It is not whole.
    More,
    Text {
        bytes: usize,
    },
    Reasoning {
        bytes: usize,
    },
    Call {
        bytes: usize,
        name: String,
    },
    /// This is no header.
    Nothing,
}

/// Whether a header, as far as it is there, is that of a call.
pub(super) fn calling(form: Calls, held: &str) -> Calling {
    let (words, is_call) = if form == Calls::Harmony {
        let words = held.strip_prefix(START).unwrap_or(held);
        let words = words.strip_prefix("assistant").unwrap_or(words);
        (words, words.contains("to="))
    } else {
        (held, !held.starts_with("all\n") && !"all\n".starts_with(held))
    };
    match words {
        "" => Calling::No,
        _ if is_call => Calling::Yes,
        _ => Calling::Maybe,
    }
}

/// Reads a header behind the marker that began it. `tools` are those that were offered.
pub(super) fn read(form: Calls, held: &str, tools: Option<&Tools>) -> Announced {
    if form == Calls::Harmony { harmony(held, tools) } else { recipient(held, tools) }
}

/// What of the marker is text when no header follows.
pub(super) fn shown(form: Calls, marker: &'static str) -> &'static str {
    if form == Calls::Harmony { "" } else { marker }
}

/// The text behind what is no header, though it may begin with a mark of one.
pub(super) fn without_mark(form: Calls, held: &str) -> &str {
    if form != Calls::Harmony {
        return held;
    }
    BEGINS.iter().find_map(|mark| held.strip_prefix(mark)).unwrap_or(held)
}

/// What is text of a header that the end of the answer cut off.
pub(super) fn remains(form: Calls, marker: &'static str, held: &str) -> String {
    let is_cut = form == Calls::Harmony && held.trim_start().starts_with("<|");
    if is_cut { String::new() } else { format!("{}{held}", shown(form, marker)) }
}

/// What ends reasoning in such a form: the part, and the header of the next one as far as the model may not
/// choose it.
pub(super) fn closing(form: Calls, then: Option<Then>) -> Option<String> {
    let next = match then {
        None => "",
        Some(Then::Answer) => "<|channel|>final<|message|>",
        Some(Then::Call) => "<|channel|>commentary to=functions.",
    };
    (form == Calls::Harmony).then(|| format!("<|end|>{START}assistant{next}"))
}

fn harmony(held: &str, tools: Option<&Tools>) -> Announced {
    let Some(at) = held.find(MESSAGE) else {
        let may_come = held.len() < HEADER_BYTES_MAX + MESSAGE.len() && may_be_header(held);
        return if may_come { Announced::More } else { Announced::Nothing };
    };
    let words = &held[..at];
    if words.len() > HEADER_BYTES_MAX || !is_header(words) {
        return Announced::Nothing;
    }
    let bytes = at + MESSAGE.len();
    let recipient = words.split_once("to=").map(|(_, rest)| rest);
    let recipient = recipient.and_then(|rest| rest.split([' ', '<']).next());
    let name = recipient.map(|name| name.strip_prefix("functions.").unwrap_or(name));
    let channel = words.split_once(CHANNEL).map_or("", |(_, rest)| rest).trim_start();
    match name {
        Some(name) if tools.is_some_and(|tools| tools.has(name) || is_function(recipient)) => {
            Announced::Call { bytes, name: name.to_owned() }
        }
        _ if channel.starts_with("analysis") => Announced::Reasoning { bytes },
        _ => Announced::Text { bytes },
    }
}

fn is_function(recipient: Option<&str>) -> bool {
    recipient.and_then(|name| name.strip_prefix("functions.")).is_some_and(is_name)
}

/// A header begins with a mark, with whom it is for, or with the speaker; the first may say nothing.
fn is_header(words: &str) -> bool {
    let words = words.trim_start();
    words.is_empty() || header_begins().any(|begin| words.starts_with(begin))
}

fn may_be_header(words: &str) -> bool {
    is_header(words) || header_begins().any(|begin| begin.starts_with(words.trim_start()))
}

fn header_begins() -> impl Iterator<Item = &'static str> {
    BEGINS.iter().copied().chain(["assistant", "to="])
}

fn recipient(held: &str, tools: Option<&Tools>) -> Announced {
    let Some(end) = held.find(|character| !is_of_name(character)) else {
        return if held.len() <= HEADER_BYTES_MAX { Announced::More } else { Announced::Nothing };
    };
    let (name, bytes) = (&held[..end], end + 1);
    if !held[end..].starts_with('\n') || end > HEADER_BYTES_MAX {
        Announced::Nothing
    } else if name == "all" {
        Announced::Text { bytes }
    } else if tools.is_some_and(|tools| tools.has(name)) {
        Announced::Call { bytes, name: name.to_owned() }
    } else {
        Announced::Nothing
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::text::markup::{Family, Markup};

    #[track_caller]
    fn check(form: Calls, held: &str, expected: &Announced) {
        let tools = Markup::new(Family::default(), "", &[json!({"name": "f"})]).tools;
        assert_eq!(read(form, held, Some(&tools)), *expected, "{held}");
    }

    #[test]
    fn channels_say_what_follows() {
        let bytes = |header: &str| header.len();
        let header = "<|channel|>analysis<|message|>";
        check(Calls::Harmony, header, &Announced::Reasoning { bytes: bytes(header) });
        let header = "<|start|>assistant<|channel|>final<|message|>";
        check(Calls::Harmony, header, &Announced::Text { bytes: bytes(header) });
        for header in [
            "<|channel|>commentary to=functions.f <|constrain|>json<|message|>",
            " to=functions.f<|channel|>commentary json<|message|>",
            "<|channel|>analysis to=f code<|message|>",
        ] {
            let call = Announced::Call { bytes: bytes(header), name: "f".to_owned() };
            check(Calls::Harmony, header, &call);
        }
        let header = "<|channel|>commentary to=browser.search<|message|>";
        check(Calls::Harmony, header, &Announced::Text { bytes: bytes(header) });
        check(Calls::Harmony, "", &Announced::More);
        check(Calls::Harmony, "<|channel|>ana", &Announced::More);
        check(Calls::Harmony, "Hello", &Announced::Nothing);
        let long = format!("{CHANNEL}{}{MESSAGE}", "a".repeat(HEADER_BYTES_MAX));
        check(Calls::Harmony, &long, &Announced::Nothing);
    }

    #[test]
    fn recipients_say_what_follows() {
        check(Calls::Recipient, "all\nHi", &Announced::Text { bytes: 4 });
        check(Calls::Recipient, "f\n{", &Announced::Call { bytes: 2, name: "f".to_owned() });
        check(Calls::Recipient, "al", &Announced::More);
        for text in [" print(1)", "g\n", "all of it", "\n"] {
            check(Calls::Recipient, text, &Announced::Nothing);
        }
    }
}
