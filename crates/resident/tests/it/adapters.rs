//! LoRA adapters of a model: an answer is what the model with the adapter merged into its weights says, and
//! another adapter, or another scale, finds nothing of what was kept before.

use std::fs;
use std::path::{Path, PathBuf};

use planner::gguf::{self, Header};
use serde_json::{Value, json};

use crate::hub::{Hub, PATIENCE, within};
use crate::kept::count;
use crate::made;

/// A log-probability of the merged model may differ by so much: its sums are the same in another order.
const TOLERANCE: f64 = 1e-2;

/// Of the model, and of its adapters by seed.
const MODEL: [&str; 6] = ["--arch", "qwen3", "--like", "tiny", "--quant", "f32"];

fn model() -> PathBuf {
    made::model("qwen3-tiny-f32", &MODEL)
}

fn adapter(seed: &str) -> PathBuf {
    let arguments = [&MODEL[..], &["--adapter", "4", "--seed", seed]].concat();
    made::model(&format!("qwen3-tiny-adapter-{seed}"), &arguments)
}

fn table(name: &str, model: &Path, adapters: &str) -> String {
    let model = model.display();
    format!("[models.{name}]\npath = \"{model}\"\nadapters = [{adapters}]\n")
}

/// A hub on a folder that outlives it, where prefixes are kept too.
fn hub(folder: &Path, tables: &[String]) -> Hub {
    let kept = folder.join("kept");
    let text =
        format!("context = 2048\n[kv]\nfolder = \"{}\"\n{}", kept.display(), tables.concat());
    Hub::configured(folder, &text)
}

/// Each token of the greedy answer with its log-probability, and how many tokens were found in the cache.
fn said(hub: &Hub, model: &str, prompt: &[u32]) -> (Vec<(String, f64)>, u64) {
    let body = json!({ "model": model, "prompt": prompt, "max_tokens": 12, "temperature": 0,
                       "logprobs": 1, "ignore_eos": true });
    read(&hub.post("/v1/completions", &body).ok())
}

/// What an answer says.
fn read(answer: &Value) -> (Vec<(String, f64)>, u64) {
    let logprobs = &answer["choices"][0]["logprobs"];
    let list = |key: &str| logprobs[key].as_array().unwrap().clone();
    let tokens = list("tokens").into_iter().map(|token| token.as_str().unwrap().to_owned());
    let values = list("token_logprobs").into_iter().map(|value| value.as_f64().unwrap());
    let cached = &answer["usage"]["prompt_tokens_details"]["cached_tokens"];
    (tokens.zip(values).collect(), cached.as_u64().unwrap_or(0))
}

fn prompt(length: u32) -> Vec<u32> {
    (0..length).map(|at| 3 + (at * at * 7 + at) % 900).collect()
}

/// The numbers of a tensor of 32-bit floats, and where they are in the file.
fn numbers(file: &[u8], header: &Header, name: &str) -> (usize, Vec<f32>, [usize; 2]) {
    let tensor = header.tensors.iter().find(|tensor| tensor.name == name).unwrap();
    let begin = usize::try_from(header.data_offset + tensor.offset).unwrap();
    let end = begin + usize::try_from(tensor.bytes).unwrap();
    let (numbers, rest) = file[begin..end].as_chunks::<4>();
    assert!(rest.is_empty());
    let numbers = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let [inputs, outputs, ..] = tensor.dimensions.map(|side| usize::try_from(side).unwrap());
    (begin, numbers, [inputs, outputs])
}

/// The model with what the adapter adds at this scale in its own weights.
fn merged(model: &Path, adapter: &Path, scale: f32, out: &Path) {
    let (mut bytes, factors) = (fs::read(model).unwrap(), fs::read(adapter).unwrap());
    let of_model = gguf::parse(&bytes, bytes.len() as u64).unwrap();
    let of_adapter = gguf::parse(&factors, factors.len() as u64).unwrap();
    for tensor in &of_adapter.tensors {
        let Some(name) = tensor.name.strip_suffix(".lora_a") else { continue };
        let (begin, mut weights, [inputs, outputs]) = numbers(&bytes, &of_model, name);
        let (_, first, [_, rank]) = numbers(&factors, &of_adapter, &tensor.name);
        let (_, second, _) = numbers(&factors, &of_adapter, &format!("{name}.lora_b"));
        for row in 0..outputs {
            for at in 0..inputs {
                let terms = (0..rank).map(|r| second[row * rank + r] * first[r * inputs + at]);
                weights[row * inputs + at] += scale * terms.sum::<f32>();
            }
        }
        let weights: Vec<u8> = weights.iter().flat_map(|weight| weight.to_le_bytes()).collect();
        bytes[begin..begin + weights.len()].copy_from_slice(&weights);
    }
    fs::write(out, bytes).unwrap();
}

#[test]
fn an_adapted_model_says_what_the_merged_one_says() {
    let folder = tempfile::tempdir().unwrap();
    let (model, adapter) = (model(), adapter("7"));
    let merged_at = folder.path().join("merged.gguf");
    merged(&model, &adapter, 0.5, &merged_at);
    let path = adapter.display();
    let hub = hub(
        folder.path(),
        &[
            table("plain", &model, ""),
            table("adapted", &model, &format!("{{ path = \"{path}\", scale = 0.5 }}")),
            table("off", &model, &format!("{{ path = \"{path}\", scale = 0 }}")),
            table("merged", &merged_at, ""),
        ],
    );
    let prompt = prompt(100);
    let [plain, adapted, off, merged] =
        ["plain", "adapted", "off", "merged"].map(|name| said(&hub, name, &prompt).0);
    let texts =
        |said: &[(String, f64)]| said.iter().map(|(text, _)| text.clone()).collect::<Vec<_>>();
    assert_ne!(texts(&plain), texts(&adapted), "the adapter has no effect");
    assert_eq!(texts(&plain), texts(&off), "an adapter that does not act changes nothing");
    assert_eq!(texts(&adapted), texts(&merged));
    for ((token, one), (_, other)) in adapted.iter().zip(&merged) {
        assert!((one - other).abs() < TOLERANCE, "{token:?}: {one} and {other}");
    }
}

#[test]
fn another_adapter_finds_nothing_of_what_was_kept() {
    let folder = tempfile::tempdir().unwrap();
    let model = model();
    let prompt = prompt(700);
    // One after the other in the same file, as a person replaces it.
    let path = folder.path().join("adapter.gguf");
    let with = |scale: &str| {
        table("m", &model, &format!("{{ path = \"{}\", scale = {scale} }}", path.display()))
    };
    let ask = |tables: &[String]| {
        let before = count(&folder.path().join("kept"));
        let mut hub = hub(folder.path(), tables);
        let said = said(&hub, "m", &prompt);
        if said.1 == 0 {
            let written = || (count(&folder.path().join("kept")) > before).then_some(());
            within(PATIENCE, written).expect("what was computed is kept");
        }
        hub.terminate();
        assert!(hub.ended_within(PATIENCE).is_some_and(|status| status.success()));
        said
    };
    fs::copy(adapter("7"), &path).unwrap();
    let (first, cached) = ask(&[with("1")]);
    assert_eq!(cached, 0);
    let (again, cached) = ask(&[with("1")]);
    assert!(cached > 500, "the same adapter finds what was kept: {cached}");
    assert_eq!(first.len(), again.len());
    let (_, cached) = ask(&[with("0.5")]);
    assert_eq!(cached, 0, "another scale");
    let (_, cached) = ask(&[table("m", &model, "")]);
    assert_eq!(cached, 0, "no adapter");
    fs::copy(adapter("8"), &path).unwrap();
    let (other, cached) = ask(&[with("1")]);
    assert_eq!(cached, 0, "another adapter in the same file");
    assert_ne!(first, other);
}

#[test]
fn an_adapter_that_does_not_fit_is_refused_with_file_tensor_and_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let (model, fitting) = (model(), adapter("7"));
    let at = |name: &str| folder.path().join(name);
    let bytes = fs::read(&fitting).unwrap();
    fs::write(at("cut.gguf"), &bytes[..bytes.len() - 1000]).unwrap();
    fs::write(at("empty.gguf"), []).unwrap();
    let small = ["--arch", "qwen3", "--like", "small", "--quant", "f32", "--adapter", "4"];
    let small = made::model("qwen3-small-adapter", &small);
    let other = ["--arch", "llama", "--like", "tiny", "--quant", "f32", "--adapter", "4"];
    let other = made::model("llama-tiny-adapter", &other);
    let cases: [(PathBuf, &[&str]); 6] = [
        (small, &["blk.0.attn", "512 by 512", "trained on"]),
        (other, &["architecture llama", "trained on"]),
        (at("cut.gguf"), &["cut.gguf", "download it again"]),
        (at("empty.gguf"), &["empty.gguf"]),
        (at("missing.gguf"), &["missing.gguf", "put the file back"]),
        (model.clone(), &["is no adapter", "convert_lora_to_gguf.py"]),
    ];
    for (number, (path, words)) in cases.iter().enumerate() {
        let entry = format!("{{ path = \"{}\" }}", path.display());
        let folder = folder.path().join(number.to_string());
        fs::create_dir(&folder).unwrap();
        let hub = hub(&folder, &[table("m", &model, &entry)]);
        let body = json!({ "model": "m", "prompt": "hi", "max_tokens": 1 });
        let error = hub.post("/v1/completions", &body).error(400);
        let message = error["message"].as_str().unwrap();
        for word in *words {
            assert!(message.contains(word), "no {word} in: {message}");
        }
    }
}

/// The greedy answer with `lora` in the request, and how many tokens were found in the cache.
fn said_with(hub: &Hub, model: &str, lora: &Value, prompt: &[u32]) -> (Vec<(String, f64)>, u64) {
    let body = json!({ "model": model, "prompt": prompt, "max_tokens": 12, "temperature": 0,
                       "logprobs": 1, "ignore_eos": true, "lora": lora });
    read(&hub.post("/v1/completions", &body).ok())
}

fn texts(said: &[(String, f64)]) -> Vec<String> {
    said.iter().map(|(text, _)| text.clone()).collect()
}

/// Requests at once choose scales, by place and by name; each says what a model of a table of its own with those
/// scales says.
#[test]
fn each_request_has_the_adapters_that_it_chooses() {
    let folder = tempfile::tempdir().unwrap();
    let (model, one, other) = (model(), adapter("7"), adapter("8"));
    let entries = |scales: [f32; 2]| {
        let [one, other] = [&one, &other].map(|path| path.display());
        let [first, second] = scales;
        format!(
            "{{ path = \"{one}\", scale = {first}, name = \"law\" }}, {{ path = \"{other}\", scale = {second} }}"
        )
    };
    let other_name = other.file_stem().unwrap().to_str().unwrap();
    let choices = [
        (Value::Null, "own", [0.5, 0.25]),
        (json!([]), "own", [0.5, 0.25]),
        (json!([{ "id": 0, "scale": 1 }]), "first", [1.0, 0.0]),
        (json!([{ "id": "law", "scale": 0 }]), "off", [0.0, 0.0]),
        (
            json!([{ "id": other_name, "scale": -0.5 }, { "id": 0, "scale": 0.5 }]),
            "both",
            [0.5, -0.5],
        ),
    ];
    let mut tables: Vec<String> = choices[1..]
        .iter()
        .map(|(_, name, scales)| table(name, &model, &entries(*scales)))
        .collect();
    tables.push(table("m", &model, &entries([0.5, 0.25])));
    let hub = hub(folder.path(), &tables);
    let prompt = prompt(100);
    let expected: Vec<_> = choices.iter().map(|(_, name, _)| said(&hub, name, &prompt).0).collect();
    let chosen: Vec<_> = std::thread::scope(|scope| {
        let ask = |(lora, _, _): &(Value, &str, [f32; 2])| {
            let lora = lora.clone();
            scope.spawn(|| {
                let lora = lora;
                said_with(&hub, "m", &lora, &prompt).0
            })
        };
        let asked: Vec<_> = choices.iter().map(ask).collect();
        asked.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let different = [1, 2, 3, 4].map(|place| texts(&expected[place]));
    assert!((0..4).all(|one| !different[one + 1..].contains(&different[one])), "{different:?}");
    for ((lora, ..), (chosen, expected)) in choices.iter().zip(chosen.iter().zip(&expected)) {
        assert_eq!(texts(chosen), texts(expected), "{lora}");
        for ((token, one), (_, other)) in chosen.iter().zip(expected) {
            assert!((one - other).abs() < TOLERANCE, "{lora}: {token:?}: {one} and {other}");
        }
    }
}

/// In the context, and in files when the worker is another one.
#[test]
fn a_request_finds_what_was_kept_with_its_own_scales_alone() {
    let folder = tempfile::tempdir().unwrap();
    let entry = format!("{{ path = \"{}\" }}", adapter("7").display());
    let tables = [table("m", &model(), &entry)];
    let prompt = prompt(700);
    let half = json!([{ "id": 0, "scale": 0.5 }]);
    let mut first = hub(folder.path(), &tables);
    let kept = || count(&folder.path().join("kept"));
    let (with_half, cached) = said_with(&first, "m", &half, &prompt);
    assert_eq!(cached, 0);
    let (own, cached) = said(&first, "m", &prompt);
    assert_eq!(cached, 0, "another scale in the context");
    assert_ne!(texts(&with_half), texts(&own));
    let (again, cached) = said_with(&first, "m", &half, &prompt);
    assert_eq!((texts(&again), cached), (texts(&with_half), 699));
    within(PATIENCE, || (kept() >= 6).then_some(())).expect("blocks of both are kept");
    first.terminate();
    assert!(first.ended_within(PATIENCE).is_some_and(|status| status.success()));
    let second = hub(folder.path(), &tables);
    let third = json!([{ "id": 0, "scale": 0.25 }]);
    assert_eq!(said_with(&second, "m", &third, &prompt).1, 0, "a scale that nobody had");
    let (again, cached) = said_with(&second, "m", &half, &prompt);
    assert!(cached > 500, "{cached}");
    assert_eq!(texts(&again), texts(&with_half));
    assert!(said(&second, "m", &prompt).1 > 500, "the model's own");
}

#[test]
fn an_adapter_that_the_model_has_not_is_refused_with_those_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let entry = format!("{{ path = \"{}\", name = \"law\" }}", adapter("7").display());
    let tables = [table("m", &model(), &entry), table("plain", &model(), "")];
    let hub = hub(folder.path(), &tables);
    let messages = json!([{ "role": "user", "content": "hi" }]);
    for (name, words) in [("m", "0 'law'"), ("plain", "has none; list some as adapters")] {
        let lora = json!([{ "id": 1, "scale": 1.0 }]);
        for (path, body) in [
            ("/v1/completions", json!({ "model": name, "prompt": "hi", "lora": lora })),
            ("/v1/chat/completions", json!({ "model": name, "messages": messages, "lora": lora })),
            (
                "/infill",
                json!({ "model": name, "input_prefix": "a", "input_suffix": "b", "lora": lora }),
            ),
        ] {
            let error: Value = hub.post(path, &body).error(400);
            assert_eq!(error["param"], "lora", "{path}: {error}");
            let message = error["message"].as_str().unwrap();
            assert!(message.contains("adapter 1") && message.contains(words), "{path}: {message}");
        }
    }
    assert!(hub.workers().is_empty(), "nothing is loaded for it");
}
