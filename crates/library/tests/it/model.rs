//! Headers of models, written byte by byte, so that the tests share no code with the reader.

/// A model's file without the bytes of its weights.
pub(crate) struct File {
    pub(crate) header: Vec<u8>,
    /// Length of the file with its weights.
    pub(crate) bytes: u64,
}

/// Which part of a split model a file is.
#[derive(Clone, Copy)]
pub(crate) struct Split {
    pub(crate) number: u16,
    pub(crate) count: u16,
    pub(crate) tensors: i32,
}

const F32: u32 = 0;
const Q8_0: u32 = 8;

/// A small llama: two tensors, a vocabulary of three.
pub(crate) fn small() -> File {
    file(&[model_keys(1, 64, &vocabulary(3))], &[("token_embd.weight", &[64, 3], F32)])
}

/// A model of the shape of Qwen3-30B-A3B at 8 bit: 48 layers of 128 experts, 151,936 tokens with
/// 151,387 merges.
pub(crate) fn thirty_gigabytes() -> File {
    let tensors = expert_tensors();
    let tensors: Vec<(&str, &[u64], u32)> =
        tensors.iter().map(|(name, shape, kind)| (name.as_str(), &shape[..], *kind)).collect();
    let merges: Vec<Vec<u8>> =
        (0..151_387).map(|id| text(&format!("{:03} {:06}", id % 997, id))).collect();
    let merges = key("tokenizer.ggml.merges", &array(8, &merges));
    file(&[model_keys(48, 2048, &vocabulary(151_936)), vec![merges]], &tensors)
}

fn expert_tensors() -> Vec<(String, Vec<u64>, u32)> {
    let mut tensors = vec![("token_embd.weight".to_owned(), vec![2048, 151_936], Q8_0)];
    for layer in 0..48 {
        let mut add = |name: &str, shape: &[u64], kind| {
            tensors.push((format!("blk.{layer}.{name}.weight"), shape.to_vec(), kind));
        };
        add("attn_norm", &[2048], F32);
        add("attn_q", &[2048, 4096], Q8_0);
        add("attn_k", &[2048, 512], Q8_0);
        add("attn_v", &[2048, 512], Q8_0);
        add("attn_output", &[4096, 2048], Q8_0);
        add("ffn_norm", &[2048], F32);
        add("ffn_gate_inp", &[2048, 128], F32);
        add("ffn_gate_exps", &[2048, 768, 128], Q8_0);
        add("ffn_up_exps", &[2048, 768, 128], Q8_0);
        add("ffn_down_exps", &[768, 2048, 128], Q8_0);
    }
    tensors.push(("output_norm.weight".to_owned(), vec![2048], F32));
    tensors.push(("output.weight".to_owned(), vec![2048, 151_936], Q8_0));
    tensors
}

/// Part `split` of a model with one tensor in each part.
pub(crate) fn part(split: Split) -> File {
    let mut keys = vec![
        key(
            "split.no",
            &[2_u32.to_le_bytes().to_vec(), split.number.to_le_bytes().into()].concat(),
        ),
        key(
            "split.count",
            &[2_u32.to_le_bytes().to_vec(), split.count.to_le_bytes().into()].concat(),
        ),
        key(
            "split.tensors.count",
            &[5_u32.to_le_bytes().to_vec(), split.tensors.to_le_bytes().into()].concat(),
        ),
    ];
    if split.number == 0 {
        keys.extend(model_keys(1, 64, &vocabulary(3)));
    }
    file(&[keys], &[(&format!("blk.{}.x.weight", split.number), &[64, 1000], F32)])
}

/// A header that says its string is as long as the whole file.
pub(crate) fn endless_string(file_bytes: u64) -> File {
    let mut header =
        [b"GGUF".to_vec(), 3_u32.to_le_bytes().into(), 0_u64.to_le_bytes().into()].concat();
    header.extend(1_u64.to_le_bytes());
    header.extend(text("x"));
    header.extend(8_u32.to_le_bytes());
    header.extend((file_bytes - 64).to_le_bytes());
    File { header, bytes: file_bytes }
}

fn model_keys(layers: u32, width: u32, vocabulary: &[u8]) -> Vec<Vec<u8>> {
    let number = |value: u32| [4_u32.to_le_bytes(), value.to_le_bytes()].concat();
    let word = |value: &str| [8_u32.to_le_bytes().to_vec(), text(value)].concat();
    vec![
        key("general.architecture", &word("llama")),
        key("general.file_type", &number(7)),
        key("llama.block_count", &number(layers)),
        key("llama.context_length", &number(4096)),
        key("llama.embedding_length", &number(width)),
        key("llama.attention.head_count", &number(4)),
        key("tokenizer.ggml.tokens", vocabulary),
    ]
}

fn vocabulary(tokens: u32) -> Vec<u8> {
    let tokens: Vec<Vec<u8>> = (0..tokens).map(|id| text(&format!("token{id}"))).collect();
    array(8, &tokens)
}

fn text(text: &str) -> Vec<u8> {
    [(text.len() as u64).to_le_bytes().to_vec(), text.as_bytes().to_vec()].concat()
}

fn key(name: &str, value: &[u8]) -> Vec<u8> {
    [text(name), value.to_vec()].concat()
}

fn array(element: u32, elements: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = 9_u32.to_le_bytes().to_vec();
    bytes.extend(element.to_le_bytes());
    bytes.extend((elements.len() as u64).to_le_bytes());
    bytes.extend(elements.concat());
    bytes
}

fn file(keys: &[Vec<Vec<u8>>], tensors: &[(&str, &[u64], u32)]) -> File {
    let keys = keys.concat();
    let mut header = b"GGUF".to_vec();
    header.extend(3_u32.to_le_bytes());
    header.extend((tensors.len() as u64).to_le_bytes());
    header.extend((keys.len() as u64).to_le_bytes());
    header.extend(keys.concat());
    let mut offset: u64 = 0;
    for (name, shape, kind) in tensors {
        header.extend(text(name));
        header.extend((shape.len() as u32).to_le_bytes());
        header.extend(shape.iter().flat_map(|side| side.to_le_bytes()));
        header.extend(kind.to_le_bytes());
        header.extend(offset.to_le_bytes());
        let elements: u64 = shape.iter().product();
        let bytes = if *kind == Q8_0 { elements / 32 * 34 } else { elements * 4 };
        offset = (offset + bytes).next_multiple_of(32);
    }
    header.resize(header.len().next_multiple_of(32), 0);
    let bytes = header.len() as u64 + offset;
    File { header, bytes }
}
