//! Weights: how many bytes of the file's tensors are loaded, and into which memory.
//!
//! Source: llama.cpp's `llama-model.cpp` (`load_tensors`) and `llama-model-loader.cpp`
//! (`create_tensor`). Every encoding is used as it is in the file, so the factor is one.

use std::collections::BTreeMap;

use super::{Device, Item, Layout, Place, WEIGHTS, grouped, layers};
use crate::gguf::{Header, Tensor};

/// The weights that are loaded, by the part of the model they belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Weights {
    /// What turns tokens into vectors. Always in RAM, even with a GPU.
    pub input_bytes: u64,
    /// Layers and everything after them, but not an output that is the input's own tensor.
    pub layers_bytes: u64,
    /// The input's tensor once more, where it is the output's too and must be in another memory.
    pub tied_output_bytes: u64,
    /// Of the layers: experts. All of them are resident, however few a token uses.
    pub experts_bytes: u64,
    /// Layers at the end that only guess ahead: in the file, and loaded only where they are to guess.
    pub skipped_bytes: u64,
}

impl Weights {
    /// What a processor reads row by row from the file, and never as a whole: the input's table,
    /// unless it is the output too. A new process has little of it in memory.
    #[must_use]
    pub const fn by_row_bytes(&self) -> u64 {
        if self.tied_output_bytes > 0 { 0 } else { self.input_bytes }
    }
}

/// Splits the tensors of a file by what llama.cpp does with them.
#[must_use]
pub fn weights(header: &Header) -> Weights {
    let loaded = layers::layers_loaded(header);
    let mut weights = Weights::default();
    let mut has_output = false;
    for tensor in &header.tensors {
        let bytes = padded(header, tensor);
        let part = match layer_of(tensor) {
            Some(layer) if layer >= loaded => &mut weights.skipped_bytes,
            Some(_) => {
                if is_expert(tensor) {
                    weights.experts_bytes = weights.experts_bytes.saturating_add(bytes);
                }
                &mut weights.layers_bytes
            }
            None if is_input(tensor) => &mut weights.input_bytes,
            None => &mut weights.layers_bytes,
        };
        *part = part.saturating_add(bytes);
        has_output |= matches!(tensor.name.as_str(), "output.weight" | "cls.weight");
    }
    if !has_output && !header.encodes() {
        let embedding = header.tensors.iter().find(|tensor| tensor.name == "token_embd.weight");
        weights.tied_output_bytes = embedding.map_or(0, |tensor| padded(header, tensor));
    }
    weights
}

/// Weights of each layer of the file, none of layers that are not loaded.
pub(super) fn bytes_by_layer(header: &Header) -> Vec<u64> {
    let loaded = layers::layers_loaded(header);
    let mut all = vec![0_u64; usize::try_from(header.layers()).unwrap_or(0)];
    for tensor in &header.tensors {
        let place = layer_of(tensor).filter(|layer| *layer < loaded);
        let place = place.and_then(|layer| usize::try_from(layer).ok());
        if let Some(bytes) = place.and_then(|place| all.get_mut(place)) {
            *bytes = bytes.saturating_add(padded(header, tensor));
        }
    }
    all
}

/// Items for the memories that weights lie in.
pub(super) fn items(header: &Header, layout: &Layout) -> Vec<Item> {
    let weights = weights(header);
    let item = |device, bytes, why| Item { what: WEIGHTS, device, bytes, why };
    let Weights { input_bytes, layers_bytes, tied_output_bytes, .. } = weights;
    let whole = input_bytes.saturating_add(layers_bytes);
    let input = format!("the input layer, {} bytes, stays in RAM", grouped(input_bytes));
    let layers = format!("layers {} bytes", grouped(layers_bytes));
    let about = about(header, &weights);
    let tied = grouped(tied_output_bytes);
    match layout.place {
        Place::Processor => {
            let repacked = repacked_bytes(header);
            let repacked = if repacked > 0 {
                format!(
                    "; up to {} of them are rearranged in memory for the processor, which takes \
                     as many bytes and gives the file's pages back",
                    grouped(repacked)
                )
            } else {
                String::new()
            };
            let by_row = weights.by_row_bytes();
            let by_row = if by_row > 0 {
                format!(
                    "; {} of them are the input layer's table, of which the file's pages come into \
                     memory as their rows are used, and can go again",
                    grouped(by_row)
                )
            } else {
                String::new()
            };
            vec![item(Device::Ram, whole, format!("{about}{repacked}{by_row}"))]
        }
        // Both memories are one, and both buffers are views of the same pages of the file.
        Place::SharedGpu if tied_output_bytes > 0 => {
            let rest = input_bytes.saturating_sub(tied_output_bytes);
            let on_gpu = layers_bytes.saturating_add(tied_output_bytes);
            let why = format!(
                "{about}: {layers} + {tied} bytes of output, which are the input layer's own \
                 pages of the file and count once"
            );
            vec![item(Device::Gpu, on_gpu, why), item(Device::Ram, rest, input)]
        }
        Place::SharedGpu => {
            let why = format!("{about}: {layers}");
            vec![item(Device::Gpu, layers_bytes, why), item(Device::Ram, input_bytes, input)]
        }
        Place::DiscreteGpu => {
            let on_gpu = layers_bytes.saturating_add(tied_output_bytes);
            let why = if tied_output_bytes > 0 {
                format!("{about}: {layers} + {tied} bytes, a copy of the input layer as output")
            } else {
                format!("{about}: {layers}")
            };
            vec![item(Device::Gpu, on_gpu, why), item(Device::Ram, input_bytes, input)]
        }
    }
}

/// What is loaded, by encoding, with the experts and what is left out.
fn about(header: &Header, weights: &Weights) -> String {
    let loaded = layers::layers_loaded(header);
    let is_loaded = |tensor: &&Tensor| layer_of(tensor).is_none_or(|layer| layer < loaded);
    let mut by_type: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut count = 0_u64;
    for tensor in header.tensors.iter().filter(is_loaded) {
        let sum = by_type.entry(tensor.kind.name()).or_default();
        *sum = sum.saturating_add(padded(header, tensor));
        count += 1;
    }
    let mut by_size: Vec<(&str, u64)> = by_type.into_iter().collect();
    by_size.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let types: Vec<String> =
        by_size.iter().map(|(name, bytes)| format!("{name} {}", grouped(*bytes))).collect();
    let mut text = format!("{count} tensors as they are in the file ({})", types.join(" + "));
    if weights.experts_bytes > 0 {
        text += &format!("; experts {} bytes, all resident", grouped(weights.experts_bytes));
    }
    if weights.skipped_bytes > 0 {
        let skipped = grouped(weights.skipped_bytes);
        text += &format!("; {skipped} bytes of layers that guess ahead are not loaded");
    }
    text
}

fn padded(header: &Header, tensor: &Tensor) -> u64 {
    tensor.bytes.checked_next_multiple_of(header.alignment.max(1)).unwrap_or(u64::MAX)
}

fn layer_of(tensor: &Tensor) -> Option<u64> {
    tensor.place_in_layers().map(|(layer, _)| layer)
}

/// Source: `LLM_TENSOR_LAYER_INPUT` in `llama-arch.cpp`.
fn is_input(tensor: &Tensor) -> bool {
    let name = tensor.name.strip_suffix(".weight").unwrap_or(&tensor.name);
    matches!(name, "token_embd" | "position_embd" | "token_types" | "per_layer_token_embd")
}

fn is_expert(tensor: &Tensor) -> bool {
    tensor.name.contains("_exps.")
}

/// Bytes in encodings that a processor may have kernels for that want another order of the same
/// bytes. Which of them it has depends on its instructions. Source: `repack.cpp` in ggml-cpu,
/// which llama.cpp's defaults (`use_extra_bufts`) put before the plain buffers for matrices.
fn repacked_bytes(header: &Header) -> u64 {
    const ROWS_MULTIPLE: u64 = 4;
    let loaded = layers::layers_loaded(header);
    let may = |tensor: &&Tensor| {
        let kind = tensor.kind.name();
        let kinds = ["Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q2_K", "IQ4_NL", "MXFP4", "Q8_0", "Q1_0"];
        let [_, rows, ..] = tensor.dimensions;
        kinds.contains(&kind)
            && rows > 1
            && rows.is_multiple_of(ROWS_MULTIPLE)
            && !is_input(tensor)
            && layer_of(tensor).is_none_or(|layer| layer < loaded)
    };
    let bytes = header.tensors.iter().filter(may).map(|tensor| padded(header, tensor));
    bytes.fold(0, u64::saturating_add)
}
