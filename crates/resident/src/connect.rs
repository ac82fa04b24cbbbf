//! `resident connect CLIENT`: the settings that make a client use this hub, printed, or written into
//! the client's own file beside what else is in it.
//!
//! `client` is the table of clients, one module each for their kinds; a client is a function from
//! what is known (`subject`, `places`) to pieces. `merge` puts a piece into a text, `file` writes it.
//! Here the pieces are shown. Not here: anything about a client.

mod agents;
mod apps;
mod client;
mod editors;
mod file;
mod libraries;
mod merge;
mod places;
mod subject;
#[cfg(test)]
mod tests;

use std::path::Path;

use client::{Client, FilePiece, Piece};
use file::Written;
use places::Places;
use subject::{KEY_VARIABLE, Subject};

use crate::{
    cli, config,
    exit::{self, Code},
    limits::AGENT_CONTEXT_TOKENS_MIN,
    table::{Align, Table},
    terminal::{self, Paint, Tone},
};

/// Prints or writes the settings of a client, or lists the clients.
///
/// # Errors
/// When the client is unknown or speaks what the hub does not, no model chats, something else than our
/// hub is at the address, or a file cannot be written without loss.
pub(crate) fn connect(arguments: &cli::Connect) -> anyhow::Result<()> {
    let Some(name) = &arguments.client else {
        for line in list().lines(Paint::stdout()) {
            terminal::line(line);
        }
        return Ok(());
    };
    let client = client::find(name)?;
    client.check()?;
    let settings = config::load(&arguments.place, &cli::Serving::default())?;
    let wish = subject::Wish { url: arguments.url.as_deref(), model: arguments.model.as_deref() };
    let (subject, mut notes) = subject::find(&settings, &wish)?;
    let pieces = (client.pieces)(&subject, &Places::of_this_machine()?);
    if arguments.write {
        write(client, &pieces)?;
    } else {
        show(&pieces);
    }
    notes.extend(rivals(client, &pieces));
    notes.extend(doubts(client, &subject));
    for note in notes {
        terminal::note(format_args!("note: {note}"));
    }
    Ok(())
}

/// The names of all clients, for the help.
pub(crate) fn help() -> String {
    let names: Vec<&str> = client::CLIENTS.iter().map(|client| client.name).collect();
    format!("Client to connect: {}", names.join(", "))
}

fn list() -> Table {
    let mut table = Table::new(&[
        ("CLIENT", Align::Left),
        ("WHAT IT IS", Align::Left),
        ("ASKS FOR", Align::Left),
        ("SETTINGS", Align::Left),
    ]);
    for client in client::CLIENTS {
        let asks_for = match client.api.is_spoken() {
            true => client.api.path().to_owned(),
            false => format!("{}, not spoken yet", client.api.path()),
        };
        let cells = [client.name, client.what, asks_for.as_str(), client.settings];
        table.row(cells.map(str::to_owned).to_vec());
    }
    table
}

/// What goes where is said beside the output, so that a single file may be redirected.
fn show(pieces: &[Piece]) {
    for piece in pieces {
        match piece {
            Piece::File(file) => {
                heading(&format!("into {}:", file.path.display()));
                terminal::line(file.fresh().trim_end());
            }
            Piece::Text { heading: what, text } => {
                heading(what);
                terminal::line(text.trim_end());
            }
            Piece::Then(what) => terminal::note(format_args!("then: {what}")),
        }
    }
}

fn heading(text: &str) {
    terminal::note(Paint::stderr().tone(Tone::Strong, text));
}

/// Writes every file, or none if one cannot be.
fn write(client: &Client, pieces: &[Piece]) -> anyhow::Result<()> {
    let files: Vec<&FilePiece> = pieces.iter().filter_map(Piece::file).collect();
    if files.is_empty() {
        let message = format!(
            "{name} has no file that could be written; resident connect {name} says what to do",
            name = client.name
        );
        return Err(exit::error(Code::Usage, message));
    }
    let prepared = files.into_iter().map(|file| prepare(client, file));
    for (path, written) in write_all(prepared.collect::<anyhow::Result<Vec<_>>>()?)? {
        terminal::note(told(path, &written));
    }
    for piece in pieces {
        if let Piece::Then(what) = piece {
            terminal::note(format_args!("then: {what}"));
        }
    }
    Ok(())
}

/// A file, what is in it, and what is to be.
type Prepared<'a> = (&'a Path, Option<String>, String);

fn prepare<'a>(client: &Client, file: &'a FilePiece) -> anyhow::Result<Prepared<'a>> {
    let old = file::read(&file.path)?;
    let text = file.merged(old.as_deref()).map_err(|problem| {
        let message = format!(
            "{}: {problem}; nothing was written: repair the file, or put in by hand what resident \
             connect {} prints",
            file.path.display(),
            client.name
        );
        exit::error(Code::Failure, message)
    })?;
    Ok((&file.path, old, text))
}

fn write_all(prepared: Vec<Prepared<'_>>) -> anyhow::Result<Vec<(&Path, Written)>> {
    let mut done = Vec::new();
    for (path, old, text) in prepared {
        match file::write(path, old.as_deref(), &text) {
            Ok(written) => done.push((path, written)),
            Err(error) => return Err(taken_back(&error, &done)),
        }
    }
    Ok(done)
}

/// Takes back what was done before `error`, which then says how it ended.
fn taken_back(error: &anyhow::Error, done: &[(&Path, Written)]) -> anyhow::Error {
    let stays = done.iter().rev().filter_map(|(path, written)| {
        let refused = file::undo(path, written).err()?;
        Some(format!("{}; that could not be taken back: {refused}", told(path, written)))
    });
    let stays: Vec<String> = stays.collect();
    let end = if stays.is_empty() { "nothing was written".to_owned() } else { stays.join("; ") };
    exit::error(Code::Failure, format!("{error}; {end}"))
}

fn told(path: &Path, written: &Written) -> String {
    let path = path.display();
    match written {
        Written::Nothing => format!("{path} says so already; nothing was written"),
        Written::New => format!("written: {path}, which is new; to undo: delete it"),
        Written::Changed { real, backup } => {
            let (real, backup) = (real.display(), backup.display());
            format!("written: {path}; to undo: mv \"{backup}\" \"{real}\"")
        }
    }
}

/// Keys in the client's files, as they are now, that it would use instead of the hub's. What they say is
/// nobody's business here, so the hub's own key in such a place is told of too.
fn rivals(client: &Client, pieces: &[Piece]) -> Vec<String> {
    let mut rivals = Vec::new();
    for file in pieces.iter().filter_map(Piece::file) {
        // Who cannot read the file hears of it when writing.
        let Ok(Some(text)) = file::read(&file.path) else { continue };
        for place in file.rivals_in(&text) {
            rivals.push(format!(
                "{} holds {place}, which {} uses instead of {KEY_VARIABLE}; take it out, unless it is \
                 the hub's key",
                file.path.display(),
                client.name
            ));
        }
    }
    rivals
}

/// What may disappoint whoever connects this client to this model.
fn doubts(client: &Client, subject: &Subject) -> Vec<String> {
    let mut doubts = Vec::new();
    if !client.is_agent {
        return doubts;
    }
    let model = &subject.model;
    if !model.tools {
        doubts.push(format!(
            "{} cannot be offered tools, which {} works by; --model names another",
            model.name, client.name
        ));
    }
    if let Some(tokens) = model.context_tokens.filter(|tokens| *tokens < AGENT_CONTEXT_TOKENS_MIN) {
        doubts.push(format!(
            "a context of {tokens} tokens is short for {}, whose instructions alone may fill it; \
             `context` in the model's table gives it more, or --model names another",
            client.name
        ));
    }
    doubts
}
