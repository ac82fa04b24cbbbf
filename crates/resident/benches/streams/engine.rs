//! An engine that plays a model: each token is a word with the moment when it was ready.
//!
//! A prompt says how: `spread 120 50` is 120 tokens, one every 50 ms. Not here: anything that takes time.

use std::{
    collections::BTreeMap,
    io::{self, Read as _, Write as _},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, bail};
use worker_protocol::{
    Command, Event, FinishReason, Finished, Generate, Load, Loaded, Piece, Prompt, Report,
    RequestId, Usage, VERSION,
    frame::{Decoder, encode},
    limits::EVENT_CREDIT,
};

/// Stands before the moment in a token.
pub(crate) const MARK: char = '@';

/// How long it waits for commands when no token is due.
const IDLE: Duration = Duration::from_secs(3600);

struct Stream {
    due: Instant,
    interval: Duration,
    tokens_left: u32,
    tokens: u32,
    credit: u32,
}

/// Serves until the hub is gone.
pub(crate) fn run() -> anyhow::Result<()> {
    say(&[Report::Hello {
        version: VERSION,
        engine: "scripted".to_owned(),
        trims: false,
        counts: false,
    }])?;
    let (sender, commands) = mpsc::channel();
    thread::spawn(move || read(&sender));
    serve(&commands)
}

fn serve(commands: &Receiver<Command>) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut streams = BTreeMap::new();
    loop {
        let next =
            streams.values().filter(|stream: &&Stream| stream.credit > 0).map(|stream| stream.due);
        let wait = next.min().map_or(IDLE, |due| due.saturating_duration_since(Instant::now()));
        match commands.recv_timeout(wait) {
            Ok(command) => take(command, &mut streams, begun)?,
            Err(RecvTimeoutError::Timeout) => send_due(&mut streams)?,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

fn take(
    command: Command,
    streams: &mut BTreeMap<RequestId, Stream>,
    begun: Instant,
) -> anyhow::Result<()> {
    match command {
        Command::Load(load) => say(&[Report::Loaded(loaded(&load))]),
        Command::Generate { request, generate } => {
            let number = u32::try_from(streams.len())?;
            streams.insert(request, stream(&generate, number, begun)?);
            Ok(())
        }
        Command::Credit { request, events } => {
            if let Some(stream) = streams.get_mut(&request) {
                stream.credit += events;
            }
            Ok(())
        }
        Command::Cancel { request } => match streams.remove(&request) {
            Some(stream) => say(&[finished(request, FinishReason::Cancelled, stream.tokens)]),
            None => Ok(()),
        },
        Command::Embed { .. } | Command::Rank { .. } | Command::Count { .. } | Command::Trim => {
            bail!("not in the script")
        }
    }
}

fn stream(generate: &Generate, number: u32, begun: Instant) -> anyhow::Result<Stream> {
    let script = match &generate.prompt {
        Prompt::Text(text) => Some(text),
        Prompt::Chat(chat) => chat.messages.last().and_then(|message| message.content.as_ref()),
        Prompt::Tokens(_) | Prompt::Infill(_) => None,
    };
    let script = script.context("a prompt without a script")?;
    let [beat, tokens, interval_ms] = script.split(' ').collect::<Vec<_>>()[..] else {
        bail!("{script:?} is no script");
    };
    let interval = Duration::from_millis(interval_ms.parse()?);
    let due = if beat == "step" {
        // The next one of the steps that all streams have in common.
        let steps = begun.elapsed().as_nanos() / interval.as_nanos() + 1;
        begun + interval * u32::try_from(steps)?
    } else {
        // Neighbours are as far apart as they can be.
        Instant::now() + interval * (number % 200) / 200
    };
    Ok(Stream { due, interval, tokens_left: tokens.parse()?, tokens: 0, credit: EVENT_CREDIT })
}

/// What is due, in one write, as after a step.
fn send_due(streams: &mut BTreeMap<RequestId, Stream>) -> anyhow::Result<()> {
    let now = Instant::now();
    let ready = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let mut reports = Vec::new();
    for (&request, stream) in streams.iter_mut() {
        if stream.due > now || stream.credit == 0 {
            continue;
        }
        let piece = Piece { text: format!("{MARK}{ready} "), logprobs: Vec::new() };
        reports.push(Report::Event { request, event: Event::Text(piece) });
        stream.credit -= 1;
        stream.due += stream.interval;
        stream.tokens += 1;
        stream.tokens_left -= 1;
        if stream.tokens_left == 0 {
            reports.push(finished(request, FinishReason::End, stream.tokens));
        }
    }
    streams.retain(|_, stream| stream.tokens_left > 0);
    say(&reports)
}

fn finished(request: RequestId, reason: FinishReason, completion_tokens: u32) -> Report {
    let usage = Usage { completion_tokens, ..Usage::default() };
    Report::Event { request, event: Event::Finished(Finished { reason, usage }) }
}

fn loaded(load: &Load) -> Loaded {
    Loaded {
        architecture: "scripted".to_owned(),
        parameters: 1,
        vocabulary: 1,
        embedding_width: 1,
        context_tokens: load.context_tokens.unwrap_or(1),
        context_tokens_trained: 1,
        sequences_max: load.sequences_max,
        generates: true,
        ranks: false,
        chat_template: true,
        sees: false,
        hears: false,
        buffers: Vec::new(),
        load_ms: 1,
    }
}

fn say(reports: &[Report]) -> anyhow::Result<()> {
    let mut frames = Vec::new();
    for report in reports {
        frames.extend(encode(report)?);
    }
    let mut output = io::stdout().lock();
    output.write_all(&frames)?;
    Ok(output.flush()?)
}

/// Until the end of the input, or of the one who listens.
fn read(commands: &mpsc::Sender<Command>) {
    let mut decoder = Decoder::default();
    let mut buffer = [0; 1 << 16];
    while let Ok(bytes @ 1..) = io::stdin().lock().read(&mut buffer) {
        decoder.push(&buffer[..bytes]);
        while let Ok(Some(command)) = decoder.take() {
            if commands.send(command).is_err() {
                return;
            }
        }
    }
}
