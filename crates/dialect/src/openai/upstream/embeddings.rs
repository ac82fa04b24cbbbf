//! Embeddings of a server: the request, and the answer's vectors.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use worker_protocol::EmbedInput;

use super::{BadPayload, Fields, Request, count};
use crate::limits::DIMENSIONS_MAX;

/// The body that asks for the vectors of these inputs. `model` is the name that the server knows;
/// fields in `drops` are left out. Few servers take texts and token ids in one request, so the
/// inputs should be of one kind.
#[must_use]
pub fn embed(inputs: &[EmbedInput], model: &str, drops: &[String]) -> Request {
    let input = inputs.iter().map(|input| match input {
        EmbedInput::Text(text) => Value::from(text.as_str()),
        EmbedInput::Tokens(tokens) => Value::from(tokens.as_slice()),
    });
    let mut fields = Fields::new(drops);
    fields.set("model", model);
    fields.set("input", input.collect::<Value>());
    // Every server knows this one.
    fields.set("encoding_format", "float");
    Request { path: "/v1/embeddings", body: fields.into_body() }
}

/// What a server computed.
#[derive(Debug, Clone, PartialEq)]
pub struct Vectors {
    /// In the order of the inputs, each of length 1.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens of all inputs.
    pub prompt_tokens: u32,
}

/// The vectors in the answer to a request with `inputs` inputs.
///
/// # Errors
/// One is missing, or is no vector.
pub fn vectors(body: &[u8], inputs: usize) -> Result<Vectors, BadPayload> {
    let bad = |what: &str| BadPayload::new(what, body);
    let answer: Value = serde_json::from_slice(body)
        .map_err(|error| bad(&format!("what is not JSON ({error})")))?;
    let Some(Value::Array(entries)) = answer.get("data") else {
        return Err(bad("an answer without vectors"));
    };
    let mut vectors = vec![None; inputs];
    for (position, entry) in entries.iter().enumerate() {
        let index = entry.get("index").and_then(Value::as_u64);
        let index = index.map_or(Some(position), |index| usize::try_from(index).ok());
        let place = index.and_then(|index| vectors.get_mut(index));
        let place = place.ok_or_else(|| bad("a vector that nobody asked for"))?;
        let vector = entry.get("embedding").and_then(read);
        *place = Some(vector.and_then(of_length_one).ok_or_else(|| bad("what is no vector"))?);
    }
    let prompt_tokens = answer.get("usage").and_then(|usage| usage.get("prompt_tokens"));
    Ok(Vectors {
        vectors: vectors
            .into_iter()
            .collect::<Option<_>>()
            .ok_or_else(|| bad("fewer vectors than were asked for"))?,
        prompt_tokens: prompt_tokens.map_or(0, count),
    })
}

/// A list of numbers, or little-endian `f32`s in base64.
fn read(embedding: &Value) -> Option<Vec<f32>> {
    #[expect(clippy::cast_possible_truncation, reason = "vectors are f32 here")]
    let number = |number: &Value| Some(number.as_f64()? as f32);
    match embedding {
        Value::Array(numbers) => numbers.iter().map(number).collect(),
        Value::String(text) => {
            let bytes = STANDARD.decode(text).ok()?;
            let (numbers, rest) = bytes.as_chunks::<4>();
            let numbers = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            rest.is_empty().then_some(numbers)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

/// The vector in the length that the canonical words promise. Zeros stay zeros: they have no
/// direction.
fn of_length_one(vector: Vec<f32>) -> Option<Vec<f32>> {
    let length = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    if vector.is_empty() || vector.len() > DIMENSIONS_MAX as usize || !length.is_finite() {
        return None;
    }
    if length == 0.0 {
        return Some(vector);
    }
    #[expect(clippy::cast_possible_truncation, reason = "a part of a vector of length 1")]
    Some(vector.into_iter().map(|value| (f64::from(value) / length) as f32).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::openai::embedding;

    #[test]
    fn another_hub_understands_the_request() {
        let inputs = [EmbedInput::Text("a".into()), EmbedInput::Text("b".into())];
        let request = embed(&inputs, "m", &[]);
        assert_eq!(request.path, "/v1/embeddings");
        let read = embedding::decode(&request.body).unwrap();
        assert_eq!((read.model.as_str(), &read.embed.inputs[..]), ("m", &inputs[..]));
        let tokens = [EmbedInput::Tokens(vec![1, 2])];
        let read = embedding::decode(&embed(&tokens, "m", &[]).body).unwrap();
        assert_eq!(read.embed.inputs, tokens);
        let dropped = embed(&tokens, "m", &["encoding_format".to_owned()]);
        assert_eq!(dropped.body, br#"{"model":"m","input":[[1,2]]}"#);
    }

    #[test]
    fn vectors_are_put_in_order_and_made_length_one() {
        let base64 = STANDARD.encode([0.0_f32, 2.0].map(f32::to_le_bytes).concat());
        let body = json!({
            "data": [{ "index": 1, "embedding": base64 }, { "index": 0, "embedding": [3, 4.0] }],
            "usage": { "prompt_tokens": 5 },
        });
        let read = vectors(body.to_string().as_bytes(), 2).unwrap();
        let expected = vec![vec![0.6, 0.8], vec![0.0, 1.0]];
        assert_eq!(read, Vectors { vectors: expected, prompt_tokens: 5 });
    }

    #[test]
    fn an_answer_that_lacks_something_is_bad() {
        for (body, what) in [
            ("", "what is not JSON"),
            ("{}", "an answer without vectors"),
            (r#"{"data":[]}"#, "fewer vectors"),
            (r#"{"data":[{"embedding":[1],"index":1}]}"#, "a vector that nobody asked for"),
            (r#"{"data":[{"embedding":[]}]}"#, "what is no vector"),
            (r#"{"data":[{"embedding":["a"]}]}"#, "what is no vector"),
            (r#"{"data":[{"embedding":[1e300]}]}"#, "what is no vector"),
            (r#"{"data":[{"embedding":"AAAA"}]}"#, "what is no vector"),
            (r#"{"data":[{}]}"#, "what is no vector"),
        ] {
            let error = vectors(body.as_bytes(), 1).unwrap_err().to_string();
            assert!(error.starts_with(&format!("sent {what}")), "{body}: {error}");
        }
    }
}
