//! What the user wrote in the configuration file, as it stands.
//!
//! An unknown key is an error, because a misspelt limit that is silently ignored is worse than
//! none. Not here: defaults, flags, and what the values mean together (`resolved`).

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

/// The configuration file.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Address to listen on.
    pub(crate) listen: Option<String>,
    /// Key that clients must send.
    pub(crate) key: Option<String>,
    /// Whether an address other machines can reach is allowed.
    pub(crate) allow_lan: Option<bool>,
    /// Host names under which this machine is reached, beside the local ones.
    pub(crate) hosts: Option<Vec<String>>,
    /// Web origins whose pages may call the hub.
    pub(crate) origins: Option<Vec<String>>,
    /// Where the program keeps its files.
    pub(crate) data_dir: Option<PathBuf>,
    /// The models folder.
    pub(crate) models_dir: Option<PathBuf>,
    /// The worker's executable.
    pub(crate) worker: Option<PathBuf>,
    /// Context of each model, in tokens.
    pub(crate) context: Option<u32>,
    /// Memory for models, as `12GB`.
    pub(crate) budget: Option<String>,
    /// How long an idle model stays, as `10m`.
    pub(crate) idle_unload: Option<String>,
    /// Threads of a worker's step.
    pub(crate) threads: Option<u32>,
    /// Sequences a worker runs at once.
    pub(crate) parallel: Option<u32>,
    /// Models that lie elsewhere or differ.
    #[serde(default)]
    pub(crate) models: BTreeMap<String, Model>,
}

/// One `[models.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Model {
    /// Its GGUF file.
    pub(crate) path: PathBuf,
    /// Its context, in tokens.
    pub(crate) context: Option<u32>,
}

/// Reads the text of a configuration file.
///
/// # Errors
/// One sentence that begins with the line (`line 3: …`), and for an unknown key names the nearest.
pub(crate) fn parse(text: &str) -> Result<Config, String> {
    toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let line = 1 + text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count();
        format!("line {line}: {}", what(error.message()))
    })
}

/// The parser's message in our words. Serde says "unknown field `a`, expected one of `b`, `c`":
/// the first quoted word is what was written, the others are all that may be.
fn what(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    if !message.starts_with("unknown field") {
        return message.to_owned();
    }
    let Some(written) = quoted.next() else { return message.to_owned() };
    let known: Vec<&str> = quoted.collect();
    match crate::models::nearest(written, known.iter().copied()) {
        Some(nearest) => format!("unknown key '{written}'; did you mean '{nearest}'?"),
        None => format!("unknown key '{written}'; the keys are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read() {
        let config = parse(
            r#"
            listen = "127.0.0.1:1234"
            key = "k"
            allow_lan = true
            hosts = ["hub.local"]
            origins = ["http://a"]
            data_dir = "d"
            models_dir = "m"
            worker = "w"
            context = 4096
            budget = "12GB"
            idle_unload = "10m"
            threads = 4
            parallel = 8
            [models.chat]
            path = "x.gguf"
            context = 8192
            [models."qwen3:8b"]
            path = "y.gguf"
            "#,
        )
        .unwrap();
        assert_eq!(config.context, Some(4096));
        assert_eq!(config.models["chat"].context, Some(8192));
        assert_eq!(config.models["qwen3:8b"].path, PathBuf::from("y.gguf"));
        assert_eq!(parse(""), Ok(Config::default()));
    }

    #[test]
    fn errors_name_the_line_the_key_and_the_way_out() {
        for (text, message) in [
            ("\n\ncontxt = 4096\n", "line 3: unknown key 'contxt'; did you mean 'context'?"),
            (
                "[models.chat]\npath = \"x\"\ncontex = 1\n",
                "line 3: unknown key 'contex'; did you mean 'context'?",
            ),
            (
                "[models.chat]\npath = \"x\"\nzzz = 1\n",
                "line 3: unknown key 'zzz'; the keys are path, context",
            ),
            ("[models.chat]\ncontext = 1\n", "line 1: missing field `path`"),
            ("context = \"big\"\n", "line 1: invalid type: string \"big\", expected u32"),
            ("context = -1\n", "line 1: invalid value: integer `-1`, expected u32"),
            ("listen = \n", "line 1: string values must be quoted, expected literal string"),
            ("key = \"a\"\nkey = \"b\"\n", "line 2: duplicate key"),
        ] {
            assert_eq!(parse(text).unwrap_err(), message, "{text}");
        }
    }
}
