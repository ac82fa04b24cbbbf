//! What is said when a pull has ended: what the model is called and how to use it, or how to go on.

use library::{manifest::Manifest, name::Name, pull, transfer};

use super::{screen::Event, state::State, subject::Order};
use crate::{
    config::Settings,
    exit::{self, Code},
    plan::taken::{self, Taken},
    size, terminal,
};

/// Says that a model is here, how to use it, and what it takes.
///
/// # Errors
/// When it has no JSON form.
pub(super) fn done(name: &Name, json: bool, settings: &Settings) -> anyhow::Result<()> {
    let store = super::store(settings)?;
    let manifest = store.find(name);
    let path = manifest.as_ref().map(|manifest| store.model_path(manifest));
    // What cannot be planned is here all the same; whoever runs it is told why not.
    let taken = path.and_then(|path| taken::of_file(&path, settings).ok());
    if json {
        let event = Event::Done {
            model: name.as_str(),
            source: manifest.as_ref().map(|manifest| manifest.source.as_str()),
            bytes: manifest.as_ref().map(Manifest::bytes),
            memory_bytes: taken.as_ref().map(|taken| taken.memory_bytes),
        };
        terminal::line(serde_json::to_string(&event)?);
        return Ok(());
    }
    lines(name, manifest.as_ref(), taken.as_ref()).iter().for_each(terminal::line);
    Ok(())
}

fn lines(name: &Name, manifest: Option<&Manifest>, taken: Option<&Taken>) -> Vec<String> {
    let file = manifest.map(|manifest| format!(": {}", size::format(manifest.bytes())));
    let memory = taken.map(|taken| format!(", {} in memory", size::format(taken.memory_bytes)));
    let here = format!("{name} is here{}{}", file.unwrap_or_default(), memory.unwrap_or_default());
    let next = match taken {
        Some(taken) if !taken.writes() => format!("  clients ask for it as {name}"),
        Some(_) | None => format!("  resident run {name}    chats with it"),
    };
    vec![here, next]
}

/// The error that a paused pull ends with: it is not done, and here is how to go on.
///
/// # Errors
/// When it has no JSON form.
pub(super) fn paused(
    state: &State,
    order: &Order,
    is_hubs: bool,
    json: bool,
) -> anyhow::Result<anyhow::Error> {
    if json {
        terminal::line(serde_json::to_string(&Event::Paused(state))?);
    }
    let name = order.name.as_ref().map(|name| format!(" --name {name}")).unwrap_or_default();
    let or_list = if is_hubs { ", or `resident pull --list` and --resume" } else { "" };
    let far = state.percent().map(|percent| format!(" at {percent} %")).unwrap_or_default();
    let message = format!(
        "paused{far}; what came is kept, and `resident pull {}{name}` goes on{or_list}",
        order.shown()
    );
    Ok(exit::error(Code::Interrupted, message))
}

/// Why a pull of this process failed, with its code.
pub(super) fn of_pull(error: pull::Error) -> anyhow::Error {
    let code = match error {
        pull::Error::Source(error) => return super::of_source(error),
        pull::Error::Store(error) => return super::of_store(error),
        pull::Error::Vanishing { .. } => Code::Failure,
        pull::Error::Transfer(ref error) => match error {
            transfer::Error::Outside(error) => super::of_outside(error),
            transfer::Error::Nowhere { .. }
            | transfer::Error::Lies { .. }
            | transfer::Error::Digest { .. }
            | transfer::Error::Changing { .. } => Code::Elsewhere,
            transfer::Error::Space { .. }
            | transfer::Error::Full { .. }
            | transfer::Error::Disk { .. }
            | transfer::Error::Taken { .. } => Code::Failure,
        },
    };
    exit::error(code, terminal::inert(&error.to_string()))
}

/// The error that a failed pull ends with.
///
/// # Errors
/// When it has no JSON form.
pub(super) fn failed(error: anyhow::Error, json: bool) -> anyhow::Result<anyhow::Error> {
    if json {
        let error = format!("{error:#}");
        terminal::line(serde_json::to_string(&Event::Failed { error: &error })?);
    }
    Ok(error)
}
