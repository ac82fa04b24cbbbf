//! `[models.NAME]`: a file of our own worker, or a program that is started for it; and how the model
//! is treated.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use planner::{draft::limits::DRAFT_TOKENS_MAX, footprint::CacheType};
use supervisor::{ManagedCommand, Ready, StopSignal};
use worker_protocol::{
    Adapter, Scale,
    limits::{ADAPTER_SCALE_MAX, ADAPTERS_MAX},
};

use super::{
    super::{
        preset,
        raw::{self, Api},
    },
    group::{Draft, Eyes, Groups, Guesses, Membership, Treatment},
    here::{self, Here},
};
use crate::models;

/// What a model of the file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// A file, or what differs for one in the models folder.
    File {
        /// Where it is; `None` in the models folder.
        path: Option<PathBuf>,
        /// Its own context.
        context_tokens: Option<u32>,
    },
    /// A program that is started for it.
    Command(Arc<ManagedCommand>),
}

/// Reads one table.
///
/// # Errors
/// A fragment that begins with the key.
pub(super) fn read(
    here: &Here<'_>,
    groups: &Groups,
    name: &str,
    raw: raw::Model,
) -> Result<(Entry, Treatment), String> {
    let treatment = treatment(here, groups, &raw)?;
    if raw.context == Some(0) {
        return Err("context is 0; it must be 1 or more, or left out".to_owned());
    }
    let ways = [raw.path.is_some(), raw.engine.is_some(), raw.command.is_some()];
    if ways.iter().filter(|given| **given).count() > 1 {
        return Err("path, engine and command exclude each other: path serves a GGUF file with \
                    the hub's own worker, engine and command start a program; keep one"
            .to_owned());
    }
    if let Some(path) = &raw.path {
        refuse_of_programs(&raw, "path names a GGUF file, which the hub's own worker serves")?;
        let path = Some(here.path(path));
        return Ok((Entry::File { path, context_tokens: raw.context }, treatment));
    }
    if raw.engine.is_none() && raw.command.is_none() {
        refuse_of_programs(&raw, "there is no engine or command")?;
        return Ok((Entry::File { path: None, context_tokens: raw.context }, treatment));
    }
    if raw.projector.is_some() {
        return Err(
            "projector is for the hub's own worker; a program that is started takes its own as \
                    one of its arguments"
                .to_owned(),
        );
    }
    if raw.adapters.is_some() {
        return Err(
            "adapters is for the hub's own worker; a program that is started loads adapters as \
                    its arguments say"
                .to_owned(),
        );
    }
    let of_worker = [("kv_cache", raw.kv_cache.is_some()), ("kv_type", raw.kv_type.is_some())];
    if let Some((key, _)) = of_worker.iter().find(|(_, given)| *given) {
        return Err(format!(
            "{key} is for the hub's own worker; a program that is started keeps its cache itself"
        ));
    }
    let speculation = [
        ("speculation", raw.speculation.is_some()),
        ("draft", raw.draft.is_some()),
        ("draft_tokens", raw.draft_tokens.is_some()),
    ];
    if let Some((key, _)) = speculation.iter().find(|(_, given)| *given) {
        return Err(format!(
            "{key} is for the hub's own worker; a program that is started guesses ahead as its \
             arguments say"
        ));
    }
    let command = command(here, name, raw)?;
    Ok((Entry::Command(Arc::new(command)), treatment))
}

fn treatment(here: &Here<'_>, groups: &Groups, raw: &raw::Model) -> Result<Treatment, String> {
    Ok(Treatment {
        pinned: raw.pin.unwrap_or(false),
        membership: match raw.group.as_deref() {
            None => Membership::BySize,
            Some(group) => groups.membership(group)?,
        },
        idle_unload: raw.idle_unload.as_deref().map(here::idle).transpose()?,
        keep: raw.kv_cache.map(raw::KvCache::mode),
        guesses: guesses(here, raw)?,
        eyes: match &raw.projector {
            None | Some(raw::Projector::Beside(true)) => Eyes::Beside,
            Some(raw::Projector::Beside(false)) => Eyes::Closed,
            Some(raw::Projector::File(path)) => Eyes::File(here.path(path)),
        },
        draft_tokens: match raw.draft_tokens {
            Some(0) => return Err("draft_tokens is 0; write speculation = \"off\"".to_owned()),
            Some(tokens) if tokens as usize > DRAFT_TOKENS_MAX => {
                return Err(format!(
                    "draft_tokens is {tokens}; at most {DRAFT_TOKENS_MAX} are guessed at a time"
                ));
            }
            tokens => tokens,
        },
        adapters: adapters(here, raw.adapters.as_deref().unwrap_or_default())?,
        kv_type: match raw.kv_type.as_deref().map(CacheType::from_name) {
            None => None,
            Some(Ok(kv_type)) => Some(kv_type),
            Some(Err(why)) => return Err(format!("kv_type: {why}")),
        },
    })
}

/// What changes the model's weights.
fn adapters(here: &Here<'_>, raw: &[raw::Adapter]) -> Result<Vec<Adapter>, String> {
    if raw.len() > ADAPTERS_MAX {
        return Err(format!(
            "adapters has {} entries, and at most {ADAPTERS_MAX} are loaded with a model; merge some \
             into one",
            raw.len()
        ));
    }
    let mut adapters: Vec<Adapter> = Vec::new();
    for one in raw {
        let path = here.path(&one.path);
        let stem = || path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let name = one.name.clone().or_else(stem).unwrap_or_default();
        let scale = one.scale.unwrap_or(Scale(1.0));
        if !scale.0.is_finite() || scale.0.abs() > ADAPTER_SCALE_MAX {
            return Err(format!(
                "adapters: the scale of '{name}' is {}; it must be from -{ADAPTER_SCALE_MAX} to \
                 {ADAPTER_SCALE_MAX}, and is 1 as the adapter was trained",
                scale.0
            ));
        }
        if adapters.iter().any(|other| other.name == name) {
            return Err(format!(
                "adapters: two are called '{name}'; give one another name, or leave it out"
            ));
        }
        adapters.push(Adapter { name, path, scale });
    }
    Ok(adapters)
}

/// What the model guesses ahead from. Whatever it is, no more is guessed than is seen to pay.
fn guesses(here: &Here<'_>, raw: &raw::Model) -> Result<Option<Guesses>, String> {
    let draft = raw.draft.as_deref().map(|draft| {
        let is_name = models::check_name(draft).is_ok() && !draft.ends_with(".gguf");
        if is_name {
            Draft::Model(draft.to_owned())
        } else {
            Draft::File(here.path(draft.as_ref()))
        }
    });
    let word = match (raw.speculation, &draft) {
        (Some(word), _) => word,
        (None, Some(_)) => raw::Speculation::Draft,
        (None, None) => return Ok(None),
    };
    let guesses = match (word, draft) {
        (raw::Speculation::Auto | raw::Speculation::Draft, Some(draft)) => Guesses::Draft(draft),
        (raw::Speculation::Draft, None) => {
            return Err("speculation = \"draft\" needs a model that guesses: write draft = \
                        \"NAME\" or draft = \"FILE.gguf\""
                .to_owned());
        }
        (raw::Speculation::Off | raw::Speculation::Lookup | raw::Speculation::Mtp, Some(_)) => {
            return Err(
                "draft names a model that guesses, but speculation says otherwise; keep one"
                    .to_owned(),
            );
        }
        (raw::Speculation::Auto | raw::Speculation::Lookup, None) => Guesses::Lookup,
        (raw::Speculation::Off, None) => Guesses::Off,
        (raw::Speculation::Mtp, None) => Guesses::Head,
    };
    Ok(Some(guesses))
}

/// What models guess ahead from that have no word of their own.
///
/// # Errors
/// A sentence that begins with the key.
pub(super) fn general_guesses(word: Option<raw::Speculation>) -> Result<Guesses, String> {
    match word.unwrap_or(raw::Speculation::Auto) {
        raw::Speculation::Auto | raw::Speculation::Lookup => Ok(Guesses::Lookup),
        raw::Speculation::Off => Ok(Guesses::Off),
        raw::Speculation::Draft => Err("speculation: each model has a draft of its own; write \
                                        [models.NAME] draft = \"FILE.gguf\""
            .to_owned()),
        raw::Speculation::Mtp => Err("speculation: only some files have layers that guess ahead; \
                                      write [models.NAME] speculation = \"mtp\""
            .to_owned()),
    }
}

/// Keys that only mean something for a program must not be ignored without one.
fn refuse_of_programs(raw: &raw::Model, why: &str) -> Result<(), String> {
    let keys = [
        ("model", raw.model.is_some()),
        ("program", raw.program.is_some()),
        ("arguments", raw.arguments.is_some()),
        ("environment", raw.environment.is_some()),
        ("environment_from", raw.environment_from.is_some()),
        ("memory", raw.memory.is_some()),
        ("ready", raw.ready.is_some()),
        ("ready_wait", raw.ready_wait.is_some()),
        ("stop", raw.stop.is_some()),
        ("stop_grace", raw.stop_grace.is_some()),
        ("api", raw.api != Api::default()),
    ];
    match keys.iter().find(|(_, given)| *given) {
        Some((key, _)) => Err(format!("{key} is for a program that is started, but {why}")),
        None => Ok(()),
    }
}

fn command(here: &Here<'_>, name: &str, raw: raw::Model) -> Result<ManagedCommand, String> {
    let engine = raw.engine.as_deref().unwrap_or("openai");
    let preset = preset::find(&here.presets.engines, "engine", engine)?;
    let words = match &raw.command {
        Some(command) if raw.program.is_some() || raw.arguments.is_some() => {
            return Err(format!(
                "program and arguments add to a preset, but command says everything already: {}",
                command.join(" ")
            ));
        }
        Some(command) => command.clone(),
        None if preset.command.is_empty() => {
            return Err(format!(
                "engine '{engine}' has no program of its own; write command = [..]"
            ));
        }
        None => preset.command.clone(),
    };
    let mut words = words;
    if let Some(context) = raw.context {
        let mut set = preset.context_arguments.clone();
        here::put(&mut set, "context", &context.to_string());
        words.extend(set);
    }
    let mut argv = here::argv(here, &words, raw.program.as_deref(), raw.arguments)?;
    let mut api = preset.api.clone();
    let model = raw.model.as_deref().map(|model| here.word(model));
    let folder = here.data_dir.join("engines").join(name).display().to_string();
    put_model(&mut argv, api.model.as_mut(), model.as_deref(), engine)?;
    here::put(&mut argv, "folder", &folder);
    refuse_unknown(&argv)?;

    let mut own = raw.api;
    own.context = own.context.or(raw.context);
    let manner = here::manner(&api, &own)?;
    api.model.clone_from(&manner.model);
    let ready = raw.ready.as_deref().unwrap_or(&preset.ready);
    let time =
        |key, own: &Option<String>, preset: &str| here::span(key, own.as_deref().unwrap_or(preset));
    Ok(ManagedCommand {
        environment: here.environment(
            &format!("model '{name}'"),
            (&preset.environment, &preset.environment_from),
            raw.environment,
            raw.environment_from.as_deref().unwrap_or_default(),
        )?,
        memory_bytes: memory(raw.memory.as_deref().or(preset.memory.as_deref()))?,
        ready: self::ready(ready, manner.chat || manner.completions)?,
        ready_wait_max: time("ready_wait", &raw.ready_wait, &preset.ready_wait)?,
        stop_signal: stop(raw.stop.as_deref().unwrap_or(&preset.stop))?,
        stop_grace: time("stop_grace", &raw.stop_grace, &preset.stop_grace)?,
        argv,
        model,
        manner,
    })
}

/// Puts the two parts of the model's path where a preset wants them. `{model}` itself is left to
/// whoever starts the program.
fn put_model(
    argv: &mut [String],
    sent: Option<&mut String>,
    model: Option<&str>,
    engine: &str,
) -> Result<(), String> {
    let wants = |text: &String| here::placeholders(text).any(|name| name.starts_with("model"));
    let Some(model) = model else {
        if argv.iter().any(wants) {
            return Err(format!(
                "model is missing: {engine} must be told what to load; write for example model = \
                 \"~/models/qwen3-8b\""
            ));
        }
        return Ok(());
    };
    let path = Path::new(model);
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let folder = path.parent().unwrap_or(Path::new("")).display().to_string();
    here::put(argv, "model.name", &name);
    here::put(argv, "model.folder", &folder);
    if let Some(sent) = sent {
        here::put(std::slice::from_mut(sent), "model.name", &name);
    }
    Ok(())
}

fn refuse_unknown(argv: &[String]) -> Result<(), String> {
    let names: Vec<&str> = argv.iter().flat_map(|argument| here::placeholders(argument)).collect();
    if let Some(unknown) = names.iter().find(|name| !["port", "model", "key"].contains(name)) {
        return Err(format!(
            "command: nobody says what {{{unknown}}} is; there are {{port}}, {{key}}, {{model}}, \
             {{model.folder}}, {{model.name}} and {{folder}}"
        ));
    }
    if !names.contains(&"port") {
        return Err("command has no {port}: the hub chooses a free port, so that engines do not \
                    collide; write it where the program takes its port"
            .to_owned());
    }
    Ok(())
}

fn memory(text: Option<&str>) -> Result<u64, String> {
    let Some(text) = text else {
        return Err(
            "memory is missing: nobody can tell beforehand what this program takes; write \
                    for example memory = \"6GB\""
                .to_owned(),
        );
    };
    here::bytes("memory", text)
}

/// How to see that a server is ready.
pub(super) fn ready(text: &str, completes: bool) -> Result<Ready, String> {
    match text {
        "completion" if completes => Ok(Ready::Completion),
        "completion" => {
            Err("ready is 'completion', but api says that it completes nothing; write \
                             a path such as \"/health\""
                .to_owned())
        }
        path if path.starts_with('/') => Ok(Ready::Path(path.to_owned())),
        other => Err(format!(
            "ready: '{other}' is neither a path such as \"/health\" nor \"completion\""
        )),
    }
}

fn stop(text: &str) -> Result<StopSignal, String> {
    match text {
        "terminate" => Ok(StopSignal::Terminate),
        "interrupt" => Ok(StopSignal::Interrupt),
        other => Err(format!("stop: '{other}' is neither \"terminate\" nor \"interrupt\"")),
    }
}
