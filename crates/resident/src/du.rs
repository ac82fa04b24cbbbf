//! `resident du`: what the library takes on the disk, model by model and beside them, and how to get rid of each.

use std::time::Duration;

use clap::Args;
use library::{
    store::{ModelUsage, Usage},
    transfer,
};
use serde::Serialize;

use crate::{
    cli::Shelf,
    pull, size,
    table::{Align, Table},
    terminal::{self, Paint},
};

/// `resident du`
#[derive(Debug, Args)]
pub(crate) struct Du {
    /// Remove what no model needs
    #[arg(long)]
    clean: bool,
    /// Remove what is half pulled, except of pulls that go on now
    #[arg(long)]
    drop_pulls: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    shelf: Shelf,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Document {
    folder: String,
    models: Vec<Row>,
    /// All contents that the library has.
    blobs_bytes: u64,
    blobs: u64,
    /// Of them, what other programs have as well.
    linked_bytes: u64,
    /// What several models have and is on the disk once.
    shared_bytes: u64,
    /// What models use where other programs have it.
    elsewhere_bytes: u64,
    half_pulled_bytes: u64,
    garbage_bytes: u64,
    /// What `--clean` and `--drop-pulls` have removed.
    removed_bytes: u64,
    problems: Vec<String>,
}

/// One model.
#[derive(Debug, Serialize)]
struct Row {
    model: String,
    bytes: u64,
    own_bytes: u64,
    elsewhere_bytes: u64,
}

/// Says what the library takes, and removes what is asked for.
///
/// # Errors
/// When the library cannot be read, or something cannot be removed.
pub(crate) fn du(arguments: &Du) -> anyhow::Result<()> {
    let settings = arguments.shelf.load()?;
    let store = pull::store(&settings)?;
    let (mut removed_bytes, mut problems) = (0, Vec::new());
    if arguments.clean {
        // Who asks for it knows that nobody uploads anything now.
        let collected = store.collect_garbage(Duration::ZERO).map_err(pull::of_store)?;
        removed_bytes += collected.bytes;
        problems.extend(collected.problems);
    }
    if arguments.drop_pulls {
        let before_bytes = store.usage().half_pulled_bytes;
        transfer::forget_all(&store.pulls())?;
        removed_bytes += before_bytes.saturating_sub(store.usage().half_pulled_bytes);
    }
    let pulls = store.pulls();
    let folder = pulls.parent().unwrap_or(&pulls).display().to_string();
    let mut document = Document::of(folder, store.usage(), removed_bytes);
    document.problems.splice(0..0, problems);
    if arguments.json {
        return terminal::json(&document);
    }
    if arguments.clean || arguments.drop_pulls {
        terminal::line(format_args!("{} freed", size::format(removed_bytes)));
    }
    document.print();
    Ok(())
}

impl Document {
    fn of(folder: String, usage: Usage, removed_bytes: u64) -> Self {
        let row = |model: ModelUsage| Row {
            model: model.name.to_string(),
            bytes: model.bytes,
            own_bytes: model.own_bytes,
            elsewhere_bytes: model.elsewhere_bytes,
        };
        Self {
            folder,
            models: usage.models.into_iter().map(row).collect(),
            blobs_bytes: usage.blobs_bytes,
            blobs: usage.blobs,
            linked_bytes: usage.linked_bytes,
            shared_bytes: usage.shared_bytes,
            elsewhere_bytes: usage.elsewhere_bytes,
            half_pulled_bytes: usage.half_pulled_bytes,
            garbage_bytes: usage.garbage_bytes,
            removed_bytes,
            problems: usage.problems.iter().map(|problem| terminal::inert(problem)).collect(),
        }
    }

    fn print(&self) {
        let paint = Paint::stdout();
        if !self.models.is_empty() {
            self.models_table().lines(paint).iter().for_each(terminal::line);
            terminal::line("");
        }
        self.sums().lines(paint).iter().for_each(terminal::line);
        terminal::note(format_args!("in {}", self.folder));
        for problem in &self.problems {
            terminal::note(format_args!("note: {problem}"));
        }
    }

    fn models_table(&self) -> Table {
        let mut table = Table::new(&[
            ("MODEL", Align::Left),
            ("SIZE", Align::Right),
            ("ITS OWN", Align::Right),
            ("ELSEWHERE", Align::Right),
        ]);
        for model in &self.models {
            table.row(vec![
                model.model.clone(),
                size::format(model.bytes),
                size::format(model.own_bytes),
                if model.elsewhere_bytes == 0 {
                    "-".to_owned()
                } else {
                    size::format(model.elsewhere_bytes)
                },
            ]);
        }
        table
    }

    /// What there is beside models, with what gets rid of it.
    fn sums(&self) -> Table {
        let mut table = Table::new(&[
            ("WHAT", Align::Left),
            ("SIZE", Align::Right),
            ("HOW TO GET RID OF IT", Align::Left),
        ]);
        let rows = [
            ("files of models", Some(self.blobs_bytes), "resident rm MODEL"),
            (
                "  of other programs too",
                Some(self.linked_bytes).filter(|bytes| *bytes > 0),
                "goes when both have removed it",
            ),
            (
                "  saved by sharing",
                Some(self.shared_bytes).filter(|bytes| *bytes > 0),
                "nothing to get rid of: it is there once",
            ),
            (
                "elsewhere",
                Some(self.elsewhere_bytes).filter(|bytes| *bytes > 0),
                "it belongs to the program that it was imported from",
            ),
            (
                "half pulled",
                Some(self.half_pulled_bytes),
                "resident pull SOURCE goes on; resident du --drop-pulls gives it up",
            ),
            ("needed by no model", Some(self.garbage_bytes), "resident du --clean"),
        ];
        for (what, bytes, way) in rows {
            if let Some(bytes) = bytes {
                let way = if bytes == 0 { "" } else { way };
                table.row(vec![what.to_owned(), size::format(bytes), way.to_owned()]);
            }
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use library::name::Name;

    use super::*;

    #[test]
    fn what_is_taken_stands_beside_the_way_to_get_rid_of_it() {
        let usage = Usage {
            models: vec![ModelUsage {
                name: Name::new("qwen3-8b").unwrap(),
                bytes: 5 << 30,
                own_bytes: 5 << 30,
                elsewhere_bytes: 0,
            }],
            blobs: 1,
            blobs_bytes: 5 << 30,
            half_pulled_bytes: 1 << 20,
            ..Usage::default()
        };
        let document = Document::of("/l".to_owned(), usage, 0);
        assert_eq!(
            document.models_table().lines(Paint::plain()),
            [
                "MODEL         SIZE   ITS OWN   ELSEWHERE",
                "qwen3-8b   5.0 GiB   5.0 GiB           -",
            ]
        );
        assert_eq!(
            document.sums().lines(Paint::plain()),
            [
                "WHAT                    SIZE   HOW TO GET RID OF IT",
                "files of models      5.0 GiB   resident rm MODEL",
                "half pulled          1.0 MiB   resident pull SOURCE goes on; resident du --drop-pulls gives \
                 it up",
                "needed by no model       0 B",
            ]
        );
    }
}
