//! Names of parts, and headers of parts that belong together and that do not.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::gguf::{self, Tensor, TensorType, Value};

#[test]
fn one_name_gives_all() {
    let all = [
        "Q8_0/qwen-of-many-00001-of-00003.gguf",
        "Q8_0/qwen-of-many-00002-of-00003.gguf",
        "Q8_0/qwen-of-many-00003-of-00003.gguf",
    ];
    for name in all {
        assert_eq!(names(name).unwrap(), all);
    }
}

#[test]
fn a_name_without_numbers_is_alone() {
    for name in
        ["a.gguf", "a-1-of-2.gguf", "a-00001-of-00002", "00001-of-00002.gguf", "-of-.gguf", ""]
    {
        assert_eq!(names(name).unwrap(), [name]);
    }
}

#[test]
fn numbers_that_cannot_be_are_refused_with_the_name() {
    for name in [
        "a-00000-of-00002.gguf",
        "a-00003-of-00002.gguf",
        "a-00001-of-00000.gguf",
        "a-00001-of-01025.gguf",
        "a-00001-of-99999999999999.gguf",
        "a-00001-of-99999999999999999999999999.gguf",
        "a-100001-of-100002.gguf",
    ] {
        let message = names(name).unwrap_err().to_string();
        assert!(message.contains(name), "{message}");
    }
}

#[test]
fn zeros_that_llama_cpp_does_not_write_are_refused_with_both_names() {
    for (name, expected) in [
        ("d/a-000001-of-000010.gguf", "d/a-00001-of-00010.gguf"),
        ("a-000001-of-00010.gguf", "a-00001-of-00010.gguf"),
        ("a-00001-of-000010.gguf", "a-00001-of-00010.gguf"),
        ("a-0000000000000000000000000001-of-00010.gguf", "a-00001-of-00010.gguf"),
    ] {
        let message = names(name).unwrap_err().to_string();
        assert!(message.contains(name) && message.contains(expected), "{message}");
    }
}

fn tensor(name: &str) -> Tensor {
    Tensor {
        name: name.to_owned(),
        dimensions: [8, 1, 1, 1],
        kind: TensorType::from_number(0).unwrap(),
        offset: 0,
        bytes: 32,
    }
}

/// Part `index` of `count`, as `llama-gguf-split` writes it.
fn part(index: u64, count: u64, tensors: &[&str]) -> Header {
    let mut metadata = BTreeMap::from([
        ("split.no".to_owned(), Value::Unsigned(index)),
        ("split.count".to_owned(), Value::Unsigned(count)),
        ("split.tensors.count".to_owned(), Value::Signed(3)),
    ]);
    if index == 0 {
        let key = |key: &str| format!("llama.{key}");
        metadata.insert("general.architecture".to_owned(), Value::String("llama".to_owned()));
        metadata.insert(key("block_count"), Value::Unsigned(1));
        metadata.insert(key("context_length"), Value::Unsigned(64));
        metadata.insert(key("embedding_length"), Value::Unsigned(8));
        metadata.insert(key("attention.head_count"), Value::Unsigned(2));
    }
    let tensors = tensors.iter().map(|name| tensor(name)).collect();
    Header { version: 3, metadata, tensors, alignment: 32, data_offset: 0 }
}

#[test]
fn parts_in_any_order_make_one_header() {
    let parts = [part(0, 3, &["a"]), part(1, 3, &["b"]), part(2, 3, &["c"])];
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let whole = join(order.map(|index: usize| parts[index].clone()).into()).unwrap();
        let names: Vec<&str> = whole.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(whole.architecture(), "llama");
        assert_eq!(whole.tensor_bytes(), 3 * 32);
        assert!(whole.is_model());
    }
}

#[test]
fn a_first_part_without_tensors_still_makes_a_model() {
    let first = part(0, 2, &[]);
    assert!(!first.is_model());
    let whole = join(vec![first, part(1, 2, &["a", "b", "c"])]).unwrap();
    assert!(whole.is_model());
}

#[test]
fn a_header_that_is_not_split_comes_back() {
    let mut header = part(0, 1, &["a"]);
    header.metadata.retain(|key, _| !key.starts_with("split."));
    assert_eq!(join(vec![header.clone()]).unwrap(), header);
}

#[test]
fn what_does_not_belong_is_named() {
    let (first, second) = (|| part(0, 2, &["a", "b"]), || part(1, 2, &["c"]));
    let cases = [
        (vec![], "part 1 of 1 is missing"),
        (vec![first()], "part 2 of 2 is missing"),
        (vec![second()], "part 1 of 2 is missing"),
        (vec![part(0, 3, &["a"]), part(2, 3, &["b"])], "part 2 of 3 is missing"),
        (vec![first(), second(), second()], "two of part 2 of 2"),
        (vec![first(), first(), second()], "two of part 1 of 2"),
        (vec![first(), part(1, 3, &["c"])], "part 2 says that there are 3 parts"),
        (vec![first(), part(7, 2, &["c"])], "part 2 of 2 is missing"),
        (vec![first(), part(1, 2, &["c", "d"])], "have 4 tensors together and should have 3"),
        (vec![first(), part(1, 2, &["a"])], "tensor `a` is in two parts"),
        (vec![part(0, u64::MAX, &["a"])], "is missing"),
    ];
    for (parts, expected) in cases {
        let message = join(parts).unwrap_err().to_string();
        assert!(message.contains(expected), "{expected}: {message}");
    }
}

#[test]
fn metadata_that_is_unusable_only_together_is_refused() {
    let mut first = part(0, 2, &[]);
    first.metadata.remove("llama.block_count");
    let message = join(vec![first, part(1, 2, &["a", "b", "c"])]).unwrap_err().to_string();
    assert!(message.contains("llama.block_count"), "{message}");
}

/// The bytes of a further part: no architecture, two keys, no tensors.
fn further_part(index: u32, extra_key: &str, extra: u32) -> Vec<u8> {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3_u32.to_le_bytes());
    bytes.extend(0_u64.to_le_bytes());
    bytes.extend(2_u64.to_le_bytes());
    for (key, value) in [("split.no", index), (extra_key, extra)] {
        bytes.extend((key.len() as u64).to_le_bytes());
        bytes.extend(key.as_bytes());
        bytes.extend(4_u32.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    bytes
}

#[test]
fn a_further_part_is_read_without_architecture_and_is_no_model() {
    let bytes = further_part(1, "split.count", 2);
    let header = gguf::parse(&bytes, bytes.len() as u64).unwrap();
    assert_eq!(header.architecture(), "");
    assert!(!header.is_model());
    let first = further_part(0, "split.count", 2);
    let error = gguf::parse(&first, first.len() as u64).unwrap_err();
    assert!(error.to_string().contains("general.architecture"), "{error}");
    // What formulas loop over stays bounded, whatever the part claims.
    let hostile = further_part(1, ".block_count", u32::MAX);
    assert!(gguf::parse(&hostile, hostile.len() as u64).is_err());
}

proptest! {
    #[test]
    fn any_name_gives_names_or_an_error(name in "[a-z-]{0,4}(-[0-9]{4,6}-of-[0-9]{4,6})?(.gguf)?") {
        if let Ok(names) = names(&name) {
            prop_assert!(names.contains(&name));
        }
    }
}
