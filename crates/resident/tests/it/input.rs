//! Requests that are wrong, huge or hostile: each is one clear error in OpenAI's form, and the hub
//! goes on.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::http::{Answer, Request};
use crate::hub::Hub;
use crate::process::Process;

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";
const EMBEDDINGS: &str = "/v1/embeddings";

/// More than the hub takes in one request.
const HUGE_BYTES: usize = 200 << 20;

/// What the hub may grow by while it is sent [`HUGE_BYTES`]: the largest body it takes, a few times
/// over, for what parsing and the allocator keep.
const GROWTH_BYTES_MAX: u64 = 120 << 20;

#[track_caller]
fn assert_healthy(hub: &Hub) {
    hub.get("/health").ok_status();
    if hub.get("/v1/models").ok()["data"].as_array().is_some_and(|models| !models.is_empty()) {
        let body = json!({"model": "stories", "prompt": "Once", "max_tokens": 1});
        hub.post(COMPLETIONS, &body).ok();
    }
}

/// A hub with a model if there is one; most of this is refused before a model is looked for.
fn hub() -> Hub {
    Hub::with_stories(&[]).unwrap_or_else(|| Hub::start(&[]))
}

#[test]
fn wrong_bodies_are_refused_with_the_field_that_is_wrong() {
    let hub = hub();
    let message = json!([{"role": "user", "content": "Hi"}]);
    for (path, body, field) in [
        (CHAT, json!({"model": 7, "messages": message}), "model"),
        (CHAT, json!({"messages": message}), "model"),
        (CHAT, json!({"model": "stories"}), "messages"),
        (CHAT, json!({"model": "stories", "messages": "Hi"}), "messages"),
        (CHAT, json!({"model": "stories", "messages": []}), "messages"),
        (CHAT, json!({"model": "stories", "messages": [7]}), "messages"),
        (
            CHAT,
            json!({"model": "stories", "messages": [{"role": "king", "content": "Hi"}]}),
            "role",
        ),
        (
            CHAT,
            json!({"model": "stories", "messages": [{"role": "user", "content": 7}]}),
            "content",
        ),
        (
            CHAT,
            json!({"model": "stories", "messages": message, "temperature": "hot"}),
            "temperature",
        ),
        (CHAT, json!({"model": "stories", "messages": message, "temperature": -1}), "temperature"),
        (CHAT, json!({"model": "stories", "messages": message, "n": 0}), "n"),
        (CHAT, json!({"model": "stories", "messages": message, "n": 1_000_000}), "n"),
        (CHAT, json!({"model": "stories", "messages": message, "max_tokens": -5}), "max_tokens"),
        (CHAT, json!({"model": "stories", "messages": message, "max_tokens": 1.5}), "max_tokens"),
        (CHAT, json!({"model": "stories", "messages": message, "stop": 7}), "stop"),
        (CHAT, json!({"model": "stories", "messages": message, "stream": "yes"}), "stream"),
        (CHAT, json!({"model": "stories", "messages": message, "tools": "all"}), "tools"),
        (
            CHAT,
            json!({"model": "stories", "messages": message, "logit_bias": {"x": 1}}),
            "logit_bias",
        ),
        (
            CHAT,
            json!({"model": "stories", "messages": message, "top_logprobs": 1000}),
            "top_logprobs",
        ),
        (COMPLETIONS, json!({"model": "stories"}), "prompt"),
        (COMPLETIONS, json!({"model": "stories", "prompt": {"text": "Hi"}}), "prompt"),
        (COMPLETIONS, json!({"model": "stories", "prompt": [-1]}), "prompt"),
        (COMPLETIONS, json!({"model": "stories", "prompt": "Hi", "logprobs": "all"}), "logprobs"),
        (COMPLETIONS, json!({"model": "stories", "prompt": "Hi", "seed": "lucky"}), "seed"),
        (EMBEDDINGS, json!({"model": "stories"}), "input"),
        (EMBEDDINGS, json!({"model": "stories", "input": []}), "input"),
        (
            EMBEDDINGS,
            json!({"model": "stories", "input": "Hi", "encoding_format": "gif"}),
            "encoding_format",
        ),
        (EMBEDDINGS, json!({"model": "stories", "input": "Hi", "dimensions": 0}), "dimensions"),
    ] {
        let error = hub.post(path, &body).error(400);
        assert_eq!(error["type"], "invalid_request_error", "{body}");
        let named = error["param"].as_str().unwrap_or_default();
        let message = error["message"].as_str().unwrap();
        assert!(
            named.contains(field) || message.contains(field),
            "'{field}' is not named: {error}"
        );
    }
    assert_healthy(&hub);
}

#[test]
fn bodies_that_are_no_json_are_refused() {
    let hub = hub();
    for body in [
        "",
        "{",
        "nonsense",
        "[]",
        "null",
        "{\"model\": \"stories\"} more",
        "{\"model\": NaN}",
        "{'model': 'stories'}",
        "{\"model\": \"stories\", \"prompt\": \"\\ud800\"}",
    ] {
        for path in [CHAT, COMPLETIONS, EMBEDDINGS] {
            let answer = hub.send(&Request::post_bytes(path, body.as_bytes().to_vec()));
            answer.error(400);
        }
    }
    hub.send(&Request::post_bytes(COMPLETIONS, vec![0xff, 0xfe, 0x00, 0x80])).error(400);
    assert_healthy(&hub);
}

#[test]
fn tokens_and_numbers_out_of_range_are_refused() {
    let Some(hub) = Hub::with_stories(&[]) else { return };
    for prompt in [json!([600]), json!([1, u32::MAX]), json!([1, u64::MAX]), json!([]), json!("")] {
        let body = json!({"model": "stories", "prompt": prompt, "max_tokens": 1});
        let answer = hub.post(COMPLETIONS, &body);
        // An empty text still has the model's begin token in front of it.
        assert!(
            prompt == "" || answer.status == 400,
            "{prompt}: {} {}",
            answer.status,
            answer.text()
        );
        assert_healthy(&hub);
    }
    let bias =
        json!({"model": "stories", "prompt": "a", "max_tokens": 1, "logit_bias": {"99999": 1}});
    assert!(matches!(hub.post(COMPLETIONS, &bias).status, 200 | 400));
    for (key, value) in [
        ("temperature", json!(1e300)),
        ("top_p", json!(1e-300)),
        ("seed", json!(u64::MAX)),
        ("seed", json!(-1)),
        ("max_tokens", json!(u64::MAX)),
        ("max_tokens", json!(0)),
        ("top_k", json!(i32::MAX)),
        ("presence_penalty", json!(1e30)),
        ("min_p", json!(1)),
    ] {
        let mut body = json!({"model": "stories", "prompt": "Once", "max_tokens": 2});
        body[key] = value;
        let answer = hub.post(COMPLETIONS, &body);
        assert!(matches!(answer.status, 200 | 400), "{body}: {} {}", answer.status, answer.text());
        assert_healthy(&hub);
    }
}

#[test]
fn a_chat_with_a_model_that_has_no_template_is_refused() {
    let Some(hub) = Hub::with_stories(&[]) else { return };
    let body = json!({"model": "stories", "messages": [{"role": "user", "content": "Hi"}]});
    let error = hub.post(CHAT, &body).error(400);
    assert!(error["message"].as_str().unwrap().contains("template"), "{error}");
    let body = json!({"model": "nobody", "messages": [{"role": "user", "content": "Hi"}]});
    assert_eq!(hub.post(CHAT, &body).error(404)["code"], "model_not_found");
}

#[test]
fn a_huge_body_is_refused_and_costs_little() {
    let hub = hub();
    assert_healthy(&hub);
    let process = Process::of(hub.pid()).unwrap();
    let before = process.resident_bytes();
    let body = huge_body();
    let address = hub.address;
    let sending = std::thread::spawn(move || {
        Request::post_bytes(COMPLETIONS, body).send(address).expect("an answer").error(413);
    });
    let mut most = before;
    while !sending.is_finished() {
        most = most.max(process.resident_bytes());
        std::thread::sleep(Duration::from_millis(5));
    }
    sending.join().unwrap();
    let grown = most.saturating_sub(before);
    println!("the hub grew by {grown} bytes");
    assert!(grown < GROWTH_BYTES_MAX, "the hub grew by {grown} bytes");
    assert_healthy(&hub);
}

#[test]
fn a_huge_body_without_a_length_is_refused() {
    let hub = hub();
    let mut socket = TcpStream::connect(hub.address).unwrap();
    let head = format!(
        "POST {COMPLETIONS} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\nconnection: close\r\n\r\n",
        hub.address
    );
    let mut writer = socket.try_clone().unwrap();
    std::thread::spawn(move || {
        let piece = [b"100000\r\n".to_vec(), vec![b' '; 1 << 20], b"\r\n".to_vec()].concat();
        let mut sent = writer.write_all(head.as_bytes());
        for _ in 0..(HUGE_BYTES >> 20) {
            sent = sent.and_then(|()| writer.write_all(&piece));
        }
        let _ = sent.and_then(|()| writer.write_all(b"0\r\n\r\n"));
    });
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    assert_healthy(&hub);
}

fn huge_body() -> Vec<u8> {
    let mut body = b"{\"model\": \"stories\", \"prompt\": \"".to_vec();
    body.resize(HUGE_BYTES, b'a');
    body.extend(b"\"}");
    body
}

#[test]
fn bodies_with_too_much_of_one_thing_are_refused() {
    let hub = hub();
    let message = json!({"role": "user", "content": "Hi"});
    let chat = |key: &str, value: Value| {
        let mut body = json!({"model": "stories", "messages": [message]});
        body[key] = value;
        (CHAT, body)
    };
    let text = |key: &str, value: Value| {
        let mut body = json!({"model": "stories", "prompt": "Once", "max_tokens": 1});
        body[key] = value;
        (COMPLETIONS, body)
    };
    let tool = json!({"type": "function", "function": {"name": "f", "parameters": {}}});
    let words: Vec<String> = (0..100_000).map(|index| format!("stop{index}")).collect();
    for (path, body) in [
        chat("messages", json!(vec![message.clone(); 10_000])),
        chat("stop", json!(words)),
        chat("stop", json!("x".repeat(1 << 20))),
        chat("tools", json!(vec![tool; 10_000])),
        text("stop", json!(words)),
        text("prompt", json!(vec!["Once"; 10_000])),
        text("best_of", json!(1_000_000)),
        (EMBEDDINGS, json!({"model": "stories", "input": vec!["Hi"; 100_000]})),
    ] {
        let answer = hub.post(path, &body);
        let shown: String = body.to_string().chars().take(100).collect();
        println!("{shown}: {} {}", answer.status, answer.text());
        answer.error(400);
        assert_healthy(&hub);
    }
}

#[test]
fn deep_json_is_refused() {
    let hub = hub();
    for depth in [65, 1_000, 1_000_000] {
        let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let tool = format!(
            "{{\"model\": \"stories\", \"messages\": [{{\"role\": \"user\", \"content\": \"Hi\"}}], \
             \"tools\": [{{\"type\": \"function\", \"function\": {{\"name\": \"f\", \
             \"parameters\": {deep}}}}}]}}"
        );
        for body in [deep.clone(), tool, format!("{{\"model\": {deep}}}"), "{\"a\":".repeat(depth)]
        {
            hub.send(&Request::post_bytes(CHAT, body.into_bytes())).error(400);
        }
    }
    assert_healthy(&hub);
}

#[test]
fn whoever_is_not_meant_is_not_answered() {
    let hub = hub();
    let body = json!({"model": "stories", "prompt": "Once", "max_tokens": 1});
    let post = || Request::post(COMPLETIONS, &body);
    for path in ["/health", "/metrics", "/v1/models", "/resident/v1/ps", "/", "/nowhere"] {
        hub.send(&Request::get(path).header("host", "evil.example")).error(421);
        hub.send(&Request::get(path).header("origin", "https://evil.example")).error(403);
    }
    hub.send(&post().header("host", "evil.example")).error(421);
    hub.send(&post().header("host", "127.0.0.1.evil.example:80")).error(421);
    for origin in ["https://evil.example", "null", "file://", "http://localhost.evil.example"] {
        hub.send(&post().header("origin", origin)).error(403);
    }
    hub.send(&post().header("sec-fetch-site", "cross-site")).error(403);
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        hub.send(&post().header("content-type", kind)).error(415);
    }
    let own = format!("http://127.0.0.1:{}", hub.address.port());
    hub.send(&Request::get("/v1/models").header("origin", &own)).ok_status();
    let local = format!("localhost:{}", hub.address.port());
    hub.send(&Request::get("/v1/models").header("host", &local)).ok_status();
    hub.get("/nowhere").error(404);
    hub.get(COMPLETIONS).error(405);
    assert_healthy(&hub);
}

#[test]
fn control_needs_the_token() {
    let hub = hub();
    for path in ["/resident/v1/ps", "/resident/v1/models"] {
        hub.get(path).error(401);
        hub.send(&Request::get(path).header("authorization", "Bearer wrong")).error(401);
        hub.control(path);
    }
    let stop = Request::post("/resident/v1/stop", &json!({"model": "stories"}));
    hub.send(&stop).error(401);
    let token = hub.token();
    assert_eq!(token.len(), 64);
    let stop = stop.header("authorization", &format!("Bearer {token}"));
    hub.send(&stop).error(404);
    hub.get(&format!("/resident/v1/ps?key={token}")).error(401);
    assert_healthy(&hub);
}

#[test]
fn a_key_is_needed_where_one_is_set() {
    let hub = Hub::start(&["--key", "open-sesame"]);
    hub.get("/v1/models").error(401);
    hub.send(&Request::get("/v1/models").header("authorization", "Bearer wrong")).error(401);
    for (name, value) in [("authorization", "Bearer open-sesame"), ("x-api-key", "open-sesame")] {
        hub.send(&Request::get("/v1/models").header(name, value)).ok_status();
    }
    // The key opens inference, not control.
    let control = Request::get("/resident/v1/ps").header("authorization", "Bearer open-sesame");
    hub.send(&control).error(401);
    assert!(!hub.log().contains("open-sesame"), "the key is in the log");
}

#[test]
fn connections_that_say_nothing_hold_up_nobody() {
    let hub = hub();
    let idle: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(hub.address).unwrap()).collect();
    let begun: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut socket = TcpStream::connect(hub.address).unwrap();
            socket.write_all(b"POST /v1/completions HTTP/1.1\r\nhost:").unwrap();
            socket
        })
        .collect();
    assert_healthy(&hub);
    drop((idle, begun));
    assert_healthy(&hub);
}

#[test]
fn bytes_that_are_no_http_hold_up_nobody() {
    let hub = hub();
    for bytes in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        vec![0; 100_000],
        b"GET / HTTP/1.1\r\n".repeat(5_000),
        [b"GET /health HTTP/1.1\r\nhost: ".to_vec(), vec![b'a'; 1 << 20], b"\r\n\r\n".to_vec()]
            .concat(),
        b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\
          content-length: 7\r\n\r\nhello"
            .to_vec(),
    ] {
        let mut socket = TcpStream::connect(hub.address).unwrap();
        // The hub may hang up in the middle.
        let _ = socket.write_all(&bytes);
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(&answer));
    }
    assert_healthy(&hub);
}

#[test]
fn many_requests_at_once_are_all_answered() {
    let Some(hub) = Hub::with_stories(&["--parallel", "4"]) else { return };
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..100)
            .map(|index| {
                let hub = &hub;
                scope.spawn(move || {
                    let body =
                        json!({"model": "stories", "prompt": "Once", "max_tokens": index % 7 + 1});
                    hub.post(COMPLETIONS, &body)
                })
            })
            .collect();
        asked.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let refused: Vec<u16> =
        answers.iter().map(|answer| answer.status).filter(|status| *status != 200).collect();
    assert!(refused.is_empty(), "refused: {refused:?}");
    assert_healthy(&hub);
}
