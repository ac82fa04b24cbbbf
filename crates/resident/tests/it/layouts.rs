//! The plan beside llama.cpp's own layout: the same headers of real shapes, laid out by
//! `resident-llama measure` without allocating anything.
//!
//! `cargo test -p resident --test it layouts -- --nocapture` prints the table.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use planner::catalogue;
use planner::footprint::{self, CacheType, Footprint, Layout, Windows};
use planner::gguf::{self, Header, Value as Metadata};
use planner::{draft, recipe, tensors};
use serde_json::{Value, json};

use crate::hub::binary;

/// A model of each architecture that people run.
const MODELS: [&str; 14] = [
    "qwen3-8b",
    "qwen3-30b-a3b",
    "qwen3.6-27b",
    "qwen3.6-35b-a3b",
    "qwen2.5-7b",
    "gemma-3-12b",
    "gemma-3n-e4b",
    "llama-3.1-8b",
    "phi-4",
    "gpt-oss-20b",
    "deepseek-v2-lite",
    "mamba2-1.3b",
    "falcon-h1-7b",
    "bge-m3",
];
const QUANTIZATIONS: [&str; 2] = ["Q4_K_M", "Q8_0"];

/// llama.cpp prints sizes to a hundredth of a MiB, and a cache in two parts.
const PRINTED_BYTES: u64 = 2 * 1024 * 1024 / 100;

/// How far weights and caches may be off, as a share of what llama.cpp lays out.
const EXACT: f64 = 0.005;
/// How far compute buffers may be off.
const COMPUTE: f64 = 0.10;
/// How far everything together may be off.
const TOTAL: f64 = 0.02;

#[test]
fn layouts_of_real_shapes_are_those_of_llama_cpp() {
    let folder = tempfile::tempdir().unwrap();
    let mut rows = Vec::new();
    for model in MODELS {
        let entry = catalogue::builtin().find(model).unwrap();
        for quantization in QUANTIZATIONS {
            let header = entry.header(quantization).unwrap();
            let path = folder.path().join(format!("{model}-{quantization}.gguf"));
            write_sparse(&header, &path);
            let layouts = layouts(&header);
            let outcome = measure(&path, &layouts, Kind::of(&header));
            fs::remove_file(&path).unwrap();
            for (layout, laid_out) in layouts.iter().zip(outcome["layouts"].as_array().unwrap()) {
                let weights_bytes = outcome["weights_bytes"].as_u64().unwrap();
                let label = format!("{model:<16} {quantization:<7} {}", describe(layout));
                let planned = footprint::predict(&header, layout);
                let encodes = header.encodes();
                rows.push(Row::new(label, encodes, &planned, weights_bytes, laid_out));
            }
        }
    }
    println!("planned beside laid out by llama.cpp, in MiB\n{}", Row::TITLE);
    rows.iter().for_each(|row| println!("{}", row.line()));
    assert!(rows.len() >= 60, "{} rows", rows.len());
    let wrong: Vec<String> = rows.iter().filter(|row| !row.holds()).map(Row::line).collect();
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

/// Models that guess for themselves: the model with states that can be taken back, and the layer that
/// guesses in a context of its own.
#[test]
fn layouts_of_models_that_guess_for_themselves_are_those_of_llama_cpp() {
    let folder = tempfile::tempdir().unwrap();
    let mut rows = Vec::new();
    for model in ["qwen3.6-27b", "qwen3.6-35b-a3b"] {
        let header = with_head(&catalogue::builtin().find(model).unwrap().header("Q8_0").unwrap());
        assert_eq!(draft::head_misfit(&header), None);
        let path = folder.path().join(format!("{model}.gguf"));
        write_sparse(&header, &path);
        let layouts = [Layout::new(4096, 2), Layout::new(16_384, 5)];
        let layouts = layouts.map(|layout| Layout { taken_back_max: 3, own_head: true, ..layout });
        let [whole, head] = [Kind::Guessed, Kind::Head].map(|kind| measure(&path, &layouts, kind));
        let weights_bytes = whole["weights_bytes"].as_u64().unwrap();
        for (at, layout) in layouts.iter().enumerate() {
            let planned = footprint::predict(&header, layout);
            let label = format!("{model:<16} Q8_0    {}", describe(layout));
            let plain = footprint::weights(&header).skipped_bytes;
            let of_model = Row::new(
                label.clone(),
                false,
                &planned,
                weights_bytes - plain,
                &whole["layouts"][at],
            );
            rows.push(of_model);
            rows.push(Row::of_head(label, &header, &planned, &head["layouts"][at]));
        }
    }
    println!("planned beside laid out by llama.cpp, in MiB\n{}", Row::TITLE);
    rows.iter().for_each(|row| println!("{}", row.line()));
    let wrong: Vec<String> = rows.iter().filter(|row| !row.holds()).map(Row::line).collect();
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

/// The same model with a layer that guesses ahead.
fn with_head(header: &Header) -> Header {
    let mut metadata = header.metadata.clone();
    let key = |suffix: &str| format!("{}.{suffix}", header.architecture());
    metadata.insert(key("block_count"), Metadata::Unsigned(header.layers() + 1));
    metadata.insert(key("nextn_predict_layers"), Metadata::Unsigned(1));
    let options = tensors::Options { tied: false, rotary_table: false };
    let shapes = tensors::list(&metadata, &options).unwrap();
    let recipe = recipe::Recipe::from_name("Q8_0").unwrap();
    let types = recipe::types(&metadata, &shapes, recipe, recipe::Conditions::default());
    Header { metadata, tensors: recipe::place(&shapes, &types), ..header.clone() }
}

/// What is laid out of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Decoder,
    Encoder,
    /// A decoder with its layers that guess ahead.
    Guessed,
    /// These layers alone.
    Head,
}

impl Kind {
    fn of(header: &Header) -> Self {
        if header.encodes() { Self::Encoder } else { Self::Decoder }
    }
}

/// Contexts, types of cache, sequences and windows that each model is tried with.
fn layouts(header: &Header) -> Vec<Layout> {
    if header.encodes() {
        return [512, 2048, 8192].map(|context| Layout::new(context, 64)).to_vec();
    }
    let quantized = |kind| move |layout| Layout { keys: kind, values: kind, ..layout };
    vec![
        Layout::new(4096, 1),
        quantized(CacheType::Q8_0)(Layout::new(32_768, 5)),
        Layout { windows: Windows::Sliding, ..quantized(CacheType::Q4_0)(Layout::new(16_384, 9)) },
    ]
}

fn describe(layout: &Layout) -> String {
    let windows = match layout.windows {
        Windows::Whole => "whole",
        Windows::Sliding => "sliding",
    };
    let Layout { context_tokens, sequences_max, .. } = layout;
    format!("{context_tokens:>6} {sequences_max:>2} {:<5} {windows:<7}", layout.keys.name())
}

/// A file with this header and room for its tensors that takes no disk.
fn write_sparse(header: &Header, path: &Path) {
    let mut header = header.clone();
    // No text is read in this test, so the file needs no vocabulary but its length.
    let none = Metadata::String("no_vocab".to_owned());
    header.metadata.insert("tokenizer.ggml.model".to_owned(), none);
    let vocabulary = format!("{}.vocab_size", header.architecture());
    let tokens = Metadata::Unsigned(header.vocabulary_tokens());
    header.metadata.insert(vocabulary, tokens);
    let bytes = gguf::write::write(&header).unwrap();
    let mut file = File::create(path).unwrap();
    file.write_all(&bytes).unwrap();
    file.set_len(bytes.len() as u64 + header.tensor_bytes()).unwrap();
}

/// Asks the worker's `measure`.
fn measure(model: &Path, layouts: &[Layout], kind: Kind) -> Value {
    let encodes = kind == Kind::Encoder;
    let step = |layout: &Layout| if encodes { layout.context_tokens } else { 512 };
    let layouts: Vec<Value> = layouts
        .iter()
        .map(|layout| {
            json!({
                "context_tokens": layout.context_tokens,
                "sequences": layout.sequences_max,
                "step_tokens": step(layout),
                "outputs": if encodes { layout.context_tokens } else { layout.output_rows_max },
                "keys": layout.keys.name(),
                "values": layout.values.name(),
                "whole_windows": layout.windows == Windows::Whole,
                "vectors": encodes,
                "taken_back_max": if kind == Kind::Head { 0 } else { layout.taken_back_max },
                "is_head": kind == Kind::Head,
            })
        })
        .collect();
    let head = matches!(kind, Kind::Guessed | Kind::Head);
    let job = json!({ "model": model, "head": head, "layouts": layouts });
    let mut worker = Command::new(binary("resident-llama"))
        .arg("measure")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    worker.stdin.take().unwrap().write_all(job.to_string().as_bytes()).unwrap();
    let output = worker.wait_with_output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {log}", model.display());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// One model in one layout: planned and laid out, in bytes.
#[derive(Debug)]
struct Row {
    label: String,
    weights: Pair,
    caches: Pair,
    compute: Pair,
    total: Pair,
}

#[derive(Debug, Clone, Copy)]
struct Pair {
    planned: u64,
    laid_out: u64,
}

impl Row {
    const TITLE: &str = "model            file    cells  n cache windows |    weights             |      \
                         caches and state |     compute            |       total";

    fn new(
        label: String,
        encodes: bool,
        planned: &Footprint,
        weights_bytes: u64,
        laid_out: &Value,
    ) -> Self {
        let buffers = laid_out["buffers"].as_array();
        let buffers = buffers.unwrap_or_else(|| panic!("{label}: {laid_out}"));
        let bytes = |purposes: &[&str]| {
            let wanted = buffers.iter().filter(|buffer| {
                purposes.contains(&buffer["purpose"].as_str().unwrap_or_default())
            });
            wanted.map(|buffer| buffer["bytes"].as_u64().unwrap()).sum::<u64>()
        };
        let of = |kinds: &[&str]| kinds.iter().map(|kind| planned.bytes_of(kind)).sum::<u64>();
        let pair = |planned, laid_out| Pair { planned, laid_out };
        let weights = pair(of(&[footprint::WEIGHTS]), weights_bytes);
        let cached = [footprint::CACHE, footprint::WINDOW_CACHE, footprint::RECURRENT];
        let caches = pair(of(&cached), bytes(&["KV", "RS"]));
        let compute = pair(of(&[footprint::COMPUTE]), bytes(&["compute"]));
        // For encoders llama.cpp reserves logits too, which nothing ever touches and which the plan
        // does not count, so that there is nothing to compare.
        let outputs =
            if encodes { pair(0, 0) } else { pair(of(&[footprint::OUTPUTS]), bytes(&["output"])) };
        let parts = [weights, caches, compute, outputs];
        let total = pair(
            parts.iter().map(|part| part.planned).sum(),
            parts.iter().map(|part| part.laid_out).sum(),
        );
        Self { label, weights, caches, compute, total }
    }

    /// Of the layer that guesses. Hidden vectors are in no buffer before anybody asks for them.
    fn of_head(label: String, header: &Header, planned: &Footprint, laid_out: &Value) -> Self {
        let buffers = laid_out["buffers"].as_array();
        let buffers = buffers.unwrap_or_else(|| panic!("{label}: {laid_out}"));
        let bytes = |wanted: &str| {
            let wanted = buffers.iter().filter(|buffer| buffer["purpose"] == wanted);
            wanted.map(|buffer| buffer["bytes"].as_u64().unwrap()).sum::<u64>()
        };
        let of = |part: &str| {
            let items = planned.items.iter().filter(|item| item.what == footprint::HEAD);
            let items = items.filter(|item| item.why.starts_with(part));
            items.map(|item| item.bytes).sum::<u64>()
        };
        let pair = |planned, laid_out| Pair { planned, laid_out };
        let weights = pair(of("weights"), footprint::weights(header).skipped_bytes);
        let caches = pair(of("key-value cache"), bytes("KV"));
        let compute = pair(of("compute buffers"), bytes("compute"));
        let outputs = pair(of("output buffer"), bytes("output"));
        let parts = [weights, caches, compute, outputs];
        let total = pair(
            parts.iter().map(|part| part.planned).sum(),
            parts.iter().map(|part| part.laid_out).sum(),
        );
        Self { label, weights, caches, compute, total }
    }

    fn holds(&self) -> bool {
        self.weights.is_within(EXACT)
            && self.caches.is_within(EXACT)
            && self.compute.is_within(COMPUTE)
            && self.total.is_within(TOTAL)
    }

    fn line(&self) -> String {
        let Self { label, weights, caches, compute, total } = self;
        format!("{label} | {weights} | {caches} | {compute} | {total}")
    }
}

impl Pair {
    fn is_within(self, share: f64) -> bool {
        let allowed = (self.laid_out as f64 * share).max(PRINTED_BYTES as f64);
        self.planned.abs_diff(self.laid_out) as f64 <= allowed
    }
}

impl std::fmt::Display for Pair {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mebibytes = |bytes: u64| bytes as f64 / (1024.0 * 1024.0);
        let (planned, laid_out) = (mebibytes(self.planned), mebibytes(self.laid_out));
        let percent = if self.laid_out == 0 { 0.0 } else { 100.0 * (planned / laid_out - 1.0) };
        write!(out, "{planned:>9.2} {laid_out:>9.2} {percent:>+6.2} %")
    }
}
