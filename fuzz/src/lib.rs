//! What hostile bytes may do: give an error. One function for each format that comes from outside,
//! called by the fuzzer with bytes it makes up and by `tests/replay.rs` with those it kept.

mod answer;
mod anthropic;
mod importance;
mod kv;
mod llama_server;
mod modelfile;
mod ollama;
mod openai;
mod rerank;
mod responses;
mod source;
mod upstream;
mod vector_store;

pub use answer::answer;
pub use anthropic::{anthropic_count, anthropic_messages};
pub use importance::importance;
pub use kv::kv_entry;
pub use llama_server::infill;
pub use modelfile::modelfile;
pub use ollama::{ollama_chat, ollama_embed, ollama_generate};
pub use openai::{
    openai_chat, openai_completion, openai_embedding, openai_image, openai_speech,
    openai_transcription,
};
use planner::{footprint, gguf::Value, quality};
pub use rerank::rerank;
pub use responses::{responses_request, responses_stream};
pub use source::source;
pub use upstream::upstream;
pub use vector_store::vector_store;
use worker_protocol::{Command, Report, frame};

/// A kept array element takes this many times its one byte in the file, with room for its list; no
/// other part of a header costs more.
const HEADER_BYTES_PER_FILE_BYTE_MAX: usize = 128;

/// A GGUF header never panics, and what it says lies inside the file it came from.
pub fn gguf(bytes: &[u8]) {
    let file_bytes = bytes.len() as u64;
    match planner::gguf::parse(bytes, file_bytes) {
        Ok(header) => {
            for tensor in &header.tensors {
                let end = header.data_offset.checked_add(tensor.offset);
                let end = end.and_then(|begin| begin.checked_add(tensor.bytes));
                assert!(end.is_some_and(|end| end <= file_bytes), "{} is outside", tensor.name);
            }
            let kept = kept_bytes(&header);
            let kept_max = bytes.len() * HEADER_BYTES_PER_FILE_BYTE_MAX;
            assert!(kept <= kept_max, "{kept} bytes are kept of {}", bytes.len());
            // Every number of the header may be hostile; predictions must survive them.
            let _ = (header.architecture(), header.parameters(), header.quantization());
            let skipped_bytes = footprint::weights(&header).skipped_bytes;
            let loaded_bytes = header.tensor_bytes().saturating_sub(skipped_bytes);
            for layout in layouts() {
                let beside =
                    footprint::Companions { projector: Some(&header), ..Default::default() };
                let _ = footprint::predict_with(&header, &layout, &beside).total_bytes();
                let footprint = footprint::predict(&header, &layout);
                assert!(footprint.total_bytes() >= loaded_bytes, "less than its weights");
                let _ = footprint::check(&header, &layout);
            }
            let _ = quality::of_header(&header);
        }
        Err(planner::gguf::Error::Incomplete { needed_bytes }) => {
            assert!(needed_bytes > file_bytes, "asked for bytes it has");
        }
        Err(_) => {}
    }
}

/// A usual layout, and the largest that can be asked for in every place.
fn layouts() -> Vec<footprint::Layout> {
    let largest = footprint::Layout {
        step_tokens_max: u32::MAX,
        output_rows_max: u32::MAX,
        ..footprint::Layout::new(u32::MAX, u32::MAX)
    };
    let sliding = footprint::Layout { windows: footprint::Windows::Sliding, ..largest };
    let on_gpu = footprint::Layout { place: footprint::Place::SharedGpu, ..largest };
    let on_card = footprint::Layout {
        place: footprint::Place::DiscreteGpu,
        flash_attention: false,
        ..footprint::Layout::new(8192, 5)
    };
    vec![footprint::Layout::new(8192, 5), largest, sliding, on_gpu, on_card]
}

/// About as many bytes as a header takes in memory.
fn kept_bytes(header: &planner::gguf::Header) -> usize {
    let values = header.metadata.iter().map(|(key, value)| {
        let content = match value {
            Value::String(text) => text.len(),
            Value::Array(array) => {
                array.kept.as_ref().map_or(0, |kept| kept.len() * size_of::<Value>())
            }
            Value::Unsigned(_)
            | Value::Signed(_)
            | Value::Float(_)
            | Value::Bool(_)
            | Value::LongString { .. } => 0,
        };
        key.len() + size_of::<(String, Value)>() + content
    });
    let tensors = header.tensors.iter().map(|tensor| tensor.name.len() + size_of_val(tensor));
    values.sum::<usize>() + tensors.sum::<usize>()
}

/// A frame never panics, and a message that was read is written and read again unchanged.
pub fn frame(bytes: &[u8]) {
    let mut decoder = frame::Decoder::default();
    decoder.push(bytes);
    while let Ok(Some(command)) = decoder.take::<Command>() {
        let again: Command = through_a_frame(&command);
        // Compared as text, because not-a-number does not equal itself.
        assert_eq!(format!("{command:?}"), format!("{again:?}"));
    }
    let mut decoder = frame::Decoder::default();
    for half in bytes.chunks(bytes.len() / 2 + 1) {
        decoder.push(half);
    }
    while let Ok(Some(report)) = decoder.take::<Report>() {
        let again: Report = through_a_frame(&report);
        assert_eq!(format!("{report:?}"), format!("{again:?}"));
    }
}

fn through_a_frame<T: serde::Serialize + serde::de::DeserializeOwned>(message: &T) -> T {
    let bytes = frame::encode(message);
    let mut decoder = frame::Decoder::default();
    decoder.push(bytes.as_deref().unwrap_or_default());
    match decoder.take() {
        Ok(Some(message)) => message,
        Ok(None) => panic!("our own frame is cut"),
        Err(error) => panic!("our own frame is refused: {error}"),
    }
}
