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

/// Programs whose models are found by their names.
const PROGRAMS: [&str; 3] = ["ollama", "lmstudio", "huggingface"];

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
    if PROGRAMS.contains(&text) {
        let message = format!(
            "{text} has no models on this machine where it usually has them; name its folder: --from FOLDER"
        );
        return Err(exit::error(Code::Model, message));
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

fn from(place: &Place, name: Option<&Name>, json: bool, settings: &Settings) -> anyhow::Result<()> {
    if let Some(name) = name {
        pull::refuse_taken_name(name, settings)?;
    }
    let store = pull::store(settings)?;
    let mut steps = Steps::start(json);
    let imported = store.import(place, name, &mut |progress| steps.show(progress));
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
        Self {
            models: imported.models.into_iter().map(row).collect(),
            already: imported.already.iter().map(Name::to_string).collect(),
            skipped: imported.skipped.iter().map(|why| terminal::inert(why)).collect(),
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
                "{} came, {} in all; 0 bytes more on disk",
                match self.models.len() {
                    1 => "1 model".to_owned(),
                    several => format!("{several} models"),
                },
                size::format(bytes)
            ));
        }
        notes
    }
}

/// How the library has a model's files, in a word or two.
fn way(how: How) -> &'static str {
    match how {
        How::Present => "was here",
        How::Shared => "shared",
        How::Linked => "linked",
        How::Referenced => "where it lies",
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

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Document {
        let row = |model: &str, how| Row {
            model: model.to_owned(),
            how: way(how),
            bytes: 2 << 30,
            source: format!("ollama:{model}"),
        };
        Document {
            models: vec![row("llama3.2", How::Linked), row("qwen3:8b", How::Referenced)],
            already: vec!["phi4".to_owned()],
            skipped: vec!["gpt-x is left out: it is no GGUF".to_owned()],
        }
    }

    #[test]
    fn what_came_and_what_did_not_is_said() {
        let document = document();
        assert_eq!(
            table(&document.models).lines(Paint::plain()),
            [
                "MODEL         SIZE   HOW             FROM",
                "llama3.2   2.0 GiB   linked          ollama:llama3.2",
                "qwen3:8b   2.0 GiB   where it lies   ollama:qwen3:8b",
            ]
        );
        assert_eq!(
            document.notes(),
            [
                "note: gpt-x is left out: it is no GGUF",
                "1 here before: phi4",
                "2 models came, 4.0 GiB in all; 0 bytes more on disk",
            ]
        );
    }

    #[test]
    fn folders_are_known_by_what_is_in_them() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(of_path(home.path()), Place::Folder(home.path().to_owned()));
        for folder in ["manifests", "blobs"] {
            std::fs::create_dir(home.path().join(folder)).unwrap();
        }
        assert_eq!(of_path(home.path()), Place::Ollama(home.path().to_owned()));
        let file = home.path().join("x.gguf");
        std::fs::write(&file, "x").unwrap();
        assert_eq!(of_path(&file), Place::File(file));
    }

    #[test]
    fn what_is_no_place_is_named_with_what_would_be_one() {
        let message = place("no/such/place").unwrap_err().to_string();
        assert_eq!(
            message,
            "'no/such/place' is no folder and no file; write ollama, lmstudio, huggingface, a folder or a \
             .gguf file"
        );
    }
}
