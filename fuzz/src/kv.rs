//! Files of the KV cache: a header is refused or is true.

use kv_store::format::{self, HEADER_BYTES_MAX, Segment};
use kv_store::{BLOCK_TOKENS, Kind, Seal};

/// An entry of the KV cache never panics, opens only with what sealed it, and what its header says
/// fits its kind and its file.
pub fn kv_entry(bytes: &[u8]) {
    let start = &bytes[..bytes.len().min(HEADER_BYTES_MAX)];
    let seal = Seal::new(&[7; 32]);
    let plain = format::decode(start, bytes.len() as u64, None);
    let sealed = format::decode(start, bytes.len() as u64, Some(&seal));
    assert!(plain.is_err() || sealed.is_err(), "plain and sealed at once");
    for header in [plain, sealed].into_iter().flatten() {
        assert!(header.kind.tokens().contains(&header.tokens.len()));
        assert!(header.tokens.len() <= BLOCK_TOKENS);
        assert!(header.payload_offset <= start.len(), "a header longer than what was read of it");
        assert_eq!(header.payload_offset as u64 + header.stored_bytes, bytes.len() as u64);
        let sum = |part: fn(&Segment) -> u32| -> u64 {
            header.segments.iter().map(|segment| u64::from(part(segment))).sum()
        };
        assert_eq!(sum(|segment| segment.tokens), header.tokens.len() as u64);
        assert_eq!(sum(|segment| segment.bytes), header.stored_bytes);
        match header.kind {
            Kind::Cells => assert!(!header.tokens.is_empty()),
            Kind::State => assert!(header.tokens.len() < BLOCK_TOKENS),
        }
    }
}
