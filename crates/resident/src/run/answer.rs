//! Shows one answer as it comes.
//!
//! Text goes to stdout the moment it arrives; a spinner on stderr says what is being waited for,
//! and only where a person sees it. Not here: what to ask (`conversation`).

use std::{future::Future, pin::pin};

use anyhow::{Context as _, anyhow};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::chunk::{self, Chunk};
use crate::{
    client::{Client, Error, Stream},
    limits::{PROGRESS_INTERVAL, SPIN_INTERVAL},
    ps,
    terminal::{self, Paint, Tone},
};

/// Where chats are answered.
const PATH: &str = "/v1/chat/completions";

/// What became of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The text, without what the model thought before it.
    pub(crate) text: String,
    /// Whether the person stopped it.
    pub(crate) stopped: bool,
}

/// Asks and shows the answer until it ends or `stop` does.
///
/// # Errors
/// When the hub refuses or the answer breaks off; what was shown until then stays on the screen.
pub(crate) async fn show(
    client: &Client,
    model: &str,
    request: &Value,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<Answer> {
    let mut screen = Screen::default();
    let mut stop = pin!(stop);
    let ended = tokio::select! {
        () = &mut stop => Ok(true),
        shown = ask_and_show(client, model, request, &mut screen) => shown.map(|()| false),
    };
    screen.end_line();
    let stopped = ended?;
    Ok(Answer { text: screen.text, stopped })
}

async fn ask_and_show(
    client: &Client,
    model: &str,
    request: &Value,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let spinner = Spinner::start(model);
    let mut stream = begin(client, model, request, &spinner).await.map_err(Error::with_code)?;
    let mut finish = None;
    while let Some(events) = stream.next().await.map_err(Error::with_code)? {
        for data in events {
            let Some(chunk) = chunk::parse(&data).map_err(|message| anyhow!(message))? else {
                screen.end_line();
                return note_finish(finish.as_deref());
            };
            if !chunk.text.is_empty() || !chunk.reasoning.is_empty() {
                spinner.clear();
            }
            screen.show(&chunk);
            finish = chunk.finish.or(finish);
        }
    }
    // A whole stream ends with its mark, so this one was cut.
    Err(anyhow!("the connection closed before the answer ended")).context("the answer broke off")
}

/// Says it when an answer is cut short, which the text alone does not show.
fn note_finish(finish: Option<&str>) -> anyhow::Result<()> {
    if finish == Some("length") {
        terminal::note("(cut: the limit of tokens or the end of the context was reached)");
    }
    Ok(())
}

/// Sends the request; while the model loads, the spinner says how far it is.
async fn begin(
    client: &Client,
    model: &str,
    request: &Value,
    spinner: &Spinner,
) -> Result<Stream, Error> {
    let mut answer = pin!(client.stream(PATH, request));
    loop {
        tokio::select! {
            stream = &mut answer => {
                spinner.say("thinking");
                return stream;
            }
            () = tokio::time::sleep(PROGRESS_INTERVAL), if spinner.is_seen() => {
                if let Some(percent) = ps::loading_percent(client, model).await {
                    spinner.say(&format!("loading {model}: {percent} %"));
                }
            }
        }
    }
}

/// The answer on the screen.
#[derive(Debug, Default)]
struct Screen {
    text: String,
    shows_reasoning: bool,
    is_mid_line: bool,
}

impl Screen {
    fn show(&mut self, chunk: &Chunk) {
        // Reasoning is for the person; a pipe gets the answer alone.
        if !chunk.reasoning.is_empty() && terminal::stdout_is_terminal() {
            self.shows_reasoning = true;
            self.put(&Paint::stdout().tone(Tone::Faint, terminal::inert(&chunk.reasoning)));
        }
        if chunk.text.is_empty() {
            return;
        }
        if std::mem::take(&mut self.shows_reasoning) {
            self.put("\n\n");
        }
        self.text.push_str(&chunk.text);
        // A pipe gets every byte; a terminal would obey some of them.
        if terminal::stdout_is_terminal() {
            self.put(&terminal::inert(&chunk.text));
        } else {
            self.put(&chunk.text);
        }
    }

    fn put(&mut self, text: &str) {
        terminal::text_as_is(text);
        self.is_mid_line = !text.ends_with('\n');
    }

    fn end_line(&mut self) {
        if std::mem::take(&mut self.is_mid_line) {
            terminal::text_as_is("\n");
        }
    }
}

/// Says what is being waited for, on a terminal only.
struct Spinner(ProgressBar);

impl Spinner {
    fn start(model: &str) -> Self {
        // Draws on stderr, and nothing where that is no terminal.
        let bar = ProgressBar::new_spinner().with_message(format!("asking {model}"));
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(SPIN_INTERVAL);
        Self(bar)
    }

    fn is_seen(&self) -> bool {
        !self.0.is_hidden() && !self.0.is_finished()
    }

    fn say(&self, message: &str) {
        self.0.set_message(message.to_owned());
    }

    fn clear(&self) {
        if !self.0.is_finished() {
            self.0.finish_and_clear();
        }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.clear();
    }
}
