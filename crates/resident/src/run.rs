//! `resident run`: one question, or a chat on the terminal.
//!
//! If our hub answers at the address it is asked, else one runs in this process for as long as the
//! chat; either way the words go over the same HTTP that every other client uses.

mod answer;
mod chunk;
mod compose;
mod conversation;
mod editor;
mod reached;

use std::{
    io::{self, IsTerminal as _, Read as _},
    path::Path,
};

use anyhow::Context as _;

use self::{
    compose::{Command, Composer, Input},
    conversation::Conversation,
    editor::{Editor, Typed},
    reached::Reached,
};
use crate::{
    cli,
    client::Client,
    config,
    exit::{self, Code},
    limits::PROMPT_BYTES_MAX,
    models, serve,
    terminal::{self, Paint, Tone},
};

/// Asks one thing, or chats.
///
/// # Errors
/// When no hub can be had, there is no such model, or it does not answer.
pub(crate) fn run(arguments: &cli::Run) -> anyhow::Result<()> {
    let mut settings = config::load(&arguments.place, &arguments.serving)?;
    let file = models::file_of(&arguments.model)?;
    let name = match &file {
        Some(file) => settings.catalog.add_file(file)?,
        None => arguments.model.clone(),
    };
    let question = question(&arguments.prompt)?;
    let conversation = Conversation::new(arguments.system.clone(), arguments.temperature);
    serve::runtime()?.block_on(async {
        let reached = Reached::find_or_start(&settings).await?;
        let done = match reached.model(name, file.as_deref()).await {
            Ok(model) => {
                let mut chat = Chat { client: &reached.client, model, conversation };
                match question {
                    Some(question) => chat.ask_once(&question).await,
                    None => chat.converse(&settings.history_file()).await,
                }
            }
            Err(error) => Err(error),
        };
        reached.end().await;
        done
    })
}

/// Has a model answer one question from collections of files, and shows the answer.
///
/// # Errors
/// When there is no such model or collection, or it does not answer.
pub(crate) async fn ask_files(
    client: &Client,
    model: &str,
    question: &str,
    collections: &[String],
) -> anyhow::Result<()> {
    let mut request = Conversation::default().request(model, question);
    request["knowledge"] = collections.into();
    if answer::show(client, model, &request, interrupted()).await?.stopped {
        return Err(exit::error(Code::Interrupted, "stopped by Ctrl-C"));
    }
    Ok(())
}

/// Comes back when Ctrl-C is pressed.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// A conversation with a model of a hub.
struct Chat<'a> {
    client: &'a Client,
    model: String,
    conversation: Conversation,
}

impl Chat<'_> {
    async fn ask_once(&mut self, question: &str) -> anyhow::Result<()> {
        if self.ask(question).await? {
            return Err(exit::error(Code::Interrupted, "stopped by Ctrl-C"));
        }
        Ok(())
    }

    async fn converse(&mut self, history_file: &Path) -> anyhow::Result<()> {
        let editor = Editor::start(history_file)?;
        let faint = |text: String| Paint::stderr().tone(Tone::Faint, text);
        terminal::note(faint(format!("{} listens. /help lists the commands.", self.model)));
        let mut composer = Composer::default();
        loop {
            let prompt = if composer.is_open() { "... " } else { ">>> " };
            let line = match editor.line(prompt).await? {
                Typed::Line(line) => line,
                Typed::Interrupt if composer.is_open() => {
                    composer.abandon();
                    continue;
                }
                Typed::Interrupt => {
                    terminal::note(faint("Ctrl-D or /bye leaves.".to_owned()));
                    continue;
                }
                Typed::End => return Ok(()),
            };
            match composer.push(&line) {
                Some(Input::Message(question)) => {
                    if let Err(error) = self.ask(&question).await {
                        let alarm = Paint::stderr().tone(Tone::Alarm, "error:");
                        terminal::note(format_args!("{alarm} {error:#}"));
                    }
                }
                Some(Input::Command(Command::Bye)) => return Ok(()),
                Some(Input::Command(command)) => self.obey(command),
                Some(Input::Wrong(advice)) => terminal::note(advice),
                None => {}
            }
        }
    }

    /// Shows the answer to `question` and keeps both; whether Ctrl-C stopped it.
    async fn ask(&mut self, question: &str) -> anyhow::Result<bool> {
        let request = self.conversation.request(&self.model, question);
        let answer = answer::show(self.client, &self.model, &request, interrupted()).await?;
        self.conversation.keep(question, &answer.text);
        Ok(answer.stopped)
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Help => terminal::note(compose::HELP),
            Command::Clear => {
                self.conversation.clear();
                terminal::note("forgotten");
            }
            Command::System(system) => self.conversation.instruct(system),
            Command::Set(setting) => self.conversation.set(setting),
            Command::Show => terminal::note(format_args!(
                "  model: {}\n{}",
                self.model,
                self.conversation.describe()
            )),
            // The loop has left by now.
            Command::Bye => {}
        }
    }
}

/// What to ask once: the words of the command line, else what comes on a pipe.
fn question(words: &[String]) -> anyhow::Result<Option<String>> {
    if !words.is_empty() {
        return Ok(Some(words.join(" ")));
    }
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Ok(None);
    }
    let mut text = String::new();
    let read = stdin.lock().take(PROMPT_BYTES_MAX + 1).read_to_string(&mut text);
    read.context("cannot read the question from standard input")?;
    if text.len() as u64 > PROMPT_BYTES_MAX {
        let message = format!("the question is longer than {PROMPT_BYTES_MAX} bytes");
        return Err(exit::error(Code::Usage, message));
    }
    if text.trim().is_empty() {
        let message = "standard input is empty; give a question: resident run MODEL \"...\"";
        return Err(exit::error(Code::Usage, message));
    }
    Ok(Some(text.trim_end().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_command_line_are_one_question() {
        let words = ["Why", "is the sky blue?"].map(str::to_owned);
        assert_eq!(question(&words).unwrap().as_deref(), Some("Why is the sky blue?"));
    }
}
