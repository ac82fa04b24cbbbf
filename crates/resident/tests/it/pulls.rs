//! The library from outside: models pulled, imported, listed, copied, checked and removed, against a server that
//! speaks like Hugging Face, in processes without a hub, and with one.

mod elsewhere;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

use crate::{gguf::File, hub::Hub};
use elsewhere::Elsewhere;

/// The program as this test run built it: without a worker, which none of this needs.
fn resident(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resident"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let is_theirs = ["RESIDENT_", "HF_"].iter().any(|prefix| name.starts_with(prefix));
        if is_theirs || name.to_ascii_lowercase().ends_with("_proxy") {
            command.env_remove(name);
        }
    }
    // Nobody listens there, whatever runs on this machine.
    command.env("RESIDENT_LISTEN", "127.0.0.1:9").env("RESIDENT_DATA_DIR", folder);
    command.args(arguments);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A data folder of its own, and a server.
struct Person {
    folder: tempfile::TempDir,
    server: Elsewhere,
}

impl Person {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), server: Elsewhere::start() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = resident(self.folder.path(), arguments);
        command.env("RESIDENT_HF_ENDPOINT", self.server.url());
        command
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What it prints.
    #[track_caller]
    fn says(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.says(&[arguments, &["--json"]].concat())).unwrap()
    }

    /// What it refuses, with its exit code.
    #[track_caller]
    fn refused(&self, arguments: &[&str], code: i32) -> String {
        let output = self.output(arguments);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
        println!("{arguments:?}: {message}");
        message
    }

    fn library(&self) -> PathBuf {
        self.folder.path().join("models/library")
    }

    fn models_file(&self, name: &str) -> PathBuf {
        let folder = self.folder.path().join("models");
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join(name);
        fs::write(&file, File::small().bytes()).unwrap();
        file
    }
}

#[test]
fn a_repository_is_planned_pulled_listed_and_shown() {
    let person = Person::new();
    let output = person.output(&["pull", "hf:o/r-GGUF", "--name", "mine"]);
    let (said, told) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{told}");
    // What is taken and why comes before anything else.
    assert!(told.contains("of 2 quantizations: "), "{told}");
    assert!(told.contains("in memory with a context of 64 tokens"), "{told}");
    assert!(said.starts_with("mine is here: "), "{said}");
    assert!(said.contains("resident run mine "), "{said}");
    let shown = person.json(&["show", "mine"]);
    let source = shown["kept"]["source"].as_str().unwrap();
    assert!(source.starts_with("hf:o/r-GGUF:"), "{source}");
    assert!(shown["kept"]["files"][0]["digest"].as_str().unwrap().starts_with("sha256:"));
    let listed = person.says(&["ls"]);
    assert!(listed.lines().next().unwrap().ends_with("SOURCE"), "{listed}");
    assert!(listed.contains(source), "{listed}");
    let modelfile = person.says(&["show", "mine", "--modelfile"]);
    assert!(modelfile.starts_with("FROM "), "{modelfile}");
    // Once more costs nothing but a look at what there is.
    let before = person.server.file_bytes();
    // Without a plan, which would read a header.
    person.says(&["pull", source, "--name", "mine", "--force"]);
    assert_eq!(person.server.file_bytes(), before, "nothing was fetched twice");
}

#[test]
fn a_program_reads_one_line_of_json_for_each_event() {
    let person = Person::new();
    let said = person.says(&["pull", "hf:o/r-GGUF:F32", "--json"]);
    let events: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!((kinds[0], *kinds.last().unwrap()), ("plan", "done"), "{said}");
    assert!(kinds[1..kinds.len() - 1].iter().all(|kind| *kind == "progress"), "{said}");
    let done = events.last().unwrap();
    assert_eq!(done["bytes"].as_u64(), Some(File::small().bytes().len() as u64));
    assert_eq!(done["source"], "hf:o/r-GGUF:F32");
    let failed = person.output(&["pull", "hf:o/gone", "--json", "--force"]);
    assert!(!failed.status.success());
}

#[cfg(unix)]
#[test]
fn ctrl_c_pauses_and_the_same_command_goes_on() {
    use std::{
        io::{BufRead as _, BufReader, Read as _},
        process::Stdio,
    };

    let person = Person::new();
    person.server.hold();
    // Without a plan, so that nothing of the file was asked for before.
    let pull = ["pull", "hf:o/r-GGUF:F32", "--force", "--json", "--name", "one"];
    let mut command = person.command(&pull);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let half = File::small().bytes().len() as u64 / 2;
    // Held until the end: who prints where nobody reads ends at once.
    let mut events = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let begun = events.find(|event| event["done_bytes"].as_u64() >= Some(half));
    assert!(begun.is_some(), "half of it came");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(events);
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(told.contains("what came is kept, and `resident pull hf:o/r-GGUF:F32"), "{told}");
    let sent = person.server.file_bytes();
    assert!(person.json(&["du"])["half_pulled_bytes"].as_u64() > Some(0));
    person.server.release();
    person.says(&pull);
    let whole = half * 2 + 1;
    assert!(person.server.file_bytes() - sent <= whole - half, "no half came twice");
    assert_eq!(person.json(&["du"])["half_pulled_bytes"], 0);
}

#[test]
fn offline_asks_nobody_whoever_says_it() {
    let person = Person::new();
    let sources = ["hf:o/r-GGUF", "qwen3-0.6b", "ollama:x", "https://127.0.0.1:9/x.gguf"];
    for source in sources {
        let message = person.refused(&["pull", source, "--offline"], 6);
        assert!(message.contains("offline is set"), "{message}");
    }
    fs::write(person.folder.path().join("config.toml"), "offline = true\n").unwrap();
    let message = person.refused(&["pull", "hf:o/r-GGUF"], 6);
    assert!(message.contains("offline = true"), "{message}");
    let message = person.refused(&["search", "--online", "qwen"], 6);
    assert!(message.contains("offline is set"), "{message}");
    let message = person.refused(&["plan", "hf:o/r-GGUF"], 6);
    assert!(message.contains("offline is set"), "{message}");
    assert_eq!(person.server.requests(), 0, "nobody was asked");
    // What is on this machine needs nobody.
    assert!(person.says(&["search", "qwen3-8b"]).contains("qwen3-8b"));
}

#[test]
fn what_does_not_fit_is_refused_unless_it_is_forced() {
    let person = Person::new();
    let pull = ["pull", "hf:o/r-GGUF", "--name", "big", "--budget", "1MiB"];
    let message = person.refused(&pull, 4);
    assert!(message.contains("no quantization of r-GGUF fits"), "{message}");
    assert!(message.contains("--force pulls it all the same"), "{message}");
    assert!(!person.library().exists(), "nothing was begun");
    person.says(&[&pull[..], &["--force"]].concat());
    assert_eq!(person.json(&["du"])["models"][0]["model"], "big");
}

#[test]
fn what_means_nothing_is_named_with_the_way_out() {
    let person = Person::new();
    for (arguments, code, parts) in [
        (
            &["pull", "no-such-model"][..],
            4,
            &["no model `no-such-model`", "ollama:no-such-model"][..],
        ),
        (&["pull", "owner/repo"], 4, &["hf:owner/repo"]),
        (&["pull", "hf:owner"], 4, &["'hf:owner' does not name a repository"]),
        (&["pull", "hf:o/gone"], 4, &["404", "check the name"]),
        (&["pull", "hf:o/r-GGUF:Q2_K"], 4, &["no model 'Q2_K'", "BF16, F32"]),
        (&["pull", "http://example.com/x.gguf"], 4, &["http://example.com/x.gguf"]),
        (&["pull", "x.gguf"], 4, &["cannot read the model file x.gguf"]),
        (&["pull", "--list"], 3, &["no hub runs", "resident serve"]),
        (&["pull", "--resume", "3"], 3, &["no hub runs"]),
        (&["pull", "hf:o/r-GGUF", "--limit-rate", "0"], 2, &["lets nothing through"]),
        (&["pull", "hf:o/r-GGUF", "--connections", "99"], 2, &["is not 1 to 32"]),
        (&["pull", "hf:o/r-GGUF", "--name", "../x"], 2, &["'../x' cannot be a model's name"]),
        (&["rm", "gone"], 4, &["no model is named 'gone'"]),
        (&["cp", "gone", "b"], 4, &["there is no model 'gone'"]),
        (&["verify", "gone"], 4, &["there is no model 'gone'"]),
        (&["import", "--from", "nowhere"], 2, &["'nowhere' is no folder and no file"]),
        (&["create", "a", "-f", "no-Modelfile"], 2, &["no-Modelfile", "-f"]),
        (&["search", "nothing-has-this-name"], 4, &["--online nothing-has-this-name"]),
    ] {
        let message = person.refused(arguments, code);
        for part in parts {
            assert!(message.contains(part), "'{part}' is missing in: {message}");
        }
    }
}

#[test]
fn a_server_that_is_not_there_is_said_in_clear_words() {
    let person = Person::new();
    let output = person
        .command(&["pull", "hf:o/r-GGUF:F32", "--force"])
        .env("RESIDENT_HF_ENDPOINT", "http://127.0.0.1:9")
        .output()
        .unwrap();
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{message}");
    assert!(message.contains("cannot reach http://127.0.0.1:9/"), "{message}");
}

#[test]
fn names_are_copied_and_removed_and_what_that_frees_is_said() {
    let person = Person::new();
    person.says(&["pull", "hf:o/r-GGUF:F32", "--name", "one"]);
    let bytes = File::small().bytes().len() as u64;
    assert_eq!(person.says(&["cp", "one", "two"]), "one is two too: 0 bytes more on disk\n");
    let usage = person.json(&["du"]);
    assert_eq!((&usage["blobs_bytes"], &usage["shared_bytes"]), (&bytes.into(), &bytes.into()));
    let removed = person.json(&["rm", "one"]);
    assert_eq!(
        (&removed["freed_bytes"], &removed["removed"][0]["kept_bytes"]),
        (&0.into(), &bytes.into())
    );
    // All of them, or none.
    person.refused(&["rm", "two", "gone"], 4);
    let removed = person.json(&["rm", "two"]);
    assert_eq!(removed["freed_bytes"], bytes);
    assert_eq!(person.json(&["du"])["blobs_bytes"], 0);
}

#[test]
fn what_comes_twice_from_an_address_is_kept_once() {
    let person = Person::new();
    let address = format!("{}/o/r-GGUF/resolve/main/m-F32.gguf", person.server.url());
    for name in ["one", "two"] {
        person.says(&["pull", &address, "--name", name]);
    }
    let usage = person.json(&["du"]);
    let bytes = File::small().bytes().len() as u64;
    assert_eq!((&usage["blobs_bytes"], &usage["half_pulled_bytes"]), (&bytes.into(), &0.into()));
}

#[test]
fn a_plain_file_goes_only_when_the_file_is_meant() {
    let person = Person::new();
    let file = person.models_file("plain.gguf");
    let message = person.refused(&["rm", "plain"], 4);
    assert!(message.contains(&file.display().to_string()), "{message}");
    assert!(message.contains("--file removes that file"), "{message}");
    assert!(file.exists());
    let message = person.refused(&["cp", "plain", "b"], 4);
    assert!(message.contains("resident import"), "{message}");
    let message = person.refused(&["pull", "hf:o/r-GGUF:F32", "--name", "plain"], 2);
    assert!(message.contains("choose another name"), "{message}");
    person.says(&["rm", "plain", "--file"]);
    assert!(!file.exists());
}

#[test]
fn a_file_comes_without_a_copy_and_a_model_is_made_of_it() {
    let person = Person::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("small.gguf");
    fs::write(&file, File::small().bytes()).unwrap();
    let told = text(&person.output(&["import", "--from", file.to_str().unwrap()]).stderr);
    assert!(told.contains("1 model came") && told.contains("0 bytes more on disk"), "{told}");
    // The same again is known.
    let again = person.json(&["import", elsewhere.path().to_str().unwrap()]);
    assert_eq!(again["models"].as_array().unwrap().len(), 0, "{again}");
    fs::write(
        elsewhere.path().join("Modelfile"),
        "FROM small\nPARAMETER temperature 0.5\nSYSTEM You are a cat.\n",
    )
    .unwrap();
    let modelfile = elsewhere.path().join("Modelfile");
    person.says(&["create", "cat", "-f", modelfile.to_str().unwrap()]);
    let shown = person.says(&["show", "cat"]);
    assert!(shown.contains("temperature = 0.5") && shown.contains("You are a cat."), "{shown}");
    assert_eq!(person.says(&["show", "cat", "--system"]), "You are a cat.\n");
    let message = person.refused(&["show", "cat", "--license"], 4);
    assert!(message.contains("'cat' has no licence"), "{message}");
    // `pull` of a file is an import.
    person.says(&["pull", file.to_str().unwrap(), "--name", "third"]);
    assert_eq!(person.json(&["du"])["models"].as_array().unwrap().len(), 3);
}

#[test]
fn what_is_damaged_is_found_and_pulled_again() {
    let person = Person::new();
    person.says(&["pull", "hf:o/r-GGUF:F32", "--name", "one"]);
    assert!(person.says(&["verify"]).starts_with("1 file read, "));
    let blobs = fs::read_dir(person.library().join("blobs")).unwrap();
    let blob = blobs.map(|entry| entry.unwrap().path()).next().unwrap();
    let mut bytes = fs::read(&blob).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&blob, bytes).unwrap();
    let output = person.output(&["verify", "one"]);
    let (said, told) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        said.contains("is damaged") && said.contains("resident pull hf:o/r-GGUF:F32"),
        "{said}"
    );
    person.says(&["pull", "hf:o/r-GGUF:F32", "--name", "one"]);
    person.says(&["verify", "one"]);
}

#[test]
fn a_search_lists_what_a_hub_has_with_what_fits() {
    let person = Person::new();
    let found = person.json(&["search", "--online", "r"]);
    assert_eq!(found[0]["source"], "hf:o/r-GGUF", "{found}");
    assert_eq!(found[0]["take"]["quantization"], "BF16", "the largest fits: {found}");
    let listed = person.says(&["search", "--online", "r", "--limit", "1"]);
    assert_eq!(listed.lines().count(), 2, "{listed}");
}

#[test]
fn a_running_hub_pulls_and_has_the_model_at_once() {
    let server = Elsewhere::start();
    let hub = Hub::start_with(|command| {
        command.env("RESIDENT_HF_ENDPOINT", server.url());
    });
    let ask = |arguments: &[&str]| {
        let mut command = resident(hub.data_dir(), arguments);
        command.env("RESIDENT_LISTEN", hub.address.to_string());
        command.env("RESIDENT_HF_ENDPOINT", server.url()).output().unwrap()
    };
    let output = ask(&["pull", "hf:o/r-GGUF:F32", "--name", "mine"]);
    let told = text(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("the hub pulls it (number "), "{told}");
    assert!(hub.get("/v1/models").text().contains("mine"), "it is served without a restart");
    let output = ask(&["pull", "--list", "--json"]);
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(listed["pulls"][0]["state"], "done", "{listed}");
}
