//! Streams of OpenAI's responses: whatever a worker says, their form holds, and read as OpenAI's own clients
//! read them they are the whole answer. What is kept of an answer is what the next request goes on from.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::sync::Arc;

use dialect::{
    Encode, Error,
    openai::responses::{self, Beginning, Earlier, Kept, Page, StreamEncoder, Told, WholeEncoder},
};
use proptest::prelude::*;
use serde_json::{Value, json};
use worker_protocol::{
    Event, Failure, FailureKind, FinishReason, Finished, Piece, Prompt, Role, ToolCallPiece,
    ToolChoice, Usage,
};

fn piece() -> impl Strategy<Value = Piece> {
    prop_oneof![Just(String::new()), ".{0,4}", Just("a\nb\r\n\u{2028}".to_owned())]
        .prop_map(|text| Piece { text, logprobs: Vec::new() })
}

fn call() -> impl Strategy<Value = ToolCallPiece> {
    let name = prop_oneof![
        Just(None),
        Just(Some("f".to_owned())),
        Just(Some("free".to_owned())),
        Just(Some("n__f".to_owned())),
        ".{0,3}".prop_map(Some),
    ];
    let arguments = prop::sample::select(vec!["", "{}", "{\"input\":", "\"x\"}", "[", " "]);
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

/// A request with tools of all kinds, whose reasoning is told as a summary or not, and sealed or not.
fn told(summarizes: bool, seals: bool) -> Told {
    let include: &[&str] = if seals { &["reasoning.encrypted_content"] } else { &[] };
    let body = json!({
        "model": "m",
        "input": "hi",
        "include": include,
        "reasoning": { "summary": if summarizes { "auto" } else { "none" } },
        "tools": [
            { "type": "function", "name": "f" },
            { "type": "custom", "name": "free" },
            { "type": "namespace", "name": "n", "tools": [{ "type": "function", "name": "f" }] },
        ],
    });
    responses::decode(body.to_string().as_bytes(), &()).unwrap().told
}

/// Reads a stream as OpenAI's clients do, and checks the form that they rely on. Returns what it was read to
/// be, and the answer that its last event tells; nothing where it ended with a failure.
fn read(events: &[String]) -> Option<(Value, Value)> {
    let mut output: Vec<Value> = Vec::new();
    let mut open = None;
    let mut response = Value::Null;
    for (number, event) in events.iter().enumerate() {
        let (name, data) = event.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
        assert!(!data.contains(['\n', '\r']), "{event:?}");
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!((&data["type"], &data["sequence_number"]), (&json!(name), &json!(number)));
        let is_last = number + 1 == events.len();
        match name {
            "response.created" | "response.in_progress" => {
                assert_eq!(number, usize::from(name == "response.in_progress"));
                assert_eq!(data["response"]["status"], "in_progress");
            }
            "response.output_item.added" => {
                assert_eq!(open, None, "two are open");
                assert_eq!(data["output_index"], output.len());
                assert_eq!(data["item"]["status"], "in_progress");
                open = Some(output.len());
                output.push(data["item"].clone());
            }
            "response.output_item.done" => {
                let index = open.take().unwrap();
                assert_eq!(data["output_index"], index);
                // What seals the reasoning and how it ended are told only here.
                for part in ["status", "encrypted_content"] {
                    if let Some(told) = data["item"].get(part) {
                        output[index][part] = told.clone();
                    }
                }
                assert_eq!(output[index], data["item"]);
            }
            "response.completed" | "response.incomplete" => {
                assert!(is_last && open.is_none(), "{events:?}");
                response = data["response"].clone();
                assert_eq!(name, format!("response.{}", response["status"].as_str().unwrap()));
            }
            "response.failed" => {
                assert!(is_last, "{events:?}");
                assert!(data["response"]["error"]["message"].is_string());
                return None;
            }
            _ => {
                let item = &mut output[open.unwrap()];
                assert_eq!((&data["item_id"], &data["output_index"]), (&item["id"], &json!(open)));
                grow(item, name, &data);
            }
        }
    }
    assert!(!response.is_null(), "it has no end: {events:?}");
    Some((output.into(), response))
}

/// What an event adds to the item that is open.
fn grow(item: &mut Value, name: &str, data: &Value) {
    let (list, index) = match data["summary_index"].as_u64() {
        Some(index) => ("summary", index),
        None => ("content", data["content_index"].as_u64().unwrap_or(0)),
    };
    let index = usize::try_from(index).unwrap();
    let push = |place: &mut Value| {
        let whole = format!("{}{}", place.as_str().unwrap(), data["delta"].as_str().unwrap());
        *place = whole.into();
    };
    match name {
        "response.content_part.added" | "response.reasoning_summary_part.added" => {
            let parts = item[list].as_array_mut().unwrap();
            assert_eq!(parts.len(), index);
            parts.push(data["part"].clone());
        }
        "response.output_text.delta"
        | "response.reasoning_text.delta"
        | "response.reasoning_summary_text.delta" => push(&mut item[list][index]["text"]),
        "response.function_call_arguments.delta" => push(&mut item["arguments"]),
        "response.custom_tool_call_input.delta" => push(&mut item["input"]),
        "response.output_text.done"
        | "response.reasoning_text.done"
        | "response.reasoning_summary_text.done" => {
            assert_eq!(item[list][index]["text"], data["text"]);
        }
        "response.content_part.done" | "response.reasoning_summary_part.done" => {
            assert_eq!(item[list][index], data["part"]);
        }
        "response.function_call_arguments.done" => {
            assert_eq!((&item["arguments"], &item["name"]), (&data["arguments"], &data["name"]));
        }
        "response.custom_tool_call_input.done" => assert_eq!(item["input"], data["input"]),
        _ => panic!("{name}"),
    }
}

proptest! {
    #[test]
    fn a_stream_has_one_end_and_is_the_whole_answer(
        events in prop::collection::vec(event(), 0..24),
        last in prop::option::of(last()),
        summarizes: bool,
        seals: bool,
    ) {
        let beginning = Beginning::new(told(summarizes, seals), "1", 1, "m");
        let mut stream = StreamEncoder::new(beginning.clone());
        let mut whole = WholeEncoder::new(beginning);
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
        let kept = stream.kept();
        match (read(&out), whole.finish()) {
            (Some((output, streamed)), Ok((whole, kept_too))) => {
                let whole: Value = serde_json::from_str(&whole).unwrap();
                prop_assert_eq!(&output, &whole["output"]);
                prop_assert_eq!(streamed, whole);
                prop_assert_eq!(kept, kept_too);
            }
            (None, Err(_)) => prop_assert_eq!(kept, None),
            (streamed, whole) => prop_assert!(false, "{:?} and {:?}", streamed, whole),
        }
    }
}

#[test]
fn a_failure_before_the_beginning_has_its_events_too() {
    let beginning = Beginning::new(told(false, false), "1", 1, "m");
    let events = beginning.failed(&Error::new(503, "it is full").code("overloaded"));
    assert_eq!(read(&events), None);
    let last: Value = serde_json::from_str(events[2].split_once("\ndata: ").unwrap().1).unwrap();
    assert_eq!(last["response"]["error"], json!({ "code": "overloaded", "message": "it is full" }));
}

/// The one answer that there is.
struct One(Kept);

impl Earlier for One {
    fn answer(&self, id: &str) -> Option<Arc<Kept>> {
        (id == self.0.id).then(|| Arc::new(self.0.clone()))
    }

    fn item(&self, id: &str) -> Option<String> {
        let mut entries =
            self.0.turns.iter().flat_map(|turn| turn.input.iter().chain(&turn.output));
        entries.find(|entry| entry.id == id).map(|entry| entry.json.clone())
    }
}

fn answered(body: &Value, earlier: &dyn Earlier, id: &str, events: &[Event]) -> Kept {
    let request = responses::decode(body.to_string().as_bytes(), earlier).unwrap();
    let mut whole = WholeEncoder::new(Beginning::new(request.told, id, 1, "m"));
    events.iter().for_each(|event| whole.event(event));
    whole.finish().unwrap().1.unwrap()
}

/// Who says it, thinks it, and which tool is called.
fn messages(body: &Value, earlier: &dyn Earlier) -> Vec<(Role, String, String, String)> {
    let request = responses::decode(body.to_string().as_bytes(), earlier).unwrap();
    let Prompt::Chat(chat) = request.generate.prompt else { panic!("it is no conversation") };
    let shown = |message: worker_protocol::Message| {
        let calls: Vec<String> = message
            .tool_calls
            .iter()
            .map(|call| format!("{} {} {}", call.id, call.name, call.arguments))
            .collect();
        let thoughts = message.reasoning.unwrap_or_default();
        (message.role, message.content.unwrap_or_default(), thoughts, calls.join(";"))
    };
    chat.messages.into_iter().map(shown).collect()
}

fn piece_of(text: &str) -> Piece {
    Piece { text: text.to_owned(), logprobs: Vec::new() }
}

fn finished(reason: FinishReason) -> Event {
    Event::Finished(Finished { reason, usage: Usage::default() })
}

fn asked(input: Value) -> Value {
    let tools = json!([
        { "type": "custom", "name": "free" },
        { "type": "namespace", "name": "n", "tools": [{ "type": "function", "name": "f" }] },
    ]);
    json!({ "model": "m", "tools": tools, "input": input })
}

/// An answer `resp_1` that thinks, speaks and calls two tools; its items, and what the tools say.
fn with_calls() -> (One, Vec<Value>, Vec<Value>) {
    let call = |index, name: &str, arguments: &str| {
        let (name, arguments) = (Some(name.to_owned()), arguments.to_owned());
        Event::ToolCall(ToolCallPiece { index, name, arguments })
    };
    let events = [
        Event::Reasoning(piece_of("I look.")),
        Event::Text(piece_of("One moment.")),
        call(0, "n__f", "{\"a\":1}"),
        call(1, "free", "{\"input\":\"text\"}"),
        finished(FinishReason::ToolCalls),
    ];
    let kept = answered(&asked(json!("Is it cold?")), &(), "1", &events);
    let response: Value = serde_json::from_str(&kept.response).unwrap();
    let output = response["output"].as_array().unwrap().clone();
    let [.., f, free] = &*output else { panic!("{output:?}") };
    assert_eq!((&f["name"], &f["namespace"]), (&json!("f"), &json!("n")));
    assert_eq!((&free["type"], &free["input"]), (&json!("custom_tool_call"), &json!("text")));
    let results = vec![
        json!({ "type": "function_call_output", "call_id": f["call_id"], "output": "yes" }),
        json!({ "type": "custom_tool_call_output", "call_id": free["call_id"], "output": "done" }),
    ];
    (One(kept), output, results)
}

/// Whether a client sends the items back, refers to them or to the answer, the model sees the same.
#[test]
fn all_ways_of_going_on_come_to_the_same() {
    let (one, output, results) = with_calls();
    let said = vec![json!({ "role": "user", "content": "Is it cold?" })];
    let mut goes_on = asked(results.clone().into());
    goes_on["previous_response_id"] = json!("resp_1");
    let references =
        output.iter().map(|item| json!({ "type": "item_reference", "id": item["id"] }));
    let refers = asked([said.clone(), references.collect(), results.clone()].concat().into());
    let sent_back = asked([said, output, results].concat().into());
    let expected = messages(&goes_on, &one);
    assert_eq!(expected.len(), 4, "{expected:?}");
    let (role, text, thoughts, calls) = &expected[1];
    assert_eq!((role, &**text, &**thoughts), (&Role::Assistant, "One moment.", "I look."));
    assert!(calls.contains("n__f {\"a\":1};") && calls.ends_with("free {\"input\":\"text\"}"));
    assert_eq!(messages(&sent_back, &()), expected);
    assert_eq!(messages(&refers, &one), expected);
}

/// Ids on a page, and whether more follow.
fn page(kept: &Kept, query: &[(&str, &str)]) -> (Vec<String>, bool) {
    let page = Page::decode(query.iter().copied()).unwrap();
    let list: Value = serde_json::from_str(&kept.input_items(&page).unwrap()).unwrap();
    let items = list["data"].as_array().unwrap().iter();
    let ids: Vec<String> = items.map(|item| item["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(list["first_id"].as_str(), ids.first().map(String::as_str));
    assert_eq!(list["last_id"].as_str(), ids.last().map(String::as_str));
    (ids, list["has_more"].as_bool().unwrap())
}

#[test]
fn what_was_said_before_an_answer_is_shown_page_by_page() {
    let (one, _, results) = with_calls();
    let mut goes_on = asked(results.into());
    goes_on["previous_response_id"] = json!("resp_1");
    let events = [Event::Text(piece_of("Yes.")), finished(FinishReason::End)];
    let next = answered(&goes_on, &one, "2", &events);
    assert_eq!(next.turns.len(), 2);
    let (all, more) = page(&next, &[("order", "asc")]);
    assert_eq!((all.len(), more), (7, false));
    let (mut seen, mut more) = page(&next, &[("limit", "2"), ("order", "asc")]);
    while more {
        let after = seen.last().unwrap().clone();
        let (ids, goes_on) = page(&next, &[("limit", "2"), ("order", "asc"), ("after", &after)]);
        seen.extend(ids);
        more = goes_on;
    }
    assert_eq!(seen, all);
    assert_eq!(page(&next, &[]).0, all.into_iter().rev().collect::<Vec<_>>());
    for query in [("limit", "0"), ("limit", "101"), ("order", "up"), ("stream", "true")] {
        let error = Page::decode([query].into_iter()).unwrap_err();
        assert_eq!((error.status, error.param.as_deref()), (400, Some(query.0)));
    }
    let gone = Page::decode([("after", "x")].into_iter()).unwrap();
    assert_eq!(next.input_items(&gone).unwrap_err().param.as_deref(), Some("after"));
}

#[test]
fn what_is_referred_to_is_bounded_in_all() {
    let said = "x".repeat(1 << 20);
    let big = answered(&asked(json!(said)), &(), "1", &[finished(FinishReason::End)]);
    let id = big.turns[0].input[0].id.clone();
    let refers = |times: usize| {
        let items: Vec<Value> =
            (0..times).map(|_| json!({ "type": "item_reference", "id": id })).collect();
        responses::decode(asked(items.into()).to_string().as_bytes(), &One(big.clone()))
    };
    assert!(refers(8).is_ok());
    let error = refers(40).unwrap_err();
    assert_eq!((error.status, error.param.as_deref()), (400, Some("input[31]")));
    assert!(error.message.contains("to more than 33554432 bytes"), "{}", error.message);
}

#[test]
fn ids_that_were_made_here_are_told_from_those_that_clients_choose() {
    let input = json!([
        { "role": "user", "content": "a", "id": "msg_1" },
        { "role": "user", "content": "b" },
    ]);
    let events = [Event::Text(piece_of("c")), finished(FinishReason::End)];
    let kept = answered(&asked(input), &(), "f00", &events);
    let made: Vec<&str> = kept.turns[0].made().map(|entry| &*entry.id).collect();
    assert_eq!(made.len(), 2, "{made:?}");
    assert!(made.iter().all(|id| id.starts_with("msg_f00")), "{made:?}");
}

#[test]
fn only_what_openais_machines_did_is_passed_over_in_silence() {
    let with = |item: Value| {
        let items = json!([{ "role": "user", "content": "a" }, item]);
        responses::decode(asked(items).to_string().as_bytes(), &())
    };
    for item in [
        json!({ "type": "web_search_call", "id": "w", "action": {} }),
        json!({ "type": "mcp_call", "id": "m", "output": "done" }),
        json!({ "type": "ghost_snapshot", "ghost_commit": {} }),
    ] {
        assert!(with(item.clone()).is_ok(), "{item}");
    }
    for item in [
        json!({ "type": "function_call_ouput", "call_id": "c", "output": "42" }),
        json!({ "type": "input_text", "text": "hello" }),
        json!({ "type": "note", "content": "hello" }),
    ] {
        let error = with(item.clone()).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("input[1].type"), "{item}");
    }
}

#[test]
fn a_tool_of_a_namespace_is_chosen_by_its_own_words() {
    let chosen = |choice: Value| {
        let mut body = asked(json!("hi"));
        body["tools"] = json!([
            { "type": "web_search" },
            { "type": "namespace", "name": "fs", "description": "", "tools": [
                { "type": "function", "name": "grep", "parameters": {} },
            ] },
        ]);
        body["tool_choice"] = choice;
        responses::decode(body.to_string().as_bytes(), &()).map(|request| {
            let Prompt::Chat(chat) = request.generate.prompt else { panic!("a conversation") };
            chat.tool_choice
        })
    };
    let grep = json!({ "type": "function", "name": "grep", "namespace": "fs" });
    let demanded = ToolChoice::Required(vec!["fs__grep".to_owned()]);
    assert_eq!(chosen(grep.clone()).unwrap(), demanded);
    let among =
        |tools: Value| json!({ "type": "allowed_tools", "mode": "required", "tools": tools });
    assert_eq!(chosen(among(json!([{ "type": "web_search" }, grep]))).unwrap(), demanded);
    let none = chosen(among(json!([{ "type": "web_search" }]))).unwrap_err();
    assert_eq!(none.param.as_deref(), Some("tool_choice.tools"));
    let other = chosen(json!({ "type": "function", "name": "grep" })).unwrap_err();
    assert_eq!(other.param.as_deref(), Some("tool_choice.name"));
}
