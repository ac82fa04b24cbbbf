//! `resident plan --measure`: the same question put to the worker, whose llama.cpp lays the model
//! out without allocating it.

use std::process::Command;

use anyhow::Context as _;
use planner::gguf::Header;
use serde::{Deserialize, Serialize};

use super::{
    row::{Question, Row},
    subject::{Subject, What},
};
use crate::{
    config::Settings,
    exit::{self, Code},
    serve, size,
    table::{Align, Table},
    terminal::{self, Paint},
};

/// What llama.cpp would allocate.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// By kind of memory.
    buffers: Vec<Buffer>,
}

/// One kind of memory, as llama.cpp names it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Buffer {
    name: String,
    /// Weights.
    model_bytes: u64,
    /// Caches and recurrent state.
    context_bytes: u64,
    /// What a step computes in.
    compute_bytes: u64,
}

/// Asks the worker how it would load `subject` as `row` says.
///
/// # Errors
/// When there is no file on this machine, no worker, or no answer.
pub(crate) fn ask(
    question: &Question,
    subject: &Subject,
    row: &Row,
    settings: &Settings,
) -> anyhow::Result<Measured> {
    let Some(path) = &subject.path else {
        let message = format!(
            "--measure needs the model's file, and {} is not on this machine; name a .gguf file",
            subject.name
        );
        return Err(exit::error(Code::Usage, message));
    };
    let header = subject.files.iter().find_map(|file| match &file.what {
        What::Header(header) => Some(header),
        What::Runtime { .. } => None,
    });
    let sequences = header
        .map_or(1, |header: &Header| question.layout(header, subject.context_tokens).sequences_max);
    let worker = serve::worker(settings.worker.as_deref())?;
    let output = Command::new(&worker)
        .arg("measure")
        .arg(path)
        .args(["--context", &row.context_tokens.to_string()])
        .args(["--sequences", &sequences.to_string()])
        .args(["--keys", row.kv_type, "--values", row.kv_type])
        .output()
        .with_context(|| format!("cannot start {}", worker.display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing");
        anyhow::bail!("{} cannot lay the model out: {}", worker.display(), terminal::inert(last));
    }
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{} answers in a form of another version", worker.display()))
}

impl Measured {
    fn sum(&self, part: impl Fn(&Buffer) -> u64) -> u64 {
        self.buffers.iter().map(part).fold(0, u64::saturating_add)
    }

    /// It beside the plan, for people.
    pub(crate) fn lines(&self, row: &Row, paint: Paint) -> Vec<String> {
        let mut table = Table::new(&[
            ("BESIDE LLAMA.CPP", Align::Left),
            ("PLANNED", Align::Right),
            ("LAID OUT", Align::Right),
            ("DIFFERENCE", Align::Right),
        ]);
        let cached_bytes = row.kv_bytes.saturating_add(row.recurrent_bytes);
        for (what, planned, laid_out) in [
            ("weights", row.weights_bytes, self.sum(|buffer| buffer.model_bytes)),
            ("caches and state", cached_bytes, self.sum(|buffer| buffer.context_bytes)),
            ("compute buffers", row.compute_bytes, self.sum(|buffer| buffer.compute_bytes)),
        ] {
            table.row(vec![
                what.to_owned(),
                size::format(planned),
                size::format(laid_out),
                difference(planned, laid_out),
            ]);
        }
        table.lines(paint)
    }
}

/// How far `planned` is from `laid_out`, with its sign.
fn difference(planned: u64, laid_out: u64) -> String {
    if planned == laid_out {
        return "none".to_owned();
    }
    if laid_out == 0 {
        return "-".to_owned();
    }
    let percent = (planned as f64 - laid_out as f64) / laid_out as f64 * 100.0;
    format!("{percent:+.2} %")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences() {
        for (planned, laid_out, expected) in [
            (5, 5, "none"),
            (102, 100, "+2.00 %"),
            (99, 100, "-1.00 %"),
            (1, 0, "-"),
            (0, 0, "none"),
        ] {
            assert_eq!(difference(planned, laid_out), expected);
        }
    }
}
