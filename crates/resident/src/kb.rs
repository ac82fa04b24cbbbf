//! `resident kb`: the person's own files. Adds folders to collections, shows how they stand, finds passages, and has a
//! model answer from them. Not here: any of the work, which is the hub's.

mod days;
mod export;
mod standing;
mod text;

use std::{collections::BTreeSet, io, path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use gateway::{Collection, Collections, Forgotten, Found, NewSources, Passage, Search};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    cli::{self, Place},
    client::{Client, Error},
    config::{self, Settings},
    exit::{self, Code},
    limits::KNOWLEDGE_LOOK_INTERVAL,
    run, serve, size,
    table::{Align, Table},
    terminal::{self, Paint, Tone},
};

/// Where collections are.
const PATH: &str = "/api/knowledge";

/// `resident kb`
#[derive(Debug, Subcommand)]
pub(crate) enum Kb {
    /// Add folders and files to a collection, and read them
    Add(Add),
    /// List collections and how they stand
    Ls(Ls),
    /// Say how collections stand: what goes on, what finds their passages, which files were not read and why
    Status(standing::Status),
    /// Write all of a collection as lines of JSON: files, and passages with their places
    Export(export::Export),
    /// Forget a collection, or some of what it is made of; its files stay where they are
    Rm(Remove),
    /// Find passages
    Search(Find),
    /// Have a model answer a question from the files, with the places that it rests on
    Ask(Ask),
    /// Bring a collection in step with the disk now
    Scan(Named),
    /// Hold the work on a collection
    Pause(Named),
    /// Let the work on a collection go on
    Resume(Named),
    /// Cut and embed everything anew, by the embedding model that is there now
    Rebuild(Named),
}

/// `resident kb add`
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// Folders and files; - is what comes by standard input
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// What is called what comes by standard input; the ending says what it is
    #[arg(long, value_name = "NAME", default_value = "standard-input.txt")]
    name: String,
    /// The collection
    #[arg(short, long, default_value = "files")]
    collection: String,
    /// Only files of a folder that are like this, as in '**/*.md'; may be given several times
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// No files of a folder that are like this; may be given several times
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// Return at once; the hub goes on
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    place: Place,
}

/// `resident kb ls`
#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// What is done to one collection.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// The collection
    collection: String,
    #[command(flatten)]
    place: Place,
}

/// `resident kb rm`
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The collection
    collection: String,
    /// Only these of its folders, files and texts, as `kb ls --json` has them
    paths: Vec<PathBuf>,
    #[command(flatten)]
    place: Place,
}

/// `resident kb search`
#[derive(Debug, Args)]
pub(crate) struct Find {
    /// A question, or words
    query: String,
    #[command(flatten)]
    within: Within,
    /// How many passages
    #[arg(long)]
    limit: Option<u32>,
    /// Only files in this folder; may be given several times
    #[arg(long, value_name = "PATH")]
    folder: Vec<String>,
    /// Only files whose path is like this
    #[arg(long)]
    glob: Option<String>,
    /// Only files of this kind, such as pdf; may be given several times
    #[arg(long)]
    kind: Vec<String>,
    /// Only files that were changed on this day or later, as in 2026-11-30
    #[arg(long, value_name = "DAY", value_parser = days::begin)]
    changed_from: Option<i64>,
    /// Only files that were changed before this day
    #[arg(long, value_name = "DAY", value_parser = days::begin)]
    changed_before: Option<i64>,
    /// Let no model that ranks order what was found
    #[arg(long)]
    no_rerank: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// `resident kb ask`
#[derive(Debug, Args)]
pub(crate) struct Ask {
    /// The model that answers, or a role
    model: String,
    /// The question
    question: String,
    #[command(flatten)]
    within: Within,
    #[command(flatten)]
    place: Place,
}

/// Which collections.
#[derive(Debug, Args)]
pub(crate) struct Within {
    /// Only this collection; may be given several times
    #[arg(short, long, value_name = "NAME")]
    collection: Vec<String>,
}

/// Does it.
///
/// # Errors
/// When no hub of ours answers, or it refuses.
pub(crate) fn kb(command: &Kb) -> anyhow::Result<()> {
    match command {
        Kb::Add(arguments) => add(arguments),
        Kb::Ls(arguments) => ls(arguments),
        Kb::Status(arguments) => standing::status(arguments),
        Kb::Export(arguments) => export::export(arguments),
        Kb::Rm(arguments) => remove(arguments),
        Kb::Search(arguments) => search(arguments),
        Kb::Ask(arguments) => ask(arguments),
        Kb::Scan(named) => change(named, "scan"),
        Kb::Pause(named) => change(named, "pause"),
        Kb::Resume(named) => change(named, "resume"),
        Kb::Rebuild(named) => change(named, "rebuild"),
    }
}

fn settings(place: &Place) -> anyhow::Result<Settings> {
    config::load(place, &cli::Serving::default())
}

/// Asks the hub.
fn with_hub<T>(
    place: &Place,
    ask: impl AsyncFnOnce(&Client) -> Result<T, Error>,
) -> anyhow::Result<T> {
    let settings = settings(place)?;
    let asked = serve::runtime()?.block_on(async { ask(&Client::find(&settings).await?).await });
    asked.map_err(Error::with_code)
}

fn add(arguments: &Add) -> anyhow::Result<()> {
    let whole = |path: &PathBuf| {
        let whole =
            path.canonicalize().with_context(|| format!("cannot read {}", path.display()))?;
        let text = whole.to_str().map(str::to_owned);
        text.with_context(|| format!("{} is no text; name a folder above it", whole.display()))
    };
    let (standard_input, paths): (Vec<&PathBuf>, Vec<&PathBuf>) =
        arguments.paths.iter().partition(|path| path.as_os_str() == "-");
    let texts = if standard_input.is_empty() {
        Vec::new()
    } else {
        vec![text::read(&arguments.name, io::stdin().lock())?]
    };
    let new = NewSources {
        collection: arguments.collection.clone(),
        paths: paths.into_iter().map(whole).collect::<anyhow::Result<_>>()?,
        texts,
        include: arguments.include.clone(),
        exclude: arguments.exclude.clone(),
    };
    let ended = with_hub(&arguments.place, async |client| {
        let begun: Collection = client.post(PATH, &new).await?;
        if arguments.detach { Ok(begun) } else { follow(client, &new.collection).await }
    })?;
    told(&ended)
}

fn change(named: &Named, change: &str) -> anyhow::Result<()> {
    let path = format!("{PATH}/{}/{change}", encoded(&named.collection));
    let works = matches!(change, "scan" | "rebuild");
    let ended = with_hub(&named.place, async |client| {
        let changed: Collection = client.post(&path, &()).await?;
        if works { follow(client, &named.collection).await } else { Ok(changed) }
    })?;
    told(&ended)
}

fn remove(arguments: &Remove) -> anyhow::Result<()> {
    let Remove { collection, paths, place } = arguments;
    let path = format!("{PATH}/{}", encoded(collection));
    if paths.is_empty() {
        with_hub(place, async |client| client.delete::<Collections>(&path).await)?;
        terminal::note(format_args!("{collection} is forgotten; its files are where they were"));
        return Ok(());
    }
    let path = format!("{path}/forget");
    let ended = with_hub(place, async |client| {
        let all: Collections = client.get_as_client(PATH).await?;
        let found = all.collections.into_iter().find(|found| found.name == *collection);
        let sources = found.unwrap_or_default().sources;
        let known = |path: &PathBuf| {
            let named = path.display().to_string();
            // A text has the name that was given, as has what is gone from the disk.
            let whole = path.canonicalize().map(|whole| whole.display().to_string());
            if sources.contains(&named) { named } else { whole.unwrap_or(named) }
        };
        let paths = paths.iter().map(known).collect();
        let _begun: Collection = client.post(&path, &Forgotten { paths }).await?;
        follow(client, collection).await
    })?;
    told(&ended)
}

/// A name as a part of a path.
fn encoded(name: &str) -> String {
    form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>().replace('+', "%20")
}

/// Shows how far the work on a collection is until it ends.
async fn follow(client: &Client, name: &str) -> Result<Collection, Error> {
    let bar = terminal::stderr_is_screen().then(|| {
        let bar = ProgressBar::new(1);
        // Were the template wrong, a plain bar would do.
        let style = ProgressStyle::with_template("{wide_bar} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸ "));
        bar
    });
    loop {
        let all: Collections = client.get_as_client(PATH).await?;
        let found = all.collections.into_iter().find(|collection| collection.name == name);
        // Somebody else has removed it.
        let Some(found) = found else { return Ok(Collection::default()) };
        if let Some(bar) = &bar {
            bar.set_length(found.bytes_to_read.max(1));
            bar.set_position(found.bytes_done);
            bar.set_message(message(&found));
        }
        if !matches!(found.state.as_str(), "waiting" | "running") {
            if let Some(bar) = &bar {
                bar.finish_and_clear();
            }
            return Ok(found);
        }
        tokio::time::sleep(KNOWLEDGE_LOOK_INTERVAL).await;
    }
}

/// How far it is, in few words.
fn message(collection: &Collection) -> String {
    let Collection { files_done, files_to_read, bytes_per_s, left_s, passages, .. } = collection;
    let mut message = format!("{files_done} of {files_to_read} files, {passages} passages");
    if *bytes_per_s > 0 {
        message += &format!(", {}/s", size::format(*bytes_per_s));
    }
    match left_s {
        Some(left_s) => {
            message + ", " + &crate::duration::format(Duration::from_secs(*left_s)) + " left"
        }
        None => message,
    }
}

/// Says how a collection stands.
fn told(collection: &Collection) -> anyhow::Result<()> {
    let Collection { name, files, skipped, with_gaps, passages, state, error, embedder, .. } =
        collection;
    if state == "failed" {
        let why = error.as_deref().unwrap_or("it failed");
        return Err(exit::error(Code::Failure, format!("{name}: {why}")));
    }
    let mut line = format!("{name} is {state}: {passages} passages of {files} files");
    if *skipped > 0 {
        line += &format!(", {skipped} files not read");
    }
    if *with_gaps > 0 {
        line += &format!(", {with_gaps} read in part");
    }
    terminal::note(line);
    if embedder.is_none() {
        terminal::note(
            "found by words alone: no embedding model is here; pull one and run: resident kb rebuild",
        );
    }
    Ok(())
}

fn ls(arguments: &Ls) -> anyhow::Result<()> {
    let all =
        with_hub(&arguments.place, async |client| client.get_as_client::<Collections>(PATH).await)?;
    if arguments.json {
        return terminal::json(&all);
    }
    if all.collections.is_empty() {
        terminal::line("no files are known; add a folder with: resident kb add FOLDER");
        return Ok(());
    }
    let mut table = Table::new(&[
        ("NAME", Align::Left),
        ("STATE", Align::Left),
        ("FILES", Align::Right),
        ("SKIPPED", Align::Right),
        ("PASSAGES", Align::Right),
        ("EMBEDDER", Align::Left),
        ("SOURCES", Align::Left),
    ]);
    for collection in all.collections {
        table.row(vec![
            terminal::inert(&collection.name),
            collection.state,
            collection.files.to_string(),
            collection.skipped.to_string(),
            collection.passages.to_string(),
            collection.embedder.unwrap_or_else(|| "-".to_owned()),
            terminal::inert(&collection.sources.join(", ")),
        ]);
    }
    for line in table.lines(Paint::stdout()) {
        terminal::line(line);
    }
    Ok(())
}

fn search(arguments: &Find) -> anyhow::Result<()> {
    let search = Search {
        query: arguments.query.clone(),
        collections: arguments.within.collection.clone(),
        limit: arguments.limit,
        folders: arguments.folder.clone(),
        glob: arguments.glob.clone(),
        kinds: arguments.kind.clone(),
        changed_from: arguments.changed_from,
        changed_before: arguments.changed_before,
        rerank: arguments.no_rerank.then_some(false),
        ..Search::default()
    };
    let path = format!("{PATH}/search");
    let found: Found =
        with_hub(&arguments.place, async |client| client.post_as_client(&path, &search).await)?;
    if arguments.json {
        return terminal::json(&found);
    }
    let paint = Paint::stdout();
    for (number, passage) in (1..).zip(&found.passages) {
        terminal::line(heading(number, passage, paint));
        terminal::line(terminal::inert(&passage.text));
        terminal::line("");
    }
    for note in &found.notes {
        terminal::note(note);
    }
    if found.passages.is_empty() {
        terminal::note("nothing was found");
    }
    Ok(())
}

fn heading(number: usize, passage: &Passage, paint: Paint) -> String {
    let below: BTreeSet<&str> = passage.headings.last().map(String::as_str).into_iter().collect();
    let parts = [passage.path.as_str(), passage.place.said.as_str()];
    let parts = parts.into_iter().chain(below).filter(|part| !part.is_empty());
    let said = terminal::inert(&parts.collect::<Vec<_>>().join(", "));
    paint.tone(Tone::Faint, format!("[{number}] {said}"))
}

fn ask(arguments: &Ask) -> anyhow::Result<()> {
    let settings = settings(&arguments.place)?;
    let mut collections = arguments.within.collection.clone();
    serve::runtime()?.block_on(async {
        let client = Client::find(&settings).await.map_err(Error::with_code)?;
        if collections.is_empty() {
            let all: Collections = client.get_as_client(PATH).await.map_err(Error::with_code)?;
            collections = all.collections.into_iter().map(|collection| collection.name).collect();
        }
        if collections.is_empty() {
            let message = "no files are known; add a folder with: resident kb add FOLDER";
            return Err(exit::error(Code::Failure, message));
        }
        run::ask_files(&client, &arguments.model, &arguments.question, &collections).await
    })
}
