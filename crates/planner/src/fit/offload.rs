//! A model that is too large for a graphics card, with its first layers in RAM: how many layers the
//! card takes, what both memories hold then, and how fast it writes.
//!
//! All of it is an estimate. Weights, caches and states are exact by layer; compute buffers are
//! counted on both sides as if each computed everything. Not here: models that fit as a whole
//! ([`super::judge`]).

use crate::footprint::{
    CACHE, COMPUTE, Companions, Device, Footprint, LayerBytes, Layout, Place, RECURRENT, SCRATCH,
    WEIGHTS, WINDOW_CACHE, by_layer, predict, predict_with, weights,
};
use crate::gguf::Header;
use crate::machine::{Budget, GpuBudget, Machine, text};
use crate::speed;

use super::{Judgement, Need, Verdict, Wanted, judge_model, judge_need};

/// A model between a graphics card and RAM.
#[derive(Debug, Clone, PartialEq)]
pub struct Offload {
    /// What llama.cpp is told (`--n-gpu-layers`): layers on the card, and the output as one more.
    pub gpu_layers: u64,
    /// How many layers the file has.
    pub layers: u64,
    /// What both memories hold.
    pub need: Need,
    /// How that fits, by the memory that is shorter.
    pub judgement: Judgement,
    /// Tokens written a second by one sequence while its context is empty; none when the model
    /// writes nothing.
    pub decode_tokens_per_s: Option<f64>,
    /// The split in a sentence.
    pub why: String,
}

/// The split that leaves most on the card and yet room in both memories, else the one that just
/// fits. None when there is no card with memory of its own, when the whole model fits it, and when
/// no split fits.
#[must_use]
pub fn offload(
    header: &Header,
    wanted: &Wanted<'_>,
    machine: &Machine,
    budget: &Budget,
) -> Option<Offload> {
    let GpuBudget::Separate { .. } = budget.gpu else { return None };
    let on_card = Layout { place: Place::DiscreteGpu, ..wanted.layout };
    let whole = Wanted { layout: on_card, companions: wanted.companions };
    if judge_model(header, &whole, budget).verdict != Verdict::DoesNotFit {
        return None;
    }
    let parts = Parts::of(header, &on_card, &wanted.companions);
    let layers = parts.layers.len();
    // With the first layer on the card it would be the whole model, which was asked above.
    let splits = || (1..=layers).map(|first| (first, judge_need(&parts.need(first), budget)));
    let find = |least: Verdict| splits().find(|(_, found)| found.verdict.is_at_least(least));
    let (first, judgement) = find(Verdict::Fits).or_else(|| find(Verdict::Tight))?;
    let need = parts.need(first);
    let (layers, first) = (layers as u64, first as u64);
    let why = format!(
        "an estimate: the output and {} of {layers} layers on the card, {}; the first {first} in \
         RAM, {}",
        layers - first,
        text(need.gpu_bytes),
        text(need.ram_bytes)
    );
    let decode_tokens_per_s = decode(header, machine, &on_card, first);
    let gpu_layers = layers + 1 - first;
    Some(Offload { gpu_layers, layers, need, judgement, decode_tokens_per_s, why })
}

/// What lies where, whatever the split, and what each layer brings.
///
/// Source: llama.cpp's `load_tensors` in `llama-model.cpp`: of the layers and the output behind
/// them, the last so many are the card's. The input stays in RAM. Caches and states are where their
/// layers are.
struct Parts {
    card_bytes: u64,
    ram_bytes: u64,
    layers: Vec<LayerBytes>,
}

impl Parts {
    fn of(header: &Header, on_card: &Layout, companions: &Companions<'_>) -> Self {
        let layers = by_layer(header, on_card);
        let weights = weights(header);
        let of_layers = sum(layers.iter().map(|layer| layer.weights_bytes));
        let output_bytes = weights.layers_bytes.saturating_sub(of_layers);
        // A long step is computed on the card, layer by layer, with copies of weights that lie in
        // RAM.
        let copies_bytes = layers.iter().map(|layer| layer.weights_bytes).max().unwrap_or(0);
        let by_card = predict_with(header, on_card, companions);
        let by_processor = predict(header, &Layout { place: Place::Processor, ..*on_card });
        let by_layer = [WEIGHTS, CACHE, WINDOW_CACHE, RECURRENT];
        let card_bytes = [
            others(&by_card, Device::Gpu, &by_layer),
            output_bytes,
            weights.tied_output_bytes,
            copies_bytes,
        ];
        let ram_bytes = [
            others(&by_card, Device::Ram, &[WEIGHTS, COMPUTE]),
            weights.input_bytes,
            by_processor.bytes_of(COMPUTE),
            by_processor.bytes_of(SCRATCH),
        ];
        Self { card_bytes: sum(card_bytes), ram_bytes: sum(ram_bytes), layers }
    }

    /// With layers from `first` on on the card.
    fn need(&self, first: usize) -> Need {
        let of = |layers: &[LayerBytes]| sum(layers.iter().map(LayerBytes::total_bytes));
        let (in_ram, on_card) = self.layers.split_at(first);
        Need {
            ram_bytes: self.ram_bytes.saturating_add(of(in_ram)),
            gpu_bytes: self.card_bytes.saturating_add(of(on_card)),
        }
    }
}

/// What lies in one memory besides what `left_out` names.
fn others(footprint: &Footprint, device: Device, left_out: &[&str]) -> u64 {
    let items = footprint.items.iter().filter(|item| item.device == device);
    sum(items.filter(|item| !left_out.contains(&item.what)).map(|item| item.bytes))
}

fn sum(bytes: impl IntoIterator<Item = u64>) -> u64 {
    bytes.into_iter().fold(0, u64::saturating_add)
}

/// Each side takes of a token's time as much as it has of the bytes that are read for it: bytes on
/// the card by its bandwidth, and bytes in RAM by that of RAM.
fn decode(header: &Header, machine: &Machine, on_card: &Layout, first: u64) -> Option<f64> {
    let in_ram = Layout { place: Place::Processor, ..*on_card };
    let seconds = |layout| {
        let rate = speed::estimate(header, machine, layout, 0).decode_tokens_per_s?;
        (rate > 0.0).then(|| 1.0 / rate)
    };
    let read = |is_in_ram: bool| {
        let bytes = speed::weights_read(header, |tensor| {
            tensor.place_in_layers().is_some_and(|(layer, _)| layer < first) == is_in_ram
        });
        bytes as f64
    };
    let share_in_ram = read(true) / (read(true) + read(false)).max(1.0);
    let token_s = seconds(&in_ram)? * share_in_ram + seconds(on_card)? * (1.0 - share_in_ram);
    Some(1.0 / token_s)
}
