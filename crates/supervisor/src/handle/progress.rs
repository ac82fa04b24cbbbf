//! What a request waits for, for people who look at a silent stream.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use planner::fleet::{RequestId, Turn, WaitingFor};

use super::Handle;
use crate::{report::ResidentState, run_loop::Message};

/// Shows what a request waits for while it waits; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    wait: Arc<Mutex<Option<Wait>>>,
}

/// Who waits for which model.
#[derive(Debug, Clone)]
struct Wait {
    model: Arc<str>,
    request: RequestId,
}

/// What a request waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The model.
    pub model: String,
    /// How far it is.
    pub stage: Stage,
}

/// How far a model is that is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It is being loaded.
    Loading {
        /// What is done of it, from 0 to 100.
        percent: u8,
    },
    /// Others come first, or memory must become free.
    Waiting {
        /// Place among all who wait, from 1.
        place: usize,
    },
}

impl fmt::Display for Progress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.stage {
            Stage::Loading { percent } => write!(out, "loading {} {percent} %", self.model),
            Stage::Waiting { place } => write!(out, "waiting for {}, place {place}", self.model),
        }
    }
}

impl Handle {
    /// What the watched request waits for now; `None` when it waits for no model.
    pub async fn progress(&self, watch: &Watch) -> Option<Progress> {
        let Wait { model, request } = watch.now()?;
        let turn = self.ask(|reply| Message::Turn { request, reply }).await?;
        let stage = match turn? {
            Turn::Using(_) => return None,
            Turn::Waiting(wait) => match wait.waiting_for {
                WaitingFor::Load(_) => {
                    Stage::Loading { percent: self.loaded_percent(&model).await }
                }
                WaitingFor::Place(_)
                | WaitingFor::Drained { .. }
                | WaitingFor::Exits(_)
                | WaitingFor::Pressure(_)
                | WaitingFor::Held { .. }
                | WaitingFor::Sparing { .. }
                | WaitingFor::InUse { .. }
                | WaitingFor::Behind(_) => Stage::Waiting { place: wait.place },
            },
        };
        Some(Progress { model: model.to_string(), stage })
    }

    async fn loaded_percent(&self, model: &str) -> u8 {
        let residents = self.residents().await;
        let fractions =
            residents.iter().filter(|resident| *resident.name == *model).filter_map(|resident| {
                match resident.state {
                    ResidentState::Loading { fraction } => Some(fraction),
                    ResidentState::Ready | ResidentState::Stopping => None,
                }
            });
        percent(fractions.fold(0.0, f32::max))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it was brought between 0 and 100, and no number becomes 0"
)]
fn percent(fraction: f32) -> u8 {
    (fraction.clamp(0.0, 1.0) * 100.0) as u8
}

/// Ends what a watch shows, whichever way the wait ends.
pub(super) struct Watched<'a>(&'a Watch);

impl Watch {
    pub(super) fn waits(&self, model: &Arc<str>, request: RequestId) -> Watched<'_> {
        self.show(Some(Wait { model: Arc::clone(model), request }));
        Watched(self)
    }

    fn show(&self, wait: Option<Wait>) {
        *self.wait.lock().unwrap_or_else(PoisonError::into_inner) = wait;
    }

    fn now(&self) -> Option<Wait> {
        self.wait.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.0.show(None);
    }
}
