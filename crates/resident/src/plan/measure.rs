//! `resident plan --measure`: the same question put to the worker, whose llama.cpp lays the model
//! out without allocating it.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;
use planner::{footprint::Windows, gguf::Header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

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
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measured {
    /// Of all tensors.
    weights_bytes: u64,
    /// By llama.cpp's names.
    buffers: Vec<worker_protocol::Buffer>,
}

/// The worker's answer.
#[derive(Debug, Deserialize)]
struct Outcome {
    weights_bytes: u64,
    layouts: Vec<Laid>,
}

/// One layout: its buffers, or why there are none.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Laid {
    Out { buffers: Vec<worker_protocol::Buffer> },
    Refused { error: String },
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
    let header = subject.files.iter().find_map(|file| match &file.what {
        What::Header(header) => Some(header),
        What::Runtime { .. } => None,
    });
    let (Some(path), Some(header)) = (&subject.path, header) else {
        let message = format!(
            "--measure needs the model's file, and {} is not on this machine; name a .gguf file",
            subject.name
        );
        return Err(exit::error(Code::Usage, message));
    };
    let worker = serve::worker(settings.worker.as_deref())?;
    let job = json!({ "model": path, "layouts": [layout(question, header, row)] });
    let outcome = run(&worker, &job)?;
    match outcome.layouts.into_iter().next() {
        Some(Laid::Out { buffers }) => {
            Ok(Measured { weights_bytes: outcome.weights_bytes, buffers })
        }
        Some(Laid::Refused { error }) => anyhow::bail!("{}: {error}", worker.display()),
        None => anyhow::bail!("{} answers nothing", worker.display()),
    }
}

/// The layout in the words of `resident-llama measure`.
fn layout(question: &Question, header: &Header, row: &Row) -> Value {
    let layout = question.layout(header, Some(row.context_tokens));
    let encodes = header.encodes();
    // An encoder takes a whole text in one step and gives a vector for each of its tokens.
    let whole = |usual: u32| if encodes { row.context_tokens } else { usual };
    json!({
        "context_tokens": row.context_tokens,
        "sequences": layout.sequences_max,
        "step_tokens": whole(layout.step_tokens_max),
        "outputs": whole(layout.output_rows_max),
        "keys": row.kv_type,
        "values": row.kv_type,
        "whole_windows": layout.windows == Windows::Whole,
        "vectors": encodes,
    })
}

fn run(worker: &Path, job: &Value) -> anyhow::Result<Outcome> {
    let mut process = Command::new(worker)
        .arg("measure")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", worker.display()))?;
    if let Some(mut input) = process.stdin.take() {
        // A worker that ends before it has read the job says why itself.
        input.write_all(job.to_string().as_bytes()).ok();
    }
    let output = process.wait_with_output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing");
        anyhow::bail!("{} cannot lay the model out: {}", worker.display(), terminal::inert(last));
    }
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{} answers in a form of another version", worker.display()))
}

impl Measured {
    fn bytes_of(&self, purposes: &[&str]) -> u64 {
        let of = |buffer: &&worker_protocol::Buffer| purposes.contains(&buffer.purpose.as_str());
        self.buffers.iter().filter(of).map(|buffer| buffer.bytes).fold(0, u64::saturating_add)
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
            ("weights", row.weights_bytes, self.weights_bytes),
            ("caches and state", cached_bytes, self.bytes_of(&["KV", "RS"])),
            ("compute buffers", row.compute_bytes, self.bytes_of(&["compute"])),
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
