//! Where the cached tokens of prompts were found.

use serde::Serialize;
use worker_protocol::Event;

/// Where the cached tokens of a prompt were found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CachedBy {
    /// In the context of the engine.
    pub live: u64,
    /// In memory outside the context.
    pub ram: u64,
    /// In files.
    pub ssd: u64,
}

impl CachedBy {
    pub(crate) fn new(usage: &worker_protocol::Usage) -> Self {
        let elsewhere = usage.cached_ram_tokens.saturating_add(usage.cached_ssd_tokens);
        Self {
            live: usage.cached_tokens.saturating_sub(elsewhere).into(),
            ram: usage.cached_ram_tokens.into(),
            ssd: usage.cached_ssd_tokens.into(),
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.live += other.live;
        self.ram += other.ram;
        self.ssd += other.ssd;
    }

    /// All of them.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.live + self.ram + self.ssd
    }
}

/// What is known of cached tokens before an answer has ended.
#[derive(Debug, Clone)]
pub(crate) struct Foretold {
    choices_per_prompt: u32,
    /// Of each prompt, once its first choice has begun.
    prompts: Vec<Option<CachedBy>>,
}

impl Foretold {
    /// `choices_per_prompt`: a prompt is looked up once, however many choices continue it.
    pub(crate) fn new(choices: usize, choices_per_prompt: u32) -> Self {
        let choices_per_prompt = choices_per_prompt.max(1);
        let prompts = choices.div_ceil(choices_per_prompt as usize);
        Self { choices_per_prompt, prompts: vec![None; prompts] }
    }

    /// A choice goes on with its prompt; the first that it says holds.
    pub(crate) fn hear(&mut self, choice: u32, event: &Event) {
        let Event::Progress { cached, cached_ram, cached_ssd, .. } = *event else { return };
        if !choice.is_multiple_of(self.choices_per_prompt) {
            return;
        }
        let usage = worker_protocol::Usage {
            cached_tokens: cached,
            cached_ram_tokens: cached_ram,
            cached_ssd_tokens: cached_ssd,
            ..worker_protocol::Usage::default()
        };
        if let Some(prompt) = self.prompts.get_mut((choice / self.choices_per_prompt) as usize) {
            prompt.get_or_insert(CachedBy::new(&usage));
        }
    }

    /// The sum over all prompts, once all have begun.
    pub(crate) fn cached(&self) -> Option<CachedBy> {
        let mut sum = CachedBy::default();
        for prompt in &self.prompts {
            sum.add(&(*prompt)?);
        }
        Some(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begins(cached: u32, cached_ram: u32, cached_ssd: u32) -> Event {
        Event::Progress { processed: cached, total: 100, cached, cached_ram, cached_ssd }
    }

    #[test]
    fn cached_tokens_are_foretold_once_for_each_prompt_and_when_all_have_begun() {
        // Two prompts with two choices each.
        let mut foretold = Foretold::new(4, 2);
        foretold.hear(2, &begins(10, 3, 2));
        // Another choice of it finds what the first one computed.
        foretold.hear(1, &begins(99, 0, 0));
        assert_eq!(foretold.cached(), None, "the first prompt has not begun");
        foretold.hear(0, &begins(4, 0, 4));
        // Progress goes on, and one that was parked finds itself again.
        foretold.hear(0, &begins(50, 0, 0));
        // Nobody asked for so many.
        foretold.hear(8, &begins(7, 7, 7));
        assert_eq!(foretold.cached(), Some(CachedBy { live: 5, ram: 3, ssd: 6 }));
        assert_eq!(Foretold::new(1, 1).cached(), None);
    }
}
