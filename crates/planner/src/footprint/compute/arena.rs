//! Lays the tensors of a graph out in memory and says how much that takes.
//!
//! The rules are those of ggml's graph allocator (`ggml-alloc.c`): inputs first, then each tensor
//! in its turn into the smallest gap that holds it; memory is free again when the last reader has
//! run. With a GPU the graph is cut where the device changes and what crosses is copied, as
//! `ggml_backend_sched_split_graph` in `ggml-backend.cpp` does. What the tensors are is in
//! `graph.rs`.

use std::collections::BTreeMap;

use super::{
    super::{Device, Place},
    graph::{Graph, Kind, Node, Tensor},
    reorder::reordered,
};

/// What a step takes in each memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Peak {
    pub(super) ram: Widest,
    pub(super) gpu: Widest,
}

/// The moment at which most is needed in one memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Widest {
    /// How much, gaps between tensors included.
    pub(super) bytes: u64,
    /// What is held then, largest first.
    pub(super) held: Vec<Held>,
}

/// Tensors of one shape that are held at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Held {
    /// All of them together.
    pub(super) bytes: u64,
    pub(super) count: u64,
    pub(super) numbers: [u64; 4],
    pub(super) number_bytes: u64,
}

/// Tensors begin at multiples of this. Source: `TENSOR_ALIGNMENT` in `ggml-impl.h`, and the buffers
/// of ggml-metal.
const ALIGNMENT_BYTES: u64 = 32;

/// The most that is needed at once. Without a GPU everything is in RAM.
pub(super) fn peak(graph: Graph, place: Place) -> Peak {
    let mut layout = Layout::new(graph, place);
    layout.run();
    Peak { ram: layout.widest(Device::Ram), gpu: layout.widest(Device::Gpu) }
}

struct Layout {
    nodes: Vec<Node>,
    leaves: Vec<Tensor>,
    order: Vec<Turn>,
    claims: Vec<Claim>,
    ram: Arena,
    gpu: Arena,
    /// How many tensors were computed so far.
    turn: usize,
}

/// What happens at one point of the order.
#[derive(Debug, Clone, Copy)]
enum Turn {
    /// A tensor is computed.
    Compute(Tensor),
    /// A tensor is read to be copied to the other device.
    Read(Tensor),
}

/// Where a tensor is, and who still needs it.
#[derive(Debug, Clone, Copy, Default)]
struct Claim {
    offset: u64,
    readers: u32,
    views: u32,
    is_allocated: bool,
    /// The turns in which it holds memory.
    held: (usize, usize),
}

impl Layout {
    fn new(graph: Graph, place: Place) -> Self {
        let Graph { mut nodes, leaves, order, .. } = graph;
        let order = if place != Place::Processor {
            across_devices(&mut nodes, &order, place == Place::SharedGpu)
        } else {
            nodes.iter_mut().for_each(|node| node.device = Device::Ram);
            order.into_iter().map(Turn::Compute).collect()
        };
        let mut claims = vec![Claim::default(); nodes.len()];
        for turn in &order {
            match turn {
                Turn::Compute(tensor) => {
                    let node = &nodes[tensor.0];
                    if let Kind::View(Some(root)) = node.kind {
                        claims[root.0].views += 1;
                    }
                    node.sources.iter().for_each(|source| claims[source.0].readers += 1);
                }
                Turn::Read(tensor) => claims[tensor.0].readers += 1,
            }
        }
        Self { nodes, leaves, order, claims, ram: Arena::new(), gpu: Arena::new(), turn: 0 }
    }

    fn run(&mut self) {
        for leaf in std::mem::take(&mut self.leaves) {
            self.allocate(leaf);
        }
        for turn in std::mem::take(&mut self.order) {
            self.turn += 1;
            match turn {
                Turn::Compute(tensor) => {
                    self.allocate(tensor);
                    // Each tensor is computed once, and nobody asks for its sources again.
                    for source in std::mem::take(&mut self.nodes[tensor.0].sources) {
                        self.release(source);
                    }
                }
                Turn::Read(tensor) => self.release(tensor),
            }
        }
    }

    fn allocate(&mut self, tensor: Tensor) {
        let node = &self.nodes[tensor.0];
        let is_view = matches!(node.kind, Kind::View(_));
        if is_view || self.claims[tensor.0].is_allocated {
            return;
        }
        let turn = self.turn;
        self.claims[tensor.0].is_allocated = true;
        self.claims[tensor.0].held = (turn, usize::MAX);
        let bytes = aligned(node.bytes());
        if let Some(giver) = self.giver(tensor) {
            let given = &mut self.claims[giver.0];
            given.is_allocated = false;
            given.held.1 = turn;
            let offset = given.offset;
            self.claims[tensor.0].offset = offset;
            let had_bytes = aligned(self.nodes[giver.0].bytes());
            let device = self.nodes[tensor.0].device;
            if had_bytes > bytes {
                let rest = offset.saturating_add(bytes);
                self.arena(device).free(rest, had_bytes - bytes);
            }
            return;
        }
        let device = node.device;
        self.claims[tensor.0].offset = self.arena(device).allocate(bytes, turn);
    }

    /// A source whose memory the tensor can be computed into. Views never give theirs.
    fn giver(&self, tensor: Tensor) -> Option<Tensor> {
        let node = &self.nodes[tensor.0];
        if node.kind != Kind::InPlace {
            return None;
        }
        let gives = |source: &&Tensor| {
            let place = &self.claims[source.0];
            let from = &self.nodes[source.0];
            let same = from.numbers == node.numbers && from.number_bytes == node.number_bytes;
            place.is_allocated && !from.is_output && same && place.readers == 1 && place.views == 0
        };
        node.sources.iter().find(gives).copied()
    }

    /// One reader of `tensor` has run.
    fn release(&mut self, tensor: Tensor) {
        let place = &mut self.claims[tensor.0];
        place.readers = place.readers.saturating_sub(1);
        if place.readers > 0 || place.views > 0 {
            return;
        }
        match self.nodes[tensor.0].kind {
            Kind::View(None) => {}
            Kind::View(Some(root)) => {
                let seen = &mut self.claims[root.0];
                seen.views = seen.views.saturating_sub(1);
                if seen.views == 0 && seen.readers == 0 {
                    self.free(root);
                }
            }
            Kind::Input | Kind::Fresh | Kind::InPlace => self.free(tensor),
        }
    }

    fn free(&mut self, tensor: Tensor) {
        let node = &self.nodes[tensor.0];
        let place = &mut self.claims[tensor.0];
        if !place.is_allocated || node.is_output {
            return;
        }
        place.is_allocated = false;
        place.held.1 = self.turn + 1;
        let (offset, bytes, device) = (place.offset, aligned(node.bytes()), node.device);
        self.arena(device).free(offset, bytes);
    }

    /// What is held when most is needed.
    fn widest(&self, device: Device) -> Widest {
        let arena = match device {
            Device::Ram => &self.ram,
            Device::Gpu => &self.gpu,
        };
        let at = arena.peak_turn;
        let mut by_shape: BTreeMap<([u64; 4], u64), (u64, u64)> = BTreeMap::new();
        for (node, claim) in self.nodes.iter().zip(&self.claims) {
            if node.device == device && claim.held.0 <= at && at < claim.held.1 {
                let (count, bytes) = by_shape.entry((node.numbers, node.number_bytes)).or_default();
                *count += 1;
                *bytes = bytes.saturating_add(node.bytes());
            }
        }
        let held = by_shape.into_iter().map(|((numbers, number_bytes), (count, bytes))| Held {
            bytes,
            count,
            numbers,
            number_bytes,
        });
        let mut held: Vec<Held> = held.collect();
        held.sort_by(|one, other| other.cmp(one));
        Widest { bytes: arena.peak_bytes, held }
    }

    fn arena(&mut self, device: Device) -> &mut Arena {
        match device {
            Device::Ram => &mut self.ram,
            Device::Gpu => &mut self.gpu,
        }
    }
}

/// The order with copies of what crosses from one device to the other. A copy is made when the
/// first part of the order that needs it begins.
fn across_devices(nodes: &mut Vec<Node>, order: &[Tensor], reorders: bool) -> Vec<Turn> {
    let mut turns = Vec::with_capacity(order.len());
    let mut copies: BTreeMap<(Tensor, bool), Tensor> = BTreeMap::new();
    let mut begin = 0;
    while begin < order.len() {
        let device = device_of(nodes, &order[begin..]);
        let is_other = |tensor: &&Tensor| {
            let node = &nodes[tensor.0];
            !matches!(node.kind, Kind::View(_)) && node.device != device
        };
        let end = order[begin..].iter().position(|tensor| is_other(&tensor));
        let end = end.map_or(order.len(), |length| begin + length);
        let part = &order[begin..end];
        let mut computed = Vec::with_capacity(part.len());
        for tensor in part {
            if let Kind::View(Some(root)) = nodes[tensor.0].kind {
                nodes[tensor.0].device = nodes[root.0].device;
            }
            for place in 0..nodes[tensor.0].sources.len() {
                let source = nodes[tensor.0].sources[place];
                let is_view = matches!(nodes[tensor.0].kind, Kind::View(Some(_)));
                if nodes[source.0].device == device || is_view {
                    continue;
                }
                let copy = *copies.entry((source, device == Device::Gpu)).or_insert_with(|| {
                    turns.push(Turn::Read(source));
                    nodes.push(Node { device, ..copy_of(&nodes[source.0]) });
                    let copy = Tensor(nodes.len() - 1);
                    turns.push(Turn::Compute(copy));
                    copy
                });
                nodes[tensor.0].sources[place] = copy;
            }
            computed.push(*tensor);
        }
        if reorders && device == Device::Gpu {
            computed = reordered(nodes, &computed);
        }
        turns.extend(computed.into_iter().map(Turn::Compute));
        begin = end;
    }
    turns
}

/// The device of the first tensor that is computed and not only looked at.
fn device_of(nodes: &[Node], order: &[Tensor]) -> Device {
    let computed = order.iter().find(|tensor| !matches!(nodes[tensor.0].kind, Kind::View(_)));
    computed.map_or(Device::Gpu, |tensor| nodes[tensor.0].device)
}

fn copy_of(node: &Node) -> Node {
    Node {
        kind: Kind::Fresh,
        extra_bytes: 0,
        sources: Vec::new(),
        is_output: false,
        ..node.clone()
    }
}

/// Free memory of one device, by offset. The last gap has no end.
struct Arena {
    gaps: Vec<Gap>,
    peak_bytes: u64,
    /// When it was reached.
    peak_turn: usize,
}

#[derive(Debug, Clone, Copy)]
struct Gap {
    offset: u64,
    bytes: u64,
}

impl Arena {
    fn new() -> Self {
        Self { gaps: vec![Gap { offset: 0, bytes: u64::MAX }], peak_bytes: 0, peak_turn: 0 }
    }

    /// The offset of `bytes` bytes in the smallest gap that holds them, the later of equals; else
    /// behind everything.
    fn allocate(&mut self, bytes: u64, turn: usize) -> u64 {
        let last = self.gaps.len() - 1;
        let fitting =
            self.gaps[..last].iter().enumerate().rev().filter(|(_, gap)| gap.bytes >= bytes);
        let place = fitting.min_by_key(|(_, gap)| gap.bytes).map_or(last, |(place, _)| place);
        let gap = &mut self.gaps[place];
        let offset = gap.offset;
        gap.offset = gap.offset.saturating_add(bytes);
        gap.bytes = gap.bytes.saturating_sub(bytes);
        if gap.bytes == 0 && place < last {
            self.gaps.remove(place);
        }
        let end = offset.saturating_add(bytes);
        if end > self.peak_bytes {
            (self.peak_bytes, self.peak_turn) = (end, turn);
        }
        offset
    }

    fn free(&mut self, offset: u64, bytes: u64) {
        let next = self.gaps.partition_point(|gap| gap.offset < offset);
        let end = offset.saturating_add(bytes);
        let joins_next = self.gaps.get(next).is_some_and(|gap| gap.offset == end);
        let joins_previous = next > 0 && {
            let gap = self.gaps[next - 1];
            gap.offset.saturating_add(gap.bytes) == offset
        };
        match (joins_previous, joins_next) {
            (true, true) => {
                let after = self.gaps.remove(next);
                let gap = &mut self.gaps[next - 1];
                gap.bytes = gap.bytes.saturating_add(bytes).saturating_add(after.bytes);
            }
            (true, false) => {
                let gap = &mut self.gaps[next - 1];
                gap.bytes = gap.bytes.saturating_add(bytes);
            }
            (false, true) => {
                let gap = &mut self.gaps[next];
                gap.offset = offset;
                gap.bytes = gap.bytes.saturating_add(bytes);
            }
            (false, false) => self.gaps.insert(next, Gap { offset, bytes }),
        }
    }
}

fn aligned(bytes: u64) -> u64 {
    bytes.checked_next_multiple_of(ALIGNMENT_BYTES).unwrap_or(u64::MAX)
}
