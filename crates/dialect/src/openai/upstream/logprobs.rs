//! Log-probabilities, in chat's form and in the older one of raw completions.

use serde_json::Value;
use worker_protocol::{Alternative, TokenLogprob};

/// The tokens of one chunk. Whatever is not in one of the two forms gives none.
pub(super) fn read(logprobs: &Value) -> Vec<TokenLogprob> {
    if let Some(Value::Array(tokens)) = logprobs.get("content") {
        return tokens.iter().map(of_chat).collect();
    }
    let list =
        |key: &str| logprobs.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let tops = list("top_logprobs").iter().map(Some).chain(std::iter::repeat(None));
    let tokens = list("tokens").iter().zip(list("token_logprobs")).zip(tops);
    tokens
        .map(|((token, logprob), top)| TokenLogprob {
            token: alternative(token, logprob),
            top: top.and_then(Value::as_object).map_or_else(Vec::new, |top| {
                let mut top: Vec<Alternative> = top
                    .iter()
                    .map(|(token, logprob)| alternative(&Value::from(token.as_str()), logprob))
                    .collect();
                top.sort_by(|a, b| b.logprob.total_cmp(&a.logprob));
                top
            }),
        })
        .collect()
}

fn of_chat(token: &Value) -> TokenLogprob {
    let top = token.get("top_logprobs").and_then(Value::as_array);
    let top = top.into_iter().flatten().map(with_bytes).collect();
    TokenLogprob { token: with_bytes(token), top }
}

/// Chat's form has the token's bytes, and llama-server and this hub say its id.
fn with_bytes(token: &Value) -> Alternative {
    let mut said = alternative(field(token, "token"), field(token, "logprob"));
    if let Some(Value::Array(bytes)) = token.get("bytes") {
        let bytes = bytes.iter().map(|byte| byte.as_u64().and_then(|byte| u8::try_from(byte).ok()));
        if let Some(bytes) = bytes.collect() {
            said.bytes = bytes;
        }
    }
    said.id = token.get("id").map_or(0, super::count);
    said
}

/// A token that is known by its text alone has the id 0, for a server does not say more.
fn alternative(token: &Value, logprob: &Value) -> Alternative {
    let bytes = token.as_str().unwrap_or_default().as_bytes().to_vec();
    #[expect(clippy::cast_possible_truncation, reason = "log-probabilities are f32 here")]
    let logprob = logprob.as_f64().map_or(f32::NEG_INFINITY, |logprob| logprob as f32);
    Alternative { id: 0, bytes, logprob }
}

fn field<'v>(object: &'v Value, key: &str) -> &'v Value {
    object.get(key).unwrap_or(&Value::Null)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn token(id: u32, bytes: &[u8], logprob: f32) -> Alternative {
        Alternative { id, bytes: bytes.to_vec(), logprob }
    }

    #[test]
    fn chats_form() {
        let said = json!({ "content": [
            { "token": "\u{fffd}", "logprob": -0.5, "bytes": [240, 159], "id": 7, "top_logprobs": [
                { "token": "x", "logprob": -1.5 },
            ] },
            { "token": "y", "logprob": null, "bytes": [999] },
        ] });
        let expected = [
            TokenLogprob { token: token(7, &[240, 159], -0.5), top: vec![token(0, b"x", -1.5)] },
            TokenLogprob { token: token(0, b"y", f32::NEG_INFINITY), top: Vec::new() },
        ];
        assert_eq!(read(&said), expected);
    }

    #[test]
    fn the_older_form() {
        let said = json!({
            "tokens": ["a", "b"], "token_logprobs": [-0.5, -2.0],
            "top_logprobs": [{ "c": -3.0, "a": -0.5 }], "text_offset": [0, 1],
        });
        let expected = [
            TokenLogprob {
                token: token(0, b"a", -0.5),
                top: vec![token(0, b"a", -0.5), token(0, b"c", -3.0)],
            },
            TokenLogprob { token: token(0, b"b", -2.0), top: Vec::new() },
        ];
        assert_eq!(read(&said), expected);
        assert_eq!(read(&json!(null)), []);
        assert_eq!(read(&json!({ "content": null, "tokens": 3 })), []);
    }
}
