//! Weights by device, for headers that are made from figures and a recipe.

use super::*;
use crate::catalogue;

#[test]
fn weights_of_all_published_rows_are_to_the_byte() {
    for row in golden() {
        let name = match row.name.as_str() {
            "ds-r1-0528-qwen3-8b" => "deepseek-r1-0528-qwen3-8b",
            "qwen1.5-7b-chat" => "qwen1.5-7b",
            other => other,
        };
        let header = catalogue::builtin().find(name).unwrap().header("Q4_K_M").unwrap();
        let Weights { input_bytes, layers_bytes, tied_output_bytes, .. } = weights(&header);
        assert_eq!(layers_bytes + tied_output_bytes, row.gpu_weights, "{name}");
        assert_eq!(input_bytes, row.ram_weights, "{name}");
    }
}

#[test]
fn a_tied_output_counts_once_where_memory_is_one_and_twice_where_it_is_not() {
    let embedding = tensor("token_embd.weight", 4096);
    let layers = tensor("blk.0.ffn_up.weight", 8192);
    let mut header = qwen3_8b();
    header.tensors = vec![embedding, layers];
    let bytes = |place| {
        let footprint = predict(&header, &Layout { place, ..layout(4096) });
        let on = |device| {
            let items = footprint.items.iter().filter(|item| item.what == WEIGHTS);
            items.filter(|item| item.device == device).map(|item| item.bytes).sum::<u64>()
        };
        (on(Device::Ram), on(Device::Gpu))
    };
    assert_eq!(bytes(Place::Processor), (12_288, 0));
    assert_eq!(bytes(Place::SharedGpu), (0, 12_288));
    assert_eq!(bytes(Place::DiscreteGpu), (4096, 12_288));
}

#[test]
fn layers_that_guess_ahead_are_not_loaded_and_experts_are_named() {
    let mut header = qwen3_6_27b();
    header.tensors = vec![
        tensor("token_embd.weight", 1024),
        tensor("output.weight", 1024),
        tensor("blk.0.ffn_up_exps.weight", 2048),
        tensor("blk.64.nextn.eh_proj.weight", 4096),
    ];
    let parts = weights(&header);
    assert_eq!((parts.skipped_bytes, parts.experts_bytes), (4096, 2048));
    let footprint = predict(&header, &layout(4096));
    assert_eq!(footprint.bytes_of(WEIGHTS), 4096);
    let why = &footprint.items[0].why;
    assert!(why.contains("experts 2,048 bytes") && why.contains("not loaded"), "{why}");
}

fn tensor(name: &str, bytes: u64) -> Tensor {
    Tensor {
        name: name.to_owned(),
        dimensions: [bytes / 4, 1, 1, 1],
        kind: TensorType::F32,
        offset: 0,
        bytes,
    }
}

/// The same bytes by layer as by item, for every model of the catalogue.
#[test]
fn what_layers_hold_adds_up_to_the_items() {
    for entry in catalogue::builtin().entries() {
        let Some(header) = entry.quantizations.iter().find_map(|one| entry.header(&one.name).ok())
        else {
            continue;
        };
        for windows in [Windows::Whole, Windows::Sliding] {
            let layout = Layout { windows, sequences_max: 5, ..layout(8192) };
            let layers = by_layer(&header, &layout);
            assert_eq!(layers.len() as u64, header.layers(), "{}", entry.name);
            let footprint = predict(&header, &layout);
            let state: u64 = layers.iter().map(|layer| layer.state_bytes).sum();
            let items = [CACHE, WINDOW_CACHE, RECURRENT].map(|what| footprint.bytes_of(what));
            assert_eq!(state, items.iter().sum::<u64>(), "{}", entry.name);
            let held: u64 = layers.iter().map(|layer| layer.weights_bytes).sum();
            let outside = header.tensors.iter().filter(|one| one.place_in_layers().is_none());
            let outside = outside.map(|one| one.bytes.next_multiple_of(header.alignment));
            let whole = weights(&header);
            let loaded = whole.input_bytes + whole.layers_bytes;
            assert_eq!(held + outside.sum::<u64>(), loaded, "{}", entry.name);
        }
    }
}
