//! Whether one model can guess for another, as far as their headers say.
//!
//! Not here: whether their tokens are the same, which the worker sees when both are loaded.

use super::limits::VOCABULARY_SLACK;
use crate::gguf::Header;

/// Why `draft` cannot guess for `model`; `None` where nothing speaks against it.
#[must_use]
pub fn misfit(draft: &Header, model: &Header) -> Option<String> {
    if !draft.generates() {
        return Some(format!(
            "a model of architecture {} generates no text; name one that does, or write \
             speculation = \"lookup\"",
            draft.architecture()
        ));
    }
    let kind = |header: &Header| header.str("tokenizer.ggml.model").unwrap_or("none").to_owned();
    let tokens = |header: &Header| header.vocabulary_tokens();
    let is_same =
        kind(draft) == kind(model) && tokens(draft).abs_diff(tokens(model)) <= VOCABULARY_SLACK;
    (!is_same).then(|| {
        format!(
            "it has a {} vocabulary of {} tokens and the model a {} one of {}; name a smaller model \
             of the same family, or write speculation = \"lookup\"",
            kind(draft),
            tokens(draft),
            kind(model),
            tokens(model)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue;

    #[test]
    fn only_a_generator_of_the_same_vocabulary_can_guess() {
        let header = |name: &str| catalogue::builtin().find(name).unwrap().header("Q8_0").unwrap();
        let (small, large) = (header("qwen3-0.6b"), header("qwen3-8b"));
        assert_eq!(misfit(&small, &large), None);
        let why = misfit(&header("bge-m3"), &large).unwrap();
        assert!(why.starts_with("a model of architecture bert generates no text"), "{why}");
        let other = header("gemma-3-4b");
        let why = misfit(&other, &large).unwrap();
        assert!(why.contains(&other.vocabulary_tokens().to_string()), "{why}");
        assert!(why.contains(&large.vocabulary_tokens().to_string()), "{why}");
    }
}
