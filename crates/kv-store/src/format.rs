//! The file of one entry: bytes to header and payload, and back. `docs/design/kv-format.md` has the
//! same as a picture. Pure: the files themselves are the business of `disk`.
//!
//! Whatever a file holds, reading it gives what was written or a [`Damage`].

use std::borrow::Cow;

use twox_hash::XxHash3_128;

use crate::key::{self, Key, Kind};
use crate::limits::{BLOCK_TOKENS, ENTRY_BYTES_MAX, SEGMENTS_MAX};
use crate::seal::{NONCE_BYTES, Seal, TAG_BYTES};

/// The version of this format; part of every root, so that versions never meet.
pub const VERSION: u32 = 1;

/// How every file begins. The first byte is no text, the last ones reveal a copy as text.
const MAGIC: [u8; 8] = *b"\x8bRKV\r\n\x1a\n";

const COMPRESSED: u8 = 1;
const SEALED: u8 = 2;

/// Bytes before the tokens.
const FIXED_BYTES: usize = 160;

/// Bytes that a header has for each segment.
const SEGMENT_HEAD_BYTES: usize = 24;

/// Bytes of the checksum that ends the header.
const CHECKSUM_BYTES: usize = 16;

/// No header is longer. Who reads so much of a file has its header.
pub const HEADER_BYTES_MAX: usize = header_bytes(BLOCK_TOKENS, SEGMENTS_MAX, true);

/// The level of zstd that costs the least; the states hardly shrink more with others.
const LEVEL: i32 = 1;

/// Why a file is no entry, or not the one it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Shorter or longer than it says.
    #[error("its length is not what its header says")]
    Length,
    /// It begins otherwise.
    #[error("it is no cache entry")]
    Magic,
    /// Written by another release.
    #[error("it has another format version")]
    Version,
    /// Bits have changed.
    #[error("its checksum does not match")]
    Checksum,
    /// The header says what no writer writes.
    #[error("its header contradicts itself")]
    Contradiction,
    /// It belongs elsewhere: another model, or another prefix.
    #[error("it holds another entry than its name says")]
    Key,
    /// Sealed with another key, or sealed and should not be, or the reverse.
    #[error("it is not sealed with the present key")]
    Seal,
}

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// What the entry holds.
    pub kind: Kind,
    /// Full blocks before it.
    pub blocks_before: u32,
    /// The model it belongs to.
    pub root: Key,
    /// The chain before it.
    pub parent: Key,
    /// Its own key.
    pub key: Key,
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// Where the payload begins.
    pub payload_offset: usize,
    /// Bytes of the payload in the file.
    pub stored_bytes: u64,
    /// Bytes of the payload when it is unpacked.
    pub raw_bytes: u64,
    /// The parts of the payload, each of which can be checked by itself.
    pub segments: Vec<Segment>,
    compressed: bool,
    nonce: [u8; NONCE_BYTES],
}

/// A part of a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// How many of the entry's tokens it is of.
    pub tokens: u32,
    /// Its bytes in the file.
    pub bytes: u32,
    checksum: u128,
}

/// What is to be kept of an entry: its bytes, and where they may be taken apart.
#[derive(Debug, Clone, Default)]
pub struct Payload {
    /// All of it.
    pub bytes: Vec<u8>,
    /// The parts that are of use by themselves, one behind the other; none when it is only of use whole.
    pub cuts: Vec<Cut>,
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, cuts: Vec::new() }
    }
}

/// A part of a [`Payload`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// How many of the entry's tokens it is of.
    pub tokens: u32,
    /// Its bytes.
    pub bytes: u32,
}

/// What an entry is called, for [`encode`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Name<'a> {
    pub(crate) kind: Kind,
    pub(crate) blocks_before: u32,
    pub(crate) root: Key,
    pub(crate) parent: Key,
    pub(crate) tokens: &'a [u32],
}

/// Bytes of the header of an entry with so many tokens in so many segments.
pub(crate) const fn header_bytes(tokens: usize, segments: usize, sealed: bool) -> usize {
    let tokens_bytes = 4 * tokens + if sealed { TAG_BYTES } else { 0 };
    FIXED_BYTES + tokens_bytes + SEGMENT_HEAD_BYTES * segments + CHECKSUM_BYTES
}

/// How a kind is written.
pub(crate) fn kind_byte(kind: Kind) -> u8 {
    match kind {
        Kind::Cells => 0,
        Kind::State => 1,
    }
}

/// The header and the payload of a file, in this order.
pub(crate) fn encode<'a>(
    name: Name<'_>,
    payload: &'a [u8],
    cuts: &[Cut],
    compress: bool,
    seal: Option<&Seal>,
) -> Result<(Vec<u8>, Cow<'a, [u8]>), String> {
    let key = key::entry(name.parent, name.kind, name.tokens);
    let raw_bytes = payload.len() as u64;
    let (mut stored, compressed) =
        if compress { smaller(payload) } else { (payload.into(), false) };
    let mut nonce = [0; NONCE_BYTES];
    if let Some(seal) = seal {
        nonce = Seal::nonce()?;
        stored = Cow::Owned(seal.close(&payload_nonce(nonce), &key.0, stored.into_owned())?);
    }
    let flags = if compressed { COMPRESSED } else { 0 } | if seal.is_some() { SEALED } else { 0 };
    let is_cut = flags == 0 && name.kind == Kind::Cells;
    let segments = segments(name.tokens.len(), &stored, if is_cut { cuts } else { &[] });
    let mut head = Vec::with_capacity(HEADER_BYTES_MAX);
    head.extend_from_slice(&MAGIC);
    head.extend_from_slice(&VERSION.to_le_bytes());
    head.extend_from_slice(&[kind_byte(name.kind), flags]);
    // At most 256, which a kind allows.
    head.extend_from_slice(&(name.tokens.len() as u16).to_le_bytes());
    head.extend_from_slice(&name.blocks_before.to_le_bytes());
    head.extend_from_slice(&(segments.len() as u32).to_le_bytes());
    head.extend_from_slice(&(stored.len() as u64).to_le_bytes());
    head.extend_from_slice(&raw_bytes.to_le_bytes());
    for part in [name.root, name.parent, key] {
        head.extend_from_slice(&part.0);
    }
    head.extend_from_slice(&nonce);
    let tokens = key::token_bytes(name.tokens);
    match seal {
        Some(seal) => {
            let closed = seal.close(&nonce, &head, tokens)?;
            head.extend_from_slice(&closed);
        }
        None => head.extend_from_slice(&tokens),
    }
    for segment in &segments {
        head.extend_from_slice(&segment.tokens.to_le_bytes());
        head.extend_from_slice(&segment.bytes.to_le_bytes());
        head.extend_from_slice(&segment.checksum.to_le_bytes());
    }
    head.extend_from_slice(&XxHash3_128::oneshot(&head).to_le_bytes());
    Ok((head, stored))
}

/// What is stored of so many tokens, cut so; in one where that is no way to cut it.
fn segments(tokens: usize, stored: &[u8], cuts: &[Cut]) -> Vec<Segment> {
    let whole = Cut { tokens: tokens as u32, bytes: stored.len() as u32 };
    let cuts = if is_cut_of(whole, cuts) { cuts } else { &[whole] };
    let mut rest = stored;
    let segment = |cut: &Cut| {
        let (bytes, after) = rest.split_at(cut.bytes as usize);
        rest = after;
        let checksum = XxHash3_128::oneshot(bytes);
        Segment { tokens: cut.tokens, bytes: cut.bytes, checksum }
    };
    cuts.iter().map(segment).collect()
}

/// Whether these parts make the whole.
fn is_cut_of(whole: Cut, cuts: &[Cut]) -> bool {
    let sum = |part: fn(&Cut) -> u32| cuts.iter().map(|cut| u64::from(part(cut))).sum::<u64>();
    (1..=SEGMENTS_MAX).contains(&cuts.len())
        && (cuts.len() == 1 || cuts.iter().all(|cut| cut.tokens > 0))
        && sum(|cut| cut.tokens) == u64::from(whole.tokens)
        && sum(|cut| cut.bytes) == u64::from(whole.bytes)
}

/// Reads the header of a file of `file_bytes` that begins with `start`; [`HEADER_BYTES_MAX`] of it
/// are enough.
///
/// # Errors
/// Says what is wrong with the file.
pub fn decode(start: &[u8], file_bytes: u64, seal: Option<&Seal>) -> Result<Header, Damage> {
    let fixed: &[u8; FIXED_BYTES] = start.first_chunk().ok_or(Damage::Length)?;
    if fixed[..8] != MAGIC {
        return Err(Damage::Magic);
    }
    if u32::from_le_bytes(part(fixed, 8)) != VERSION {
        return Err(Damage::Version);
    }
    let flags = fixed[13];
    let sealed = flags & SEALED != 0;
    let count = usize::from(u16::from_le_bytes(part(fixed, 14)));
    let segment_count = u32::from_le_bytes(part(fixed, 20)) as usize;
    let head_bytes = header_bytes(count.min(BLOCK_TOKENS), segment_count.min(SEGMENTS_MAX), sealed);
    let head = start.get(..head_bytes).ok_or(Damage::Length)?;
    let (body, checksum) = head.split_at(head_bytes - CHECKSUM_BYTES);
    if checksum != XxHash3_128::oneshot(body).to_le_bytes() {
        return Err(Damage::Checksum);
    }
    let kind = match fixed[12] {
        0 => Kind::Cells,
        1 => Kind::State,
        2.. => return Err(Damage::Contradiction),
    };
    let stored_bytes = u64::from_le_bytes(part(fixed, 24));
    let raw_bytes = u64::from_le_bytes(part(fixed, 32));
    let sizes = [stored_bytes, raw_bytes];
    let (tokens, segments) = body[FIXED_BYTES..]
        .split_at(body.len() - FIXED_BYTES - SEGMENT_HEAD_BYTES * segment_count.min(SEGMENTS_MAX));
    let segments = read_segments(segments);
    let cuts: Vec<Cut> = segments
        .iter()
        .map(|Segment { tokens, bytes, .. }| Cut { tokens: *tokens, bytes: *bytes })
        .collect();
    let possible = kind.tokens().contains(&count)
        && flags & !(COMPRESSED | SEALED) == 0
        && segment_count <= SEGMENTS_MAX
        && (segment_count == 1 || (flags == 0 && kind == Kind::Cells))
        && (flags != 0 || stored_bytes == raw_bytes)
        && u32::try_from(stored_bytes)
            .is_ok_and(|bytes| is_cut_of(Cut { tokens: count as u32, bytes }, &cuts))
        && sizes.iter().all(|bytes| *bytes <= ENTRY_BYTES_MAX + TAG_BYTES as u64);
    if !possible {
        return Err(Damage::Contradiction);
    }
    if file_bytes != head_bytes as u64 + stored_bytes {
        return Err(Damage::Length);
    }
    let nonce = part(fixed, 136);
    let tokens = open_tokens(fixed, tokens, nonce, sealed, seal)?;
    let (parent, key) = (Key(part(fixed, 72)), Key(part(fixed, 104)));
    if key::entry(parent, kind, &tokens) != key {
        return Err(Damage::Key);
    }
    Ok(Header {
        kind,
        blocks_before: u32::from_le_bytes(part(fixed, 16)),
        root: Key(part(fixed, 40)),
        parent,
        key,
        tokens,
        payload_offset: head_bytes,
        stored_bytes,
        raw_bytes,
        segments,
        compressed: flags & COMPRESSED != 0,
        nonce,
    })
}

/// A checksum of bytes that come part by part.
pub(crate) struct Sum(XxHash3_128);

impl Sum {
    pub(crate) fn new() -> Self {
        Self(XxHash3_128::new())
    }

    pub(crate) fn add(&mut self, part: &[u8]) {
        self.0.write(part);
    }
}

/// A segment as it was given to [`encode`], from what the file holds of it, of which `sum` has seen all.
pub(crate) fn unpack(
    header: &Header,
    segment: &Segment,
    stored: Vec<u8>,
    sum: &Sum,
    seal: Option<&Seal>,
) -> Result<Vec<u8>, Damage> {
    if stored.len() != segment.bytes as usize {
        return Err(Damage::Length);
    }
    if sum.0.finish_128() != segment.checksum {
        return Err(Damage::Checksum);
    }
    let mut payload = stored;
    if let Some(seal) = seal {
        payload =
            seal.open(&payload_nonce(header.nonce), &header.key.0, payload).ok_or(Damage::Seal)?;
    }
    if header.compressed {
        // The size is bounded by the header's check, and memory is touched only as it is filled.
        let size = usize::try_from(header.raw_bytes).map_err(|_| Damage::Contradiction)?;
        payload = zstd::bulk::decompress(&payload, size).map_err(|_| Damage::Contradiction)?;
    }
    let is_whole = payload.len() as u64 == header.unpacked_bytes(segment);
    if is_whole { Ok(payload) } else { Err(Damage::Contradiction) }
}

impl Header {
    /// Bytes of memory that reading a segment takes.
    pub(crate) fn memory_bytes(&self, segment: &Segment) -> u64 {
        let stored_bytes = u64::from(segment.bytes);
        if self.compressed { stored_bytes + self.unpacked_bytes(segment) } else { stored_bytes }
    }

    /// Bytes of a segment when it is unpacked.
    fn unpacked_bytes(&self, segment: &Segment) -> u64 {
        // Only what is not cut is packed.
        if self.segments.len() == 1 { self.raw_bytes } else { segment.bytes.into() }
    }
}

fn read_segments(bytes: &[u8]) -> Vec<Segment> {
    let segment = |bytes: &[u8]| Segment {
        tokens: u32::from_le_bytes(part(bytes, 0)),
        bytes: u32::from_le_bytes(part(bytes, 4)),
        checksum: u128::from_le_bytes(part(bytes, 8)),
    };
    bytes.chunks_exact(SEGMENT_HEAD_BYTES).map(segment).collect()
}

/// The tokens behind the fixed part, with what seals them taken off.
fn open_tokens(
    fixed: &[u8; FIXED_BYTES],
    stored: &[u8],
    nonce: [u8; NONCE_BYTES],
    sealed: bool,
    seal: Option<&Seal>,
) -> Result<Vec<u32>, Damage> {
    let bytes = match (sealed, seal) {
        (false, None) => Cow::Borrowed(stored),
        (true, Some(seal)) => {
            Cow::Owned(seal.open(&nonce, fixed, stored.to_vec()).ok_or(Damage::Seal)?)
        }
        (false, Some(_)) | (true, None) => return Err(Damage::Seal),
    };
    Ok(bytes.chunks_exact(4).map(|four| u32::from_le_bytes(part(four, 0))).collect())
}

/// The payload in fewer bytes, if zstd finds any to save.
fn smaller(payload: &[u8]) -> (Cow<'_, [u8]>, bool) {
    match zstd::bulk::compress(payload, LEVEL) {
        Ok(packed) if packed.len() < payload.len() => (packed.into(), true),
        Ok(_) | Err(_) => (payload.into(), false),
    }
}

/// Header and payload are sealed with nonces that differ in one bit.
fn payload_nonce(mut nonce: [u8; NONCE_BYTES]) -> [u8; NONCE_BYTES] {
    nonce[0] ^= 0x80;
    nonce
}

/// A few bytes at a place that is known to be inside.
fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[at..at + N]);
    part
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Fingerprint;

    fn file(tokens: &[u32], payload: &[u8], compress: bool, seal: Option<&Seal>) -> Vec<u8> {
        cut_file(tokens, payload, &[], compress, seal)
    }

    fn cut_file(
        tokens: &[u32],
        payload: &[u8],
        cuts: &[Cut],
        compress: bool,
        seal: Option<&Seal>,
    ) -> Vec<u8> {
        let root = Fingerprint::default().root();
        let name = Name {
            kind: Kind::Cells,
            blocks_before: 3,
            root,
            parent: key::link(root, &[1]),
            tokens,
        };
        let (mut head, payload) = encode(name, payload, cuts, compress, seal).unwrap();
        let segments = decode(&head, (head.len() + payload.len()) as u64, seal).unwrap().segments;
        assert_eq!(head.len(), header_bytes(tokens.len(), segments.len(), seal.is_some()));
        head.extend_from_slice(&payload);
        head
    }

    fn read(file: &[u8], seal: Option<&Seal>) -> Result<(Header, Vec<u8>), Damage> {
        let start = &file[..file.len().min(HEADER_BYTES_MAX)];
        let header = decode(start, file.len() as u64, seal)?;
        let mut rest = &file[header.payload_offset..];
        let mut payload = Vec::new();
        for segment in &header.segments {
            let (stored, after) = rest.split_at(segment.bytes as usize);
            rest = after;
            let mut sum = Sum::new();
            stored.chunks(7).for_each(|part| sum.add(part));
            payload.extend(unpack(&header, segment, stored.to_vec(), &sum, seal)?);
        }
        assert!(rest.is_empty());
        Ok((header, payload))
    }

    /// All forms of one entry: plain, cut, compressed, sealed, compressed and sealed.
    fn forms() -> Vec<(Vec<u8>, Option<Seal>)> {
        let payload: Vec<u8> = (0..200_u8).map(|byte| byte % 5).collect();
        let tokens: Vec<u32> = (0..7).collect();
        let cuts = [(3, 90), (1, 0), (3, 110)].map(|(tokens, bytes)| Cut { tokens, bytes });
        let mut forms = vec![(cut_file(&tokens, &payload, &cuts, false, None), None)];
        for compress in [false, true] {
            for seal in [None, Some(Seal::new(&[7; 32]))] {
                forms.push((file(&tokens, &payload, compress, seal.as_ref()), seal));
            }
        }
        forms
    }

    #[test]
    fn what_was_written_is_read() {
        for (file, seal) in forms() {
            let (header, payload) = read(&file, seal.as_ref()).unwrap();
            assert_eq!(header.tokens, [0, 1, 2, 3, 4, 5, 6]);
            assert_eq!(header.blocks_before, 3);
            assert_eq!(payload, (0..200_u8).map(|byte| byte % 5).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_file_cut_anywhere_is_damaged() {
        for (file, seal) in forms() {
            for length in 0..file.len() {
                assert!(read(&file[..length], seal.as_ref()).is_err(), "{length}");
            }
            let mut longer = file.clone();
            longer.push(0);
            assert_eq!(read(&longer, seal.as_ref()), Err(Damage::Length));
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_damage() {
        for (file, seal) in forms() {
            for place in 0..file.len() * 8 {
                let mut file = file.clone();
                file[place / 8] ^= 1 << (place % 8);
                assert!(read(&file, seal.as_ref()).is_err(), "bit {place}");
            }
        }
    }

    #[test]
    fn a_sealed_file_shows_nothing_of_what_was_written() {
        let tokens: Vec<u32> = (1000..1040).collect();
        let payload = b"what a person wrote, again and again".repeat(9);
        let seal = Seal::new(&[9; 32]);
        let plain = file(&tokens, &payload, false, None);
        let sealed = file(&tokens, &payload, false, Some(&seal));
        for secret in [key::token_bytes(&tokens[3..9]), payload[..24].to_vec()] {
            let shows = |file: &[u8]| file.windows(secret.len()).any(|part| part == secret);
            assert!(shows(&plain));
            assert!(!shows(&sealed));
        }
        assert_eq!(read(&sealed, Some(&Seal::new(&[8; 32]))), Err(Damage::Seal));
        assert_eq!(read(&sealed, None), Err(Damage::Seal));
        assert_eq!(read(&plain, Some(&seal)), Err(Damage::Seal));
        let again = file(&tokens, &payload, false, Some(&seal));
        assert_ne!(sealed, again, "the same nonce twice");
    }

    #[test]
    fn compressing_never_makes_a_file_longer() {
        let noise: Vec<u8> = (0..64).flat_map(|seed| key::link(Key([seed; 32]), &[]).0).collect();
        assert_eq!(file(&[1], &noise, true, None), file(&[1], &noise, false, None));
        assert!(file(&[1], &[0; 4096], true, None).len() < 400);
    }

    #[test]
    fn what_cannot_be_cut_so_is_not_cut() {
        let count = |cuts: &[(u32, u32)], compress, seal: Option<&Seal>| {
            let cuts: Vec<Cut> =
                cuts.iter().map(|&(tokens, bytes)| Cut { tokens, bytes }).collect();
            let file = cut_file(&[1, 2, 3], &[7; 300], &cuts, compress, seal);
            let (header, payload) = read(&file, seal).unwrap();
            assert_eq!(payload, [7; 300]);
            header.segments.len()
        };
        assert_eq!(count(&[(1, 100), (2, 200)], false, None), 2);
        for odd in [&[][..], &[(1, 100), (1, 200)], &[(1, 100), (2, 100)], &[(0, 10), (3, 290)]] {
            assert_eq!(count(odd, false, None), 1, "{odd:?}");
        }
        assert_eq!(count(&[(1, 100), (2, 200)], true, None), 1);
        assert_eq!(count(&[(1, 100), (2, 200)], false, Some(&Seal::new(&[7; 32]))), 1);
        assert_eq!(count(&[(1, 1); SEGMENTS_MAX + 1], false, None), 1);
    }

    /// One who has the checksum right says the impossible.
    #[test]
    fn contradictions_are_found_behind_a_valid_checksum() {
        let whole = file(&[1, 2], &[5; 9], false, None);
        let end = header_bytes(2, 1, false) - CHECKSUM_BYTES;
        for (at, byte, expected) in [
            (12, 2, Damage::Contradiction),
            (13, 4, Damage::Contradiction),
            (23, 1, Damage::Length),
            (24, 8, Damage::Contradiction),
            (30, 1, Damage::Contradiction),
            (32, 8, Damage::Contradiction),
            (38, 1, Damage::Contradiction),
            (168, 1, Damage::Contradiction),
            (172, 8, Damage::Contradiction),
            (12, 1, Damage::Key),
            (74, 0, Damage::Key),
            (160, 9, Damage::Key),
        ] {
            let mut file = whole.clone();
            assert_ne!(file[at], byte);
            file[at] = byte;
            let checksum = XxHash3_128::oneshot(&file[..end]).to_le_bytes();
            file[end..end + CHECKSUM_BYTES].copy_from_slice(&checksum);
            assert_eq!(read(&file, None), Err(expected), "byte {at}");
        }
    }
}
