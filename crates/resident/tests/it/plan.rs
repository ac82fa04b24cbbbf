//! `resident plan` from outside: the yardstick machines, every form of answer, models from files and
//! from elsewhere, llama.cpp's own layout beside it, and what it refuses.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use std::thread;

use serde_json::Value;

use crate::gguf::{self, File, Tensor};
use crate::hub::{binary, stories};

/// `resident plan` without anything that the caller's environment would set.
fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary("resident"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let is_theirs = ["RESIDENT_", "HF_"].iter().any(|prefix| name.starts_with(prefix));
        if is_theirs || name.to_ascii_lowercase().ends_with("_proxy") {
            command.env_remove(name);
        }
    }
    command.arg("plan").args(arguments).arg("--data-dir").arg(folder);
    command
}

fn run(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    command(folder.path(), arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The answer in JSON.
#[track_caller]
fn json(arguments: &[&str]) -> Value {
    let output = run(&[arguments, &["--json"]].concat());
    parsed(&output)
}

#[track_caller]
fn parsed(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What it refuses, with the exit code.
#[track_caller]
fn refused(arguments: &[&str], code: i32) -> String {
    let output = run(arguments);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
    println!("{arguments:?}: {message}");
    message
}

const LARGE: [&str; 3] = ["qwen3-30b-a3b:Q8_0", "qwen3.6-27b:Q8_0", "qwen3-32b:Q8_0"];

#[test]
fn on_64_gb_each_of_the_large_models_fits_alone_at_8_bits_and_no_two_together() {
    let machine = ["--machine", "m1-max-64gb", "--reserve", "16GB", "--context", "32768"];
    for model in LARGE {
        let plan = json(&[&[model], &machine[..]].concat());
        let verdict = plan["verdict"].as_str().unwrap();
        assert!(["comfortable", "fits", "tight"].contains(&verdict), "{model}: {verdict}");
        assert_eq!(plan["budget_bytes"], 48_u64 << 30);
        assert_eq!(plan["context_tokens"], 32_768);
        assert_eq!(plan["quantization"], "Q8_0");
    }
    let beside = [LARGE[0], "--with", LARGE[1], "--with", LARGE[2]];
    let plan = json(&[&beside[..], &machine[..]].concat());
    assert_eq!(plan["all_at_once"], false);
    assert_eq!(plan["turns"].as_array().unwrap().len(), 3);
    assert!(plan["sets"].as_array().unwrap().iter().all(|set| set.as_array().unwrap().len() == 1));
}

#[test]
fn on_16_gb_the_quantizations_of_an_8b_model_fall_in_the_right_order() {
    let plan = json(&["deepseek-r1-0528-qwen3-8b", "--machine", "m4-16gb", "--context", "16384"]);
    assert_eq!(plan["budget_bytes"], 12_u64 << 30);
    let rows = plan["quantizations"].as_array().unwrap();
    let verdict = |name: &str| {
        let row = rows.iter().find(|row| row["quantization"] == name).unwrap();
        row["verdict"].as_str().unwrap().to_owned()
    };
    assert_eq!(verdict("BF16"), "does not fit");
    assert_eq!(verdict("UD-Q8_K_XL"), "does not fit");
    for fitting in ["Q6_K", "Q5_K_M", "Q4_K_M"] {
        assert!(["comfortable", "fits"].contains(&&*verdict(fitting)), "{fitting}");
    }
    // Best first, and what is recommended is the first that fits with some room.
    let first =
        rows.iter().find(|row| ["comfortable", "fits"].contains(&row["verdict"].as_str().unwrap()));
    assert_eq!(plan["recommended"], first.unwrap()["quantization"]);
    let classes: Vec<u64> = rows.iter().map(|row| row["bits_class"].as_u64().unwrap()).collect();
    assert!(classes.is_sorted_by(|one, other| one >= other), "{classes:?}");
    // Beside an embedding model it still fits.
    let plan = json(&["deepseek-r1-0528-qwen3-8b", "--with", "bge-m3", "--machine", "m4-16gb"]);
    assert_eq!(plan["all_at_once"], true, "{plan}");
}

#[test]
fn the_json_has_every_figure_and_they_add_up() {
    let plan = json(&["qwen3.6-27b:Q4_K_M", "--machine", "m1-max-64gb", "--kv", "q8_0"]);
    let number = |key: &str| plan[key].as_u64().unwrap_or_else(|| panic!("{key}: {}", plan[key]));
    let parts = ["weights_bytes", "kv_bytes", "recurrent_bytes", "compute_bytes", "other_bytes"]
        .map(number);
    assert_eq!(parts.iter().sum::<u64>(), number("total_bytes"));
    assert!(parts.iter().all(|bytes| *bytes > 0), "{parts:?}");
    assert!(number("total_bytes") < number("budget_bytes"));
    for key in ["decode_tokens_per_s", "prefill_tokens_per_s"] {
        assert!(plan[key].as_f64().is_some_and(|rate| rate > 0.0), "{key}");
    }
    let items = plan["items"].as_array().unwrap();
    for (part, bytes) in ["weights", "kv", "recurrent", "compute", "other"].iter().zip(parts) {
        let of_part = items.iter().filter(|item| item["part"] == *part);
        let sum: u64 = of_part.map(|item| item["bytes"].as_u64().unwrap()).sum();
        assert_eq!(sum, bytes, "{part}");
    }
    assert!(items.iter().all(|item| !item["why"].as_str().unwrap().is_empty()));
    let f16 = json(&["qwen3.6-27b:Q4_K_M", "--machine", "m1-max-64gb"]);
    let (f16, q8_0) = (f16["kv_bytes"].as_u64().unwrap(), number("kv_bytes"));
    assert_eq!(f16 * 17, q8_0 * 32, "8 bits and a scale for each 32 numbers");
}

#[test]
fn the_whole_catalogue_comes_best_first_in_every_form() {
    let plan = json(&["--machine", "m4-16gb"]);
    let models = plan["models"].as_array().unwrap();
    assert!(models.len() > 30, "{}", models.len());
    assert_ne!(models[0]["verdict"], "does not fit");
    let csv = run(&["--machine", "m4-16gb", "--csv"]);
    let lines: Vec<String> = text(&csv.stdout).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), models.len() + 1);
    assert!(lines[0].starts_with("model,title,"), "{}", lines[0]);
    let markdown = text(&run(&["--machine", "m4-16gb", "--markdown"]).stdout);
    assert!(markdown.lines().all(|line| line.starts_with("| ")), "{markdown}");
    let people = text(&run(&["--machine", "m4-16gb"]).stdout);
    assert!(people.starts_with("On m4-16gb: 12.0 GiB for models"), "{people}");
}

#[test]
fn this_machine_is_planned_for_with_the_memory_it_is_said_to_have() {
    let plan = json(&["qwen3-0.6b", "--memory", "16GB", "--reserve", "4GB"]);
    assert_eq!(plan["machine"]["is_this_machine"], true);
    assert_eq!(plan["budget_bytes"], 12_u64 << 30);
    // Its memory is known without being said, too.
    assert!(json(&["qwen3-0.6b"])["machine"]["memory_bytes"].as_u64().unwrap() > 1 << 28);
}

#[test]
fn a_file_is_planned_from_its_header() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge.gguf");
    let mut file = File::small();
    file.tensors.push(Tensor {
        name: "blk.0.huge.weight".to_owned(),
        dimensions: vec![1 << 15, 1 << 16],
        kind: 0,
        offset: file.data_bytes as u64,
    });
    let bytes = file.bytes();
    fs::write(&path, &bytes).unwrap();
    let sparse = fs::File::options().write(true).open(&path).unwrap();
    sparse.set_len(bytes.len() as u64 + (8 << 30)).unwrap();
    let path = path.to_str().unwrap();
    let plan = json(&[path, "--machine", "m4-16gb", "--context", "64"]);
    assert_eq!(plan["model"], "huge");
    assert!(plan["weights_bytes"].as_u64().unwrap() > 8 << 30);
    let message = refused(&["/nowhere/x.gguf"], 4);
    assert!(message.contains("/nowhere/x.gguf"), "{message}");
    fs::write(path, b"<html>").unwrap();
    let message = refused(&[path], 4);
    assert!(message.contains("huge.gguf"), "{message}");
}

#[test]
fn an_architecture_nobody_knows_gets_a_bound_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new.gguf");
    let mut file = File::small();
    file.set("general.architecture", gguf::string("nonesuch"));
    for key in ["context_length", "embedding_length", "block_count", "attention.head_count"] {
        file.set(&format!("nonesuch.{key}"), gguf::uint32(32));
    }
    fs::write(&path, file.bytes()).unwrap();
    let output = run(&[path.to_str().unwrap(), "--json"]);
    let plan = parsed(&output);
    assert_eq!(plan["certain"], false);
    assert!(text(&run(&[path.to_str().unwrap()]).stderr).contains("an upper bound"));
}

#[test]
fn what_is_not_there_or_cannot_be_is_refused_with_its_code() {
    for (arguments, code, parts) in [
        (&["qwen3-9b"][..], 4, ["`qwen3-9b`", "`qwen3-8b`"]),
        (&["qwen3-8b:Q9_Z"], 4, ["`Q9_Z`", "Q4_K_M"]),
        (&["qwen3-8b", "--with", "zzz"], 4, ["`zzz`", "lists all"]),
        (&["--machine", "m4-17gb"], 2, ["`m4-17gb`", "`m4-16gb`"]),
        (&["--machine", "m4-16gb", "--reserve", "20GB"], 2, ["reserve", "20.0 GiB"]),
        (&["--machine", "m4-16gb", "--reserve", "100%"], 2, ["reserve", "100 %"]),
        (&["--memory", "0GB"], 2, ["RAM", "0 bytes"]),
        (&["--memory", "16G"], 2, ["--memory", "powers of 1024"]),
        (&["--memory", "lots"], 2, ["--memory", "12GB"]),
        (&["--reserve", "a%"], 2, ["--reserve", "25%"]),
        (&["qwen3-8b", "--kv", "q9"], 2, ["--kv", "q8_0"]),
        (&["qwen3-8b", "--context", "0"], 2, ["--context", "1.."]),
        (&["qwen3-8b", "--json", "--csv"], 2, ["--json", "--csv"]),
        (&["qwen3-8b", "--measure"], 2, ["--measure", ".gguf file"]),
        (&["hf:nowhere"], 4, ["'hf:nowhere'", "hf:OWNER/REPO"]),
    ] {
        let message = refused(arguments, code);
        for part in parts {
            assert!(message.contains(part), "'{part}' is missing in: {message}");
        }
    }
}

#[test]
fn a_configuration_is_held_to_its_promises() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.gguf"), File::small().bytes()).unwrap();
    let write = |text: &str| configure(folder.path(), text);
    let config = folder.path().join("config.toml");
    let path = config.to_str().unwrap();
    let models = "[models.one]\npath = \"a.gguf\"\n[models.two]\npath = \"a.gguf\"\ncontext = 32\n";
    write(&format!("budget = \"1GiB\"\n{models}"));
    let plan = json(&["--config", path]);
    assert_eq!(
        (&plan["all_at_once"], plan["budget_bytes"].as_u64()),
        (&true.into(), Some(1 << 30))
    );
    assert_eq!(plan["models"][1]["context_tokens"], 32);
    write(&format!("budget = \"1MiB\"\n{models}"));
    let message = refused(&["--config", path], 1);
    assert!(message.contains("cannot keep its promises"), "{message}");
    assert!(message.contains("one, two"), "{message}");
    write("contxt = 1\n");
    assert!(refused(&["--config", path], 2).contains("did you mean 'context'"));
}

#[test]
fn programs_groups_and_pins_count_in_a_plan_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.gguf"), File::small().bytes()).unwrap();
    let configuration = "budget = \"10GiB\"\n[models.one]\npath = \"a.gguf\"\n\
                [models.large]\nengine = \"vllm\"\nmodel = \"x\"\nmemory = \"4GiB\"\n\
                [models.other]\nengine = \"vllm\"\nmodel = \"x\"\nmemory = \"5GiB\"\n\
                [upstreams.lab]\nservers = [\"http://lab:1\"]\nmodels = [\"big\"]\n\
                [tools.say]\npreset = \"espeak-ng\"\n";
    let config = configure(folder.path(), configuration);
    let path = config.to_str().unwrap();
    let plan = json(&["--config", path]);
    assert_eq!(plan["programs"][0]["memory_bytes"], 4_u64 << 30, "{plan}");
    assert!(plan["total_bytes"].as_u64().unwrap() > 9 << 30, "{plan}");
    assert_eq!(plan["all_at_once"], false, "both programs are in the group main");
    assert_eq!(plan["turns"], serde_json::json!([["large", "other"]]));
    let notes = plan["notes"].to_string();
    for part in ["models of lab/ are served by servers that run already", "the tool say takes"] {
        assert!(notes.contains(part), "no '{part}' in: {notes}");
    }
    let lines = text(&run(&["--config", path]).stdout);
    for part in [
        "program    large: 4.0 GiB, as the configuration declares",
        "of a group one is in memory at a time",
        "in turns   large and other",
    ] {
        assert!(lines.contains(part), "no '{part}' in:\n{lines}");
    }
    // What is promised to stay is in every set.
    let pinned = configuration.replace("\"5GiB\"\n", "\"5GiB\"\npin = true\n");
    configure(folder.path(), &pinned);
    let message = refused(&["--config", path], 1);
    assert!(message.contains("there is no room for large"), "{message}");
}

/// A configuration in `folder` that only its owner can write.
fn configure(folder: &Path, text: &str) -> std::path::PathBuf {
    let config = folder.join("config.toml");
    fs::write(&config, text).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    }
    config
}

#[test]
fn what_lies_beside_the_models_breaks_no_promise() {
    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().join("models");
    fs::create_dir_all(models.join("below")).unwrap();
    let model = File::small().bytes();
    let mut projector = File::small();
    projector.set("general.architecture", gguf::string("clip"));
    fs::write(models.join("a.gguf"), &model).unwrap();
    fs::write(models.join("below/a.gguf"), &model).unwrap();
    for name in ["mmproj-a.gguf", "eyes.gguf"] {
        fs::write(models.join(name), projector.bytes()).unwrap();
    }
    let config = configure(folder.path(), "data_dir = \".\"\n");
    let plan = |config: &Path| command(folder.path(), &["--config", config.to_str().unwrap()]);
    let output = plan(&config).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("is hidden") && said.contains("eyes.gguf is a companion file"), "{said}");
    assert!(!said.contains("mmproj"), "by its name it is none of the models: {said}");
    // A name of the configuration is a promise; a file that cannot be read may be one.
    for (text_of_config, expected) in [
        ("[models.eyes]\npath = \"models/mmproj-a.gguf\"\n", "is a companion file"),
        ("[models.gone]\npath = \"gone.gguf\"\n", "model 'gone': cannot read"),
    ] {
        let output = plan(&configure(folder.path(), text_of_config)).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(expected) && said.contains("not every model can be read"), "{said}");
    }
    // Without any other model, too.
    fs::remove_dir_all(&models).unwrap();
    let output = plan(&config).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("model 'gone': cannot read"), "{said}");
    let output = plan(&configure(folder.path(), "")).output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
}

#[test]
fn a_model_of_the_hub_is_planned_with_the_context_it_is_served_with() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("models")).unwrap();
    fs::write(folder.path().join("models/a.gguf"), File::small().bytes()).unwrap();
    let own = "context = 40\n[models.b]\npath = \"models/a.gguf\"\ncontext = 24\n";
    configure(folder.path(), own);
    let context = |arguments: &[&str]| {
        let output = command(folder.path(), &[arguments, &["--json"]].concat()).output().unwrap();
        parsed(&output)["context_tokens"].as_u64()
    };
    assert_eq!(context(&["a"]), Some(40));
    assert_eq!(context(&["b"]), Some(24));
    assert_eq!(context(&["b", "--context", "56"]), Some(56));
}

#[test]
fn a_model_of_the_hub_is_planned_with_the_cache_it_is_served_with() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("models")).unwrap();
    fs::write(folder.path().join("models/a.gguf"), File::small().bytes()).unwrap();
    let own = "[kv]\ntype = \"bf16\"\n[models.b]\npath = \"models/a.gguf\"\nkv_type = \"f32\"\n";
    configure(folder.path(), own);
    let planned = |arguments: &[&str]| {
        let output = command(folder.path(), &[arguments, &["--json"]].concat()).output().unwrap();
        parsed(&output)
    };
    for (arguments, kv_type) in
        [(&["a"][..], "bf16"), (&["b"], "f32"), (&["b", "--kv", "f16"], "f16")]
    {
        assert_eq!(planned(arguments)["kv_type"], kv_type, "{arguments:?}");
    }
    // Heads of 16 numbers are no whole blocks.
    let refused = planned(&["a", "--kv", "q8_0"]);
    let why = refused["why"].as_str().unwrap();
    assert!(why.starts_with("it cannot be loaded so: keys as q8_0 come in blocks of 32"), "{why}");
}

#[test]
fn the_worlds_smallest_model_is_planned_too() {
    let Some(path) = stories() else { return };
    let plan = json(&[path.to_str().unwrap()]);
    assert_eq!((&plan["architecture"], &plan["verdict"]), (&"llama".into(), &"comfortable".into()));
    assert_eq!(plan["quantization"], "F32");
}

#[test]
fn llama_cpp_s_own_layout_stands_beside_the_plan() {
    let Some(path) = stories() else { return };
    let measure = [path.to_str().unwrap(), "--measure", "--parallel", "2", "--context", "512"];
    let plan = json(&measure);
    assert_eq!(plan["measured"]["weights_bytes"], plan["weights_bytes"]);
    let buffers = plan["measured"]["buffers"].as_array().unwrap();
    let cache = buffers.iter().find(|buffer| buffer["purpose"] == "KV").unwrap();
    let difference = cache["bytes"].as_u64().unwrap().abs_diff(plan["kv_bytes"].as_u64().unwrap());
    assert!(difference < 20_000, "llama.cpp prints hundredths of a MiB: {plan:#}");
    let output = run(&measure);
    assert!(text(&output.stdout).contains("BESIDE LLAMA.CPP"), "{}", text(&output.stderr));
}

/// The worker would lay it out for devices that are not there.
#[test]
fn a_layout_is_not_measured_for_a_machine_that_computes_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.gguf");
    fs::write(&path, File::small().bytes()).unwrap();
    let path = path.to_str().unwrap();
    let message = refused(&[path, "--measure", "--machine", "rtx-3060-12gb"], 2);
    for part in ["--measure", "--machine rtx-3060-12gb", "leave out one"] {
        assert!(message.contains(part), "'{part}' is missing in: {message}");
    }
}

#[cfg(unix)]
#[test]
fn a_worker_that_cannot_lay_the_model_out_is_quoted() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let (model, worker) = (folder.path().join("m.gguf"), folder.path().join("worker"));
    fs::write(&model, File::small().bytes()).unwrap();
    fs::write(&worker, "#!/bin/sh\necho no such model >&2\nexit 1\n").unwrap();
    fs::set_permissions(&worker, fs::Permissions::from_mode(0o700)).unwrap();
    let ask = |worker: &Path| {
        let mut command = command(folder.path(), &[model.to_str().unwrap(), "--measure"]);
        text(&command.env("RESIDENT_WORKER", worker).output().unwrap().stderr)
    };
    assert!(ask(&worker).contains("no such model"));
    assert!(ask(&folder.path().join("gone")).contains("there is no worker"));
}

/// A server that speaks like Hugging Face and has a few repositories.
struct Elsewhere {
    address: SocketAddr,
    sent_bytes: Arc<AtomicU64>,
}

impl Elsewhere {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let sent_bytes = Arc::new(AtomicU64::new(0));
        let counted = sent_bytes.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that hangs up is no failure of the server's.
                let _hung_up = answer(stream.unwrap(), &counted);
            }
        });
        Self { address, sent_bytes }
    }

    /// What `resident plan` says of what lies here.
    fn ask(&self, arguments: &[&str]) -> Output {
        let folder = tempfile::tempdir().unwrap();
        let endpoint = format!("http://{}", self.address);
        command(folder.path(), arguments).env("RESIDENT_HF_ENDPOINT", endpoint).output().unwrap()
    }

    /// What it refuses.
    #[track_caller]
    fn refused(&self, model: &str) -> String {
        let output = self.ask(&[model]);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{message}");
        println!("{model}: {message}");
        message
    }
}

/// A file with words and no weights.
fn vocabulary() -> Vec<u8> {
    let mut file = File::small();
    file.tensors.clear();
    file.data_bytes = 0;
    file.bytes()
}

/// Names and lengths of what a repository has.
fn listed(repository: &str) -> Vec<(&'static str, usize)> {
    let (small, words) = (File::small().bytes().len(), vocabulary().len());
    match repository {
        "r-GGUF" => vec![("m-F32.gguf", small), ("m-BF16.gguf", small * 2)],
        "several-GGUF" => vec![
            ("one-F32.gguf", small),
            ("one-BF16.gguf", small * 2),
            ("other-F32.gguf", small),
            ("ggml-vocab-one.gguf", words),
        ],
        "words-GGUF" => vec![("ggml-vocab-m.gguf", words), ("m-F32.gguf", small)],
        "torn-GGUF" => vec![("m-F32-00001-of-00003.gguf", small), ("m-F32-00003-of-00003.gguf", 1)],
        _ => Vec::new(),
    }
}

fn answer(mut stream: TcpStream, sent_bytes: &AtomicU64) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let mut range = None;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        range =
            line.to_ascii_lowercase().strip_prefix("range: bytes=").map(str::to_owned).or(range);
    }
    let target = request.split(' ').nth(1).unwrap_or_default();
    let path = target.split_once("?key=").map_or(target, |(path, _)| path);
    let repository = path.strip_prefix("/api/models/o/");
    let repository = repository.and_then(|rest| rest.strip_suffix("/tree/main?recursive=true"));
    let name = path.strip_prefix("/o/").and_then(|rest| rest.split_once("/resolve/main/"));
    let (status, headers, body) = match (repository.map(listed), name) {
        (Some(files), _) if !files.is_empty() => {
            let entry = |(name, bytes): &(&str, usize)| {
                format!(r#"{{"type":"file","path":"{name}","size":{bytes}}}"#)
            };
            let list: Vec<String> = files.iter().map(entry).collect();
            ("200 OK", String::new(), format!("[{}]", list.join(",")).into_bytes())
        }
        // Only the smallest of a model are there: the others must be planned without being read.
        (_, Some((_, name))) if !name.contains("BF16") => {
            let file = if name.contains("vocab") { vocabulary() } else { File::small().bytes() };
            let range = range.unwrap_or_default();
            let (first, _) = range.split_once('-').unwrap();
            let first: usize = first.parse().unwrap();
            let range =
                format!("content-range: bytes {first}-{}/{}\r\n", file.len() - 1, file.len());
            ("206 Partial Content", range, file[first..].to_vec())
        }
        _ => ("404 Not Found", String::new(), Vec::new()),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    sent_bytes.fetch_add(length as u64, Ordering::SeqCst);
    stream.write_all(&body)
}

#[test]
fn a_model_elsewhere_is_planned_from_its_header() {
    let server = Elsewhere::start();
    let endpoint = format!("http://{}", server.address);
    let ask = |arguments: &[&str]| server.ask(arguments);
    let plan = parsed(&ask(&["hf:o/r-GGUF:F32", "--json"]));
    assert_eq!((&plan["model"], &plan["quantization"]), (&"r-GGUF:F32".into(), &"F32".into()));
    assert!(server.sent_bytes.load(Ordering::SeqCst) < 1 << 20);
    // Of a repository every quantization is planned, from one header and the lengths of the files.
    let plan = parsed(&ask(&["hf:o/r-GGUF", "--json"]));
    let rows = plan["quantizations"].as_array().unwrap();
    let weights = |name: &str| {
        let row = rows.iter().find(|row| row["quantization"] == name).unwrap();
        row["weights_bytes"].as_u64().unwrap()
    };
    assert!(weights("BF16") > weights("F32"), "{rows:?}");
    let address = format!("{endpoint}/o/r-GGUF/resolve/main/m-F32.gguf");
    assert_eq!(parsed(&ask(&[&address, "--json"]))["model"], "m-F32");
    for (model, expected) in [("hf:o/r-GGUF:Q2_K", "no model 'Q2_K'"), ("hf:o/gone", "404")] {
        let message = server.refused(model);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_repository_of_several_models_is_asked_for_one_of_them() {
    let server = Elsewhere::start();
    let message = server.refused("hf:o/several-GGUF");
    let expected = "as in hf:o/several-GGUF:one; there are one, other";
    assert!(message.contains(expected), "{message}");
    // What it says to write gives every quantization of that model, and only those.
    for (model, expected) in [("one", vec!["F32", "BF16"]), ("OTHER", vec!["F32"])] {
        let plan = parsed(&server.ask(&[&format!("hf:o/several-GGUF:{model}"), "--json"]));
        let rows = plan["quantizations"].as_array().unwrap();
        let mut found: Vec<&str> =
            rows.iter().map(|row| row["quantization"].as_str().unwrap()).collect();
        found.sort_by_key(|name| expected.iter().position(|known| known == name));
        assert_eq!(found, expected);
    }
    let message = server.refused("hf:o/several-GGUF:third");
    assert!(message.contains("no model 'third'"), "{message}");
    // Beside one model, a file that is none is left out.
    let plan = parsed(&server.ask(&["hf:o/words-GGUF", "--json"]));
    assert_eq!(plan["quantizations"].as_array().unwrap().len(), 1);
    assert_eq!(plan["quantization"], "F32");
    let message = server.refused("hf:o/words-GGUF:ggml-vocab-m.gguf");
    assert!(message.contains("is a companion file"), "{message}");
}

#[test]
fn the_missing_part_of_a_repository_is_named() {
    let message = Elsewhere::start().refused("hf:o/torn-GGUF");
    assert!(message.contains("o/torn-GGUF: m-F32: part 2 of 3 is missing"), "{message}");
}

#[test]
fn what_is_secret_in_an_address_is_not_shown() {
    let server = Elsewhere::start();
    let path = format!("{}/o/r-GGUF/resolve/main/m-F32.gguf", server.address);
    let address = format!("http://me:hidden@{path}?key=hidden");
    assert_eq!(parsed(&server.ask(&[&address, "--json"]))["model"], "m-F32");
    for form in ["--json", "--explain"] {
        let output = server.ask(&[&address, form]);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(said.contains(&format!("http://{path}, of which")), "{said}");
        assert!(!said.contains("hidden"), "{said}");
    }
}
