//! `resident plan --measure`: the same question put to the worker, whose llama.cpp lays the model
//! out without allocating it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use planner::{
    footprint::{ENCODER_TEXTS, Layout, Place, Windows},
    gguf::Header,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
    time,
};

use super::{
    host::Host,
    row::{Question, Row},
    subject::{Subject, What},
};
use crate::{
    config::Settings,
    exit::{self, Code},
    hardware,
    limits::MEASURE_WAIT_MAX,
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
/// When there is no file on this machine, the plan is for a machine that computes elsewhere, there is
/// no worker, or no answer.
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
    refuse_other_device(&question.host)?;
    let worker = serve::worker(settings.worker.as_deref())?;
    let job = json!({ "model": path, "layouts": [layout(question, header, subject, row)] });
    let mut command = Command::new(&worker);
    command.arg("measure");
    let outcome = run(MEASURE_WAIT_MAX, command, path, &job)?;
    match outcome.layouts.into_iter().next() {
        Some(Laid::Out { buffers }) => {
            Ok(Measured { weights_bytes: outcome.weights_bytes, buffers })
        }
        Some(Laid::Refused { error }) => anyhow::bail!("{}: {error}", worker.display()),
        None => anyhow::bail!("{} answers nothing", worker.display()),
    }
}

/// What a reader should know of a layout that stands beside a plan for `host`.
pub(crate) fn note(host: &Host) -> Option<String> {
    (!host.is_this).then(|| {
        format!(
            "llama.cpp laid the model out on this machine, which computes on the same kind of \
             device as {}",
            host.machine.name
        )
    })
}

/// The worker lays a model out for the devices that it finds, which say nothing of other ones.
fn refuse_other_device(host: &Host) -> anyhow::Result<()> {
    if host.is_this {
        return Ok(());
    }
    let here = hardware::this(host.machine.memory_bytes).place();
    let there = host.machine.place();
    if here == there {
        return Ok(());
    }
    let message = format!(
        "--measure lays the model out on this machine, on {}, but --machine {} computes on {}; \
         leave out one of the two",
        device(here),
        host.machine.name,
        device(there)
    );
    Err(exit::error(Code::Usage, message))
}

fn device(place: Place) -> &'static str {
    match place {
        Place::Processor => "its processor",
        Place::SharedGpu => "a GPU that shares its memory",
        Place::DiscreteGpu => "a GPU with memory of its own",
    }
}

/// The layout in the words of `resident-llama measure`.
fn layout(question: &Question, header: &Header, subject: &Subject, row: &Row) -> Value {
    let layout = question.layout(header, subject);
    let (cells, sequences, step_tokens, outputs) = if header.encodes() {
        // An encoder takes a whole text in one step, of many texts at once, and gives a vector for each
        // token.
        let longest = row.context_tokens.max(layout.step_tokens_max);
        (longest, ENCODER_TEXTS, longest, longest)
    } else {
        let Layout { sequences_max, step_tokens_max, output_rows_max, .. } = layout;
        (row.context_tokens, sequences_max, step_tokens_max, output_rows_max)
    };
    json!({
        "context_tokens": cells,
        "sequences": sequences,
        "step_tokens": step_tokens,
        "outputs": outputs,
        "keys": row.kv_type,
        "values": row.kv_type,
        "whole_windows": layout.windows == Windows::Whole,
        "vectors": header.encodes(),
        "taken_back_max": layout.taken_back_max,
    })
}

/// What `command` answers to `job`, which is about `model`.
fn run(wait: Duration, command: Command, model: &Path, job: &Value) -> anyhow::Result<Outcome> {
    let worker = PathBuf::from(command.as_std().get_program());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let answer = runtime.context("cannot start")?.block_on(ask_within(wait, command, job));
    let answer = answer.with_context(|| format!("cannot run {}", worker.display()))?;
    let Some(Said { is_success, output, errors }) = answer else {
        anyhow::bail!(
            "{} did not lay {} out within {} s, and was stopped; see whether the disk of the file \
             answers, or plan without --measure",
            worker.display(),
            model.display(),
            wait.as_secs_f64()
        );
    };
    if !is_success {
        let said = String::from_utf8_lossy(&errors);
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing");
        anyhow::bail!("{} cannot lay the model out: {}", worker.display(), terminal::inert(last));
    }
    serde_json::from_slice(&output)
        .with_context(|| format!("{} answers in a form of another version", worker.display()))
}

/// What a process said until it ended.
#[derive(Debug)]
struct Said {
    is_success: bool,
    output: Vec<u8>,
    errors: Vec<u8>,
}

/// Gives `job` to `command`. `None` when it has not ended after `wait`; it is dead then.
async fn ask_within(
    wait: Duration,
    mut command: Command,
    job: &Value,
) -> std::io::Result<Option<Said>> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.kill_on_drop(true).spawn()?;
    if let Ok(said) = time::timeout(wait, talk(&mut process, job)).await {
        return said.map(Some);
    }
    process.kill().await?;
    Ok(None)
}

async fn talk(process: &mut Child, job: &Value) -> std::io::Result<Said> {
    if let Some(mut input) = process.stdin.take() {
        // A worker that ends before it has read the job says why itself.
        input.write_all(job.to_string().as_bytes()).await.ok();
    }
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let (stdout, stderr) = (process.stdout.take(), process.stderr.take());
    let (Some(mut stdout), Some(mut stderr)) = (stdout, stderr) else {
        return Err(std::io::ErrorKind::BrokenPipe.into());
    };
    let (one, other) =
        tokio::join!(stdout.read_to_end(&mut output), stderr.read_to_end(&mut errors));
    one.and(other)?;
    let is_success = process.wait().await?.success();
    Ok(Said { is_success, output, errors })
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
    use planner::{catalogue, footprint::CacheType};

    use super::{super::host, *};

    /// As the worker makes the context of an encoder, whatever its own context is.
    #[test]
    fn an_encoder_is_laid_out_as_the_worker_loads_it() {
        let question = |context_tokens| Question {
            host: host::known("m4-16gb"),
            context_tokens: Some(context_tokens),
            cache: None,
            hub_cache: CacheType::F16,
            parallel: 100,
        };
        let laid_out = |name: &str, context_tokens| {
            let subject = Subject::of_entry(catalogue::builtin().find(name).unwrap(), None);
            let subject = subject.unwrap();
            let What::Header(header) = &subject.files[0].what else { panic!("{name}") };
            let question = question(context_tokens);
            let row = question.row(&subject, &subject.files[0]);
            let laid_out = layout(&question, header, &subject, &row);
            ["context_tokens", "sequences", "step_tokens", "outputs"]
                .map(|key| laid_out[key].as_u64().unwrap())
        };
        assert_eq!(laid_out("bge-m3", 128), [512, 64, 512, 512]);
        assert_eq!(laid_out("bge-m3", 2048), [2048, 64, 2048, 2048]);
        assert_eq!(laid_out("qwen3-8b", 128)[..3], [128, 101, 512]);
    }

    #[cfg(unix)]
    #[test]
    fn a_worker_that_does_not_answer_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let mut command = Command::new("sh");
        let script = "echo $$ > \"$0\"; exec sleep 600";
        command.arg("-c").arg(script).arg(&path);
        let wait = Duration::from_millis(500);
        let error = run(wait, command, Path::new("m.gguf"), &json!({})).unwrap_err().to_string();
        for part in ["did not lay m.gguf out within 0.5 s", "without --measure"] {
            assert!(error.contains(part), "'{part}' is missing in: {error}");
        }
        // One that was stopped before it could write is stopped as well.
        let Ok(pid) = std::fs::read_to_string(path) else { return };
        let probe = std::process::Command::new("kill").args(["-0", pid.trim()]).output().unwrap();
        assert!(!probe.status.success(), "{pid} still runs");
    }

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
