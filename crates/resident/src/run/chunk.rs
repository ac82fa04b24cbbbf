//! One chunk of a streamed answer, as far as a chat shows it.
//!
//! Pure: the JSON of one event in, what it says out.

use serde::Deserialize;

/// What a chunk says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Chunk {
    /// Text of the answer.
    pub(crate) text: String,
    /// Text of the model's reasoning.
    pub(crate) reasoning: String,
    /// Why the answer ended, in OpenAI's word.
    pub(crate) finish: Option<String>,
}

/// Reads the data of one event; `None` for the mark that ends a stream.
///
/// # Errors
/// The hub's own message when the event says that the answer failed, or what is wrong with it.
pub(crate) fn parse(data: &str) -> Result<Option<Chunk>, String> {
    if data.trim() == "[DONE]" {
        return Ok(None);
    }
    let wire: Wire = serde_json::from_str(data)
        .map_err(|error| format!("the hub sent a chunk that makes no sense: {error}"))?;
    if let Some(error) = wire.error {
        return Err(error.message);
    }
    let mut chunk = Chunk::default();
    if let Some(choice) = wire.choices.into_iter().next() {
        chunk.text = choice.delta.content.unwrap_or_default();
        chunk.reasoning = choice.delta.reasoning_content.unwrap_or_default();
        chunk.finish = choice.finish_reason;
    }
    Ok(Some(chunk))
}

#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    choices: Vec<Choice>,
    error: Option<WireError>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Delta,
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct Delta {
    content: Option<String>,
    reasoning_content: Option<String>,
}

#[derive(Deserialize)]
struct WireError {
    message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_of_an_answer() {
        let text = r#"{"id":"x","object":"chat.completion.chunk","choices":[
            {"index":0,"delta":{"role":"assistant","content":"Hi"},"finish_reason":null}],"new":1}"#;
        let chunk = parse(text).unwrap().unwrap();
        assert_eq!((chunk.text.as_str(), chunk.finish), ("Hi", None));

        let last = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
        assert_eq!(parse(last).unwrap().unwrap().finish.as_deref(), Some("stop"));

        let reasoning = r#"{"choices":[{"delta":{"reasoning_content":"hm","content":null}}]}"#;
        assert_eq!(parse(reasoning).unwrap().unwrap().reasoning, "hm");
        assert_eq!(parse("[DONE]"), Ok(None));
    }

    #[test]
    fn a_failure_in_the_stream_is_an_error() {
        let text = r#"{"error":{"message":"the worker died","type":"server_error","param":null,"code":null}}"#;
        assert_eq!(parse(text), Err("the worker died".to_owned()));
        assert!(parse("<html>").unwrap_err().contains("makes no sense"));
    }
}
