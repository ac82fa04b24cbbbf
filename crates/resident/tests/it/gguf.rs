//! Writes GGUF files that no honest program would.
//!
//! A [`File`] begins as a small model whose header makes sense (its weights do not); tests then
//! bend one thing of it.

/// Types of values, by GGUF's numbers.
const UINT32: u32 = 4;
const INT32: u32 = 5;
const FLOAT32: u32 = 6;
const STRING: u32 = 8;
const ARRAY: u32 = 9;
const F32_TENSOR: u32 = 0;

/// Tensor data begins at a multiple of this.
const ALIGNMENT: usize = 32;

/// Three special tokens and one for each byte.
const VOCABULARY: u32 = 3 + 256;

/// The header in its parts.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) magic: [u8; 4],
    pub(crate) version: u32,
    /// What the header claims; `None` is the truth.
    pub(crate) tensor_count: Option<u64>,
    /// What the header claims; `None` is the truth.
    pub(crate) key_count: Option<u64>,
    keys: Vec<(String, Vec<u8>)>,
    pub(crate) tensors: Vec<Tensor>,
    /// Bytes behind the header.
    pub(crate) data_bytes: usize,
}

/// One line of the tensor table.
#[derive(Debug, Clone)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) dimensions: Vec<u64>,
    pub(crate) kind: u32,
    pub(crate) offset: u64,
}

impl File {
    /// A llama with one layer of 32, complete and in order.
    pub(crate) fn small() -> Self {
        let mut file = Self {
            magic: *b"GGUF",
            version: 3,
            tensor_count: None,
            key_count: None,
            keys: Vec::new(),
            tensors: Vec::new(),
            data_bytes: 0,
        };
        file.set("general.architecture", string("llama"));
        for (key, value) in [
            ("context_length", 64),
            ("embedding_length", 32),
            ("block_count", 1),
            ("attention.head_count", 2),
            ("attention.head_count_kv", 2),
            ("feed_forward_length", 64),
            ("rope.dimension_count", 16),
            ("vocab_size", VOCABULARY),
        ] {
            file.set(&format!("llama.{key}"), uint32(value));
        }
        file.set("llama.attention.layer_norm_rms_epsilon", float32(1e-5));
        file.set("tokenizer.ggml.model", string("llama"));
        let special = ["<unk>", "<s>", "</s>"].map(str::to_owned);
        let tokens: Vec<String> =
            special.into_iter().chain((0..256).map(|byte| format!("<0x{byte:02X}>"))).collect();
        let kinds: Vec<u32> = [2, 3, 3].into_iter().chain([6; 256]).collect();
        let bytes = |value: &dyn Fn(usize) -> (u32, Vec<u8>)| -> Vec<Vec<u8>> {
            (0..tokens.len()).map(|index| value(index).1).collect()
        };
        let texts = array(STRING, &bytes(&|index| string(&tokens[index])));
        let scores = array(FLOAT32, &bytes(&|_| float32(0.0)));
        let kinds = array(INT32, &bytes(&|index| uint32(kinds[index])));
        file.set("tokenizer.ggml.tokens", texts);
        file.set("tokenizer.ggml.scores", scores);
        file.set("tokenizer.ggml.token_type", kinds);
        for (name, dimensions) in [
            ("token_embd.weight", vec![32, VOCABULARY.into()]),
            ("output_norm.weight", vec![32]),
            ("blk.0.attn_norm.weight", vec![32]),
            ("blk.0.attn_q.weight", vec![32, 32]),
            ("blk.0.attn_k.weight", vec![32, 32]),
            ("blk.0.attn_v.weight", vec![32, 32]),
            ("blk.0.attn_output.weight", vec![32, 32]),
            ("blk.0.ffn_norm.weight", vec![32]),
            ("blk.0.ffn_gate.weight", vec![32, 64]),
            ("blk.0.ffn_up.weight", vec![32, 64]),
            ("blk.0.ffn_down.weight", vec![64, 32]),
        ] {
            let offset = file.data_bytes as u64;
            file.data_bytes += dimensions.iter().product::<u64>() as usize * 4;
            file.tensors.push(Tensor {
                name: name.to_owned(),
                dimensions,
                kind: F32_TENSOR,
                offset,
            });
        }
        file
    }

    /// Sets a key to a value of [`uint32`] and its like.
    pub(crate) fn set(&mut self, key: &str, (kind, bytes): (u32, Vec<u8>)) {
        let value = [kind.to_le_bytes().to_vec(), bytes].concat();
        match self.keys.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = value,
            None => self.keys.push((key.to_owned(), value)),
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.magic.to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(self.tensor_count.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        bytes.extend(self.key_count.unwrap_or(self.keys.len() as u64).to_le_bytes());
        for (key, value) in &self.keys {
            bytes.extend(string(key).1);
            bytes.extend(value);
        }
        for tensor in &self.tensors {
            bytes.extend(string(&tensor.name).1);
            bytes.extend((tensor.dimensions.len() as u32).to_le_bytes());
            for dimension in &tensor.dimensions {
                bytes.extend(dimension.to_le_bytes());
            }
            bytes.extend(tensor.kind.to_le_bytes());
            bytes.extend(tensor.offset.to_le_bytes());
        }
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT) + self.data_bytes, 0);
        bytes
    }
}

pub(crate) fn uint32(value: u32) -> (u32, Vec<u8>) {
    (UINT32, value.to_le_bytes().to_vec())
}

pub(crate) fn float32(value: f32) -> (u32, Vec<u8>) {
    (FLOAT32, value.to_le_bytes().to_vec())
}

pub(crate) fn string(text: &str) -> (u32, Vec<u8>) {
    claimed_string(text, text.len() as u64)
}

/// A string that claims to have so many bytes.
pub(crate) fn claimed_string(text: &str, bytes: u64) -> (u32, Vec<u8>) {
    (STRING, [bytes.to_le_bytes().to_vec(), text.as_bytes().to_vec()].concat())
}

fn array(kind: u32, elements: &[Vec<u8>]) -> (u32, Vec<u8>) {
    claimed_array(kind, elements.len() as u64, &elements.concat())
}

/// An array that claims to have so many elements.
pub(crate) fn claimed_array(kind: u32, count: u64, content: &[u8]) -> (u32, Vec<u8>) {
    let head = [kind.to_le_bytes().to_vec(), count.to_le_bytes().to_vec()].concat();
    (ARRAY, [head, content.to_vec()].concat())
}

/// Arrays of one array each, this deep.
pub(crate) fn nested_arrays(depth: usize) -> (u32, Vec<u8>) {
    let level = [ARRAY.to_le_bytes().to_vec(), 1_u64.to_le_bytes().to_vec()].concat();
    (ARRAY, level.repeat(depth))
}
