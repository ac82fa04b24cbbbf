//! What a worker says, written in each dialect and read again, is what it said; and every stream has one
//! end, however it went.
//!
//! The readers here know only what a vendor's documentation promises to its clients. That of OpenAI's
//! chat is the one with which the hub reads servers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::time::Duration;

use dialect::{
    Encode, anthropic,
    llama_server::infill,
    ollama::{self, Form},
    openai::{chat, completion, responses, upstream},
};
use proptest::prelude::*;
use serde_json::Value;
use worker_protocol::{
    Event, Failure, FailureKind, FinishReason, Finished, Piece, ToolCallPiece, Usage,
};

/// What a client has understood of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    reasoning: String,
    text: String,
    /// Name and arguments.
    calls: Vec<(String, String)>,
    /// How it ended, each time that it did.
    ends: Vec<End>,
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    /// In the dialect's word, with tokens of the prompt and of the answer.
    Finished(String, u32, u32),
    Failed(String),
}

impl Heard {
    /// What a client should understand of these events. `word` is the dialect's for a reason.
    fn of(events: &[Event], word: impl Fn(&FinishReason) -> &'static str) -> Self {
        let mut heard = Self::default();
        for event in events {
            match event {
                Event::Progress { .. } | Event::Embedded { .. } | Event::Ranked { .. } => {}
                Event::Text(piece) => heard.text.push_str(&piece.text),
                Event::Reasoning(piece) => heard.reasoning.push_str(&piece.text),
                Event::ToolCall(piece) => {
                    if let Some(name) = &piece.name {
                        heard.calls.push((name.clone(), String::new()));
                    }
                    heard.calls.last_mut().unwrap().1.push_str(&piece.arguments);
                }
                Event::Finished(Finished { reason, usage }) => heard.ends.push(End::Finished(
                    word(reason).to_owned(),
                    usage.prompt_tokens,
                    usage.completion_tokens,
                )),
                Event::Failed(failure) => heard.ends.push(End::Failed(failure.message.clone())),
            }
        }
        heard
    }

    /// Of a dialect that knows neither reasoning nor tools: all that was said is text.
    fn without_calls(mut self) -> Self {
        self.calls.clear();
        self
    }

    fn ended(&mut self, reason: &Value, prompt: &Value, answer: &Value) {
        let count = |tokens: &Value| u32::try_from(tokens.as_u64().unwrap()).unwrap();
        let reason = reason.as_str().unwrap().to_owned();
        self.ends.push(End::Finished(reason, count(prompt), count(answer)));
    }
}

fn openai_word(reason: &FinishReason) -> &'static str {
    match reason {
        FinishReason::End | FinishReason::StopString(_) | FinishReason::Cancelled => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
    }
}

fn ollama_word(reason: &FinishReason) -> &'static str {
    match reason {
        FinishReason::Length => "length",
        FinishReason::End
        | FinishReason::StopString(_)
        | FinishReason::ToolCalls
        | FinishReason::Cancelled => "stop",
    }
}

fn llama_server_word(reason: &FinishReason) -> &'static str {
    match reason {
        FinishReason::End | FinishReason::ToolCalls => "eos",
        FinishReason::StopString(_) => "word",
        FinishReason::Length => "limit",
        FinishReason::Cancelled => "none",
    }
}

fn responses_word(reason: &FinishReason) -> &'static str {
    match reason {
        FinishReason::Length => "max_output_tokens",
        FinishReason::End
        | FinishReason::StopString(_)
        | FinishReason::ToolCalls
        | FinishReason::Cancelled => "completed",
    }
}

fn anthropic_word(reason: &FinishReason) -> &'static str {
    match reason {
        FinishReason::End | FinishReason::Cancelled => "end_turn",
        FinishReason::StopString(_) => "stop_sequence",
        FinishReason::Length => "max_tokens",
        FinishReason::ToolCalls => "tool_use",
    }
}

fn value(payload: &str) -> Value {
    serde_json::from_str(payload).unwrap()
}

fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn openai_chat(events: &[Event]) -> Heard {
    let body = br#"{"model":"m","messages":[{"role":"user","content":"a"}],"stream":true,
                    "stream_options":{"include_usage":true}}"#;
    let request = chat::decode(body).unwrap();
    let mut encoder = chat::StreamEncoder::new(&request, "id", 1, "m");
    let mut payloads = Vec::new();
    events.iter().for_each(|event| encoder.event(0, event, &mut payloads));
    encoder.finish(&mut payloads);
    let mut decoder = upstream::Decoder::new(false);
    let mut read: Vec<Event> =
        payloads.iter().flat_map(|payload| decoder.data(payload).unwrap()).collect();
    read.extend(decoder.end());
    let mut heard = Heard::of(&read, openai_word);
    for end in &mut heard.ends {
        // It says of an error where it came from.
        if let End::Failed(message) = end {
            *message = message.trim_start_matches("broke off with an error: ").to_owned();
        }
    }
    heard
}

fn openai_completion(events: &[Event]) -> Heard {
    let body =
        br#"{"model":"m","prompt":"a","stream":true,"stream_options":{"include_usage":true}}"#;
    let request = completion::decode(body).unwrap();
    let mut encoder = completion::StreamEncoder::new(&request, "id", 1, "m");
    let mut payloads = Vec::new();
    events.iter().for_each(|event| encoder.event(0, event, &mut payloads));
    encoder.finish(&mut payloads);
    let (mut heard, mut reason) = (Heard::default(), Value::Null);
    for chunk in payloads.iter().map(|payload| value(payload)) {
        if let Some(error) = chunk.get("error") {
            heard.ends.push(End::Failed(string(&error["message"]).to_owned()));
            continue;
        }
        for choice in chunk["choices"].as_array().unwrap() {
            heard.text.push_str(string(&choice["text"]));
            if !choice["finish_reason"].is_null() {
                assert!(reason.is_null(), "two ends");
                reason = choice["finish_reason"].clone();
            }
        }
        if let usage @ Value::Object(_) = &chunk["usage"] {
            heard.ended(&reason, &usage["prompt_tokens"], &usage["completion_tokens"]);
        }
    }
    heard
}

fn openai_responses(events: &[Event]) -> Heard {
    let request = responses::decode(br#"{"model":"m","input":"a"}"#, &()).unwrap();
    let beginning = responses::Beginning::new(request.told, "id", 1, "m");
    let mut encoder = responses::StreamEncoder::new(beginning);
    let mut told = Vec::new();
    events.iter().for_each(|event| encoder.event(0, event, &mut told));
    encoder.finish(&mut told);
    let mut heard = Heard::default();
    for told in &told {
        let (name, data) = told.split_once("\ndata: ").unwrap();
        let data = value(data);
        assert_eq!(name, format!("event: {}", string(&data["type"])));
        let delta = string(&data["delta"]);
        match string(&data["type"]) {
            "response.output_text.delta" => heard.text.push_str(delta),
            "response.reasoning_text.delta" => heard.reasoning.push_str(delta),
            "response.output_item.added" if data["item"]["type"] == "function_call" => {
                heard.calls.push((string(&data["item"]["name"]).to_owned(), String::new()));
            }
            "response.function_call_arguments.delta" => {
                heard.calls.last_mut().unwrap().1.push_str(delta);
            }
            "response.completed" | "response.incomplete" => {
                let response = &data["response"];
                let reason = match response["incomplete_details"]["reason"].as_str() {
                    Some(reason) => reason.into(),
                    None => response["status"].clone(),
                };
                let usage = &response["usage"];
                heard.ended(&reason, &usage["input_tokens"], &usage["output_tokens"]);
            }
            "response.failed" => {
                let message = string(&data["response"]["error"]["message"]).to_owned();
                heard.ends.push(End::Failed(message));
            }
            _ => {}
        }
    }
    heard
}

fn anthropic(events: &[Event]) -> Heard {
    let mut encoder = anthropic::StreamEncoder::new("id", "m");
    let mut told = Vec::new();
    events.iter().for_each(|event| encoder.event(0, event, &mut told));
    encoder.finish(&mut told);
    let (mut heard, mut last) = (Heard::default(), Value::Null);
    for told in &told {
        let (name, data) = told.split_once("\ndata: ").unwrap();
        let data = value(data);
        assert_eq!(name, format!("event: {}", string(&data["type"])));
        let delta = &data["delta"];
        match string(&data["type"]) {
            "content_block_start" if data["content_block"]["type"] == "tool_use" => {
                let name = string(&data["content_block"]["name"]).to_owned();
                heard.calls.push((name, String::new()));
            }
            "content_block_delta" => {
                heard.text.push_str(string(&delta["text"]));
                heard.reasoning.push_str(string(&delta["thinking"]));
                if let Some(arguments) = delta["partial_json"].as_str() {
                    heard.calls.last_mut().unwrap().1.push_str(arguments);
                }
            }
            "message_delta" => last = data,
            "message_stop" => {
                let usage = &last["usage"];
                let reason = &last["delta"]["stop_reason"];
                heard.ended(reason, &usage["input_tokens"], &usage["output_tokens"]);
            }
            "error" => heard.ends.push(End::Failed(string(&data["error"]["message"]).to_owned())),
            _ => {}
        }
    }
    heard
}

fn ollama(form: Form, events: &[Event]) -> Heard {
    let mut encoder = ollama::StreamEncoder::new(form, "id", "", "m");
    encoder.begun(None, Duration::ZERO);
    let mut lines = Vec::new();
    events.iter().for_each(|event| encoder.event(0, event, &mut lines));
    encoder.finish(&mut lines);
    let mut heard = Heard::default();
    for line in lines.iter().map(|line| value(line)) {
        if let Some(error) = line.get("error") {
            heard.ends.push(End::Failed(string(error).to_owned()));
            continue;
        }
        let (said, text) = match form {
            Form::Chat => (&line["message"], "content"),
            Form::Generate => (&line, "response"),
        };
        heard.text.push_str(string(&said[text]));
        heard.reasoning.push_str(string(&said["thinking"]));
        for call in said["tool_calls"].as_array().into_iter().flatten() {
            let function = &call["function"];
            let name = string(&function["name"]).to_owned();
            heard.calls.push((name, function["arguments"].to_string()));
        }
        if line["done"] == true {
            heard.ended(&line["done_reason"], &line["prompt_eval_count"], &line["eval_count"]);
        }
    }
    heard
}

fn llama_server(events: &[Event]) -> Heard {
    let mut encoder = infill::StreamEncoder::new("m", infill::Told::default());
    let mut payloads = Vec::new();
    events.iter().for_each(|event| encoder.event(0, event, &mut payloads));
    encoder.finish(&mut payloads);
    let mut heard = Heard::default();
    for part in payloads.iter().map(|payload| value(payload)) {
        if let Some(error) = part.get("error") {
            heard.ends.push(End::Failed(string(&error["message"]).to_owned()));
            continue;
        }
        heard.text.push_str(string(&part["content"]));
        if part["stop"] == true {
            heard.ended(&part["stop_type"], &part["tokens_evaluated"], &part["tokens_predicted"]);
        }
    }
    heard
}

fn piece() -> impl Strategy<Value = Piece> {
    "\\PC{0,6}|[\n\"\\\\\u{1f600}\u{0}]{1,3}".prop_map(|text| Piece { text, logprobs: Vec::new() })
}

/// A call in the pieces in which it comes: the name, then the arguments cut somewhere.
fn call() -> impl Strategy<Value = Vec<(Option<String>, String)>> {
    ("[a-z_]{1,8}", "\\PC{0,6}", any::<prop::sample::Index>()).prop_map(|(name, word, at)| {
        let arguments = serde_json::json!({ "word": word }).to_string();
        let cuts: Vec<usize> = arguments.char_indices().map(|(index, _)| index).collect();
        let (first, rest) = arguments.split_at(cuts[at.index(cuts.len())]);
        vec![(Some(name), first.to_owned()), (None, rest.to_owned())]
    })
}

fn end() -> impl Strategy<Value = Event> {
    let reason = prop_oneof![
        Just(FinishReason::End),
        Just(FinishReason::StopString("x".to_owned())),
        Just(FinishReason::Length),
        Just(FinishReason::ToolCalls),
    ];
    let finished = (reason, 0..1000_u32, 0..1000_u32).prop_map(|(reason, prompt, completion)| {
        let usage =
            Usage { prompt_tokens: prompt, completion_tokens: completion, ..Usage::default() };
        Event::Finished(Finished { reason, usage })
    });
    let failed = "[a-z]{1,9}"
        .prop_map(|message| Event::Failed(Failure { kind: FailureKind::Broken, message }));
    prop_oneof![4 => finished, 1 => failed]
}

/// A stream as a worker may say it: reasoning, text and calls in any order, then its end.
fn stream() -> impl Strategy<Value = Vec<Event>> {
    let progress =
        Event::Progress { processed: 1, total: 2, cached: 1, cached_ram: 0, cached_ssd: 0 };
    let part = prop_oneof![
        1 => Just(vec![progress]),
        3 => piece().prop_map(|piece| vec![Event::Text(piece)]),
        2 => piece().prop_map(|piece| vec![Event::Reasoning(piece)]),
        1 => call().prop_map(|pieces| {
            let part = |(name, arguments)| {
                Event::ToolCall(ToolCallPiece { index: 0, name, arguments })
            };
            pieces.into_iter().map(part).collect()
        }),
    ];
    (prop::collection::vec(part, 0..8), end()).prop_map(|(parts, end)| {
        let mut events: Vec<Event> = parts.into_iter().flatten().chain([end]).collect();
        let mut calls = 0;
        for event in &mut events {
            if let Event::ToolCall(piece) = event {
                calls += u32::from(piece.name.is_some());
                piece.index = calls - 1;
            }
        }
        // A worker's reason follows from what it said.
        if let Some(Event::Finished(Finished { reason, .. })) = events.last_mut() {
            match reason {
                FinishReason::Length | FinishReason::Cancelled => {}
                _ if calls > 0 => *reason = FinishReason::ToolCalls,
                FinishReason::ToolCalls => *reason = FinishReason::End,
                FinishReason::End | FinishReason::StopString(_) => {}
            }
        }
        events
    })
}

/// The same, with all that was said as text: what dialects without reasoning make of it.
fn without_reasoning(events: &[Event]) -> Vec<Event> {
    let mut events = events.to_vec();
    for event in &mut events {
        if let Event::Reasoning(piece) = event {
            *event = Event::Text(piece.clone());
        }
    }
    events
}

proptest! {
    #[test]
    fn what_was_said_is_heard(events in stream()) {
        prop_assert_eq!(openai_chat(&events), Heard::of(&events, openai_word));
        prop_assert_eq!(openai_responses(&events), Heard::of(&events, responses_word));
        prop_assert_eq!(anthropic(&events), Heard::of(&events, anthropic_word));
        for form in [Form::Chat, Form::Generate] {
            let heard = ollama(form, &events);
            let mut said = Heard::of(&events, ollama_word);
            if let Some(End::Failed(_)) = said.ends.first() {
                // Calls are told whole, so those of an answer that broke are not.
                said.calls.clear();
            }
            prop_assert_eq!(heard, said);
        }
        let plain = without_reasoning(&events);
        let said = Heard::of(&plain, openai_word).without_calls();
        prop_assert_eq!(openai_completion(&events), said);
        let said = Heard::of(&plain, llama_server_word).without_calls();
        prop_assert_eq!(llama_server(&events), said);
    }
}
