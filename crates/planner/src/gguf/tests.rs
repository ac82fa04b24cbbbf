//! Headers made by hand, headers with one thing wrong, mutated headers and two real files.

use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

/// Writes headers byte by byte, so that the tests share no code with the reader.
#[derive(Clone)]
struct Maker {
    version: u32,
    keys: Vec<(String, Vec<u8>)>,
    tensors: Vec<Vec<u8>>,
    key_count: Option<u64>,
    tensor_count: Option<u64>,
    data_bytes: usize,
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

fn u32_value(value: u32) -> Vec<u8> {
    [4_u32.to_le_bytes(), value.to_le_bytes()].concat()
}

fn text_value(value: &str) -> Vec<u8> {
    [8_u32.to_le_bytes().to_vec(), text(value)].concat()
}

fn array_value(element: u32, len: u64, content: &[u8]) -> Vec<u8> {
    let mut bytes = 9_u32.to_le_bytes().to_vec();
    bytes.extend(element.to_le_bytes());
    bytes.extend(len.to_le_bytes());
    bytes.extend(content);
    bytes
}

fn tensor(name: &str, dimensions: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let mut bytes = text(name);
    bytes.extend(u32::try_from(dimensions.len()).unwrap().to_le_bytes());
    for dimension in dimensions {
        bytes.extend(dimension.to_le_bytes());
    }
    bytes.extend(kind.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes
}

impl Maker {
    /// A small model: 2 layers, 64 wide, 4 heads, a vocabulary of 3, two tensors.
    fn model() -> Self {
        let keys = vec![
            ("general.architecture".to_owned(), text_value("llama")),
            ("general.file_type".to_owned(), u32_value(7)),
            ("llama.block_count".to_owned(), u32_value(2)),
            ("llama.context_length".to_owned(), u32_value(128)),
            ("llama.embedding_length".to_owned(), u32_value(64)),
            ("llama.attention.head_count".to_owned(), u32_value(4)),
            (
                "tokenizer.ggml.tokens".to_owned(),
                array_value(8, 3, &[text("a"), text("b"), text("")].concat()),
            ),
        ];
        Self {
            version: 3,
            keys,
            tensors: vec![
                // 4 x 2 floats are 32 bytes, one alignment; 32 of Q8_0 are 34 bytes.
                tensor("token_embd.weight", &[4, 2], 0, 0),
                tensor("output.weight", &[32], 8, 32),
            ],
            key_count: None,
            tensor_count: None,
            data_bytes: 32 + 34,
        }
    }

    fn with(mut self, key: &str, value: Vec<u8>) -> Self {
        self.keys.retain(|(existing, _)| existing != key);
        self.keys.push((key.to_owned(), value));
        self
    }

    fn without(mut self, key: &str) -> Self {
        self.keys.retain(|(existing, _)| existing != key);
        self
    }

    fn tensors(mut self, tensors: Vec<Vec<u8>>) -> Self {
        self.tensors = tensors;
        self
    }

    fn header(&self) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(self.tensor_count.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        bytes.extend(self.key_count.unwrap_or(self.keys.len() as u64).to_le_bytes());
        for (key, value) in &self.keys {
            bytes.extend(text(key));
            bytes.extend(value);
        }
        bytes.extend(self.tensors.concat());
        bytes
    }

    fn file(&self) -> Vec<u8> {
        let mut bytes = self.header();
        bytes.resize(bytes.len().next_multiple_of(32) + self.data_bytes, 0);
        bytes
    }

    fn parse(&self) -> Result<Header, Error> {
        let file = self.file();
        parse(&file, file.len() as u64)
    }

    fn message(&self) -> String {
        self.parse().unwrap_err().to_string()
    }
}

#[test]
fn a_small_model_is_read_whole() {
    let maker = Maker::model();
    let header = maker.parse().unwrap();
    assert_eq!(header.version, 3);
    assert_eq!(header.architecture(), "llama");
    assert_eq!(header.quantization(), "Q8_0");
    assert_eq!(header.parameters(), 8 + 32);
    assert_eq!(header.tensor_bytes(), 32 + 64);
    assert_eq!(header.vocabulary_tokens(), 3);
    assert_eq!(header.context_trained_tokens(), Some(128));
    assert_eq!(header.data_offset, (maker.header().len() as u64).next_multiple_of(32));
    assert_eq!(header.tensors[1].name, "output.weight");
    assert_eq!(header.tensors[1].bytes, 34);
    assert!(header.generates());
}

#[test]
fn version_2_reads_like_version_3() {
    let maker = Maker { version: 2, ..Maker::model() };
    assert_eq!(maker.parse().unwrap().tensors, Maker::model().parse().unwrap().tensors);
}

#[test]
fn every_prefix_asks_for_more_and_doubling_ends_with_the_header() {
    let file = Maker::model().file();
    let whole = parse(&file, file.len() as u64).unwrap();
    let header_bytes = Maker::model().header().len();
    for len in 0..header_bytes {
        let Err(Error::Incomplete { needed_bytes }) = parse(&file[..len], file.len() as u64) else {
            panic!("a prefix of {len} bytes is not enough");
        };
        assert!(needed_bytes > len as u64 && needed_bytes <= header_bytes as u64);
    }
    assert_eq!(parse(&file[..header_bytes], file.len() as u64).unwrap(), whole);
}

#[test]
fn every_truncated_file_is_called_truncated() {
    let file = Maker::model().file();
    for len in 0..file.len() {
        let error = parse(&file[..len], len as u64).unwrap_err();
        assert!(matches!(error, Error::Truncated { .. }), "{len}: {error}");
        assert!(error.to_string().contains("download it again"));
    }
}

#[test]
fn what_is_no_gguf_is_named() {
    for (bytes, expected) in [
        (&b"version https://git-lfs.github.com/spec/v1"[..], "Git LFS pointer"),
        (b"<!DOCTYPE html>", "web page"),
        (b"PK\x03\x04", "ZIP"),
        (b"lmgg\x01\0\0\0", "predecessors"),
        (b"abcdefgh", "the bytes [61, 62, 63, 64]"),
    ] {
        let message = parse(bytes, bytes.len() as u64).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn other_versions_say_what_to_do() {
    for (version, expected) in [(1, "older"), (4, "update"), (3_u32.swap_bytes(), "big-endian")] {
        let message = Maker { version, ..Maker::model() }.message();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn hostile_counts_and_lengths_cost_nothing() {
    for count in [1 << 63, u64::MAX, 1 << 32] {
        for maker in [
            Maker { key_count: Some(count), ..Maker::model() },
            Maker { tensor_count: Some(count), ..Maker::model() },
        ] {
            assert!(matches!(maker.parse(), Err(Error::OverLimit { found, .. }) if found == count));
        }
        for element in [0, 8, 12] {
            let maker = Maker::model().with("general.tags", array_value(element, count, &[]));
            let error = maker.parse().unwrap_err();
            assert!(matches!(error, Error::Truncated { .. }), "{error}");
            assert!(error.to_string().contains("general.tags"), "{error}");
        }
        let huge_string = [8_u32.to_le_bytes().to_vec(), count.to_le_bytes().to_vec()].concat();
        let maker = Maker::model().with("general.name", huge_string);
        assert!(matches!(maker.parse(), Err(Error::Truncated { .. })));
    }
    // A count that is allowed, but that the rest of the file cannot hold.
    let maker = Maker { key_count: Some(60_000), ..Maker::model() };
    assert!(maker.message().contains("60000"), "{}", maker.message());
}

#[test]
fn thousands_of_small_arrays_are_refused() {
    let mut maker = Maker::model();
    for number in 0..70 {
        maker = maker.with(&format!("k{number}"), array_value(0, 1024, &[0; 1024]));
    }
    assert!(maker.message().contains("small arrays"), "{}", maker.message());
}

#[test]
fn text_that_adds_up_is_refused() {
    let mut maker = Maker::model();
    for number in 0..5 {
        maker = maker.with(&format!("k{number}"), text_value(&"x".repeat(1 << 20)));
    }
    assert!(maker.message().contains("the length of all text up to"), "{}", maker.message());
    // Bytes that are not UTF-8 would become three times as many.
    let bytes =
        [8_u32.to_le_bytes().to_vec(), (1_u64 << 20).to_le_bytes().to_vec(), vec![0xff; 1 << 20]];
    let maker = Maker::model().with("a", bytes.concat()).with("b", bytes.concat());
    assert!(maker.message().contains("all text up to the value of `b`"), "{}", maker.message());
}

#[test]
fn a_header_without_end_is_refused_even_if_the_file_could_hold_it() {
    let value = array_value(0, 1 << 40, &[]);
    let header = Maker::model().with("x", value).header();
    let error = parse(&header, 1 << 50).unwrap_err();
    assert!(matches!(error, Error::OverLimit { .. }), "{error}");
}

#[test]
fn large_vocabularies_keep_their_place_and_not_their_content() {
    let tokens: Vec<u8> = (0..200_000).flat_map(|id| text(&format!("t{id}"))).collect();
    let maker = Maker::model()
        .with("tokenizer.ggml.tokens", array_value(8, 200_000, &tokens))
        .with("tokenizer.ggml.scores", array_value(6, 200_000, &vec![0; 800_000]));
    let file = maker.file();
    let header = parse(&file, file.len() as u64).unwrap();
    assert_eq!(header.vocabulary_tokens(), 200_000);
    let Some(Value::Array(array)) = header.metadata.get("tokenizer.ggml.tokens") else {
        panic!("an array");
    };
    assert_eq!(array.kept, None);
    let place =
        usize::try_from(array.place.start).unwrap()..usize::try_from(array.place.end).unwrap();
    assert_eq!(file[place], tokens);
}

#[test]
fn strange_structures_are_refused_by_name() {
    let cases = [
        (Maker::model().with("a.b", array_value(9, 1, &[])), "array of arrays"),
        (Maker::model().with("a.b", array_value(77, 1, &[])), "unknown value type 77"),
        (Maker::model().with("a.b", 13_u32.to_le_bytes().to_vec()), "unknown value type 13"),
        (Maker::model().with("", u32_value(1)), "is empty"),
        (Maker::model().with("a\n", u32_value(1)), "control characters"),
        (Maker::model().with("general.alignment", u32_value(0)), "power of two"),
        (Maker::model().with("general.alignment", u32_value(48)), "power of two"),
        (Maker::model().with("general.alignment", u32_value(1 << 30)), "power of two"),
        (Maker::model().with("general.alignment", text_value("32")), "not an integer"),
    ];
    for (maker, expected) in cases {
        let message = maker.message();
        assert!(message.contains(expected), "{expected}: {message}");
    }
    let mut twice = Maker::model();
    twice.keys.push(twice.keys[0].clone());
    assert!(twice.message().contains("`general.architecture` appears twice"));
}

#[test]
fn tensors_that_cannot_be_are_refused_by_name() {
    let first = tensor("token_embd.weight", &[4, 2], 0, 0);
    let cases = [
        (tensor("t", &[0, 4], 0, 32), "empty dimension"),
        (tensor("t", &[1 << 63], 0, 32), "too large to exist"),
        (tensor("t", &[1 << 32, 1 << 32], 0, 32), "too large to exist"),
        (tensor("t", &[1 << 62], 0, 32), "too large to exist"),
        (tensor("t", &[], 0, 32), "0 dimensions"),
        (tensor("t", &[1; 5], 0, 32), "5 dimensions"),
        (tensor("t", &[32], 4, 32), "unknown or removed type 4"),
        (tensor("t", &[32], 4000, 32), "unknown or removed type 4000"),
        (tensor("t", &[33], 8, 32), "multiple of the 32"),
        (tensor("t", &[8], 0, 33), "not a multiple of 32"),
        (tensor("t", &[8], 0, 0), "overlaps"),
        (tensor("t", &[8], 0, 64), "gap"),
        (tensor("t", &[1 << 20], 0, 32), "truncated: the data of tensor `t`"),
        (tensor("token_embd.weight", &[8], 0, 32), "appears twice"),
        (tensor("", &[8], 0, 32), "is empty"),
        (tensor(&"n".repeat(64), &[8], 0, 32), "over the limit of 63"),
    ];
    for (second, expected) in cases {
        let message = Maker::model().tensors(vec![first.clone(), second]).message();
        assert!(message.contains(expected), "{expected}: {message}");
    }
}

#[test]
fn metadata_that_formulas_cannot_use_is_refused_by_name() {
    let cases = [
        (Maker::model().without("general.architecture"), "general.architecture"),
        (Maker::model().with("general.architecture", u32_value(1)), "general.architecture"),
        (Maker::model().without("llama.block_count"), "llama.block_count"),
        (Maker::model().with("llama.block_count", u32_value(0)), "llama.block_count"),
        (Maker::model().with("llama.block_count", u32_value(513)), "limit of 512"),
        (Maker::model().with("llama.embedding_length", u32_value(0)), "embedding_length"),
        (Maker::model().with("llama.attention.head_count", u32_value(0)), "head_count"),
        (Maker::model().with("llama.full_attention_interval", u32_value(0)), "interval"),
        (Maker::model().with("llama.attention.head_count_kv", text_value("8")), "head_count_kv"),
        (
            Maker::model().with(
                "llama.attention.head_count_kv",
                array_value(5, 2, &[4_i32.to_le_bytes(), (-4_i32).to_le_bytes()].concat()),
            ),
            "head_count_kv",
        ),
        (
            Maker::model()
                .with("llama.attention.head_count_kv", array_value(4, 1, &4_u32.to_le_bytes())),
            "one number per layer",
        ),
        (Maker::model().with("llama.expert_used_count", u32_value(2)), "expert_used_count"),
        (
            Maker::model()
                .with("llama.expert_used_count", u32_value(0))
                .with("llama.expert_count", u32_value(8)),
            "from 1 to the 8 experts",
        ),
    ];
    for (maker, expected) in cases {
        let message = maker.message();
        assert!(message.contains(expected), "{expected}: {message}");
    }
}

#[test]
fn files_that_are_no_model_are_held_to_the_same_bounds() {
    let value = [10_u32.to_le_bytes().to_vec(), u64::MAX.to_le_bytes().to_vec()].concat();
    let maker = Maker::model().tensors(Vec::new()).with("llama.block_count", value);
    assert!(maker.message().contains("limit of 512"), "{}", maker.message());
}

#[test]
fn models_without_attention_may_have_no_heads() {
    let maker = Maker::model()
        .with("llama.attention.head_count", u32_value(0))
        .with("llama.ssm.state_size", u32_value(16));
    assert!(maker.parse().is_ok());
}

#[test]
fn numbers_per_layer_come_from_arrays_and_from_single_values() {
    let array = array_value(5, 2, &[4_i32.to_le_bytes(), 0_i32.to_le_bytes()].concat());
    let header = Maker::model().with("llama.attention.head_count_kv", array).parse().unwrap();
    assert_eq!(header.layer_u64("attention.head_count_kv", 0), Some(4));
    assert_eq!(header.layer_u64("attention.head_count_kv", 1), Some(0));
    assert_eq!(header.layer_u64("attention.head_count_kv", 2), None);
    assert_eq!(header.layer_u64("attention.head_count", 1), Some(4));
}

#[test]
fn the_quantization_is_the_majority_when_the_file_does_not_say() {
    let header = Maker::model().without("general.file_type").parse().unwrap();
    assert_eq!(header.quantization(), "Q8_0");
}

#[test]
fn models_that_pool_and_files_that_accompany_a_model_do_not_generate() {
    for maker in [
        Maker::model().with("llama.pooling_type", u32_value(3)),
        Maker::model().with("general.type", text_value("adapter")),
        Maker::model().tensors(Vec::new()),
    ] {
        assert!(!maker.parse().unwrap().generates());
    }
}

#[expect(clippy::disallowed_methods, reason = "the test is the caller that reads the file")]
fn shared_model(name: &str) -> Option<Vec<u8>> {
    let folder = std::env::var_os("RESIDENT_SHARED_DIR").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let path = folder.join("models").join(name);
    let bytes = std::fs::read(&path).ok();
    if bytes.is_none() {
        println!("skipped: {name} is not in the test data folder (RESIDENT_SHARED_DIR)");
    }
    bytes
}

#[test]
fn a_real_story_teller_is_read() {
    let Some(file) = shared_model("stories260K.gguf") else { return };
    let header = parse(&file, file.len() as u64).unwrap();
    assert_eq!(header.architecture(), "llama");
    assert_eq!((header.layers(), header.vocabulary_tokens()), (5, 512));
    assert_eq!(header.arch_u64("attention.head_count_kv"), Some(4));
    assert_eq!(header.quantization(), "F32");
    assert_eq!(header.context_trained_tokens(), Some(512));
    assert!(header.generates());
    let last = header.tensors.last().unwrap();
    assert!(header.data_offset + last.offset + last.bytes <= file.len() as u64);
}

#[test]
fn a_real_encoder_is_read() {
    let Some(file) = shared_model("minilm-q8_0.gguf") else { return };
    let header = parse(&file, file.len() as u64).unwrap();
    assert_eq!(header.architecture(), "bert");
    assert_eq!((header.layers(), header.vocabulary_tokens()), (6, 30_522));
    assert_eq!(header.quantization(), "Q8_0");
    assert!(!header.generates());
}

proptest! {
    #[test]
    fn any_bytes_give_a_header_or_an_error(bytes: Vec<u8>, file_bytes: u64) {
        let _ = parse(&bytes, file_bytes);
    }

    #[test]
    fn a_mutated_header_never_panics_and_keeps_its_promises(
        mutations in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut: prop::sample::Index,
        file_bytes in prop_oneof![Just(None), any::<u64>().prop_map(Some)],
    ) {
        let mut file = Maker::model().file();
        for (index, byte) in mutations {
            let index = index.index(file.len());
            file[index] = byte;
        }
        let file_bytes = file_bytes.unwrap_or(file.len() as u64);
        for prefix in [&file[..], &file[..cut.index(file.len())]] {
            match parse(prefix, file_bytes) {
                Ok(header) => {
                    prop_assert!(!header.architecture().is_empty());
                    let mut end = 0;
                    for tensor in &header.tensors {
                        prop_assert!(tensor.offset >= end);
                        end = tensor.offset + tensor.bytes;
                    }
                    prop_assert!(end == 0 || header.data_offset + end <= file_bytes);
                    let _ = (header.parameters(), header.quantization(), header.generates());
                }
                Err(Error::Incomplete { needed_bytes }) => {
                    prop_assert!(needed_bytes > prefix.len().min(usize::try_from(file_bytes).unwrap()) as u64);
                    prop_assert!(needed_bytes <= file_bytes);
                }
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }
}
