//! A sound at another rate.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{
    Async, FixedAsync, Indexing, Resampler, SincInterpolationParameters, SincInterpolationType,
    WindowFunction,
};

/// Samples that are computed at a time.
const CHUNK: usize = 4096;

/// Samples of the slower rate that one sample is made of, and places between two of them that are computed once.
/// What lies above the half of the new rate is gone with them, and what is well below it is there.
const WIDTH: usize = 64;
const PLACES: usize = 256;

/// Takes samples at one rate, and has them at another in the end.
pub(super) struct Rate {
    /// `None` where both are the same.
    resampler: Option<Async<f32>>,
    ratio: f64,
    taken: u64,
    waiting: Vec<f32>,
    made: Vec<f32>,
    /// Samples at the beginning that are there only because each is made of some before it.
    early: usize,
}

impl Rate {
    pub(super) fn new(from: u32, to: u32) -> Result<Self, String> {
        let ratio = f64::from(to) / f64::from(from);
        let width = WIDTH * from.div_ceil(to) as usize;
        let parameters = SincInterpolationParameters::new(width, WindowFunction::BlackmanHarris2)
            .oversampling_factor(PLACES)
            .interpolation(SincInterpolationType::Linear);
        let fixed = FixedAsync::Input;
        let resampler = (from != to)
            .then(|| Async::new_sinc(ratio, 1.0, &parameters, CHUNK, 1, fixed))
            .transpose()
            .map_err(|error| unmade(&error))?;
        let early = resampler.as_ref().map_or(0, Resampler::output_delay);
        Ok(Self { resampler, ratio, taken: 0, waiting: Vec::new(), made: Vec::new(), early })
    }

    pub(super) fn push(&mut self, sample: f32) -> Result<(), String> {
        self.taken += 1;
        if self.resampler.is_none() {
            self.made.push(sample);
            return Ok(());
        }
        self.waiting.push(sample);
        if self.waiting.len() == CHUNK { self.make() } else { Ok(()) }
    }

    pub(super) fn finish(mut self) -> Result<Vec<f32>, String> {
        if self.resampler.is_some() {
            let wanted = (self.taken as f64 * self.ratio).ceil() as usize;
            while self.made.len() < wanted + self.early {
                self.make()?;
            }
            self.made.drain(..self.early);
            self.made.truncate(wanted);
        }
        Ok(self.made)
    }

    /// Computes what waits, and silence behind it where that is less than a chunk.
    fn make(&mut self) -> Result<(), String> {
        let Some(resampler) = &mut self.resampler else { return Ok(()) };
        let count = self.waiting.len();
        let waiting =
            InterleavedSlice::new(&self.waiting, 1, count).map_err(|error| unmade(&error))?;
        let indexing = Indexing::new().partial_len(count);
        let made = resampler.process(&waiting, Some(&indexing)).map_err(|error| unmade(&error))?;
        self.made.extend(made.take_data());
        self.waiting.clear();
        Ok(())
    }
}

fn unmade(error: &dyn std::fmt::Display) -> String {
    format!("it cannot be brought to the model's rate: {error}; save it with another rate")
}
