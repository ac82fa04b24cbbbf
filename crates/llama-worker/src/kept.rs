//! What of a sequence is kept outside the context, on llama.cpp's states of sequences.
//!
//! llama.cpp gives and takes the state of a whole sequence. A run of tokens is cut out by sharing it
//! with a spare sequence, which costs no memory since both have the same cells. It goes back the same
//! way: into the spare one, and from there shared with its own.
//!
//! - *Full attention*: a state is the cells of the sequence.
//! - *Sliding window*: a state leaves out cells that the window of its own last token does not reach.
//!   So no piece is longer than the window, and the saved bytes are a list of pieces.
//! - *Hybrid*: behind the cells a state has the recurrent part, which is of the last token and may be
//!   larger than thousands of cells. So the spare sequence gives it up before its cells are taken, an
//!   empty one stands behind the cells when they come back, and the true one is put in at the end.
//! - *Recurrent*: a state is of the last token and nothing else. So it is kept of all models whose
//!   states cannot be cut into cells: hybrids with windows or with a cache of their own for an index, and
//!   caches of compressed tokens.

use std::ops::Range;

use engine::Keeps;

use crate::llama::{Context, StatePart, Weights};

/// Tokens of a piece where no window makes it shorter.
const PIECE_TOKENS: u32 = 256;

/// Before a state's own parts: a magic number and the sequence it was of.
const STATE_HEAD_BYTES: usize = 8;

/// What a cache without cells writes: the number of its streams, and that of the cells in the only one.
/// A hybrid model whose empty state has more than this before its recurrent part has other caches
/// besides.
const NO_CELLS_BYTES: usize = 8;

/// The architecture whose cache holds compressed tokens, which are no one's cells.
const COMPRESSED: &str = "deepseek4";

/// How the sequences of one context are kept.
#[derive(Debug)]
pub(crate) struct Keeper {
    keeps: Keeps,
    /// A sequence that is empty between calls.
    spare: u32,
    piece_tokens: u32,
    /// The recurrent part of an empty sequence, with its head.
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
        let keeps = keeps(context, spare);
        let window = window(weights).filter(|_| keeps == Keeps::Cells);
        let no_state = context.state(spare, StatePart::Partial).unwrap_or_default();
        Self {
            keeps,
            spare,
            piece_tokens: window.as_ref().map_or(PIECE_TOKENS, |w| w.tokens.min(PIECE_TOKENS)),
            no_state,
            window,
        }
    }

    /// Nothing of an encoder is kept.
    pub(crate) fn nothing() -> Self {
        let (no_state, window) = (Vec::new(), None);
        let (keeps, piece_tokens) = (Keeps::Nothing, PIECE_TOKENS);
        Self { keeps, spare: 0, piece_tokens, no_state, window }
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

    /// Makes `to`, which is empty, hold the first `tokens` of `from`.
    pub(crate) fn share(&self, context: &mut Context, from: u32, to: u32, tokens: u32) {
        match self.keeps {
            Keeps::Nothing | Keeps::Cells => context.share(from, to, 0..tokens),
            // All or nothing, and some caches know no other way.
            Keeps::CellsAndState | Keeps::State => context.share_all(from, to),
        }
    }

    /// See [`engine::Model::save_cells`].
    pub(crate) fn save_cells(
        &self,
        context: &mut Context,
        sequence: u32,
        tokens: Range<u32>,
        to: &mut Vec<u8>,
    ) -> bool {
        pieces(tokens, self.piece_tokens).all(|piece| {
            context.share(sequence, self.spare, piece.clone());
            let is_saved = self.save_piece(context, piece, to).is_some();
            context.remove(self.spare, 0);
            is_saved
        })
    }

    /// The spare sequence shares this piece.
    fn save_piece(&self, context: &mut Context, piece: Range<u32>, to: &mut Vec<u8>) -> Option<()> {
        let is_hybrid = self.keeps == Keeps::CellsAndState;
        if is_hybrid && !context.set_state(self.spare, StatePart::Partial, &self.no_state) {
            return None;
        }
        if !self.is_whole(context, piece.clone()) {
            return None;
        }
        to.extend((piece.end - piece.start).to_le_bytes());
        let length_at = to.len();
        to.extend(0_u64.to_le_bytes());
        let begin = to.len();
        if !context.append_state(self.spare, StatePart::Whole, to) {
            return None;
        }
        if is_hybrid {
            to.truncate(to.len().checked_sub(self.no_state_tail().len())?);
        }
        let length = (to.len() - begin) as u64;
        to[length_at..begin].copy_from_slice(&length.to_le_bytes());
        Some(())
    }

    /// What stands behind the cells of a sequence without recurrent part.
    fn no_state_tail(&self) -> &[u8] {
        self.no_state.get(STATE_HEAD_BYTES..).unwrap_or_default()
    }

    /// Whether the spare sequence holds the cells of this piece and nothing else.
    fn is_whole(&self, context: &Context, piece: Range<u32>) -> bool {
        match (&self.window, self.keeps) {
            (Some(window), _) => window.holds(context, self.spare, piece),
            (None, Keeps::Cells) => {
                context.first_position(self.spare) == Some(piece.start)
                    && context.last_position(self.spare).map(|last| last + 1) == Some(piece.end)
            }
            // Without its recurrent part the sequence has no last position. Cells of full attention
            // are never given away.
            (None, Keeps::CellsAndState) => context.first_position(self.spare) == Some(piece.start),
            (None, Keeps::State | Keeps::Nothing) => false,
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
            let whole = [state, self.no_state_tail()].concat();
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

/// What can be kept of this model's sequences; `spare` is an empty one.
fn keeps(context: &Context, spare: u32) -> Keeps {
    let weights = context.weights();
    if weights.is_hybrid() {
        let bytes = |part| context.state_bytes(spare, part);
        let before = bytes(StatePart::Whole).checked_sub(bytes(StatePart::Partial));
        let is_plain = before == Some(NO_CELLS_BYTES) && weights.sliding_window() == 0;
        if is_plain { Keeps::CellsAndState } else { Keeps::State }
    } else if weights.is_recurrent() || weights.architecture() == COMPRESSED {
        Keeps::State
    } else {
        Keeps::Cells
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
mod tests;
