//! What nobody honest sends: too much, too deep, or no request at all. Each gets an error that
//! names the bound; nothing panics.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use base64::{Engine, engine::general_purpose::STANDARD};
use dialect::{
    Error, anthropic,
    limits::{
        JSON_DEPTH_MAX, JSON_VALUES_MAX, MEDIA_BYTES_MAX, MEDIA_MAX, MESSAGES_MAX,
        PICTURE_PIXELS_MAX, RANK_DOCUMENTS_MAX, RANK_QUERY_BYTES_MAX, STOP_BYTES_MAX,
    },
    llama_server::infill,
    ollama,
    openai::{chat, completion, embedding, image, responses, speech, upstream},
    rerank::{self, Route},
};
use proptest::prelude::*;
use serde_json::{Value, json};
use worker_protocol::{Constraint, Prompt, ToolCall};

#[track_caller]
fn refusal(body: &Value) -> Error {
    chat::decode(body.to_string().as_bytes()).unwrap_err()
}

fn said(text: &str) -> Value {
    json!({ "role": "user", "content": text })
}

#[test]
fn ten_thousand_messages_are_refused_with_the_bound() {
    let error = refusal(&json!({ "model": "m", "messages": vec![said("hi"); 10_000] }));
    assert_eq!((error.status, error.param.as_deref()), (400, Some("messages")));
    assert!(error.message.contains(&MESSAGES_MAX.to_string()), "{error}");
}

#[test]
fn a_megabyte_of_stop_strings_is_refused() {
    for stop in [json!("x".repeat(1 << 20)), json!(vec!["y".repeat(1 << 10); 1 << 10])] {
        let error = refusal(&json!({ "model": "m", "messages": [said("hi")], "stop": stop }));
        assert_eq!(error.status, 400);
        assert!(error.param.unwrap().starts_with("stop"));
    }
    let longest = json!("z".repeat(STOP_BYTES_MAX));
    let fits = json!({ "model": "m", "messages": [said("hi")], "stop": longest });
    chat::decode(fits.to_string().as_bytes()).unwrap();
}

#[test]
fn nesting_ends_at_the_limit_in_the_body_and_arguments_beyond_it_are_text() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let body = |levels| format!(r#"{{"model":"m","messages":[],"x":{}}}"#, deep(levels));
    // The object around it is one level.
    let fits = chat::decode(body(JSON_DEPTH_MAX - 1).as_bytes()).unwrap_err();
    assert_eq!(fits.param.as_deref(), Some("messages"));
    let error = chat::decode(body(JSON_DEPTH_MAX).as_bytes()).unwrap_err();
    assert!(error.message.contains("levels"), "{error}");

    let arguments = format!("{{\"x\":{}}}", deep(JSON_DEPTH_MAX));
    let call = json!({ "id": "a", "function": { "name": "f", "arguments": arguments } });
    let said = json!({ "role": "assistant", "tool_calls": [call] });
    let body = json!({ "model": "m", "messages": [said] }).to_string();
    let Prompt::Chat(read) = &chat::decode(body.as_bytes()).unwrap().generates[0].prompt else {
        panic!("a chat is a chat");
    };
    assert_eq!(read.messages[0].tool_calls[0].arguments, json!({ "raw": arguments }));
}

#[test]
fn json_in_strings_is_counted_over_the_whole_request() {
    let list = format!("{{\"x\":[{}1]}}", "1,".repeat(JSON_VALUES_MAX / 2));
    let call = json!({ "id": "a", "function": { "name": "f", "arguments": list } });
    let message =
        |calls: usize| json!({ "role": "assistant", "tool_calls": vec![call.clone(); calls] });
    let body = |calls| json!({ "model": "m", "messages": [message(calls)] }).to_string();
    let Prompt::Chat(chat) = &chat::decode(body(3).as_bytes()).unwrap().generates[0].prompt else {
        panic!("a conversation");
    };
    let is_raw = |call: &ToolCall| call.arguments.get("raw").is_some();
    let raw: Vec<bool> = chat.messages[0].tool_calls.iter().map(is_raw).collect();
    assert_eq!(raw, [false, true, true]);
}

#[test]
fn what_a_conversation_goes_on_from_counts_towards_its_items() {
    use std::sync::Arc;

    use responses::{Earlier, Entry, Kept, Turn};

    /// As many items as there may be.
    struct Full;

    impl Earlier for Full {
        fn answer(&self, id: &str) -> Option<Arc<Kept>> {
            let json = said("x").to_string();
            let input = vec![Entry { id: "i".to_owned(), json }; MESSAGES_MAX];
            let turn = Arc::new(Turn { answer: id.to_owned(), input, output: Vec::new() });
            let (id, response) = (id.to_owned(), String::new());
            Some(Arc::new(Kept { id, response, turns: vec![turn] }))
        }

        fn item(&self, _id: &str) -> Option<String> {
            None
        }
    }

    let mut body = json!({ "model": "m", "previous_response_id": "resp_1" });
    let request = responses::decode(body.to_string().as_bytes(), &Full).unwrap();
    let Prompt::Chat(chat) = request.generate.prompt else { panic!("it is no conversation") };
    assert_eq!(chat.messages[0].content.as_deref(), Some(&*vec!["x"; MESSAGES_MAX].join("\n")));
    body["input"] = "one more".into();
    let error = responses::decode(body.to_string().as_bytes(), &Full).unwrap_err();
    assert_eq!(error.param.as_deref(), Some("input"));
    assert!(error.message.contains(&MESSAGES_MAX.to_string()), "{error}");
    // Arguments of a call that nobody could read back are shown as they were.
    let deep = format!("{{\"x\":{}}}", "[".repeat(60_000));
    let body = json!({ "model": "m", "input": [
        { "type": "function_call", "call_id": "c", "name": "f", "arguments": deep },
    ] });
    let request = responses::decode(body.to_string().as_bytes(), &()).unwrap();
    let Prompt::Chat(chat) = request.generate.prompt else { panic!("it is no conversation") };
    assert_eq!(chat.messages[0].tool_calls[0].arguments["raw"], deep);
}

#[test]
fn a_turn_of_many_messages_and_blocks_is_one_text() {
    let said =
        json!({ "role": "user", "content": vec![json!({ "type": "text", "text": "x" }); 100] });
    let body = json!({ "model": "m", "max_tokens": 1, "messages": vec![said; MESSAGES_MAX] });
    let request = anthropic::messages::decode(body.to_string().as_bytes()).unwrap();
    let Prompt::Chat(chat) = request.generate.prompt else { panic!("it is no conversation") };
    let texts: Vec<_> = chat.messages.iter().map(|message| message.content.as_deref()).collect();
    assert_eq!(texts, [Some(&*vec!["x"; 100 * MESSAGES_MAX].join("\n"))]);
    let more = json!({ "model": "m", "max_tokens": 1, "messages": vec![0; MESSAGES_MAX + 1] });
    let error = anthropic::messages::decode(more.to_string().as_bytes()).unwrap_err();
    assert!(error.message.contains(&MESSAGES_MAX.to_string()), "{error}");
}

#[test]
fn a_schema_may_be_as_deep_as_the_body_and_a_grammar_as_long() {
    let schema = |levels: usize| format!("{}1{}", "{\"not\":".repeat(levels), "}".repeat(levels));
    let body = |levels| {
        format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}],"json_schema":{}}}"#,
            schema(levels)
        )
    };
    chat::decode(body(JSON_DEPTH_MAX - 1).as_bytes()).unwrap();
    let error = chat::decode(body(60_000).as_bytes()).unwrap_err();
    assert!(error.message.contains("levels"), "{error}");

    // Who enforces it says how long and deep it may be.
    let grammar = format!("start: {}\"a\"{}", "(".repeat(60_000), ")".repeat(60_000));
    let request = json!({ "model": "m", "messages": [said("hi")], "grammar": grammar });
    let read = chat::decode(request.to_string().as_bytes()).unwrap();
    assert_eq!(read.generates[0].constraint, Some(Constraint::Lark(grammar)));
}

#[test]
fn a_body_of_thirty_megabytes_is_read_and_cannot_be_multiplied() {
    let text = "0123456789".repeat(3 << 20);
    let request = |n: u32| json!({ "model": "m", "prompt": text, "n": n }).to_string();
    let read = completion::decode(request(1).as_bytes()).unwrap();
    assert_eq!(read.generates.len(), 1);
    let error = completion::decode(request(16).as_bytes()).unwrap_err();
    assert_eq!(error.param.as_deref(), Some("n"));
}

#[test]
fn more_to_rank_than_the_bounds_is_refused() {
    let ranked = |query: &str, documents: Value| {
        let body = json!({ "model": "m", "query": query, "documents": documents }).to_string();
        [Route::V1, Route::V2].map(|route| rerank::decode(route, body.as_bytes()))
    };
    for refused in ranked("q", json!(vec!["x"; RANK_DOCUMENTS_MAX + 1])) {
        let error = refused.unwrap_err();
        assert_eq!((error.status, error.param.as_deref()), (400, Some("documents")));
        assert!(error.message.contains(&RANK_DOCUMENTS_MAX.to_string()), "{error}");
    }
    for refused in ranked(&"q".repeat(RANK_QUERY_BYTES_MAX + 1), json!(["x"])) {
        let error = refused.unwrap_err();
        assert_eq!((error.status, error.param.as_deref()), (400, Some("query")));
        assert!(error.message.contains(&RANK_QUERY_BYTES_MAX.to_string()), "{error}");
    }
    // A document may be as long as a body.
    let long = "x".repeat(8 << 20);
    let documents = [json!(long)].into_iter().chain(vec![json!("x"); RANK_DOCUMENTS_MAX - 1]);
    let query = "q".repeat(RANK_QUERY_BYTES_MAX);
    for read in ranked(&query, documents.collect()) {
        assert_eq!(read.unwrap().rank.documents.len(), RANK_DOCUMENTS_MAX);
    }
}

/// A picture of one pixel, as a part of a message.
fn picture() -> Value {
    let url = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7";
    json!({ "type": "image_url", "image_url": { "url": url } })
}

#[test]
fn pictures_are_counted_over_all_messages() {
    let body = |each: usize, messages: usize| {
        let message = json!({ "role": "user", "content": vec![picture(); each] });
        json!({ "model": "m", "messages": vec![message; messages] })
    };
    chat::decode(body(MEDIA_MAX / 4, 4).to_string().as_bytes()).unwrap();
    let error = refusal(&body(MEDIA_MAX / 4, 5));
    let first_over = "messages[4].content[0].image_url.url";
    assert_eq!((error.status, error.param.as_deref()), (400, Some(first_over)));
    assert!(error.message.contains(&MEDIA_MAX.to_string()), "{error}");
    let image = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7";
    let message = json!({ "role": "user", "images": vec![image; MEDIA_MAX] });
    let body = json!({ "model": "m", "messages": [message, message] });
    let error = ollama::chat::decode(body.to_string().as_bytes()).unwrap_err();
    assert_eq!(error.param.as_deref(), Some("messages[1].images[0]"), "{error}");
}

#[test]
fn a_file_over_its_bytes_is_refused_before_it_is_decoded() {
    // Four letters are three bytes, and none of these is base64.
    let url = |bytes: usize| format!("data:image/png;base64,{}", "?".repeat(bytes / 3 * 4));
    let body = |bytes| {
        let part = json!({ "type": "image_url", "image_url": { "url": url(bytes) } });
        json!({ "model": "m", "messages": [{ "role": "user", "content": [part] }] })
    };
    let error = refusal(&body(MEDIA_BYTES_MAX + 1024));
    assert!(error.message.contains("at most 20 MiB are allowed"), "{error}");
    assert!(error.message.len() < 200, "the file is not told: {error}");
    let error = refusal(&body(MEDIA_BYTES_MAX - 1024));
    assert!(error.message.contains("is not valid base64"), "{error}");
}

/// A header of a picture with sides of so many pixels.
fn png(width: u32, height: u32) -> Vec<u8> {
    let begin = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR";
    [&begin[..], &width.to_be_bytes(), &height.to_be_bytes(), b"\x08\x02\0\0\0"].concat()
}

#[test]
fn a_picture_may_have_so_many_pixels_however_they_are_spread() {
    let refused = |width: u32, height: u32| {
        let image = STANDARD.encode(png(width, height));
        let body = json!({ "model": "m", "prompt": "hi", "images": [image] }).to_string();
        ollama::generate::decode(body.as_bytes()).err().map(|error| error.message)
    };
    let side = u32::try_from(PICTURE_PIXELS_MAX.isqrt()).unwrap();
    assert_eq!(refused(side, side), None);
    for (width, height) in [(side + 1, side), (1 << 31, 1), (u32::MAX, u32::MAX)] {
        let message = refused(width, height).unwrap();
        let said = format!("is a picture of {width} × {height} pixels");
        assert!(message.contains(&said), "{message}");
    }
    // Some models make a square of the longer side, and some a row of tokens of each pixel along it.
    for (long, short) in [(60_000, 1), (16_385, 400), (16_384, 81), (201, 1), (25_000_000, 1)] {
        for (width, height) in [(long, short), (short, long)] {
            let message = refused(width, height).unwrap();
            assert!(message.contains("cut it into parts"), "{message}");
        }
    }
    for (long, short) in [(16_384, 82), (200, 1), (1, 1)] {
        assert_eq!([refused(long, short), refused(short, long)], [None, None]);
    }
    assert!(refused(0, side).unwrap().contains("broken or cut"));
}

/// Fields of requests of all dialects.
const KEYS: &[&str] = &[
    "messages",
    "prompt",
    "input",
    "stop",
    "n",
    "seed",
    "tools",
    "tool_choice",
    "logit_bias",
    "stream",
    "stream_options",
    "logprobs",
    "max_tokens",
    "temperature",
    "dimensions",
    "echo",
    "response_format",
    "json_schema",
    "grammar",
    "voice",
    "speed",
    "size",
    "stream_format",
    "documents",
    "chat_template_kwargs",
    "top_k",
    "mirostat",
    "options",
    "think",
    "format",
    "images",
    "keep_alive",
    "raw",
    "system",
    "suffix",
    "truncate",
    "input_prefix",
    "input_suffix",
    "input_extra",
    "verbose",
    "query",
    "texts",
    "top_n",
    "return_documents",
    "truncation",
    "max_tokens_per_doc",
    "stop_sequences",
    "thinking",
    "output_config",
    "instructions",
    "include",
    "reasoning",
    "text",
    "metadata",
    "store",
    "background",
    "max_output_tokens",
    "previous_response_id",
];

/// JSON that looks like a request here and there.
fn almost_a_request() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        Just(json!({ "role": "user", "content": "hi" })),
        Just(json!({ "type": "function", "function": { "name": "f", "arguments": "{}" } })),
        Just(json!({ "type": "text", "text": "hi" })),
        Just(picture()),
        Just(json!({ "type": "input_audio", "input_audio": { "data": "UklGRg==" } })),
        Just(json!({ "type": "image", "source": { "type": "base64", "data": "Qk0=" } })),
        Just(json!({ "type": "tool_use", "id": "a", "name": "f", "input": {} })),
        Just(json!({ "type": "tool_result", "tool_use_id": "a" })),
        Just(json!({ "type": "function_call", "call_id": "a", "name": "f", "arguments": "{" })),
        Just(json!({ "type": "custom_tool_call_output", "call_id": "a", "output": "x" })),
        Just(
            json!({ "type": "namespace", "name": "n", "tools": [{ "type": "custom", "name": "f" }] })
        ),
        Just(json!({ "type": "reasoning", "summary": [] })),
        Just(json!({ "type": "json_schema", "json_schema": { "schema": { "type": "array" } } })),
    ];
    let value = leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(
                prop::sample::select(vec![
                    "role",
                    "content",
                    "type",
                    "text",
                    "tool_calls",
                    "images",
                    "5",
                    "thinking",
                    "image_url",
                    "input_audio",
                    "source",
                    "data",
                    "tool_use_id",
                    "input",
                    "input_schema",
                    "name",
                    "effort",
                    "json_schema",
                    "schema",
                    "format",
                    "call_id",
                    "namespace",
                    "output",
                    "summary",
                    "tools",
                ])
                .prop_map(str::to_owned),
                inner,
                0..4,
            )
            .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    });
    let key = prop::sample::select(KEYS);
    prop::collection::btree_map(key.prop_map(str::to_owned), value, 0..5).prop_map(|mut fields| {
        fields.insert("model".to_owned(), "m".into());
        fields.entry("max_tokens".to_owned()).or_insert(5.into());
        Value::Object(fields.into_iter().collect())
    })
}

fn decode_all(body: &[u8]) -> Vec<Error> {
    let outcomes = [
        chat::decode(body).map(|_| ()),
        completion::decode(body).map(|_| ()),
        responses::decode(body, &()).map(|_| ()),
        embedding::decode(body).map(|_| ()),
        speech::decode(body).map(|_| ()),
        image::decode(body).map(|_| ()),
        ollama::chat::decode(body).map(|_| ()),
        ollama::generate::decode(body).map(|_| ()),
        ollama::embed::decode(ollama::embed::Form::Embed, body).map(|_| ()),
        ollama::embed::decode(ollama::embed::Form::Embeddings, body).map(|_| ()),
        ollama::model::decode_show(body).map(|_| ()),
        ollama::library::decode_pull(body).map(|_| ()),
        ollama::library::decode_create(body).map(|_| ()),
        ollama::library::decode_copy(body).map(|_| ()),
        ollama::library::decode_delete(body).map(|_| ()),
        infill::decode(body).map(|_| ()),
        rerank::decode(Route::V1, body).map(|_| ()),
        rerank::decode(Route::V2, body).map(|_| ()),
        anthropic::messages::decode(body).map(|_| ()),
        anthropic::count::decode(body).map(|_| ()),
    ];
    outcomes.into_iter().filter_map(Result::err).collect()
}

/// JSON that looks like a chunk of a server's stream here and there.
fn almost_a_chunk() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec!["stop", "length", "f", "{}", "", "invalid_request_error"]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        (0..3_u64).prop_map(Value::from),
        word.prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "choices",
        "index",
        "delta",
        "content",
        "reasoning",
        "tool_calls",
        "function",
        "name",
        "arguments",
        "finish_reason",
        "logprobs",
        "top_logprobs",
        "tokens",
        "usage",
        "prompt_tokens",
        "error",
        "code",
    ]);
    leaf.prop_recursive(6, 48, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 1..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_a_server_streams_has_one_end(
        chunks in prop::collection::vec(almost_a_chunk(), 0..6),
        delta in almost_a_chunk(),
    ) {
        let mut decoder = upstream::Decoder::new(true);
        let likely = json!({ "choices": [{ "delta": delta, "logprobs": delta }], "usage": delta });
        let mut events = Vec::new();
        for chunk in [likely].iter().chain(&chunks) {
            events.extend(decoder.data(&chunk.to_string()).unwrap_or_default());
        }
        events.extend(decoder.end());
        let ends: Vec<bool> = events.iter().map(worker_protocol::Event::is_last).collect();
        prop_assert_eq!(ends.iter().filter(|is_last| **is_last).count(), 1);
        prop_assert_eq!(ends.last(), Some(&true));
    }

    #[test]
    fn any_bytes_are_a_request_or_a_refusal(body: Vec<u8>) {
        decode_all(&body);
    }

    #[test]
    fn whatever_is_wrong_is_the_clients_error_and_says_where(request in almost_a_request()) {
        for error in decode_all(request.to_string().as_bytes()) {
            prop_assert_eq!(error.status, 400);
            prop_assert!(error.param.is_some(), "{}", error);
        }
    }
}
