//! What is told while a model is pulled or made: a line for each step, as Ollama's clients read them.

use serde::Serialize;

use crate::write::to_json;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// What the model consists of is asked for.
    Manifest,
    /// A file comes.
    Layer(Layer),
    /// What came is held against its digest.
    Verifying,
    /// What the model consists of is written down.
    Writing,
    /// What nothing uses any more is removed.
    Removing,
    /// Anything else, in a few words: `parsing GGUF`, `using existing layer sha256:…`.
    Other(String),
    /// The end.
    Success,
}

/// A file that comes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layer {
    /// `sha256:` and 64 digits, where that is known before.
    pub digest: Option<String>,
    /// What it is called; clients see it where there is no digest.
    pub name: String,
    /// Its length, where that is known before.
    pub total_bytes: Option<u64>,
    /// What is here of it.
    pub completed_bytes: u64,
}

/// Digits of a digest by which a file is called.
const DIGITS: usize = 12;

#[derive(Serialize)]
struct Line<'a> {
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed: Option<u64>,
}

/// The line that tells a step; of an answer in one piece the last one is all of it.
#[must_use]
pub fn line(step: &Step) -> String {
    let said = |status| Line { status, digest: None, total: None, completed: None };
    to_json(&match step {
        Step::Manifest => said("pulling manifest"),
        Step::Layer(layer) => return layer.line(),
        Step::Verifying => said("verifying sha256 digest"),
        Step::Writing => said("writing manifest"),
        Step::Removing => said("removing unused layers"),
        Step::Other(words) => said(words),
        Step::Success => said("success"),
    })
}

impl Layer {
    fn line(&self) -> String {
        let digest = self.digest.as_deref();
        let digits = digest.map(|digest| digest.strip_prefix("sha256:").unwrap_or(digest));
        let short = digits.and_then(|digits| digits.get(..DIGITS)).unwrap_or(&self.name);
        let status = ["pulling ", short].concat();
        // Ollama leaves out what is nothing yet.
        let completed = Some(self.completed_bytes).filter(|bytes| *bytes > 0);
        to_json(&Line { status: &status, digest, total: self.total_bytes, completed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_told_in_ollamas_words() {
        let digest = format!("sha256:{}", "8934d96d3f08".repeat(6).get(..64).unwrap_or_default());
        let layer = |digest: Option<&str>, completed_bytes| {
            Step::Layer(Layer {
                digest: digest.map(str::to_owned),
                name: "m.gguf".to_owned(),
                total_bytes: Some(9),
                completed_bytes,
            })
        };
        for (step, expected) in [
            (Step::Manifest, r#"{"status":"pulling manifest"}"#.to_owned()),
            (
                layer(Some(&digest), 0),
                format!(r#"{{"status":"pulling 8934d96d3f08","digest":"{digest}","total":9}}"#),
            ),
            (
                layer(Some(&digest), 4),
                format!(
                    r#"{{"status":"pulling 8934d96d3f08","digest":"{digest}","total":9,"completed":4}}"#
                ),
            ),
            (layer(None, 9), r#"{"status":"pulling m.gguf","total":9,"completed":9}"#.to_owned()),
            (Step::Verifying, r#"{"status":"verifying sha256 digest"}"#.to_owned()),
            (Step::Writing, r#"{"status":"writing manifest"}"#.to_owned()),
            (Step::Removing, r#"{"status":"removing unused layers"}"#.to_owned()),
            (
                Step::Other("using existing layer \"x\"".to_owned()),
                r#"{"status":"using existing layer \"x\""}"#.to_owned(),
            ),
            (Step::Success, r#"{"status":"success"}"#.to_owned()),
        ] {
            assert_eq!(line(&step), expected);
        }
    }
}
