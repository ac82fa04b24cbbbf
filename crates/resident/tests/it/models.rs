//! Model files that are missing, broken, hostile or too large: each is one clear error, and the
//! hub goes on.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::gguf::{self, File};
use crate::http::Answer;
use crate::hub::{Hub, stories};

/// A hub that serves what is in this folder, and the small real model if it is here.
fn hub_with(folder: &Path) -> Hub {
    let models = folder.to_str().unwrap();
    let stories = stories().map(|path| format!("stories={}", path.display()));
    let mut arguments = vec!["--models-dir", models];
    arguments.extend(stories.iter().flat_map(|model| ["--model", model.as_str()]));
    Hub::start(&arguments)
}

fn ask(hub: &Hub, model: &str) -> Answer {
    hub.post("/v1/completions", &json!({"model": model, "prompt": "a", "max_tokens": 2}))
}

/// The refusal of a model that cannot be used. It must name the file or the model.
#[track_caller]
fn refusal(hub: &Hub, model: &str) -> Value {
    let answer = ask(hub, model);
    assert!((400..600).contains(&answer.status), "{model}: {} {}", answer.status, answer.text());
    let error = answer.error(answer.status);
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(model), "{model} is not named: {message}");
    error
}

#[track_caller]
fn assert_healthy(hub: &Hub) {
    hub.get("/health").ok_status();
    hub.get("/v1/models").ok();
    if stories().is_some() {
        ask(hub, "stories").ok();
    }
}

#[test]
fn a_model_written_by_these_tests_is_answered() {
    // Otherwise the refusals below would prove nothing.
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("small.gguf"), File::small().bytes()).unwrap();
    ask(&hub_with(folder.path()), "small").ok();
}

#[test]
fn hostile_headers_are_refused_without_a_worker() {
    let folder = tempfile::tempdir().unwrap();
    let files = hostile();
    for (name, file) in &files {
        fs::write(folder.path().join(format!("{name}.gguf")), file.bytes()).unwrap();
    }
    let hub = hub_with(folder.path());
    for (name, _) in &files {
        let error = refusal(&hub, name);
        println!("{name}: {}", error["message"]);
        assert!(hub.workers().is_empty(), "a worker was started for {name}");
    }
    assert_healthy(&hub);
}

/// Headers of which no byte may be believed.
fn hostile() -> Vec<(&'static str, File)> {
    let with = |change: &dyn Fn(&mut File)| {
        let mut file = File::small();
        change(&mut file);
        file
    };
    let key = |key: &'static str, value: (u32, Vec<u8>)| with(&|file| file.set(key, value.clone()));
    vec![
        ("many-tensors", with(&|file| file.tensor_count = Some(1 << 63))),
        ("many-keys", with(&|file| file.key_count = Some(1 << 63))),
        ("all-tensors", with(&|file| file.tensor_count = Some(u64::MAX))),
        ("future", with(&|file| file.version = 4000)),
        ("no-magic", with(&|file| file.magic = *b"GGML")),
        ("big-endian", with(&|file| file.version = 3_u32.swap_bytes())),
        ("long-string", key("x", gguf::claimed_string("short", 1 << 63))),
        ("long-array", key("x", gguf::claimed_array(4, 1 << 62, &[]))),
        ("wrapping-array", key("x", gguf::claimed_array(10, u64::MAX / 8 + 2, &[0; 64]))),
        ("deep-arrays", key("x", gguf::nested_arrays(100_000))),
        ("unknown-value", key("x", (77, vec![0; 8]))),
        ("overlapping", with(&|file| file.tensors[1].offset = 0)),
        ("with-a-gap", with(&|file| file.tensors[10].offset += 64)),
        ("unaligned", with(&|file| file.tensors[1].offset += 1)),
        ("far-away", with(&|file| file.tensors[10].offset = u64::MAX - 31)),
        ("negative-size", with(&|file| file.tensors[3].dimensions = vec![1 << 63, 2])),
        ("wrapping-size", with(&|file| file.tensors[3].dimensions = vec![1 << 32, 1 << 32])),
        ("nine-dimensions", with(&|file| file.tensors[3].dimensions = vec![1; 9])),
        ("many-dimensions", with(&|file| file.tensors[3].dimensions = vec![1; 70_000])),
        ("unknown-encoding", with(&|file| file.tensors[3].kind = 9_999)),
        ("twice", with(&|file| file.tensors[4].name = file.tensors[3].name.clone())),
        ("no-heads", key("llama.attention.head_count", gguf::uint32(0))),
        ("no-layers", key("llama.block_count", gguf::uint32(0))),
        ("many-layers", key("llama.block_count", gguf::uint32(u32::MAX))),
        ("no-width", key("llama.embedding_length", gguf::uint32(0))),
        ("no-context", key("llama.context_length", gguf::uint32(0))),
        ("no-alignment", key("general.alignment", gguf::uint32(0))),
        ("odd-alignment", key("general.alignment", gguf::uint32(48))),
        ("huge-alignment", key("general.alignment", gguf::uint32(1 << 31))),
        ("no-architecture", key("general.architecture", gguf::string(""))),
        ("number-as-name", key("general.architecture", gguf::uint32(7))),
        ("text-as-number", key("llama.block_count", gguf::string("many"))),
        ("cut-short", with(&|file| file.data_bytes -= 1)),
        ("no-data", with(&|file| file.data_bytes = 0)),
    ]
}

#[test]
fn headers_that_only_the_engine_can_judge_cost_a_worker_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let mut files: Vec<(&str, File)> = Vec::new();
    let mut add = |name, change: &dyn Fn(&mut File)| {
        let mut file = File::small();
        change(&mut file);
        files.push((name, file));
    };
    add("unheard-of", &|file| file.set("general.architecture", gguf::string("nonesuch")));
    add("lacks-a-tensor", &|file| file.tensors[5].name = "blk.0.other.weight".to_owned());
    add("wrong-shape", &|file| file.tensors[0].dimensions = vec![16, 16]);
    add("lacks-tokens", &|file| {
        file.set("tokenizer.ggml.tokens", gguf::claimed_array(8, 0, &[]));
    });
    add("odd-tokenizer", &|file| file.set("tokenizer.ggml.model", gguf::string("nonesuch")));
    add("odd-heads", &|file| file.set("llama.attention.head_count", gguf::uint32(7)));
    add("no-key-heads", &|file| file.set("llama.attention.head_count_kv", gguf::uint32(0)));
    add("wide-rope", &|file| file.set("llama.rope.dimension_count", gguf::uint32(4096)));
    add("more-layers", &|file| file.set("llama.block_count", gguf::uint32(5)));
    add("begins-nowhere", &|file| {
        file.set("tokenizer.ggml.bos_token_id", gguf::uint32(u32::MAX));
        file.set("tokenizer.ggml.add_bos_token", (7, vec![1]));
    });
    for (name, file) in &files {
        fs::write(folder.path().join(format!("{name}.gguf")), file.bytes()).unwrap();
    }
    let hub = hub_with(folder.path());
    for (name, _) in &files {
        // Where the engine forgives, an answer is as good as a refusal.
        let answer = ask(&hub, name);
        println!("{name}: {} {}", answer.status, answer.text());
        if answer.status != 200 {
            refusal(&hub, name);
        }
        hub.get("/health").ok_status();
    }
    assert_healthy(&hub);
}

#[test]
fn a_truncated_model_is_refused_and_a_repaired_one_is_served() {
    let Some(whole) = stories() else { return };
    let whole = fs::read(whole).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("torn.gguf");
    let hub = hub_with(folder.path());
    for length in [whole.len() - 1, whole.len() / 2, 14_000, 100, 4, 0] {
        fs::write(&path, &whole[..length]).unwrap();
        let error = refusal(&hub, "torn");
        let message = error["message"].as_str().unwrap();
        println!("{length} bytes: {message}");
        assert!(message.contains("torn.gguf"), "the file is not named: {message}");
    }
    fs::write(&path, &whole).unwrap();
    ask(&hub, "torn").ok();
}

#[test]
fn a_file_that_is_no_model_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("page.gguf"), "<html>Not found</html>".repeat(1000)).unwrap();
    fs::create_dir(folder.path().join("folder.gguf")).unwrap();
    fs::write(folder.path().join("gone.gguf"), File::small().bytes()).unwrap();
    let hub = hub_with(folder.path());
    let message = refusal(&hub, "page")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("page.gguf"), "{message}");
    assert!(matches!(ask(&hub, "folder").status, 400..600));
    fs::remove_file(folder.path().join("gone.gguf")).unwrap();
    refusal(&hub, "gone");
    assert_healthy(&hub);
}

#[cfg(unix)]
#[test]
fn files_that_only_look_like_files_do_not_hold_up_the_hub() {
    let folder = tempfile::tempdir().unwrap();
    let link = |name: &str, to: &Path| {
        std::os::unix::fs::symlink(to, folder.path().join(name)).unwrap();
    };
    link("zeroes.gguf", Path::new("/dev/zero"));
    link("circle.gguf", &folder.path().join("circle.gguf"));
    let pipe = folder.path().join("pipe.gguf");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let hub = hub_with(folder.path());
    for name in ["zeroes", "circle", "pipe"] {
        assert!(matches!(ask(&hub, name).status, 400..600), "{name}");
    }
    assert_healthy(&hub);
}

#[test]
fn headers_with_flipped_bits_never_bring_the_hub_down() {
    let Some(whole) = stories() else { return };
    let whole = fs::read(whole).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..24).map(|index| format!("flipped{index}")).collect();
    for (index, name) in names.iter().enumerate() {
        let mut bytes = whole.clone();
        // Spread over the header; each flips another bit.
        let place = 8 + index * 577;
        bytes[place] ^= 1 << (index % 8);
        bytes[place + 11] = 0xff;
        fs::write(folder.path().join(format!("{name}.gguf")), bytes).unwrap();
    }
    let hub = hub_with(folder.path());
    for name in &names {
        let answer = ask(&hub, name);
        println!("{name}: {} {}", answer.status, answer.text());
        assert!(matches!(answer.status, 200 | 400..600), "{name}");
    }
    assert_healthy(&hub);
}

#[test]
fn a_model_over_the_budget_is_refused_in_bytes_and_stops_nobody() {
    let Some(hub) = Hub::with_stories(&["--budget", "1GiB"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut file = File::small();
    // A billion parameters more, which take no room on the disk.
    file.tensors.push(gguf::Tensor {
        name: "blk.0.huge.weight".to_owned(),
        dimensions: vec![1 << 15, 1 << 15],
        kind: 0,
        offset: file.data_bytes as u64,
    });
    let bytes = file.bytes();
    let path = hub.data_dir().join("models").join("huge.gguf");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(folder.path().join("huge.gguf"), &bytes).unwrap();
    let sparse = fs::File::options().write(true).open(folder.path().join("huge.gguf")).unwrap();
    sparse.set_len(bytes.len() as u64 + (4 << 30)).unwrap();
    fs::rename(folder.path().join("huge.gguf"), &path)
        .or_else(|_| fs::copy(folder.path().join("huge.gguf"), &path).map(drop))
        .unwrap();

    ask(&hub, "stories").ok();
    let workers = hub.workers();
    let error = refusal(&hub, "huge");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("4.") && message.contains("1"), "no bytes in: {message}");
    assert_eq!(hub.workers(), workers, "the model that was there was stopped");
    ask(&hub, "stories").ok();
}
