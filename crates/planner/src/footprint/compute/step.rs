//! The parts that the graphs of most models are made of: inputs, norms and networks here, attention
//! and experts in their own files, as llama.cpp's `llama-graph.cpp` puts them together.
//!
//! Which parts a model has is in the other files of this folder.

mod attention;
mod experts;

use super::{
    super::{
        Build, FLOAT_BYTES, Layout, cache,
        layers::{self, Attention, Cached, Layer},
        product,
    },
    graph::{Graph, Tensor},
};
use crate::gguf::Header;

use attention::CacheInputs;
pub(super) use attention::Heads;
pub(super) use experts::Experts;

/// Bytes of token ids, positions and row numbers of outputs.
const ID_BYTES: u64 = 4;
/// Bytes of cell numbers.
const CELL_NUMBER_BYTES: u64 = 8;

/// A graph while it is put together, with what all parts need to know.
pub(super) struct Step<'a> {
    build: Build,
    pub(super) header: &'a Header,
    layers: &'a [Layer],
    pub(super) layout: &'a Layout,
    pub(super) graph: Graph,
    /// Tokens of the step, a whole number for each sequence.
    pub(super) tokens: u64,
    /// Tokens whose results are wanted.
    pub(super) rows: u64,
    /// Numbers of the vector that goes through all layers.
    pub(super) width: u64,
    pub(super) positions: Tensor,
    pub(super) row_ids: Tensor,
    whole: CacheInputs,
    sliding: Option<CacheInputs>,
}

/// How a feed-forward network is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Network {
    /// Two matrices up, gate and value, and one down.
    Gated,
    /// As gated, the two matrices in one.
    GatedInOne,
    /// One matrix up and one down.
    Plain,
}

impl<'a> Step<'a> {
    pub(super) fn new(
        build: Build,
        header: &'a Header,
        layers: &'a [Layer],
        layout: &'a Layout,
    ) -> Self {
        let sequences = u64::from(layout.sequences_max.max(1));
        // llama.cpp lays out steps in which all sequences have as many tokens.
        let tokens = u64::from(layout.step_tokens_max.max(1)).next_multiple_of(sequences);
        let rows = u64::from(layout.output_rows_max).clamp(1, layout.step_tokens_max.max(1).into());
        let mut graph = Graph::default();
        let cells = cache::context_cells(layout);
        let whole = CacheInputs::new(&mut graph, header, layers, layout, tokens, (cells, false));
        let window = layers.iter().find_map(|layer| layer.window);
        let sliding = window.map(|window| {
            let cells = cache::window_cells(layout, window);
            CacheInputs::new(&mut graph, header, layers, layout, tokens, (cells, true))
        });
        let positions = graph.input(ID_BYTES, &[product(&[tokens, positions_a_token(header)])]);
        let row_ids = graph.input(ID_BYTES, &[rows]);
        let width = header.arch_u64("embedding_length").unwrap_or(0);
        Self {
            build,
            header,
            layers,
            layout,
            graph,
            tokens,
            rows,
            width,
            positions,
            row_ids,
            whole,
            sliding,
        }
    }

    /// Vectors of the step's tokens. Looked up in RAM, because the table stays there. The graph
    /// also has room for vectors that come from outside, alone or among tokens, which text never
    /// uses.
    pub(super) fn embeddings(&mut self, scaled: bool) -> Tensor {
        self.embeddings_with_extra(scaled).0
    }

    /// Vectors of the step's tokens, and a vector from outside for each of them.
    pub(super) fn token_and_vector(&mut self) -> (Tensor, Tensor) {
        let (tokens, width) = (self.tokens, self.width);
        let graph = &mut self.graph;
        let ids = graph.input(ID_BYTES, &[tokens]);
        let embedded = looked_up(graph, ids, width, width, tokens);
        let given = graph.input(FLOAT_BYTES, &[width, tokens]);
        (embedded, given)
    }

    /// As `embeddings`, with the whole of what is looked up where images bring vectors for the
    /// first layers as well.
    pub(super) fn embeddings_with_extra(&mut self, scaled: bool) -> (Tensor, Option<Tensor>) {
        let (tokens, width) = (self.tokens, self.width);
        let wide = product(&[width, self.extra_vectors().saturating_add(1)]);
        let graph = &mut self.graph;
        let ids = graph.input(ID_BYTES, &[tokens]);
        let vectors = looked_up(graph, ids, width, wide, tokens);
        graph.expand(vectors);
        let given = graph.input(FLOAT_BYTES, &[wide, tokens]);
        graph.expand(given);
        if self.build.mixes_vectors() {
            let among = graph.input(FLOAT_BYTES, &[wide, tokens]);
            let copy = graph.fresh(&[wide, tokens], &[among]);
            let ids = graph.input(ID_BYTES, &[tokens]);
            let rows = looked_up(graph, ids, width, wide, tokens);
            let places = graph.input(CELL_NUMBER_BYTES, &[tokens]);
            let merged = graph.write_into(copy, &[rows, places]);
            [copy, merged].into_iter().for_each(|tensor| graph.in_ram(tensor));
            graph.expand(merged);
        }
        if wide > width {
            let own = graph.view(vectors, &[width, tokens]);
            graph.expand(own);
            return (own, Some(vectors));
        }
        if !scaled {
            return (vectors, None);
        }
        let mut sources = vec![vectors];
        if self.build.scales_by_token() {
            sources.push(graph.input(FLOAT_BYTES, &[1, tokens]));
        }
        let scaled = graph.in_place(&sources);
        graph.expand(scaled);
        (scaled, None)
    }

    /// Vectors that an image brings for each of the first layers, and text leaves empty.
    pub(super) fn extra_vectors(&self) -> u64 {
        self.header.arch_u64("n_deepstack_layers").unwrap_or(0)
    }

    /// How many layers are computed.
    pub(super) fn layers(&self) -> u64 {
        layers::layers_loaded(self.header)
    }

    /// Heads of layer `layer`.
    pub(super) fn shape(&self, layer: u64) -> Attention {
        self.layer(layer).map_or_else(Attention::default, |layer| layer.attention)
    }

    /// Whether layer `layer` sees only the last tokens.
    pub(super) fn slides(&self, layer: u64) -> bool {
        self.layer(layer).is_some_and(|layer| layer.window.is_some())
    }

    /// Whether layer `layer` has a cache of its own.
    pub(super) fn caches(&self, layer: u64) -> bool {
        self.layer(layer).is_some_and(|layer| layer.cache != Cached::Nothing)
    }

    /// Whether layer `layer` carries a state.
    pub(super) fn carries(&self, layer: u64) -> bool {
        self.layer(layer).is_some_and(|layer| layer.has_state)
    }

    /// The width inside the dense network of layer `layer`.
    pub(super) fn inner(&self, layer: u64) -> u64 {
        self.layer(layer).map_or(0, |layer| layer.feed_forward)
    }

    fn layer(&self, layer: u64) -> Option<&Layer> {
        self.layers.get(usize::try_from(layer).ok()?)
    }

    /// A norm over the first dimension with a weight. The kind with a mean cannot reuse memory.
    pub(super) fn norm(&mut self, of: Tensor, has_mean: bool) -> Tensor {
        let numbers = self.graph.node(of).numbers;
        let normal =
            if has_mean { self.graph.fresh(&numbers, &[of]) } else { self.graph.in_place(&[of]) };
        let weighted = self.graph.in_place(&[normal]);
        self.graph.join(weighted);
        if !has_mean {
            return weighted;
        }
        let shifted = self.graph.in_place(&[weighted]);
        self.graph.join(shifted);
        shifted
    }

    /// A matrix product that gives `numbers` for each token.
    pub(super) fn project(&mut self, of: Tensor, numbers: u64) -> Tensor {
        let [_, tokens, ..] = self.graph.node(of).numbers;
        self.graph.fresh(&[numbers, tokens], &[of])
    }

    /// The rows whose results are wanted.
    pub(super) fn wanted_rows(&mut self, of: Tensor) -> Tensor {
        let [width, ..] = self.graph.node(of).numbers;
        self.graph.fresh(&[width, self.rows], &[of, self.row_ids])
    }

    /// Turned by position.
    pub(super) fn rotated(&mut self, of: Tensor) -> Tensor {
        self.graph.in_place(&[of, self.positions])
    }

    /// A feed-forward network.
    pub(super) fn network(&mut self, of: Tensor, inner: u64, kind: Network) -> Tensor {
        let inside = match kind {
            Network::Gated => {
                let up = self.project(of, inner);
                let gate = self.project(of, inner);
                let [_, tokens, ..] = self.graph.node(of).numbers;
                self.graph.fresh(&[inner, tokens], &[gate, up])
            }
            Network::GatedInOne => {
                let both = self.project(of, inner.saturating_mul(2));
                self.project(both, inner)
            }
            Network::Plain => {
                let up = self.project(of, inner);
                self.graph.in_place(&[up])
            }
        };
        self.project(inside, self.width)
    }
}

/// Rows of the table of tokens, in RAM, with empty vectors behind where images bring more.
fn looked_up(graph: &mut Graph, ids: Tensor, width: u64, wide: u64, tokens: u64) -> Tensor {
    let rows = graph.fresh(&[width, tokens], &[ids]);
    graph.in_ram(rows);
    if wide == width {
        return rows;
    }
    let padded = graph.fresh(&[wide, tokens], &[rows]);
    graph.in_ram(padded);
    padded
}

/// Positions of a token: one, or one for each axis of an image.
fn positions_a_token(header: &Header) -> u64 {
    const AXES: u64 = 4;
    let has_axes = matches!(
        header.architecture(),
        "qwen2vl" | "qwen3vl" | "qwen3vlmoe" | "qwen35" | "qwen35moe"
    );
    if has_axes { AXES } else { 1 }
}
