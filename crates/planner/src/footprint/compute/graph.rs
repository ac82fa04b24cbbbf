//! A step as llama.cpp would write it down: tensors with their sizes, what each is made from, and
//! the order they are computed in. Numbers are never computed here, only their places counted.
//!
//! Source: `ggml_build_forward_expand` in llama.cpp's `ggml.c` for the order. Where the tensors lie
//! is `arena.rs`; which tensors a model has is in the other files of this folder. Weights and
//! caches have memory of their own and do not appear.

use super::super::{Device, FLOAT_BYTES, product};

/// A tensor of a graph, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tensor(pub(super) usize);

/// How a tensor comes by its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Filled by the caller before the step.
    Input,
    /// Computed into memory of its own.
    Fresh,
    /// Computed into the memory of a source, when nobody else needs that.
    InPlace,
    /// Another look at the memory of a tensor, or of something outside the graph.
    View(Option<Tensor>),
}

/// What the order of a GPU may do with a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing is computed.
    Look,
    /// It may run beside others.
    Movable,
    /// Nothing moves across it.
    Fixed,
}

/// One tensor.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// Numbers along each dimension.
    pub(super) numbers: [u64; 4],
    pub(super) number_bytes: u64,
    /// What a GPU's kernel needs besides the numbers.
    pub(super) extra_bytes: u64,
    pub(super) sources: Vec<Tensor>,
    /// Kept to the end of the step.
    pub(super) is_output: bool,
    pub(super) device: Device,
    pub(super) role: Role,
    /// One kernel computes it together with what is before it.
    pub(super) joins_previous: bool,
}

impl Node {
    /// Bytes of its numbers.
    pub(super) fn bytes(&self) -> u64 {
        product(&self.numbers).saturating_mul(self.number_bytes).saturating_add(self.extra_bytes)
    }
}

/// All tensors of a step.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    /// Inputs in the order they were first needed.
    pub(super) leaves: Vec<Tensor>,
    /// The others in the order they are computed.
    pub(super) order: Vec<Tensor>,
    visited: Vec<bool>,
}

impl Graph {
    /// An input with numbers of `number_bytes` bytes. It counts once something needs it.
    pub(super) fn input(&mut self, number_bytes: u64, numbers: &[u64]) -> Tensor {
        let tensor = self.add(Kind::Input, numbers, &[]);
        self.node_mut(tensor).number_bytes = number_bytes;
        tensor
    }

    /// Floats computed from `sources` into memory of their own.
    pub(super) fn fresh(&mut self, numbers: &[u64], sources: &[Tensor]) -> Tensor {
        self.add(Kind::Fresh, numbers, sources)
    }

    /// As `fresh`, with numbers of another size.
    pub(super) fn fresh_of(
        &mut self,
        number_bytes: u64,
        numbers: &[u64],
        sources: &[Tensor],
    ) -> Tensor {
        let tensor = self.add(Kind::Fresh, numbers, sources);
        self.node_mut(tensor).number_bytes = number_bytes;
        tensor
    }

    /// Floats in the shape of the first source, which may give its memory.
    pub(super) fn in_place(&mut self, sources: &[Tensor]) -> Tensor {
        let numbers = sources.first().map_or([1; 4], |first| self.node(*first).numbers);
        self.add(Kind::InPlace, &numbers, sources)
    }

    /// The same memory in another shape or in part.
    pub(super) fn view(&mut self, of: Tensor, numbers: &[u64]) -> Tensor {
        let root = match self.node(of).kind {
            Kind::View(root) => root,
            Kind::Input | Kind::Fresh | Kind::InPlace => Some(of),
        };
        let view = self.add(Kind::View(root), numbers, &[of]);
        self.node_mut(view).role = Role::Look;
        view
    }

    /// Writes `sources` into a cache or state, which is outside the graph.
    pub(super) fn store(&mut self, sources: &[Tensor]) -> Tensor {
        self.add(Kind::View(None), &[1], sources)
    }

    /// Writes `sources` into the memory of `into`.
    pub(super) fn write_into(&mut self, into: Tensor, sources: &[Tensor]) -> Tensor {
        let numbers = self.node(into).numbers;
        let all: Vec<Tensor> = sources.iter().copied().chain([into]).collect();
        self.add(Kind::View(Some(into)), &numbers, &all)
    }

    /// Puts `tensor` and what it still needs at the end of the order.
    pub(super) fn expand(&mut self, tensor: Tensor) {
        if std::mem::replace(&mut self.visited[tensor.0], true) {
            return;
        }
        for place in 0..self.node(tensor).sources.len() {
            self.expand(self.node(tensor).sources[place]);
        }
        match self.node(tensor).kind {
            Kind::Input => self.leaves.push(tensor),
            Kind::Fresh | Kind::InPlace | Kind::View(_) => self.order.push(tensor),
        }
    }

    /// Keeps the memory of `tensor` to the end.
    pub(super) fn keep(&mut self, tensor: Tensor) {
        self.node_mut(tensor).is_output = true;
    }

    /// Has `tensor` computed in RAM although the layers lie in a GPU.
    pub(super) fn in_ram(&mut self, tensor: Tensor) {
        self.node_mut(tensor).device = Device::Ram;
    }

    /// Has nothing move across `tensor` on a GPU.
    pub(super) fn fix(&mut self, tensor: Tensor) {
        self.node_mut(tensor).role = Role::Fixed;
    }

    /// Has one kernel compute `tensor` with what was expanded just before.
    pub(super) fn join(&mut self, tensor: Tensor) {
        self.node_mut(tensor).joins_previous = true;
    }

    /// Adds what a GPU's kernel for `tensor` needs besides its numbers.
    pub(super) fn with_extra(&mut self, tensor: Tensor, bytes: u64) {
        self.node_mut(tensor).extra_bytes = bytes;
    }

    pub(super) fn node(&self, tensor: Tensor) -> &Node {
        &self.nodes[tensor.0]
    }

    fn node_mut(&mut self, tensor: Tensor) -> &mut Node {
        &mut self.nodes[tensor.0]
    }

    fn add(&mut self, kind: Kind, numbers: &[u64], sources: &[Tensor]) -> Tensor {
        let mut all = [1; 4];
        all.iter_mut().zip(numbers).for_each(|(place, number)| *place = *number);
        self.nodes.push(Node {
            kind,
            numbers: all,
            number_bytes: FLOAT_BYTES,
            extra_bytes: 0,
            sources: sources.to_vec(),
            is_output: false,
            device: if kind == Kind::Input { Device::Ram } else { Device::Gpu },
            role: Role::Movable,
            joins_previous: false,
        });
        self.visited.push(false);
        Tensor(self.nodes.len() - 1)
    }
}
