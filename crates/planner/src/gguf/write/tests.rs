//! What is written is read back.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::gguf::{self, TensorType};

fn single() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u64>().prop_map(Value::Unsigned),
        (0..1000_u64).prop_map(Value::Unsigned),
        any::<i64>().prop_map(Value::Signed),
        (-1000..1000_i64).prop_map(Value::Signed),
        any::<f64>().prop_map(Value::Float),
        any::<f32>().prop_map(|number| Value::Float(number.into())),
        any::<bool>().prop_map(Value::Bool),
        ".{0,40}".prop_map(Value::String),
    ]
}

/// Elements of one type, with values that it can hold.
fn array() -> impl Strategy<Value = Value> {
    let len = 0..20_usize;
    let of = |element| {
        move |kept: Vec<Value>| {
            let len = kept.len() as u64;
            Value::Array(Array { element, len, place: 0..0, kept: Some(kept) })
        }
    };
    let many = proptest::collection::vec::<BoxedStrategy<Value>>;
    prop_oneof![
        many(any::<u8>().prop_map(|n| Value::Unsigned(n.into())).boxed(), len.clone())
            .prop_map(of(ElementType::U8)),
        many(any::<i16>().prop_map(|n| Value::Signed(n.into())).boxed(), len.clone())
            .prop_map(of(ElementType::I16)),
        many(any::<i32>().prop_map(|n| Value::Signed(n.into())).boxed(), len.clone())
            .prop_map(of(ElementType::I32)),
        many(any::<f32>().prop_map(|n| Value::Float(n.into())).boxed(), len.clone())
            .prop_map(of(ElementType::F32)),
        many(any::<bool>().prop_map(Value::Bool).boxed(), len.clone())
            .prop_map(of(ElementType::Bool)),
        many(".{0,20}".prop_map(Value::String).boxed(), len).prop_map(of(ElementType::String)),
    ]
}

fn header() -> impl Strategy<Value = Header> {
    let keys = proptest::collection::btree_map("[a-z]{1,8}\\.[a-z]{1,8}", value(), 0..20);
    let tensors = proptest::collection::vec((1..9_u64, 1..5_u64, any::<bool>()), 0..20);
    (keys, tensors).prop_map(|(metadata, shapes)| {
        let mut offset = 0;
        let tensors = shapes.into_iter().enumerate().map(|(number, (blocks, rows, quantized))| {
            let kind = if quantized { TensorType::Q8_0 } else { TensorType::F32 };
            let dimensions = [blocks * 32, rows, 1, 1];
            let bytes = kind.bytes(blocks * 32 * rows).unwrap();
            let tensor = Tensor { name: format!("t{number}"), dimensions, kind, offset, bytes };
            offset += bytes.next_multiple_of(32);
            tensor
        });
        let tensors = tensors.collect();
        usable(Header { version: 3, metadata, tensors, alignment: 32, data_offset: 0 })
    })
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![4 => single(), 1 => array()]
}

/// With the keys that every file needs.
fn usable(mut header: Header) -> Header {
    header.metadata.retain(|key, _| !key.starts_with("general.") && !key.starts_with("x."));
    let text = |text: &str| Value::String(text.to_owned());
    header.metadata.insert("general.architecture".to_owned(), text("x"));
    for key in ["block_count", "context_length", "embedding_length"] {
        header.metadata.insert(format!("x.{key}"), Value::Unsigned(1));
    }
    header
}

/// Without the places, which are different in other bytes; floats by their bits, so that NaN is
/// itself.
fn comparable(header: &Header) -> (BTreeMap<String, String>, &[Tensor]) {
    let text = |value: &Value| {
        let Value::Array(array) = value else { return format!("{value:?}") };
        format!("{:?} {} {:?}", array.element, array.len, array.kept)
    };
    let metadata = header.metadata.iter().map(|(key, value)| (key.clone(), text(value)));
    (metadata.collect(), &header.tensors)
}

proptest! {
    #[test]
    fn a_header_is_read_back_as_it_was_written(header in header()) {
        let bytes = write(&header).unwrap();
        let file_bytes = bytes.len() as u64 + header.tensor_bytes();
        let read = gguf::parse(&bytes, file_bytes).unwrap();
        prop_assert_eq!(comparable(&read), comparable(&header));
        prop_assert_eq!(read.data_offset, bytes.len() as u64);
        prop_assert_eq!(write(&read).unwrap(), bytes);
    }
}

#[test]
fn numbers_have_the_widths_that_llama_cpp_asks_for() {
    for (key, value, expected) in [
        ("a.b", Value::Unsigned(7), ElementType::U32),
        ("a.b", Value::Unsigned(1 << 40), ElementType::U64),
        ("split.count", Value::Unsigned(3), ElementType::U16),
        ("split.tensors.count", Value::Signed(3), ElementType::I32),
        ("a.b", Value::Float(f64::from(1e-6_f32)), ElementType::F32),
        ("a.b", Value::Float(1e-6), ElementType::F64),
        ("a.b", Value::Bool(true), ElementType::Bool),
    ] {
        assert_eq!(element_type(key, &value), Ok(expected), "{key} {value:?}");
    }
}

#[test]
fn what_the_reader_passed_over_cannot_be_written() {
    let array = Array { element: ElementType::String, len: 9, place: 0..99, kept: None };
    for value in [Value::Array(array), Value::LongString { place: 0..9 }] {
        let keys = [("tokens", &value)];
        let error = ordered(3, keys, &[], 32).unwrap_err();
        assert_eq!(error, Error::NotKept { key: "tokens".to_owned() });
    }
}

#[test]
fn an_array_of_mixed_types_is_refused() {
    let kept = Some(vec![Value::Signed(1), Value::Bool(true)]);
    let value = Value::Array(Array { element: ElementType::I32, len: 2, place: 0..0, kept });
    let error = ordered(3, [("k", &value)], &[], 32).unwrap_err().to_string();
    assert_eq!(error, "`k` is an array of I32, but its element 1 is Bool(true)");
}
