//! `[tools.NAME]`: programs that run once for each request.

use std::{collections::BTreeMap, path::Path};

use supervisor::{Input, Output, Serves, Tool};

use super::{
    super::{preset, raw},
    here::{self, Here},
};
use crate::{
    limits::{TOOL_OUTPUT_BYTES_MAX, TOOL_TIME_MAX},
    models,
};

/// What a request may say in an argument, beside what a tool's own `defaults` name.
const REQUEST_VALUES: [&str; 16] = [
    "input",
    "output",
    "output_stem",
    "prompt",
    "voice",
    "language",
    "speed",
    "words_per_minute",
    "length_scale",
    "temperature",
    "format",
    "size",
    "width",
    "height",
    "seed",
    "page",
];

/// Reads one table.
///
/// # Errors
/// A fragment that begins with the key.
pub(super) fn read(here: &Here<'_>, name: &str, raw: raw::Tool) -> Result<Tool, String> {
    models::check_name(name).map_err(|error| error.to_string())?;
    let preset = raw.preset.as_deref();
    let preset =
        preset.map(|name| preset::find(&here.presets.tools, "preset", name)).transpose()?;
    let mut defaults = preset.map(|preset| preset.defaults.clone()).unwrap_or_default();
    defaults.extend(raw.defaults.clone());
    let mut voices = preset.map(|preset| preset.voices.clone()).unwrap_or_default();
    voices.extend(raw.voices.clone());
    let argv = argv(here, &raw, preset, &defaults)?;

    let named = |name: &str| argv.iter().any(|text| here::placeholders(text).any(|it| it == name));
    let input = raw.input.as_ref().or(preset.and_then(|preset| preset.input.as_ref()));
    let output = raw.output.as_ref().or(preset.and_then(|preset| preset.output.as_ref()));
    let (input, output) = (
        ending("input", input, named("input"))?,
        ending("output", output, named("output") || named("output_stem"))?,
    );
    let no_variables = BTreeMap::new();
    let variables = preset
        .map_or((&no_variables, &[][..]), |preset| (&preset.environment, &preset.environment_from));
    let tool = Tool {
        name: name.to_owned(),
        environment: here.environment(
            &format!("tool '{name}'"),
            variables,
            raw.environment.clone(),
            raw.environment_from.as_deref().unwrap_or_default(),
        )?,
        memory_bytes: memory(&raw, preset)?,
        time_max: match raw.time_limit.as_ref().or(preset.map(|preset| &preset.time_limit)) {
            Some(text) => here::span("time_limit", text)?,
            None => TOOL_TIME_MAX,
        },
        output_bytes_max: match raw.output_limit.as_ref().or(preset.map(|it| &it.output_limit)) {
            Some(text) => here::bytes("output_limit", text)?,
            None => TOOL_OUTPUT_BYTES_MAX,
        },
        serves: serves(raw.serves.as_ref().or(preset.map(|preset| &preset.serves)))?,
        input: match input {
            Some(extension) => Input::File { extension },
            None if named("prompt") => Input::None,
            None => Input::Stdin,
        },
        output: output.map_or(Output::Stdout, |extension| Output::File { extension }),
        content_type: content_type(
            raw.content_type.as_ref().or(preset.map(|preset| &preset.content_type)),
        )?,
        argv,
        defaults,
        voices,
    };
    tool.check()?;
    Ok(tool)
}

/// Program and arguments, with everything put in that does not come from a request.
fn argv(
    here: &Here<'_>,
    raw: &raw::Tool,
    preset: Option<&preset::Tool>,
    defaults: &BTreeMap<String, String>,
) -> Result<Vec<String>, String> {
    let command = match (&raw.command, preset) {
        (Some(_), Some(_)) => {
            return Err("preset and command exclude each other: a preset has its command; keep \
                        one, and change a preset's with program and arguments"
                .to_owned());
        }
        (Some(command), None) => command,
        (None, Some(preset)) => &preset.command,
        (None, None) => {
            return Err("there is no preset and no command; write for example preset = \
                        \"espeak-ng\""
                .to_owned());
        }
    };
    let mut argv = here::argv(here, command, raw.program.as_deref(), raw.arguments.clone())?;
    if let Some(model) = &raw.model {
        here::put(&mut argv, "model", &here.word(model));
    }
    for (name, path) in &raw.paths {
        if defaults.contains_key(name) || REQUEST_VALUES.contains(&name.as_str()) {
            return Err(format!(
                "paths: requests may say what {{{name}}} is, so it is no place for a path of \
                 yours; name it otherwise"
            ));
        }
        here::put(&mut argv, name, &here.path(Path::new(path)).display().to_string());
    }
    let unknown = argv
        .iter()
        .flat_map(|text| here::placeholders(text))
        .find(|name| !REQUEST_VALUES.contains(name) && !defaults.contains_key(*name))
        .map(str::to_owned);
    match unknown.as_deref() {
        None => Ok(argv),
        Some("model") => Err("model is missing: the program must be told what to load; write for \
                              example model = \"~/models/x.bin\""
            .to_owned()),
        Some(name) => Err(format!(
            "command: nobody says what {{{name}}} is; say it under paths if it is a path of yours, \
             or under defaults if requests may say it; they say {}",
            REQUEST_VALUES.join(", ")
        )),
    }
}

/// Ending of the file that a placeholder is, if it stands in the command.
fn ending(key: &str, text: Option<&String>, is_named: bool) -> Result<Option<String>, String> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return match is_named {
            true => {
                Err(format!("{key} is missing: say how the file of {{{key}}} ends, as \"wav\""))
            }
            false => Ok(None),
        };
    };
    let ending = text.trim_start_matches('.');
    if ending.is_empty() || !ending.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(format!(
            "{key}: '{text}' is not the ending of a file's name; write as \"wav\""
        ));
    }
    match is_named {
        true => Ok(Some(ending.to_owned())),
        false => Err(format!("{key} says how a file ends, but the command has no {{{key}}}")),
    }
}

fn memory(raw: &raw::Tool, preset: Option<&preset::Tool>) -> Result<u64, String> {
    match raw.memory.as_ref().or(preset.and_then(|preset| preset.memory.as_ref())) {
        Some(text) => here::bytes("memory", text),
        None => {
            Err("memory is missing: nobody can tell beforehand what this program takes; write \
                     for example memory = \"2GB\""
                .to_owned())
        }
    }
}

fn serves(text: Option<&String>) -> Result<Serves, String> {
    match text.map(String::as_str) {
        Some("speak") => Ok(Serves::Speak),
        Some("listen") => Ok(Serves::Listen),
        Some("draw") => Ok(Serves::Draw),
        Some("tool") | None => Ok(Serves::Tool),
        Some(other) => Err(format!("serves: '{other}' is not one of speak, listen, draw, tool")),
    }
}

fn content_type(text: Option<&String>) -> Result<String, String> {
    let text = text.map_or("application/octet-stream", String::as_str);
    let is_header = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if is_header && text.contains('/') {
        return Ok(text.to_owned());
    }
    Err(format!("content_type: '{text}' is not a media type; write for example audio/wav"))
}
