//! The presets that ship with the program: how to start and talk to engines and tools that people
//! have.
//!
//! They are data (`presets.toml`), each with the source of its facts. Not here: what the user's own
//! settings change about them (`resolved`).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::raw::Api;

const TEXT: &str = include_str!("presets.toml");

/// All presets.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Presets {
    /// Engines that the hub starts.
    pub(crate) engines: BTreeMap<String, Engine>,
    /// Servers that run already.
    pub(crate) upstreams: BTreeMap<String, Upstream>,
    /// Tools that run once.
    pub(crate) tools: BTreeMap<String, Tool>,
}

impl Presets {
    /// Those that ship with this program.
    ///
    /// # Errors
    /// Never in a program that passed its tests; the parser's sentence otherwise.
    pub(crate) fn shipped() -> Result<Self, String> {
        toml::from_str(TEXT).map_err(|error| format!("the program's own presets: {error}"))
    }
}

/// The preset called `name`, or a fragment that names the nearest.
///
/// # Errors
/// When there is none.
pub(crate) fn find<'a, T>(
    presets: &'a BTreeMap<String, T>,
    key: &str,
    name: &str,
) -> Result<&'a T, String> {
    presets.get(name).ok_or_else(|| {
        let names = || presets.keys().map(String::as_str);
        match crate::models::nearest(name, names()) {
            Some(nearest) => {
                format!("{key} '{name}' is not known; did you mean '{nearest}'?")
            }
            None => format!(
                "{key} '{name}' is not known; there are {}",
                names().collect::<Vec<_>>().join(", ")
            ),
        }
    })
}

/// An engine that the hub starts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Engine {
    /// Required, so that no preset comes without one; whoever wonders reads it in the file.
    #[serde(rename = "source")]
    _source: String,
    /// Program and arguments; empty where the user must say.
    #[serde(default)]
    pub(crate) command: Vec<String>,
    /// Arguments that set the context, if it has any for that.
    #[serde(default)]
    pub(crate) context_arguments: Vec<String>,
    /// Its variables.
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
    /// The hub's variables that it gets too, where they are set.
    #[serde(default)]
    pub(crate) environment_from: Vec<String>,
    /// Memory it takes, where that does not depend on the model.
    pub(crate) memory: Option<String>,
    /// How to see that it is ready.
    pub(crate) ready: String,
    /// How long it may take to be ready.
    pub(crate) ready_wait: String,
    /// How it is told to stop.
    pub(crate) stop: String,
    /// How long it may take to stop.
    pub(crate) stop_grace: String,
    /// How it differs from OpenAI.
    #[serde(default)]
    pub(crate) api: Api,
}

/// A kind of server that runs already.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Upstream {
    /// Required, so that no preset comes without one; whoever wonders reads it in the file.
    #[serde(rename = "source")]
    _source: String,
    /// Where it is when nobody says.
    pub(crate) server: Option<String>,
    /// How to see that it is well.
    pub(crate) health: String,
    /// How it differs from OpenAI.
    #[serde(default)]
    pub(crate) api: Api,
}

/// A tool that runs once.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tool {
    /// Required, so that no preset comes without one; whoever wonders reads it in the file.
    #[serde(rename = "source")]
    _source: String,
    /// Program and arguments.
    pub(crate) command: Vec<String>,
    /// Its variables.
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
    /// The hub's variables that it gets too, where they are set.
    #[serde(default)]
    pub(crate) environment_from: Vec<String>,
    /// What `{NAME}`s mean when a request does not say.
    #[serde(default)]
    pub(crate) defaults: BTreeMap<String, String>,
    /// What it calls the voices that OpenAI's clients name.
    #[serde(default)]
    pub(crate) voices: BTreeMap<String, String>,
    /// Memory it takes, where that does not depend on the model.
    pub(crate) memory: Option<String>,
    /// How long it may run.
    pub(crate) time_limit: String,
    /// How much it may give.
    pub(crate) output_limit: String,
    /// What it is for.
    pub(crate) serves: String,
    /// Ending of the file that `{input}` is.
    pub(crate) input: Option<String>,
    /// Ending of the file that `{output}` is.
    pub(crate) output: Option<String>,
    /// What it gives.
    pub(crate) content_type: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_read_and_has_its_source() {
        let presets = Presets::shipped().unwrap();
        let engines = presets.engines.values().map(|preset| &preset._source);
        let upstreams = presets.upstreams.values().map(|preset| &preset._source);
        let tools = presets.tools.values().map(|preset| &preset._source);
        assert!(engines.chain(upstreams).chain(tools).all(|source| source.len() > 10));
    }

    #[test]
    fn a_preset_that_nobody_has_names_the_nearest() {
        let presets = Presets::shipped().unwrap();
        let wrong = |name| find(&presets.engines, "engine", name).unwrap_err();
        assert_eq!(
            wrong("mlx-lm.server"),
            "engine 'mlx-lm.server' is not known; did you mean 'mlx_lm.server'?"
        );
        assert_eq!(
            wrong("zzz"),
            "engine 'zzz' is not known; there are apfel, fm, llama-server, mlx_lm.server, omlx, \
             openai, vllm, whisper-server"
        );
    }
}
