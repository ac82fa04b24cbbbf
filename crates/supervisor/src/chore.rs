//! A program that runs once because the person at the command line wants it to: one that quantizes, one
//! that converts. It is guarded like every foreign program, so nothing of it outlives whoever started it,
//! and its folder goes with it.
//!
//! Not here: programs that run for a request, within memory that is booked (`tool`).

use std::{collections::BTreeMap, ffi::OsString, future::Future, path::Path, pin::pin};

use tokio::{io::BufReader, sync::mpsc, task::JoinSet, time::timeout};

use crate::{
    guarded::{Guarded, Order},
    limits::{DRAIN_WAIT_MAX, LOG_LINES_WAITING_MAX},
    log::{LineEnds, Pipe, next_line},
};

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub struct Chore<'a> {
    /// The command that starts a guard ([`crate::guard`]).
    pub guard: &'a [OsString],
    /// Program and arguments.
    pub argv: &'a [String],
    /// Added to the few variables that every engine gets.
    pub environment: &'a BTreeMap<String, String>,
    /// Where it runs. Whoever made the folder removes it; the guard does if that was killed.
    pub folder: &'a Path,
}

/// How it ended, with nothing left of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With exit code 0.
    Well,
    /// In another way, in words that follow the program's name.
    Badly(String),
    /// Because it was told to stop.
    Stopped,
}

impl Chore<'_> {
    /// Runs it to its end, or until `stop` says that nobody wants it any more. `said` gets each line that
    /// it prints, on whichever of its two outputs, without control characters; a carriage return ends a
    /// line too, since that is how programs show progress.
    ///
    /// # Errors
    /// Why it could not be started, with the way out.
    pub async fn run(
        self,
        mut said: impl FnMut(&str),
        stop: impl Future<Output = ()>,
    ) -> Result<End, String> {
        let Self { guard, argv, environment, folder } = self;
        let order = Order { argv, environment, input: None, folder: Some(folder) };
        let mut guarded = Guarded::start(guard, &order)?;
        let printed = guarded.take_stdout().map(|pipe| Box::new(pipe) as Pipe);
        let complained = guarded.take_stderr().map(|pipe| Box::new(pipe) as Pipe);
        let (lines, mut to_be_said) = mpsc::channel(LOG_LINES_WAITING_MAX);
        let mut reading = JoinSet::new();
        for pipe in printed.into_iter().chain(complained) {
            reading.spawn(read(pipe, lines.clone()));
        }
        drop(lines);
        let mut stop = pin!(stop);
        let ended = loop {
            tokio::select! {
                ended = guarded.wait() => break ended,
                Some(line) = to_be_said.recv() => said(&line),
                () = &mut stop => {
                    guarded.kill();
                    guarded.wait().await;
                    return Ok(End::Stopped);
                }
            }
        };
        let rest = async {
            while let Some(line) = to_be_said.recv().await {
                said(&line);
            }
        };
        timeout(DRAIN_WAIT_MAX, rest).await.ok();
        Ok(if guarded.succeeded() { End::Well } else { End::Badly(ended) })
    }
}

async fn read(pipe: Pipe, lines: mpsc::Sender<String>) {
    let mut pipe = BufReader::new(pipe);
    while let Some(line) = next_line(&mut pipe, LineEnds::OrReturn).await {
        if !line.trim().is_empty() && lines.send(line).await.is_err() {
            return;
        }
    }
}
