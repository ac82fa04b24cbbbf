//! Sounds from a client to llama.cpp: what is in them changes what is said, and what a file says of itself costs
//! nobody his worker.
//!
//! Models and projectors have random weights. How sounds are read is tested in `llama-worker/src/sound`.

use std::path::Path;

use serde_json::{Value, json};

use crate::hub::Hub;
use crate::made;
use crate::seeing::base64;

const CHAT: &str = "/v1/chat/completions";
const RATE: u32 = 16_000;

/// A hub with a model that hears.
fn start(folder: &Path) -> Hub {
    let model = made::model(
        "qwen3-tiny-q8_0-hearing",
        &["--arch", "qwen3", "--like", "tiny", "--quant", "q8_0"],
    );
    let projector = made::model(
        "projector-qwen3-tiny-ultravox",
        &["--arch", "qwen3", "--like", "tiny", "--quant", "f32", "--projector", "ultravox"],
    );
    let text = format!(
        "[models.hearing]\npath = {:?}\nprojector = {:?}\ncontext = 2048\n",
        model.display().to_string(),
        projector.display().to_string(),
    );
    Hub::configured_with(folder, &text, |_| {})
}

/// So many samples of a tone, in a WAV whose head says that it has `said` bytes of them.
fn tone(hertz: f32, samples: u32, said: u32) -> Vec<u8> {
    let mut file = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
    file.extend(RATE.to_le_bytes());
    file.extend((2 * RATE).to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend(said.to_le_bytes());
    let sample = |at: u32| (at as f32 / RATE as f32 * hertz * std::f32::consts::TAU).sin();
    file.extend((0..samples).flat_map(|at| ((sample(at) * 20_000.0) as i16).to_le_bytes()));
    file
}

fn asked(file: &[u8], format: &str) -> Value {
    let sound = json!({ "data": base64(file), "format": format });
    let content = json!([
        { "type": "input_audio", "input_audio": sound },
        { "type": "text", "text": "what is it?" },
    ]);
    json!({
        "model": "hearing", "temperature": 0, "max_tokens": 12,
        "messages": [{ "role": "user", "content": content }],
    })
}

fn said(answer: &Value) -> String {
    answer["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
}

#[test]
fn what_is_in_a_sound_changes_what_is_said_and_its_end_is_where_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path());
    let ask = |file: &[u8]| hub.post(CHAT, &asked(file, "wav")).ok();
    let low = ask(&tone(200.0, RATE, 2 * RATE));
    let high = ask(&tone(3000.0, RATE, 2 * RATE));
    assert_ne!(said(&low), said(&high));
    // As programs write it that do not know yet how much comes.
    let streamed = ask(&tone(200.0, RATE, u32::MAX));
    assert_eq!(said(&streamed), said(&low));
    assert_eq!(streamed["usage"]["prompt_tokens"], low["usage"]["prompt_tokens"]);
}

#[test]
fn a_sound_of_nothing_or_of_years_leaves_the_worker_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path());
    let ask = |file: &[u8], format| hub.post(CHAT, &asked(file, format));
    let low = tone(200.0, RATE, 2 * RATE);
    let before = said(&ask(&low, "wav").ok());
    let workers: Vec<u32> = hub.workers().iter().map(|worker| worker.pid()).collect();
    // A single sample, which ends in silence.
    ask(&tone(200.0, 1, 2), "wav").ok();
    // A frame of 417 bytes that says it is one of some million, and samples that are packed.
    let mut years = vec![0xff, 0xfb, 0x90, 0x00];
    years.resize(36, 0);
    years.extend(b"Xing\0\0\0\x01\0\x38\0\0");
    years.resize(417, 0);
    let mut packed = low.clone();
    packed[20] = 2;
    for (file, format, why) in
        [(years, "mp3", "there is no sound in it"), (packed, "wav", "a WAV of kind 2")]
    {
        let message = ask(&file, format).error(400)["message"].to_string();
        assert!(message.contains("file 1") && message.contains(why), "{message}");
    }
    assert_eq!(said(&ask(&low, "wav").ok()), before);
    let after: Vec<u32> = hub.workers().iter().map(|worker| worker.pid()).collect();
    assert_eq!(after, workers);
}
