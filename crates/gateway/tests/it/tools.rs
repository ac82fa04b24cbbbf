//! One-shot tools over HTTP: scripts that show what they were given, and real programs where they
//! are installed.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use gateway::{
    Config,
    limits::{
        CLIENT_WAIT_MAX, FORM_PARTS_MAX, FORM_TEXT_BYTES_MAX, TOOL_REQUESTS_MAX, UPLOAD_BYTES_MAX,
        UPLOADS_MAX,
    },
};
use serde_json::{Value, json};
use supervisor::{Input, Output, Serves, Tool};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::client::{Answer, Ask, DEADLINE, within};
use crate::roles::role;
use crate::site::{BUDGET_BYTES, Site, config};

pub(crate) fn tool(name: &str, serves: Serves, content_type: &str, argv: &[&str]) -> Tool {
    let defaults = [
        ("height", "0"),
        ("language", "xx"),
        ("level", "1"),
        ("name", ""),
        ("prompt", ""),
        ("rate", "16000"),
        ("size", "auto"),
        ("temperature", "0"),
        ("voice", "en"),
        ("width", "0"),
    ];
    let defaults = defaults.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Tool {
        name: name.to_owned(),
        argv: argv.iter().map(|argument| (*argument).to_owned()).collect(),
        environment: BTreeMap::new(),
        memory_bytes: 10_000_000,
        time_max: DEADLINE,
        output_bytes_max: 1 << 20,
        serves,
        input: Input::Stdin,
        output: Output::Stdout,
        content_type: content_type.to_owned(),
        defaults: defaults.into(),
        voices: BTreeMap::new(),
    }
}

/// A script that prints its input and its arguments.
pub(crate) fn echo(name: &str, serves: Serves, content_type: &str, arguments: &[&str]) -> Tool {
    let shell = ["sh", "-c", "cat; printf '|%s' \"$@\"", "echo"];
    let argv: Vec<&str> = shell.into_iter().chain(arguments.iter().copied()).collect();
    tool(name, serves, content_type, &argv)
}

fn shell(name: &str, script: &str) -> Tool {
    tool(name, Serves::Tool, "text/plain", &["sh", "-c", script])
}

async fn site(tools: Vec<Tool>) -> Site {
    for tool in &tools {
        tool.check().unwrap();
    }
    Site::with(Config { tools, ..config() }).await
}

pub(crate) fn speech(more: Value) -> Ask {
    let mut body = json!({ "input": "Hello." });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Ask::post("/v1/audio/speech", &body)
}

fn by_name(path: &str, body: impl Into<Vec<u8>>) -> Ask {
    Ask::new("POST", path).with("content-type", "application/octet-stream").body(body)
}

/// A form with these parts.
fn form(path: &str, parts: &[(&str, &[u8])]) -> Ask {
    let mut body = Vec::new();
    for (name, value) in parts {
        let head = format!("--limit\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n");
        body.extend([head.as_bytes(), value, b"\r\n"].concat());
    }
    body.extend(b"--limit--\r\n");
    Ask::new("POST", path).with("content-type", "multipart/form-data; boundary=limit").body(body)
}

pub(crate) fn transcription(parts: &[(&str, &[u8])]) -> Ask {
    form("/v1/audio/transcriptions", parts)
}

pub(crate) fn ok(answer: &Answer, content_type: &str) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.headers["content-type"], content_type);
    answer.text.clone()
}

#[tokio::test]
async fn a_speaker_gets_the_text_and_the_values_it_has_places_for() {
    let places =
        ["{voice}", "{speed}", "{words_per_minute}", "{length_scale}", "{language}", "{prompt}"];
    let first = Tool {
        voices: BTreeMap::from([("alloy".to_owned(), "en-us".to_owned())]),
        ..echo("first", Serves::Speak, "audio/wav", &places)
    };
    let second = echo("second", Serves::Speak, "audio/wav", &["{format}"]);
    let site = site(vec![first, second]).await;
    let address = site.address;
    let said = |ask: Ask| async move { ask.send(address).await };

    let seen = said(speech(json!({}))).await;
    assert_eq!(ok(&seen, "audio/wav"), "Hello.|en|1|175|1|xx|Hello.");
    let all = json!({ "model": "first", "voice": "alloy", "speed": 2, "language": "de",
                      "response_format": "wav" });
    let seen = said(speech(all)).await;
    assert_eq!(ok(&seen, "audio/wav"), "Hello.|en-us|2|350|0.5|de|Hello.");
    let seen = said(speech(json!({ "model": "speak", "voice": "amy; id" }))).await;
    assert_eq!(ok(&seen, "audio/wav"), "Hello.|amy; id|1|175|1|xx|Hello.");
    let seen = said(speech(json!({ "model": "second" }))).await;
    assert_eq!(ok(&seen, "audio/wav"), "Hello.|wav");
    let seen = said(speech(json!({ "model": "second", "response_format": "mp3" }))).await;
    assert_eq!(ok(&seen, "audio/mpeg"), "Hello.|mp3");

    let error = said(speech(json!({ "response_format": "mp3" }))).await.error(400);
    assert_eq!(error["param"], "response_format");
    let error = said(speech(json!({ "voice": "--help" }))).await.error(400);
    assert_eq!(error["param"], "voice");
    let error = said(speech(json!({ "model": "tts-1" }))).await.error(404);
    assert!(error["message"].as_str().unwrap().contains("first, second"), "{error}");
    site.ends().await;
}

#[tokio::test]
async fn a_role_of_speakers_is_asked_like_one() {
    let tools = vec![
        echo("first", Serves::Speak, "audio/wav", &["first"]),
        echo("second", Serves::Speak, "audio/wav", &["second"]),
        echo("other", Serves::Tool, "text/plain", &["other"]),
    ];
    let roles = role("speak", &["other", "second", "first"]);
    let site = Site::with_models(Config { tools, ..config() }, &[], roles, BUDGET_BYTES).await;
    for (model, said) in [("speak", "Hello.|second"), ("first", "Hello.|first")] {
        let answer = speech(json!({ "model": model })).send(site.address).await;
        assert_eq!(ok(&answer, "audio/wav"), said);
    }
    site.ends().await;
}

#[tokio::test]
async fn what_nobody_can_do_is_said() {
    let site = site(vec![shell("other", "true")]).await;
    let draw = Ask::post("/v1/images/generations", &json!({ "prompt": "a cat" }));
    let listen = transcription(&[("file", b"x")]);
    for (ask, word) in [(speech(json!({})), "speak"), (listen, "listen"), (draw, "draw")] {
        let error = ask.send(site.address).await.error(404);
        assert!(error["message"].as_str().unwrap().contains(word), "{error}");
    }
    let error = by_name("/api/tools/x", "").send(site.address).await.error(404);
    assert!(error["message"].as_str().unwrap().contains("other"), "{error}");
    site.ends().await;
}

#[tokio::test]
async fn a_listener_gets_the_sound_and_the_answer_has_the_form_that_was_asked_for() {
    let places = ["{language}", "{prompt}", "{temperature}"];
    let plain = echo("plain", Serves::Listen, "text/plain", &places);
    let script = "cat >/dev/null; echo '{\"text\":\" Hi. \",\"language\":\"en\"}'";
    let rich = tool("rich", Serves::Listen, "application/json", &["sh", "-c", script]);
    let told = echo("told", Serves::Listen, "text/plain", &["{format}"]);
    let site = site(vec![plain, rich, told]).await;
    let heard = |parts: &[(&str, &[u8])]| {
        let ask = transcription(parts);
        let address = site.address;
        async move { ask.send(address).await }
    };

    let seen = heard(&[("file", b"sound"), ("model", b"listen")]).await.ok();
    assert_eq!(seen["text"], "sound|xx||0");
    let parts: [(&str, &[u8]); 5] = [
        ("model", b"plain"),
        ("language", b"de"),
        ("prompt", b"names"),
        ("temperature", b"0.5"),
        ("file", b"sound"),
    ];
    assert_eq!(heard(&parts).await.ok()["text"], "sound|de|names|0.5");
    let seen = heard(&[("file", b"x"), ("response_format", b"text")]).await;
    assert_eq!(ok(&seen, "text/plain; charset=utf-8"), "x|xx||0\n");
    let seen =
        heard(&[("file", b"x"), ("model", b"rich"), ("response_format", b"verbose_json")]).await;
    assert_eq!(seen.ok(), json!({ "text": " Hi. ", "language": "en" }));
    let seen = heard(&[("file", b"x"), ("model", b"told"), ("response_format", b"srt")]).await;
    assert_eq!(ok(&seen, "application/x-subrip"), "x|srt");

    let error = heard(&[("file", b"x"), ("response_format", b"srt")]).await.error(400);
    assert_eq!(error["param"], "response_format");
    assert_eq!(heard(&[("model", b"plain")]).await.error(400)["param"], "file");
    heard(&[("file", b"\xff")]).await.error(500);
    site.ends().await;
}

#[tokio::test]
async fn a_form_that_is_none_is_refused() {
    let site = site(vec![echo("listener", Serves::Listen, "text/plain", &[])]).await;
    let path = "/v1/audio/transcriptions";
    for (kind, body) in [
        ("multipart/form-data", "x"),
        ("multipart/form-data; boundary=limit", ""),
        ("multipart/form-data; boundary=limit", "--limit\r\n"),
        ("multipart/form-data; boundary=limit", "--limit\r\n\r\nx\r\n--other--"),
    ] {
        let ask = Ask::new("POST", path).with("content-type", kind).body(body);
        ask.send(site.address).await.error(400);
    }
    let many = vec![("other", b"x".as_slice()); FORM_PARTS_MAX + 1];
    let error = transcription(&many).send(site.address).await.error(400);
    assert!(error["message"].as_str().unwrap().contains(&FORM_PARTS_MAX.to_string()));
    let wordy = vec![b'x'; FORM_TEXT_BYTES_MAX + 1];
    let error = transcription(&[("prompt", &wordy)]).send(site.address).await.error(413);
    assert!(error["message"].as_str().unwrap().contains("1 MiB"), "{error}");
    let huge = vec![b'x'; UPLOAD_BYTES_MAX];
    let error = transcription(&[("file", &huge)]).send(site.address).await.error(413);
    assert!(error["message"].as_str().unwrap().contains("64 MiB"), "{error}");
    site.ends().await;
}

#[tokio::test]
async fn pictures_are_drawn_one_after_the_other() {
    let places = ["{size}", "{width}x{height}", "{seed}"];
    let site = site(vec![echo("artist", Serves::Draw, "image/png", &places)]).await;
    let draw = |more: Value| {
        let mut body = json!({ "prompt": "a cat" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let ask = Ask::post("/v1/images/generations", &body);
        let address = site.address;
        async move { ask.send(address).await }
    };
    let seen = draw(json!({ "n": 2, "size": "512x256", "seed": 7, "model": "artist" })).await.ok();
    // Base64 of "a cat|512x256|512x256|7" and the same with 8.
    let pictures = ["YSBjYXR8NTEyeDI1Nnw1MTJ4MjU2fDc=", "YSBjYXR8NTEyeDI1Nnw1MTJ4MjU2fDg="];
    assert_eq!(seen["data"], json!(pictures.map(|picture| json!({ "b64_json": picture }))));
    assert!(seen["created"].as_u64().unwrap() > 1_700_000_000);
    // Without a seed two pictures differ.
    let (one, other) = (draw(json!({})).await.ok(), draw(json!({})).await.ok());
    assert_ne!(one["data"], other["data"]);
    assert_eq!(
        draw(json!({ "response_format": "url" })).await.error(400)["param"],
        "response_format"
    );
    site.ends().await;
}

#[tokio::test]
async fn any_tool_is_had_by_its_name() {
    let extension = "bin".to_owned();
    let mut copy = echo("my copy", Serves::Tool, "application/x-copy", &["{level}", "{name}"]);
    copy.argv = ["sh", "-c", "cat \"$1\" >\"$2\"; printf '|%s' \"$3\" \"$4\" >>\"$2\"", "copy"]
        .map(str::to_owned)
        .to_vec();
    copy.argv.extend(["{input}", "{output}", "{level}", "{name}"].map(str::to_owned));
    copy.input = Input::File { extension: extension.clone() };
    copy.output = Output::File { extension };
    let mut clock = tool("clock", Serves::Tool, "text/plain", &["printf", "%s", "{zone}"]);
    clock.input = Input::None;
    let site = site(vec![copy, clock]).await;

    let seen = by_name("/api/tools/my%20copy", [0, 0xff, 10]).send(site.address).await;
    ok(&seen, "application/x-copy");
    assert_eq!(&*seen.bytes, b"\0\xff\n|1|");
    let path = "/api/tools/my%20copy?level=9&name=a+b%26c%3D%E4%BA%8C";
    let seen = by_name(path, "x").send(site.address).await;
    assert_eq!(ok(&seen, "application/x-copy"), "x|9|a b&c=二");
    let seen = by_name("/api/tools/clock?zone=UTC", "").send(site.address).await;
    assert_eq!(ok(&seen, "text/plain"), "UTC");

    for (path, body, param) in [
        ("/api/tools/my%20copy?levle=9", "x", "levle"),
        ("/api/tools/my%20copy?input=/etc/passwd", "x", "input"),
        ("/api/tools/my%20copy?output=/etc/passwd", "x", "output"),
        ("/api/tools/clock", "", "zone"),
        ("/api/tools/clock?zone=-x", "", "zone"),
        ("/api/tools/clock?zone=UTC", "x", "body"),
    ] {
        let error = by_name(path, body).send(site.address).await.error(400);
        assert_eq!(error["param"], param, "{path}: {error}");
    }
    for path in ["/api/tools/copy", "/api/tools/my%20copy/x", "/api/tools/..%2Fclock"] {
        by_name(path, "x").send(site.address).await.error(404);
    }
    Ask::get("/api/tools/clock").send(site.address).await.error(405);
    let huge = by_name("/api/tools/my%20copy", vec![0; UPLOAD_BYTES_MAX + 1]);
    huge.send(site.address).await.error(413);
    site.ends().await;
}

#[tokio::test]
async fn each_way_to_fail_has_its_status() {
    let slow = Tool { time_max: Duration::from_millis(200), ..shell("slow", "sleep 600") };
    let greedy = Tool { memory_bytes: 1 << 50, ..shell("greedy", "true") };
    let loud = shell("loud", "yes");
    let site = site(vec![shell("bad", "echo no >&2; exit 1"), slow, greedy, loud]).await;
    for (name, status, code) in [
        ("bad", 500, "tool_failed"),
        ("slow", 504, "tool_timed_out"),
        ("greedy", 400, "tool_too_large"),
        ("loud", 500, "tool_output_too_large"),
    ] {
        let ask = by_name(&format!("/api/tools/{name}"), "");
        let error = ask.send(site.address).await.error(status);
        assert_eq!(error["code"], code);
        assert!(error["message"].as_str().unwrap().contains(name), "{error}");
    }
    site.ends().await;
}

#[tokio::test]
async fn a_client_that_vanishes_ends_its_tool() {
    let site = site(vec![shell("sleeper", "sleep 600")]).await;
    let address = site.address;
    let waiting =
        tokio::spawn(async move { by_name("/api/tools/sleeper", "").send(address).await });
    site.until_leased(1).await;
    waiting.abort();
    until_nothing_is_held(&site).await;
    site.ends().await;
}

#[tokio::test]
async fn only_so_many_requests_for_tools_are_open_at_once() {
    let site = site(vec![shell("sleeper", "sleep 600")]).await;
    let address = site.address;
    let ask = || async move { by_name("/api/tools/sleeper", "").send(address).await };
    let waiting: Vec<_> = (0..TOOL_REQUESTS_MAX).map(|_| tokio::spawn(ask())).collect();
    site.until_leased(u32::try_from(TOOL_REQUESTS_MAX).unwrap()).await;
    let refused = within(ask()).await;
    assert_eq!(refused.error(503)["code"], "overloaded");
    assert!(refused.headers.contains_key("retry-after"));
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    until_nothing_is_held(&site).await;
    site.ends().await;
}

#[tokio::test]
async fn a_tool_that_was_stopped_can_be_asked_again() {
    let site = site(vec![shell("sleeper", "sleep 600")]).await;
    let address = site.address;
    let waiting =
        tokio::spawn(async move { by_name("/api/tools/sleeper", "").send(address).await });
    site.until_leased(1).await;
    site.hub.stop("sleeper").await.unwrap();
    let stopped = within(waiting).await.unwrap();
    assert!(stopped.headers.contains_key("retry-after"));
    let error = stopped.error(503);
    assert_eq!(error["code"], "tool_stopped");
    assert!(error["message"].as_str().unwrap().contains("the operator stopped it"), "{error}");
    site.ends().await;
}

/// Writes a large file that takes no room on the disk.
fn hole(bytes: u64) -> Tool {
    let mut tool = shell("hole", "truncate -s \"$1\" \"$2\"");
    tool.argv.extend(["hole".to_owned(), bytes.to_string(), "{output}".to_owned()]);
    let extension = "bin".to_owned();
    Tool { output: Output::File { extension }, output_bytes_max: bytes, ..tool }
}

#[tokio::test]
async fn an_output_comes_in_pieces_and_holds_its_place_until_it_is_read() {
    // More than any pair of sockets takes in by itself.
    let bytes = 64 << 20;
    let site = site(vec![hole(bytes)]).await;
    let ask = || by_name("/api/tools/hole", "");
    let whole = ask().send(site.address).await;
    assert_eq!(whole.headers["content-length"], bytes.to_string());
    assert_eq!(
        (whole.bytes.len() as u64, whole.bytes.iter().all(|byte| *byte == 0)),
        (bytes, true)
    );

    let mut unread = Vec::new();
    for _ in 0..TOOL_REQUESTS_MAX {
        unread.push(ask().open(site.address).await);
    }
    assert!(unread.iter().all(|open| open.response.status() == 200));
    assert_eq!(site.hub.residents().await, [], "only the answers are left");
    assert_eq!(ask().send(site.address).await.error(503)["code"], "overloaded");
    unread.pop();
    let deadline = Instant::now() + DEADLINE;
    while ask().open(site.address).await.response.status() == 503 {
        assert!(Instant::now() < deadline, "a client that has gone holds its place");
    }
    // Whoever takes nothing at all for very long has gone in all but name.
    let full = async || ask().send(site.address).await.status == 503;
    while !full().await {
        unread.push(ask().open(site.address).await);
    }
    tokio::time::pause();
    tokio::time::advance(CLIENT_WAIT_MAX).await;
    tokio::time::resume();
    let deadline = Instant::now() + DEADLINE;
    while full().await {
        assert!(Instant::now() < deadline, "a client that reads nothing holds its place");
    }
    drop(unread);
    site.ends().await;
}

#[tokio::test]
async fn whoever_sends_slowly_keeps_nobody_from_a_tool() {
    let speaker = echo("speaker", Serves::Speak, "audio/wav", &[]);
    let site = site(vec![speaker, shell("other", "cat")]).await;
    let head = format!(
        "POST /api/tools/other HTTP/1.1\r\nhost: {}\r\ncontent-length: 2\r\n\
         content-type: application/octet-stream\r\n\r\nx",
        site.address
    );
    let mut slow = Vec::new();
    for _ in 0..UPLOADS_MAX {
        let mut socket = TcpStream::connect(site.address).await.unwrap();
        socket.write_all(head.as_bytes()).await.unwrap();
        slow.push(socket);
    }
    let address = site.address;
    let upload = || async move { by_name("/api/tools/other", "y").send(address).await };
    let deadline = Instant::now() + DEADLINE;
    while upload().await.status == 200 {
        assert!(Instant::now() < deadline, "uploads are not counted");
    }
    assert_eq!(upload().await.error(503)["code"], "overloaded");
    let spoken = speech(json!({})).send(site.address).await;
    assert_eq!(ok(&spoken, "audio/wav"), "Hello.|");
    slow.pop();
    while upload().await.status != 200 {
        assert!(Instant::now() < deadline, "an upload that broke off holds its place");
    }
    // What was begun can still be ended.
    let mut last = slow.pop().unwrap();
    last.write_all(b"z").await.unwrap();
    let mut answer = [0; 12];
    within(last.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    drop((slow, last));
    site.ends().await;
}

async fn until_nothing_is_held(site: &Site) {
    let deadline = Instant::now() + DEADLINE;
    while !site.hub.residents().await.is_empty() {
        assert!(Instant::now() < deadline, "{:?}", site.hub.residents().await);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Whether a program is installed; the test says so where it is not.
#[expect(clippy::print_stdout, reason = "shown when a test is skipped")]
fn is_installed(program: &str) -> bool {
    let mut version = Command::new(program);
    version.arg("-version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let found = version.status().is_ok();
    if !found {
        println!("skipped: {program} is not installed; `./x setup` installs it");
    }
    found
}

/// As its preset has it: on standard output its WAV would not know its own length.
fn espeak() -> Tool {
    let argv = ["espeak-ng", "-b", "1", "-v", "{voice}", "-s", "{words_per_minute}"];
    let argv: Vec<&str> = argv.into_iter().chain(["-f", "{input}", "-w", "{output}"]).collect();
    Tool {
        input: Input::File { extension: "txt".to_owned() },
        output: Output::File { extension: "wav".to_owned() },
        ..tool("espeak-ng", Serves::Speak, "audio/wav", &argv)
    }
}

/// Seconds of sound in a WAV, whose header has the usual form and is true.
fn duration_s(wav: &[u8]) -> f64 {
    let number = |at: usize| u32::from_le_bytes(wav[at..at + 4].try_into().unwrap());
    assert!(wav.starts_with(b"RIFF") && &wav[8..16] == b"WAVEfmt ", "{:?}", &wav[..16]);
    assert_eq!((&wav[36..40], number(40) as usize), (&b"data"[..], wav.len() - 44));
    f64::from(number(40)) / f64::from(number(28))
}

#[tokio::test]
async fn espeak_ng_speaks() {
    if !is_installed("espeak-ng") {
        return;
    }
    let site = site(vec![espeak()]).await;
    let say = |more: Value| {
        let ask = speech(more);
        let address = site.address;
        async move {
            let answer = ask.send(address).await;
            ok(&answer, "audio/wav");
            duration_s(&answer.bytes)
        }
    };
    let usual_s = say(json!({ "input": "The quick brown fox jumps over the lazy dog." })).await;
    assert!((1.0..10.0).contains(&usual_s), "{usual_s} s");
    let options = json!({ "input": "-v --help The quick brown fox jumps.", "speed": 0.5 });
    assert!(say(options).await > 1.0, "a text is no option");
    let fast = json!({ "input": "The quick brown fox jumps over the lazy dog.", "speed": 2 });
    assert!(say(fast).await < usual_s * 0.75);
    let error = speech(json!({ "voice": "nobody" })).send(site.address).await.error(500);
    assert!(error["message"].as_str().unwrap().contains("voice"), "{error}");
    site.ends().await;
}

#[tokio::test]
async fn ffmpeg_converts_what_espeak_ng_said() {
    if !is_installed("espeak-ng") || !is_installed("ffmpeg") {
        return;
    }
    let argv = ["ffmpeg", "-nostdin", "-loglevel", "error", "-i", "{input}", "-ar", "{rate}"];
    let argv: Vec<&str> = argv.into_iter().chain(["-f", "flac", "{output}"]).collect();
    let extension = |extension: &str| extension.to_owned();
    let convert = Tool {
        input: Input::File { extension: extension("wav") },
        output: Output::File { extension: extension("flac") },
        ..tool("to-flac", Serves::Tool, "audio/flac", &argv)
    };
    let site = site(vec![espeak(), convert]).await;
    let said = speech(json!({})).send(site.address).await;
    ok(&said, "audio/wav");
    let flac =
        by_name("/api/tools/to-flac?rate=8000", said.bytes.to_vec()).send(site.address).await;
    ok(&flac, "audio/flac");
    assert!(flac.bytes.starts_with(b"fLaC"));
    // 20 bits of STREAMINFO, after the marks of file and block, are the rate.
    let rate = u32::from_be_bytes(flac.bytes[18..22].try_into().unwrap()) >> 12;
    assert_eq!(rate, 8000);
    let error = by_name("/api/tools/to-flac", "no sound").send(site.address).await.error(500);
    assert_eq!(error["code"], "tool_failed");
    assert!(!Path::new("output.flac").exists());
    site.ends().await;
}
