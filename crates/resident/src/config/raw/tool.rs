//! What the user wrote about one-shot tools.

use std::collections::BTreeMap;

use serde::Deserialize;

/// One `[tools.NAME]`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tool {
    /// A preset that says how to run the program.
    pub(crate) preset: Option<String>,
    /// Program and arguments, instead of a preset.
    pub(crate) command: Option<Vec<String>>,
    /// Where the preset's program is.
    pub(crate) program: Option<String>,
    /// Further arguments behind those of the preset.
    pub(crate) arguments: Option<Vec<String>>,
    /// What `{model}` means: a file, a folder or a name.
    pub(crate) model: Option<String>,
    /// What further `{NAME}`s mean that no request may say, because they are paths.
    #[serde(default)]
    pub(crate) paths: BTreeMap<String, String>,
    /// What `{NAME}`s mean when a request does not say.
    #[serde(default)]
    pub(crate) defaults: BTreeMap<String, String>,
    /// What this program calls a voice that clients name otherwise.
    #[serde(default)]
    pub(crate) voices: BTreeMap<String, String>,
    /// Variables of the program.
    pub(crate) environment: Option<BTreeMap<String, String>>,
    /// The hub's own variables that the program gets too.
    pub(crate) environment_from: Option<Vec<String>>,
    /// Memory the program takes, as `200MB`.
    pub(crate) memory: Option<String>,
    /// How long it may run, as `2m`.
    pub(crate) time_limit: Option<String>,
    /// How much it may give, as `50MB`.
    pub(crate) output_limit: Option<String>,
    /// What it is for: `speak`, `listen`, `draw` or `tool`.
    pub(crate) serves: Option<String>,
    /// Ending of the file that `{input}` is, as `wav`.
    pub(crate) input: Option<String>,
    /// Ending of the file that `{output}` is, as `wav`.
    pub(crate) output: Option<String>,
    /// What it gives, as `audio/wav`.
    pub(crate) content_type: Option<String>,
}
