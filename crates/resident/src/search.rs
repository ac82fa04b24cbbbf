//! `resident search WORDS`: models of the catalogue, or with `--online` of the hubs, with what fits this machine.

use clap::Args;
use library::{
    remote::{Kind, Model, Reader},
    source::Source,
    sources::{Access, Hit},
};
use planner::catalogue::{self, Entry};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::{
    cli::{Place, Serving},
    config::{self, Settings},
    exit::{self, Code},
    limits::{HITS_DEFAULT, HITS_MAX},
    ls,
    plan::taken::{self, Taken},
    pull, serve, size,
    table::{Align, Table},
    terminal::{self, Paint},
};

/// One part in so many of what models may have is left beside a file for its context, when nothing but the length
/// of the file is known.
const CONTEXT_PARTS: u64 = 8;

/// `resident search`
#[derive(Debug, Args)]
pub(crate) struct Search {
    /// Words that its name, its makers or its purpose have; without them, everything
    #[arg(required_if_eq("online", "true"))]
    words: Vec<String>,
    /// Ask Hugging Face, or with ms: before the words ModelScope
    #[arg(long)]
    online: bool,
    /// Models that are listed at most
    #[arg(long, value_name = "N", requires = "online", default_value_t = HITS_DEFAULT)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=HITS_MAX))]
    limit: u64,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    serving: Serving,
}

/// Looks for models.
///
/// # Errors
/// With [`Code::Elsewhere`] when servers were to be asked and cannot be.
pub(crate) fn search(arguments: &Search) -> anyhow::Result<()> {
    let settings = config::load(&arguments.place, &arguments.serving)?;
    if arguments.online { online(arguments, &settings) } else { offline(arguments, &settings) }
}

/// A model of the catalogue.
#[derive(Debug, Serialize)]
struct Known {
    name: &'static str,
    title: &'static str,
    purpose: &'static str,
    parameters: u64,
    licence: &'static str,
    repository: &'static str,
    /// The file to take; null of a model that another engine runs.
    take: Option<Taken>,
}

fn offline(arguments: &Search, settings: &Settings) -> anyhow::Result<()> {
    let entries = catalogue::builtin().entries().iter();
    let found = entries.filter(|entry| has_all(entry, &arguments.words));
    let found: Result<Vec<Known>, _> = found.map(|entry| Known::of(entry, settings)).collect();
    let found = found?;
    if arguments.json {
        return terminal::json(&found);
    }
    if found.is_empty() {
        let words = arguments.words.join(" ");
        let message = format!(
            "the catalogue has nothing with '{0}'; `resident search --online {0}` asks Hugging Face",
            terminal::inert(&words)
        );
        return Err(exit::error(Code::Model, message));
    }
    known_table(&found).lines(Paint::stdout()).iter().for_each(terminal::line);
    terminal::note("resident pull MODEL takes one; a star is what fits this machine.");
    Ok(())
}

/// Whether each of the words stands in something that a person calls the model by.
fn has_all(entry: &Entry, words: &[String]) -> bool {
    let said = [&entry.name, &entry.title, entry.kind.name(), &entry.architecture, &entry.licence];
    let said = said.map(|text| text.to_lowercase());
    words.iter().all(|word| {
        let word = word.to_lowercase();
        said.iter().any(|text| text.contains(&word))
    })
}

impl Known {
    fn of(entry: &'static Entry, settings: &Settings) -> anyhow::Result<Self> {
        let take = match entry.runtime_bytes {
            Some(_) => None,
            None => Some(taken::of_catalogue(&entry.name, settings)?),
        };
        Ok(Self {
            name: &entry.name,
            title: &entry.title,
            purpose: entry.kind.name(),
            parameters: entry.parameters,
            licence: &entry.licence,
            repository: &entry.repository,
            take,
        })
    }
}

fn known_table(found: &[Known]) -> Table {
    let mut table = Table::new(&[
        ("", Align::Left),
        ("MODEL", Align::Left),
        ("FOR", Align::Left),
        ("PARAMETERS", Align::Right),
        ("TAKE", Align::Left),
        ("FILE", Align::Right),
        ("MEMORY", Align::Right),
        ("LICENCE", Align::Left),
    ]);
    for model in found {
        let fits = model.take.as_ref().is_some_and(|take| take.fits);
        let of_file = |what: fn(&Taken) -> Option<String>| {
            model.take.as_ref().and_then(what).unwrap_or_else(|| "-".to_owned())
        };
        table.row(vec![
            if fits { "*" } else { "" }.to_owned(),
            model.name.to_owned(),
            model.purpose.to_owned(),
            ls::parameters(model.parameters),
            of_file(|take| Some(take.quantization.clone())),
            of_file(|take| take.file_bytes.map(size::format)),
            of_file(|take| Some(size::format(take.memory_bytes))),
            model.licence.to_owned(),
        ]);
    }
    table
}

/// A model of a hub.
#[derive(Debug, Serialize)]
struct Listed {
    source: String,
    downloads: u64,
    likes: u64,
    /// Whether its owner wants to be asked first.
    is_gated: bool,
    /// The largest quantization that fits by the length of its file.
    take: Option<Choice>,
    /// The smallest there is.
    smallest: Option<Choice>,
    /// Why its files are not known.
    problem: Option<String>,
}

/// A quantization and the length of its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Choice {
    quantization: String,
    bytes: u64,
}

fn online(arguments: &Search, settings: &Settings) -> anyhow::Result<()> {
    let words = arguments.words.join(" ");
    if settings.library.offline {
        let message = format!(
            "a search for '{}' asks a server, and offline is set; without --online the catalogue is searched",
            terminal::inert(&words)
        );
        return Err(exit::error(Code::Elsewhere, message));
    }
    let access = pull::access(settings)?;
    let limit = usize::try_from(arguments.limit).unwrap_or(usize::MAX);
    let found = serve::runtime()?.block_on(async {
        let hits = access.search(&words, limit).await.map_err(pull::of_source)?;
        anyhow::Ok(listed(&access, hits, settings.budget_bytes).await)
    })?;
    if arguments.json {
        return terminal::json(&found);
    }
    if found.is_empty() {
        let message = format!("the hub has no GGUF models for '{}'", terminal::inert(&words));
        return Err(exit::error(Code::Model, message));
    }
    listed_table(&found).lines(Paint::stdout()).iter().for_each(terminal::line);
    terminal::note(
        "resident pull SOURCE takes one. A star is what fits by the length of its file; resident plan SOURCE \
         counts its context too.",
    );
    Ok(())
}

/// What the hits have, asked of all at once.
async fn listed(access: &Access, hits: Vec<Hit>, budget_bytes: u64) -> Vec<Listed> {
    let mut asked = JoinSet::new();
    for (place, hit) in hits.into_iter().enumerate() {
        let access = access.clone();
        asked.spawn(async move { (place, files(&access, hit, budget_bytes).await) });
    }
    let mut found = asked.join_all().await;
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, listed)| listed).collect()
}

async fn files(access: &Access, hit: Hit, budget_bytes: u64) -> Listed {
    let mut listed = Listed {
        source: hit.source,
        downloads: hit.downloads,
        likes: hit.likes,
        is_gated: hit.is_gated,
        take: None,
        smallest: None,
        problem: None,
    };
    let source = Source::parse(&listed.source).and_then(Result::ok);
    let Some((repository, _)) = source.as_ref().and_then(Source::as_repository) else {
        return listed;
    };
    match Reader::new(access).models(repository).await {
        Ok(models) => {
            let choices = choices(&models);
            listed.take = largest(&choices, budget_bytes);
            listed.smallest = choices.into_iter().min_by_key(|choice| choice.bytes);
        }
        Err(error) => listed.problem = Some(terminal::inert(&error.to_string())),
    }
    listed
}

fn choices(models: &[Model]) -> Vec<Choice> {
    let whole =
        models.iter().filter(|model| model.kind == Kind::Model && model.missing_part.is_none());
    whole
        .map(|model| Choice { quantization: model.label().to_owned(), bytes: model.bytes() })
        .collect()
}

/// The largest that leaves some room for a context.
fn largest(choices: &[Choice], budget_bytes: u64) -> Option<Choice> {
    let most_bytes = budget_bytes - budget_bytes / CONTEXT_PARTS;
    let fitting = choices.iter().filter(|choice| choice.bytes <= most_bytes);
    fitting.max_by_key(|choice| choice.bytes).cloned()
}

fn listed_table(found: &[Listed]) -> Table {
    let mut table = Table::new(&[
        ("", Align::Left),
        ("SOURCE", Align::Left),
        ("DOWNLOADS", Align::Right),
        ("TAKE", Align::Left),
        ("FILE", Align::Right),
        ("NOTE", Align::Left),
    ]);
    for model in found {
        let shown = model.take.as_ref().or(model.smallest.as_ref());
        let note = match (&model.problem, model.is_gated) {
            (Some(problem), _) => problem.clone(),
            (None, true) => "its owner wants to be asked first".to_owned(),
            (None, false) => String::new(),
        };
        table.row(vec![
            if model.take.is_some() { "*" } else { "" }.to_owned(),
            terminal::inert(&model.source),
            model.downloads.to_string(),
            shown.map_or_else(|| "-".to_owned(), |choice| terminal::inert(&choice.quantization)),
            shown.map_or_else(|| "-".to_owned(), |choice| size::format(choice.bytes)),
            note,
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(words: &[&str]) -> Vec<&'static str> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let entries = catalogue::builtin().entries().iter();
        entries.filter(|entry| has_all(entry, &words)).map(|entry| entry.name.as_str()).collect()
    }

    #[test]
    fn every_word_must_be_there_in_any_case() {
        assert!(found(&["QWEN3", "8b"]).contains(&"qwen3-8b"));
        assert!(found(&["rerank"]).iter().all(|name| name.contains("rerank")));
        assert!(!found(&["embedding", "qwen"]).is_empty());
        assert!(found(&["qwen3", "nobody-calls-it-so"]).is_empty());
        assert_eq!(found(&[]).len(), catalogue::builtin().entries().len());
    }

    #[test]
    fn by_length_alone_some_room_is_left() {
        let choice = |name: &str, bytes| Choice { quantization: name.to_owned(), bytes };
        let choices = [choice("Q8_0", 90), choice("Q6_K", 70), choice("Q4_K_M", 50)];
        assert_eq!(largest(&choices, 80).unwrap().quantization, "Q6_K");
        assert_eq!(
            largest(&choices, 78).unwrap().quantization,
            "Q4_K_M",
            "70 is more than 7/8 of 78"
        );
        assert_eq!(largest(&choices, 56), None);
    }

    #[test]
    fn hits_as_people_read_them() {
        let listed = |source: &str, take: Option<Choice>, is_gated| Listed {
            source: source.to_owned(),
            downloads: 7,
            likes: 1,
            is_gated,
            smallest: Some(Choice { quantization: "Q2_K".to_owned(), bytes: 3 << 30 }),
            take,
            problem: None,
        };
        let take = Choice { quantization: "Q6_K".to_owned(), bytes: 6 << 30 };
        let rows = [listed("hf:a/b", Some(take), false), listed("hf:c/d", None, true)];
        assert_eq!(
            listed_table(&rows).lines(Paint::plain()),
            [
                "    SOURCE   DOWNLOADS   TAKE      FILE   NOTE",
                "*   hf:a/b           7   Q6_K   6.0 GiB",
                "    hf:c/d           7   Q2_K   3.0 GiB   its owner wants to be asked first",
            ]
        );
    }
}
