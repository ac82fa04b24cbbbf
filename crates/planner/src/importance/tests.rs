//! Both forms, what does not belong to a model, and bytes that no honest program writes.

use proptest::prelude::*;

use super::*;
use crate::{
    gguf::{Value, write},
    recipe,
    tensors::Shape,
};

/// The same importance in both forms: of two experts the second was never chosen.
const VALUES: [f32; 8] = [1.0, 2.0, 3.0, 4.0, 1.0, 1.0, 1.0, 1.0];

fn tensor(name: &str, dimensions: [u64; 4], offset: u64) -> Tensor {
    let bytes = dimensions.iter().product::<u64>() * 4;
    Tensor { name: name.to_owned(), dimensions, kind: TensorType::F32, offset, bytes }
}

fn gguf_file(keys: &[(&str, Value)], tensors: &[Tensor], data: &[f32]) -> Vec<u8> {
    let keys = keys.iter().map(|(key, value)| (*key, value));
    let mut bytes = write::ordered(3, keys, tensors, 32).unwrap();
    bytes.extend(data.iter().flat_map(|number| number.to_le_bytes()));
    bytes
}

fn imatrix() -> Vec<(&'static str, Value)> {
    vec![
        ("general.type", Value::String("imatrix".to_owned())),
        ("imatrix.chunk_count", Value::Unsigned(7)),
    ]
}

fn usual() -> Vec<u8> {
    let tensors = [
        tensor("blk.0.ffn_up_exps.weight.counts", [1, 2, 1, 1], 0),
        tensor("blk.0.ffn_up_exps.weight.in_sum2", [4, 2, 1, 1], 32),
    ];
    let mut data = vec![10.0, 0.0];
    data.resize(8, 0.0);
    data.extend([10.0, 20.0, 30.0, 40.0, 5.0, 6.0, 7.0, 8.0]);
    gguf_file(&imatrix(), &tensors, &data)
}

fn legacy_entry(name: &str, calls: u32, values: &[f32]) -> Vec<u8> {
    let mut bytes = (name.len() as u32).to_le_bytes().to_vec();
    bytes.extend(name.as_bytes());
    bytes.extend(calls.to_le_bytes());
    bytes.extend((values.len() as u32).to_le_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

fn legacy(entries: &[Vec<u8>]) -> Vec<u8> {
    [(entries.len() as u32).to_le_bytes().to_vec(), entries.concat()].concat()
}

/// What became of bytes that are no matrix.
#[track_caller]
fn refused(bytes: &[u8], parts: &[&str]) {
    let message = Matrix::read(bytes).unwrap_err().to_string();
    for part in parts {
        assert!(message.contains(part), "'{part}' is missing in: {message}");
    }
}

#[test]
fn sums_are_divided_by_their_counts_and_what_was_never_reached_is_one() {
    let matrix = Matrix::read(&usual()).unwrap();
    assert_eq!(matrix.chunks, Some(7));
    assert_eq!(matrix.entries["blk.0.ffn_up_exps.weight"], VALUES);
    assert_eq!(matrix.entries.len(), 1);
}

#[test]
fn the_older_form_says_the_same() {
    let scaled = VALUES.map(|value| value * 3.0);
    let mut bytes = legacy(&[legacy_entry("a", 3, &scaled), legacy_entry("b", 0, &[0.5])]);
    let matrix = Matrix::read(&bytes).unwrap();
    assert_eq!(matrix.entries["a"], VALUES);
    assert_eq!(matrix.entries["b"], [0.5]);
    // The last call and the name of the text.
    bytes.extend([9, 0, 0, 0, 5, 0, 0, 0]);
    bytes.extend(b"a.txt");
    assert_eq!(Matrix::read(&bytes).unwrap(), matrix);
}

#[test]
fn what_is_no_matrix_says_what_it_is() {
    refused(b"", &["is no importance matrix", "llama-imatrix"]);
    refused(b"<html>Not found</html>", &["neither as GGUF nor"]);
    let model = [
        ("general.architecture", Value::String("qwen3".to_owned())),
        ("general.type", Value::String("adapter".to_owned())),
    ];
    refused(&gguf_file(&model, &[], &[]), &["is no importance matrix", "'qwen3'"]);
    refused(&gguf_file(&imatrix(), &[], &[]), &["no entries"]);
    let whole = usual();
    refused(&whole[..whole.len() - 1], &["cannot be read", "truncated"]);
    refused(&whole[..40], &["cannot be read"]);
}

#[test]
fn a_broken_entry_is_named() {
    let counts = |dimensions| tensor("x.counts", dimensions, 0);
    let sums = |dimensions| tensor("x.in_sum2", dimensions, 32);
    let data = |count: f32, sum: f32| {
        let mut data = vec![count; 8];
        data.extend([sum; 8]);
        data
    };
    let file = |tensors: &[Tensor], data: &[f32]| gguf_file(&imatrix(), tensors, data);
    let one = data(1.0, 1.0);
    refused(
        &file(&[sums([8, 1, 1, 1])].map(|t| Tensor { offset: 0, ..t }), &one),
        &["`x`", "no counts"],
    );
    refused(&file(&[counts([1, 1, 1, 1])], &one), &["`x`", "no sums"]);
    let two = [counts([2, 1, 1, 1]), sums([4, 1, 1, 1])];
    refused(&file(&two, &one), &["`x` has 4 sums and 2 counts"]);
    let halves =
        [counts([1, 1, 1, 1]), Tensor { kind: TensorType::F16, bytes: 8, ..sums([4, 1, 1, 1]) }];
    refused(&file(&halves, &one), &["`x.in_sum2` is F16"]);
    let right = [counts([1, 1, 1, 1]), sums([4, 1, 1, 1])];
    assert!(Matrix::read(&file(&right, &one)).is_ok());
    for sum in [f32::NAN, f32::INFINITY, -1.0] {
        refused(&file(&right, &data(1.0, sum)), &["an importance of `x` is"]);
    }
    refused(&file(&right, &data(f32::MIN_POSITIVE, 3e38)), &["`x` is inf"]);
}

#[test]
fn a_broken_entry_of_the_older_form_is_named() {
    let entry = || legacy_entry("x", 1, &[1.0]);
    for (bytes, part) in [
        (legacy(&[entry(), entry()]), "`x` is in it twice"),
        (legacy(&[legacy_entry("x", 1, &[])]), "`x` has no values"),
        (legacy(&[legacy_entry("", 1, &[1.0])]), "the name of entry 1 has 0 bytes"),
        (legacy(&[legacy_entry(&"y".repeat(64), 1, &[1.0])]), "has 64 bytes"),
        (legacy(&[legacy_entry("a\u{1b}", 1, &[1.0])]), "the name of entry 1 is no text"),
        (legacy(&[legacy_entry("x", 1, &[f32::NAN])]), "an importance of `x` is NaN"),
        ([legacy(&[entry()]), vec![]].concat()[..20].to_vec(), "it ends within entry 1"),
        (vec![255, 255, 255, 255], "no importance matrix"),
    ] {
        refused(&bytes, &[part]);
    }
    // More values than any file has.
    let mut endless = legacy(&[entry()]);
    endless[13..17].copy_from_slice(&u32::MAX.to_le_bytes());
    refused(&endless, &["it ends within entry 1"]);
}

/// A model's tensors as a recipe makes them.
fn made(recipe: Recipe) -> Vec<Tensor> {
    let metadata = BTreeMap::from([
        ("general.architecture".to_owned(), Value::String("llama".to_owned())),
        ("llama.block_count".to_owned(), Value::Unsigned(1)),
    ]);
    let shapes = [
        ("token_embd.weight", vec![256, 32]),
        ("blk.0.attn_norm.weight", vec![256]),
        ("blk.0.attn_q.weight", vec![256, 256]),
        ("blk.0.ffn_up_exps.weight", vec![256, 32, 2]),
    ];
    let shapes = shapes.map(|(name, dimensions)| Shape { name: name.to_owned(), dimensions });
    let conditions = recipe::Conditions { measured: true, older: false };
    recipe::tensors(&metadata, &shapes, recipe, conditions)
}

fn matrix(entries: &[(&str, usize)]) -> Matrix {
    let entries = entries.iter().map(|(name, count)| ((*name).to_owned(), vec![1.0; *count]));
    Matrix { entries: entries.collect(), chunks: None }
}

#[test]
fn a_matrix_belongs_to_its_model() {
    let whole = [("blk.0.attn_q.weight", 256), ("blk.0.ffn_up_exps.weight", 512)];
    let made_k = made(Recipe::Q4_K_M);
    assert_eq!(matrix(&whole).check(&made_k, Recipe::Q4_K_M), Ok(0));
    assert_eq!(matrix(&whole[..1]).check(&made_k, Recipe::Q4_K_M), Ok(1));
    let beside = [whole[0], ("token_embd.weight", 7)];
    assert_eq!(matrix(&beside).check(&made_k, Recipe::Q4_K_M), Ok(1), "as llama.cpp does");
    let check = |entries: &[(&str, usize)], recipe| {
        matrix(entries).check(&made(recipe), recipe).unwrap_err().to_string()
    };
    let foreign = check(&[whole[0], ("blk.1.attn_q.weight", 256)], Recipe::Q4_K_M);
    assert!(foreign.contains("it has `blk.1.attn_q.weight`, which this one has not"), "{foreign}");
    let shape = check(&[("blk.0.ffn_up_exps.weight", 256)], Recipe::Q4_K_M);
    assert!(shape.contains("256 values for `blk.0.ffn_up_exps.weight`, which has 512"), "{shape}");
    let silent = check(&whole[..1], Recipe::IQ2_XXS);
    assert!(silent.contains("nothing of `blk.0.ffn_up_exps.weight`, which IQ2_XXS"), "{silent}");
}

proptest! {
    #[test]
    fn any_bytes_are_a_matrix_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _matrix = Matrix::read(&bytes);
    }

    /// Both forms with a few bytes that are others.
    #[test]
    fn a_changed_file_is_a_matrix_no_larger_than_the_file_or_an_error(
        older: bool,
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<proptest::sample::Index>(),
    ) {
        let entries = [legacy_entry("a.weight", 3, &VALUES), legacy_entry("b", 1, &VALUES)];
        let mut bytes = if older { legacy(&entries) } else { usual() };
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes.truncate(bytes.len() - cut.index(bytes.len()) / 8);
        if let Ok(matrix) = Matrix::read(&bytes) {
            let values: usize = matrix.entries.values().map(Vec::len).sum();
            prop_assert!(values * 4 <= bytes.len());
        }
    }
}
