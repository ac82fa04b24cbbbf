//! Streams of Anthropic's: whatever a worker says, their form holds, and read as Anthropic's own clients
//! read them they are the whole answer.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use dialect::{
    Encode,
    anthropic::{StreamEncoder, WholeEncoder},
};
use proptest::prelude::*;
use serde_json::{Value, json};
use worker_protocol::{
    Event, Failure, FailureKind, FinishReason, Finished, Piece, ToolCallPiece, Usage,
};

fn piece() -> impl Strategy<Value = Piece> {
    prop_oneof![Just(String::new()), ".{0,4}", Just("a\nb\r\n\u{2028}".to_owned())]
        .prop_map(|text| Piece { text, logprobs: Vec::new() })
}

fn call() -> impl Strategy<Value = ToolCallPiece> {
    let name = prop_oneof![Just(None), Just(Some("f".to_owned())), ".{0,3}".prop_map(Some)];
    let arguments = prop::sample::select(vec!["", "{}", "{\"a\":", "1}", "[", " "]);
    let index = prop_oneof![0..3_u32, Just(u32::MAX)];
    (index, name, arguments).prop_map(|(index, name, arguments)| ToolCallPiece {
        index,
        name,
        arguments: arguments.to_owned(),
    })
}

fn last() -> impl Strategy<Value = Event> {
    let reason = prop_oneof![
        Just(FinishReason::End),
        Just(FinishReason::StopString("\nstop\"".to_owned())),
        Just(FinishReason::Length),
        Just(FinishReason::ToolCalls),
        Just(FinishReason::Cancelled),
    ];
    let finished = (reason, any::<u32>(), any::<u32>(), any::<u32>()).prop_map(
        |(reason, prompt_tokens, cached_tokens, completion_tokens)| {
            let usage =
                Usage { prompt_tokens, cached_tokens, completion_tokens, ..Usage::default() };
            Event::Finished(Finished { reason, usage })
        },
    );
    let failure = Failure { kind: FailureKind::Broken, message: "it\nbroke".to_owned() };
    prop_oneof![4 => finished, 1 => Just(Event::Failed(failure))]
}

fn event() -> impl Strategy<Value = Event> {
    let progress = (any::<u32>(), any::<u32>()).prop_map(|(total, cached)| Event::Progress {
        processed: 0,
        total,
        cached,
        cached_ram: 0,
        cached_ssd: 0,
    });
    prop_oneof![
        2 => progress,
        6 => piece().prop_map(Event::Text),
        3 => piece().prop_map(Event::Reasoning),
        6 => call().prop_map(Event::ToolCall),
        1 => Just(Event::Embedded { index: 0, vector: vec![1.0] }),
        1 => last(),
    ]
}

/// Reads a stream as Anthropic's clients do, and checks the form that they rely on. Returns the answer,
/// or nothing where it ended with an error.
fn read(events: &[String]) -> Option<Value> {
    let mut message = Value::Null;
    let (mut open, mut input, mut is_over) = (None, String::new(), false);
    for event in events {
        assert!(!is_over, "something comes behind the end: {events:?}");
        let (name, data) = event.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
        assert!(!data.contains(['\n', '\r']), "{event:?}");
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["type"], name);
        let begun = message["content"].as_array().map(Vec::len);
        match name {
            "message_start" => {
                assert_eq!(begun, None, "it begins twice");
                assert_eq!(data["message"]["content"], json!([]));
                message = data["message"].clone();
            }
            "content_block_start" => {
                assert_eq!(
                    (open, data["index"].as_u64()),
                    (None, begun.map(|blocks| blocks as u64))
                );
                message["content"].as_array_mut().unwrap().push(data["content_block"].clone());
                (open, input) = (data["index"].as_u64(), String::new());
            }
            "content_block_delta" => {
                assert_eq!(open, data["index"].as_u64(), "it grows and is not open");
                let block = message["content"].as_array_mut().unwrap().last_mut().unwrap();
                grow(block, &data["delta"], &mut input);
            }
            "content_block_stop" => {
                assert_eq!(open.take(), data["index"].as_u64(), "it ends and is not open");
                let block = message["content"].as_array_mut().unwrap().last_mut().unwrap();
                end(block, &input);
            }
            "message_delta" => {
                assert_eq!((open, message["stop_reason"].is_null()), (None, true));
                for part in ["stop_reason", "stop_sequence"] {
                    message[part] = data["delta"][part].clone();
                }
                message["usage"] = data["usage"].clone();
            }
            "message_stop" => {
                assert!(message["stop_reason"].is_string(), "it stops without a reason");
                is_over = true;
            }
            "error" => return None,
            _ => panic!("{event}"),
        }
    }
    assert!(is_over, "it has no end: {events:?}");
    Some(message)
}

fn grow(block: &mut Value, delta: &Value, input: &mut String) {
    let (kind, of, part) = match delta["type"].as_str().unwrap() {
        "text_delta" => ("text", "text", "text"),
        "thinking_delta" => ("thinking", "thinking", "thinking"),
        "signature_delta" => ("thinking", "signature", "signature"),
        "input_json_delta" => {
            assert_eq!(block["type"], "tool_use");
            return input.push_str(delta["partial_json"].as_str().unwrap());
        }
        other => panic!("{other}"),
    };
    assert_eq!(block["type"], kind);
    let whole = format!("{}{}", block[of].as_str().unwrap(), delta[part].as_str().unwrap());
    block[of] = whole.into();
}

fn end(block: &mut Value, input: &str) {
    match block["type"].as_str().unwrap() {
        "thinking" => assert_ne!(block["signature"], ""),
        "tool_use" if !input.trim().is_empty() => {
            let parsed: Option<Value> = serde_json::from_str(input).ok();
            let parsed = parsed.filter(Value::is_object);
            block["input"] = parsed.unwrap_or_else(|| json!({ "raw": input }));
        }
        _ => {}
    }
}

proptest! {
    #[test]
    fn a_stream_has_one_end_and_is_the_whole_answer(
        events in prop::collection::vec(event(), 0..24),
        last in prop::option::of(last()),
    ) {
        let (mut stream, mut whole) = (StreamEncoder::new("1", "m"), WholeEncoder::new("1", "m"));
        let mut out = Vec::new();
        let mut is_over = false;
        for event in events.iter().chain(&last) {
            stream.event(0, event, &mut out);
            if !is_over {
                whole.event(event);
            }
            is_over |= event.is_last();
        }
        stream.finish(&mut out);
        let ends = out.iter().filter(|event| {
            event.starts_with("event: message_stop\n") || event.starts_with("event: error\n")
        });
        prop_assert_eq!(ends.count(), 1);
        match (read(&out), whole.finish()) {
            (Some(streamed), Ok(whole)) => {
                let whole: Value = serde_json::from_str(&whole).unwrap();
                prop_assert_eq!(streamed, whole);
            }
            (None, Err(_)) => {}
            (streamed, whole) => prop_assert!(false, "{:?} and {:?}", streamed, whole),
        }
    }
}
