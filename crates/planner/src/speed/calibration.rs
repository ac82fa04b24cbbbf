//! What a machine measured of itself, as a correction of what is expected of its kind.
//!
//! `resident bench` measures and somebody else stores; here is only what the figures mean.

use serde::{Deserialize, Serialize};

use super::estimate_uncalibrated;
use crate::footprint::{Layout, Place};
use crate::gguf::Header;
use crate::machine::Machine;

/// A measurement further off than this is of something else: of a machine under load, of a model
/// that did not lie where it should, or of a clock that stopped.
const RATIO_MAX: f64 = 20.0;

/// Measured speed over expected speed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Of writing tokens; one means as expected.
    pub decode_ratio: f64,
    /// Of reading prompts.
    pub prefill_ratio: f64,
    /// The machine, as the bench calls it.
    pub measured_on: String,
    /// What the bench ran, for example `Qwen3-8B Q4_K_M`.
    pub model: String,
    /// Whether its layers lay on a GPU. It says nothing about the other case.
    pub on_gpu: bool,
}

/// Why a measurement cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// Off by more than any machine is.
    #[error(
        "{what} of {measured:.2} tokens/s with {model} is {ratio:.3} times what was expected; \
         measure again with nothing else running"
    )]
    Implausible {
        /// Which of the two figures.
        what: &'static str,
        /// What was measured with.
        model: String,
        /// What was measured, in tokens a second.
        measured: f64,
        /// It over what was expected.
        ratio: f64,
    },
    /// The model writes nothing that could be timed.
    #[error(
        "{model} writes no text, so its speed says little about others; measure with one that does"
    )]
    WritesNothing {
        /// Which model.
        model: String,
    },
}

/// What a bench saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured<'a> {
    /// What it ran, for people.
    pub model: &'a str,
    /// Tokens written a second by one sequence.
    pub decode_tokens_per_s: f64,
    /// Tokens of a prompt read a second.
    pub prefill_tokens_per_s: f64,
    /// Tokens the context held meanwhile, on average.
    pub filled_tokens: u64,
}

impl Calibration {
    /// One that changes nothing.
    #[must_use]
    pub fn none(measured_on: &str, model: &str) -> Self {
        Self {
            decode_ratio: 1.0,
            prefill_ratio: 1.0,
            measured_on: measured_on.to_owned(),
            model: model.to_owned(),
            on_gpu: true,
        }
    }

    /// What `measured` says about `machine`.
    ///
    /// # Errors
    /// When a figure is so far off that it cannot be the machine's.
    pub fn from_measurement(
        header: &Header,
        machine: &Machine,
        layout: &Layout,
        measured: &Measured<'_>,
    ) -> Result<Self, Error> {
        let expected = estimate_uncalibrated(header, machine, layout, measured.filled_tokens);
        let Some(expected_decode) = expected.decode_tokens_per_s else {
            return Err(Error::WritesNothing { model: measured.model.to_owned() });
        };
        let ratio = |what, measured_rate: f64, expected_rate: f64| {
            let ratio = measured_rate / expected_rate;
            if is_plausible(ratio) {
                return Ok(ratio);
            }
            let model = measured.model.to_owned();
            Err(Error::Implausible { what, model, measured: measured_rate, ratio })
        };
        Ok(Self {
            decode_ratio: ratio("writing", measured.decode_tokens_per_s, expected_decode)?,
            prefill_ratio: ratio(
                "reading",
                measured.prefill_tokens_per_s,
                expected.prefill_tokens_per_s,
            )?,
            measured_on: machine.name.clone(),
            model: measured.model.to_owned(),
            on_gpu: on_gpu(layout.place),
        })
    }

    /// Whether it was measured where a model with layers in `place` runs.
    #[must_use]
    pub fn applies_to(&self, place: Place) -> bool {
        self.on_gpu == on_gpu(place)
    }

    pub(crate) fn is_plausible(&self) -> bool {
        is_plausible(self.decode_ratio) && is_plausible(self.prefill_ratio)
    }
}

fn is_plausible(ratio: f64) -> bool {
    (1.0 / RATIO_MAX..=RATIO_MAX).contains(&ratio)
}

fn on_gpu(place: Place) -> bool {
    match place {
        Place::Processor => false,
        Place::SharedGpu | Place::DiscreteGpu => true,
    }
}
