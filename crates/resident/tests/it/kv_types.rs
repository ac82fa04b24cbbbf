//! Keys and values in fewer bits: served, booked as such, and never taken for another type's.

use std::path::Path;

use planner::footprint::{self, CacheType, Layout};
use planner::gguf;
use serde_json::Value;

use crate::hub::Hub;
use crate::kept::{ask, cached, prompt, text, tiny, until_kept};

/// As the worker has it: beside those for requests, one for internal use.
const SEQUENCES: u32 = 8 + 1;

/// A hub that keeps keys and values of the model `m` so, and its files in `folder`.
fn hub(folder: &Path, path: &Path, kv_type: &str) -> Hub {
    let text = format!(
        "threads = 1\n[kv]\nfolder = '{}'\ntype = \"{kv_type}\"\n[models.m]\npath = '{}'\n",
        folder.join("kv").display(),
        path.display()
    );
    Hub::configured(folder, &text)
}

fn model_of(answer: &Value) -> &Value {
    answer["models"].as_array().unwrap().iter().find(|model| model["name"] == "m").unwrap()
}

#[test]
fn a_prefix_comes_back_in_its_own_type_and_is_not_found_by_another() {
    for architecture in ["llama", "gemma3"] {
        let (folder, path) = (tempfile::tempdir().unwrap(), tiny(architecture, "1"));
        let tokens = prompt(600, 3);
        for (types, kv_type) in (1..).zip(["f16", "q8_0", "q4_0"]) {
            let mut first = hub(folder.path(), &path, kv_type);
            let cold = ask(&first, "m", &tokens).ok();
            assert_eq!(cached(&cold), 0, "{architecture}: {kv_type} finds another type's");
            let before = ask(&first, "m", &tokens).ok();
            assert_eq!(cached(&before), 599);
            assert_eq!(first.resident()["kv_type"], kv_type);
            // Three entries of each type so far.
            until_kept(folder.path(), 3 * types);
            first.kill();
            let second = hub(folder.path(), &path, kv_type);
            let after = ask(&second, "m", &tokens).ok();
            assert_eq!(cached(&after), 599, "{architecture} {kv_type}:\n{}", second.log());
            assert_eq!(text(&after), text(&before), "{architecture} {kv_type}");
        }
    }
}

#[test]
fn a_smaller_cache_is_booked_as_such_and_laid_out_so() {
    let (folder, path) = (tempfile::tempdir().unwrap(), tiny("qwen3", "1"));
    let bytes = std::fs::read(&path).unwrap();
    let header = gguf::parse(&bytes, bytes.len() as u64).unwrap();
    for kind in [CacheType::F16, CacheType::Q8_0, CacheType::Q4_0] {
        let hub = hub(folder.path(), &path, kind.name());
        let models = hub.control("/resident/v1/models");
        let facts = &model_of(&models)["facts"];
        assert_eq!(facts["kv_type"], kind.name());
        let context = u32::try_from(facts["context_tokens"].as_u64().unwrap()).unwrap();
        let layout = Layout { keys: kind, values: kind, ..Layout::new(context, SEQUENCES) };
        let planned = footprint::predict(&header, &layout);
        ask(&hub, "m", &prompt(40, 3)).ok();
        let ps = hub.resident();
        let needed_bytes = facts["needed_bytes"].as_u64().unwrap();
        assert!(ps["booked_bytes"].as_u64().unwrap() >= needed_bytes, "{ps}");
        let kept_bytes = needed_bytes - planned.total_bytes();
        // What is kept in RAM comes on top, in proportion to the rest.
        assert!(kept_bytes <= (planned.total_bytes() / 8).max(16 << 20), "{kept_bytes}");
        // What llama.cpp says of its cache, to a hundredth of a MiB.
        let log = std::fs::read_to_string(hub.data_dir().join("logs/m.log")).unwrap();
        let line = log.lines().find(|line| line.contains("KV buffer size")).expect(&log);
        let mib: f64 =
            line.split('=').nth(1).unwrap().trim().trim_end_matches("MiB").trim().parse().unwrap();
        let planned_mib = planned.bytes_of(footprint::CACHE) as f64 / 1_048_576.0;
        assert!((mib - planned_mib).abs() < 0.01, "{kind:?}: {line}, planned {planned_mib}");
    }
}

#[test]
fn a_type_that_the_model_cannot_have_is_refused_in_words_before_anything_starts() {
    use crate::gguf::File;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.gguf");
    std::fs::write(&path, File::small().bytes()).unwrap();
    let hub = hub(folder.path(), &path, "q8_0");
    let refused = ask(&hub, "m", &[1, 2, 3]);
    let message = refused.error(400)["message"].as_str().unwrap().to_owned();
    for part in ["as [kv] type or kv_type says", "q8_0 come in blocks of 32", "keep them as f16"] {
        assert!(message.contains(part), "'{part}' is missing in: {message}");
    }
    assert_eq!(hub.workers().len(), 0);
}
