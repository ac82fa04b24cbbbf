//! `resident ls`: the models that can be served, with or without a running hub.

use planner::footprint::CacheType;
use serde::Serialize;
use supervisor::{Facts, ModelSummary};

use crate::{
    cli, config,
    models::Catalog,
    offer::Offer,
    serve, size,
    table::{Align, Table},
    terminal::{self, Paint},
};

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Document {
    models: Vec<Row>,
    problems: Vec<String>,
}

/// One model.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// What clients call it.
    pub(crate) name: String,
    /// What runs it: `worker`, `command` or `upstream`.
    pub(crate) engine: &'static str,
    /// Its file, where the hub knows one.
    #[serde(flatten)]
    pub(crate) file: Option<FileRow>,
    /// What is known about it, if it can be used.
    pub(crate) facts: Option<FactsRow>,
    /// Where it is from, of a model of the library.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
    /// Why it cannot be used.
    pub(crate) unusable: Option<String>,
}

/// A model's GGUF file.
#[derive(Debug, Serialize)]
pub(crate) struct FileRow {
    /// Where it is.
    pub(crate) path: String,
    /// Its length.
    pub(crate) file_bytes: u64,
    /// When it was last written, in seconds since 1970.
    pub(crate) modified_unix_s: u64,
}

/// What is known about a model before it is loaded.
#[derive(Debug, Serialize)]
pub(crate) struct FactsRow {
    /// What the header of its file says.
    #[serde(flatten)]
    pub(crate) header: Option<HeaderRow>,
    /// Context it would be loaded with; null where only a foreign engine knows.
    pub(crate) context_tokens: Option<u32>,
    /// How its keys and values would be kept; null where it has none, or only a foreign engine knows.
    pub(crate) kv_type: Option<&'static str>,
    /// `chat`, `text`, `embeddings` or `rerank`.
    pub(crate) purpose: &'static str,
    /// Whether it can look at images.
    pub(crate) images: bool,
    /// Whether it can listen to sounds in a conversation.
    pub(crate) sounds: bool,
    /// Memory it would take.
    pub(crate) needed_bytes: u64,
    /// What the memory is for.
    pub(crate) needs: Vec<NeedRow>,
}

/// What the header of a model's file says.
#[derive(Debug, Serialize)]
pub(crate) struct HeaderRow {
    /// `general.architecture`
    pub(crate) architecture: String,
    /// How many weights it has.
    pub(crate) parameters: u64,
    /// How its weights are encoded.
    pub(crate) quantization: String,
    /// Context it was trained with.
    pub(crate) context_tokens_trained: Option<u32>,
}

/// One line of the memory that a model would take.
#[derive(Debug, Serialize)]
pub(crate) struct NeedRow {
    /// What it is.
    pub(crate) what: String,
    /// How much of it.
    pub(crate) bytes: u64,
    /// Where the figure comes from.
    pub(crate) why: String,
}

/// Lists the models.
///
/// # Errors
/// When the settings make no sense.
pub(crate) fn ls(arguments: &cli::Ls) -> anyhow::Result<()> {
    let settings = config::load(&arguments.place, &arguments.serving)?;
    let problems = Offer::of(&settings).scan().1;
    let models = serve::inspect(&settings, supervisor::Handle::models)?;
    let mut document = Document { models: models.into_iter().map(Row::of).collect(), problems };
    tell_sources(&mut document.models, &settings.catalog);
    if arguments.json {
        return terminal::json(&document);
    }
    if document.models.is_empty() {
        terminal::note(no_models(&settings.catalog));
    } else {
        for line in table(&document.models).lines(Paint::stdout()) {
            terminal::line(line);
        }
    }
    for problem in &document.problems {
        terminal::note(format_args!("note: {problem}"));
    }
    for row in &document.models {
        if let Some(reason) = &row.unusable {
            terminal::note(format_args!("note: {} cannot be used: {reason}", row.name));
        }
    }
    Ok(())
}

/// What to do when there is no model at all.
pub(crate) fn no_models(catalog: &Catalog) -> String {
    format!(
        "no models yet; `resident plan` says what fits this machine and `resident pull` gets it, or put a .gguf \
         file into {}",
        catalog.folder.display()
    )
}

/// A count of weights to read: `8.1B`.
pub(crate) fn parameters(count: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(1_000_000_000_000, "T"), (1_000_000_000, "B"), (1_000_000, "M"), (1_000, "K")];
    match UNITS.iter().find(|(unit, _)| count >= *unit) {
        Some((unit, letter)) => {
            let tenths = u128::from(count) * 10 / u128::from(*unit);
            format!("{}.{}{letter}", tenths / 10, tenths % 10)
        }
        None => count.to_string(),
    }
}

impl Row {
    /// The row of a model.
    pub(crate) fn of(model: ModelSummary) -> Self {
        let (facts, unusable) = match model.facts {
            Ok(facts) => (Some(FactsRow::of(facts)), None),
            // It may quote what a stranger wrote into the file.
            Err(reason) => (None, Some(terminal::inert(&reason))),
        };
        Self {
            name: model.name,
            engine: model.engine.kind(),
            file: model.engine.file().map(|file| FileRow {
                path: file.path.display().to_string(),
                file_bytes: file.file_bytes,
                modified_unix_s: file.modified_unix_s,
            }),
            facts,
            source: None,
            unusable,
        }
    }
}

impl FactsRow {
    fn of(facts: Facts) -> Self {
        let need = |need: supervisor::Need| NeedRow {
            what: need.what,
            bytes: need.bytes,
            why: terminal::inert(&need.why),
        };
        Self {
            purpose: match (facts.chats, facts.generates, facts.ranks) {
                (true, _, _) => "chat",
                (false, true, _) => "text",
                (false, false, true) => "rerank",
                (false, false, false) => "embeddings",
            },
            images: facts.skills.images,
            sounds: facts.skills.sounds,
            header: facts.header.map(|header| HeaderRow {
                architecture: terminal::inert(&header.architecture),
                parameters: header.parameters,
                quantization: header.quantization,
                context_tokens_trained: header.context_tokens_trained,
            }),
            context_tokens: facts.context_tokens,
            kv_type: facts.kv_type.map(CacheType::name),
            needed_bytes: facts.needed_bytes,
            needs: facts.needs.into_iter().map(need).collect(),
        }
    }
}

impl FactsRow {
    /// What it is for, in words: `chat, vision`.
    pub(crate) fn for_what(&self) -> String {
        let more = [(self.images, ", vision"), (self.sounds, ", audio")];
        let more = more.into_iter().filter(|(can, _)| *can).map(|(_, what)| what);
        [self.purpose].into_iter().chain(more).collect()
    }
}

/// Says of the library's models where they are from.
fn tell_sources(rows: &mut [Row], catalog: &Catalog) {
    for row in rows {
        let shelved = catalog.find(&row.name).and_then(|found| found.shelved);
        row.source = shelved.map(|shelved| terminal::inert(&shelved.manifest.source));
    }
}

fn table(rows: &[Row]) -> Table {
    let has_sources = rows.iter().any(|row| row.source.is_some());
    let mut columns = vec![
        ("NAME", Align::Left),
        ("FOR", Align::Left),
        ("FILE", Align::Right),
        ("MEMORY", Align::Right),
        ("CONTEXT", Align::Right),
        ("ARCHITECTURE", Align::Left),
        ("PARAMETERS", Align::Right),
        ("QUANTIZATION", Align::Left),
    ];
    if has_sources {
        columns.push(("SOURCE", Align::Left));
    }
    let width = columns.len();
    let mut table = Table::new(&columns);
    for row in rows {
        let file = row
            .file
            .as_ref()
            .map_or_else(|| row.engine.to_owned(), |file| size::format(file.file_bytes));
        let mut cells = vec![row.name.clone()];
        match &row.facts {
            Some(facts) => {
                cells.extend([facts.for_what(), file, size::format(facts.needed_bytes)]);
                let context = facts.context_tokens.map(|tokens| tokens.to_string());
                cells.push(context.unwrap_or_else(|| "-".to_owned()));
                if let Some(header) = &facts.header {
                    cells.push(header.architecture.clone());
                    cells.push(parameters(header.parameters));
                    cells.push(header.quantization.clone());
                }
            }
            None => cells.extend(["unusable".to_owned(), file]),
        }
        if let Some(source) = &row.source {
            cells.resize(width - 1, String::new());
            cells.push(source.clone());
        }
        table.row(cells);
    }
    table
}

#[cfg(test)]
mod tests {
    use supervisor::{Engine, GgufFile, HeaderFacts, Residence, Skills};

    use super::*;

    #[test]
    fn counts_of_weights() {
        for (count, text) in [
            (0, "0"),
            (999, "999"),
            (260_032, "260.0K"),
            (8_190_735_360, "8.1B"),
            (u64::MAX, "18446744.0T"),
        ] {
            assert_eq!(parameters(count), text);
        }
    }

    #[test]
    fn rows_as_people_read_them() {
        let summary = |name: &str, facts| ModelSummary {
            name: name.to_owned(),
            engine: Engine::Worker(GgufFile {
                path: format!("/m/{name}.gguf").into(),
                file_bytes: 3 << 30,
                modified_unix_s: 0,
                context_tokens: None,
                kv_type: None,
                keep: None,
                speculation: Default::default(),
                projector: None,
                adapters: Vec::new(),
                chat_template: None,
            }),
            residence: Residence::default(),
            kept: None,
            facts,
        };
        let facts = Facts {
            header: Some(HeaderFacts {
                name: None,
                architecture: "qwen3\u{1b}[2J".to_owned(),
                parameters: 8_190_735_360,
                quantization: "Q4_K_M".to_owned(),
                context_tokens_trained: Some(40_960),
                embedding_width: Some(4096),
            }),
            context_tokens: Some(16_384),
            kv_type: Some(CacheType::F16),
            generates: true,
            ranks: false,
            chats: true,
            skills: Skills { images: true, ..Skills::default() },
            needed_bytes: 5 << 30,
            needs: vec![],
        };
        let mut rows = [
            Row::of(summary("chat", Ok(facts))),
            Row::of(summary("page", Err("not a GGUF file".to_owned()))),
        ];
        assert_eq!(
            table(&rows).lines(Paint::plain()),
            [
                "NAME   FOR               FILE    MEMORY   CONTEXT   ARCHITECTURE   PARAMETERS   QUANTIZATION",
                "chat   chat, vision   3.0 GiB   5.0 GiB     16384   qwen3[2J             8.1B   Q4_K_M",
                "page   unusable       3.0 GiB",
            ]
        );
        rows[1].source = Some("hf:o/r".to_owned());
        let lines = table(&rows).lines(Paint::plain());
        assert!(lines[0].ends_with("QUANTIZATION   SOURCE"), "{lines:?}");
        let column = lines[0].find("SOURCE").unwrap();
        assert_eq!(lines[2].find("hf:o/r"), Some(column), "{lines:?}");
    }
}
