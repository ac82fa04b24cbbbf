//! Chat templates of Ollama's models, which are Go's, as the Jinja that engines here run.
//!
//! What Ollama does around a template is written into its translation: messages of one role become one, what the
//! system says comes together, and a template that knows only one question and its answer is filled in for each
//! turn. What Go could do beyond what such templates use is refused with the reason; then the template in the
//! model's own file serves. JSON has Python's spaces, not Go's, as the models saw it in training. Not here: running
//! it (`engine`).

mod jinja;
mod lex;
mod parse;
#[cfg(test)]
mod tests;

use crate::limits::TEMPLATE_BYTES_MAX;

/// Why a template cannot be translated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the template cannot be used here, so that of the model's file serves: {why}")]
pub struct Untranslatable {
    /// What there is in it, in words.
    pub why: String,
}

/// What begins a statement of Jinja, and nothing in Go.
const STATEMENT: &str = "{%";

/// A chat template in Jinja: `text` itself when it is Jinja, and else its translation.
///
/// # Errors
/// [`Untranslatable`] when it is Go's, and does something that is not known here.
pub fn jinja(text: &str) -> Result<String, Untranslatable> {
    if text.contains(STATEMENT) {
        return Ok(text.to_owned());
    }
    if text.len() > TEMPLATE_BYTES_MAX {
        return no(format!("it has more than {TEMPLATE_BYTES_MAX} bytes"));
    }
    let nodes = parse::nodes(lex::pieces(text)?)?;
    jinja::written(&nodes)
}

fn no<T>(why: impl Into<String>) -> Result<T, Untranslatable> {
    Err(Untranslatable { why: why.into() })
}
