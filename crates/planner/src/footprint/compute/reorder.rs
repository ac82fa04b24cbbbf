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
        if group.role != Role::Look && !running.allow(group) {
            passed.clear();
            passed.add(group);
            let end = groups.len().min(place + LOOK_AHEAD_GROUPS);
            for later in place + 1..end {
                let candidate = &groups[later];
                if is_moved[later] {
                    continue;
                }
                if candidate.role == Role::Fixed {
                    break;
                }
                let fits = candidate.role == Role::Look || running.allow(candidate);
                if fits && passed.allow(candidate) {
                    running.add(candidate);
                    result.extend_from_slice(candidate.tensors);
                    is_moved[later] = true;
                } else {
                    passed.add(candidate);
                }
            }
            running.clear();
        }
        running.add(group);
        result.extend_from_slice(group.tensors);
    }
    result
}

/// Neighbours that one kernel computes, which stay together. Each is looked at many times, so that
/// what it reads and writes is found once.
struct Group<'a> {
    tensors: &'a [Tensor],
    role: Role,
    /// The memory that is read from outside the group.
    read: Vec<usize>,
    written: Vec<usize>,
}

fn groups<'a>(nodes: &[Node], order: &'a [Tensor]) -> Vec<Group<'a>> {
    let groups = order.chunk_by(|_, next| nodes[next.0].joins_previous);
    groups.map(|tensors| Group::of(nodes, tensors)).collect()
}

impl<'a> Group<'a> {
    fn of(nodes: &[Node], tensors: &'a [Tensor]) -> Self {
        let sources = tensors.iter().flat_map(|tensor| &nodes[tensor.0].sources);
        let outside = sources.filter(|source| !tensors.contains(source));
        Self {
            tensors,
            role: tensors.first().map_or(Role::Look, |tensor| nodes[tensor.0].role),
            read: outside.map(|source| base(nodes, *source)).collect(),
            written: tensors.iter().map(|tensor| base(nodes, *tensor)).collect(),
        }
    }
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

    fn add(&mut self, group: &Group) {
        group.read.iter().for_each(|tensor| self.read[*tensor] = self.set);
        group.written.iter().for_each(|tensor| self.written[*tensor] = self.set);
    }

    /// Whether the group can run at the same time as the set: nobody reads what another writes.
    fn allow(&self, group: &Group) -> bool {
        let is_untouched =
            |tensor: &usize| self.read[*tensor] != self.set && self.written[*tensor] != self.set;
        group.written.iter().all(is_untouched)
            && group.read.iter().all(|tensor| self.written[*tensor] != self.set)
    }
}

/// The tensor whose memory is meant.
fn base(nodes: &[Node], tensor: Tensor) -> usize {
    match nodes[tensor.0].kind {
        Kind::View(Some(root)) => root.0,
        Kind::View(None) | Kind::Input | Kind::Fresh | Kind::InPlace => tensor.0,
    }
}
