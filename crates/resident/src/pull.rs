//! `resident pull`: a model comes to this machine, in the quantization that fits it, and always arrives.
//!
//! What is meant is told and planned first ([`subject`]). The hub pulls if one runs ([`hub`]), so that the pull
//! outlives the terminal; else this process does ([`here`]); both are shown the same way ([`screen`]). Not here:
//! sources, transfers and the store (`library`).

mod end;
mod here;
mod hub;
pub(crate) mod rate;
mod screen;
mod state;
mod subject;
mod words;

use std::sync::Arc;

use anyhow::Context as _;
use clap::{ArgGroup, Args};
use library::{
    name::{Name, NoName},
    outside,
    sources::{self, Access},
    store::{self, Store},
    transfer::{Rate, Terms},
};

use crate::{
    cli::{Place, Serving},
    client::{self, Client},
    config::{self, Settings, resolved::Library},
    exit::{self, Code},
    import,
    limits::PULL_CONNECTIONS_MAX,
    serve, terminal,
};
use screen::{Event, Screen};
use state::State;
use subject::{Meant, Order};

/// What may be pulled, for `resident pull --help`.
const SOURCES: &str = "\
SOURCE is
  qwen3-8b, qwen3-8b:Q4_K_M      a name of the catalogue (resident search lists them)
  hf:OWNER/REPO, hf:OWNER/REPO:Q4_K_M, hf:OWNER/REPO:FILE.gguf
                                 a repository on Hugging Face; ms: is ModelScope
  ollama:NAME:TAG                a model of Ollama's registry, or of any like it: ollama:HOST/OWNER/NAME:TAG
  https://…/FILE.gguf            a file on a web server
  FILE.gguf, FOLDER              what is on this machine: `resident import` does the same

  Without a quantization the best that fits this machine is taken, and it is said which and why before anything
  starts. HF_TOKEN goes to Hugging Face (or to the server named instead of it) and to nobody else.

  What came is never lost: the same command goes on where a pull was, however it ended.

Examples:
  resident pull qwen3-30b-a3b
  resident pull hf:unsloth/Qwen3-8B-GGUF --limit-rate 10MB
  resident pull --list";

/// `resident pull`
#[derive(Debug, Args)]
#[command(after_long_help = SOURCES)]
#[command(group = ArgGroup::new("what").required(true).args(["source", "list", "pause", "resume", "cancel"]))]
pub(crate) struct Pull {
    /// A name of the catalogue, hf:OWNER/REPO, ms:OWNER/REPO, ollama:NAME, a web address, or a file
    #[arg(value_name = "SOURCE")]
    source: Option<String>,
    /// What the model is called here [default: the catalogue's name, or as its source suggests]
    #[arg(long, value_name = "NAME", value_parser = name, requires = "source")]
    name: Option<Name>,
    /// Pull it even if it does not fit this machine
    #[arg(long, requires = "source")]
    force: bool,
    /// Connections of this pull; it is then done by this process, not by the hub [default: 8]
    #[arg(long, value_name = "N", requires = "source", value_parser = connections)]
    connections: Option<usize>,
    /// How much of the line it may take, as 10MB a second; it is then done by this process, not by the hub
    #[arg(long, value_name = "RATE", requires = "source", value_parser = rate::parse)]
    limit_rate: Option<u64>,
    /// Let the hub pull it, and do not wait
    #[arg(long, requires = "source", conflicts_with_all = ["connections", "limit_rate"])]
    detach: bool,
    /// List the pulls of the hub
    #[arg(long)]
    list: bool,
    /// Let the hub pause a pull; what came is kept
    #[arg(long, value_name = "ID")]
    pause: Option<u64>,
    /// Let the hub go on with a pull that is paused or has failed
    #[arg(long, value_name = "ID")]
    resume: Option<u64>,
    /// Let the hub give a pull up, and remove what came of it
    #[arg(long, value_name = "ID")]
    cancel: Option<u64>,
    /// Print one line of JSON for each event
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    serving: Serving,
}

/// A file's name for a place of few characters.
pub(crate) fn short_name(name: &str) -> String {
    words::name(name)
}

/// A name, as clap reads it.
pub(crate) fn name(text: &str) -> Result<Name, NoName> {
    Name::new(text)
}

fn connections(text: &str) -> Result<usize, String> {
    let count =
        text.parse::<usize>().ok().filter(|count| (1..=PULL_CONNECTIONS_MAX).contains(count));
    count.ok_or_else(|| format!("'{text}' is not 1 to {PULL_CONNECTIONS_MAX}"))
}

/// How a pull ended that did not fail.
enum Ended {
    /// The model is here.
    Done(Name),
    /// It was paused, and can go on.
    Paused(State),
}

/// Pulls, or says something about pulls to the hub.
///
/// # Errors
/// With [`Code::Model`] when there is no such model or it does not fit, [`Code::Elsewhere`] when servers cannot be
/// asked, [`Code::NoHub`] when only the hub could do it, [`Code::Interrupted`] after Ctrl-C.
pub(crate) fn run(arguments: &Pull) -> anyhow::Result<()> {
    let settings = config::load(&arguments.place, &arguments.serving)?;
    let Some(source) = &arguments.source else { return hub::obey(arguments, &settings) };
    match subject::meant(source, arguments.name.as_ref(), arguments.force, &settings)? {
        Meant::Here(path) => {
            import::path(&path, arguments.name.as_ref(), arguments.json, &settings)
        }
        Meant::Elsewhere(order) => {
            order.name.as_ref().map_or(Ok(()), |name| refuse_taken_name(name, &settings))?;
            announce(&order, arguments)?;
            serve::runtime()?.block_on(pull(&order, arguments, &settings))
        }
    }
}

/// Says what will be taken and why, and refuses what does not fit.
fn announce(order: &Order, arguments: &Pull) -> anyhow::Result<()> {
    let Some(taken) = &order.taken else { return Ok(()) };
    if !taken.fits && !arguments.force {
        return Err(exit::error(Code::Model, taken.refusal()));
    }
    if arguments.json {
        let plan = Event::Plan { source: &order.shown(), plan: taken };
        terminal::line(serde_json::to_string(&plan)?);
    } else {
        taken.lines().iter().for_each(terminal::note);
    }
    Ok(())
}

/// A model that could not be reached by its name is not worth the wait.
///
/// # Errors
/// With [`Code::Usage`], naming the file that has the name.
pub(crate) fn refuse_taken_name(name: &Name, settings: &Settings) -> anyhow::Result<()> {
    let Some(found) = settings.catalog.find(name.as_str()) else { return Ok(()) };
    if found.shelved.is_some() {
        return Ok(());
    }
    let message = format!(
        "the name '{name}' belongs to {}, which would hide another model of that name; choose another name",
        found.path.display()
    );
    Err(exit::error(Code::Usage, message))
}

async fn pull(order: &Order, arguments: &Pull, settings: &Settings) -> anyhow::Result<()> {
    let is_own = arguments.connections.is_some() || arguments.limit_rate.is_some();
    let client = if is_own { None } else { client_if_any(settings, arguments.detach).await? };
    let mut screen = Screen::choose(arguments.json);
    let ended = match &client {
        Some(client) if arguments.detach => return hub::leave(client, order, arguments.json).await,
        Some(client) => hub::pull(client, order, &mut screen).await,
        None => here::pull(order, arguments, settings, &mut screen).await,
    };
    screen.end();
    match ended {
        Ok(Ended::Done(name)) => end::done(&name, arguments.json, settings),
        Ok(Ended::Paused(state)) => {
            Err(end::paused(&state, order, client.is_some(), arguments.json)?)
        }
        Err(error) => Err(end::failed(error, arguments.json)?),
    }
}

/// The hub, if one of ours runs. What else listens at the address is no reason not to pull.
async fn client_if_any(settings: &Settings, is_needed: bool) -> anyhow::Result<Option<Client>> {
    match Client::find(settings).await {
        Ok(client) => Ok(Some(client)),
        Err(error) if is_needed => Err(error.with_code()),
        Err(client::Error::NoHub { .. } | client::Error::NotOurs { .. }) => Ok(None),
        Err(error @ (client::Error::Refused { .. } | client::Error::Broken { .. })) => {
            Err(error.with_code())
        }
    }
}

/// The way to servers elsewhere that the settings and the environment allow.
///
/// # Errors
/// With [`Code::Usage`] when one of them names no server, or a token cannot be sent.
pub(crate) fn access(settings: &Settings) -> anyhow::Result<Access> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let access = Access::new(&options(&settings.library, variable));
    access.map_err(|error| exit::error(Code::Usage, error.to_string()))
}

/// Variables win over the file, as everywhere.
fn options(own: &Library, variable: impl Fn(&str) -> Option<String>) -> sources::Options {
    let is_set = |names: &[&str]| names.iter().any(|name| variable(name).is_some());
    let mut options = sources::Options::from_environment(&variable);
    options.offline |= own.offline;
    if let Some(endpoint) = &own.hf_endpoint
        && !is_set(&["RESIDENT_HF_ENDPOINT", "HF_ENDPOINT"])
    {
        options.hugging_face.clone_from(endpoint);
    }
    if !is_set(&["RESIDENT_HF_MIRRORS"]) {
        options.hugging_face_mirrors.clone_from(&own.mirrors);
    }
    options
}

/// What one pull may take, by the settings.
pub(crate) fn terms(settings: &Settings) -> Terms {
    let own = &settings.library;
    let mut terms = Terms::default();
    terms.connections = own.connections.unwrap_or(terms.connections);
    terms.rate = own.rate_bytes_per_s.map(|bytes_per_s| Arc::new(Rate::new(bytes_per_s)));
    terms
}

/// What the store says, with the code of a model that is not there.
pub(crate) fn of_store(error: store::Error) -> anyhow::Error {
    let code = match &error {
        store::Error::NoModel { .. } => Code::Model,
        store::Error::Capitals { .. } | store::Error::Manifest { .. } => Code::Usage,
        store::Error::From { .. } | store::Error::File { .. } => Code::Model,
        store::Error::Io { .. }
        | store::Error::NoBlob { .. }
        | store::Error::NoLinks { .. }
        | store::Error::Digest { .. } => Code::Failure,
    };
    exit::error(code, terminal::inert(&error.to_string()))
}

/// Whether a server knows of no such model, or cannot be asked.
fn of_outside(error: &outside::Error) -> Code {
    match error {
        outside::Error::Refused { status: 401 | 403 | 404 | 410, .. } => Code::Model,
        outside::Error::Setting { .. } => Code::Usage,
        outside::Error::Refused { .. }
        | outside::Error::Offline { .. }
        | outside::Error::Client { .. }
        | outside::Error::Unreachable { .. }
        | outside::Error::Silent { .. }
        | outside::Error::Redirect { .. }
        | outside::Error::Broken { .. } => Code::Elsewhere,
    }
}

/// What a source says, with the code of servers, or of a model that is not there.
pub(crate) fn of_source(error: sources::Error) -> anyhow::Error {
    let code = match &error {
        sources::Error::Source { .. }
        | sources::Error::Companion { .. }
        | sources::Error::NoModel { .. }
        | sources::Error::NotThere { .. }
        | sources::Error::Several { .. }
        | sources::Error::Header { .. }
        | sources::Error::Split { .. } => Code::Model,
        sources::Error::Outside(error) => of_outside(error),
        sources::Error::Slow { .. }
        | sources::Error::Lengths { .. }
        | sources::Error::Limit { .. }
        | sources::Error::List { .. }
        | sources::Error::Answer { .. }
        | sources::Error::Manifest { .. }
        | sources::Error::Digest { .. } => Code::Elsewhere,
    };
    exit::error(code, terminal::inert(&error.to_string()))
}

/// The store of these settings.
///
/// # Errors
/// When its folder is none.
pub(crate) fn store(settings: &Settings) -> anyhow::Result<Store> {
    settings.catalog.library().context("cannot use the library")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_win_over_the_file_and_either_closes_the_way_out() {
        let own = Library {
            hf_endpoint: Some("https://file".to_owned()),
            mirrors: vec!["https://mirror".to_owned()],
            ..Library::default()
        };
        let with = |pairs: &[(&str, &str)], own: &Library| {
            options(own, |name| {
                pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            })
        };
        let plain = with(&[], &own);
        assert_eq!(plain.hugging_face, "https://file");
        assert_eq!(plain.hugging_face_mirrors, ["https://mirror"]);
        assert!(!plain.offline);
        for name in ["HF_ENDPOINT", "RESIDENT_HF_ENDPOINT"] {
            assert_eq!(with(&[(name, "https://said")], &own).hugging_face, "https://said");
        }
        let mirrors = with(&[("RESIDENT_HF_MIRRORS", "https://a")], &own).hugging_face_mirrors;
        assert_eq!(mirrors, ["https://a"]);
        assert!(with(&[("RESIDENT_OFFLINE", "1")], &own).offline);
        let closed = Library { offline: true, ..own };
        assert!(with(&[("RESIDENT_OFFLINE", "0")], &closed).offline);
    }
}
