//! The cache in tiers: how soon a long prompt is answered when its prefix comes from each of them.
//!
//! One hub is asked the same prompt again and again. Between two askings its prefix is brought to where
//! it is to come from: a short other prompt takes its place in the context, the hub starts anew, another
//! model takes its memory, or its files are dropped from the page cache. What the answer says of the tier
//! must be what was prepared, else nothing is measured. Beside a restore from files the same files are
//! just read ([`files`]), and a few tokens are decoded in the same context.
//!
//! Not here: what the cache costs when nothing is used again (`cost`).

mod beside;
pub(crate) mod files;
mod first_token;
mod report;

use std::path::PathBuf;

use serde::Serialize;

use super::{
    client::Came,
    hub::{Guessing, Keep, Setup},
    limits::{CONTEXT_SLACK_TOKENS, KEPT_RAM_SLACK_BYTES},
    report::Reach,
    subject::Subject,
};
use crate::{
    config::raw::KvCache,
    exit::{self, Code},
};

pub(crate) use first_token::measure;

/// What is measured.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) model: Subject,
    /// The model that is switched to, where there is one.
    pub(crate) other: Option<Subject>,
    pub(crate) worker: PathBuf,
    pub(crate) prompt_tokens: u32,
    /// How often each restore is measured.
    pub(crate) rounds: u32,
    /// How often a prompt is computed that nobody has seen before.
    pub(crate) cold_rounds: u32,
    pub(crate) threads: u32,
    pub(crate) budget_bytes: u64,
}

/// From where a prefix comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Case {
    /// From nowhere: it is computed.
    Cold,
    /// From the context.
    Live,
    /// From memory beside the context.
    Ram,
    /// From files that the system has in its page cache.
    SsdWarm,
    /// From files that the system has dropped from its page cache.
    SsdCold,
    /// From files, after another model had the memory; loading included.
    Switch,
    /// From files, after the hub was started anew; loading included.
    Restart,
}

/// One answer to the long prompt.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Sample {
    pub(crate) case: Case,
    /// Tokens of the prompt, of which the memory beside the context may hold the beginning only.
    pub(crate) prompt_tokens: u32,
    /// From sending the request to the first token.
    pub(crate) first_token_ms: f64,
    /// Of that, loading the model, by the worker's own account.
    pub(crate) load_ms: Option<f64>,
    /// Where the tokens came from.
    pub(crate) came: Came,
    /// Bytes that came back.
    pub(crate) bytes: u64,
    /// Just reading the same files, in the same state of the page cache.
    pub(crate) plain: Option<files::PlainRead>,
    /// A token after the first, in the same context.
    pub(crate) decode_ms: f64,
}

/// One answer of `llama-server` to the same prompt.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Beside {
    pub(crate) case: BesideCase,
    /// From sending the request to the first token.
    pub(crate) first_token_ms: f64,
    /// Before that, reading a slot from its file.
    pub(crate) restore_ms: Option<f64>,
    /// Tokens that it did not compute, as it says.
    pub(crate) cached_tokens: u32,
}

/// From where `llama-server` has a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BesideCase {
    /// It is computed.
    Cold,
    /// From the slot.
    Live,
    /// From its cache in memory.
    HostCache,
    /// From the file of a saved slot, read by a server that was started anew.
    SavedSlot,
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    model: Subject,
    other: Option<Subject>,
    prompt_tokens: u32,
    rounds: u32,
    threads: u32,
    /// All answers, in the order they came.
    samples: Vec<Sample>,
    /// The same for `llama-server`; `None` where it is not on PATH.
    llama_server: Option<Vec<Beside>>,
    reach: Vec<Reach>,
}

impl Plan {
    /// Cells of the context: the prompt, and what the answers add.
    fn context_tokens(&self) -> u32 {
        self.prompt_tokens.saturating_add(CONTEXT_SLACK_TOKENS)
    }

    /// What the hub is started with. Its memory beside the context may hold the prompt twice, so that
    /// short prompts between two askings do not push it out, and gets what the hub gives of that.
    ///
    /// # Errors
    /// With [`Code::Model`] when the model's file cannot be read.
    fn setup(&self) -> anyhow::Result<Setup> {
        let header = supervisor::read_header(&self.model.path)
            .map_err(|error| exit::error(Code::Model, error))?;
        let layout = planner::footprint::Layout::new(self.context_tokens(), 1);
        let state_bytes = planner::footprint::predict_state(&header, &layout).total_bytes();
        let ram_bytes = state_bytes.saturating_mul(2).saturating_add(KEPT_RAM_SLACK_BYTES);
        Ok(Setup {
            model: self.model.path.clone(),
            other: self.other.as_ref().map(|other| other.path.clone()),
            worker: Some(self.worker.clone()),
            context_tokens: self.context_tokens(),
            parallel: 1,
            threads: Some(self.threads),
            budget_bytes: self.budget_bytes,
            guessing: Guessing::Off,
            keep: Some(Keep { cache: KvCache::Ssd, ram_bytes: Some(ram_bytes) }),
        })
    }
}

impl Case {
    /// Where the tokens of a prompt must come from, all but the last.
    fn expected(self, prompt_tokens: u32) -> Came {
        let tokens = prompt_tokens - 1;
        match self {
            Self::Cold => Came::default(),
            Self::Live => Came { live: tokens, ..Came::default() },
            Self::Ram => Came { ram: tokens, ..Came::default() },
            Self::SsdWarm | Self::SsdCold | Self::Switch | Self::Restart => {
                Came { ssd: tokens, ..Came::default() }
            }
        }
    }
}
