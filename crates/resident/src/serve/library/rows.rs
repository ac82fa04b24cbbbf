//! Pulls as the control routes tell them.

use gateway::control::pulls::{Pull, PullFile};
use library::{
    name::Name,
    pull::Stage,
    queue::{Row, State},
};

/// A pull as the control routes tell it.
pub(super) fn row(row: Row) -> Pull {
    let Row { id, job, state, progress, trouble } = row;
    let is_running = state == State::Running;
    let left = progress.left.filter(|_| is_running);
    let (word, error, name) = told(state);
    Pull {
        id,
        source: without_secret(&job.source),
        name: name.or(progress.name.clone()).or(job.name).map(String::from),
        state: word.to_owned(),
        error: error.or(trouble),
        stage: is_running.then(|| stage(progress.stage)).flatten().map(str::to_owned),
        done_bytes: progress.done_bytes(),
        whole_bytes: progress.whole_bytes(),
        bytes_per_s: if is_running { progress.bytes_per_s } else { 0 },
        left_s: left.map(|left| left.as_secs()),
        connections: u32::try_from(progress.connections).unwrap_or(u32::MAX),
        note: progress.note.clone().filter(|_| is_running),
        files: progress
            .files
            .into_iter()
            .map(|file| PullFile {
                name: file.name,
                done_bytes: file.done_bytes,
                whole_bytes: file.whole_bytes,
            })
            .collect(),
    }
}

fn told(state: State) -> (&'static str, Option<String>, Option<Name>) {
    match state {
        State::Waiting => ("waiting", None, None),
        State::Running => ("running", None, None),
        State::Paused => ("paused", None, None),
        State::Failed(why) => ("failed", Some(why), None),
        State::Done(name) => ("done", None, Some(name)),
        State::Cancelled => ("cancelled", None, None),
    }
}

fn stage(stage: Stage) -> Option<&'static str> {
    match stage {
        Stage::Manifest => Some("manifest"),
        Stage::Files => Some("files"),
        Stage::Verifying => Some("verifying"),
        Stage::Writing => Some("writing"),
        Stage::Done => None,
    }
}

/// As it can be shown: an address may hold a password or a key.
fn without_secret(source: &str) -> String {
    match library::source::Source::parse(source) {
        Some(Ok(source)) => source.to_string(),
        Some(Err(_)) | None => source.to_owned(),
    }
}
