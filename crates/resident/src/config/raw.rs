//! What the user wrote in the configuration file, as it stands.
//!
//! An unknown key is an error, because a misspelt limit that is silently ignored is worse than
//! none. Not here: defaults, flags, and what the values mean together (`resolved`).

mod engine;
mod kv;
mod library;
mod role;
mod tool;

use std::{collections::BTreeMap, path::PathBuf};

pub(crate) use engine::{Adapter, Api, Model, Projector, ServedNames, Speculation, Upstream};
pub(crate) use kv::{Kv, KvCache};
pub(crate) use library::Library;
pub(crate) use role::{Candidate, Role};
use serde::Deserialize;
pub(crate) use tool::Tool;

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
    /// Whether clients may send grammars of their own.
    pub(crate) raw_grammars: Option<bool>,
    /// Who may do what.
    #[serde(default)]
    pub(crate) security: Security,
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
    /// What models guess ahead from that have no word of their own.
    pub(crate) speculation: Option<Speculation>,
    /// The role or model that is in memory whenever there is room and nothing else to do.
    pub(crate) warm: Option<String>,
    /// Whether a resident model may stand in for one of a role that would have to be loaded.
    pub(crate) prefer_resident: Option<bool>,
    /// Whether servers elsewhere are asked for nothing.
    pub(crate) offline: Option<bool>,
    /// The machine itself.
    #[serde(default)]
    pub(crate) machine: Machine,
    /// The KV cache beside the live cells.
    #[serde(default)]
    pub(crate) kv: Kv,
    /// How models are pulled.
    #[serde(default)]
    pub(crate) library: Library,
    /// A person's files.
    #[serde(default)]
    pub(crate) knowledge: Knowledge,
    /// Groups of models.
    #[serde(default)]
    pub(crate) groups: BTreeMap<String, Group>,
    /// Models that lie elsewhere, are run by another engine, or differ.
    #[serde(default)]
    pub(crate) models: BTreeMap<String, Model>,
    /// Servers that somebody else runs.
    #[serde(default)]
    pub(crate) upstreams: BTreeMap<String, Upstream>,
    /// Programs that run once for each request.
    #[serde(default)]
    pub(crate) tools: BTreeMap<String, Tool>,
    /// Names to use instead of models.
    #[serde(default)]
    pub(crate) roles: BTreeMap<String, Role>,
}

/// `[security]`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Security {
    /// Whether programs of this machine too need the token to pull, make, copy and delete models.
    pub(crate) require_token: Option<bool>,
}

/// `[machine]`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Machine {
    /// Memory that models leave alone, as `25%` or `4GB`.
    pub(crate) reserve: Option<String>,
}

/// `[knowledge]`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Knowledge {
    /// The tool that reads pages which are pictures of text.
    pub(crate) ocr: Option<String>,
    /// The server that has the indexes.
    pub(crate) qdrant: Option<Qdrant>,
}

/// `[knowledge.qdrant]`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Qdrant {
    /// Where it is.
    pub(crate) url: Option<String>,
    /// The variable that holds the key.
    pub(crate) key_variable: Option<String>,
    /// The file that holds the key.
    pub(crate) key_file: Option<PathBuf>,
    /// Read only to say where a key belongs.
    pub(crate) key: Option<String>,
}

/// One `[groups.NAME]`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Group {
    /// Whether at most one of its models is in memory.
    pub(crate) exclusive: Option<bool>,
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
            raw_grammars = true
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
            pin = true
            [knowledge]
            ocr = "scan"
            [security]
            require_token = true
            [machine]
            reserve = "25%"
            [groups.main]
            exclusive = true
            [models.mlx]
            engine = "mlx_lm.server"
            model = "~/models/x"
            memory = "6GB"
            api = { tools = false }
            [upstreams.lab]
            kind = "vllm"
            servers = ["http://lab:8000"]
            key_variable = "LAB_KEY"
            models = ["a", "b"]
            [upstreams.other]
            models = { a = "org/a" }
            [tools.voice]
            preset = "espeak-ng"
            defaults = { voice = "de" }
            [roles]
            daily = ["qwen3-8b", { model = "apple", context_max = 4096 }]
            deep = { models = ["qwen3-32b"], prefer_resident = false }
            "#,
        )
        .unwrap();
        assert_eq!(config.context, Some(4096));
        assert_eq!(config.security.require_token, Some(true));
        assert_eq!(config.models["chat"].context, Some(8192));
        assert_eq!(config.models["qwen3:8b"].path, Some(PathBuf::from("y.gguf")));
        assert_eq!(config.models["mlx"].api.tools, Some(false));
        let same = ServedNames::Same(vec!["a".into(), "b".into()]);
        assert_eq!(config.upstreams["lab"].models, Some(same));
        let renamed = BTreeMap::from([("a".to_owned(), "org/a".to_owned())]);
        assert_eq!(config.upstreams["other"].models, Some(ServedNames::Renamed(renamed)));
        let Role::Candidates(daily) = &config.roles["daily"] else { panic!("a list") };
        assert_eq!(daily[0], Candidate::Name("qwen3-8b".into()));
        let Role::Differing(deep) = &config.roles["deep"] else { panic!("a table") };
        assert_eq!(deep.prefer_resident, Some(false));
        assert_eq!(parse(""), Ok(Config::default()));
    }

    #[test]
    fn every_key_of_the_cache_is_read() {
        let config = parse(
            r#"
            [kv]
            cache = "ram"
            type = "q8_0"
            folder = "k"
            ram = "1GB"
            ssd = "2GB"
            free_floor = "3GB"
            daily_writes = "4GB"
            compress = true
            encrypt = true
            [models.blind]
            projector = false
            [models.seeing]
            projector = "mmproj.gguf"
            [models.kept]
            kv_cache = "off"
            kv_type = "q4_0"
            "#,
        )
        .unwrap();
        assert_eq!(config.models["blind"].projector, Some(Projector::Beside(false)));
        let file = Projector::File("mmproj.gguf".into());
        assert_eq!(config.models["seeing"].projector, Some(file));
        assert_eq!(config.kv.cache, Some(KvCache::Ram));
        assert_eq!(config.kv.kv_type.as_deref(), Some("q8_0"));
        assert_eq!(config.models["kept"].kv_cache, Some(KvCache::Off));
        assert_eq!(config.models["kept"].kv_type.as_deref(), Some("q4_0"));
    }

    #[test]
    fn errors_name_the_line_the_key_and_the_way_out() {
        for (text, message) in [
            ("\n\ncontxt = 4096\n", "line 3: unknown key 'contxt'; did you mean 'context'?"),
            (
                "[models.chat]\npath = \"x\"\ncontex = 1\n",
                "line 3: unknown key 'contex'; did you mean 'context'?",
            ),
            ("[kv]\nforlder = \"k\"\n", "line 2: unknown key 'forlder'; did you mean 'folder'?"),
            (
                "[kv]\ncache = \"disk\"\n",
                "line 2: unknown variant `disk`, expected one of `off`, `ram`, `ssd`",
            ),
            ("[groups.main]\nzzz = 1\n", "line 2: unknown key 'zzz'; the keys are exclusive"),
            (
                "[tools.a]\ntime_limt = \"1m\"\n",
                "line 2: unknown key 'time_limt'; did you mean 'time_limit'?",
            ),
            (
                "[roles]\ndaily = \"a\"\n",
                "line 2: a role must be a list of models such as [\"qwen3-8b\", { model = \"apple\", \
                 context_max = 4096 }], or a table such as { models = [\"qwen3-8b\"], \
                 prefer_resident = false }",
            ),
            (
                "[upstreams.lab]\nmodels = 1\n",
                "line 2: models must be a list of names such as [\"a\", \"b\"], or a table of names \
                 here and there such as { a = \"org/a-8b\" }",
            ),
            (
                "[models.a]\nprojector = 1\n",
                "line 2: projector must be a GGUF file such as \"mmproj-F16.gguf\", or false to leave \
                 the model to text",
            ),
            ("context = \"big\"\n", "line 1: invalid type: string \"big\", expected u32"),
            ("context = -1\n", "line 1: invalid value: integer `-1`, expected u32"),
            ("listen = \n", "line 1: string values must be quoted, expected literal string"),
            ("key = \"a\"\nkey = \"b\"\n", "line 2: duplicate key"),
        ] {
            assert_eq!(parse(text).unwrap_err(), message, "{text}");
        }
    }
}
