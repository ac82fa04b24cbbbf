//! What one step computes in: the graph of the model, laid out as llama.cpp lays it out.
//!
//! The graph is made by `compute/*.rs` for the architectures that are known there; every other
//! gets the upper bound of `compute/bound.rs`, which says that it is one.

mod arena;
mod bound;
mod decoder;
mod encoder;
mod graph;
mod latent;
mod per_layer;
mod recurrent;
mod reorder;
mod step;

use super::{Build, COMPUTE, Device, Item, Layout, Place, grouped, layers::Layer};
use crate::gguf::Header;

use arena::{Held, Peak, Widest};
use graph::Graph;
use step::Step;

/// Experts that a token uses, in all layers together, of which a graph is made. The most that is
/// known is 61 layers with 8; a hostile file could ask for half a million, each some tensors.
const EXPERTS_USED_MAX: u64 = 16_384;

/// The compute buffers of each memory.
pub(super) fn items(build: Build, header: &Header, layers: &[Layer], layout: &Layout) -> Vec<Item> {
    let Some(Peak { ram, gpu }) = peak(build, header, layers, layout) else {
        return bound::items(header, layers, layout);
    };
    let part = if layout.place == Place::Processor { "everything" } else { "the input layer" };
    vec![
        item(layout, Device::Gpu, &gpu, "layers and logits"),
        item(layout, Device::Ram, &ram, part),
    ]
}

/// The compute buffers of the layers that guess ahead, in a context of their own.
pub(super) fn head_items(
    build: Build,
    header: &Header,
    layers: &[Layer],
    layout: &Layout,
) -> Vec<Item> {
    let step = Step::new(build, header, layers, layout);
    let Peak { ram, gpu } = arena::peak(recurrent::head_graph(step), layout.place);
    let part = "layers that guess ahead";
    vec![item(layout, Device::Gpu, &gpu, part), item(layout, Device::Ram, &ram, part)]
}

fn item(layout: &Layout, device: Device, widest: &Widest, part: &str) -> Item {
    Item {
        what: COMPUTE,
        device,
        bytes: widest.bytes,
        why: format!("{part}, {} tokens a step: {}", layout.step_tokens_max, why(widest)),
    }
}

/// What laying out the graph gives; none for an architecture whose graph is not known.
fn peak(build: Build, header: &Header, layers: &[Layer], layout: &Layout) -> Option<Peak> {
    let graph = graph_of(header)?;
    let graph = graph(Step::new(build, header, layers, layout));
    Some(arena::peak(graph, layout.place))
}

/// Whether the buffers of this model's steps are laid out here, and not only bounded.
pub(super) fn is_known(header: &Header) -> bool {
    graph_of(header).is_some()
}

fn graph_of(header: &Header) -> Option<fn(Step) -> Graph> {
    let graph: fn(Step) -> Graph = match header.architecture() {
        architecture if encoder::is_known(architecture) => encoder::graph,
        architecture if decoder::is_known(architecture) => decoder::graph,
        architecture if recurrent::is_known(architecture) => recurrent::graph,
        architecture if latent::is_known(architecture) => latent::graph,
        architecture if per_layer::is_known(architecture) => per_layer::graph,
        _ => return None,
    };
    (experts_used(header) <= EXPERTS_USED_MAX).then_some(graph)
}

fn experts_used(header: &Header) -> u64 {
    let used = |layer| header.layer_u64("expert_used_count", layer).unwrap_or(0);
    (0..header.layers()).map(used).fold(0, u64::saturating_add)
}

/// The largest tensors that are held when most is needed, and the rest in one sum.
fn why(widest: &Widest) -> String {
    const TERMS_MAX: usize = 6;
    let shown = &widest.held[..widest.held.len().min(TERMS_MAX)];
    let mut terms: Vec<String> = shown.iter().map(term).collect();
    let shown_bytes = shown.iter().fold(0, |sum: u64, held| sum.saturating_add(held.bytes));
    let rest = widest.bytes.saturating_sub(shown_bytes);
    if rest > 0 {
        terms.push(format!("{} in smaller ones and gaps", grouped(rest)));
    }
    format!("at its widest {} bytes", terms.join(" + "))
}

/// Tensors of one shape, as `3 × (12,288 × 512 × 4)`; what a GPU's kernels add is in the sum.
fn term(held: &Held) -> String {
    let mut numbers: Vec<String> =
        held.numbers.iter().filter(|number| **number != 1).map(|number| grouped(*number)).collect();
    numbers.push(held.number_bytes.to_string());
    let one = numbers.join(" × ");
    let plain = super::product(&held.numbers).saturating_mul(held.number_bytes);
    let scratch = held.bytes.saturating_sub(plain.saturating_mul(held.count));
    let scratch =
        if scratch > 0 { format!(" + {} of scratch", grouped(scratch)) } else { String::new() };
    if held.count == 1 {
        format!("{one}{scratch}")
    } else {
        format!("{} × ({one}){scratch}", held.count)
    }
}
