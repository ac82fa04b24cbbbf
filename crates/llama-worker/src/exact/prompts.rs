//! Random conversations that share prefixes.

use super::random::Random;

/// Tokens of a prompt: three of them fit into the context beside their answers, and many end in the
/// middle of a second block.
const PROMPT_TOKENS_MAX: usize = 450;

/// Texts that were said so far, answers included.
#[derive(Debug)]
pub(super) struct Talks {
    random: Random,
    vocabulary: u32,
    said: Vec<Vec<u32>>,
}

impl Talks {
    pub(super) fn new(seed: u64, vocabulary: u32) -> Self {
        Self { random: Random::new(seed), vocabulary, said: Vec::new() }
    }

    /// The prompts of the next life of an engine: one to three.
    pub(super) fn prompts(&mut self) -> Vec<Vec<u32>> {
        (0..self.random.within(1..4)).map(|_| self.prompt()).collect()
    }

    /// A prompt was answered so.
    pub(super) fn answered(&mut self, prompt: &[u32], answer: &[u32]) {
        self.said.push([prompt, answer].concat());
    }

    /// One that begins anew, goes on with something, leaves it somewhere in the middle, or says the
    /// beginning of it again.
    fn prompt(&mut self) -> Vec<u32> {
        if self.said.is_empty() || self.random.one_in(6) {
            return self.more(250);
        }
        let which = self.random.within(0..self.said.len());
        let mut prompt = self.said[which].clone();
        let longest = prompt.len().min(PROMPT_TOKENS_MAX - 1);
        let goes_on = prompt.len() <= longest && !self.random.one_in(3);
        if !goes_on {
            prompt.truncate(self.random.within(longest / 2..longest) + 1);
        }
        if goes_on || !self.random.one_in(4) {
            let room = PROMPT_TOKENS_MAX - prompt.len();
            prompt.extend(self.more(room.min(100)));
        }
        prompt
    }

    fn more(&mut self, tokens_max: usize) -> Vec<u32> {
        let count = self.random.within(1..tokens_max + 1);
        self.random.tokens(count, self.vocabulary)
    }
}
