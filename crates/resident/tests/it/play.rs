//! An engine that is a play: a server of OpenAI's API whose model does what its user tells it to.
//!
//! Somewhere in what the user says stands `PLAY` and a list in JSON, an act for each turn of the model's:
//!
//! - `think`, `say`: reasoning and text; `{heard}` in it is what tools answered since the last turn.
//! - `call`: tool calls, as `[[name, arguments], …]`.
//! - `tell`: a JSON pointer; what the engine was asked at that place is said.
//!
//! Turns are counted in the conversation that comes with each request, so nothing is kept between requests, and a
//! client may ask other things meanwhile: who says nothing of a play hears [`ASIDE`]. A tool that is not offered is
//! not called, and that is said instead.
//!
//! What it is asked is what the hub made of a client's request, so tests look at that too ([`Stage::asked`]). Not
//! here: vectors, raw prompts, whole answers, none of which the hub asks such a server for in these tests.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

/// The model as the hub's clients call it.
pub(crate) const ACTOR: &str = "stage/actor";

/// What is said to whoever asks for nothing else.
pub(crate) const ASIDE: &str = "An aside";

/// What a client is told that its model can take, which is what agents begin with.
const CONTEXT_TOKENS: u32 = 65_536;

/// Characters of a piece of an answer: few, so that everything comes in several.
const PIECE_CHARACTERS: usize = 7;

/// A server that runs until the tests end.
#[derive(Debug)]
pub(crate) struct Stage {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Value>>>,
}

impl Stage {
    pub(crate) fn open() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let seen = Arc::clone(&seen);
                thread::spawn(move || answer(connection, &seen));
            }
        });
        Self { address, asked }
    }

    /// The part of a hub's configuration by which it serves [`ACTOR`].
    pub(crate) fn table(&self) -> String {
        format!(
            "[upstreams.stage]\nkind = \"openai\"\nservers = [\"http://{}\"]\n\
             models = [\"actor\"]\napi = {{ context = {CONTEXT_TOKENS} }}\n",
            self.address
        )
    }

    /// The bodies of all requests for an answer so far.
    pub(crate) fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap().clone()
    }
}

/// Answers the only request of a connection.
fn answer(mut connection: TcpStream, seen: &Mutex<Vec<Value>>) -> io::Result<()> {
    let (line, body) = request(&connection)?;
    if line.starts_with("GET /v1/models ") {
        let list = json!({ "object": "list", "data": [{ "id": "actor", "object": "model" }] });
        return respond(&mut connection, "200 OK", "application/json", &list.to_string());
    }
    if !line.starts_with("POST /v1/chat/completions ") {
        let error = json!({ "error": { "message": format!("nothing is played at {line}") } });
        return respond(&mut connection, "404 Not Found", "application/json", &error.to_string());
    }
    let asked: Value = serde_json::from_slice(&body)?;
    let events = events(&act(&asked), &asked);
    seen.lock().unwrap().push(asked);
    respond(&mut connection, "200 OK", "text/event-stream", &events)
}

/// The first line and the body.
fn request(connection: &TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut reader = BufReader::new(connection);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((first, body))
}

fn respond(connection: &mut TcpStream, status: &str, kind: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    write!(
        connection,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
}

/// What is to be done in this turn, with all places filled.
fn act(asked: &Value) -> Value {
    let messages = asked["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let said =
        |message: &Value| (message["role"] == "user").then(|| play(&text_of(message))).flatten();
    let begun =
        messages.iter().enumerate().rev().find_map(|(at, message)| Some((at, said(message)?)));
    let Some((at, acts)) = begun else { return json!({ "say": ASIDE }) };
    let turns: Vec<usize> =
        (at..messages.len()).filter(|at| messages[*at]["role"] == "assistant").collect();
    let heard: Vec<String> = messages[turns.last().copied().unwrap_or(at)..]
        .iter()
        .filter(|message| message["role"] == "tool")
        .map(text_of)
        .collect();
    let Some(act) = acts.get(turns.len()) else { return json!({ "say": "The play is over." }) };
    filled(act.clone(), &heard.join(", "), asked)
}

/// The acts in a text.
fn play(text: &str) -> Option<Vec<Value>> {
    let (_, after) = text.split_once("PLAY ")?;
    let acts = serde_json::Deserializer::from_str(after).into_iter::<Vec<Value>>().next()?;
    Some(acts.unwrap_or_else(|error| vec![json!({ "say": format!("no play: {error}: {after}") })]))
}

fn text_of(message: &Value) -> String {
    let parts = message["content"].as_array().map(Vec::as_slice).unwrap_or_default();
    let parts = parts.iter().filter_map(|part| part["text"].as_str());
    message["content"].as_str().map_or_else(|| parts.collect(), str::to_owned)
}

fn filled(mut act: Value, heard: &str, asked: &Value) -> Value {
    if let Some(place) = act["tell"].as_str() {
        act["say"] = asked.pointer(place).unwrap_or(&Value::Null).to_string().into();
    }
    if let Some(text) = act["say"].as_str() {
        act["say"] = text.replace("{heard}", heard).into();
    }
    let offered = asked["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
    let calls = act["call"].as_array().map(Vec::as_slice).unwrap_or_default();
    let missing =
        calls.iter().find(|call| offered.iter().all(|tool| tool["function"]["name"] != call[0]));
    match missing {
        Some(call) => json!({ "say": format!("There is no tool {}.", call[0]) }),
        None => act,
    }
}

/// The answer as a stream of events.
fn events(act: &Value, asked: &Value) -> String {
    let mut deltas = vec![json!({ "role": "assistant", "content": null })];
    for (word, key) in [("think", "reasoning_content"), ("say", "content")] {
        let text = act[word].as_str().unwrap_or_default();
        deltas.extend(pieces(text).map(|piece| json!({ key: piece })));
    }
    let calls = act["call"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (index, call) in calls.iter().enumerate() {
        let begun = json!({ "name": call[0], "arguments": "" });
        deltas.push(json!({ "tool_calls": [
            { "index": index, "id": format!("c{index}"), "type": "function", "function": begun },
        ] }));
        deltas.extend(pieces(&call[1].to_string()).map(|piece| {
            json!({ "tool_calls": [{ "index": index, "function": { "arguments": piece } }] })
        }));
    }
    let reason = if calls.is_empty() { "stop" } else { "tool_calls" };
    let usage = json!({
        "prompt_tokens": asked["messages"].as_array().map_or(0, Vec::len),
        "completion_tokens": deltas.len(),
    });
    let choice = |delta: Value, reason: Value| json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": reason }] });
    let mut chunks: Vec<Value> =
        deltas.into_iter().map(|delta| choice(delta, Value::Null)).collect();
    chunks.push(choice(json!({}), reason.into()));
    chunks.push(json!({ "choices": [], "usage": usage }));
    let chunks = chunks.iter().map(|chunk| format!("data: {chunk}\n\n"));
    chunks.chain(["data: [DONE]\n\n".to_owned()]).collect()
}

/// A text in pieces, none of which cuts a character.
fn pieces(text: &str) -> impl Iterator<Item = String> {
    let characters: Vec<char> = text.chars().collect();
    let pieces: Vec<String> =
        characters.chunks(PIECE_CHARACTERS).map(|piece| piece.iter().collect()).collect();
    pieces.into_iter()
}
