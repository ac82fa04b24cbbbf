//! The plan of one model: its quantizations with their verdicts, which one to take, what that one
//! needs and why, and what would make it fit where it does not.

use planner::{
    fit::{self, Change, Offer, Offload, Verdict, Wanted},
    gguf::Header,
};
use serde::Serialize;

use super::{
    choice,
    command::Plan,
    folklore::{self, Claim},
    form::{self, Answer},
    host,
    measure::{self, Measured},
    row::{ItemRow, Question, Row},
    subject::{Subject, What},
    what_if::WhatIf,
};
use crate::{
    config::Settings,
    ls, size,
    table::{Align, Table},
    terminal::{Paint, Tone},
};

/// What `--json` prints. The figures at the top are those of the file to take, or of the smallest
/// when none fits.
#[derive(Debug, Serialize)]
pub(crate) struct Document {
    machine: host::Document,
    source: String,
    pub(super) recommended: Option<String>,
    pub(super) reason: Option<String>,
    #[serde(flatten)]
    pub(super) choice: Row,
    /// The longest context with which it fits with some room.
    longest_context_tokens: Option<u32>,
    pub(super) offers: Vec<OfferRow>,
    /// How it would be divided between a graphics card that is too small for it and RAM.
    split: Option<SplitRow>,
    popular_errors: Vec<Claim>,
    measured: Option<Measured>,
    /// What the hub that runs says, if it was asked.
    what_if: Option<WhatIf>,
    pub(super) quantizations: Vec<Row>,
    notes: Vec<String>,
}

/// Something that would make it fit.
#[derive(Debug, Serialize)]
pub(super) struct OfferRow {
    kv_type: Option<&'static str>,
    context_tokens: Option<u32>,
    verdict: &'static str,
    why: String,
}

/// A model between a graphics card and RAM.
#[derive(Debug, Serialize)]
struct SplitRow {
    /// What llama.cpp is told as `--n-gpu-layers`.
    gpu_layers: u64,
    layers: u64,
    gpu_bytes: u64,
    ram_bytes: u64,
    verdict: &'static str,
    decode_tokens_per_s: Option<f64>,
    why: String,
}

/// Prints the plan.
///
/// # Errors
/// When the worker or the hub was to be asked and cannot be.
pub(crate) fn print(
    arguments: &Plan,
    question: &Question,
    subject: &Subject,
    settings: &Settings,
) -> anyhow::Result<()> {
    let mut document = Document::of(question, subject);
    if arguments.measure {
        document.measured = Some(measure::ask(question, subject, &document.choice, settings)?);
        document.notes.extend(measure::note(&question.host));
    }
    if arguments.what_if {
        let choice = &document.choice;
        document.what_if = Some(WhatIf::ask(arguments, &subject.name, choice, settings)?);
    }
    form::print(&document, arguments, question)
}

impl Document {
    /// The plan of `subject`.
    pub(crate) fn of(question: &Question, subject: &Subject) -> Self {
        let mut rows: Vec<(usize, Row)> = subject
            .files
            .iter()
            .enumerate()
            .map(|(place, file)| (place, question.row(subject, file)))
            .collect();
        rows.sort_by_key(|(_, row)| row.rank());
        let recommended = choice::recommend(question, subject, &question.host.budget);
        let taken = rows.iter().position(|(place, _)| Some(*place) == recommended);
        let smallest = || {
            let by_size = rows.iter().enumerate().min_by_key(|(_, (_, row))| row.total_bytes);
            by_size.map_or(0, |(at, _)| at)
        };
        let at = taken.unwrap_or_else(smallest);
        let file = &subject.files[rows[at].0];
        let rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
        let choice = rows[at].clone();
        let header = match &file.what {
            What::Header(header) => Some(header),
            What::Runtime { .. } => None,
        };
        let wanted = header.map(|header| Wanted {
            layout: question.layout(header, subject),
            companions: subject.companions(),
        });
        let budget = &question.host.budget;
        let with_header = header.zip(wanted.as_ref());
        Self {
            machine: question.host.document(),
            source: subject.source.clone(),
            recommended: taken.map(|at| rows[at].quantization.clone()),
            reason: taken.map(|at| choice::reason(&rows, at)),
            longest_context_tokens: with_header.and_then(|(header, wanted)| {
                fit::longest_context(header, wanted, budget, Verdict::Fits)
            }),
            offers: with_header.map_or_else(Vec::new, |(header, wanted)| {
                let offers = fit::offers(header, wanted, budget);
                offers.iter().map(OfferRow::of).collect()
            }),
            split: with_header
                .and_then(|(header, wanted)| {
                    fit::offload(header, wanted, &question.host.machine, budget)
                })
                .map(SplitRow::of),
            popular_errors: header
                .map_or_else(Vec::new, |header| folklore::claims(header, &choice)),
            notes: notes(question, header, &choice),
            measured: None,
            what_if: None,
            quantizations: rows,
            choice,
        }
    }

    /// Where everything else comes from.
    fn explanations(&self, question: &Question) -> Vec<String> {
        let row = &self.choice;
        let mut lines = vec![
            format!("model      {}", self.source),
            format!("machine    {}", question.host.machine.source),
            format!("budget     {}", question.host.budget.why),
            format!("verdict    {}", row.why),
            format!("quality    {}", row.quality_source),
        ];
        if !row.speed_why.is_empty() {
            lines.push(format!("speed      {}", row.speed_why));
            lines.push(format!(
                "           with a full context it writes {}",
                form::speed(row.decode_full_tokens_per_s)
            ));
        }
        lines
            .extend(self.popular_errors.iter().map(|claim| format!("popular    {}", claim.line())));
        lines
    }
}

impl Answer for Document {
    fn rows(&self) -> Vec<&Row> {
        self.quantizations.iter().collect()
    }

    /// The quantizations, best first, the one to take marked.
    fn table(&self, _explain: bool) -> Table {
        let mut columns = vec![("", Align::Left)];
        columns.extend(form::COLUMNS);
        columns.push(("QUALITY", Align::Left));
        let mut table = Table::new(&columns);
        for row in &self.quantizations {
            let is_taken = self.recommended.as_ref() == Some(&row.quantization);
            let mut cells = vec![if is_taken { "*" } else { "" }.to_owned()];
            cells.extend(form::cells(row));
            cells.push(row.quality.to_owned());
            table.row(cells);
        }
        table
    }

    fn lines(&self, question: &Question, explain: bool, paint: Paint) -> Vec<String> {
        let row = &self.choice;
        let about = format!(
            "{}, {} parameters, {}",
            row.architecture,
            ls::parameters(row.parameters),
            row.purpose
        );
        let name = if row.title == row.model {
            paint.tone(Tone::Strong, &row.model)
        } else {
            format!("{} ({})", paint.tone(Tone::Strong, &row.title), row.model)
        };
        let mut lines = vec![format!("{name}: {about}"), format!("on {}", question.host.line())];
        // A model of another engine may have none.
        if row.context_tokens > 0 {
            lines.push(format!(
                "context of {} tokens for {} at once, kept as {}",
                row.context_tokens, row.requests, row.kv_type
            ));
        }
        lines.push(String::new());
        lines.extend(self.table(explain).lines(paint));
        lines.push(String::new());
        match &self.reason {
            Some(reason) => lines.push(format!("Take it: {reason}.")),
            None => {
                lines.push(paint.tone(Tone::Alarm, "Nothing of it fits."));
                lines.push(format!("The smallest is {}: {}.", row.quantization, row.why));
            }
        }
        lines.extend(self.offers.iter().map(|offer| format!("  {}", offer.line())));
        lines.extend(self.split.iter().map(|split| format!("  {}", split.line())));
        if let Some(tokens) = self.longest_context_tokens.filter(|_| row.kv_bytes > 0) {
            lines.push(format!(
                "With {} the context can have up to {tokens} tokens.",
                row.quantization
            ));
        }
        lines.push(String::new());
        lines.extend(item_table(row, explain).lines(paint));
        if let Some(measured) = &self.measured {
            lines.push(String::new());
            lines.extend(measured.lines(row, paint));
        }
        if let Some(what_if) = &self.what_if {
            lines.push(String::new());
            lines.extend(what_if.lines(paint));
        }
        if explain {
            lines.push(String::new());
            lines.extend(self.explanations(question));
        }
        lines
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// The memory of one file, item by item.
fn item_table(row: &Row, explain: bool) -> Table {
    let name = "MEMORY";
    let mut columns = vec![(name, Align::Left), ("SIZE", Align::Right)];
    if explain {
        columns.push(("WHY", Align::Left));
    }
    let mut table = Table::new(&columns);
    for ItemRow { what, device, bytes, why, .. } in &row.items {
        let place = if *device == "gpu" { " (GPU)" } else { "" };
        let mut cells = vec![format!("{what}{place}"), size::format(*bytes)];
        if explain {
            cells.push(why.clone());
        }
        table.row(cells);
    }
    table.row(vec![format!("{} in all", row.quantization), size::format(row.total_bytes)]);
    table
}

/// What a reader should know beside the figures.
fn notes(question: &Question, header: Option<&Header>, row: &Row) -> Vec<String> {
    let mut notes = Vec::new();
    if row.is_guess {
        notes.push(
            "only one file's header was read; the others are derived from it by their lengths, so \
             their memory is an estimate"
                .to_owned(),
        );
    } else if !row.certain {
        notes.push(format!(
            "the architecture {} is not known, or not in all its parts, so its memory is an upper bound",
            row.architecture
        ));
    }
    let trained = header.and_then(Header::context_trained_tokens);
    if let Some(trained) = trained.filter(|trained| u64::from(row.context_tokens) > *trained) {
        notes.push(format!(
            "it was trained with {trained} tokens; beyond them its answers get worse"
        ));
    }
    notes.extend(question.notes());
    notes
}

impl SplitRow {
    fn of(offload: Offload) -> Self {
        Self {
            gpu_layers: offload.gpu_layers,
            layers: offload.layers,
            gpu_bytes: offload.need.gpu_bytes,
            ram_bytes: offload.need.ram_bytes,
            verdict: offload.judgement.verdict.name(),
            decode_tokens_per_s: offload.decode_tokens_per_s,
            why: offload.why,
        }
    }

    fn line(&self) -> String {
        format!(
            "with llama.cpp's --n-gpu-layers {}: {}, writes {} ({})",
            self.gpu_layers,
            self.verdict,
            form::speed(self.decode_tokens_per_s),
            self.why
        )
    }
}

impl OfferRow {
    fn of(offer: &Offer) -> Self {
        let (kv_type, context_tokens) = match offer.change {
            Change::Cache(cache) => (Some(cache.name()), None),
            Change::Context(tokens) => (None, Some(tokens)),
            Change::CacheAndContext(cache, tokens) => (Some(cache.name()), Some(tokens)),
        };
        Self {
            kv_type,
            context_tokens,
            verdict: offer.judgement.verdict.name(),
            why: offer.judgement.why.clone(),
        }
    }

    pub(super) fn line(&self) -> String {
        let kv = self.kv_type.map(|kind| format!("--kv {kind}"));
        let context = self.context_tokens.map(|tokens| format!("--context {tokens}"));
        let flags: Vec<String> = kv.into_iter().chain(context).collect();
        format!("with {}: {} ({})", flags.join(" "), self.verdict, self.why)
    }
}
