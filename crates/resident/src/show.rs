//! `resident show MODEL`: what a model is, and what memory it would take and why.

mod kept;

use planner::gguf::Header;
use serde::Serialize;

use crate::{
    cli, config,
    exit::{self, Code},
    ls::{self, FactsRow, Row},
    models,
    offer::Offer,
    serve, size,
    table::{Align, Table},
    terminal::{self, Paint, Tone},
};
use kept::{Kept, Part};

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Document {
    #[serde(flatten)]
    row: Row,
    /// What its makers call it.
    title: Option<String>,
    /// Its licence, as its makers name it.
    license: Option<String>,
    /// How many tensors it has.
    tensors: Option<usize>,
    /// What the library knows of it; null of a model that is no more than a file.
    kept: Option<Kept>,
    /// Memory that all models together may take.
    budget_bytes: u64,
}

/// Shows the model.
///
/// # Errors
/// When there is no such model.
pub(crate) fn show(arguments: &cli::Show) -> anyhow::Result<()> {
    let mut settings = config::load(&arguments.place, &arguments.serving)?;
    let name = match models::file_of(&arguments.model)? {
        Some(file) => settings.catalog.add_file(&file)?,
        None => arguments.model.clone(),
    };
    let Some(model) = serve::inspect(&settings, |handle| handle.model(&name))? else {
        let (known, _) = Offer::of(&settings).scan();
        let names = known.iter().map(|model| model.name.as_str());
        return Err(exit::error(Code::Model, models::unknown(&name, names)));
    };
    // A header that cannot be read is the reason why the model is unusable, which is shown.
    let file = model.engine.file();
    let header = file.and_then(|file| supervisor::read_header(&file.path).ok());
    let kept = kept::find(&name, &settings)?;
    if let Some(part) = arguments.part() {
        let path = file.map(|file| file.path.display().to_string());
        return print_part(
            &name,
            part,
            kept::part(part, kept.as_ref(), path.as_deref(), header.as_ref()),
        );
    }
    let mut document = Document::of(Row::of(model), header.as_ref(), settings.budget_bytes);
    document.kept = kept.as_ref().map(|(store, manifest)| Kept::of(store, manifest));
    if arguments.json {
        return terminal::json(&document);
    }
    for line in document.lines(Paint::stdout()) {
        terminal::line(line);
    }
    match &document.row.unusable {
        Some(reason) => {
            Err(exit::error(Code::Model, format!("model '{name}' cannot be used: {reason}")))
        }
        None => Ok(()),
    }
}

/// Prints a text of a model alone.
fn print_part(name: &str, part: Part, text: Option<String>) -> anyhow::Result<()> {
    let what = match part {
        Part::Modelfile => "Modelfile, because another engine runs it",
        Part::License => "licence",
        Part::Template => "chat template",
        Part::System => "instructions",
    };
    match text {
        Some(text) => {
            terminal::line(text.trim_end());
            Ok(())
        }
        None => Err(exit::error(Code::Model, format!("model '{name}' has no {what}"))),
    }
}

impl cli::Show {
    /// What is asked alone.
    fn part(&self) -> Option<Part> {
        let parts = [
            (self.modelfile, Part::Modelfile),
            (self.license, Part::License),
            (self.template, Part::Template),
            (self.system, Part::System),
        ];
        parts.into_iter().find_map(|(is_asked, part)| is_asked.then_some(part))
    }
}

impl Document {
    fn of(row: Row, header: Option<&Header>, budget_bytes: u64) -> Self {
        let text = |key| header.and_then(|header| header.str(key)).map(terminal::inert);
        Self {
            title: text("general.name"),
            license: text("general.license"),
            tensors: header.map(|header| header.tensors.len()),
            kept: None,
            row,
            budget_bytes,
        }
    }

    fn lines(&self, paint: Paint) -> Vec<String> {
        let mut lines = vec![paint.tone(Tone::Strong, &self.row.name)];
        let mut line = |name: &str, value: String| lines.push(format!("  {name:<14} {value}"));
        if let Some(title) = &self.title {
            line("title", title.clone());
        }
        match &self.row.file {
            Some(file) => {
                line("file", format!("{} ({})", file.path, size::format(file.file_bytes)));
                line("licence", self.license.clone().unwrap_or_else(|| "not said".to_owned()));
            }
            None => line("engine", self.row.engine.to_owned()),
        }
        for (name, value) in self.kept.iter().flat_map(Kept::lines) {
            line(name, value);
        }
        if let Some(facts) = &self.row.facts {
            line("for", facts.for_what());
            let mut trained = None;
            if let Some(header) = &facts.header {
                line("architecture", header.architecture.clone());
                line("parameters", ls::parameters(header.parameters));
                line("quantization", header.quantization.clone());
                trained = header.context_tokens_trained;
            }
            let trained =
                trained.map_or(String::new(), |tokens| format!(" (trained with {tokens})"));
            line(
                "context",
                match facts.context_tokens {
                    Some(tokens) => format!("{tokens} tokens{trained}"),
                    None => "known to the engine only".to_owned(),
                },
            );
            if let Some(kv_type) = facts.kv_type {
                lines.push(format!("  {:<14} kept as {kv_type}", "keys, values"));
            }
            lines.extend(self.memory_lines(facts, paint));
        }
        lines
    }

    /// The memory, item by item with its reason, then the sum.
    fn memory_lines(&self, facts: &FactsRow, paint: Paint) -> Vec<String> {
        let mut table =
            Table::new(&[("MEMORY", Align::Left), ("SIZE", Align::Right), ("WHY", Align::Left)]);
        for need in &facts.needs {
            table.row(vec![need.what.clone(), size::format(need.bytes), need.why.clone()]);
        }
        let fits = if facts.needed_bytes <= self.budget_bytes {
            format!("fits in the budget of {}", size::format(self.budget_bytes))
        } else {
            format!("does not fit in the budget of {}", size::format(self.budget_bytes))
        };
        table.row(vec!["in all".to_owned(), size::format(facts.needed_bytes), fits]);
        table.lines(paint).into_iter().map(|line| format!("  {line}")).collect()
    }
}
