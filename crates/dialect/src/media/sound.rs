//! How long a sound is by its header. A rate that the file names may be one sample a second, so that a
//! small file becomes hours.
//!
//! Sources: Microsoft's description of RIFF, RFC 9639 for FLAC, ISO 11172-3 and 13818-3 for MPEG audio.

use super::format::Format;

/// Seconds of a sound, rounded up; `None` where it does not say.
pub(super) fn seconds(format: Format, bytes: &[u8]) -> Option<u64> {
    match format {
        Format::Wav => wav(bytes),
        Format::Flac => flac(bytes),
        Format::Mp3 => mp3(bytes),
        Format::Png | Format::Jpeg | Format::WebP | Format::Gif | Format::Bmp => None,
    }
}

/// By the first `data` behind a `fmt `. The larger of two figures counts, since decoders differ in which
/// of the fields they believe.
fn wav(bytes: &[u8]) -> Option<u64> {
    let mut rest = bytes.get(12..)?;
    let mut form = None;
    loop {
        let (head, behind) = rest.split_at_checked(8)?;
        let length = little(head.get(4..8)?);
        let here = usize::try_from(length).unwrap_or(usize::MAX).min(behind.len());
        let (content, after) = behind.split_at_checked(here)?;
        match head.get(..4)? {
            b"fmt " => form = Some(content),
            b"data" => return wav_seconds(form?, here as u64),
            _ => {}
        }
        // What is odd is padded.
        rest = after.get(here % 2..)?;
    }
}

fn wav_seconds(form: &[u8], data_bytes: u64) -> Option<u64> {
    let field = |range| form.get(range).map(little).filter(|&number| number > 0);
    let (channels, rate) = (field(2..4)?, field(4..8)?);
    let (frame_bytes, sample_bits) = (field(12..14)?, field(14..16)?);
    let by_frames = data_bytes / frame_bytes;
    let by_samples = data_bytes.checked_mul(8)? / channels.checked_mul(sample_bits)?;
    Some(by_frames.max(by_samples).div_ceil(rate))
}

/// By the block that every file begins with. Zero samples mean that the writer did not know how many.
fn flac(bytes: &[u8]) -> Option<u64> {
    let kind = bytes.get(4)? & 0x7f;
    let packed = bytes.get(18..26)?.iter().fold(0, |sum: u64, byte| (sum << 8) | u64::from(*byte));
    let (rate, samples) = (packed >> 44, packed & 0xf_ffff_ffff);
    (kind == 0 && rate > 0 && samples > 0).then(|| samples.div_ceil(rate))
}

/// By its frames, each of which says how long it is. What stands between them is passed over.
fn mp3(bytes: &[u8]) -> Option<u64> {
    let mut rest = bytes.get(tag_bytes(bytes)..)?;
    // In microseconds, so that no rate loses a part of its frames.
    let mut sum_us = 0_u64;
    while let Some(at) = rest.iter().position(|byte| *byte == 0xff) {
        rest = rest.get(at..)?;
        let frame = rest.get(..4).and_then(Frame::of);
        let taken = frame.as_ref().map_or(1, |frame| frame.bytes.max(1));
        sum_us = sum_us.saturating_add(frame.map_or(0, |frame| frame.us));
        rest = rest.get(taken..).unwrap_or_default();
    }
    (sum_us > 0).then(|| sum_us.div_ceil(1_000_000))
}

/// The tag in front of the frames, which may hold a picture; zero where there is none.
fn tag_bytes(bytes: &[u8]) -> usize {
    const HEAD_BYTES: usize = 10;
    let Some([b'I', b'D', b'3', _, _, _, length @ ..]) = bytes.get(..HEAD_BYTES) else { return 0 };
    // Seven bits of each byte count.
    length.iter().fold(0, |sum, byte| (sum << 7) | usize::from(byte & 0x7f)) + HEAD_BYTES
}

/// A frame of MPEG audio.
struct Frame {
    bytes: usize,
    us: u64,
}

impl Frame {
    /// By its first four bytes.
    fn of(head: &[u8]) -> Option<Self> {
        /// Kilobits a second, for the layers of MPEG 1 and then of what came after it.
        const RATES: [[u32; 14]; 5] = [
            [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
            [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
            [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
            [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
            [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
        ];
        let [0xff, second, third, _] = *head else { return None };
        // The version halves the rate of samples, and the one after it again.
        let (is_first, halvings) = match (second >> 3) & 3 {
            3 => (true, 0),
            2 => (false, 1),
            0 => (false, 2),
            _ => return None,
        };
        let (row, samples, slot_bytes) = match ((second >> 1) & 3, is_first) {
            (3, true) => (0, 384, 4),
            (3, false) => (3, 384, 4),
            (2, true) => (1, 1152, 1),
            (2, false) => (4, 1152, 1),
            (1, true) => (2, 1152, 1),
            (1, false) => (4, 576, 1),
            _ => return None,
        };
        let column = usize::from(third >> 4).checked_sub(1)?;
        let bits = u64::from(*RATES.get(row)?.get(column)?) * 1000;
        let rate = [44_100_u64, 48_000, 32_000].get(usize::from((third >> 2) & 3))? >> halvings;
        let padding = u64::from((third >> 1) & 1);
        let slots = samples / 8 / slot_bytes * bits / rate + padding;
        let is_frame = second & 0xe0 == 0xe0;
        is_frame.then(|| Self {
            bytes: usize::try_from(slots * slot_bytes).unwrap_or(usize::MAX),
            us: (samples * 1_000_000).div_ceil(rate),
        })
    }
}

fn little(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn riff(rate: u32, data_bytes: usize) -> Vec<u8> {
        let mut file = b"RIFF\0\0\0\0WAVELIST\x01\0\0\0x\0fmt \x10\0\0\0\x01\0\x01\0".to_vec();
        file.extend(rate.to_le_bytes());
        file.extend((rate * 2).to_le_bytes());
        file.extend(b"\x02\0\x10\0data\xff\xff\xff\xff");
        file.resize(file.len() + data_bytes, 0);
        file
    }

    #[test]
    fn a_wave_is_as_long_as_its_data_at_its_rate() {
        assert_eq!(wav(&riff(16_000, 64_000)), Some(2));
        assert_eq!(wav(&riff(16_000, 64_002)), Some(3));
        assert_eq!(wav(&riff(1, 64_000)), Some(32_000), "a rate that makes hours of a small file");
        assert_eq!(wav(&riff(0, 64_000)), None);
        let whole = riff(16_000, 64);
        for length in 0..whole.len() - 64 {
            assert_eq!(wav(&whole[..length]), None, "cut at {length}");
        }
    }

    #[test]
    fn a_flac_says_how_many_samples_it_has() {
        let flac_of = |rate: u64, samples: u64| {
            let mut file = b"fLaC\x80\0\0\x22".to_vec();
            file.extend([0; 10]);
            file.extend(((rate << 44) | samples).to_be_bytes());
            file.extend([0; 16]);
            file
        };
        assert_eq!(flac(&flac_of(48_000, 480_000)), Some(10));
        assert_eq!(flac(&flac_of(1, 1 << 35)), Some(1 << 35));
        assert_eq!(flac(&flac_of(48_000, 0)), None);
        assert_eq!(flac(&flac_of(0, 1)), None);
        assert_eq!(flac(b"fLaC"), None);
    }

    #[test]
    fn an_mp3_is_as_long_as_its_frames() {
        // MPEG 1, layer III, 128 kbit/s, 44,100 Hz: 417 bytes and 26.1 ms each.
        let mut frame = vec![0; 417];
        frame[..4].copy_from_slice(&[0xff, 0xfb, 0x90, 0x00]);
        let tagged = [b"ID3\x04\0\0\0\0\0\x04abcd".to_vec(), frame.repeat(100)].concat();
        assert_eq!(mp3(&tagged), Some(3));
        // MPEG 2.5, layer III, 8 kbit/s, 8,000 Hz: 72 bytes and 72 ms each.
        let mut slow = [0; 72];
        slow[..4].copy_from_slice(&[0xff, 0xe3, 0x18, 0x00]);
        assert_eq!(mp3(&slow.repeat(1000)), Some(72));
        assert_eq!(mp3(b"ID3\x04\0\0\0\0\0\0"), None);
        assert_eq!(mp3(&[0xff; 9]), None);
    }
}
