//! What is measured: a model's file, what its header says, and prompts for it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

use super::limits::PROMPT_TOKENS_MIN;
use crate::{
    config::Settings,
    exit::{self, Code},
    models::{self, Found},
};

/// The model that is measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Subject {
    /// What the user calls it.
    pub(crate) name: String,
    /// Its file.
    pub(crate) path: PathBuf,
    /// Length of the file.
    pub(crate) file_bytes: u64,
    /// `general.architecture`.
    pub(crate) architecture: String,
    /// How many weights it has.
    pub(crate) parameters: u64,
    /// How most of them are encoded.
    pub(crate) quantization: String,
    /// Tokens in its vocabulary.
    pub(crate) vocabulary_tokens: u32,
    /// Whether a layer of its own can guess ahead for it.
    pub(crate) has_head: bool,
}

impl Subject {
    /// The model that `asked` names, by name or by file; without it the only model there is.
    ///
    /// # Errors
    /// With [`Code::Model`] when there is no such model or it generates no text, with
    /// [`Code::Usage`] when it is not clear which one is meant.
    pub(crate) fn choose(asked: Option<&str>, settings: &Settings) -> anyhow::Result<Self> {
        let found = match asked {
            Some(asked) => named(asked, settings)?,
            None => only(settings)?,
        };
        let header = supervisor::read_header(&found.path)
            .map_err(|error| exit::error(Code::Model, error))?;
        if !header.generates() {
            let message = format!("{} generates no text; choose another model", found.name);
            return Err(exit::error(Code::Model, message));
        }
        // The hub runs in this folder too, but an absolute path says more in a report.
        let path = std::path::absolute(&found.path)?;
        Ok(Self {
            path,
            file_bytes: found.file_bytes,
            architecture: header.architecture().to_owned(),
            parameters: header.parameters(),
            quantization: header.quantization(),
            has_head: planner::draft::head_misfit(&header).is_none(),
            vocabulary_tokens: u32::try_from(header.vocabulary_tokens())
                .context("the vocabulary is too large")?,
            name: found.name,
        })
    }
}

fn named(asked: &str, settings: &Settings) -> anyhow::Result<Found> {
    if let Some(found) = settings.catalog.find(asked) {
        return Ok(found);
    }
    if Path::new(asked).is_file() {
        return Ok(models::from_file(Path::new(asked))?);
    }
    let known = settings.catalog.scan().models;
    let nearest = models::nearest(asked, known.iter().map(|found| found.name.as_str()));
    let hint = match nearest {
        Some(nearest) => format!("did you mean '{nearest}'?"),
        None => "name a model of `resident ls`, or a .gguf file".to_owned(),
    };
    Err(exit::error(Code::Model, format!("there is no model '{asked}'; {hint}")))
}

fn only(settings: &Settings) -> anyhow::Result<Found> {
    let mut models = settings.catalog.scan().models;
    match (models.pop(), models.len()) {
        (Some(only), 0) => Ok(only),
        (None, _) => Err(exit::error(
            Code::Usage,
            "there is no model to measure; give one: resident bench FILE.gguf",
        )),
        (Some(last), others) => Err(exit::error(
            Code::Usage,
            format!("there are {} models; say which: resident bench {}", others + 1, last.name),
        )),
    }
}

/// Prompts that no cache has seen: each begins differently from all before it.
#[derive(Debug)]
pub(crate) struct Prompts {
    vocabulary_tokens: u32,
    state: u64,
}

impl Prompts {
    /// For a model with this vocabulary; the same prompts in every run.
    pub(crate) fn new(vocabulary_tokens: u32) -> Self {
        Self { vocabulary_tokens: vocabulary_tokens.max(1), state: 0 }
    }

    /// `count` prompts of `tokens` tokens.
    pub(crate) fn take(&mut self, count: u32, tokens: u32) -> Vec<Vec<u32>> {
        (0..count).map(|_| (0..tokens).map(|_| self.token()).collect()).collect()
    }

    /// A short prompt that begins otherwise than this one.
    pub(crate) fn short(&mut self, than: &[u32]) -> Vec<u32> {
        loop {
            let short = self.take(1, PROMPT_TOKENS_MIN).concat();
            // A vocabulary of one token has no other beginning.
            if short.first() != than.first() || self.vocabulary_tokens == 1 {
                return short;
            }
        }
    }

    /// SplitMix64 (Steele, Lea and Flood 2014), reduced to the vocabulary.
    fn token(&mut self) -> u32 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        u32::try_from(bits % u64::from(self.vocabulary_tokens)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_differ_and_stay_in_the_vocabulary() {
        let mut prompts = Prompts::new(512);
        let first = prompts.take(8, 64);
        let second = prompts.take(8, 64);
        assert!(first.iter().chain(&second).all(|prompt| prompt.len() == 64));
        assert!(first.iter().chain(&second).flatten().all(|token| *token < 512));
        assert_ne!(prompts.short(&first[0])[0], first[0][0]);
        let distinct: std::collections::BTreeSet<_> = first.iter().chain(&second).collect();
        assert_eq!(distinct.len(), 16);
        assert_eq!(Prompts::new(512).take(8, 64), first, "every run measures the same");
    }
}
