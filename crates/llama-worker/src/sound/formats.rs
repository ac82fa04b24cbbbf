//! What each kind of file holds, sample by sample.

use std::io::{Cursor, Read};

use claxon::{FlacReader, FlacReaderOptions};
use hound::{SampleFormat, WavReader, WavSpec};
use nanomp3::{Options, SliceReader};

use super::{Ear, broken};

/// See [`super::read`]. What has no end, as programs write it that do not know it yet, ends with the file.
pub(super) fn wav(file: &[u8], rate: u32) -> Result<Vec<f32>, String> {
    let parts = WavParts::of(file).ok_or_else(|| broken(&"its head is not whole"))?;
    let head = parts.head();
    let reader = WavReader::new(Cursor::new(&head).chain(parts.data));
    let mut reader = reader.map_err(|error| {
        let is_unread = matches!(error, hound::Error::Unsupported);
        if is_unread { unsupported(&parts) } else { broken(&error) }
    })?;
    let WavSpec { channels, sample_rate, bits_per_sample, sample_format } = reader.spec();
    let mut ear = Ear::new(channels.into(), sample_rate, rate)?;
    match sample_format {
        SampleFormat::Float => hear_all(&mut ear, reader.samples::<f32>().map(|one| one.ok()))?,
        SampleFormat::Int => {
            let scale = 1.0 / (1_u64 << bits_per_sample.clamp(1, 32).saturating_sub(1)) as f32;
            let samples = reader.samples::<i32>();
            hear_all(&mut ear, samples.map(|one| one.ok().map(|one| one as f32 * scale)))?;
        }
    }
    ear.finish()
}

/// Samples of all channels in turn; `None` is one that cannot be read.
fn hear_all(ear: &mut Ear, samples: impl Iterator<Item = Option<f32>>) -> Result<(), String> {
    let mut frame = Vec::with_capacity(ear.channels);
    for sample in samples {
        let unread =
            || broken(&"its samples have a width that is not read (8, 16, 24 and 32 bits are)");
        frame.push(sample.ok_or_else(unread)?);
        if frame.len() == ear.channels {
            ear.hear(frame.drain(..))?;
        }
    }
    Ok(())
}

fn unsupported(parts: &WavParts<'_>) -> String {
    let kind = parts.form.first_chunk().map_or(0, |kind| u16::from_le_bytes(*kind));
    format!(
        "it is a WAV of kind {kind}, and plain samples (kinds 1 and 3) are read; save it as such"
    )
}

/// The two parts of a WAV that count.
struct WavParts<'a> {
    form: &'a [u8],
    /// Whole samples of all channels.
    data: &'a [u8],
}

impl<'a> WavParts<'a> {
    fn of(file: &'a [u8]) -> Option<Self> {
        let mut rest = file.get(12..)?;
        let mut form = None;
        loop {
            let (name, after) = rest.split_first_chunk::<4>()?;
            let (length, after) = after.split_first_chunk::<4>()?;
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?.min(after.len());
            let (part, behind) = after.split_at_checked(length)?;
            match name {
                b"fmt " => form = Some(part),
                b"data" => {
                    let form: &[u8] = form?;
                    let block = u16::from_le_bytes(*form.get(12..14)?.first_chunk()?);
                    let whole = part.len() - part.len().checked_rem(block.into())?;
                    return Some(Self { form, data: part.get(..whole)? });
                }
                _ => {}
            }
            // Parts begin at even places.
            rest = behind.get(length % 2..)?;
        }
    }

    /// A head that says what is there. Bytes a second are computed, since many write them wrong.
    fn head(&self) -> Vec<u8> {
        let mut form = self.form.to_vec();
        let number = |form: &[u8], at: usize, bytes: usize| {
            let bytes = form.get(at..at + bytes).unwrap_or_default();
            bytes.iter().rev().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte))
        };
        let bytes_a_second = number(&form, 4, 4).saturating_mul(number(&form, 12, 2));
        if let Some(place) = form.get_mut(8..12) {
            place.copy_from_slice(&bytes_a_second.to_le_bytes());
        }
        let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
        let file_bytes = form.len() + self.data.len() + b"WAVEfmt size".len() + b"datasize".len();
        let mut head = [b"RIFF".as_slice(), &length(file_bytes), b"WAVEfmt "].concat();
        head.extend(length(form.len()));
        head.extend(form);
        head.extend(b"data");
        head.extend(length(self.data.len()));
        head
    }
}

/// See [`super::read`].
pub(super) fn flac(file: &[u8], rate: u32) -> Result<Vec<f32>, String> {
    let options = FlacReaderOptions { metadata_only: false, read_vorbis_comment: false };
    let reader = FlacReader::new_ext(file, options);
    let mut reader = reader.map_err(|error| broken(&error))?;
    let claxon::metadata::StreamInfo { channels, sample_rate, bits_per_sample, .. } =
        reader.streaminfo();
    let mut ear = Ear::new(channels as usize, sample_rate, rate)?;
    let scale = 1.0 / (1_u64 << bits_per_sample.clamp(1, 32).saturating_sub(1)) as f32;
    let (mut frames, mut room) = (reader.blocks(), Vec::new());
    while let Some(block) = frames.read_next_or_eof(room).map_err(|error| broken(&error))? {
        if block.channels() != channels {
            return Err(broken(&"its channels change on the way"));
        }
        for at in 0..block.duration() {
            ear.hear((0..channels).map(|channel| block.sample(channel, at) as f32 * scale))?;
        }
        room = block.into_buffer();
    }
    ear.finish()
}

/// See [`super::read`]. What the file says of its own length is not believed: it ends where its frames do, of
/// which the last may be cut.
pub(super) fn mp3(file: &[u8], rate: u32) -> Result<Vec<f32>, String> {
    let form =
        |frame: nanomp3::Frame<'_>| (frame.channels as usize, frame.sample_rate, frame.layer);
    let mut forms = nanomp3::frames(file).map(form);
    let first = forms.next().ok_or_else(|| broken(&"there is no sound in it"))?;
    if forms.any(|other| other != first) {
        return Err(broken(&"its rate or channels change on the way"));
    }
    let (channels, from, _) = first;
    let mut ear = Ear::new(channels, from, rate)?;
    let mut reader = SliceReader::<f32>::with_options(file, Options::default().skip_scan(true));
    // All frames are alike, so that an error is only what is left of the last one.
    while let Ok(Some(samples)) = reader.read_frame() {
        for frame in samples.chunks_exact(channels) {
            ear.hear(frame.iter().copied())?;
        }
    }
    ear.finish()
}
