//! What of a sequence is kept outside the context, on llama.cpp's states of sequences.
//!
//! llama.cpp gives and takes the state of a whole sequence. A run of tokens is cut out by sharing it
//! with a spare sequence, which costs no memory since both have the same cells. It goes back the same
//! way: into the spare one, and from there shared with its own.
//!
//! - *Full attention*: a state is the cells of the sequence.
//! - *Sliding window*: a state leaves out cells that the window of its own last token does not reach.
//!   So no piece is longer than the window, and the saved bytes are a list of pieces.
//! - *Hybrid*: behind the cells a state has the recurrent part, which is of the last token. It is cut
//!   off, an empty one goes behind the cells when they come back, and the true one is put in at the end.
//! - *Recurrent*: a state is of the last token and nothing else.

use std::ops::Range;

use engine::Keeps;

use crate::llama::{Context, StatePart, Weights};

/// Tokens of a piece where no window makes it shorter.
const PIECE_TOKENS: u32 = 256;

/// Before a state's own parts: a magic number and the sequence it was of.
const STATE_HEAD_BYTES: usize = 8;

/// How the sequences of one context are kept.
#[derive(Debug)]
pub(crate) struct Keeper {
    keeps: Keeps,
    /// A sequence that is empty between calls.
    spare: u32,
    piece_tokens: u32,
    /// The recurrent part of an empty sequence.
    no_state: Vec<u8>,
    window: Option<Window>,
}

/// A sliding window, and how many bytes the state of its layers has.
#[derive(Debug)]
struct Window {
    tokens: u32,
    /// A window that begins anew at its multiples, instead of sliding.
    is_chunk: bool,
    /// Bytes of a state without its cells, and of each cell; unknown until tokens were decoded.
    sizes: Option<(usize, usize)>,
}

impl Keeper {
    pub(crate) fn new(context: &Context, spare: u32) -> Self {
        let weights = context.weights();
        let keeps = if weights.is_hybrid() {
            Keeps::CellsAndState
        } else if weights.is_recurrent() {
            Keeps::State
        } else {
            Keeps::Cells
        };
        let window = window(weights).filter(|_| keeps == Keeps::Cells);
        let no_state = context.state(spare, StatePart::Partial).unwrap_or_default();
        Self {
            keeps,
            spare,
            piece_tokens: window.as_ref().map_or(PIECE_TOKENS, |w| w.tokens.min(PIECE_TOKENS)),
            no_state: no_state.get(STATE_HEAD_BYTES..).unwrap_or_default().to_vec(),
            window,
        }
    }

    /// Nothing of an encoder is kept.
    pub(crate) fn nothing() -> Self {
        let (no_state, window) = (Vec::new(), None);
        Self { keeps: Keeps::Nothing, spare: 0, piece_tokens: PIECE_TOKENS, no_state, window }
    }

    pub(crate) fn keeps(&self) -> Keeps {
        self.keeps
    }

    /// Learns how many bytes a cell of the window's layers has, from a sequence that has just got its
    /// first tokens: later on, cells may have been given away.
    pub(crate) fn learn(&mut self, context: &mut Context, sequence: u32) {
        let spare = self.spare;
        let Some(window) = self.window.as_mut().filter(|window| window.sizes.is_none()) else {
            return;
        };
        let mut bytes = |tokens| {
            context.share(sequence, spare, 0..tokens);
            let bytes = context.state_bytes(spare, StatePart::Partial);
            context.remove(spare, 0);
            bytes
        };
        let (one, two) = (bytes(1), bytes(2));
        if let Some(cell) = two.checked_sub(one).filter(|cell| *cell > 0) {
            window.sizes = one.checked_sub(cell).map(|head| (head, cell));
        }
    }

    /// Whether a sequence of `tokens` tokens holds all that the next one looks at: cells outside the
    /// window of a sequence's last token are given to others when cells run short.
    pub(crate) fn covers(&self, context: &Context, sequence: u32, tokens: u32) -> bool {
        match (&self.window, self.keeps) {
            (Some(window), _) => window.holds(context, sequence, 0..tokens),
            (None, Keeps::CellsAndState | Keeps::State) => {
                context.last_position(sequence).map_or(0, |last| last + 1) == tokens
            }
            (None, Keeps::Cells | Keeps::Nothing) => {
                context.first_position(sequence).unwrap_or(0) == 0
            }
        }
    }

    /// See [`engine::Model::save_cells`].
    pub(crate) fn save_cells(
        &self,
        context: &mut Context,
        sequence: u32,
        tokens: Range<u32>,
    ) -> Option<Vec<u8>> {
        let mut saved = Vec::new();
        for piece in pieces(tokens, self.piece_tokens) {
            context.share(sequence, self.spare, piece.clone());
            let state = self.save_piece(context, piece.clone());
            context.remove(self.spare, 0);
            let state = state?;
            saved.extend((piece.end - piece.start).to_le_bytes());
            saved.extend((state.len() as u64).to_le_bytes());
            saved.extend(state);
        }
        Some(saved)
    }

    /// The spare sequence shares this piece.
    fn save_piece(&self, context: &Context, piece: Range<u32>) -> Option<Vec<u8>> {
        if !self.is_whole(context, piece) {
            return None;
        }
        let mut state = context.state(self.spare, StatePart::Whole)?;
        if self.keeps == Keeps::CellsAndState {
            let partial = context.state_bytes(self.spare, StatePart::Partial);
            state.truncate(state.len().checked_sub(partial.checked_sub(STATE_HEAD_BYTES)?)?);
        }
        Some(state)
    }

    /// Whether the spare sequence holds the cells of this piece and nothing else.
    fn is_whole(&self, context: &Context, piece: Range<u32>) -> bool {
        match (&self.window, self.keeps) {
            (Some(window), _) => window.holds(context, self.spare, piece),
            (None, Keeps::Cells) => {
                context.first_position(self.spare) == Some(piece.start)
                    && context.last_position(self.spare).map(|last| last + 1) == Some(piece.end)
            }
            // Positions are those of the recurrent part, where there is one. Cells of full attention
            // are never given away.
            (None, Keeps::CellsAndState | Keeps::State | Keeps::Nothing) => true,
        }
    }

    /// See [`engine::Model::load_cells`].
    pub(crate) fn load_cells(
        &mut self,
        context: &mut Context,
        sequence: u32,
        saved: Range<u32>,
        wanted: &Range<u32>,
        cells: &[u8],
    ) -> bool {
        let mut begin = saved.start;
        let mut rest = cells;
        while begin < wanted.end {
            let Some((tokens, state, after)) = cut_piece(rest) else { break };
            let Some(end) = begin.checked_add(tokens).filter(|end| *end <= saved.end) else {
                break;
            };
            let part = begin.max(wanted.start)..end.min(wanted.end);
            if !part.is_empty() && !self.load_piece(context, sequence, begin..end, part, state) {
                break;
            }
            (begin, rest) = (end, after);
        }
        let is_done = begin >= wanted.end;
        if !is_done && wanted.start > 0 {
            context.remove(sequence, wanted.start);
        } else if !is_done {
            context.remove(sequence, 0);
        }
        is_done
    }

    fn load_piece(
        &mut self,
        context: &mut Context,
        sequence: u32,
        piece: Range<u32>,
        part: Range<u32>,
        state: &[u8],
    ) -> bool {
        let is_taken = self.take_piece(context, state)
            && (!self.learn_from(context, &piece) || self.take_piece(context, state));
        let is_whole = is_taken && self.is_whole(context, piece);
        if is_whole {
            context.share(self.spare, sequence, part);
        }
        context.remove(self.spare, 0);
        is_whole
    }

    /// Puts a saved state into the spare sequence.
    fn take_piece(&self, context: &mut Context, state: &[u8]) -> bool {
        if self.keeps == Keeps::CellsAndState {
            let whole = [state, &self.no_state].concat();
            context.set_state(self.spare, StatePart::Whole, &whole)
        } else {
            context.set_state(self.spare, StatePart::Whole, state)
        }
    }

    /// Learns the bytes of a cell, before any token was decoded, from a piece that was whole when it
    /// was saved. Whether it had to, which costs the spare sequence all but its first token.
    fn learn_from(&mut self, context: &mut Context, piece: &Range<u32>) -> bool {
        let spare = self.spare;
        let Some(window) = self.window.as_mut().filter(|window| window.sizes.is_none()) else {
            return false;
        };
        let all = context.state_bytes(spare, StatePart::Partial);
        context.remove(spare, piece.start + 1);
        let one = context.state_bytes(spare, StatePart::Partial);
        let others = (piece.end - piece.start - 1) as usize;
        let cell = all.checked_sub(one).and_then(|bytes| bytes.checked_div(others));
        let cell = cell.filter(|cell| *cell > 0 && cell * others + one == all);
        window.sizes = cell.and_then(|cell| Some((one.checked_sub(cell)?, cell)));
        true
    }

    /// See [`engine::Model::save_state`].
    pub(crate) fn save_state(&self, context: &Context, sequence: u32) -> Option<Vec<u8>> {
        match self.keeps {
            Keeps::Nothing | Keeps::Cells => None,
            Keeps::CellsAndState => context.state(sequence, StatePart::Partial),
            Keeps::State => context.state(sequence, StatePart::Whole),
        }
    }

    /// See [`engine::Model::load_state`].
    pub(crate) fn load_state(
        &self,
        context: &mut Context,
        sequence: u32,
        tokens: u32,
        state: &[u8],
    ) -> bool {
        let part = match self.keeps {
            Keeps::Nothing | Keeps::Cells => return false,
            Keeps::CellsAndState => StatePart::Partial,
            Keeps::State => StatePart::Whole,
        };
        let is_done = context.set_state(sequence, part, state)
            && context.last_position(sequence).map(|last| last + 1) == Some(tokens);
        if !is_done {
            context.remove(sequence, 0);
        }
        is_done
    }
}

impl Window {
    /// Whether a sequence that holds these positions has all cells that its window reaches.
    fn holds(&self, context: &Context, sequence: u32, positions: Range<u32>) -> bool {
        let Some((head, cell)) = self.sizes else { return false };
        let reached = match positions.end.checked_sub(1) {
            None => return true,
            Some(last) if self.is_chunk => last % self.tokens + 1,
            Some(_) => self.tokens,
        };
        let cells = reached.min(positions.end - positions.start);
        context.state_bytes(sequence, StatePart::Partial) == head + cell * cells as usize
    }
}

/// The sliding window of some of a model's layers.
fn window(weights: &Weights) -> Option<Window> {
    let tokens = weights.sliding_window();
    let is_chunk = weights.architecture() == "llama4";
    (tokens > 0).then_some(Window { tokens, is_chunk, sizes: None })
}

fn pieces(tokens: Range<u32>, length: u32) -> impl Iterator<Item = Range<u32>> {
    let end = tokens.end;
    tokens.step_by(length.max(1) as usize).map(move |begin| begin..end.min(begin + length))
}

/// The first of the saved pieces, each behind the number of its tokens and that of its bytes: its
/// tokens, its state, and what follows it.
fn cut_piece(bytes: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let (tokens, rest) = bytes.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let (state, rest) = rest.split_at_checked(length)?;
    Some((u32::from_le_bytes(*tokens), state, rest)).filter(|(tokens, _, _)| *tokens > 0)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use engine::{Model, Row};
    use worker_protocol::Load;

    use super::*;
    use crate::model::LlamaModel;

    /// Architectures that random models can be made of: full attention, mixed experts, and sliding
    /// windows that are shorter than a block.
    const ARCHITECTURES: [&str; 4] = ["llama", "qwen3", "qwen3moe", "gemma3"];

    fn made(architecture: &str, folder: &Path) -> PathBuf {
        let out = folder.join(format!("{architecture}.gguf"));
        let made = Command::new(env!("CARGO"))
            .args(["xtask", "make-model", "--arch", architecture, "--like", "tiny"])
            .args(["--quant", "f16", "--out"])
            .arg(&out)
            .status()
            .unwrap();
        assert!(made.success());
        out
    }

    fn load(path: &Path) -> LlamaModel {
        let load = Load {
            path: path.to_owned(),
            context_tokens: Some(2048),
            sequences_max: 3,
            threads: Some(1),
            kv_type: None,
            keep: None,
        };
        LlamaModel::load(&load, |_| {}).unwrap()
    }

    /// Decodes tokens from `begin` on, and gives the logits after the last.
    fn decode(model: &mut LlamaModel, sequence: u32, begin: usize, tokens: &[u32]) -> Vec<f32> {
        let mut logits = Vec::new();
        for (at, chunk) in (begin..).step_by(100).zip(tokens.chunks(100)) {
            let row = |(position, token): (usize, &u32)| Row {
                token: *token,
                position: u32::try_from(position).unwrap(),
                sequence,
                output: position + 1 == begin + tokens.len(),
            };
            let rows: Vec<Row> = (at..).zip(chunk).map(row).collect();
            model.decode(&rows).unwrap();
            if rows.last().is_some_and(|row| row.output) {
                logits = model.logits(rows.len() - 1).to_vec();
            }
        }
        logits
    }

    fn greedy(model: &mut LlamaModel, sequence: u32, tokens: &[u32], logits: Vec<f32>) -> Vec<u32> {
        let (mut tokens, mut logits, mut answer) = (tokens.to_vec(), logits, Vec::new());
        for _ in 0..16 {
            let best = (0..).zip(&logits).max_by(|one, other| one.1.total_cmp(other.1)).unwrap().0;
            answer.push(best);
            logits = decode(model, sequence, tokens.len(), &[best]);
            tokens.push(best);
        }
        answer
    }

    fn prompt(length: u32, seed: u32, vocabulary: u32) -> Vec<u32> {
        (0..length).map(|at| (at * at * 31 + at * seed + seed) % vocabulary).collect()
    }

    /// What was saved comes back in another context, into another sequence, beside other text; the
    /// same text follows.
    #[test]
    fn a_prefix_that_comes_back_is_continued_as_if_it_had_never_gone() {
        let folder = tempfile::tempdir().unwrap();
        for architecture in ARCHITECTURES {
            let path = made(architecture, folder.path());
            let mut model = load(&path);
            let vocabulary = model.facts().vocabulary;
            for length in [2_u32, 64, 255, 256, 257, 700] {
                let tokens = prompt(length, 7, vocabulary);
                let logits = decode(&mut model, 0, 0, &tokens);
                let blocks: Vec<Range<u32>> = pieces(0..length - 1, 256).collect();
                let saved: Vec<Vec<u8>> = blocks
                    .iter()
                    .map(|block| model.save_cells(0, block.clone()).expect("it can be saved"))
                    .collect();
                let expected = greedy(&mut model, 0, &tokens, logits);

                let mut other = load(&path);
                decode(&mut other, 0, 0, &prompt(300, 3, vocabulary));
                for (block, cells) in blocks.iter().zip(&saved) {
                    let is_done = other.load_cells(2, block.clone(), block.clone(), cells);
                    assert!(is_done, "{architecture}: {block:?} of {length}");
                }
                let begin = length as usize - 1;
                let logits = decode(&mut other, 2, begin, &tokens[begin..]);
                let answer = greedy(&mut other, 2, &tokens, logits);
                assert_eq!(answer, expected, "{architecture}: {length} tokens");
                model.clear(0);
            }
        }
    }

    #[test]
    fn a_part_of_a_block_joins_what_is_there_and_nonsense_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        for architecture in ARCHITECTURES {
            let mut model = load(&made(architecture, folder.path()));
            let tokens = prompt(256, 5, model.facts().vocabulary);
            let logits = decode(&mut model, 0, 0, &tokens[..200]);
            let expected = greedy(&mut model, 0, &tokens[..200], logits);
            model.clear(0);
            decode(&mut model, 0, 0, &tokens);
            let saved = model.save_cells(0, 0..256).unwrap();

            decode(&mut model, 1, 0, &tokens[..100]);
            for broken in [&saved[..saved.len() / 2], &saved[..10], &[]] {
                assert!(!model.load_cells(1, 0..256, 100..199, broken), "{architecture}");
            }
            assert!(model.load_cells(1, 0..256, 100..199, &saved), "{architecture}");
            let logits = decode(&mut model, 1, 199, &tokens[199..200]);
            assert_eq!(greedy(&mut model, 1, &tokens[..200], logits), expected, "{architecture}");
        }
    }
}
