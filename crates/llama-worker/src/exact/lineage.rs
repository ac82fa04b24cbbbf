//! Which step computed each cell that a sequence holds, through whatever tiers it went.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use engine::Row;

/// Rows of one sequence in one step.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// Position of the first.
    pub(super) begin: usize,
    pub(super) tokens: Vec<u32>,
    /// Which of them had an output.
    pub(super) outputs: Vec<bool>,
    /// Whether other sequences were in the step too.
    pub(super) shared: bool,
}

impl Call {
    pub(super) fn end(&self) -> usize {
        self.begin + self.tokens.len()
    }
}

/// What a sequence holds: its tokens, and the call that computed each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) tokens: Vec<u32>,
    pub(super) calls: Vec<usize>,
    /// Whether no run from nothing has all of this in these places: its state came of other calls than
    /// its cells, or a part of a block was put behind cells that were there, and with it a gap.
    is_mixed: bool,
}

impl Line {
    fn truncate(&mut self, tokens: usize) {
        self.is_mixed &= tokens > 0;
        self.tokens.truncate(tokens);
        self.calls.truncate(tokens);
    }
}

/// Logits that the engine was given.
#[derive(Debug, Clone)]
pub(super) struct Output {
    pub(super) sequence: u32,
    /// What the sequence held, the row of the logits last.
    pub(super) line: Line,
    pub(super) logits: Vec<f32>,
}

/// All that engines of one store did, life after life.
#[derive(Debug, Default)]
pub(super) struct Lineage {
    pub(super) calls: Vec<Call>,
    pub(super) outputs: Vec<Output>,
    /// Tokens that came back from outside the context.
    pub(super) restored_tokens: usize,
    /// Pieces that came back.
    pub(super) restores: usize,
    held: BTreeMap<u32, Line>,
    /// What the bytes are of that were taken out of a context.
    saved: HashMap<u64, Line>,
}

impl Lineage {
    /// The context is gone, and what it held.
    pub(super) fn end_life(&mut self) {
        self.held.clear();
    }

    /// A step was computed.
    pub(super) fn decoded(&mut self, rows: &[Row]) {
        let mut sequences: Vec<u32> = rows.iter().map(|row| row.sequence).collect();
        sequences.sort_unstable();
        sequences.dedup();
        for sequence in &sequences {
            let own = || rows.iter().filter(|row| row.sequence == *sequence);
            let begin = own().next().unwrap().position as usize;
            let line = self.held.entry(*sequence).or_default();
            assert_eq!(line.tokens.len(), begin, "a hole in the cache");
            for row in own() {
                line.tokens.push(row.token);
                line.calls.push(self.calls.len());
            }
            self.calls.push(Call {
                begin,
                tokens: own().map(|row| row.token).collect(),
                outputs: own().map(|row| row.output).collect(),
                shared: sequences.len() > 1,
            });
        }
    }

    /// The engine looked at the logits of a row, which it does where no wrong guess is before it.
    pub(super) fn gave(&mut self, row: &Row, logits: &[f32]) {
        let mut line = self.held[&row.sequence].clone();
        line.truncate(row.position as usize + 1);
        self.outputs.push(Output { sequence: row.sequence, line, logits: logits.to_vec() });
    }

    pub(super) fn held_tokens(&self, sequence: u32) -> usize {
        self.held.get(&sequence).map_or(0, |line| line.tokens.len())
    }

    pub(super) fn kept(&mut self, sequence: u32, tokens: usize) {
        self.held.entry(sequence).or_default().truncate(tokens);
    }

    pub(super) fn copied(&mut self, from: u32, to: u32, tokens: usize) {
        let mut line = self.held.get(&from).cloned().unwrap_or_default();
        line.truncate(tokens);
        self.held.insert(to, line);
    }

    pub(super) fn cleared(&mut self, sequence: u32) {
        self.held.remove(&sequence);
    }

    /// Bytes of a sequence's first `tokens` tokens, or of the last of them, were taken out.
    pub(super) fn saved(&mut self, sequence: u32, tokens: usize, bytes: &[u8]) {
        let mut line = self.held[&sequence].clone();
        assert!(line.tokens.len() >= tokens, "it gave more than it holds");
        line.truncate(tokens);
        self.saved.insert(hash(bytes), line);
    }

    /// Cells were put behind what a sequence holds: these of those that were saved. The others of them
    /// were put there too, and leave a gap.
    pub(super) fn loaded_cells(
        &mut self,
        sequence: u32,
        saved: Range<usize>,
        wanted: Range<usize>,
        bytes: &[u8],
    ) {
        let from = &self.saved[&hash(bytes)];
        assert!(from.tokens.len() >= wanted.end, "fewer cells than were wanted");
        let line = self.held.entry(sequence).or_default();
        assert_eq!(line.tokens.len(), wanted.start, "a hole in the cache");
        line.is_mixed |=
            from.is_mixed || wanted.start > saved.start || line.calls != from.calls[..wanted.start];
        line.tokens.extend(&from.tokens[wanted.clone()]);
        line.calls.extend(&from.calls[wanted.clone()]);
        self.restores += 1;
        self.restored_tokens += wanted.len();
    }

    /// The state after `tokens` tokens was put into a sequence, which holds their cells if there are
    /// any.
    pub(super) fn loaded_state(&mut self, sequence: u32, tokens: usize, bytes: &[u8]) {
        let from = &self.saved[&hash(bytes)];
        assert_eq!(from.tokens.len(), tokens, "a state of another moment");
        let line = self.held.entry(sequence).or_default();
        if line.tokens.is_empty() {
            line.clone_from(from);
            self.restored_tokens += tokens;
        }
        assert_eq!(line.tokens, from.tokens, "a state of another text");
        line.is_mixed |= from.is_mixed || line.calls != from.calls;
        self.restores += 1;
    }

    /// The calls that compute what a line holds when they are repeated one after the other, each with
    /// how many of its tokens stay; `None` where cells of different runs came together, which no run
    /// from nothing can repeat.
    pub(super) fn repeatable(&self, line: &Line) -> Option<Vec<(usize, usize)>> {
        if line.is_mixed {
            return None;
        }
        let mut repeat = Vec::new();
        let mut at = 0;
        for run in line.calls.chunk_by(|one, next| one == next) {
            let call = &self.calls[run[0]];
            if call.begin != at || call.shared {
                return None;
            }
            at += run.len();
            repeat.push((run[0], run.len()));
        }
        Some(repeat)
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
