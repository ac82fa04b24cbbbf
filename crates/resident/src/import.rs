//! `resident import`: models that other programs have on this machine come into the library, and nothing is copied.
//!
//! Not here: how other programs keep models, and how files are linked (`library::store`).

use std::path::{Path, PathBuf};

use clap::Args;
use library::{
    manifest::Manifest,
    name::Name,
    store::{How, Imported, Place, Store},
};
use serde::Serialize;

use crate::{
    cli::Shelf,
    config::Settings,
    exit::{self, Code},
    pull, size,
    steps::Steps,
    table::{Align, Table},
    terminal::{self, Paint},
};

/// `resident import`
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The same as --from
    #[arg(value_name = "FROM", required_unless_present = "from")]
    place: Option<String>,
    /// ollama, lmstudio, huggingface, a folder with GGUF files, or one GGUF file
    #[arg(long, value_name = "FROM", conflicts_with = "place")]
    from: Option<String>,
    /// What the model is called here; of one model alone [default: as it is called there]
    #[arg(long, value_name = "NAME", value_parser = pull::name)]
    name: Option<Name>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    shelf: Shelf,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Document {
    models: Vec<Row>,
    /// What was here before.
    already: Vec<String>,
    /// What was left out, and why.
    skipped: Vec<String>,
    /// What the library takes more than before.
    more_bytes: u64,
}

/// One model that came.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Row {
    model: String,
    how: &'static str,
    bytes: u64,
    source: String,
}

/// Takes models over.
///
/// # Errors
/// With [`Code::Model`] when nothing is there, or nothing of it can be used.
pub(crate) fn import(arguments: &Import) -> anyhow::Result<()> {
    let settings = arguments.shelf.load()?;
    let text = arguments.from.as_deref().or(arguments.place.as_deref()).unwrap_or_default();
    from(&place(text)?, arguments.name.as_ref(), arguments.json, &settings)
}

/// Takes over what is at a path of this machine.
///
/// # Errors
/// As [`import`].
pub(crate) fn path(
    path: &Path,
    name: Option<&Name>,
    json: bool,
    settings: &Settings,
) -> anyhow::Result<()> {
    from(&of_path(path), name, json, settings)
}

/// What a person means: a program's usual folder, a folder, a file.
fn place(text: &str) -> anyhow::Result<Place> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(place) = Place::usual(text, variable) {
        return Ok(place);
    }
    let path = PathBuf::from(text);
    if path.exists() {
        return Ok(of_path(&path));
    }
    let message = format!(
        "'{}' is no folder and no file; write ollama, lmstudio, huggingface, a folder or a .gguf file",
        terminal::inert(text)
    );
    Err(exit::error(Code::Usage, message))
}

/// A folder that looks as a program's does is one, wherever it lies.
fn of_path(path: &Path) -> Place {
    // What the library notes must mean the same wherever it is read.
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    if !path.is_dir() {
        Place::File(path)
    } else if path.join("manifests").is_dir() && path.join("blobs").is_dir() {
        Place::Ollama(path)
    } else {
        Place::Folder(path)
    }
}

fn from(
    place: &Place,
    name: Option<&Name>,
    json: bool,
    settings: &Settings,
) -> anyhow::Result<()> {
    if let Some(name) = name {
        pull::refuse_taken_name(name, settings)?;
    }
    let store = pull::store(settings)?;
    let mut steps = Steps::start(json);
    let imported = store.import(place, name.cloned(), &mut |progress| steps.show(progress));
    steps.end();
    let imported = imported.map_err(pull::of_store)?;
    let document = Document::of(imported, &store);
    if json {
        return terminal::json(&document);
    }
    document.print();
    if document.models.is_empty() && document.already.is_empty() {
        let message = "nothing came: there is no model there that can be used";
        return Err(exit::error(Code::Model, message));
    }
    Ok(())
}

impl Document {
    fn of(imported: Imported, store: &Store) -> Self {
        let row = |(name, how): (Name, How)| {
            let manifest = store.find(&name);
            Row {
                how: way(how),
                bytes: manifest.as_ref().map_or(0, Manifest::bytes),
                source: manifest.map_or_else(String::new, |manifest| manifest.source),
                model: name.to_string(),
            }
        };
        let models: Vec<Row> = imported.models.into_iter().map(row).collect();
        let copied = models.iter().filter(|row| row.how == way(How::Copied));
        Self {
            more_bytes: copied.fold(0, |sum, row| sum.saturating_add(row.bytes)),
            already: imported.already.iter().map(Name::to_string).collect(),
            skipped: imported.skipped.iter().map(|why| terminal::inert(why)).collect(),
            models,
        }
    }

    fn print(&self) {
        if !self.models.is_empty() {
            table(&self.models).lines(Paint::stdout()).iter().for_each(terminal::line);
        }
        self.notes().iter().for_each(terminal::note);
    }

    /// What was here, what was left out, and what it all takes.
    fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> =
            self.skipped.iter().map(|why| format!("note: {why}")).collect();
        if !self.already.is_empty() {
            notes.push(format!("{} here before: {}", self.already.len(), self.already.join(", ")));
        }
        let bytes = self.models.iter().fold(0_u64, |sum, row| sum.saturating_add(row.bytes));
        if !self.models.is_empty() {
            notes.push(format!(
                "{} models of {} came; {} more on disk",
                self.models.len(),
                size::format(bytes),
                match self.more_bytes {
                    0 => "0 bytes".to_owned(),
                    bytes => size::format(bytes),
                }
            ));
        }
        notes
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&[
        ("MODEL", Align::Left),
        ("SIZE", Align::Right),
        ("HOW", Align::Left),
        ("FROM", Align::Left),
    ]);
    for row in rows {
        let source = terminal::inert(&row.source);
        table.row(vec![row.model.clone(), size::format(row.bytes), row.how.to_owned(), source]);
    }
    table
}
