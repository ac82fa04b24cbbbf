//! `resident create NAME -f Modelfile`: a model made of another one, or of a file, with instructions and parameters.
//!
//! Not here: what a Modelfile says (`library::modelfile`), and what becomes of it (`library::store`).

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use clap::Args;
use library::{
    modelfile::Modelfile,
    name::Name,
    store::{Base, Recipe},
};
use serde::Serialize;

use crate::{
    cli::Shelf,
    config::Settings,
    exit::{self, Code},
    limits::MODELFILE_BYTES_MAX,
    pull, steps, terminal,
};

/// `resident create`
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// What it is called
    #[arg(value_name = "NAME", value_parser = pull::name)]
    name: Name,
    /// The Modelfile; its paths start at its folder
    #[arg(short = 'f', long, value_name = "FILE", default_value = "Modelfile")]
    file: PathBuf,
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
    bytes: u64,
    /// Parameters that mean nothing any more, and were passed over.
    ignored: &'a [String],
}

/// Makes the model.
///
/// # Errors
/// With [`Code::Usage`] when the Modelfile makes no sense, [`Code::Model`] when what it is made from is not there.
pub(crate) fn create(arguments: &Create) -> anyhow::Result<()> {
    let settings = arguments.shelf.load()?;
    pull::refuse_taken_name(&arguments.name, &settings)?;
    let modelfile = read(&arguments.file)?;
    let folder = arguments.file.parent().unwrap_or(Path::new("."));
    let mut recipe =
        Recipe::of_modelfile(&modelfile, folder).map_err(|error| wrong(&arguments.file, &error))?;
    let store = pull::store(&settings)?;
    for base in recipe.from.iter_mut().chain(&mut recipe.adapters).chain(&mut recipe.drafts) {
        of_folder(base, &settings);
    }
    let mut steps = steps::Steps::start(arguments.json);
    let made = store.create(&arguments.name, &recipe, &mut |progress| steps.show(progress));
    steps.end();
    // Nobody stops it but with a signal that ends the program.
    let Some(made) = made.map_err(pull::of_store)? else { return Ok(()) };
    if arguments.json {
        return terminal::json(&Document {
            model: made.name.as_str(),
            source: &made.source,
            bytes: made.bytes(),
            ignored: &modelfile.ignored,
        });
    }
    for name in &modelfile.ignored {
        terminal::note(format_args!("note: the parameter {name} means nothing any more"));
    }
    terminal::line(format_args!("{0} is made; resident run {0} chats with it", made.name));
    Ok(())
}

/// A model of the models folder that the library does not have is the file that it is.
fn of_folder(base: &mut Base, settings: &Settings) {
    if let Base::Model(name) = base
        && let Some(found) = settings.catalog.find(name.as_str())
        && found.shelved.is_none()
    {
        *base = Base::File(found.path);
    }
}

fn read(file: &Path) -> anyhow::Result<Modelfile> {
    let cannot = |error: std::io::Error| {
        exit::error(
            Code::Usage,
            format!("cannot read the Modelfile {}: {error}; name it with -f", file.display()),
        )
    };
    let mut bytes = Vec::new();
    let opened = fs::File::open(file).map_err(cannot)?;
    opened.take(MODELFILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > MODELFILE_BYTES_MAX {
        let message = format!(
            "{} has more than {MODELFILE_BYTES_MAX} bytes, which no Modelfile has",
            file.display()
        );
        return Err(exit::error(Code::Usage, message));
    }
    Modelfile::parse(&bytes).map_err(|error| wrong(file, &error))
}

fn wrong(file: &Path, error: &dyn std::fmt::Display) -> anyhow::Error {
    exit::error(Code::Usage, terminal::inert(&format!("{}: {error}", file.display())))
}
