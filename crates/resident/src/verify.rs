//! `resident verify [MODEL…]`: reads all files of the library again, and says which are damaged and what to do.

use clap::Args;
use library::{
    name::Name,
    store::{Damage, Store, Verified},
};
use serde::Serialize;

use crate::{
    cli::Shelf,
    exit::{self, Code},
    pull, size,
    steps::Steps,
    terminal,
};

/// `resident verify`
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The models [default: all of the library]
    #[arg(value_name = "MODEL", value_parser = pull::name)]
    models: Vec<Name>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    shelf: Shelf,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Document {
    files: u64,
    bytes: u64,
    damaged: Vec<Row>,
}

/// A file that is not what it should be.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Row {
    path: String,
    digest: String,
    why: String,
    models: Vec<String>,
    moved_to: Option<String>,
    /// What makes each of the models whole again.
    ways_out: Vec<String>,
}

/// Reads everything.
///
/// # Errors
/// With [`Code::Failure`] when something is damaged, [`Code::Model`] when there is no such model.
pub(crate) fn verify(arguments: &Verify) -> anyhow::Result<()> {
    let settings = arguments.shelf.load()?;
    let store = pull::store(&settings)?;
    let mut steps = Steps::start(arguments.json);
    let verified = store.verify(&arguments.models, &mut |progress| steps.show(progress));
    steps.end();
    let document = Document::of(verified.map_err(pull::of_store)?, &store);
    if arguments.json {
        terminal::json(&document)?;
    } else {
        document.lines().iter().for_each(terminal::line);
    }
    match document.damaged.len() {
        0 => Ok(()),
        1 => Err(exit::error(Code::Failure, "1 file is damaged")),
        several => Err(exit::error(Code::Failure, format!("{several} files are damaged"))),
    }
}

impl Document {
    fn of(verified: Verified, store: &Store) -> Self {
        let way_out = |name: &Name| match store.find(name) {
            Some(manifest) => terminal::inert(&way_out(name, &manifest.source)),
            None => format!("resident rm {name}"),
        };
        let row = |damage: Damage| Row {
            path: damage.path.display().to_string(),
            digest: damage.digest.to_string(),
            why: terminal::inert(&damage.why),
            ways_out: damage.models.iter().map(way_out).collect(),
            models: damage.models.iter().map(Name::to_string).collect(),
            moved_to: damage.moved_to.map(|path| path.display().to_string()),
        };
        Self {
            files: verified.files,
            bytes: verified.bytes,
            damaged: verified.damaged.into_iter().map(row).collect(),
        }
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for damaged in &self.damaged {
            lines.push(format!("{} is damaged: {}", damaged.path, damaged.why));
            if let Some(place) = &damaged.moved_to {
                lines.push(format!("  it was moved to {place}, so that a pull gets it again"));
            }
            lines.extend(damaged.ways_out.iter().map(|way| format!("  {way}")));
        }
        let what = if self.damaged.is_empty() { ": all as they should be" } else { "" };
        let files = match self.files {
            1 => "1 file".to_owned(),
            several => format!("{several} files"),
        };
        lines.push(format!("{files} read, {}{what}", size::format(self.bytes)));
        lines
    }
}

/// How a model whose file is damaged is made whole again: from where it came.
fn way_out(name: &Name, source: &str) -> String {
    match library::source::Source::parse(source) {
        Some(Ok(_)) => format!("resident pull {source} --name {name}"),
        Some(Err(_)) | None => {
            format!("import it again (it is from {source}), or resident rm {name}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_is_named_with_the_way_out() {
        let name = Name::new("a").unwrap();
        let document = Document {
            files: 2,
            bytes: 3 << 20,
            damaged: vec![Row {
                path: "/l/blobs/sha256-00".to_owned(),
                digest: "sha256:00".to_owned(),
                why: "its content has the digest sha256:11".to_owned(),
                models: vec!["a".to_owned()],
                moved_to: Some("/l/damaged/sha256-00".to_owned()),
                ways_out: vec![way_out(&name, "hf:o/r:Q8_0")],
            }],
        };
        assert_eq!(
            document.lines(),
            [
                "/l/blobs/sha256-00 is damaged: its content has the digest sha256:11",
                "  it was moved to /l/damaged/sha256-00, so that a pull gets it again",
                "  resident pull hf:o/r:Q8_0 --name a",
                "2 files read, 3.0 MiB",
            ]
        );
        let whole = Document { files: 1, bytes: 7, damaged: Vec::new() };
        assert_eq!(whole.lines(), ["1 file read, 7 B: all as they should be"]);
        assert_eq!(
            way_out(&name, "/x/a.gguf"),
            "import it again (it is from /x/a.gguf), or resident rm a"
        );
    }
}
