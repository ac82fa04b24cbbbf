//! What answers of all dialects have in common.

use serde::Serialize;
use worker_protocol::{Alternative, TokenLogprob};

/// Values of our own structs always have a JSON form: no maps with odd keys, no failing writers.
pub(crate) fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| unreachable!("an answer is JSON: {error}"))
}

/// A token as answers tell it.
#[derive(Debug, Serialize)]
pub(crate) struct Token {
    token: String,
    logprob: f32,
    bytes: Vec<u8>,
    /// An extension: the text of a token does not always say which token it is.
    id: u32,
    /// Only the chosen token has alternatives.
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<Vec<Token>>,
}

impl Token {
    /// A token that was chosen, with its alternatives.
    pub(crate) fn chosen(token: &TokenLogprob) -> Self {
        let top = token.top.iter().map(Self::new).collect();
        Self { top_logprobs: Some(top), ..Self::new(&token.token) }
    }

    fn new(token: &Alternative) -> Self {
        Self {
            token: text(token),
            logprob: logprob(token),
            bytes: token.bytes.clone(),
            id: token.id,
            top_logprobs: None,
        }
    }
}

/// A token's text. Tokens may end inside a character; `bytes` has the truth.
pub(crate) fn text(token: &Alternative) -> String {
    String::from_utf8_lossy(&token.bytes).into_owned()
}

/// JSON has no infinity; OpenAI says -9999 for a token that is as good as impossible.
pub(crate) fn logprob(token: &Alternative) -> f32 {
    if token.logprob.is_finite() { token.logprob } else { -9999.0 }
}

/// An id for a tool call, the same whenever it is asked for.
pub(crate) fn tool_call_id(answer: &str, choice: u32, index: u32) -> String {
    format!("call_{:016x}", tool_call_hash(answer, choice, index))
}

/// What ids of tool calls derive from: a hash (FNV-1a) of the answer's id and the call's place in it.
pub(crate) fn tool_call_hash(answer: &str, choice: u32, index: u32) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let place = [choice.to_le_bytes(), index.to_le_bytes()].concat();
    for byte in answer.bytes().chain(place) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}
