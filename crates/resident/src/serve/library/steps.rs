//! How far a pull is, in the steps that Ollama's clients know.

use std::collections::BTreeMap;

use dialect::{
    Error,
    ollama::progress::{Layer, Step},
};
use library::{
    name::Name,
    pull::{Progress, Stage},
    queue::{Attended, Queue, State},
};
use tokio::sync::mpsc;

/// Tells the steps of a pull until it has ended or nobody reads them any more.
///
/// # Errors
/// Why it could not be pulled.
pub(super) async fn follow(
    queue: &Queue,
    attended: &Attended,
    steps: &mpsc::Sender<Result<Step, Error>>,
) -> Result<Name, Error> {
    let nobody_reads = || Error::new(500, "nobody reads how far the pull is");
    let mut changes = queue.changes();
    let mut told = Told::default();
    loop {
        changes.mark_unchanged();
        let Some(row) = attended.row() else {
            return Err(Error::new(500, "the pull is forgotten; pull the model again"));
        };
        let is_done = matches!(row.state, State::Done(_));
        for step in told.news(&row.progress, is_done) {
            steps.send(Ok(step)).await.map_err(|_| nobody_reads())?;
        }
        match row.state {
            State::Done(name) => return Ok(name),
            State::Failed(why) => {
                return Err(Error::new(500, format!("pull model manifest: {why}")));
            }
            State::Cancelled => return Err(Error::new(500, "the pull was cancelled")),
            State::Waiting | State::Running | State::Paused => {}
        }
        tokio::select! {
            () = steps.closed() => return Err(nobody_reads()),
            // The queue is there as long as this is.
            _queue_is_there = changes.changed() => {}
        }
    }
}

/// What was told of a pull.
#[derive(Debug, Default)]
struct Told {
    stage: Option<Stage>,
    /// Bytes of each file.
    files: BTreeMap<usize, u64>,
}

impl Told {
    /// The steps from what was told last to where it is now. None is left out, however fast it was.
    fn news(&mut self, progress: &Progress, is_done: bool) -> Vec<Step> {
        let now = if is_done { Stage::Done } else { progress.stage };
        let mut steps = Vec::new();
        if self.stage.is_none() {
            steps.push(Step::Manifest);
        }
        for (place, file) in progress.files.iter().enumerate() {
            // One that has nothing yet is a bar too.
            if self.files.insert(place, file.done_bytes) != Some(file.done_bytes) {
                steps.push(Step::Layer(Layer {
                    digest: file.digest().map(|digest| digest.to_string()),
                    name: file.name.clone(),
                    total_bytes: file.whole_bytes,
                    completed_bytes: file.done_bytes,
                }));
            }
        }
        let before = self.stage.replace(now).unwrap_or(Stage::Manifest);
        for (stage, step) in [(Stage::Verifying, Step::Verifying), (Stage::Writing, Step::Writing)]
        {
            if before < stage && stage <= now {
                steps.push(step);
            }
        }
        steps
    }
}
