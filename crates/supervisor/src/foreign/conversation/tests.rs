//! Conversations with servers that write exactly the bytes a test tells them to.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use worker_protocol::{Chat, Embed, EmbedInput, Generate, Message, Piece, Rank, Role};

use super::*;

/// For anything in a test to happen; only a test that fails waits as long.
const PATIENCE: Duration = Duration::from_secs(20);

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it should have happened by now")
}

/// A server whose test writes each answer itself.
struct Fake {
    address: SocketAddr,
    asked: mpsc::UnboundedReceiver<Asked>,
    accepting: JoinHandle<()>,
}

/// A request, and the connection that waits for its answer.
struct Asked {
    head: String,
    body: Value,
    socket: BufReader<TcpStream>,
}

impl Fake {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, asked) = mpsc::unbounded_channel();
        let accepting = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let sender = sender.clone();
                tokio::spawn(async move { sender.send(Asked::read(socket).await) });
            }
        });
        Self { address, asked, accepting }
    }

    fn server(&self, key: Option<&str>) -> Server {
        let base_url = format!("http://{}", self.address);
        Server { base_url, key: key.map(str::to_owned) }
    }

    async fn next(&mut self) -> Asked {
        soon(self.asked.recv()).await.expect("the server runs")
    }

    fn was_left_alone(&mut self) -> bool {
        self.asked.try_recv().is_err()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Asked {
    async fn read(socket: TcpStream) -> Self {
        let mut socket = BufReader::new(socket);
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            socket.read_line(&mut line).await.unwrap();
            if line.trim().is_empty() {
                break;
            }
            let line = line.to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        socket.read_exact(&mut body).await.unwrap();
        Self { head, body: serde_json::from_slice(&body).unwrap_or_default(), socket }
    }

    async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).await.unwrap();
        self.socket.flush().await.unwrap();
    }

    /// Answers and closes the connection.
    async fn answer(mut self, bytes: impl AsRef<[u8]>) {
        self.write(bytes).await;
        self.socket.shutdown().await.unwrap();
    }

    /// Waits until the other side has closed the connection.
    async fn hung_up(mut self) {
        let mut rest = Vec::new();
        soon(self.socket.read_to_end(&mut rest)).await.ok();
    }
}

/// The way `mlx_lm.server` answers: no length, the end of the connection is the end.
const STREAM_HEAD: &str = "HTTP/1.0 200 OK\r\nContent-type: text/event-stream\r\n\r\n";

fn stream(payloads: &[Value]) -> String {
    let data = payloads.iter().map(|payload| format!("data: {payload}\n\n"));
    format!("{STREAM_HEAD}{}", data.collect::<String>())
}

fn delta(text: &str) -> Value {
    json!({ "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": null }] })
}

fn stop() -> Value {
    json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] })
}

fn good() -> String {
    let usage = json!({ "choices": [], "usage": { "prompt_tokens": 5, "completion_tokens": 2 } });
    format!("{}data: [DONE]\n\n", stream(&[delta("a"), delta("b"), stop(), usage]))
}

fn whole(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A speaker in conversation, and the hub's side of it.
struct Hub {
    speaker: Arc<Speaker>,
    link: Arc<Link>,
    frames: mpsc::Sender<Vec<u8>>,
    conversing: JoinHandle<()>,
}

struct Answer {
    request: RequestId,
    events: mpsc::Receiver<Event>,
}

fn waits() -> Waits {
    // A test that looks at one of them shortens it.
    Waits { connect: PATIENCE, silence: PATIENCE, probe: PATIENCE, health: PATIENCE }
}

fn speaker(servers: &[Server], manner: &Manner, ready: &Ready, waits: Waits) -> Speaker {
    Speaker::new("local", Some("theirs"), servers, manner, ready, waits).unwrap()
}

fn health() -> Ready {
    Ready::Path("/health".to_owned())
}

/// Looks after a speaker's servers until none is well.
fn watched(speaker: &Arc<Speaker>) -> JoinHandle<String> {
    let speaker = Arc::clone(speaker);
    tokio::spawn(async move { speaker.all_down().await })
}

impl Hub {
    fn over(speaker: Speaker) -> Self {
        Self::sharing(&Arc::new(speaker))
    }

    fn sharing(speaker: &Arc<Speaker>) -> Self {
        let (speaker, (frames, waiting)) = (Arc::clone(speaker), mpsc::channel(64));
        let link = Arc::new(Link::new(frames.clone()));
        let (voice, line) = (Arc::clone(&speaker), Arc::clone(&link));
        let conversing = tokio::spawn(async move { voice.converse(waiting, &line).await });
        Self { speaker, link, frames, conversing }
    }

    fn of(servers: &[Server]) -> Self {
        Self::over(speaker(servers, &Manner::default(), &health(), waits()))
    }

    async fn send(&self, command: Command) {
        self.frames.send(frame::encode(&command).unwrap()).await.unwrap();
    }

    async fn generate(&self, generate: Generate) -> Answer {
        let (request, events) = self.link.begin().unwrap();
        self.send(Command::Generate { request, generate }).await;
        Answer { request, events }
    }

    async fn chat(&self) -> Answer {
        self.generate(said("hi")).await
    }

    async fn embed(&self, inputs: Vec<EmbedInput>) -> Answer {
        let (request, events) = self.link.begin().unwrap();
        self.send(Command::Embed { request, embed: Embed { inputs, truncate: false } }).await;
        Answer { request, events }
    }

    async fn rank(&self, documents: usize) -> Answer {
        let (request, events) = self.link.begin().unwrap();
        let documents = (0..documents).map(|number| number.to_string()).collect();
        let rank =
            Rank { query: "q".to_owned(), documents, truncate: false, document_tokens_max: None };
        self.send(Command::Rank { request, rank }).await;
        Answer { request, events }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.conversing.abort();
    }
}

fn said(text: &str) -> Generate {
    let messages = vec![Message::text(Role::User, text)];
    Generate::new(Prompt::Chat(Chat { messages, ..Chat::default() }))
}

impl Answer {
    async fn next(&mut self) -> Option<Event> {
        soon(self.events.recv()).await
    }

    /// All texts, and the last event, after which nothing may come.
    async fn rest(&mut self) -> (String, Event) {
        let mut text = String::new();
        loop {
            match self.next().await.expect("a last event") {
                Event::Text(piece) => text.push_str(&piece.text),
                last @ (Event::Finished(_) | Event::Failed(_)) => {
                    assert_eq!(self.next().await, None, "something came after the last event");
                    return (text, last);
                }
                other @ (Event::Progress { .. }
                | Event::Reasoning(_)
                | Event::ToolCall(_)
                | Event::Embedded { .. }
                | Event::Ranked { .. }) => panic!("{other:?}"),
            }
        }
    }

    async fn failure(&mut self) -> (String, Failure) {
        match self.rest().await {
            (text, Event::Failed(failure)) => (text, failure),
            (text, other) => panic!("{text:?} {other:?}"),
        }
    }

    async fn finished(&mut self) -> (String, Finished) {
        match self.rest().await {
            (text, Event::Finished(finished)) => (text, finished),
            (text, other) => panic!("{text:?} {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_answer_streams_from_a_server_that_speaks_http_1_0() {
    let mut fake = Fake::start().await;
    let hub = Hub::of(&[fake.server(None)]);
    let mut answer = hub.chat().await;
    let mut asked = fake.next().await;
    assert!(asked.head.starts_with("post /v1/chat/completions http/1.1\r\n"), "{}", asked.head);
    assert!(asked.head.contains(&format!("host: {}\r\n", fake.address)), "{}", asked.head);
    assert!(!asked.head.contains("authorization"), "{}", asked.head);
    assert_eq!((&asked.body["model"], &asked.body["stream"]), (&json!("theirs"), &json!(true)));
    // The first event is there before the answer is.
    asked.write(format!("{STREAM_HEAD}: keepalive 1/2\n\ndata: {}\r\n\r\n", delta("a"))).await;
    let piece = Piece { text: "a".to_owned(), logprobs: Vec::new() };
    assert_eq!(answer.next().await, Some(Event::Text(piece)));
    let rest = good();
    asked.answer(rest.strip_prefix(STREAM_HEAD).unwrap()).await;
    let (text, finished) = answer.finished().await;
    assert_eq!((text.as_str(), finished.reason), ("ab", FinishReason::End));
    let Usage { prompt_tokens, completion_tokens, prefill_us, .. } = finished.usage;
    assert_eq!((prompt_tokens, completion_tokens), (5, 2));
    assert!(prefill_us > 0, "the hub measures times itself");
}

/// Its lease refuses it before, but nobody waits for ever.
#[tokio::test]
async fn who_wants_tokens_counted_hears_that_no_server_does_that() {
    let mut fake = Fake::start().await;
    let hub = Hub::of(&[fake.server(None)]);
    let (request, events) = hub.link.begin().unwrap();
    hub.send(Command::Count { request, prompt: said("hi").prompt }).await;
    let (_, failure) = Answer { request, events }.failure().await;
    assert_eq!(failure.kind, FailureKind::Invalid);
    assert!(fake.was_left_alone());
}

/// What a server may do wrong, and what its client hears. Each fault ends its own request and
/// nothing else.
#[tokio::test]
async fn every_fault_is_one_failure_that_names_the_engine_and_what_happened() {
    let mut fake = Fake::start().await;
    let hub = Hub::of(&[fake.server(None)]);
    let begun = stream(&[delta("a")]);
    let chunked = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                   Transfer-Encoding: chunked\r\n\r\n40\r\ndata: {\"cho";
    let long = format!("{STREAM_HEAD}data: {}", "x".repeat(5 << 20));
    use FailureKind::{Broken, ContextLength, Invalid, Overloaded};
    let figures = ContextLength { prompt_tokens: 9, context_tokens: 8 };
    let over = r#"{"error":{"message":"long","n_prompt_tokens":9,"n_ctx":8}}"#;
    let busy = "HTTP/1.1 429 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n";
    for (bytes, kind, text, what) in [
        ("", Broken, "", "broke the connection"),
        ("not HTTP\r\n\r\n", Broken, "", "broke the connection"),
        (&format!("{begun}data: {{\"cho"), Broken, "a", "closed the connection before"),
        (&begun, Broken, "a", "closed the connection before"),
        (chunked, Broken, "", "broke the connection"),
        (&long, Broken, "", "sent an event of more than"),
        (&format!("{begun}data: {{]\n\n"), Broken, "a", "sent what is not JSON"),
        (&format!("{begun}data: {{\"error\":\"died\"}}\n\n"), Broken, "a", "an error: died"),
        (&format!("{begun}error: {{\"message\":\"bang\"}}\n\n"), Broken, "a", "an error: bang"),
        (&whole("404 Not Found", r#"{"error":"no"}"#), Broken, "", "answered 404: no"),
        (&whole("400 Bad Request", over), figures, "", "answered 400: long"),
        (&whole("400 Bad Request", "no"), Invalid, "", "answered 400: no"),
        (busy, Overloaded, "", "come back after: 7"),
        (&whole("503 Unavailable", ""), Overloaded, "", "answered 503"),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
            Broken,
            "",
            "answered with \"application/json\" instead of a stream: {}",
        ),
    ] {
        let mut answer = hub.chat().await;
        let mut asked = fake.next().await;
        // A client that has had enough may be gone before all is written.
        asked.socket.write_all(bytes.as_bytes()).await.ok();
        asked.socket.shutdown().await.ok();
        let (seen, failure) = answer.failure().await;
        assert_eq!((seen.as_str(), failure.kind), (text, kind), "{failure}");
        let begins = format!("engine 'local' at http://{} ", fake.address);
        assert!(failure.message.starts_with(&begins), "{failure}");
        assert!(failure.message.contains(what), "{what}: {failure}");
    }
    let mut answer = hub.chat().await;
    fake.next().await.answer(good()).await;
    assert_eq!(answer.finished().await.0, "ab");
}

#[tokio::test]
async fn a_silent_server_is_not_waited_for_for_ever() {
    let mut fake = Fake::start().await;
    let silence = Duration::from_millis(30);
    let waits = Waits { silence, ..waits() };
    let hub = Hub::over(speaker(&[fake.server(None)], &Manner::default(), &health(), waits));
    let mut answer = hub.chat().await;
    let asked = fake.next().await;
    let (_, failure) = answer.failure().await;
    assert!(failure.message.contains("did not answer for 0.03 s"), "{failure}");
    asked.hung_up().await;

    let mut answer = hub.chat().await;
    let mut asked = fake.next().await;
    asked.write(stream(&[delta("a")])).await;
    let (text, failure) = answer.failure().await;
    assert_eq!(text, "a");
    assert!(failure.message.contains("said nothing for 0.03 s"), "{failure}");
    asked.hung_up().await;
}

#[tokio::test]
async fn an_answer_that_was_whole_is_not_lost_to_a_bad_goodbye() {
    let mut fake = Fake::start().await;
    let hub = Hub::of(&[fake.server(None)]);
    let mut answer = hub.chat().await;
    let end = format!("{}data: {{]\n\n", stream(&[delta("a"), stop()]));
    fake.next().await.answer(end).await;
    assert_eq!(answer.finished().await.0, "a");
}

#[tokio::test]
async fn no_more_events_come_than_the_reader_has_credit_for() {
    let mut fake = Fake::start().await;
    let hub = Hub::of(&[fake.server(None)]);
    let mut answer = hub.chat().await;
    let deltas: Vec<Value> = (0..200).map(|_| delta("x")).chain([stop()]).collect();
    fake.next().await.answer(stream(&deltas)).await;
    for _ in 0..EVENT_CREDIT {
        assert!(matches!(answer.next().await, Some(Event::Text(_))));
    }
    // Another answer goes through all the same steps meanwhile.
    let mut other = hub.chat().await;
    fake.next().await.answer(good()).await;
    assert_eq!(other.finished().await.0, "ab");
    assert!(answer.events.try_recv().is_err(), "an event without credit");
    for granted in [10, EVENT_CREDIT, 200 - 10 - 2 * EVENT_CREDIT] {
        hub.send(Command::Credit { request: answer.request, events: granted }).await;
        for _ in 0..granted {
            assert!(matches!(answer.next().await, Some(Event::Text(_))));
        }
    }
    // The last one needs none.
    assert_eq!(answer.finished().await.0, "");
}

#[tokio::test]
async fn cancelling_drops_the_connection() {
    let mut fake = Fake::start().await;
    let hub = Hub::of(&[fake.server(None)]);
    // Before the server has answered, …
    let mut waiting = hub.chat().await;
    let unanswered = fake.next().await;
    hub.send(Command::Cancel { request: waiting.request }).await;
    assert_eq!(waiting.finished().await.1.reason, FinishReason::Cancelled);
    unanswered.hung_up().await;
    // … in the middle of its answer, …
    let mut streaming = hub.chat().await;
    let mut half = fake.next().await;
    half.write(stream(&[delta("a")])).await;
    assert!(matches!(streaming.next().await, Some(Event::Text(_))));
    hub.send(Command::Cancel { request: streaming.request }).await;
    assert_eq!(streaming.finished().await.1.reason, FinishReason::Cancelled);
    half.hung_up().await;
    // … and while the reader is behind.
    let mut behind = hub.chat().await;
    let mut all = fake.next().await;
    all.write(stream(&(0..200).map(|_| delta("x")).collect::<Vec<_>>())).await;
    assert!(matches!(behind.next().await, Some(Event::Text(_))));
    hub.link.forget(behind.request);
    hub.send(Command::Cancel { request: behind.request }).await;
    all.hung_up().await;
}

#[tokio::test]
async fn cancelling_drops_a_request_that_the_server_does_not_even_read() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let hub = Hub::of(&[Server { base_url, key: None }]);
    // More than the buffers of two sockets hold.
    let prompt_bytes = 32 << 20;
    let mut answer = hub.generate(said(&"x".repeat(prompt_bytes))).await;
    let (mut socket, _) = soon(listener.accept()).await.unwrap();
    socket.read_u8().await.unwrap();
    hub.send(Command::Cancel { request: answer.request }).await;
    assert_eq!(answer.finished().await.1.reason, FinishReason::Cancelled);
    let mut sent = Vec::new();
    soon(socket.read_to_end(&mut sent)).await.ok();
    assert!(sent.len() < prompt_bytes, "all of it was sent after the cancel");
}

#[tokio::test]
async fn the_end_of_the_conversation_is_the_end_of_its_requests() {
    let mut fake = Fake::start().await;
    let hub = Hub::of(&[fake.server(None)]);
    let mut answer = hub.chat().await;
    let asked = fake.next().await;
    hub.conversing.abort();
    let (_, failure) = answer.failure().await;
    assert_eq!(failure.message, "engine 'local' was given up in the middle of its answer");
    asked.hung_up().await;
}

#[tokio::test]
async fn what_the_engine_does_not_do_is_refused_without_asking_it() {
    let mut fake = Fake::start().await;
    let nothing = Manner {
        chat: false,
        completions: false,
        embeddings: false,
        tools: false,
        ..Manner::default()
    };
    let no_tools = Manner { tools: false, ..Manner::default() };
    let mut tools = said("hi");
    if let Prompt::Chat(chat) = &mut tools.prompt {
        chat.tools = vec![json!({ "type": "function", "function": { "name": "f" } })];
    }
    let raw = Generate::new(Prompt::Text("a".to_owned()));
    for (manner, generate, field) in [
        (&nothing, said("hi"), "`messages`"),
        (&no_tools, tools, "`tools`"),
        (&nothing, raw, "`prompt`"),
    ] {
        let hub = Hub::over(speaker(&[fake.server(None)], manner, &health(), waits()));
        let (_, failure) = hub.generate(generate).await.failure().await;
        assert_eq!(failure.kind, FailureKind::Invalid);
        assert!(failure.message.starts_with("engine 'local' does not do "), "{failure}");
        assert!(failure.message.contains(field), "{failure}");
    }
    let hub = Hub::over(speaker(&[fake.server(None)], &nothing, &health(), waits()));
    let (_, failure) = hub.embed(vec![EmbedInput::Text("a".to_owned())]).await.failure().await;
    assert!(failure.message.contains("`input`"), "{failure}");
    assert!(fake.was_left_alone());
}

#[tokio::test]
async fn the_manner_decides_the_models_name_and_the_fields() {
    let mut fake = Fake::start().await;
    let drops = vec!["temperature".to_owned()];
    let manner = Manner { model: Some("default_model".to_owned()), drops, ..Manner::default() };
    let hub = Hub::over(speaker(&[fake.server(None)], &manner, &health(), waits()));
    let mut answer = hub.chat().await;
    let asked = fake.next().await;
    assert_eq!(asked.body["model"], "default_model");
    assert_eq!(asked.body.get("temperature"), None);
    asked.answer(good()).await;
    answer.finished().await;
}

#[tokio::test]
async fn many_texts_are_embedded_in_several_requests_and_keep_their_order() {
    let mut fake = Fake::start().await;
    let hub = Hub::of(&[fake.server(None)]);
    let texts = limits::EMBED_INPUTS_MAX + 1;
    let mut inputs = vec![EmbedInput::Text("a".to_owned()); texts];
    inputs.push(EmbedInput::Tokens(vec![1, 2]));
    let total = inputs.len();
    let mut answer = hub.embed(inputs).await;
    hub.send(Command::Credit { request: answer.request, events: EVENT_CREDIT }).await;
    let mut vectors = 0;
    for expected in [limits::EMBED_INPUTS_MAX, 1, 1] {
        let asked = fake.next().await;
        assert!(asked.head.starts_with("post /v1/embeddings "), "{}", asked.head);
        assert_eq!(asked.body["input"].as_array().unwrap().len(), expected);
        let entry = |index: usize| json!({ "index": index, "embedding": [vectors + index + 1, 0] });
        let data: Vec<Value> = (0..expected).map(entry).collect();
        let body = json!({ "data": data, "usage": { "prompt_tokens": expected } });
        asked.answer(whole("200 OK", &body.to_string())).await;
        vectors += expected;
    }
    for expected in 0..total {
        let Some(Event::Embedded { index, vector }) = answer.next().await else {
            panic!("a vector")
        };
        assert_eq!((index as usize, vector), (expected, vec![1.0, 0.0]));
    }
    let (_, finished) = answer.finished().await;
    assert_eq!(finished.usage.prompt_tokens as usize, total);

    let mut answer = hub.embed(vec![EmbedInput::Text("a".to_owned())]).await;
    fake.next().await.answer(whole("200 OK", r#"{"data":[]}"#)).await;
    let (_, failure) = answer.failure().await;
    assert!(failure.message.contains("sent fewer vectors than were asked for"), "{failure}");
}

#[tokio::test]
async fn many_documents_are_ranked_in_several_requests_and_keep_their_order() {
    let mut fake = Fake::start().await;
    for (path, texts) in [("/v1/rerank", false), ("/rerank", true)] {
        let rerank = Some(path.to_owned());
        let manner = Manner { rerank, rerank_texts: texts, ..Manner::default() };
        let hub = Hub::over(speaker(&[fake.server(None)], &manner, &health(), waits()));
        let total = limits::RANK_DOCUMENTS_MAX + 2;
        let mut answer = hub.rank(total).await;
        for expected in [limits::RANK_DOCUMENTS_MAX, 2] {
            let asked = fake.next().await;
            assert!(asked.head.starts_with(&format!("post {path} ")), "{}", asked.head);
            assert_eq!(asked.body["query"], "q");
            let documents = &asked.body[if texts { "texts" } else { "documents" }];
            assert_eq!(documents.as_array().unwrap().len(), expected);
            // Its score is the number that a document is; the best comes first.
            let number = |at: usize| documents[at].as_str().unwrap().parse::<u32>().unwrap();
            let label = if texts { "score" } else { "relevance_score" };
            let results: Vec<Value> =
                (0..expected).rev().map(|at| json!({ "index": at, label: number(at) })).collect();
            let body = match texts {
                true => json!(results),
                false => json!({ "results": results, "usage": { "total_tokens": 5 } }),
            };
            asked.answer(whole("200 OK", &body.to_string())).await;
        }
        for expected in 0..total {
            let Some(Event::Ranked { index, score }) = answer.next().await else {
                panic!("a score")
            };
            assert_eq!((index as usize, score as usize), (expected, expected));
        }
        let (_, finished) = answer.finished().await;
        assert_eq!(finished.usage.prompt_tokens, if texts { 0 } else { 10 });
    }
    let hub = Hub::of(&[fake.server(None)]);
    let (_, failure) = hub.rank(1).await.failure().await;
    assert!(failure.message.contains("`api.rerank`"), "{failure}");
    assert!(fake.was_left_alone());
}

#[tokio::test]
async fn requests_beyond_the_bound_wait_in_the_hub() {
    let mut fake = Fake::start().await;
    let hub = Hub::of(&[fake.server(None)]);
    let mut answers = Vec::new();
    for _ in 0..=limits::EXCHANGES_MAX {
        answers.push(hub.chat().await);
    }
    let mut asked = Vec::new();
    for _ in 0..limits::EXCHANGES_MAX {
        asked.push(fake.next().await);
    }
    let most = u32::try_from(limits::EXCHANGES_MAX).unwrap();
    let stats = hub.speaker.stats();
    assert_eq!((stats.running, stats.waiting), (most, 1));
    assert!(fake.was_left_alone());
    asked.pop().unwrap().answer(good()).await;
    fake.next().await.answer(good()).await;
}

#[tokio::test]
async fn the_engines_work_is_counted() {
    let mut fake = Fake::start().await;
    let hub = Hub::of(&[fake.server(None)]);
    let mut answer = hub.chat().await;
    let asked = fake.next().await;
    assert_eq!(hub.speaker.stats(), Stats { running: 1, ..Stats::default() });
    asked.answer(good()).await;
    answer.finished().await;
    let done = Stats { prefill_tokens: 5, decode_tokens: 2, ..Stats::default() };
    assert_eq!(hub.speaker.stats(), done);
    let mut cancelled = hub.chat().await;
    let asked = fake.next().await;
    hub.send(Command::Cancel { request: cancelled.request }).await;
    cancelled.finished().await;
    asked.hung_up().await;
    assert_eq!(hub.speaker.stats(), done);
}

// Several servers.

/// A server that is gone: its port refuses connections.
async fn gone() -> Server {
    Fake::start().await.server(None)
}

#[tokio::test]
async fn a_request_that_could_not_be_sent_moves_to_the_next_server() {
    let mut fake = Fake::start().await;
    let hub = Hub::of(&[gone().await, fake.server(None)]);
    for _ in 0..3 {
        let mut answer = hub.chat().await;
        fake.next().await.answer(good()).await;
        assert_eq!(answer.finished().await.0, "ab");
    }
    let wells = |hub: &Hub| -> Vec<bool> {
        hub.speaker.voice.pool.members().iter().map(|member| member.is_well()).collect()
    };
    assert_eq!(wells(&hub), [false, true]);

    let hub = Hub::of(&[gone().await, gone().await]);
    let (_, failure) = hub.chat().await.failure().await;
    assert_eq!(failure.kind, FailureKind::Broken);
    assert!(failure.message.contains("cannot be reached: "), "{failure}");
    assert_eq!(wells(&hub), [false, false]);
}

/// Asked of either of two servers.
async fn asked(first: &mut Fake, second: &mut Fake) -> Asked {
    tokio::select! {
        asked = first.next() => asked,
        asked = second.next() => asked,
    }
}

#[tokio::test]
async fn a_request_of_whose_answer_nothing_was_seen_moves_to_the_next_server() {
    let (mut first, mut second) = (Fake::start().await, Fake::start().await);
    let hub = Hub::of(&[first.server(None), second.server(None)]);
    let busy = whole("503 Busy", "");
    let no_stream = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n";
    for bytes in ["", STREAM_HEAD, &whole("500 Bad", ""), &busy, no_stream] {
        let mut answer = hub.chat().await;
        asked(&mut first, &mut second).await.answer(bytes).await;
        asked(&mut first, &mut second).await.answer(good()).await;
        assert_eq!(answer.finished().await.0, "ab", "{bytes}");
    }
    let mut answer = hub.embed(vec![EmbedInput::Text("a".to_owned())]).await;
    asked(&mut first, &mut second).await.answer("").await;
    let body = r#"{"data":[{"index":0,"embedding":[1]}]}"#;
    asked(&mut first, &mut second).await.answer(whole("200 OK", body)).await;
    assert!(matches!(answer.next().await, Some(Event::Embedded { .. })));
    answer.finished().await;
}

/// What has no use elsewhere is not asked elsewhere, and what was seen is not taken back.
#[tokio::test]
async fn a_refusal_and_half_an_answer_are_not_asked_again() {
    let (mut first, mut second) = (Fake::start().await, Fake::start().await);
    let hub = Hub::of(&[first.server(None), second.server(None)]);
    for bytes in [stream(&[delta("a")]), whole("400 Bad Request", "no")] {
        let mut answer = hub.chat().await;
        asked(&mut first, &mut second).await.answer(&bytes).await;
        answer.failure().await;
        assert!(first.was_left_alone() && second.was_left_alone());
    }
}

#[tokio::test]
async fn a_server_that_keeps_breaking_is_left_alone_while_another_is_well() {
    let (mut broken, mut good) = (Fake::start().await, Fake::start().await);
    let hub = Hub::of(&[broken.server(None), good.server(None)]);
    let failing = tokio::spawn(async move {
        let mut count = 0;
        while let Some(asked) = broken.asked.recv().await {
            asked.answer(whole("500 Bad", "")).await;
            count += 1;
            if count == limits::FAULTS_MAX {
                break;
            }
        }
        broken
    });
    while !failing.is_finished() {
        let mut answer = hub.chat().await;
        good.next().await.answer(self::good()).await;
        assert_eq!(answer.finished().await.0, "ab");
    }
    let mut broken = soon(failing).await.unwrap();
    for _ in 0..4 {
        let mut answer = hub.chat().await;
        good.next().await.answer(self::good()).await;
        answer.finished().await;
    }
    assert!(broken.was_left_alone());
}

#[tokio::test]
async fn a_key_goes_to_its_own_server_and_redirects_are_not_followed() {
    let (mut first, mut second) = (Fake::start().await, Fake::start().await);
    let hub = Hub::of(&[first.server(Some("key-1"))]);
    let mut redirected = hub.chat().await;
    let asked = first.next().await;
    assert!(asked.head.contains("authorization: bearer key-1\r\n"), "{}", asked.head);
    let elsewhere = format!("http://{}/v1/chat/completions", second.address);
    asked
        .answer(format!("HTTP/1.1 307 Moved\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\n\r\n"))
        .await;
    let (_, failure) = redirected.failure().await;
    assert!(failure.message.contains("a redirect (307)"), "{failure}");
    assert!(second.was_left_alone());
    let hub = Hub::of(&[first.server(Some("key-1")), second.server(Some("key-2"))]);
    let mut answer = hub.chat().await;
    first.next().await.answer("").await;
    let asked = second.next().await;
    assert!(asked.head.contains("authorization: bearer key-2\r\n"), "{}", asked.head);
    assert!(!asked.head.contains("key-1") && !failure.message.contains("key-1"));
    asked.answer(good()).await;
    answer.finished().await;
}

// Readiness and health.

#[tokio::test]
async fn a_server_is_ready_when_its_path_says_200_and_then_its_context_is_read() {
    let mut fake = Fake::start().await;
    let manner = Manner {
        context_from: Some("health.context_window".to_owned()),
        context_tokens: Some(1),
        ..Manner::default()
    };
    let speaker = speaker(&[fake.server(None)], &manner, &health(), waits());
    for (said, expected) in
        [(r#"{"context_window":4096}"#, Some(4096)), (r#"{"status":"ok"}"#, Some(1))]
    {
        let serve = async {
            for _ in 0..2 {
                let asked = fake.next().await;
                assert!(asked.head.starts_with("get /health "), "{}", asked.head);
                asked.answer(whole("200 OK", said)).await;
            }
        };
        let (probed, ()) = tokio::join!(soon(speaker.probe()), serve);
        assert_eq!(probed, Ok(Probed { context_tokens: expected }));
    }
    let serve = async { fake.next().await.answer(whole("503 Loading", "")).await };
    let (probed, ()) = tokio::join!(soon(speaker.probe()), serve);
    let expected = format!("http://{} answered 503 at /health", fake.address);
    assert_eq!(probed, Err(expected));
}

#[tokio::test]
async fn a_server_is_ready_when_it_completes() {
    let mut fake = Fake::start().await;
    let speaker = speaker(&[fake.server(None)], &Manner::default(), &Ready::Completion, waits());
    let serve = async {
        let asked = fake.next().await;
        assert_eq!(asked.body["max_tokens"], 1);
        asked.answer(good()).await;
    };
    let (probed, ()) = tokio::join!(soon(speaker.probe()), serve);
    assert_eq!(probed, Ok(Probed { context_tokens: None }));
    let died = whole("404 Not Found", r#"{"error":"generation thread died"}"#);
    let serve = async { fake.next().await.answer(died).await };
    let (probed, ()) = tokio::join!(soon(speaker.probe()), serve);
    let expected = format!("http://{} answered 404: generation thread died", fake.address);
    assert_eq!(probed, Err(expected));

    let embedder = Manner { chat: false, completions: false, ..Manner::default() };
    let speaker = self::speaker(&[fake.server(None)], &embedder, &Ready::Completion, waits());
    let serve = async {
        let asked = fake.next().await;
        assert!(asked.head.starts_with("post /v1/embeddings "), "{}", asked.head);
        asked.answer(whole("200 OK", r#"{"data":[{"embedding":[1]}]}"#)).await;
    };
    let (probed, ()) = tokio::join!(soon(speaker.probe()), serve);
    assert!(probed.is_ok(), "{probed:?}");
}

#[tokio::test]
async fn a_probe_ends_and_one_ready_server_is_enough() {
    let mut fake = Fake::start().await;
    let waits = Waits { probe: Duration::from_millis(30), ..waits() };
    let alone = speaker(&[fake.server(None)], &Manner::default(), &health(), waits);
    let reason = soon(alone.probe()).await.unwrap_err();
    assert!(reason.contains("did not show within 0.03 s"), "{reason}");
    drop(fake.next().await);

    let servers = [gone().await, fake.server(None)];
    let two = speaker(&servers, &Manner::default(), &health(), self::waits());
    let serve = async { fake.next().await.answer(whole("200 OK", "")).await };
    let (probed, ()) = tokio::join!(soon(two.probe()), serve);
    assert!(probed.is_ok(), "{probed:?}");
    assert!(!two.voice.pool.members()[0].is_well());
}

#[tokio::test]
async fn servers_of_a_pool_are_looked_at_again_and_again() {
    let (mut first, second) = (Fake::start().await, Fake::start().await);
    let waits = Waits { health: Duration::from_millis(1), ..waits() };
    let servers = [first.server(None), second.server(None)];
    // The other one answers by itself.
    let serve_second = |mut second: Fake| async move {
        loop {
            second.next().await.answer(whole("200 OK", "")).await;
        }
    };
    let other = tokio::spawn(serve_second(second));
    let speaker = Arc::new(speaker(&servers, &Manner::default(), &health(), waits));
    let watching = watched(&speaker);
    for (status, well) in [("500 Bad", false), ("200 OK", true)] {
        first.next().await.answer(whole(status, "")).await;
        // The next look begins after the last has ended.
        let next = first.next().await;
        assert_eq!(speaker.voice.pool.members()[0].is_well(), well, "{status}");
        next.answer(whole(status, "")).await;
    }
    other.abort();
    watching.abort();
}

#[tokio::test]
async fn a_server_that_is_well_is_not_bothered_with_completions() {
    let (mut first, mut second) = (Fake::start().await, Fake::start().await);
    let waits = Waits { health: Duration::from_millis(1), ..waits() };
    let servers = [first.server(None), second.server(None)];
    let speaker = Arc::new(speaker(&servers, &Manner::default(), &Ready::Completion, waits));
    speaker.voice.pool.members()[0].looked_at(Err("is gone"));
    let watching = watched(&speaker);
    for bytes in [whole("503 Loading", ""), good()] {
        let asked = first.next().await;
        assert_eq!(asked.body["max_tokens"], 1);
        asked.answer(bytes).await;
    }
    assert!(second.was_left_alone());
    watching.abort();
}

#[tokio::test]
async fn when_none_is_well_the_watch_ends_with_the_reasons() {
    // One that is gone shows at the first request, without any wait for a look.
    let alone = Arc::new(speaker(&[gone().await], &Manner::default(), &health(), waits()));
    let watching = watched(&alone);
    let hub = Hub::sharing(&alone);
    hub.chat().await.failure().await;
    let reasons = soon(watching).await.unwrap();
    assert!(reasons.contains("cannot be reached"), "{reasons}");
    // And without any request at the next look.
    let waits = Waits { health: Duration::from_millis(1), ..waits() };
    let idle = Arc::new(speaker(&[gone().await], &Manner::default(), &health(), waits));
    let reasons = soon(watched(&idle)).await.unwrap();
    assert!(reasons.contains("cannot be reached"), "{reasons}");
}

#[tokio::test]
async fn answers_under_way_are_not_cut_off_before_another_look() {
    let mut fake = Fake::start().await;
    let speaker = Arc::new(speaker(&[fake.server(None)], &Manner::default(), &health(), waits()));
    let watching = watched(&speaker);
    let hub = Hub::sharing(&speaker);
    let mut long = hub.chat().await;
    let mut half = fake.next().await;
    half.write(stream(&[delta("a")])).await;
    assert!(matches!(long.next().await, Some(Event::Text(_))));
    for _ in 0..limits::FAULTS_MAX {
        let mut answer = hub.chat().await;
        fake.next().await.answer(whole("500 Bad", "")).await;
        answer.failure().await;
    }
    let look = fake.next().await;
    assert!(look.head.starts_with("get /health "), "{}", look.head);
    look.answer(whole("200 OK", "")).await;
    let rest = good();
    half.answer(rest.strip_prefix(STREAM_HEAD).unwrap()).await;
    assert_eq!(long.finished().await.0, "ab");
    assert!(!watching.is_finished());
    watching.abort();
}

#[tokio::test]
async fn models_are_listed_and_an_empty_list_is_no_fault() {
    let mut fake = Fake::start().await;
    let server = fake.server(Some("key-1"));
    let list = r#"{"data":[{"id":"a"},{"id":"b"}]}"#;
    for (body, models) in [(list, vec!["a".to_owned(), "b".to_owned()]), ("", Vec::new())] {
        let serve = async {
            let asked = fake.next().await;
            assert!(asked.head.starts_with("get /v1/models "), "{}", asked.head);
            asked.answer(whole("200 OK", body)).await;
        };
        let (listed, ()) = tokio::join!(soon(served_models(&server)), serve);
        assert_eq!(listed, Ok(models));
    }
    let error = soon(served_models(&gone().await)).await.unwrap_err();
    assert!(
        error.starts_with("http://127.0.0.1:") && error.contains("cannot be reached"),
        "{error}"
    );
}
