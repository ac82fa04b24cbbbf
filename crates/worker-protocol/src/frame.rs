//! Framing: a 4-byte little-endian length, then that many bytes of MessagePack.
//!
//! [`encode`] makes one whole frame; [`Decoder`] takes bytes in pieces of any size and gives whole
//! messages. Both are pure, so that the blocking worker, the asynchronous hub and the fuzzer share
//! them.

use serde::{Serialize, de::DeserializeOwned};

use crate::limits::{DEPTH_MAX, FRAME_BYTES_MAX};

const LENGTH_BYTES: usize = 4;

/// Why bytes are not a frame of ours. After any of these the stream cannot be trusted any more.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The length says more than [`FRAME_BYTES_MAX`].
    #[error("a frame of {bytes} bytes is over the limit of {FRAME_BYTES_MAX}")]
    TooLong {
        /// What the length prefix, or the encoded message, says.
        bytes: usize,
    },
    /// The payload is not the message that was expected.
    #[error("malformed frame: {0}")]
    Malformed(#[from] rmp_serde::decode::Error),
    /// The message cannot be written as MessagePack.
    #[error("cannot encode a frame: {0}")]
    Encode(#[from] rmp_serde::encode::Error),
}

/// One whole frame: length and payload.
///
/// # Errors
/// [`Error::TooLong`] when the message is over the limit, [`Error::Encode`] when a value in it has
/// no MessagePack form.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, Error> {
    let mut frame = vec![0; LENGTH_BYTES];
    rmp_serde::encode::write_named(&mut frame, message)?;
    let bytes = frame.len() - LENGTH_BYTES;
    if bytes > FRAME_BYTES_MAX {
        return Err(Error::TooLong { bytes });
    }
    let length = u32::try_from(bytes).map_err(|_| Error::TooLong { bytes })?;
    frame[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    Ok(frame)
}

/// Puts frames together from pieces of a byte stream.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Bytes at the front of `buffer` that were already given out.
    taken: usize,
}

impl Decoder {
    /// Adds bytes as they came from the pipe.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.taken == self.buffer.len() {
            self.buffer.clear();
            self.taken = 0;
        } else if self.taken > self.buffer.len() / 2 {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, or `None` until more bytes came.
    ///
    /// # Errors
    /// [`Error::TooLong`] as soon as the length is known, so that a hostile length costs nothing,
    /// and [`Error::Malformed`] when the payload is not a `T`.
    pub fn take<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Error> {
        let waiting = &self.buffer[self.taken..];
        let Some((length, rest)) = waiting.split_first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let bytes = u32::from_le_bytes(*length) as usize;
        if bytes > FRAME_BYTES_MAX {
            return Err(Error::TooLong { bytes });
        }
        let Some(payload) = rest.get(..bytes) else {
            return Ok(None);
        };
        let mut deserializer = rmp_serde::Deserializer::from_read_ref(payload);
        deserializer.set_max_depth(DEPTH_MAX);
        let message = T::deserialize(&mut deserializer)?;
        self.taken += LENGTH_BYTES + bytes;
        Ok(Some(message))
    }

    /// Whether the stream stopped inside a frame.
    #[must_use]
    pub fn is_mid_frame(&self) -> bool {
        self.taken < self.buffer.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Chat, Command, Constraint, Generate, Media, MediaKind, Message, Prompt, RequestId, Role,
        ToolChoice,
    };

    fn cancel(request: u64) -> Command {
        Command::Cancel { request: RequestId(request) }
    }

    #[test]
    fn a_worker_that_does_not_say_that_it_trims_or_counts_does_not() {
        let hello = rmp_serde::to_vec_named(&serde_json::json!({
            "Hello": { "version": 1, "engine": "old" }
        }));
        let hello: crate::Report = rmp_serde::from_slice(&hello.unwrap()).unwrap();
        let engine = "old".to_owned();
        let expected = crate::Report::Hello { version: 1, engine, trims: false, counts: false };
        assert_eq!(hello, expected);
    }

    #[test]
    fn a_request_without_a_constraint_is_written_as_ever_and_read_as_ever() {
        let generate = Generate::new(Prompt::Text("Hi".to_owned()));
        let written = rmp_serde::to_vec_named(&generate).unwrap();
        let shown: serde_json::Value = rmp_serde::from_slice(&written).unwrap();
        assert_eq!(shown.get("constraint"), None);
        assert_eq!(rmp_serde::from_slice::<Generate>(&written).unwrap(), generate);
        for constraint in [
            Constraint::Json,
            Constraint::JsonSchema(serde_json::json!({ "type": "integer", "maximum": 0.5 })),
            Constraint::Lark("start: \"a\"+".to_owned()),
        ] {
            let generate = Generate { constraint: Some(constraint), ..generate.clone() };
            let written = rmp_serde::to_vec_named(&generate).unwrap();
            assert_eq!(rmp_serde::from_slice::<Generate>(&written).unwrap(), generate);
        }
    }

    #[test]
    fn pictures_go_byte_by_byte_and_a_message_without_them_as_ever() {
        let plain = Message::text(Role::User, "Hi");
        let shown: serde_json::Value =
            rmp_serde::from_slice(&rmp_serde::to_vec_named(&plain).unwrap()).unwrap();
        assert_eq!(shown.get("media"), None);
        let picture = Media { at: 2, kind: MediaKind::Image, bytes: vec![200; 1000] };
        let seen = Message { media: vec![picture], ..plain };
        let written = rmp_serde::to_vec_named(&seen).unwrap();
        assert!(written.len() < 1200, "{} bytes", written.len());
        assert_eq!(rmp_serde::from_slice::<Message>(&written).unwrap(), seen);
    }

    #[test]
    fn what_a_chat_does_not_say_is_not_written() {
        let plain = Chat::default();
        let written = rmp_serde::to_vec_named(&plain).unwrap();
        let shown: serde_json::Value = rmp_serde::from_slice(&written).unwrap();
        let keys: Vec<&String> = shown.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["messages", "tools", "documents", "variables"]);
        assert_eq!(rmp_serde::from_slice::<Chat>(&written).unwrap(), plain);
        for tool_choice in [ToolChoice::None, ToolChoice::Required(vec!["f".to_owned()])] {
            let chat = Chat { tool_choice, one_call: true, continues: true, ..Chat::default() };
            let written = rmp_serde::to_vec_named(&chat).unwrap();
            assert_eq!(rmp_serde::from_slice::<Chat>(&written).unwrap(), chat);
        }
    }

    #[test]
    fn a_frame_split_anywhere_comes_out_whole() {
        let mut stream = encode(&cancel(1)).unwrap();
        stream.extend(encode(&cancel(2)).unwrap());
        for cut in 0..=stream.len() {
            let mut decoder = Decoder::default();
            let mut seen = Vec::new();
            for part in [&stream[..cut], &stream[cut..]] {
                decoder.push(part);
                while let Some(command) = decoder.take::<Command>().unwrap() {
                    seen.push(command);
                }
            }
            assert_eq!(seen, [cancel(1), cancel(2)], "cut at {cut}");
            assert!(!decoder.is_mid_frame());
        }
    }

    #[test]
    fn a_hostile_length_is_refused_before_its_bytes_come() {
        let mut decoder = Decoder::default();
        decoder.push(&u32::MAX.to_le_bytes());
        assert!(matches!(decoder.take::<Command>(), Err(Error::TooLong { .. })));
    }

    #[test]
    fn nesting_over_the_limit_is_an_error_and_not_a_stack_overflow() {
        // An array of one array of one array...: 0x91 is a one-element array.
        let payload = vec![0x91; 1 << 20];
        let mut decoder = Decoder::default();
        decoder.push(&u32::try_from(payload.len()).unwrap().to_le_bytes());
        decoder.push(&payload);
        assert!(matches!(decoder.take::<serde_json::Value>(), Err(Error::Malformed(_))));
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_message_or_an_error_but_no_panic(bytes: Vec<u8>) {
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.take::<Command>() {}
        }
    }
}
