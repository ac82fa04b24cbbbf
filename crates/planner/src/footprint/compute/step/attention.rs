//! Attention of one layer: over a cache, or over a text that no cache holds.
//!
//! Source: `build_attn` and `build_attn_mha` in llama.cpp's `llama-graph.cpp`, and the inputs and
//! rotations of `llama-kv-cache.cpp`. How large caches are is in `footprint/cache.rs`.

use super::{
    super::{
        super::{
            Build, CacheType, FLOAT_BYTES, Layout, Place,
            layers::{self, Attention, Cached, Layer},
            product, sum,
        },
        graph::{Graph, Tensor},
    },
    Step,
};
use crate::gguf::Header;

/// Bytes of cell numbers.
const CELL_NUMBER_BYTES: u64 = 8;
/// Bytes of half precision, in which fused attention takes masks, and keys that no cache holds.
const HALF_BYTES: u64 = 2;

/// What attention is to be done with in one layer.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Heads {
    pub(in super::super) queries: Tensor,
    pub(in super::super) shape: Attention,
    pub(in super::super) slides: bool,
    /// Scores are squeezed between bounds, which only unfused attention does in steps.
    pub(in super::super) squeezed: bool,
    /// Numbers of a value of one head, when the cache holds one compressed vector for all of them.
    pub(in super::super) decode: Option<u64>,
}

impl Heads {
    /// Attention that sees everything and has values of its own.
    pub(in super::super) fn plain(queries: Tensor, shape: Attention) -> Self {
        Self { queries, shape, slides: false, squeezed: false, decode: None }
    }
}

/// What attention over one cache needs as inputs.
#[derive(Debug, Clone, Copy)]
pub(super) struct CacheInputs {
    cells: u64,
    mask: Tensor,
    key_cells: Tensor,
    value_cells: Tensor,
    key_rotation: Option<Rotation>,
    value_rotation: Option<Rotation>,
}

/// A matrix that quantized keys and values are multiplied with, to spread outliers.
#[derive(Debug, Clone, Copy)]
struct Rotation {
    matrix: Tensor,
    width: u64,
}

/// Where keys and values come from.
#[derive(Debug, Clone, Copy)]
enum Source<'a> {
    /// A cache, into which these were just written.
    Cache(&'a [Tensor]),
    /// The step itself: keys and values.
    Step(Tensor, Tensor),
}

impl Step<'_> {
    /// Attention over the cache: what all heads give, side by side. `fresh` are keys and values to
    /// be written before, unless the layer reads another's cache.
    pub(in super::super) fn attend(
        &mut self,
        heads: &Heads,
        fresh: Option<(Tensor, Tensor)>,
    ) -> Tensor {
        let inputs = self.sliding.filter(|_| heads.slides).unwrap_or(self.whole);
        let mut queries = heads.queries;
        let mut fresh = fresh;
        if let Some(rotation) = inputs.key_rotation {
            queries = self.spread(queries, rotation);
            fresh = fresh.map(|(keys, values)| (self.spread(keys, rotation), values));
        }
        if let Some(rotation) = inputs.value_rotation {
            fresh = fresh.map(|(keys, values)| (keys, self.spread(values, rotation)));
        }
        self.graph.expand(queries);
        let mut stored = Vec::new();
        if let Some((keys, values)) = fresh {
            // The two kinds of caches differ in the order.
            let (first, second) =
                if self.sliding.is_some() { (keys, values) } else { (values, keys) };
            self.graph.expand(first);
            self.graph.expand(second);
            stored.push(self.store(keys, inputs.key_cells));
            if heads.decode.is_none() {
                stored.push(self.store(values, inputs.value_cells));
            }
        }
        let heads = Heads { queries, ..*heads };
        let given = self.weigh(&heads, Source::Cache(&stored), inputs.mask, inputs.cells);
        match inputs.value_rotation {
            Some(rotation) => self.spread(given, rotation),
            None => given,
        }
    }

    /// Attention over the step's own text.
    pub(in super::super) fn attend_uncached(
        &mut self,
        heads: &Heads,
        (keys, values): (Tensor, Tensor),
        mask: Tensor,
    ) -> Tensor {
        [heads.queries, keys, values].into_iter().for_each(|tensor| self.graph.expand(tensor));
        self.weigh(heads, Source::Step(keys, values), mask, self.tokens)
    }

    /// The mask of texts that no cache holds.
    pub(in super::super) fn uncached_mask(&mut self) -> Tensor {
        let bytes = if self.layout.flash_attention { HALF_BYTES } else { FLOAT_BYTES };
        self.graph.input(bytes, &[self.tokens, self.tokens])
    }

    /// The scores of all cells, and the values by them.
    fn weigh(&mut self, heads: &Heads, source: Source, mask: Tensor, cells: u64) -> Tensor {
        let Attention { heads: count, key_width, .. } = heads.shape;
        let queries = self.graph.view(heads.queries, &[key_width, count, self.tokens]);
        let queries = self.graph.view(queries, &[key_width, self.tokens, count]);
        let given = if self.layout.flash_attention {
            self.fused(heads, queries, source, mask, cells)
        } else {
            self.unfused(heads, queries, source, mask, cells)
        };
        self.graph.expand(given);
        given
    }

    /// One operation that never writes the scores down.
    fn fused(
        &mut self,
        heads: &Heads,
        queries: Tensor,
        source: Source,
        mask: Tensor,
        cells: u64,
    ) -> Tensor {
        let Attention { heads: count, value_width, heads_kv, key_width } = heads.shape;
        let tokens = self.tokens;
        let graph = &mut self.graph;
        let mut sources = vec![queries];
        match source {
            Source::Cache(stored) => sources.extend(stored),
            Source::Step(keys, values) => {
                sources.extend([(keys, key_width), (values, value_width)].map(|(of, width)| {
                    let turned = graph.view(of, &[width, tokens, heads_kv]);
                    graph.fresh_of(HALF_BYTES, &[width, tokens, heads_kv], &[turned])
                }));
            }
        }
        sources.push(mask);
        let fused = graph.fresh(&[value_width, count, tokens], &sources);
        graph.fix(fused);
        if self.layout.place != Place::Processor {
            let scratch = scratch_bytes(self.build, self.layout, &heads.shape, tokens, cells);
            graph.with_extra(fused, scratch);
        }
        let Some(width) = heads.decode else {
            return graph.view(fused, &[product(&[value_width, count]), tokens]);
        };
        let by_head = graph.view(fused, &[value_width, tokens, count]);
        let decoded = graph.fresh(&[width, tokens, count], &[by_head]);
        let by_token = graph.view(decoded, &[width, count, tokens]);
        let decoded = graph.fresh(&[width, count, tokens], &[by_token]);
        graph.view(decoded, &[product(&[width, count]), tokens])
    }

    /// A matrix of scores for each head, shares of each, and the values by them.
    fn unfused(
        &mut self,
        heads: &Heads,
        queries: Tensor,
        source: Source,
        mask: Tensor,
        cells: u64,
    ) -> Tensor {
        let Attention { heads: count, value_width, heads_kv, key_width } = heads.shape;
        let tokens = self.tokens;
        let graph = &mut self.graph;
        let mut sources = vec![queries];
        let mut values = None;
        match source {
            Source::Cache(stored) => {
                sources.extend(stored);
                // Values that are part of the keys must be turned; a cache of values is already.
                let turned = |_| graph.fresh_of(HALF_BYTES, &[cells, value_width], &[]);
                values = heads.decode.map(turned);
            }
            Source::Step(keys, given) => {
                sources.push(graph.view(keys, &[key_width, tokens, heads_kv]));
                let given = graph.view(given, &[value_width, tokens, heads_kv]);
                values.replace(graph.fresh(&[tokens, value_width, heads_kv], &[given]));
            }
        }
        let mut scores = graph.fresh(&[cells, tokens, count], &sources);
        if heads.squeezed {
            (0..3).for_each(|_| scores = graph.in_place(&[scores]));
        }
        let shares = graph.in_place(&[scores, mask]);
        graph.fix(shares);
        let mut sources = Vec::from_iter(values);
        sources.push(shares);
        let mut given = graph.fresh(&[value_width, tokens, count], &sources);
        let width = heads.decode.unwrap_or(value_width);
        if heads.decode.is_some() {
            given = graph.fresh(&[width, tokens, count], &[given]);
        }
        let given = graph.view(given, &[width, count, tokens]);
        graph.fresh(&[product(&[width, count]), tokens], &[given])
    }

    fn store(&mut self, rows: Tensor, cells: Tensor) -> Tensor {
        let [width, heads, tokens, _] = self.graph.node(rows).numbers;
        let rows = self.graph.view(rows, &[product(&[width, heads]), tokens]);
        let stored = self.graph.store(&[rows, cells]);
        self.graph.expand(stored);
        stored
    }

    fn spread(&mut self, of: Tensor, rotation: Rotation) -> Tensor {
        let numbers = self.graph.node(of).numbers;
        let columns = product(&numbers).checked_div(rotation.width).unwrap_or(0);
        let flat = self.graph.view(of, &[rotation.width, columns]);
        let spread = self.graph.fresh(&[rotation.width, columns], &[rotation.matrix, flat]);
        self.graph.view(spread, &numbers)
    }
}

impl CacheInputs {
    pub(super) fn new(
        graph: &mut Graph,
        header: &Header,
        layers: &[Layer],
        layout: &Layout,
        tokens: u64,
        (cells, slides): (u64, bool),
    ) -> Self {
        let mask_bytes = if layout.flash_attention { HALF_BYTES } else { FLOAT_BYTES };
        // Values that lie transposed are written number by number.
        let values = if layout.flash_attention {
            1
        } else {
            let widths = layers.iter().map(|layer| layer.attention);
            let numbers = widths.map(|shape| product(&[shape.heads_kv, shape.value_width]));
            numbers.max().unwrap_or(1).max(1)
        };
        let (key_width, value_width) = head_widths(layers, slides);
        // The one vector of latent attention is kept as it is.
        let rotates = !layers::is_latent(header);
        let key_rotation = rotation_width(layout.keys, key_width, true).filter(|_| rotates);
        let value_rotation = rotation_width(layout.values, value_width, false).filter(|_| rotates);
        let matrix = |graph: &mut Graph, width| Rotation {
            matrix: graph.input(FLOAT_BYTES, &[width, width]),
            width,
        };
        Self {
            cells,
            mask: graph.input(mask_bytes, &[cells, tokens]),
            key_cells: graph.input(CELL_NUMBER_BYTES, &[tokens]),
            value_cells: graph.input(CELL_NUMBER_BYTES, &[tokens, values]),
            key_rotation: key_rotation.map(|width| matrix(graph, width)),
            value_rotation: value_rotation.map(|width| matrix(graph, width)),
        }
    }
}

/// The widths of a key and of a value in the layers with a window, or in those without; zero where
/// layers differ.
fn head_widths(layers: &[Layer], slides: bool) -> (u64, u64) {
    let of_kind = layers.iter().filter(|layer| layer.window.is_some() == slides);
    let widths =
        of_kind.filter(|layer| layer.cache != Cached::Nothing).map(|layer| layer.attention);
    let widths = widths.filter(|shape| shape.heads_kv > 0);
    let mut widths = widths.map(|shape| (shape.key_width, shape.value_width));
    let Some((key, value)) = widths.next() else {
        return (0, 0);
    };
    widths.fold((key, value), |(one, other), (key, value)| {
        (if one == key { one } else { 0 }, if other == value { other } else { 0 })
    })
}

/// The width of the matrix that quantized keys (the largest power of two that divides a head) or
/// values (64) are multiplied with. Source: the constructor in `llama-kv-cache.cpp`.
fn rotation_width(kind: CacheType, head_width: u64, is_key: bool) -> Option<u64> {
    const SMALLEST: u64 = 64;
    if !kind.is_quantized() || head_width == 0 || !head_width.is_multiple_of(SMALLEST) {
        return None;
    }
    Some(if is_key { 1 << head_width.trailing_zeros() } else { SMALLEST })
}

/// What Metal's fused attention needs besides its result. Source: the functions
/// `ggml_metal_op_flash_attn_ext_extra_*` in `ggml-metal-ops.cpp`: padding of the last cells, marks
/// of empty blocks, partial results of 32 groups, and keys and values of one layer in half
/// precision. Other GPUs take their scratch elsewhere; they get the same figure.
fn scratch_bytes(build: Build, layout: &Layout, shape: &Attention, tokens: u64, cells: u64) -> u64 {
    const CELLS_A_GROUP: u64 = 64;
    const QUERIES_A_GROUP: u64 = 8;
    const GROUPS: u64 = 32;
    const QUERIES_SPLIT_MAX: u64 = 32;
    let Attention { heads, heads_kv, key_width, value_width } = *shape;
    let row = |kind: CacheType, width: u64| {
        // Quantized ones are padded as half precision, head by head.
        if kind.is_quantized() && !build.pads_quantized_rows() {
            product(&[HALF_BYTES, width, heads_kv])
        } else {
            product(&[kind.bytes(product(&[width, heads_kv])), heads_kv])
        }
    };
    let rows = row(layout.keys, key_width).saturating_add(row(layout.values, value_width));
    let padding = product(&[CELLS_A_GROUP, rows.saturating_add(product(&[HALF_BYTES, tokens]))]);
    let blocks = product(&[cells.div_ceil(CELLS_A_GROUP), tokens.div_ceil(QUERIES_A_GROUP)]);
    let partial = product(&[
        FLOAT_BYTES,
        tokens.min(QUERIES_SPLIT_MAX),
        heads,
        GROUPS,
        value_width.saturating_add(2),
    ]);
    let widths = key_width.saturating_add(value_width);
    let halves = product(&[HALF_BYTES, cells, heads_kv, widths]);
    sum(&[padding, blocks, partial, halves])
}
