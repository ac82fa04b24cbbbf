//! What hostile bytes may do: give an error. One function for each format that comes from outside,
//! called by the fuzzer with bytes it makes up and by `tests/replay.rs` with those it kept.

use worker_protocol::{Command, Report, frame};

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
            // Every number of the header may be hostile; predictions must survive them.
            let _ = (header.architecture(), header.parameters(), header.quantization());
        }
        Err(planner::gguf::Error::Incomplete { needed_bytes }) => {
            assert!(needed_bytes > file_bytes, "asked for bytes it has");
        }
        Err(_) => {}
    }
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
