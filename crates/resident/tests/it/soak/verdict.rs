//! Whether two answers to one prompt differ by rounding or by a wrong cache.
//!
//! llama.cpp rounds otherwise with the number of rows of a step and with the place of cells, so that
//! what was restored and what was computed anew agree to some digits only, and greedy text may part
//! where two tokens are as likely. So not the texts alone are compared but the log-probabilities of all
//! tokens: they may differ by a bound that is measured ([`Noise`]), and texts may part only where the
//! uncached answer itself has the two tokens that near.

use std::fmt;
use std::ops::AddAssign;

use serde_json::Value;

/// Alternatives that every answer tells of each token.
pub(crate) const ALTERNATIVES: usize = 5;

/// The bound on rounding is so many times the largest difference that was measured: a few prompts have
/// not seen the largest one there is.
const OWN_DIFFERENCES: f64 = 5.0;

/// A token of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    /// Its number where the answer tells it, else its text.
    name: String,
    /// What it stands for.
    bytes: Vec<u8>,
    logprob: f64,
    /// The likeliest tokens in its place.
    top: Vec<(String, f64)>,
}

impl Token {
    /// The largest difference between the log-probabilities that both know for this place.
    fn distance(&self, other: &Self) -> f64 {
        let both = self.top.iter().filter_map(|(name, logprob)| {
            let (_, others) = other.top.iter().find(|(known, _)| known == name)?;
            Some((logprob - others).abs())
        });
        both.fold(0.0, f64::max)
    }
}

/// Tokens of a prompt that did not have to be computed, by the tier they came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Hits {
    pub(crate) live: u64,
    pub(crate) ram: u64,
    pub(crate) ssd: u64,
}

impl Hits {
    pub(crate) fn tokens(self) -> u64 {
        self.live + self.ram + self.ssd
    }
}

impl AddAssign for Hits {
    fn add_assign(&mut self, other: Self) {
        self.live += other.live;
        self.ram += other.ram;
        self.ssd += other.ssd;
    }
}

/// An answer, as far as it was read.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Said {
    pub(crate) text: String,
    /// None when the answer was asked for without them.
    pub(crate) tokens: Vec<Token>,
    /// Known at the end.
    pub(crate) prompt_tokens: u64,
    pub(crate) hits: Hits,
    /// Whether it was read to its end.
    pub(crate) is_whole: bool,
}

impl Said {
    /// A whole answer, of chat or of raw text.
    pub(crate) fn whole(answer: &Value) -> Self {
        let mut said = Self { is_whole: true, ..Self::default() };
        said.add(answer);
        said.prompt_tokens = answer["usage"]["prompt_tokens"].as_u64().unwrap();
        said
    }

    /// Takes what an event of a stream, or a whole answer, says.
    pub(crate) fn add(&mut self, event: &Value) {
        let choice = &event["choices"][0];
        let text = [&choice["text"], &choice["delta"]["content"], &choice["message"]["content"]];
        let text = text.into_iter().find_map(Value::as_str);
        self.text += text.unwrap_or_default();
        self.tokens.extend(tokens(&choice["logprobs"]));
        let by = &event["timings"]["cached_by"];
        if by.is_object() {
            let of = |tier: &str| by[tier].as_u64().unwrap();
            self.hits = Hits { live: of("live"), ram: of("ram"), ssd: of("ssd") };
        }
    }
}

/// The tokens of one list, in either of the two forms that OpenAI has for it.
fn tokens(logprobs: &Value) -> Vec<Token> {
    if let Some(content) = logprobs["content"].as_array() {
        return content.iter().map(chat_token).collect();
    }
    let Some(texts) = logprobs["tokens"].as_array() else { return Vec::new() };
    let token = |(index, text): (usize, &Value)| {
        let top = logprobs["top_logprobs"][index].as_object().unwrap();
        Token {
            name: text.as_str().unwrap().to_owned(),
            bytes: raw_bytes(text.as_str().unwrap()),
            logprob: logprobs["token_logprobs"][index].as_f64().unwrap(),
            top: top.iter().map(|(name, value)| (name.clone(), value.as_f64().unwrap())).collect(),
        }
    };
    texts.iter().enumerate().map(token).collect()
}

/// The bytes of a token of a raw completion, which names those that are no text as `bytes:\xe4`.
fn raw_bytes(name: &str) -> Vec<u8> {
    let Some(escaped) = name.strip_prefix("bytes:\\x") else { return name.as_bytes().to_vec() };
    escaped.split("\\x").map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn chat_token(token: &Value) -> Token {
    let name = |token: &Value| token["id"].to_string();
    let logprob = |token: &Value| token["logprob"].as_f64().unwrap();
    let top = token["top_logprobs"].as_array().unwrap().iter();
    let bytes = token["bytes"].as_array().unwrap().iter();
    Token {
        name: name(token),
        bytes: bytes.map(|byte| u8::try_from(byte.as_u64().unwrap()).unwrap()).collect(),
        logprob: logprob(token),
        top: top.map(|token| (name(token), logprob(token))).collect(),
    }
}

/// By how much rounding moves log-probabilities of one model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Noise {
    /// The largest difference that was measured.
    measured: f64,
}

impl Noise {
    /// From pairs of answers of which is known that they are to the same prompt by the same weights,
    /// computed in steps of other sizes.
    ///
    /// # Panics
    /// When the pairs say nothing.
    pub(crate) fn measure<'a>(pairs: impl IntoIterator<Item = (&'a Said, &'a Said)>) -> Self {
        let mut measured: f64 = 0.0;
        let mut compared = 0;
        for (one, other) in pairs {
            let same = one.tokens.iter().zip(&other.tokens).take_while(|(a, b)| a.name == b.name);
            for (one, other) in same {
                measured = measured.max(one.distance(other));
                compared += 1;
            }
        }
        assert!(compared > 0, "no pair of tokens was compared");
        Self { measured }
    }

    /// The larger of a log-probability's difference that rounding explains.
    pub(crate) fn bound(self) -> f64 {
        // Answers tell log-probabilities in 32 bits, which is the least that they differ by.
        OWN_DIFFERENCES * self.measured.max(f64::from(f32::EPSILON))
    }
}

impl fmt::Display for Noise {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:.1e} measured, {:.1e} allowed", self.measured, self.bound())
    }
}

/// What a comparison came to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    /// So many tokens were compared, and their log-probabilities differ by this at most.
    Equal { tokens: usize, worst: f64 },
    /// After so many equal tokens two were as likely, by this difference.
    Tie { tokens: usize, gap: f64 },
    /// Rounding does not explain it.
    Wrong(String),
}

/// Compares an answer with the one that nothing was cached for.
pub(crate) fn compare(ours: &Said, twin: &Said, noise: Noise) -> Verdict {
    if ours.tokens.is_empty() {
        return compare_texts(ours, twin, noise);
    }
    let mut worst: f64 = 0.0;
    for (index, (our, their)) in ours.tokens.iter().zip(&twin.tokens).enumerate() {
        let by = our.distance(their);
        if by > noise.bound() {
            return Verdict::Wrong(format!(
                "log-probabilities in the place of token {index} are off by {by:.1e}: {our:?} and not \
                 {their:?}"
            ));
        }
        worst = worst.max(by);
        if our.name != their.name {
            return parted(index, &our.name, their, noise);
        }
    }
    let (have, of) = (ours.tokens.len(), twin.tokens.len());
    if have > of || (ours.is_whole && have < of) {
        return Verdict::Wrong(format!("it has {have} tokens and not {of}"));
    }
    Verdict::Equal { tokens: have, worst }
}

/// The answers part at this token. Each of the two log-probabilities may be off by the bound.
fn parted(index: usize, name: &str, their: &Token, noise: Noise) -> Verdict {
    let found = their.top.iter().find(|(theirs, _)| theirs == name);
    match found.map(|(_, logprob)| their.logprob - logprob) {
        Some(gap) if gap <= 2.0 * noise.bound() => Verdict::Tie { tokens: index, gap },
        Some(gap) => Verdict::Wrong(format!(
            "token {index} is {name:?} and not {:?}, which is likelier by {gap:.1e}",
            their.name
        )),
        None => Verdict::Wrong(format!(
            "token {index} is {name:?}, which is none of the {ALTERNATIVES} likeliest; {:?} is",
            their.name
        )),
    }
}

/// Where only texts are known, they may part only where the likeliest token of the other answer leads
/// by as little.
fn compare_texts(ours: &Said, twin: &Said, noise: Noise) -> Verdict {
    let is_equal =
        if ours.is_whole { ours.text == twin.text } else { twin.text.starts_with(&ours.text) };
    if is_equal {
        let tokens = if ours.is_whole { twin.tokens.len() } else { 0 };
        return Verdict::Equal { tokens, worst: 0.0 };
    }
    let lead = |token: &Token| {
        let others = token.top.iter().filter(|(name, _)| *name != token.name);
        let next = others.map(|(_, logprob)| *logprob).fold(f64::NEG_INFINITY, f64::max);
        token.logprob - next
    };
    let parting = parting_tokens(&ours.text, twin);
    let smallest = parting.clone().map(|index| lead(&twin.tokens[index])).fold(f64::MAX, f64::min);
    if smallest <= 2.0 * noise.bound() {
        return Verdict::Tie { tokens: parting.start, gap: smallest };
    }
    Verdict::Wrong(format!(
        "it is {:?} and not {:?}; they part at token {parting:?}, where the likeliest leads by \
         {smallest:.1e}",
        ours.text, twin.text
    ))
}

/// Which tokens of the twin the text may part at: of those within one character the text does not say
/// which, and what stands for bytes that are no text looks alike whatever they were.
fn parting_tokens(text: &str, twin: &Said) -> std::ops::Range<usize> {
    let (mut bytes, mut begin) = (Vec::new(), 0);
    for (index, token) in twin.tokens.iter().enumerate() {
        let before = bytes.len();
        bytes.extend(&token.bytes);
        let is_whole = whole_characters(&bytes[..before]).len() == before;
        let is_text = !String::from_utf8_lossy(&bytes[..before]).ends_with('\u{fffd}');
        if is_whole && is_text {
            begin = index;
        }
        let so_far = String::from_utf8_lossy(whole_characters(&bytes));
        if !text.starts_with(&*so_far) {
            return begin..index + 1;
        }
    }
    begin..twin.tokens.len()
}

/// Without the beginning of a character that is not all there.
fn whole_characters(bytes: &[u8]) -> &[u8] {
    let cut = bytes.utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
    let is_begun = std::str::from_utf8(cut).is_err_and(|error| error.error_len().is_none());
    if is_begun { &bytes[..bytes.len() - cut.len()] } else { bytes }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(tokens: &[(&str, f64)], next: (&str, f64)) -> Said {
        let token = |(name, logprob): &(&str, f64)| Token {
            name: (*name).to_owned(),
            bytes: name.as_bytes().to_vec(),
            logprob: *logprob,
            top: vec![((*name).to_owned(), *logprob), (next.0.to_owned(), next.1)],
        };
        Said {
            text: tokens.iter().map(|(name, _)| *name).collect(),
            tokens: tokens.iter().map(token).collect(),
            is_whole: true,
            ..Said::default()
        }
    }

    const NOISE: Noise = Noise { measured: 0.01 };

    #[test]
    fn rounding_is_forgiven_and_nothing_else() {
        let twin = said(&[("a", -1.0), ("b", -1.0)], ("c", -1.05));
        let verdict = |tokens: &[(&str, f64)]| compare(&said(tokens, ("c", -1.06)), &twin, NOISE);
        assert!(matches!(verdict(&[("a", -1.03), ("b", -1.0)]), Verdict::Equal { tokens: 2, .. }));
        assert!(matches!(verdict(&[("a", -1.06), ("b", -1.0)]), Verdict::Wrong(_)));
        let tie = said(&[("a", -1.0), ("c", -1.02)], ("b", -1.03));
        assert!(matches!(compare(&tie, &twin, NOISE), Verdict::Tie { tokens: 1, .. }));
        // Where the two are as near by chance, the other alternatives tell.
        let chance = said(&[("a", -1.0), ("c", -1.02)], ("b", -1.2));
        assert!(matches!(compare(&chance, &twin, NOISE), Verdict::Wrong(_)));
        assert!(matches!(verdict(&[("a", -1.0), ("d", -1.0)]), Verdict::Wrong(_)));
        assert!(matches!(verdict(&[("a", -1.0)]), Verdict::Wrong(_)));
        let far = said(&[("a", -1.0), ("b", -1.0)], ("c", -1.2));
        let ours = said(&[("a", -1.0), ("c", -1.0)], ("z", -9.0));
        assert!(matches!(compare(&ours, &far, NOISE), Verdict::Wrong(_)));
    }

    #[test]
    fn texts_alone_part_only_where_the_twin_was_in_doubt() {
        let text =
            |text: &str, is_whole| Said { text: text.to_owned(), is_whole, ..Said::default() };
        let near = said(&[("a", -1.0), ("b", -1.0)], ("c", -1.05));
        let far = said(&[("a", -1.0), ("b", -1.0)], ("c", -3.0));
        assert!(matches!(
            compare(&text("ab", true), &far, NOISE),
            Verdict::Equal { tokens: 2, .. }
        ));
        assert!(matches!(
            compare(&text("a", false), &far, NOISE),
            Verdict::Equal { tokens: 0, .. }
        ));
        assert!(matches!(compare(&text("a", true), &far, NOISE), Verdict::Wrong(_)));
        assert!(matches!(compare(&text("ac", true), &near, NOISE), Verdict::Tie { tokens: 1, .. }));
        assert!(matches!(compare(&text("ac", true), &far, NOISE), Verdict::Wrong(_)));
    }

    #[test]
    fn a_text_that_parts_within_a_character_may_part_at_each_of_its_tokens() {
        let mut twin = said(&[("a", -1.0), ("x", -1.0), ("y", -1.0), ("b", -1.0)], ("c", -3.0));
        twin.tokens[1].bytes = vec![0xc3];
        twin.tokens[2].bytes = vec![0xa9];
        twin.text = "a\u{e9}b".to_owned();
        assert_eq!(parting_tokens("a\u{e8}b", &twin), 1..3);
        assert_eq!(parting_tokens("a\u{e9}c", &twin), 3..4);
        assert_eq!(parting_tokens("b", &twin), 0..1);
    }

    #[test]
    fn a_text_that_parts_behind_bytes_that_are_no_text_may_part_at_them() {
        let mut twin = said(&[("a", -1.0), ("x", -1.0), ("b", -1.0), ("d", -1.0)], ("c", -3.0));
        twin.tokens[1].bytes = vec![0xff];
        twin.text = "a\u{fffd}bd".to_owned();
        assert_eq!(parting_tokens("a\u{fffd}cd", &twin), 1..3);
        assert_eq!(parting_tokens("a\u{fffd}be", &twin), 3..4, "what followed was the same");
        assert_eq!(parting_tokens("abd", &twin), 1..2);
    }

    #[test]
    fn both_forms_of_an_answer_are_read() {
        let chat = json!({
            "choices": [{"message": {"content": "hi"}, "logprobs": {"content": [
                {"token": "hi", "id": 7, "bytes": [104, 105], "logprob": -0.5, "top_logprobs": [
                    {"token": "hi", "id": 7, "bytes": [104, 105], "logprob": -0.5}]}]}}],
            "usage": {"prompt_tokens": 9}, "timings": {"cached_by": {"live": 1, "ram": 2, "ssd": 3}}
        });
        let said = Said::whole(&chat);
        assert_eq!((said.text.as_str(), said.prompt_tokens, said.hits.tokens()), ("hi", 9, 6));
        assert_eq!(said.tokens[0].name, "7");
        let raw = json!({"choices": [{"text": "hi", "logprobs": {"tokens": ["hi"],
            "token_logprobs": [-0.5], "top_logprobs": [{"hi": -0.5, "ho": -1.5}]}}]});
        let mut said = Said::default();
        said.add(&raw);
        assert_eq!(said.tokens[0].top.len(), 2);
        assert!(!said.is_whole);
    }
}
