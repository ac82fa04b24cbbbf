//! `resident bench cache` and `constraint` on small models: what they say must come from where they say, and
//! add up.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::hub::binary;
use crate::made;

const PROMPT_TOKENS: u64 = 600;

/// What `resident bench` with these arguments prints as JSON. Its files lie in the target folder,
/// since temporary folders are in memory on some machines.
fn bench(arguments: &[&str]) -> Value {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let output = Command::new(binary("resident"))
        .arg("bench")
        .args(arguments)
        .args(["--json", "--threads", "1", "--data-dir"])
        .arg(folder.path())
        .env("TMPDIR", folder.path())
        .env("RESIDENT_WORKER", binary("resident-llama"))
        // No llama-server, wherever this runs.
        .env("PATH", folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}:\n{said}"))
}

fn tiny(architecture: &str) -> PathBuf {
    let name = format!("{architecture}-tiny-1");
    made::model(
        &name,
        &["--arch", architecture, "--like", "tiny", "--quant", "q8_0", "--seed", "1"],
    )
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn a_long_prompt_is_measured_from_every_tier() {
    let (one, other) = (tiny("llama"), tiny("qwen3"));
    let tokens = PROMPT_TOKENS.to_string();
    let rest = ["--prompt-tokens", &tokens, "--rounds", "2"];
    let measured = bench(&[&["cache", text(&one), "--other", text(&other)], &rest[..]].concat());

    let samples = measured["samples"].as_array().unwrap();
    let of =
        |case: &str| samples.iter().filter(|sample| sample["case"] == case).collect::<Vec<_>>();
    assert_eq!(of("cold").len(), 1);
    let tiers = [
        ("live", "live"),
        ("ram", "ram"),
        ("ssd_warm", "ssd"),
        ("ssd_cold", "ssd"),
        ("switch", "ssd"),
        ("restart", "ssd"),
    ];
    let mut bytes = Vec::new();
    for (case, tier) in tiers {
        assert_eq!(of(case).len(), 2, "{case}");
        for sample in of(case) {
            assert_eq!(sample["came"][tier], PROMPT_TOKENS - 1, "{sample}");
            assert!(sample["first_token_ms"].as_f64().unwrap() > 0.0, "{sample}");
            assert!(sample["decode_ms"].as_f64().unwrap() > 0.0, "{sample}");
            assert_eq!(sample["load_ms"].is_number(), ["switch", "restart"].contains(&case));
            assert_eq!(sample["plain"].is_object(), tier == "ssd", "{sample}");
            if tier == "ssd" {
                assert_eq!(sample["plain"]["bytes"], sample["bytes"]);
            }
            if tier != "live" {
                bytes.push(sample["bytes"].as_u64().unwrap());
            }
        }
    }
    // The same prefix each time: 600 tokens in three files.
    assert!(bytes[0] > 600 && bytes.iter().all(|one| *one == bytes[0]), "{bytes:?}");
    assert_eq!(measured["reach"].as_array().unwrap().len(), 4);
    assert!(measured["llama_server"].is_null());
}

#[test]
fn what_the_cache_costs_is_measured_on_equal_turns() {
    let model = tiny("llama");
    let measured = bench(&[
        "cache",
        text(&model),
        "--cost",
        "--prompt-tokens",
        "300",
        "--tokens",
        "8",
        "--rounds",
        "2",
    ]);
    let sides = measured["sides"].as_array().unwrap();
    let caches: Vec<&str> = sides.iter().map(|side| side["cache"].as_str().unwrap()).collect();
    assert_eq!(caches, ["off", "ram", "ssd", "off"]);
    for side in sides {
        let turns = side["turns"].as_array().unwrap();
        assert_eq!(turns.len(), 2);
        for figure in ["prefill_tokens_per_s", "decode_tokens_per_s", "whole_tokens_per_s"] {
            assert!(turns.iter().all(|turn| turn[figure].as_f64().unwrap() > 0.0), "{figure}");
        }
    }
    assert_eq!(measured["reach"].as_array().unwrap().len(), 6);
}

#[test]
fn held_answers_are_measured_beside_free_ones() {
    let model = tiny("llama");
    let measured = bench(&["constraint", text(&model), "--tokens", "48", "--rounds", "3"]);
    for speeds in ["free_tokens_per_s", "held_tokens_per_s"] {
        let speeds = measured[speeds].as_array().unwrap();
        assert_eq!(speeds.len(), 3);
        assert!(speeds.iter().all(|speed| speed.as_f64().unwrap() > 0.0), "{speeds:?}");
    }
    assert!(measured["share"]["mean"].as_f64().unwrap() > 0.0);
    assert_eq!(measured["reach"].as_array().unwrap().len(), 1);
}
