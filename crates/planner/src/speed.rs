//! How many tokens a second a model reads and writes on a machine.
//!
//! Writing one token reads every weight that takes part once, so it is bound by memory; reading a
//! prompt shares each weight among hundreds of tokens, so it is bound by arithmetic. What comes on
//! top is small and known by kind of computing unit (`pace.rs`), and a machine that has measured
//! itself corrects both (`calibration.rs`).
//!
//! Not here: whether the model fits ([`crate::fit`]), and speculative decoding, which depends on
//! the text.

mod calibration;
mod pace;
#[cfg(test)]
pub(crate) mod shapes;
#[cfg(test)]
mod tests;
mod work;

use crate::footprint::{
    CACHE, CacheType, Footprint, Layout, Place, RECURRENT, WINDOW_CACHE, predict_state,
};
use crate::gguf::{Header, Tensor};
use crate::machine::{Gpu, Machine, Unit, text};

pub use calibration::{Calibration, Error, Measured};

use pace::{Pace, pace};
use work::Work;

/// What to expect.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// Tokens written a second by one sequence, or `None` when the model writes nothing.
    pub decode_tokens_per_s: Option<f64>,
    /// Tokens of a prompt read a second.
    pub prefill_tokens_per_s: f64,
    /// Whether this machine's own measurement was used.
    pub calibrated: bool,
    /// The formula with its numbers.
    pub why: String,
}

/// How fast `header`'s model runs on `machine` when it is loaded as `layout` says and its context
/// already holds `filled_tokens`.
#[must_use]
pub fn estimate(
    header: &Header,
    machine: &Machine,
    layout: &Layout,
    filled_tokens: u64,
) -> Estimate {
    let mut estimate = estimate_uncalibrated(header, machine, layout, filled_tokens);
    let fitting = machine.calibration.as_ref().filter(|found| found.applies_to(layout.place));
    match fitting {
        Some(calibration) => {
            let ratio = calibration.decode_ratio;
            estimate.decode_tokens_per_s = estimate.decode_tokens_per_s.map(|rate| rate * ratio);
            estimate.prefill_tokens_per_s *= calibration.prefill_ratio;
            estimate.calibrated = true;
            estimate.why.push_str(&format!(
                "; corrected by ×{:.2} and ×{:.2}, measured on {} with {}",
                ratio, calibration.prefill_ratio, calibration.measured_on, calibration.model
            ));
        }
        None => estimate.why.push_str("; not measured on this machine"),
    }
    estimate
}

/// As [`estimate`], by the maker's figures alone: what a measurement is compared with.
fn estimate_uncalibrated(
    header: &Header,
    machine: &Machine,
    layout: &Layout,
    filled_tokens: u64,
) -> Estimate {
    let engine = Engine::of(machine, layout.place);
    let work = Work::of(header);
    let layers = header.layers() as f64;
    let run = Run { header, layout, engine: &engine, work: &work, filled_tokens };
    let (decode, prefill) = (run.decode(), run.prefill());
    let overhead_s = layers * engine.pace.layer_s;
    let prefill_rate = rate(prefill.tokens, prefill.step_s + overhead_s).unwrap_or(0.0);
    let reading = format!(
        "reading: {:.2} GFLOP a token at {:.2} TFLOP/s{}",
        prefill.flops_per_token / 1e9,
        engine.compute_flops_per_s * prefill.efficiency / 1e12,
        if prefill.memory_bound { ", but bound by memory" } else { "" }
    );
    if !header.generates() {
        return Estimate {
            decode_tokens_per_s: None,
            prefill_tokens_per_s: prefill_rate,
            calibrated: false,
            why: reading,
        };
    }
    let why = format!(
        "writing: {} of weights and {} of cache a token at {:.0} GB/s ({:.0} % of {:.0}), and \
         {:.1} ms for {layers} layers; {reading}",
        text(work.decode_bytes),
        text(decode.state_bytes),
        engine.reached_bytes_per_s() / 1e9,
        engine.pace.bandwidth_share * 100.0,
        engine.bandwidth_bytes_per_s / 1e9,
        overhead_s * 1e3,
    );
    Estimate {
        decode_tokens_per_s: rate(1.0, decode.step_s + overhead_s),
        prefill_tokens_per_s: prefill_rate,
        calibrated: false,
        why,
    }
}

/// Bytes of those weights among `is_counted` that writing one token reads.
pub(crate) fn weights_read(header: &Header, is_counted: impl Fn(&Tensor) -> bool) -> u64 {
    Work::of_some(header, is_counted).decode_bytes
}

fn rate(tokens: f64, seconds: f64) -> Option<f64> {
    let rate = tokens / seconds;
    rate.is_finite().then_some(rate)
}

/// What computes, and how fast it and its memory are.
struct Engine {
    bandwidth_bytes_per_s: f64,
    compute_flops_per_s: f64,
    pace: Pace,
}

impl Engine {
    fn of(machine: &Machine, place: Place) -> Self {
        let in_ram = |unit: Unit, compute_flops_per_s: f64| Self {
            bandwidth_bytes_per_s: machine.bandwidth_bytes_per_s,
            compute_flops_per_s,
            pace: pace(unit),
        };
        let compute = machine.compute_flops_per_s;
        match (place, &machine.gpu) {
            (
                Place::DiscreteGpu,
                Gpu::Discrete { bandwidth_bytes_per_s, compute_flops_per_s, unit, .. },
            ) => Self {
                bandwidth_bytes_per_s: *bandwidth_bytes_per_s,
                compute_flops_per_s: *compute_flops_per_s,
                pace: pace(*unit),
            },
            // The machine's figures are its GPU's: its processor has the same RAM and less to
            // compute with.
            (Place::Processor, Gpu::Shared { .. }) => {
                in_ram(Unit::Processor, compute * pace::PROCESSOR_OF_SHARED_GPU)
            }
            // A place that the machine does not have is as good as its RAM.
            (
                Place::Processor | Place::SharedGpu | Place::DiscreteGpu,
                Gpu::None | Gpu::Shared { .. } | Gpu::Discrete { .. },
            ) => in_ram(machine.unit, compute),
        }
    }

    /// What its memory gives in practice.
    fn reached_bytes_per_s(&self) -> f64 {
        self.bandwidth_bytes_per_s * self.pace.bandwidth_share
    }
}

/// A model as it runs, of which times are asked.
#[derive(Clone, Copy)]
struct Run<'a> {
    header: &'a Header,
    layout: &'a Layout,
    engine: &'a Engine,
    work: &'a Work,
    filled_tokens: u64,
}

/// The time to write one token.
struct Decode {
    step_s: f64,
    /// Cache and recurrent state that are read.
    state_bytes: u64,
}

/// The time to read one step's worth of a prompt.
struct Prefill {
    tokens: f64,
    step_s: f64,
    flops_per_token: f64,
    /// The share of the unit's speed that this model's kinds of weights leave.
    efficiency: f64,
    memory_bound: bool,
}

impl Run<'_> {
    fn decode(&self) -> Decode {
        let Self { header, layout, engine, work, filled_tokens } = *self;
        let state_bytes = state_bytes(header, layout, filled_tokens);
        let weights = work.decode_bytes as f64
            + work.decode_k_quant_bytes as f64 * (1.0 / engine.pace.k_quant_share - 1.0);
        let memory_s = (weights + state_bytes as f64) / engine.reached_bytes_per_s();
        let unpacking_s = work.decode_unpack_operations / engine.compute_flops_per_s;
        // The two overlap, but not wholly: the longer of them is not reached when both are long.
        Decode { step_s: memory_s.hypot(unpacking_s), state_bytes }
    }

    fn prefill(&self) -> Prefill {
        let Self { header, layout, engine, work, filled_tokens } = *self;
        let step = u64::from(layout.step_tokens_max).max(1);
        let before = if header.encodes() { 0 } else { filled_tokens };
        let attention = attention_flops(header, layout, before.saturating_add(step / 2));
        let efficiency = work.prefill_efficiency();
        let flops_per_token = work.prefill_flops + attention;
        let compute_s = step as f64 * flops_per_token / (engine.compute_flops_per_s * efficiency);
        let memory_s = work.all_bytes as f64 / engine.reached_bytes_per_s();
        Prefill {
            tokens: step as f64,
            step_s: compute_s.max(memory_s),
            flops_per_token,
            efficiency,
            memory_bound: memory_s > compute_s,
        }
    }
}

/// Bytes that one token of one sequence moves besides the weights when `filled_tokens` were before
/// it: their keys and values are read, and recurrent state is read and written.
fn state_bytes(header: &Header, layout: &Layout, filled_tokens: u64) -> u64 {
    let footprint = predict_state(header, &filled(layout, filled_tokens));
    let recurrent = footprint.bytes_of(RECURRENT).saturating_mul(2);
    if filled_tokens == 0 { recurrent } else { recurrent.saturating_add(cache_bytes(&footprint)) }
}

fn cache_bytes(footprint: &Footprint) -> u64 {
    footprint.bytes_of(CACHE).saturating_add(footprint.bytes_of(WINDOW_CACHE))
}

/// A context that is as long as what it holds, of one sequence.
fn filled(layout: &Layout, tokens: u64) -> Layout {
    let context_tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
    Layout { context_tokens, sequences_max: 1, ..*layout }
}

/// Operations that one token's attention to `tokens` others takes. Each cached number is
/// multiplied and added once for each head that shares it.
fn attention_flops(header: &Header, layout: &Layout, tokens: u64) -> f64 {
    if tokens == 0 || header.encodes() {
        return 0.0;
    }
    let halves = Layout { keys: CacheType::F16, values: CacheType::F16, ..filled(layout, tokens) };
    let cached = cache_bytes(&predict_state(header, &halves));
    let numbers = cached as f64 / CacheType::F16.bytes(1) as f64;
    // Layers without attention say zero heads.
    let most = |suffix: &str| {
        (0..header.layers()).filter_map(|layer| header.layer_u64(suffix, layer)).max().unwrap_or(0)
    };
    let heads = most("attention.head_count").max(1);
    let heads_kv = match most("attention.head_count_kv") {
        0 => heads,
        heads_kv => heads_kv,
    };
    2.0 * numbers * (heads as f64 / heads_kv as f64) * latent_parts(header)
}

/// Latent attention caches one vector that keys are, whose first part values are computed from too.
fn latent_parts(header: &Header) -> f64 {
    let rank = header.arch_u64("attention.kv_lora_rank").unwrap_or(0);
    let rope = header.arch_u64("rope.dimension_count").unwrap_or(0);
    if rank == 0 { 1.0 } else { 1.0 + rank as f64 / (rank.saturating_add(rope)) as f64 }
}
