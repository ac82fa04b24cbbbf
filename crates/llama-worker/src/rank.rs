//! Scores of texts by a model with a head for ranking.
//!
//! Not here: how a query and a document become one text (`engine`).

use crate::llama::{BatchRow, Context};

/// Scores of texts that are read as wholes, in one step.
pub(crate) fn at_once(context: &mut Context, texts: &[&[u32]]) -> Result<Vec<f32>, String> {
    let texts_rows = (0..).zip(texts).flat_map(|(sequence, text)| rows(sequence, 0, text));
    let rows: Vec<BatchRow> = texts_rows.collect();
    context.decode(&rows)?;
    scores(context, texts.len())
}

/// Scores of texts that are read from left to right, through empty cells and in steps of so many tokens.
///
/// The head looks at the last token of each. Of every row of a step that it is computed for, llama.cpp
/// computes what would follow too, so that it is for the last step and for so many rows alone.
pub(crate) fn from_left(
    context: &mut Context,
    texts: &[&[u32]],
    step_tokens: usize,
    rows_max: usize,
) -> Result<Vec<f32>, String> {
    let last = (rows_max / texts.len().max(1)).max(1);
    let parts = texts.iter().map(|text| text.split_at(text.len().saturating_sub(last)));
    let (mut before, mut behind) = (Vec::new(), Vec::new());
    for (sequence, (begin, end)) in (0..).zip(parts) {
        before.extend(rows(sequence, 0, begin));
        behind.extend(rows(sequence, begin.len(), end));
    }
    context.set_vectors(false);
    for row in &mut before {
        row.output = false;
    }
    for step in before.chunks(step_tokens.max(1)) {
        context.decode(step)?;
    }
    context.set_vectors(true);
    context.decode(&behind)?;
    scores(context, texts.len())
}

fn scores(context: &Context, texts: usize) -> Result<Vec<f32>, String> {
    let score = |sequence| {
        context.sequence_score(sequence).ok_or_else(|| "llama.cpp computed no score".to_owned())
    };
    (0..texts).map(score).collect()
}

fn rows(sequence: u32, begin: usize, tokens: &[u32]) -> impl Iterator<Item = BatchRow> {
    (begin..).zip(tokens).map(move |(position, token)| BatchRow {
        token: *token,
        position: u32::try_from(position).unwrap_or(u32::MAX),
        sequence,
        output: true,
    })
}
