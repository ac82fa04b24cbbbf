//! What a server streams, as canonical events.

use serde_json::Value;
use worker_protocol::{
    Event, Failure, FailureKind, FinishReason, Finished, Piece, ToolCallPiece, Usage,
};

use super::{BadPayload, count, failure, logprobs};
use crate::limits::UPSTREAM_TOOL_CALLS_MAX;

/// The data that ends a stream.
const DONE: &str = "[DONE]";

/// Turns the payloads of one stream into events, of which exactly one is a last one, unless a
/// payload is bad.
#[derive(Debug)]
pub struct Decoder {
    /// Whether log-probabilities were asked for; unasked ones are not passed on.
    logprobs: bool,
    /// The server's number of each tool call, in the order in which they began.
    calls: Vec<u64>,
    reason: Option<FinishReason>,
    usage: Option<Usage>,
    /// Pieces of reasoning, each at least a token: most servers do not count them.
    thoughts: u32,
    ended: bool,
}

impl Decoder {
    /// For one stream; `logprobs` says whether the request asked for them.
    #[must_use]
    pub fn new(logprobs: bool) -> Self {
        Self { logprobs, calls: Vec::new(), reason: None, usage: None, thoughts: 0, ended: false }
    }

    /// The events in the data of one server-sent event.
    ///
    /// # Errors
    /// It is not what this dialect says, and what follows cannot be trusted.
    pub fn data(&mut self, payload: &str) -> Result<Vec<Event>, BadPayload> {
        let payload = payload.trim();
        // An empty one is some server's sign of life.
        if self.ended || payload.is_empty() {
            return Ok(Vec::new());
        }
        if payload == DONE {
            // A server that dies does not say this, so it meant to end even without a reason.
            self.reason.get_or_insert(FinishReason::End);
            return Ok(self.finished().into_iter().collect());
        }
        let bad = |what: &str| BadPayload::new(what, payload.as_bytes());
        let chunk: Value = serde_json::from_str(payload)
            .map_err(|error| bad(&format!("what is not JSON ({error})")))?;
        if let Some(error) = chunk.get("error").filter(|error| !error.is_null()) {
            return Ok(vec![self.failed(error)]);
        }
        let mut events = Vec::new();
        if let Some(choice) = first_choice(&chunk) {
            self.choice(choice, &mut events).map_err(bad)?;
        }
        if let Some(usage @ Value::Object(_)) = chunk.get("usage") {
            self.usage = Some(self::usage(usage));
        }
        // The usage comes in a chunk of its own, after the end of the text.
        if self.usage.is_some() {
            events.extend(self.finished());
        }
        Ok(events)
    }

    /// The events in the data of an event that the server itself calls an error.
    #[must_use]
    pub fn error(&mut self, payload: &str) -> Vec<Event> {
        if self.ended {
            return Vec::new();
        }
        let said = serde_json::from_str::<Value>(payload).unwrap_or_else(|_| payload.into());
        let error = said.get("error").filter(|error| !error.is_null()).unwrap_or(&said);
        vec![self.failed(error)]
    }

    /// The last event of a stream that nothing more comes of; `None` when it was given before.
    #[must_use]
    pub fn end(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        self.finished().or_else(|| {
            self.ended = true;
            let message =
                "closed the connection before its answer was complete; send the request again"
                    .to_owned();
            Some(Event::Failed(Failure { kind: FailureKind::Broken, message }))
        })
    }

    fn choice(&mut self, choice: &Value, events: &mut Vec<Event>) -> Result<(), &'static str> {
        let delta = choice.get("delta").unwrap_or(&Value::Null);
        // Some servers say it under both names.
        let reasoning = text(delta, "reasoning_content").or_else(|| text(delta, "reasoning"));
        let content = text(delta, "content").or_else(|| text(delta, "refusal"));
        let content = content.or_else(|| text(choice, "text")).unwrap_or_default();
        let mut logprobs = match choice.get("logprobs") {
            Some(said) if self.logprobs => logprobs::read(said),
            Some(_) | None => Vec::new(),
        };
        if let Some(text) = reasoning {
            // They belong to the content, unless there is none.
            let ours = if content.is_empty() { std::mem::take(&mut logprobs) } else { Vec::new() };
            self.thoughts = self.thoughts.saturating_add(1);
            events.push(Event::Reasoning(Piece { text: text.to_owned(), logprobs: ours }));
        }
        if !content.is_empty() || !logprobs.is_empty() {
            events.push(Event::Text(Piece { text: content.to_owned(), logprobs }));
        }
        if let Some(Value::Array(calls)) = delta.get("tool_calls") {
            for call in calls {
                events.push(Event::ToolCall(self.tool_call(call)?));
            }
        }
        if let Some(reason) = text(choice, "finish_reason") {
            self.reason = Some(finish_reason(reason));
        }
        Ok(())
    }

    /// Servers number calls; one that does not begins a new one with each name.
    fn tool_call(&mut self, call: &Value) -> Result<ToolCallPiece, &'static str> {
        let function = call.get("function").unwrap_or(&Value::Null);
        let name = text(function, "name");
        let number = match (call.get("index").and_then(Value::as_u64), self.calls.last()) {
            (Some(number), _) => number,
            (None, Some(last)) if name.is_none() => *last,
            (None, Some(last)) => last.saturating_add(1),
            (None, None) => 0,
        };
        let known = self.calls.iter().position(|known| *known == number);
        let position = known.unwrap_or(self.calls.len());
        // Only the first part names the function, whatever the server repeats.
        let name = match (known, name) {
            (Some(_), _) => None,
            (None, None) => return Err("a tool call without a name"),
            (None, Some(_)) if position >= UPSTREAM_TOOL_CALLS_MAX => {
                return Err("more tool calls than any honest answer has");
            }
            (None, Some(name)) => {
                self.calls.push(number);
                Some(name.to_owned())
            }
        };
        let arguments = match function.get("arguments") {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => String::new(),
            Some(object) => object.to_string(),
        };
        Ok(ToolCallPiece { index: u32::try_from(position).unwrap_or(u32::MAX), name, arguments })
    }

    /// The good end, once the server has said why it ended.
    fn finished(&mut self) -> Option<Event> {
        let mut reason = self.reason.take()?;
        // Some servers say "stop" after calls too.
        if reason == FinishReason::End && !self.calls.is_empty() {
            reason = FinishReason::ToolCalls;
        }
        self.ended = true;
        let mut usage = self.usage.unwrap_or_default();
        if usage.reasoning_tokens == 0 {
            usage.reasoning_tokens = self.thoughts.min(usage.completion_tokens);
        }
        Some(Event::Finished(Finished { reason, usage }))
    }

    fn failed(&mut self, error: &Value) -> Event {
        self.ended = true;
        Event::Failed(failure::in_stream(error))
    }
}

/// Only one choice is ever asked for; a chunk with the usage has none.
fn first_choice(chunk: &Value) -> Option<&Value> {
    let choices = chunk.get("choices")?.as_array()?;
    choices.iter().find(|choice| choice.get("index").and_then(Value::as_u64).unwrap_or(0) == 0)
}

/// A text that says something.
fn text<'v>(object: &'v Value, key: &str) -> Option<&'v str> {
    object.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// A filter's cut and words of vendors that mean nothing here end a text like its own end.
fn finish_reason(word: &str) -> FinishReason {
    match word {
        "length" => FinishReason::Length,
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        _ => FinishReason::End,
    }
}

/// What it took; the times are the hub's to measure.
fn usage(usage: &Value) -> Usage {
    let detail =
        |details, key| usage.get(details).and_then(|details| details.get(key)).map_or(0, count);
    let completion_tokens = usage.get("completion_tokens").map_or(0, count);
    let reasoning_tokens = detail("completion_tokens_details", "reasoning_tokens");
    Usage {
        prompt_tokens: usage.get("prompt_tokens").map_or(0, count),
        cached_tokens: detail("prompt_tokens_details", "cached_tokens"),
        completion_tokens,
        reasoning_tokens: reasoning_tokens.min(completion_tokens),
        ..Usage::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const USAGE: &str = r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":3}}}"#;

    /// Short names for events; each stream ends with its last one.
    fn decode(payloads: &[&str]) -> Vec<String> {
        let mut decoder = Decoder::new(false);
        let mut events: Vec<Event> =
            payloads.iter().flat_map(|payload| decoder.data(payload).unwrap()).collect();
        events.extend(decoder.end());
        events.iter().map(short).collect()
    }

    fn short(event: &Event) -> String {
        match event {
            Event::Text(piece) => format!("text {}", piece.text),
            Event::Reasoning(piece) => format!("reasoning {}", piece.text),
            Event::ToolCall(call) => {
                format!("call {} {:?} {}", call.index, call.name, call.arguments)
            }
            Event::Finished(finished) => {
                let Usage { prompt_tokens, cached_tokens, completion_tokens, .. } = finished.usage;
                format!("{:?} {prompt_tokens} {cached_tokens} {completion_tokens}", finished.reason)
            }
            Event::Failed(failure) => format!("{:?} {}", failure.kind, failure.message),
            Event::Progress { .. } | Event::Embedded { .. } | Event::Ranked { .. } => {
                format!("{event:?}")
            }
        }
    }

    fn delta(delta: &Value) -> String {
        json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": null }] }).to_string()
    }

    fn end(reason: &str) -> String {
        json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] }).to_string()
    }

    #[track_caller]
    fn check(payloads: &[&str], events: &[&str]) {
        assert_eq!(decode(payloads), events);
    }

    #[test]
    fn a_stream_of_llama_server() {
        check(
            &[
                r#"{"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],"model":"x"}"#,
                &delta(&json!({ "reasoning_content": "hm" })),
                &delta(&json!({ "content": "a" })),
                &delta(&json!({ "content": "b" })),
                &end("stop"),
                r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2},"timings":{"prompt_n":4}}"#,
                "[DONE]",
            ],
            &["reasoning hm", "text a", "text b", "End 7 0 2"],
        );
    }

    #[test]
    fn a_raw_completion() {
        check(
            &[
                r#"{"choices":[{"text":"a","index":0,"finish_reason":null}]}"#,
                r#"{"choices":[{"text":"","index":0,"finish_reason":"length"}]}"#,
                USAGE,
                "[DONE]",
            ],
            &["text a", "Length 7 3 2"],
        );
    }

    #[test]
    fn both_names_of_reasoning_are_one() {
        let both = delta(&json!({ "reasoning_content": "hm", "reasoning": "hm" }));
        let newer = delta(&json!({ "reasoning": "so" }));
        check(
            &[&both, &newer, &end("stop"), USAGE],
            &["reasoning hm", "reasoning so", "End 7 3 2"],
        );
    }

    #[test]
    fn parts_of_calls_belong_together_by_their_number() {
        let part = |index: u32, name: Option<&str>, arguments: &str| {
            delta(&json!({ "tool_calls": [{ "index": index, "id": "x", "type": "function",
                            "function": { "name": name, "arguments": arguments } }] }))
        };
        check(
            &[
                &part(4, Some("f"), ""),
                &part(4, None, "{}"),
                &part(9, Some("g"), "{\"a\":"),
                &part(9, Some("g"), "1}"),
                &end("tool_calls"),
                USAGE,
            ],
            &[
                "call 0 Some(\"f\") ",
                "call 0 None {}",
                "call 1 Some(\"g\") {\"a\":",
                "call 1 None 1}",
                "ToolCalls 7 3 2",
            ],
        );
    }

    #[test]
    fn calls_without_numbers_and_with_objects_are_told_apart_by_their_names() {
        let whole = json!({ "tool_calls": [
            { "function": { "name": "f", "arguments": { "a": 1 } } },
            { "function": { "name": "g" } },
            { "function": { "arguments": "{}" } },
        ] });
        check(
            &[&delta(&whole), &end("stop"), USAGE],
            &[
                "call 0 Some(\"f\") {\"a\":1}",
                "call 1 Some(\"g\") ",
                "call 1 None {}",
                "ToolCalls 7 3 2",
            ],
        );
    }

    #[test]
    fn calls_without_a_name_or_without_end_are_refused() {
        let nameless = delta(&json!({ "tool_calls": [{ "index": 0, "function": {} }] }));
        let error = Decoder::new(false).data(&nameless).unwrap_err();
        assert!(error.to_string().starts_with("sent a tool call without a name: {"), "{error}");
        let call = |index| json!({ "index": index, "function": { "name": "f" } });
        let many: Vec<Value> = (0..=UPSTREAM_TOOL_CALLS_MAX).map(call).collect();
        let many = delta(&json!({ "tool_calls": many }));
        assert!(
            Decoder::new(false).data(&many).unwrap_err().to_string().contains("more tool calls")
        );
    }

    #[test]
    fn other_choices_and_wrong_types_are_passed_over() {
        check(
            &[
                r#"{"choices":[{"index":1,"delta":{"content":"other"}},{"index":0,"delta":{"content":"a"}}]}"#,
                r#"{"choices":[{"delta":{"content":["b"],"tool_calls":"c"}}],"usage":null}"#,
                r#"{"choices":7}"#,
                "[1]",
                "",
                &end("content_filter"),
                USAGE,
            ],
            &["text a", "End 7 3 2"],
        );
    }

    #[test]
    fn thoughts_are_counted_by_the_server_or_else_by_their_pieces() {
        let thought = delta(&json!({ "reasoning_content": "hm" }));
        let told = |details: Value| {
            let usage = json!({ "completion_tokens": 9, "completion_tokens_details": details });
            let usage = json!({ "choices": [], "usage": usage }).to_string();
            let mut decoder = Decoder::new(false);
            let payloads = [&thought, &thought, &end("stop"), &usage];
            let events = payloads.iter().flat_map(|payload| decoder.data(payload).unwrap());
            match events.last() {
                Some(Event::Finished(finished)) => finished.usage.reasoning_tokens,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(told(Value::Null), 2);
        assert_eq!(told(json!({ "reasoning_tokens": 7 })), 7);
        assert_eq!(told(json!({ "reasoning_tokens": 70 })), 9);
    }

    #[test]
    fn the_end_needs_no_usage_and_the_done_no_reason() {
        check(&[&delta(&json!({ "content": "a" })), &end("stop")], &["text a", "End 0 0 0"]);
        check(&[&delta(&json!({ "content": "a" })), "[DONE]", "later"], &["text a", "End 0 0 0"]);
    }

    #[test]
    fn a_stream_that_stops_is_broken() {
        let broken =
            "Broken closed the connection before its answer was complete; send the request again";
        check(&[&delta(&json!({ "content": "a" }))], &["text a", broken]);
        check(&[], &[broken]);
    }

    #[test]
    fn an_error_in_the_stream_ends_it_in_each_servers_form() {
        let objects = r#"{"error":{"message":"bang","type":"server_error","code":null}}"#;
        check(&[objects, "[DONE]"], &["Broken broke off with an error: bang"]);
        check(&[r#"{"error":"died"}"#], &["Broken broke off with an error: died"]);
        let figures = r#"{"error":{"code":400,"message":"long","n_prompt_tokens":9,"n_ctx":8}}"#;
        let expected =
            "ContextLength { prompt_tokens: 9, context_tokens: 8 } broke off with an error: long";
        check(&[figures], &[expected]);
        for named in [r#"{"code":500,"message":"bang"}"#, r#"{"error":{"message":"bang"}}"#] {
            let mut decoder = Decoder::new(false);
            let events: Vec<String> = decoder.error(named).iter().map(short).collect();
            assert_eq!(events, ["Broken broke off with an error: bang"]);
            assert!(decoder.error("again").is_empty() && decoder.end().is_none());
        }
    }

    #[test]
    fn what_is_not_json_is_bad() {
        let error = Decoder::new(false).data("{\"choices\"").unwrap_err();
        assert!(error.to_string().starts_with("sent what is not JSON ("), "{error}");
    }

    #[test]
    fn logprobs_come_with_their_text_when_asked_for() {
        let chunk = json!({ "choices": [{ "delta": { "content": "a" }, "logprobs": { "content": [
            { "token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": [] },
        ] } }] })
        .to_string();
        let pieces = |asked| match &Decoder::new(asked).data(&chunk).unwrap()[..] {
            [Event::Text(piece)] => piece.logprobs.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!((pieces(true), pieces(false)), (1, 0));
    }
}
