//! Sounds of strangers: one channel at a model's rate, within bounds.
//!
//! They are read in Rust, bit by bit and no further than a sound may last: mtmd's own reader (miniaudio) makes
//! room for what a file says of itself, and some hundred bytes may say that they last for years. Not here:
//! what a model makes of a sound (`projector`).

mod formats;
mod rate;

use worker_protocol::limits::SOUND_SECONDS_MAX;

use crate::limits::{
    SOUND_CHANNELS_MAX, SOUND_PART_SECONDS, SOUND_PARTS_OF_SECOND_MIN, SOUND_RATE_MAX,
    SOUND_RATE_MIN,
};
use rate::Rate;

/// Reads a sound: samples from -1 to 1, `rate` of them a second. What is shorter than models hear ends in
/// silence.
///
/// # Errors
/// A fragment that says what is wrong with the file.
pub(crate) fn read(file: &[u8], rate: u32) -> Result<Vec<f32>, String> {
    let samples = if file.starts_with(b"RIFF") && file.get(8..12) == Some(b"WAVE") {
        formats::wav(file, rate)?
    } else if file.starts_with(b"fLaC") {
        formats::flac(file, rate)?
    } else if is_mp3(file) {
        formats::mp3(file, rate)?
    } else {
        return Err("it is neither WAV, FLAC nor MP3".to_owned());
    };
    Ok(filled(samples, rate))
}

fn is_mp3(file: &[u8]) -> bool {
    file.starts_with(b"ID3") || matches!(file, [0xff, second, ..] if second & 0xe0 == 0xe0)
}

/// Encoders take sounds in parts, and some end the process for one of a few samples.
fn filled(mut samples: Vec<f32>, rate: u32) -> Vec<f32> {
    let rate = rate as usize;
    let last = samples.len() % (SOUND_PART_SECONDS * rate);
    let least = rate / SOUND_PARTS_OF_SECOND_MIN;
    if last > 0 && last < least {
        samples.resize(samples.len() + least - last, 0.0);
    }
    samples
}

fn broken(error: &dyn std::fmt::Display) -> String {
    format!("it is broken or cut: {error}; send the whole file, or save it anew")
}

/// Makes one channel of all that a file has, at another rate.
struct Ear {
    rate: Rate,
    channels: usize,
    /// Samples of each channel that may still come.
    left: u64,
}

impl Ear {
    /// For a sound of `channels` with `from` samples of each in a second, which is heard with `to`.
    fn new(channels: usize, from: u32, to: u32) -> Result<Self, String> {
        if !(1..=SOUND_CHANNELS_MAX).contains(&channels) {
            return Err(format!(
                "it has {channels} channels, and 1 to {SOUND_CHANNELS_MAX} are read; mix them into one"
            ));
        }
        if !(SOUND_RATE_MIN..=SOUND_RATE_MAX).contains(&from) {
            return Err(format!(
                "it has {from} samples a second, and {SOUND_RATE_MIN} to {SOUND_RATE_MAX} are read; save \
                 it with {to}"
            ));
        }
        let left = SOUND_SECONDS_MAX * u64::from(from);
        Ok(Self { rate: Rate::new(from, to)?, channels, left })
    }

    /// A sample of each channel.
    fn hear(&mut self, samples: impl Iterator<Item = f32>) -> Result<(), String> {
        self.left = self.left.checked_sub(1).ok_or_else(|| {
            format!("it lasts longer than {SOUND_SECONDS_MAX} s; cut it into parts")
        })?;
        let sum: f32 = samples.sum();
        let mean = sum / self.channels as f32;
        // Files of floating point may hold anything.
        let mean = if mean.is_finite() { mean.clamp(-1.0, 1.0) } else { 0.0 };
        self.rate.push(mean)
    }

    /// All that was heard.
    fn finish(self) -> Result<Vec<f32>, String> {
        let samples = self.rate.finish()?;
        if samples.is_empty() {
            return Err(broken(&"there is no sound in it"));
        }
        Ok(samples)
    }
}

#[cfg(test)]
mod tests;
