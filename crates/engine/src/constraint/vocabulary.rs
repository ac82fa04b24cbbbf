//! A model's vocabulary as llguidance reads it: a tree of all tokens' bytes.
//!
//! For 150,000 tokens it takes a second or two to build and 65 MB to keep, so it is built when the first
//! answer is to be constrained, and once. It grows with the bytes of all tokens and with nothing else; the plan
//! of a model has it from the start (`planner::footprint`).

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use llguidance::api::ParserLimits;
use llguidance::toktrie::{
    ApproximateTokEnv, INVALID_TOKEN, SimpleVob, TokEnv, TokRxInfo, TokTrie,
};
use llguidance::{ParserFactory, panic_utils};

use crate::limits::{
    COMPILE_FUEL, CONSTRAINED_TOKEN_BYTES_MAX, GRAMMAR_SYMBOLS_MAX, LEXER_STATES_MAX,
    ROW_ITEMS_MAX, STEP_FUEL, STEP_ITEMS_MAX,
};

/// What llguidance takes for the mark of a token that is no text. No text has this byte.
const NO_TEXT: u8 = 0xff;

/// The tokens that a constraint chooses among.
pub struct Vocabulary {
    pub(super) factory: ParserFactory,
    /// Tokens that are white space and nothing else.
    pub(super) blanks: SimpleVob,
    /// Tokens that end the text.
    pub(super) ends: SimpleVob,
    /// Tokens that are text or end it. Control tokens are neither, and a grammar could name them by
    /// their numbers.
    pub(super) choosable: SimpleVob,
}

impl Vocabulary {
    /// The vocabulary of `tokens` tokens, of which `bytes` says the text, empty for control tokens, and
    /// `ends` which of them end a text.
    ///
    /// # Errors
    /// What llguidance has against it.
    pub fn new(
        tokens: u32,
        bytes: impl Fn(u32) -> Vec<u8>,
        ends: impl Fn(u32) -> bool,
    ) -> Result<Self, String> {
        let ends: Vec<u32> = (0..tokens).filter(|token| ends(*token)).collect();
        let mut words: Vec<Vec<u8>> = (0..tokens).map(bytes).collect();
        for word in &mut words {
            if word.contains(&NO_TEXT) || word.len() > CONSTRAINED_TOKEN_BYTES_MAX {
                word.clear();
            }
        }
        let mut set_of_ends = SimpleVob::alloc(words.len());
        for end in &ends {
            set_of_ends.allow_token(*end);
            if let Some(word) = words.get_mut(*end as usize) {
                word.clear();
            }
        }
        let is_blank =
            |word: &Vec<u8>| !word.is_empty() && word.iter().all(|byte| b" \t\r\n".contains(byte));
        let blanks: Vec<bool> = words.iter().map(is_blank).collect();
        let mut choosable: Vec<bool> = words.iter().map(|word| !word.is_empty()).collect();
        for end in &ends {
            if let Some(is_choosable) = choosable.get_mut(*end as usize) {
                *is_choosable = true;
            }
        }
        let build = AssertUnwindSafe(|| Ok(factory(tokens, &words, &ends)));
        let factory = panic_utils::catch_unwind(build).map_err(super::reason)??;
        let blanks = SimpleVob::from_slice(&blanks);
        let choosable = SimpleVob::from_slice(&choosable);
        Ok(Self { factory, blanks, ends: set_of_ends, choosable })
    }
}

fn factory(tokens: u32, words: &[Vec<u8>], ends: &[u32]) -> Result<ParserFactory, String> {
    let info = TokRxInfo::new(tokens, ends.first().copied().unwrap_or(INVALID_TOKEN));
    let mut tree = TokTrie::from(&info, words);
    if !ends.is_empty() {
        tree = tree.with_eos_tokens(ends);
    }
    let environment: TokEnv = Arc::new(ApproximateTokEnv::new(tree));
    let mut factory = ParserFactory::new_simple(&environment).map_err(super::reason)?;
    factory.quiet();
    *factory.limits_mut() = ParserLimits {
        initial_lexer_fuel: COMPILE_FUEL,
        step_lexer_fuel: STEP_FUEL,
        step_max_items: STEP_ITEMS_MAX,
        max_items_in_row: ROW_ITEMS_MAX,
        max_lexer_states: LEXER_STATES_MAX,
        max_grammar_size: GRAMMAR_SYMBOLS_MAX,
        verbose_errors: false,
        ..ParserLimits::default()
    };
    Ok(factory)
}
