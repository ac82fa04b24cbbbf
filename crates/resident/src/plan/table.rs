//! The whole catalogue on one machine, best choice first.
//!
//! What a person takes first is the largest model that fits well and is fast enough to read along.
//! Of models of about the same size the faster one is first. Not here: which of two models of one
//! size is the better one; that changes every month, and no header says it.

use std::cmp::Reverse;

use planner::{catalogue::Entry, fit::Verdict};
use serde::Serialize;

use super::{
    choice,
    command::Plan,
    form::{self, Answer},
    host,
    row::{Question, Row},
    subject::Subject,
};
use crate::{
    ls,
    table::{Align, Table},
    terminal::Paint,
};

/// Slower than this is slower than a person reads: some five words a second, with a third more
/// tokens than words. Source for the speed: Brysbaert 2019, "How many words do we read per minute?"
/// (238 words a minute for non-fiction).
const READING_TOKENS_PER_S: f64 = 5.3;

/// Files with fewer bits lose so much that a smaller model with more of them is the better choice.
const BITS_CLASS_MIN: u32 = 4;

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Document {
    machine: host::Document,
    models: Vec<Row>,
    notes: Vec<String>,
}

/// Prints the catalogue.
///
/// # Errors
/// When an entry of the catalogue is wrong.
pub(crate) fn print(
    arguments: &Plan,
    question: &Question,
    entries: &[Entry],
) -> anyhow::Result<()> {
    form::print(&Document::of(question, entries)?, arguments, question)
}

impl Document {
    /// All models of `entries`, best choice first.
    pub(crate) fn of<'a>(
        question: &Question,
        entries: impl IntoIterator<Item = &'a Entry>,
    ) -> anyhow::Result<Self> {
        let rows: Result<Vec<Option<Row>>, _> = entries
            .into_iter()
            .map(|entry| Subject::of_entry(entry, None).map(|subject| best(question, &subject)))
            .collect();
        let mut models: Vec<Row> = rows?.into_iter().flatten().collect();
        // Speeds as whole thousandths, so that they have an order.
        let pace = |row: &Row| row.decode_tokens_per_s.map_or(0, |rate| (rate * 1e3) as u64);
        models.sort_by_key(|row| {
            (!writes(row), tier(row), Reverse(size_class(row)), Reverse(pace(row)))
        });
        Ok(Self { machine: question.host.document(), models, notes: question.notes() })
    }
}

impl Answer for Document {
    fn rows(&self) -> Vec<&Row> {
        self.models.iter().collect()
    }

    fn table(&self, explain: bool) -> Table {
        table(&self.rows(), explain)
    }

    /// What one talks to first, and what works beside it.
    fn lines(&self, question: &Question, explain: bool, paint: Paint) -> Vec<String> {
        let mut lines = vec![format!("On {}", question.host.line())];
        lines.push(question.host.budget.why.clone());
        for (heading, is_wanted) in [
            ("To talk to and to write with, best choice first:", true),
            ("To work beside them:", false),
        ] {
            let rows: Vec<&Row> =
                self.models.iter().filter(|row| writes(row) == is_wanted).collect();
            if rows.is_empty() {
                continue;
            }
            lines.extend([String::new(), heading.to_owned()]);
            lines.extend(table(&rows, explain).lines(paint));
        }
        lines.push(String::new());
        lines.push("resident plan MODEL says more of one.".to_owned());
        lines
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// The row of the file to take, else of the smallest.
fn best(question: &Question, subject: &Subject) -> Option<Row> {
    let recommended = choice::recommend(question, subject, &question.host.budget);
    if let Some(file) = recommended.and_then(|place| subject.files.get(place)) {
        return Some(question.row(subject, file));
    }
    let rows = subject.files.iter().map(|file| question.row(subject, file));
    rows.min_by_key(|row| row.total_bytes)
}

/// Whether it writes text that a person reads.
fn writes(row: &Row) -> bool {
    row.decode_tokens_per_s.is_some()
}

/// How good a choice it is apart from its size: first what fits well, is close to its original and
/// is fast enough; then what has one of these faults; then what does not fit.
fn tier(row: &Row) -> u8 {
    let is_slow = row.decode_tokens_per_s.is_some_and(|rate| rate < READING_TOKENS_PER_S);
    match row.judged {
        Verdict::DoesNotFit => 2,
        Verdict::Tight => 1,
        Verdict::Comfortable | Verdict::Fits => {
            u8::from(is_slow || row.bits_class < BITS_CLASS_MIN)
        }
    }
}

/// Models of about the same size: a class is a factor of two wide.
///
/// A model of experts is better than a dense one of its active weights and worse than one of all of
/// them. Where between the two it stands differs; nearer to all of them is this program's judgement,
/// from Qwen3-30B-A3B, which its makers place beside their dense 14B and 32B (Qwen3 technical report,
/// 2025).
fn size_class(row: &Row) -> i32 {
    let log = |weights: u64| (weights.max(1) as f64).log2();
    let class = 0.75 * log(row.parameters) + 0.25 * log(row.active_parameters);
    class.round() as i32
}

fn table(rows: &[&Row], explain: bool) -> Table {
    let mut columns =
        vec![("MODEL", Align::Left), ("FOR", Align::Left), ("PARAMETERS", Align::Right)];
    columns.extend(form::COLUMNS);
    if explain {
        columns.push(("WHY", Align::Left));
    }
    let mut table = Table::new(&columns);
    for row in rows {
        let parameters = ls::parameters(row.parameters);
        let mut cells = vec![row.model.clone(), row.purpose.to_owned(), parameters];
        cells.extend(form::cells(row));
        if explain {
            cells.push(row.why.clone());
        }
        table.row(cells);
    }
    table
}
