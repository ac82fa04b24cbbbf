//! The model's own layers that guess ahead (multi-token prediction, `NextN`), in a context of their own.
//!
//! They compute the token after the next from a token and the last hidden vector of the one before it,
//! so they follow the model step by step: what the model computes, they read with its hidden vectors.
//! Where the model did not compute tokens, because their cells were kept, there are no such vectors, and
//! guesses look back to where computing began. What they hold is nobody's promise.
//!
//! Not here: how many guesses are worth it (`planner::draft`), checking them (`engine`).

use std::collections::BTreeMap;

use engine::Wanted;
use planner::draft::limits::DRAFT_TOKENS_MAX;

use crate::draft::{LIKELY_MIN, likeliest};
use crate::llama::{BatchRow, Context, ContextShape, HiddenRow, Told};

/// Guesses at a time: the layer was trained for the token after the next, and each further guess is made
/// from the one before it.
pub(crate) const GUESSES_MAX: u32 = 4;

/// Hidden vectors of a stream that are remembered: those of the last step's guesses, wherever they came
/// from, of which any may be the last that came true.
const REMEMBERED: usize = DRAFT_TOKENS_MAX + 1;

/// The layers, and how far they have followed.
pub(crate) struct Head {
    context: Context,
    /// Numbers of a hidden vector.
    width: usize,
    /// By sequence.
    followed: Vec<Followed>,
}

/// How far one sequence is followed.
#[derive(Debug, Clone, Default)]
struct Followed {
    /// Positions below this are read, from some first one on.
    end: u32,
    /// Hidden vectors of the last positions below `end`.
    hidden: Vec<f32>,
    /// Whether there are cells of guesses from `end` on.
    has_guesses: bool,
}

/// Where a row takes its hidden vector from.
#[derive(Debug, Clone, Copy)]
enum Source {
    /// This row of the model's step.
    Row(usize),
    /// The remembered one of the position before.
    Remembered,
    /// There is none: the first token of a text, or the first after cells that were kept.
    Nothing,
}

/// A stream that is being guessed.
struct Guessed {
    sequence: u32,
    count: usize,
    tokens: Vec<u32>,
    /// The row that it goes on from, with its hidden vector.
    next: Option<(BatchRow, Vec<f32>)>,
}

impl Head {
    /// Makes the context beside that of the model, which from now on tells its hidden vectors.
    ///
    /// # Errors
    /// A fragment that says why not, and the way out.
    pub(crate) fn new(model: &mut Context, shape: ContextShape) -> Result<Self, String> {
        if !model.has_head() {
            return Err("it has no layer that guesses ahead".to_owned());
        }
        let mut context = model.beside(ContextShape { is_head: true, ..shape }).ok_or(
            "no memory for the context of the layer that guesses ahead; a smaller --context needs less",
        )?;
        model.tell_hidden(Told::All);
        context.tell_hidden(Told::Outputs);
        let followed = vec![Followed::default(); shape.sequences as usize];
        let width = model.weights().embedding_width() as usize;
        Ok(Self { context, width, followed })
    }

    pub(crate) fn use_threads(&mut self, count: u32) {
        self.context.use_threads(count);
    }

    /// Whether it has followed this stream up to its last token.
    pub(crate) fn has_read(&self, stream: &Wanted<'_>) -> bool {
        self.start(stream).is_some()
    }

    /// Forgets a sequence.
    pub(crate) fn forget(&mut self, sequence: u32) {
        self.context.remove(sequence, 0);
        if let Some(followed) = self.followed.get_mut(sequence as usize) {
            *followed = Followed::default();
        }
    }

    fn forget_all(&mut self) {
        let sequences = u32::try_from(self.followed.len()).unwrap_or(u32::MAX);
        (0..sequences).for_each(|sequence| self.forget(sequence));
    }

    /// Reads what the model has just computed.
    pub(crate) fn follow(&mut self, model: &Context, rows: &[BatchRow]) {
        let sources = self.sources(rows);
        let nothing = vec![0.0; self.width];
        let hidden: Vec<Vec<f32>> = rows
            .iter()
            .zip(&sources)
            .map(|(row, source)| match source {
                Source::Row(row) => model.hidden(*row).unwrap_or(&nothing).to_vec(),
                Source::Remembered => {
                    let followed = &self.followed[row.sequence as usize];
                    followed.hidden_before(row.position, self.width).unwrap_or(&nothing).to_vec()
                }
                Source::Nothing => nothing.clone(),
            })
            .collect();
        self.make_room(rows);
        let read: Vec<HiddenRow<'_>> = rows
            .iter()
            .zip(&hidden)
            .map(|(row, hidden)| HiddenRow { row: BatchRow { output: false, ..*row }, hidden })
            .collect();
        if let Err(error) = self.context.decode_hidden(&read) {
            tracing::warn!(error, "the layer that guesses ahead failed in a step; it begins anew");
            return self.forget_all();
        }
        self.remember(model, rows);
    }

    /// For each row of a step where its hidden vector comes from.
    fn sources(&self, rows: &[BatchRow]) -> Vec<Source> {
        let mut last: BTreeMap<u32, usize> = BTreeMap::new();
        let source = |(index, row): (usize, &BatchRow)| match last.insert(row.sequence, index) {
            Some(before) => Source::Row(before),
            None => {
                let followed = &self.followed[row.sequence as usize];
                match followed.hidden_before(row.position, self.width) {
                    Some(_) => Source::Remembered,
                    None => Source::Nothing,
                }
            }
        };
        rows.iter().enumerate().map(source).collect()
    }

    /// Takes back guesses, and what did not come true, before a step is read; where it does not follow
    /// what was read before, that is forgotten: it may be of another text.
    fn make_room(&mut self, rows: &[BatchRow]) {
        let mut begins: BTreeMap<u32, u32> = BTreeMap::new();
        for row in rows {
            begins.entry(row.sequence).or_insert(row.position);
        }
        for (sequence, begin) in begins {
            let followed = &self.followed[sequence as usize];
            if begin > followed.end {
                self.forget(sequence);
            } else if begin < followed.end || followed.has_guesses {
                self.context.remove(sequence, begin);
            }
        }
    }

    /// Notes how far each sequence is read now, with its last hidden vectors.
    fn remember(&mut self, model: &Context, rows: &[BatchRow]) {
        let mut of: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (index, row) in rows.iter().enumerate() {
            of.entry(row.sequence).or_default().push(index);
        }
        for (sequence, indices) in of {
            let last = indices.len().saturating_sub(REMEMBERED);
            let vectors = indices[last..].iter().filter_map(|index| model.hidden(*index));
            let hidden: Vec<f32> = vectors.flatten().copied().collect();
            let end = indices.last().map_or(0, |index| rows[*index].position + 1);
            self.followed[sequence as usize] = Followed { end, hidden, has_guesses: false };
        }
    }

    /// The row from which the next token of a stream is guessed, with its hidden vector.
    fn start(&self, stream: &Wanted<'_>) -> Option<(BatchRow, &[f32])> {
        let followed = self.followed.get(stream.sequence as usize)?;
        let (token, before) = stream.tokens.split_last()?;
        let position = u32::try_from(before.len()).ok()?;
        // What is read and does not come true is taken back when the next step is read.
        let hidden = (followed.end >= position)
            .then(|| followed.hidden_before(position, self.width))
            .flatten()?;
        let row = BatchRow { token: *token, position, sequence: stream.sequence, output: true };
        Some((row, hidden))
    }

    /// See [`engine::Model::guess`].
    pub(crate) fn guess(&mut self, wanted: &[Wanted<'_>]) -> Vec<Vec<u32>> {
        let mut guessed: Vec<Guessed> = wanted
            .iter()
            .map(|stream| Guessed {
                sequence: stream.sequence,
                count: stream.count,
                tokens: Vec::new(),
                next: self.start(stream).map(|(row, hidden)| (row, hidden.to_vec())),
            })
            .collect();
        for (row, _) in guessed.iter().filter_map(|guessed| guessed.next.as_ref()) {
            self.context.remove(row.sequence, row.position);
        }
        loop {
            let next: Vec<(BatchRow, Vec<f32>)> =
                guessed.iter().filter_map(|guessed| guessed.next.clone()).collect();
            let rows: Vec<HiddenRow<'_>> =
                next.iter().map(|(row, hidden)| HiddenRow { row: *row, hidden }).collect();
            if rows.is_empty() {
                break;
            }
            if let Err(error) = self.context.decode_hidden(&rows) {
                tracing::debug!(error, "the layer that guesses ahead has no room for guesses");
                break;
            }
            let going = guessed.iter_mut().filter(|guessed| guessed.next.is_some());
            for (index, guessed) in going.enumerate() {
                self.followed[guessed.sequence as usize].has_guesses = true;
                guessed.take(&self.context, index);
            }
        }
        guessed.into_iter().map(|guessed| guessed.tokens).collect()
    }
}

impl Followed {
    /// The hidden vector of the position before this one, where it is remembered.
    fn hidden_before(&self, position: u32, width: usize) -> Option<&[f32]> {
        let back = self.end.checked_sub(position)? as usize;
        let count = self.hidden.len().checked_div(width)?;
        let at = count.checked_sub(back + 1)?;
        self.hidden.get(at * width..(at + 1) * width)
    }
}

impl Guessed {
    /// Takes what row `index` of the step says, and goes on from it where that is likely enough.
    fn take(&mut self, context: &Context, index: usize) {
        let Some((row, _)) = self.next.take() else { return };
        let (token, likely) = likeliest(context.logits(index));
        if self.count == 0 || likely < LIKELY_MIN {
            return;
        }
        self.tokens.push(token);
        if self.tokens.len() < self.count
            && let Some(hidden) = context.hidden(index)
        {
            let row = BatchRow { token, position: row.position + 1, ..row };
            self.next = Some((row, hidden.to_vec()));
        }
    }
}
