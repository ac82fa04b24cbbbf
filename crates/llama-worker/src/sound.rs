//! Sounds of strangers: whether a file is one, and how much it becomes when it is read, as far as its head
//! says. A file of some kilobytes may say that it lasts for years, and room would be made for that.
//!
//! Not here: reading it (mtmd's miniaudio does), what a model makes of it (`projector`).

use worker_protocol::limits::SOUND_SECONDS_MAX;

/// Looks at the head of a sound.
///
/// # Errors
/// A fragment that says what is wrong with the file.
pub(crate) fn check(file: &[u8]) -> Result<(), String> {
    let seconds = if file.starts_with(b"RIFF") && file.get(8..12) == Some(b"WAVE") {
        wav_seconds(file)
            .ok_or("its head is broken or cut; send the whole file, or save it anew")?
    } else if file.starts_with(b"fLaC") {
        flac_seconds(file)
            .ok_or("its head is broken or cut; send the whole file, or save it anew")?
    } else if is_mp3(file) {
        // Its frames say their length one by one, so that it cannot promise more than it has.
        0
    } else {
        return Err("it is neither WAV, FLAC nor MP3".to_owned());
    };
    if seconds > SOUND_SECONDS_MAX {
        return Err(format!(
            "it lasts {seconds} s, and at most {SOUND_SECONDS_MAX} s are read; cut it into parts"
        ));
    }
    Ok(())
}

fn is_mp3(file: &[u8]) -> bool {
    file.starts_with(b"ID3") || matches!(file, [0xff, second, ..] if second & 0xe0 == 0xe0)
}

/// What the head promises: samples by samples a second. `None` too where it promises more than there is.
fn wav_seconds(file: &[u8]) -> Option<u64> {
    let mut rest = file.get(12..)?;
    let mut form = None;
    loop {
        let (name, after) = rest.split_first_chunk::<4>()?;
        let (length, after) = after.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (part, behind) = after.split_at_checked(length)?;
        match name {
            b"fmt " => form = Some(wav_form(part)?),
            b"data" => {
                let (rate, sample_bytes) = form?;
                return Some(length as u64 / sample_bytes / rate);
            }
            _ => {}
        }
        // Parts begin at even places.
        rest = behind.get(length % 2..)?;
    }
}

/// Samples a second, and bytes of one sample of all channels: the fewest that the head allows.
fn wav_form(part: &[u8]) -> Option<(u64, u64)> {
    let number =
        |at: usize| part.get(at..at + 2)?.first_chunk().map(|two| u16::from_le_bytes(*two));
    let rate = u64::from(u32::from_le_bytes(*part.get(4..8)?.first_chunk()?));
    let (channels, block_bytes, bits) = (number(2)?, number(12)?, number(14)?);
    let by_bits = u64::from(channels) * u64::from(bits) / 8;
    (rate > 0).then_some((rate, by_bits.min(u64::from(block_bytes)).max(1)))
}

/// What the head promises, in its first part: samples by samples a second.
fn flac_seconds(file: &[u8]) -> Option<u64> {
    let numbers = file.get(18..26)?.first_chunk::<8>()?;
    let numbers = u64::from_be_bytes(*numbers);
    let (rate, samples) = (numbers >> 44, numbers & 0xf_ffff_ffff);
    samples.checked_div(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One channel of 16 bits.
    fn wav(rate: u32, data_bytes: u32, held_bytes: usize) -> Vec<u8> {
        let mut file = b"RIFF\0\0\0\0WAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0".to_vec();
        file.extend([1, 0, 1, 0]);
        file.extend(rate.to_le_bytes());
        // Bytes a second, which nobody reads.
        file.extend([9; 4]);
        file.extend([2, 0, 16, 0]);
        file.extend(b"data");
        file.extend(data_bytes.to_le_bytes());
        file.extend(vec![0; held_bytes]);
        file
    }

    fn flac(rate: u64, samples: u64) -> Vec<u8> {
        let mut file = b"fLaC\0\0\0\x22".to_vec();
        file.extend([0; 10]);
        file.extend((rate << 44 | samples).to_be_bytes());
        file.extend([0; 16]);
        file
    }

    #[test]
    fn a_sound_is_as_long_as_its_head_says_and_its_bytes_allow() {
        assert_eq!(wav_seconds(&wav(16_000, 64_000, 64_000)), Some(2));
        assert_eq!(flac_seconds(&flac(44_100, 441_000)), Some(10));
        assert_eq!(check(&wav(16_000, 64_000, 64_000)), Ok(()));
        assert_eq!(check(b"ID3\x04"), Ok(()));
        assert_eq!(check(&[0xff, 0xfb, 0x90, 0]), Ok(()));
    }

    #[test]
    fn what_is_no_sound_or_never_ends_is_refused() {
        for (file, why) in [
            (flac(16_000, 1 << 35), "lasts 2147483 s"),
            (flac(0, 100), "broken or cut"),
            (wav(1, 4000, 4000), "lasts 2000 s"),
            (wav(0, 4000, 4000), "broken or cut"),
            (wav(16_000, u32::MAX, 4000), "broken or cut"),
            (wav(16_000, 64_000, 64_000)[..40].to_vec(), "broken or cut"),
            (b"RIFF\0\0\0\0WEBPVP8 ".to_vec(), "neither WAV"),
            (b"OggS".to_vec(), "neither WAV"),
            (Vec::new(), "neither WAV"),
        ] {
            let refused = check(&file).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
    }
}
