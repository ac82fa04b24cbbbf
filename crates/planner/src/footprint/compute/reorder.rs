//! The order in which Apple's GPUs compute a graph: what can run at the same time is moved
//! together, so that memory is held longer than by the order that was written down.
//!
//! Source: `ggml_graph_optimize` in llama.cpp's `ggml-metal-common.cpp`. Where the tensors then lie
//! is `arena.rs`.

use std::ops::Range;

use super::graph::{Kind, Node, Role, Tensor};

/// How far ahead something to run at the same time is looked for.
const LOOK_AHEAD_GROUPS: usize = 64;

/// What a tensor reads and writes on average; only a guess at how long a list gets.
const TOUCHED_USUALLY: usize = 3;

/// The new order of `order`.
pub(super) fn reordered(nodes: &[Node], order: &[Tensor]) -> Vec<Tensor> {
    let groups = Groups::of(nodes, order);
    let mut running = Ranges::new(nodes.len());
    let mut passed = Ranges::new(nodes.len());
    let mut is_moved = vec![false; groups.all.len()];
    let mut result = Vec::with_capacity(order.len());
    for (place, group) in groups.all.iter().enumerate() {
        if is_moved[place] {
            continue;
        }
        if group.role != Role::Look && !running.allow(&groups, group) {
            passed.clear();
            passed.add(&groups, group);
            let end = groups.all.len().min(place + LOOK_AHEAD_GROUPS);
            let ahead = groups.all.iter().enumerate().take(end).skip(place + 1);
            for (later, candidate) in ahead {
                if is_moved[later] {
                    continue;
                }
                if candidate.role == Role::Fixed {
                    break;
                }
                let fits = candidate.role == Role::Look || running.allow(&groups, candidate);
                if fits && passed.allow(&groups, candidate) {
                    running.add(&groups, candidate);
                    result.extend_from_slice(candidate.tensors);
                    is_moved[later] = true;
                } else {
                    passed.add(&groups, candidate);
                }
            }
            running.clear();
        }
        running.add(&groups, group);
        result.extend_from_slice(group.tensors);
    }
    result
}

/// Neighbours that one kernel computes, which stay together. Each is looked at many times, so that
/// what it reads and writes is found once.
struct Group<'a> {
    tensors: &'a [Tensor],
    role: Role,
    /// The memory that is read from outside the group, among [`Groups::touched`].
    read: Range<usize>,
    /// The memory that is written, there too.
    written: Range<usize>,
}

/// All groups. What they touch is in one list: there are thousands, and each touches little.
struct Groups<'a> {
    all: Vec<Group<'a>>,
    touched: Vec<usize>,
}

impl<'a> Groups<'a> {
    fn of(nodes: &[Node], order: &'a [Tensor]) -> Self {
        let mut touched = Vec::with_capacity(order.len().saturating_mul(TOUCHED_USUALLY));
        let group = |tensors: &'a [Tensor]| {
            let start = touched.len();
            let sources = tensors.iter().flat_map(|tensor| &nodes[tensor.0].sources);
            let outside = sources.filter(|source| !tensors.contains(source));
            touched.extend(outside.map(|source| base(nodes, *source)));
            let middle = touched.len();
            touched.extend(tensors.iter().map(|tensor| base(nodes, *tensor)));
            Group {
                tensors,
                role: tensors.first().map_or(Role::Look, |tensor| nodes[tensor.0].role),
                read: start..middle,
                written: middle..touched.len(),
            }
        };
        let all = order.chunk_by(|_, next| nodes[next.0].joins_previous).map(group).collect();
        Self { all, touched }
    }

    fn read(&self, group: &Group) -> &[usize] {
        &self.touched[group.read.clone()]
    }

    fn written(&self, group: &Group) -> &[usize] {
        &self.touched[group.written.clone()]
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

    fn add(&mut self, groups: &Groups, group: &Group) {
        groups.read(group).iter().for_each(|tensor| self.read[*tensor] = self.set);
        groups.written(group).iter().for_each(|tensor| self.written[*tensor] = self.set);
    }

    /// Whether the group can run at the same time as the set: nobody reads what another writes.
    fn allow(&self, groups: &Groups, group: &Group) -> bool {
        let is_untouched =
            |tensor: &usize| self.read[*tensor] != self.set && self.written[*tensor] != self.set;
        groups.written(group).iter().all(is_untouched)
            && groups.read(group).iter().all(|tensor| self.written[*tensor] != self.set)
    }
}

/// The tensor whose memory is meant.
fn base(nodes: &[Node], tensor: Tensor) -> usize {
    match nodes[tensor.0].kind {
        Kind::View(Some(root)) => root.0,
        Kind::View(None) | Kind::Input | Kind::Fresh | Kind::InPlace => tensor.0,
    }
}
