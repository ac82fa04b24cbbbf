//! `resident quantize` from outside: real models, what it says and refuses, and what is left when it is
//! interrupted or killed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use planner::gguf::{self, Header};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::hub::{Hub, PATIENCE, binary, stories, within};
use crate::made;
use crate::process::Process;

/// A data folder with models in it.
pub(crate) struct Desk {
    folder: TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("models")).unwrap();
        Self { folder }
    }

    /// A file of the models folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("models").join(name)
    }

    /// What is in the models folder.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// A program of this text, beside the models.
    pub(crate) fn program(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// `resident` without anything that the caller's environment would set.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("resident"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("RESIDENT_") {
                command.env_remove(name);
            }
        }
        command.env("RESIDENT_DATA_DIR", self.folder.path()).args(arguments);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What it refuses, with the exit code; nothing is changed by that.
    #[track_caller]
    pub(crate) fn refused(&self, arguments: &[&str], code: i32, parts: &[&str]) {
        let before = self.names();
        let output = self.run(arguments);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
        for part in parts {
            assert!(message.contains(part), "'{part}' is missing in: {message}");
        }
        assert_eq!(self.names(), before, "{arguments:?}: {message}");
    }

    /// Runs the command until its program has said in the file `begun` that it runs.
    #[track_caller]
    pub(crate) fn begun(&self, mut command: Command) -> Child {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let begun = self.folder.path().join("begun");
        let ended = within(PATIENCE, || {
            let ended = child.try_wait().unwrap();
            (ended.is_some() || begun.is_file()).then_some(ended)
        });
        if ended != Some(None) {
            let _ = child.kill();
            panic!("{ended:?}: {}", text(&child.wait_with_output().unwrap().stderr));
        }
        child
    }

    /// A line of shell that says so.
    pub(crate) fn says_begun(&self) -> String {
        format!("echo > '{}'", self.folder.path().join("begun").display())
    }

    /// Waits until nothing is left of the command: no process, and no file but these.
    #[track_caller]
    pub(crate) fn nothing_left(&self, expected: &[&str]) {
        let place = self.folder.path().display().to_string();
        let gone = within(PATIENCE, || {
            let processes = Process::with_argument(&place);
            (processes.is_empty() && self.names() == expected).then_some(())
        });
        assert!(gone.is_some(), "{:?} {:?}", self.names(), Process::with_argument(&place));
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn header(path: &Path) -> Header {
    let bytes = fs::read(path).unwrap();
    gguf::parse(&bytes, bytes.len() as u64).unwrap()
}

/// A small model with random weights in rows of 256.
fn tiny(kind: &str) -> PathBuf {
    let name = format!("quantize-llama-tiny-{kind}");
    made::model(&name, &["--arch", "llama", "--like", "tiny", "--quant", kind])
}

/// An importance matrix in the older form, of tensors with so many columns.
fn matrix(tensors: &[(&str, u64)]) -> Vec<u8> {
    let mut bytes = (tensors.len() as u32).to_le_bytes().to_vec();
    for (name, columns) in tensors {
        let columns = u32::try_from(*columns).unwrap();
        bytes.extend((name.len() as u32).to_le_bytes());
        bytes.extend(name.as_bytes());
        bytes.extend([1, columns].into_iter().flat_map(u32::to_le_bytes));
        bytes.extend((0..columns).flat_map(|column| (1.0 + (column % 7) as f32).to_le_bytes()));
    }
    bytes
}

#[test]
fn a_model_of_the_folder_gets_a_smaller_one_beside_it() {
    let Some(stories) = stories() else { return };
    let desk = Desk::new();
    fs::copy(stories, desk.path("stories.gguf")).unwrap();
    let output = desk.run(&["quantize", "stories", "--to", "Q8_0"]);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    let made = desk.path("stories-q8_0.gguf");
    assert_eq!(text(&output.stdout).trim(), made.to_str().unwrap());
    for part in [
        "Quantizing stories.gguf",
        "from     F32, 1.0 MiB, 32.00 bits a weight",
        "to       Q8_0, 336.1 KiB",
        "quality  as good as the original",
        "Try: resident show stories-q8_0",
    ] {
        assert!(said.contains(part), "'{part}' is missing in: {said}");
    }
    assert_eq!(desk.names(), ["stories-q8_0.gguf", "stories.gguf"]);
    assert_eq!(header(&made).quantization(), "Q8_0");
    // The length that was foretold, and a file that others may read as they may read models.
    assert_eq!(made.metadata().unwrap().len(), 344_256);
    assert_eq!(made.metadata().unwrap().permissions().mode() & 0o400, 0o400);
    let shown = desk.run(&["show", "stories-q8_0", "--json"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["facts"]["quantization"], "Q8_0", "{shown}");
    let hub = Hub::start(&["--models-dir", desk.path("").to_str().unwrap()]);
    let question = json!({"model": "stories-q8_0", "prompt": "Once upon a time", "max_tokens": 8});
    let answer = hub.post("/v1/completions", &question).ok();
    assert!(answer["choices"][0]["text"].as_str().is_some_and(|text| !text.is_empty()), "{answer}");
    desk.refused(&["quantize", "stories", "--to", "q8_0"], 2, &["exists already", "--out"]);
}

#[test]
fn a_matrix_is_taken_where_it_belongs_and_demanded_where_nothing_goes_without() {
    let desk = Desk::new();
    let source = desk.path("tiny-f16.gguf");
    fs::copy(tiny("f16"), &source).unwrap();
    let read = header(&source);
    let matrices =
        read.tensors.iter().filter(|one| one.name.starts_with("blk.") && one.dimensions[1] > 1);
    let own: Vec<(&str, u64)> =
        matrices.map(|one| (one.name.as_str(), one.dimensions[0])).collect();
    fs::write(desk.path("matrix.dat"), matrix(&own)).unwrap();
    fs::write(desk.path("foreign.dat"), matrix(&[("blk.77.ffn_up.weight", 256)])).unwrap();
    let [source, matrix, foreign] = ["tiny-f16.gguf", "matrix.dat", "foreign.dat"]
        .map(|name| desk.path(name).to_str().unwrap().to_owned());
    let (source, matrix, foreign) = (source.as_str(), matrix.as_str(), foreign.as_str());
    let refused = |rest: &[&str], code, parts: &[&str]| {
        desk.refused(&[&["quantize", source, "--to"], rest].concat(), code, parts);
    };
    refused(&["iq2_xs"], 2, &["IQ2_XS without an importance matrix", "`blk."]);
    let another = ["foreign.dat is the matrix of another model", "`blk.77.ffn_up.weight`"];
    refused(&["iq2_xs", "--imatrix", foreign], 1, &another);
    refused(&["q4_0", "--imatrix", source], 1, &["tiny-f16.gguf is no importance matrix"]);
    for kind in ["iq2_xs", "q4_k_m"] {
        let mut with = vec!["quantize", source, "--to", kind, "--imatrix", matrix];
        let output = desk.run(&with);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let made = header(&desk.path(&format!("tiny-{kind}.gguf")));
        assert_eq!(made.str("quantize.imatrix.file"), Some("matrix.dat"));
        with.extend(["--out", "/no/such/folder/x.gguf"]);
        desk.refused(&with, 2, &["cannot write into the folder /no/such/folder"]);
    }
    let again = ["quantize", "tiny-q4_k_m", "--to", "q3_k_m"];
    desk.refused(&again, 2, &["quantized already", "--allow-requantize"]);
    let output = desk.run(&[&again[..], &["--allow-requantize"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(desk.names().contains(&"tiny-q3_k_m.gguf".to_owned()), "{:?}", desk.names());
}

#[test]
fn what_cannot_be_quantized_is_refused_by_name() {
    let desk = Desk::new();
    fs::write(desk.path("page.gguf"), "<html>Not found</html>").unwrap();
    let to = ["--to", "q8_0"];
    let refused = |first: &[&str], code, parts: &[&str]| {
        desk.refused(&[&["quantize"], first, &to].concat(), code, parts);
    };
    refused(&["paeg"], 4, &["no model is named 'paeg'; did you mean 'page'?"]);
    refused(&["page"], 4, &["page.gguf", "not a GGUF file"]);
    refused(&["/no/such.gguf"], 4, &["cannot read the model file /no/such.gguf"]);
    desk.refused(&["quantize", "page"], 2, &["--to"]);
    desk.refused(&["quantize", "page", "--to", "q4"], 2, &["no type 'q4'", "q4_k_m"]);
    let Some(stories) = stories() else { return };
    let stories = stories.to_str().unwrap();
    refused(&[stories, "--out", "x.bin"], 2, &["--out x.bin does not end in .gguf"]);
    refused(
        &[stories, "--imatrix", "/no/matrix", "--out", desk.path("").to_str().unwrap()],
        1,
        &["/no/matrix cannot be read"],
    );
}

/// A desk with a model, and a worker that has written half of a file when it says that it has begun.
fn slow() -> Option<(Desk, Command)> {
    let desk = Desk::new();
    fs::copy(stories()?, desk.path("stories.gguf")).unwrap();
    let begun = desk.says_begun();
    let script = format!(
        "#!/bin/sh\necho half > \"$3\"\necho '[2/47] token_embd.weight' >&2\n{begun}\nsleep 600 &\nwait\n"
    );
    let worker = desk.program("worker.sh", &script);
    let mut command = desk.command(&["quantize", "stories", "--to", "q8_0"]);
    command.env("RESIDENT_WORKER", worker);
    Some((desk, command))
}

#[test]
fn an_interrupt_ends_the_worker_and_leaves_nothing() {
    let Some((desk, command)) = slow() else { return };
    let child = desk.begun(command);
    assert_eq!(desk.names().len(), 2, "a folder of its own while it works: {:?}", desk.names());
    Process::of(child.id()).unwrap().interrupt();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("was not made"), "{}", text(&output.stderr));
    desk.nothing_left(&["stories.gguf"]);
}

#[test]
fn whoever_kills_the_command_ends_the_worker_and_leaves_nothing() {
    let Some((desk, command)) = slow() else { return };
    let mut child = desk.begun(command);
    child.kill().unwrap();
    child.wait().unwrap();
    desk.nothing_left(&["stories.gguf"]);
}

#[test]
fn a_worker_that_dies_is_told_of_and_leaves_nothing() {
    let Some(stories) = stories() else { return };
    let desk = Desk::new();
    fs::copy(stories, desk.path("stories.gguf")).unwrap();
    for (script, parts) in [
        ("echo half > \"$3\"; kill -9 $$", &["the worker could not quantize it", "SIGKILL"][..]),
        ("echo 'error: the disk is full' >&2; exit 1", &["error: the disk is full"]),
        ("exit 0", &["cannot write", "stories-q8_0.gguf"]),
    ] {
        let worker = desk.program("worker.sh", &format!("#!/bin/sh\n{script}\n"));
        let mut command = desk.command(&["quantize", "stories", "--to", "q8_0"]);
        let output = command.env("RESIDENT_WORKER", worker).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        for part in parts {
            assert!(said.contains(part), "'{part}' is missing in: {said}");
        }
        desk.nothing_left(&["stories.gguf"]);
    }
}
