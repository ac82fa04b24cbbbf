//! Tiny model files with an honest header and no weights: the data is a hole in the file.

use std::{fs::File, io::Write, path::Path};

const U32: u32 = 4;
const STRING: u32 = 8;
const F32_TENSOR: u32 = 0;
const ALIGNMENT: usize = 32;
const WIDTH: u64 = 64;

/// Writes a one-layer llama whose weights are about so many bytes. One of the name `chats` takes
/// conversations, which roles ask of their models; one of the name `ranks` has a head for ranking.
pub(crate) fn write(path: &Path, weights_bytes: u64) {
    let rows = (weights_bytes / (4 * WIDTH)).max(1);
    let stem = path.file_stem();
    let mut numbers = vec![
        ("llama.block_count", 1),
        ("llama.context_length", 2048),
        ("llama.embedding_length", 64),
        ("llama.feed_forward_length", 64),
        ("llama.attention.head_count", 4),
        ("llama.attention.head_count_kv", 4),
    ];
    if stem.is_some_and(|stem| stem == "ranks") {
        numbers.push(("llama.pooling_type", 4));
    }
    let mut header = b"GGUF".to_vec();
    header.extend(3u32.to_le_bytes());
    header.extend(1u64.to_le_bytes());
    let chats = stem.is_some_and(|stem| stem == "chats");
    let mut texts = vec![("general.architecture", "llama")];
    texts.extend(chats.then_some(("tokenizer.chat_template", "{{ messages }}")));
    header.extend(((numbers.len() + texts.len()) as u64).to_le_bytes());
    for (key, text) in texts {
        string(&mut header, key);
        header.extend(STRING.to_le_bytes());
        string(&mut header, text);
    }
    for (key, number) in numbers {
        string(&mut header, key);
        header.extend(U32.to_le_bytes());
        header.extend(u32::to_le_bytes(number));
    }
    string(&mut header, "token_embd.weight");
    header.extend(2u32.to_le_bytes());
    header.extend(WIDTH.to_le_bytes());
    header.extend(rows.to_le_bytes());
    header.extend(F32_TENSOR.to_le_bytes());
    header.extend(0u64.to_le_bytes());
    header.resize(header.len().next_multiple_of(ALIGNMENT), 0);
    let mut file = File::create(path).unwrap();
    file.write_all(&header).unwrap();
    file.set_len(header.len() as u64 + rows * WIDTH * 4).unwrap();
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}
