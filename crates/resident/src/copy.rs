//! `resident cp A B`: a model of the library gets a second name, and no byte is copied.

use clap::Args;
use library::name::Name;
use serde::Serialize;

use crate::{cli::Shelf, pull, remove, terminal};

/// `resident cp`
#[derive(Debug, Args)]
pub(crate) struct Copy {
    /// The model
    #[arg(value_name = "MODEL", value_parser = pull::name)]
    from: Name,
    /// Its second name
    #[arg(value_name = "NAME", value_parser = pull::name)]
    to: Name,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    shelf: Shelf,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Document<'a> {
    model: &'a str,
    source: &'a str,
}

/// Gives the model a second name.
///
/// # Errors
/// With the code of a model that is not there, or of a name that cannot be used.
pub(crate) fn copy(arguments: &Copy) -> anyhow::Result<()> {
    let settings = arguments.shelf.load()?;
    remove::refuse_plain(&arguments.from, &settings)?;
    pull::refuse_taken_name(&arguments.to, &settings)?;
    let store = pull::store(&settings)?;
    let copy = store.copy(&arguments.from, &arguments.to).map_err(pull::of_store)?;
    if arguments.json {
        return terminal::json(&Document { model: copy.name.as_str(), source: &copy.source });
    }
    terminal::line(format_args!(
        "{} is {} too: 0 bytes more on disk",
        arguments.from, arguments.to
    ));
    Ok(())
}
