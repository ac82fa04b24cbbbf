//! Lists of tensors: what the totals of the catalogue's models do not show.

use std::collections::BTreeSet;

use super::*;
use crate::catalogue::builtin;

fn metadata(architecture: &str, figures: &[(&str, u64)]) -> BTreeMap<String, Value> {
    let mut metadata: BTreeMap<String, Value> = figures
        .iter()
        .map(|(key, number)| (format!("{architecture}.{key}"), Value::Unsigned(*number)))
        .collect();
    let name = Value::String(architecture.to_owned());
    metadata.insert("general.architecture".to_owned(), name);
    metadata
}

const FIGURES: [(&str, u64); 5] = [
    ("block_count", 2),
    ("embedding_length", 64),
    ("feed_forward_length", 128),
    ("vocab_size", 512),
    ("attention.head_count", 4),
];

fn names(shapes: &[Shape]) -> Vec<&str> {
    shapes.iter().map(|shape| shape.name.as_str()).collect()
}

#[test]
fn a_llama_has_its_nine_tensors_a_layer_in_the_order_of_converters() {
    let shapes = list(&metadata("llama", &FIGURES), &Options::default()).unwrap();
    assert_eq!(
        names(&shapes)[..10],
        [
            "token_embd.weight",
            "blk.0.attn_norm.weight",
            "blk.0.attn_q.weight",
            "blk.0.attn_k.weight",
            "blk.0.attn_v.weight",
            "blk.0.attn_output.weight",
            "blk.0.ffn_norm.weight",
            "blk.0.ffn_gate.weight",
            "blk.0.ffn_up.weight",
            "blk.0.ffn_down.weight",
        ]
    );
    assert_eq!(names(&shapes)[19..], ["output_norm.weight", "output.weight"]);
    assert_eq!(shapes[9].dimensions, [128, 64]);
}

#[test]
fn options_add_and_leave_out() {
    let options = Options { tied: true, rotary_table: true };
    let shapes = list(&metadata("llama", &FIGURES), &options).unwrap();
    assert!(names(&shapes).contains(&"rope_freqs.weight"));
    assert!(!names(&shapes).contains(&"output.weight"));
    let shapes = list(&metadata("phi3", &FIGURES), &options).unwrap();
    assert!(names(&shapes).contains(&"rope_factors_long.weight"));
}

#[test]
fn every_name_of_every_model_is_distinct_and_fits_into_ggmls_64_bytes() {
    for entry in builtin().entries() {
        let Ok(shapes) = entry.shapes() else { continue };
        let distinct: BTreeSet<&str> = names(&shapes).into_iter().collect();
        assert_eq!(distinct.len(), shapes.len(), "{}", entry.name);
        assert!(distinct.iter().all(|name| name.len() < 64), "{}", entry.name);
        assert!(shapes.iter().all(|shape| !shape.dimensions.contains(&0)), "{}", entry.name);
    }
}

#[test]
fn every_architecture_of_the_list_gives_tensors_or_says_what_it_lacks() {
    for architecture in ARCHITECTURES {
        match list(&metadata(architecture, &FIGURES), &Options::default()) {
            Ok(shapes) => assert!(shapes.len() > 10, "{architecture}"),
            Err(Error::Missing { key }) => assert!(key.starts_with(architecture), "{key}"),
            Err(other) => panic!("{architecture}: {other}"),
        }
    }
}

#[test]
fn what_cannot_be_is_refused_and_named() {
    let error = list(&metadata("rwkv9", &FIGURES), &Options::default()).unwrap_err();
    assert!(error.to_string().contains("architecture `rwkv9`"), "{error}");
    let error = list(&metadata("llama", &FIGURES[..2]), &Options::default()).unwrap_err();
    assert!(error.to_string().contains("`llama.vocab_size` is missing"), "{error}");
    let mut endless = metadata("llama", &FIGURES);
    endless.insert("llama.block_count".to_owned(), Value::Unsigned(u64::MAX));
    let error = list(&endless, &Options::default()).unwrap_err();
    assert!(error.to_string().contains("at most 512"), "{error}");
    let mut backwards = metadata("llama", &FIGURES);
    backwards.insert("llama.nextn_predict_layers".to_owned(), Value::Unsigned(3));
    let error = list(&backwards, &Options::default()).unwrap_err();
    assert!(error.to_string().contains("at most the block_count of 2"), "{error}");
}

#[test]
fn gemma_4_has_what_its_loader_asks_for() {
    let mut metadata = metadata("gemma4", &FIGURES);
    let mut set = |key: &str, value| metadata.insert(format!("gemma4.{key}"), value);
    set("attention.key_length", Value::Unsigned(32));
    set("attention.key_length_swa", Value::Unsigned(16));
    set("attention.head_count_kv", Value::Unsigned(2));
    set("attention.shared_kv_layers", Value::Unsigned(1));
    set("embedding_length_per_layer_input", Value::Unsigned(8));
    let slides = vec![Value::Bool(true), Value::Bool(false)];
    let pattern = crate::gguf::Array {
        element: crate::gguf::ElementType::Bool,
        len: 2,
        place: 0..0,
        kept: Some(slides),
    };
    set("attention.sliding_window_pattern", Value::Array(pattern));
    let shapes = list(&metadata, &Options { tied: true, rotary_table: false }).unwrap();
    let find = |name: &str| shapes.iter().find(|shape| shape.name == name);
    assert_eq!(find("blk.0.attn_q.weight").unwrap().dimensions, [64, 64]);
    assert_eq!(find("blk.1.attn_q.weight").unwrap().dimensions, [64, 128]);
    assert!(find("blk.0.attn_k.weight").is_some());
    assert!(find("blk.1.attn_k.weight").is_none(), "the last layer reads an earlier cache");
    assert_eq!(find("per_layer_token_embd.weight").unwrap().dimensions, [16, 512]);
    assert_eq!(find("rope_freqs.weight").unwrap().dimensions, [16]);
}
