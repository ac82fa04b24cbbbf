//! What small real models answer, asked in every way that OpenAI's API has.

use std::thread;

use serde_json::{Value, json};

use crate::hub::{Hub, shared};

/// What the model's maker published.
const STORY: &str = ", there was a little girl named Lily. She loved to play outside in the park. \
                     One day, she saw a big, red ball.";

/// "Once upon a time", as the model's own tokens.
const BEGINNING: [u32; 5] = [1, 403, 407, 261, 378];

const COMPLETIONS: &str = "/v1/completions";

/// A request for the story, always the likeliest token, with these fields changed.
fn story(changes: &Value) -> Value {
    let mut body = json!({
        "model": "stories", "prompt": "Once upon a time", "max_tokens": 60, "temperature": 0
    });
    for (key, value) in changes.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

#[track_caller]
fn text(answer: &Value) -> &str {
    answer["choices"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {answer}"))
}

#[track_caller]
fn streamed_text(events: &[Value]) -> String {
    let pieces = events.iter().filter_map(|event| event["choices"][0]["text"].as_str());
    pieces.collect()
}

#[test]
fn the_story_is_the_published_one() {
    let Some(hub) = Hub::with_stories(&[]) else { return };
    let answer = hub.post(COMPLETIONS, &story(&json!({}))).ok();
    assert!(text(&answer).starts_with(STORY), "{answer}");
    assert_eq!(answer["object"], "text_completion");
    assert_eq!(answer["model"], "stories");
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    let usage = &answer["usage"];
    assert_eq!(usage["prompt_tokens"], 5);
    assert_eq!(usage["completion_tokens"], 60);
    assert_eq!(usage["total_tokens"], 65);

    let as_tokens = hub.post(COMPLETIONS, &story(&json!({"prompt": BEGINNING}))).ok();
    assert_eq!(text(&as_tokens), text(&answer), "the prompt as token ids is the same prompt");
    let echoed = hub.post(COMPLETIONS, &story(&json!({"echo": true}))).ok();
    assert_eq!(text(&echoed), format!("Once upon a time{}", text(&answer)));
}

#[test]
fn a_streamed_answer_is_the_whole_answer() {
    let Some(hub) = Hub::with_stories(&[]) else { return };
    let whole = hub.post(COMPLETIONS, &story(&json!({}))).ok();
    let events = hub.stream(COMPLETIONS, &story(&json!({"stream": true}))).events();
    assert!(events.len() > 30, "{} events are not a stream", events.len());
    assert_eq!(streamed_text(&events), text(&whole));
    let finish: Vec<&Value> = events
        .iter()
        .map(|event| &event["choices"][0]["finish_reason"])
        .filter(|reason| !reason.is_null())
        .collect();
    assert_eq!(finish, ["length"]);
    assert!(events.iter().all(|event| event["usage"].is_null()), "nobody asked for usage");
    assert!(events.iter().all(|event| event["id"] == events[0]["id"]), "one answer has one id");

    let options = json!({"stream": true, "stream_options": {"include_usage": true}});
    let events = hub.stream(COMPLETIONS, &story(&options)).events();
    let last = events.last().unwrap();
    assert_eq!(last["choices"], json!([]));
    for key in ["prompt_tokens", "completion_tokens", "total_tokens"] {
        assert_eq!(last["usage"][key], whole["usage"][key], "{key}");
    }
}

#[test]
fn a_stop_string_ends_the_text_and_is_never_shown() {
    let Some(hub) = Hub::with_stories(&[]) else { return };
    // "She loved to" begins and ends inside tokens; the second of the list comes first.
    for stop in [json!("She loved to"), json!(["park", "She loved to"])] {
        let expected = ", there was a little girl named Lily. ";
        let answer = hub.post(COMPLETIONS, &story(&json!({"stop": stop}))).ok();
        assert_eq!(text(&answer), expected);
        assert_eq!(answer["choices"][0]["finish_reason"], "stop");
        let stream = hub.stream(COMPLETIONS, &story(&json!({"stop": stop, "stream": true})));
        assert_eq!(streamed_text(&stream.events()), expected);
    }
    // What looks like the begin of a stop string and is none comes through.
    let answer = hub.post(COMPLETIONS, &story(&json!({"stop": "She loved tomatoes"}))).ok();
    assert!(text(&answer).starts_with(STORY), "{answer}");
}

#[test]
fn seeds_repeat_and_choices_differ() {
    let Some(hub) = Hub::with_stories(&[]) else { return };
    let drawn = |seed: u32| {
        let changes = json!({"temperature": 1.0, "n": 2, "seed": seed});
        let answer = hub.post(COMPLETIONS, &story(&changes)).ok();
        let choices = answer["choices"].as_array().unwrap().clone();
        let mut choices: Vec<(u64, String)> = choices
            .iter()
            .map(|choice| {
                (choice["index"].as_u64().unwrap(), choice["text"].as_str().unwrap().to_owned())
            })
            .collect();
        choices.sort();
        assert_eq!(choices.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(answer["usage"]["completion_tokens"], 120, "both choices count");
        choices
    };
    let first = drawn(7);
    assert_eq!(first, drawn(7), "the same seed draws the same");
    assert_ne!(first[0].1, first[1].1, "the choices of one request differ");
    assert_ne!(first, drawn(8), "another seed draws something else");
}

#[test]
fn logprobs_belong_to_the_text() {
    let Some(hub) = Hub::with_stories(&[]) else { return };
    let answer = hub.post(COMPLETIONS, &story(&json!({"logprobs": 3, "max_tokens": 12}))).ok();
    let logprobs = &answer["choices"][0]["logprobs"];
    let list = |key: &str| {
        logprobs[key].as_array().unwrap_or_else(|| panic!("`{key}` is missing: {answer}")).clone()
    };
    let tokens = list("tokens");
    assert_eq!(tokens.len(), 12);
    let joined: String = tokens.iter().map(|token| token.as_str().unwrap()).collect();
    assert_eq!(joined, text(&answer));
    let chosen: Vec<f64> =
        list("token_logprobs").iter().map(|value| value.as_f64().unwrap()).collect();
    assert!(chosen.iter().all(|logprob| *logprob <= 0.0), "{chosen:?}");
    let mut offset = list("text_offset")[0].as_u64().unwrap();
    for (index, alternatives) in list("top_logprobs").iter().enumerate() {
        let alternatives = alternatives.as_object().unwrap();
        assert!((3..=4).contains(&alternatives.len()), "{alternatives:?}");
        let best = alternatives.values().filter_map(Value::as_f64).fold(f64::MIN, f64::max);
        assert!((best - chosen[index]).abs() < 1e-6, "the likeliest token is chosen");
        let sum: f64 = alternatives.values().filter_map(Value::as_f64).map(f64::exp).sum();
        assert!(sum <= 1.0 + 1e-4, "probabilities add up to {sum}");
        assert_eq!(list("text_offset")[index].as_u64(), Some(offset));
        offset += tokens[index].as_str().unwrap().chars().count() as u64;
    }
    let events = hub
        .stream(COMPLETIONS, &story(&json!({"logprobs": 3, "max_tokens": 12, "stream": true})))
        .events();
    let streamed: Vec<Value> = events
        .iter()
        .filter_map(|event| event["choices"][0]["logprobs"]["tokens"].as_array())
        .flatten()
        .cloned()
        .collect();
    assert_eq!(streamed, tokens);
}

#[test]
fn a_prompt_that_is_too_long_is_refused_in_openais_words() {
    let Some(hub) = Hub::with_stories(&["--context", "64"]) else { return };
    let long = "Once upon a time ".repeat(100);
    for stream in [false, true] {
        let body = story(&json!({"prompt": long, "stream": stream}));
        let error = hub.post(COMPLETIONS, &body).error(400);
        assert_eq!(error["code"], "context_length_exceeded");
        assert_eq!(error["type"], "invalid_request_error");
        assert!(error["message"].as_str().unwrap().contains("64"), "{error}");
    }
    let answer =
        hub.post(COMPLETIONS, &story(&json!({"max_tokens": 500, "ignore_eos": true}))).ok();
    assert_eq!(answer["choices"][0]["finish_reason"], "length", "a full context ends the text");
}

/// llama.cpp adds up attention in 16 bits, in another order in every batch. Where the two likeliest
/// tokens are nearer than this in log-probability, either may come.
const NEAR: f64 = 0.02;

#[test]
fn many_at_once_answer_as_each_alone() {
    let Some(hub) = Hub::with_stories(&["--context", "4096"]) else { return };
    let prompts = ["Once upon a time", "The dog", "Lily was", "In the park", "A big red ball"];
    let ask = |prompt: &str| {
        let body = story(&json!({"prompt": prompt, "max_tokens": 80, "logprobs": 2}));
        hub.post(COMPLETIONS, &body).ok()["choices"][0]["logprobs"].take()
    };
    let alone: Vec<Value> = prompts.iter().map(|prompt| ask(prompt)).collect();
    let together: Vec<Value> = thread::scope(|scope| {
        let asked: Vec<_> =
            (0..20).map(|index| scope.spawn(move || ask(prompts[index % prompts.len()]))).collect();
        asked.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (index, answer) in together.iter().enumerate() {
        let alone = &alone[index % prompts.len()];
        let list = |one: &Value| one["tokens"].as_array().unwrap().clone();
        let (ours, theirs) = (list(answer), list(alone));
        let Some(place) = (0..80).find(|place| ours[*place] != theirs[*place]) else { continue };
        let likeliest = alone["top_logprobs"][place].as_object().unwrap();
        let values: Vec<f64> = likeliest.values().filter_map(Value::as_f64).collect();
        let lead = (values[0] - values[1]).abs();
        assert!(lead < NEAR, "token {place}: {} not {} ({lead})", ours[place], theirs[place]);
    }
}

#[test]
fn a_list_of_prompts_is_answered_in_order() {
    let Some(hub) = Hub::with_stories(&[]) else { return };
    let both = story(&json!({"prompt": ["The dog", "Once upon a time"]}));
    let both = hub.post(COMPLETIONS, &both).ok();
    assert_eq!(both["choices"][1]["index"], 1);
    assert!(both["choices"][1]["text"].as_str().unwrap().starts_with(STORY), "{both}");
}

#[test]
fn the_models_are_listed() {
    let Some(hub) = Hub::with_stories(&[]) else { return };
    let list = hub.get("/v1/models").ok();
    assert_eq!(list["object"], "list");
    assert_eq!(list["data"][0]["id"], "stories");
    assert_eq!(list["data"][0]["object"], "model");
    assert_eq!(hub.get("/v1/models/stories").ok()["id"], "stories");
    hub.get("/v1/models/nobody").error(404);
    let error = hub.post(COMPLETIONS, &story(&json!({"model": "storys"}))).error(404);
    assert_eq!(error["code"], "model_not_found");
    assert!(error["message"].as_str().unwrap().contains("'stories'"), "{error}");
}

#[test]
fn metrics_count_what_was_done() {
    let Some(hub) = Hub::with_stories(&[]) else { return };
    hub.post(COMPLETIONS, &story(&json!({}))).ok();
    // The worker's counters follow the answer.
    hub.wait_for("60 tokens in the metrics", || {
        let metrics = hub.get("/metrics").text();
        metrics.lines().any(|line| line.contains("stories") && line.ends_with(" 60")).then_some(())
    });
}

/// A hub with a small real embedding model, or `None` when that is not here.
fn with_embeddings() -> Option<Hub> {
    let model = format!("minilm={}", shared("models/minilm-q8_0.gguf")?.display());
    Some(Hub::start(&["--model", &model]))
}

fn embed(hub: &Hub, input: &Value) -> Vec<Vec<f32>> {
    let answer = hub.post("/v1/embeddings", &json!({"model": "minilm", "input": input})).ok();
    assert_eq!(answer["object"], "list");
    assert!(answer["usage"]["prompt_tokens"].as_u64().unwrap() > 0);
    let data = answer["data"].as_array().unwrap();
    data.iter().map(|one| serde_json::from_value(one["embedding"].clone()).unwrap()).collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn embeddings_of_like_sentences_are_near() {
    let Some(hub) = with_embeddings() else { return };
    let sentences = [
        "A man is eating food.",
        "Somebody has a meal.",
        "The stock market fell sharply on Tuesday.",
    ];
    let together = embed(&hub, &json!(sentences));
    assert_eq!(together.len(), 3);
    for vector in &together {
        assert_eq!(vector.len(), 384);
        assert!((cosine(vector, vector) - 1.0).abs() < 1e-3, "the length is 1");
    }
    let near = cosine(&together[0], &together[1]);
    let far = cosine(&together[0], &together[2]);
    assert!(near > 0.4 && far < 0.2, "near {near}, far {far}");
    for (sentence, vector) in sentences.iter().zip(&together) {
        let alone = embed(&hub, &json!(sentence));
        let worst = alone[0].iter().zip(vector).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-5, "alone and in a batch differ by {worst}");
    }
    hub.post(COMPLETIONS, &story(&json!({"model": "minilm"}))).error(400);
}

#[test]
fn many_embeddings_come_back_in_order() {
    let Some(hub) = with_embeddings() else { return };
    let sentences: Vec<String> =
        (0..100).map(|index| format!("{} number {index}", "words ".repeat(index % 40))).collect();
    let together = embed(&hub, &json!(sentences));
    assert_eq!(together.len(), sentences.len());
    for index in [0, 39, 99] {
        let alone = embed(&hub, &json!(sentences[index])).remove(0);
        // Weights of 8 bits round what they are multiplied with, differently in a large batch; a
        // neighbour in the list would still be much further away.
        assert!(cosine(&alone, &together[index]) > 0.999, "sentence {index}");
        let nearest = (0..100)
            .max_by(|a, b| cosine(&alone, &together[*a]).total_cmp(&cosine(&alone, &together[*b])));
        assert_eq!(nearest, Some(index));
    }
    let too_long = json!({"model": "minilm", "input": "word ".repeat(5000)});
    hub.post("/v1/embeddings", &too_long).error(400);
}
