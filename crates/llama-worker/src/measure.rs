//! Asks llama.cpp how it would lay a model out, without allocating or reading any weights.
//!
//! A job is one JSON object on standard input: a model file and the layouts to try. The outcome is
//! one JSON object on standard output with the buffers of each. The planner's predictions are
//! tested against it. A file that holds nothing but its header does.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use worker_protocol::Buffer;

use crate::llama::{CacheTypes, Context, ContextShape, Threads, Weights};
use crate::log;

/// What to lay out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Job {
    model: PathBuf,
    /// Whether layers that guess ahead are loaded.
    #[serde(default)]
    head: bool,
    layouts: Vec<Layout>,
}

/// One way to load the model. What is left out is as the worker does it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Layout {
    /// Cells of the context, all sequences together.
    context_tokens: u32,
    /// Sequences of the context, internal ones included.
    sequences: u32,
    /// Tokens of one step.
    step_tokens: u32,
    /// Rows of a step that may have logits or vectors.
    outputs: u32,
    /// Type of the cache of keys, `f16` or another of ggml's names.
    #[serde(default = "half")]
    keys: String,
    /// Type of the cache of values.
    #[serde(default = "half")]
    values: String,
    /// Whether layers with a window keep cells for the whole context.
    #[serde(default = "yes")]
    whole_windows: bool,
    #[serde(default = "yes")]
    flash_attention: bool,
    /// Makes vectors, as for an encoder.
    #[serde(default)]
    vectors: bool,
    /// Tokens of a sequence that can be taken back at once where layers carry a state.
    #[serde(default)]
    taken_back_max: u32,
    /// The layers that guess ahead in place of the model; they must be loaded.
    #[serde(default)]
    is_head: bool,
}

fn yes() -> bool {
    true
}

fn half() -> String {
    "f16".to_owned()
}

#[derive(Debug, Serialize)]
struct Outcome {
    /// Bytes of all tensors.
    weights_bytes: u64,
    /// Buffers of each layout's context, in the order of the job.
    layouts: Vec<Laid>,
}

/// What one layout came to: its buffers, or why llama.cpp refused it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Laid {
    Out { buffers: Vec<Buffer> },
    Refused { error: String },
}

/// Runs the job on `input`.
///
/// # Errors
/// A sentence that names what does not work.
pub(crate) fn run(mut input: impl Read, mut output: impl Write) -> Result<(), String> {
    let mut text = String::new();
    input.read_to_string(&mut text).map_err(|error| format!("cannot read the job: {error}"))?;
    let job: Job = serde_json::from_str(&text).map_err(|error| format!("job: {error}"))?;
    log::install();
    let weights = Weights::lay_out(&job.model, job.head).ok_or_else(|| {
        format!("llama.cpp cannot read {}; its log above says why", job.model.display())
    })?;
    let weights = Rc::new(weights);
    let mut outcome = Outcome { weights_bytes: weights.bytes(), layouts: Vec::new() };
    for layout in &job.layouts {
        outcome.layouts.push(lay_out(&weights, layout, job.head)?);
    }
    serde_json::to_writer(&mut output, &outcome)
        .map_err(std::io::Error::from)
        .and_then(|()| output.write_all(b"\n"))
        .map_err(|error| format!("cannot write the outcome: {error}"))
}

fn lay_out(weights: &Rc<Weights>, layout: &Layout, head: bool) -> Result<Laid, String> {
    if layout.is_head && !head {
        return Err("`is_head` needs `head`: the layers that guess ahead must be loaded".to_owned());
    }
    let cache = CacheTypes::from_names(&layout.keys, &layout.values)?;
    let shape = ContextShape {
        cells: layout.context_tokens,
        sequences: layout.sequences,
        step_tokens: layout.step_tokens,
        outputs: layout.outputs,
        unified: true,
        flash_attention: layout.flash_attention,
        cache,
        whole_windows: layout.whole_windows,
        pooling: layout.vectors.then(|| crate::model::pooling_kind(weights)),
        taken_back_max: layout.taken_back_max,
        is_head: layout.is_head,
    };
    let made = Context::new(Rc::clone(weights), shape, Threads::start(1)).is_some();
    // Caches are reported twice: as buffers of size zero, and as what they would come to.
    let mut buffers = log::take_buffers();
    buffers.retain(|buffer| buffer.bytes > 0 && !["KV", "RS"].contains(&buffer.purpose.as_str()));
    buffers.extend(log::take_cache_totals());
    Ok(if made {
        Laid::Out { buffers }
    } else {
        Laid::Refused { error: "llama.cpp refused this layout; its log says why".to_owned() }
    })
}
