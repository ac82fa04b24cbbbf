//! How answers are printed: as lines for people, as JSON, as comma-separated values, as Markdown.

use serde::Serialize;

use super::{
    command::{Form, Plan},
    row::{Question, Row},
};
use crate::{
    size,
    table::{Align, Table},
    terminal::{self, Paint},
};

/// An answer that can be printed in every form; as JSON it is what it serializes to.
pub(crate) trait Answer: Serialize {
    /// Its rows, in their order.
    fn rows(&self) -> Vec<&Row>;
    /// Its rows as a table, with their reasons if they are wanted.
    fn table(&self, explain: bool) -> Table;
    /// It in full, for people.
    fn lines(&self, question: &Question, explain: bool, paint: Paint) -> Vec<String>;
    /// What a reader should know beside the figures.
    fn notes(&self) -> &[String];
}

/// Prints `answer` in the form that `arguments` want.
///
/// # Errors
/// When it has no JSON form.
pub(crate) fn print(
    answer: &impl Answer,
    arguments: &Plan,
    question: &Question,
) -> anyhow::Result<()> {
    let lines = match arguments.form() {
        // Its notes are inside.
        Form::Json => return terminal::json(answer),
        Form::Csv => csv(&answer.rows()),
        Form::Markdown => answer.table(arguments.explain).markdown(),
        Form::Text => answer.lines(question, arguments.explain, Paint::stdout()),
    };
    lines.iter().for_each(terminal::line);
    print_notes(answer.notes());
    Ok(())
}

/// Prints what a reader should know, where it disturbs no program that reads the answer.
pub(crate) fn print_notes(notes: &[String]) {
    notes.iter().for_each(|note| terminal::note(format_args!("note: {note}")));
}

/// The names of [`csv`]'s values.
const CSV_NAMES: [&str; 24] = [
    "model",
    "title",
    "purpose",
    "architecture",
    "parameters",
    "quantization",
    "bits_class",
    "file_bytes",
    "context_tokens",
    "requests",
    "kv_type",
    "weights_bytes",
    "kv_bytes",
    "recurrent_bytes",
    "compute_bytes",
    "other_bytes",
    "total_bytes",
    "budget_bytes",
    "headroom_bytes",
    "verdict",
    "decode_tokens_per_s",
    "decode_full_tokens_per_s",
    "prefill_tokens_per_s",
    "why",
];

/// Rows as comma-separated values, names first. Source of the form: RFC 4180.
pub(crate) fn csv(rows: &[&Row]) -> Vec<String> {
    let mut lines = vec![CSV_NAMES.join(",")];
    lines.extend(rows.iter().map(|row| {
        let number =
            |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.2}"));
        let values: [String; CSV_NAMES.len()] = [
            row.model.clone(),
            row.title.clone(),
            row.purpose.to_owned(),
            row.architecture.clone(),
            row.parameters.to_string(),
            row.quantization.clone(),
            row.bits_class.to_string(),
            row.file_bytes.map_or(String::new(), |bytes| bytes.to_string()),
            row.context_tokens.to_string(),
            row.requests.to_string(),
            row.kv_type.to_owned(),
            row.weights_bytes.to_string(),
            row.kv_bytes.to_string(),
            row.recurrent_bytes.to_string(),
            row.compute_bytes.to_string(),
            row.other_bytes.to_string(),
            row.total_bytes.to_string(),
            row.budget_bytes.to_string(),
            row.headroom_bytes.to_string(),
            row.verdict.to_owned(),
            number(row.decode_tokens_per_s),
            number(row.decode_full_tokens_per_s),
            number(row.prefill_tokens_per_s),
            row.why.clone(),
        ];
        values.map(|value| quoted(&value)).join(",")
    }));
    lines
}

/// A value that may hold commas, quotes or line ends.
fn quoted(value: &str) -> String {
    if value.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", value.replace('"', "\"\""))
    } else {
        value.to_owned()
    }
}

/// Columns of what every table of rows says.
pub(crate) const COLUMNS: [(&str, Align); 7] = [
    ("QUANTIZATION", Align::Left),
    ("FILE", Align::Right),
    ("MEMORY", Align::Right),
    ("LEFT", Align::Right),
    ("VERDICT", Align::Left),
    ("WRITES", Align::Right),
    ("READS", Align::Right),
];

/// The cells under [`COLUMNS`].
pub(crate) fn cells(row: &Row) -> Vec<String> {
    vec![
        row.quantization.clone(),
        row.file_bytes.map_or_else(|| "-".to_owned(), size::format),
        size::format(row.total_bytes),
        left(row.headroom_bytes),
        row.verdict.to_owned(),
        speed(row.decode_tokens_per_s),
        speed(row.prefill_tokens_per_s),
    ]
}

/// What is left; with a sign when it is missing.
pub(crate) fn left(bytes: i64) -> String {
    let size = size::format(bytes.unsigned_abs());
    if bytes < 0 { format!("-{size}") } else { size }
}

/// Tokens a second to read: one decimal only where it matters.
pub(crate) fn speed(tokens_per_s: Option<f64>) -> String {
    match tokens_per_s {
        Some(rate) if rate < 10.0 => format!("{rate:.1} t/s"),
        Some(rate) => format!("{rate:.0} t/s"),
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_with_commas_are_quoted() {
        for (value, expected) in
            [("a", "a"), ("a,b", "\"a,b\""), ("say \"a\"", "\"say \"\"a\"\"\""), ("", "")]
        {
            assert_eq!(quoted(value), expected);
        }
    }

    #[test]
    fn what_is_missing_has_a_sign() {
        assert_eq!(left(3 << 30), "3.0 GiB");
        assert_eq!(left(-(3 << 29)), "-1.5 GiB");
    }
}
