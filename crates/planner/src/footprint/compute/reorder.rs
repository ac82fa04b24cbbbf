//! The order in which Apple's GPUs compute a graph: what can run at the same time is moved
//! together, so that memory is held longer than by the order that was written down.
//!
//! Source: `ggml_graph_optimize` in llama.cpp's `ggml-metal-common.cpp`. Where the tensors then lie
//! is `arena.rs`.

use super::graph::{Kind, Node, Role, Tensor};

/// How far ahead something to run at the same time is looked for.
const LOOK_AHEAD_GROUPS: usize = 64;

/// The new order of `order`.
pub(super) fn reordered(nodes: &[Node], order: &[Tensor]) -> Vec<Tensor> {
    let groups = groups(nodes, order);
    let mut running = Ranges::new(nodes.len());
    let mut passed = Ranges::new(nodes.len());
    let mut is_moved = vec![false; groups.len()];
    let mut result = Vec::with_capacity(order.len());
    for (place, group) in groups.iter().enumerate() {
        if is_moved[place] {
            continue;
        }
        if role(nodes, group) != Role::Look && !running.allow(nodes, group) {
            passed.clear();
            passed.add(nodes, group);
            let end = groups.len().min(place + LOOK_AHEAD_GROUPS);
            for later in place + 1..end {
                let candidate = groups[later];
                if is_moved[later] {
                    continue;
                }
                let role = role(nodes, candidate);
                if role == Role::Fixed {
                    break;
                }
                let fits = role == Role::Look || running.allow(nodes, candidate);
                if fits && passed.allow(nodes, candidate) {
                    running.add(nodes, candidate);
                    result.extend_from_slice(candidate);
                    is_moved[later] = true;
                } else {
                    passed.add(nodes, candidate);
                }
            }
            running.clear();
        }
        running.add(nodes, group);
        result.extend_from_slice(group);
    }
    result
}

/// Neighbours that one kernel computes stay together.
fn groups<'a>(nodes: &[Node], order: &'a [Tensor]) -> Vec<&'a [Tensor]> {
    order.chunk_by(|_, next| nodes[next.0].joins_previous).collect()
}

fn role(nodes: &[Node], group: &[Tensor]) -> Role {
    group.first().map_or(Role::Look, |tensor| nodes[tensor.0].role)
}

/// Which tensors are read and written by a set of groups. A set is emptied by a new number.
struct Ranges {
    set: u32,
    read: Vec<u32>,
    written: Vec<u32>,
}

impl Ranges {
    fn new(tensors: usize) -> Self {
        Self { set: 1, read: vec![0; tensors], written: vec![0; tensors] }
    }

    fn clear(&mut self) {
        self.set += 1;
    }

    fn add(&mut self, nodes: &[Node], group: &[Tensor]) {
        for tensor in group {
            for source in outside(nodes, group, *tensor) {
                self.read[source] = self.set;
            }
            self.written[base(nodes, *tensor)] = self.set;
        }
    }

    /// Whether the group can run at the same time as the set: nobody reads what another writes.
    fn allow(&self, nodes: &[Node], group: &[Tensor]) -> bool {
        group.iter().all(|tensor| {
            let target = base(nodes, *tensor);
            let is_free = self.read[target] != self.set && self.written[target] != self.set;
            is_free && outside(nodes, group, *tensor).all(|source| self.written[source] != self.set)
        })
    }
}

/// What a tensor of a group reads from outside the group.
fn outside<'a>(
    nodes: &'a [Node],
    group: &'a [Tensor],
    tensor: Tensor,
) -> impl Iterator<Item = usize> + 'a {
    let sources = nodes[tensor.0].sources.iter();
    sources.filter(|source| !group.contains(source)).map(|source| base(nodes, *source))
}

/// The tensor whose memory is meant.
fn base(nodes: &[Node], tensor: Tensor) -> usize {
    match nodes[tensor.0].kind {
        Kind::View(Some(root)) => root.0,
        Kind::View(None) | Kind::Input | Kind::Fresh | Kind::InPlace => tensor.0,
    }
}
