//! What the program believes: every setting with a value, checked, paths absolute.
//!
//! Flags and variables (clap has merged them) win over the file, the file over the defaults that
//! stand here. Not here: reading anything.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{MODELS_VARIABLE, Machine, raw};
use crate::{
    cli::{self, Place, Serving},
    duration,
    models::{self, Catalog, Named},
    size,
};

/// The address of the hub; clients of this kind of program look here.
pub(crate) const LISTEN_DEFAULT: &str = "127.0.0.1:11434";

/// Share of the memory that models may take; a quarter is kept for the system and the user.
const BUDGET_PERCENT_DEFAULT: u64 = 75;

/// An idle model stays this long: long enough for a person who thinks, short enough that a
/// forgotten one is gone after a coffee.
const IDLE_UNLOAD_DEFAULT: Duration = Duration::from_secs(600);

/// Sequences of a model that run in one step. More share the memory bandwidth better, and each
/// costs only its part of the context.
const PARALLEL_DEFAULT: u32 = 8;

/// Every setting.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Address of the hub.
    pub(crate) listen: SocketAddr,
    /// Key that clients must send.
    pub(crate) key: Option<String>,
    /// Whether an address other machines can reach is allowed.
    pub(crate) allow_lan: bool,
    /// Further names of this machine in `Host`.
    pub(crate) hosts: Vec<String>,
    /// Web origins whose pages may call the hub.
    pub(crate) origins: Vec<String>,
    /// Where the program keeps its files.
    pub(crate) data_dir: PathBuf,
    /// The worker's executable, if it is not beside ours.
    pub(crate) worker: Option<PathBuf>,
    /// Where models come from.
    pub(crate) catalog: Catalog,
    /// Context of models that have none of their own.
    pub(crate) context_tokens: Option<u32>,
    /// Memory for models.
    pub(crate) budget_bytes: u64,
    /// Whether nobody said how much that is.
    pub(crate) budget_is_default: bool,
    /// How long an idle model stays; `None` is for ever.
    pub(crate) idle_unload: Option<Duration>,
    /// Threads of a worker's step; `None` adapts.
    pub(crate) threads: Option<u32>,
    /// Sequences of a model that run in one step.
    pub(crate) parallel: u32,
}

impl Settings {
    /// The control token's file.
    pub(crate) fn token_file(&self) -> PathBuf {
        self.data_dir.join("token")
    }

    /// The chat's history of lines.
    pub(crate) fn history_file(&self) -> PathBuf {
        self.data_dir.join("history")
    }

    /// The folder of the workers' logs.
    pub(crate) fn logs_dir(&self) -> PathBuf {
        self.data_dir.join("logs")
    }
}

/// Why the settings make no sense.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// Not an address.
    #[error(
        "'{value}' is not an address to listen on; write IP:PORT, for example {LISTEN_DEFAULT}"
    )]
    Listen {
        /// What was written.
        value: String,
    },
    /// A key that says nothing.
    #[error("the key is empty; give one, or leave it out")]
    EmptyKey,
    /// A size in the file.
    #[error("budget: {0}")]
    Budget(#[from] size::Error),
    /// No memory at all for models.
    #[error("budget: no model fits in 0 bytes; write for example 12GB")]
    NoBudget,
    /// The system does not say how much memory there is.
    #[error(
        "cannot tell how much memory this machine has; say what models may take: --budget 12GB"
    )]
    UnknownMemory,
    /// A span of time in the file.
    #[error("idle_unload: {0}")]
    IdleUnload(#[from] duration::Error),
    /// A number that must not be zero.
    #[error("{key} is 0; it must be 1 or more, or left out")]
    Zero {
        /// The key in the file.
        key: String,
    },
    /// A name that cannot be used.
    #[error(transparent)]
    Name(#[from] models::NameError),
    /// A pair in the variable.
    #[error("{MODELS_VARIABLE}: {0}")]
    Variable(models::NameError),
    /// One name for two files.
    #[error("--model names '{name}' twice: {} and {}", first.display(), second.display())]
    Twice {
        /// The name.
        name: String,
        /// The file given first.
        first: PathBuf,
        /// The file given next.
        second: PathBuf,
    },
}

/// Puts everything together. `base` is the folder that relative paths of the file start from.
///
/// # Errors
/// [`Error`], which names the key or the flag and what would be accepted.
pub(crate) fn resolve(
    place: &Place,
    serving: &Serving,
    raw: raw::Config,
    base: &Path,
    machine: &Machine,
) -> Result<Settings, Error> {
    let from_file = |path: PathBuf| from_file(path, base, &machine.home);
    let data_dir = place
        .data_dir
        .clone()
        .or(raw.data_dir.map(from_file))
        .unwrap_or_else(|| machine.data_dir.clone());
    let models_dir = serving
        .models_dir
        .clone()
        .or(raw.models_dir.map(from_file))
        .unwrap_or_else(|| data_dir.join("models"));
    let worker = std::env::var_os("RESIDENT_WORKER").filter(|path| !path.is_empty());
    let key = place.key.clone().or(raw.key);
    if key.as_ref().is_some_and(String::is_empty) {
        return Err(Error::EmptyKey);
    }
    let idle_unload = match (serving.idle_unload, raw.idle_unload) {
        (Some(cli::IdleUnload(span)), _) => span,
        (None, Some(text)) => duration::parse(&text)?,
        (None, None) => Some(IDLE_UNLOAD_DEFAULT),
    };
    Ok(Settings {
        listen: listen(place.listen.as_deref().or(raw.listen.as_deref()))?,
        key,
        allow_lan: serving.allow_lan || raw.allow_lan.unwrap_or(false),
        hosts: raw.hosts.unwrap_or_default(),
        origins: raw.origins.unwrap_or_default(),
        worker: worker.map(PathBuf::from).or(raw.worker.map(from_file)),
        catalog: Catalog {
            folder: models_dir,
            named: named(serving, raw.models, machine.models_variable.as_deref(), &from_file)?,
        },
        context_tokens: not_zero("context", serving.context.or(raw.context))?,
        budget_is_default: serving.budget.is_none() && raw.budget.is_none(),
        budget_bytes: budget_bytes(serving.budget, raw.budget.as_deref(), machine.memory_bytes)?,
        idle_unload,
        threads: not_zero("threads", serving.threads.or(raw.threads))?,
        parallel: not_zero("parallel", serving.parallel.or(raw.parallel))?
            .unwrap_or(PARALLEL_DEFAULT),
        data_dir,
    })
}

fn listen(text: Option<&str>) -> Result<SocketAddr, Error> {
    let text = text.unwrap_or(LISTEN_DEFAULT);
    // `localhost:1234` is what people write; it means the same on every machine.
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    numeric.parse().map_err(|_| Error::Listen { value: text.to_owned() })
}

fn budget_bytes(
    flag: Option<u64>,
    file: Option<&str>,
    memory_bytes: Option<u64>,
) -> Result<u64, Error> {
    let bytes = match (flag, file) {
        (Some(bytes), _) => bytes,
        (None, Some(text)) => size::parse(text)?,
        (None, None) => memory_bytes.ok_or(Error::UnknownMemory)? / 100 * BUDGET_PERCENT_DEFAULT,
    };
    if bytes == 0 { Err(Error::NoBudget) } else { Ok(bytes) }
}

fn not_zero(key: &str, value: Option<u32>) -> Result<Option<u32>, Error> {
    if value == Some(0) { Err(Error::Zero { key: key.to_owned() }) } else { Ok(value) }
}

/// Models by name. Flags replace the variable as a whole, as everywhere; both win over a model of
/// the same name in the file, whose context still counts.
fn named(
    serving: &Serving,
    file: BTreeMap<String, raw::Model>,
    variable: Option<&str>,
    from_file: &impl Fn(PathBuf) -> PathBuf,
) -> Result<BTreeMap<String, Named>, Error> {
    let mut named = BTreeMap::new();
    for (name, model) in file {
        models::check_name(&name)?;
        let context_tokens = not_zero(&format!("[models.{name}] context"), model.context)?;
        named.insert(name, Named { path: from_file(model.path), context_tokens });
    }
    let mut pairs = serving.models.clone();
    if pairs.is_empty() {
        let texts = variable.into_iter().flat_map(|text| text.split(';'));
        pairs = texts.map(models::parse_pair).collect::<Result<_, _>>().map_err(Error::Variable)?;
    }
    let mut given: BTreeMap<String, PathBuf> = BTreeMap::new();
    for (name, path) in pairs {
        if let Some(first) = given.insert(name.clone(), path.clone()).filter(|first| *first != path)
        {
            return Err(Error::Twice { name, first, second: path });
        }
        let context_tokens = named.get(&name).and_then(|model: &Named| model.context_tokens);
        named.insert(name, Named { path, context_tokens });
    }
    Ok(named)
}

/// A path of the file: `~/` is the home folder, a relative one starts at the file's folder.
fn from_file(path: PathBuf, base: &Path, home: &Path) -> PathBuf {
    match path.strip_prefix("~") {
        Ok(rest) => home.join(rest),
        Err(_) => base.join(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            memory_bytes: Some(16 << 30),
            data_dir: "/data/resident".into(),
            home: "/home/me".into(),
            models_variable: None,
        }
    }

    fn resolve_text(place: &Place, serving: &Serving, text: &str) -> Result<Settings, Error> {
        resolve(place, serving, raw::parse(text).unwrap(), Path::new("/etc/r"), &machine())
    }

    #[track_caller]
    fn from_text(text: &str) -> Settings {
        resolve_text(&Place::default(), &Serving::default(), text).unwrap()
    }

    #[test]
    fn defaults() {
        let settings = from_text("");
        assert_eq!(settings.listen.to_string(), LISTEN_DEFAULT);
        assert_eq!(settings.data_dir, Path::new("/data/resident"));
        assert_eq!(settings.catalog.folder, Path::new("/data/resident/models"));
        assert_eq!(settings.token_file(), Path::new("/data/resident/token"));
        let budget_gib = settings.budget_bytes >> 30;
        assert_eq!((budget_gib, settings.parallel), (11, 8), "75 % of 16 GiB is just under 12");
        assert_eq!(settings.idle_unload, Some(Duration::from_secs(600)));
        assert!(!settings.allow_lan);
    }

    #[test]
    fn the_file_wins_over_defaults_and_flags_over_the_file() {
        let text = "listen = \"localhost:1\"\nbudget = \"1GB\"\ncontext = 10\nidle_unload = \"never\"\n\
                    parallel = 2\ndata_dir = \"~/d\"\nmodels_dir = \"m\"\nworker = \"w\"";
        let settings = from_text(text);
        assert_eq!(settings.listen.to_string(), "127.0.0.1:1");
        assert_eq!(settings.data_dir, Path::new("/home/me/d"));
        assert_eq!(settings.catalog.folder, Path::new("/etc/r/m"));
        assert_eq!(settings.worker.as_deref(), Some(Path::new("/etc/r/w")));
        assert_eq!((settings.budget_bytes, settings.idle_unload), (1_000_000_000, None));

        let place = Place {
            listen: Some("[::1]:2".into()),
            data_dir: Some("here".into()),
            ..Place::default()
        };
        let serving = Serving {
            budget: Some(7),
            context: Some(20),
            idle_unload: Some(cli::IdleUnload(Some(Duration::from_secs(1)))),
            ..Serving::default()
        };
        let settings = resolve_text(&place, &serving, text).unwrap();
        assert_eq!(settings.listen.to_string(), "[::1]:2");
        assert_eq!(settings.data_dir, Path::new("here"), "a flag's path starts where the user is");
        assert_eq!((settings.budget_bytes, settings.context_tokens), (7, Some(20)));
        assert_eq!(settings.idle_unload, Some(Duration::from_secs(1)));
    }

    #[test]
    fn models_come_from_flags_then_the_file() {
        let text = "[models.a]\npath = \"a.gguf\"\ncontext = 5\n[models.b]\npath = \"/b.gguf\"";
        let serving = Serving { models: vec![("a".into(), "x".into())], ..Serving::default() };
        let named = resolve_text(&Place::default(), &serving, text).unwrap().catalog.named;
        assert_eq!(named["a"], Named { path: "x".into(), context_tokens: Some(5) });
        assert_eq!(named["b"], Named { path: "/b.gguf".into(), context_tokens: None });
    }

    #[test]
    fn the_variable_gives_models_where_no_flag_does() {
        let machine = Machine { models_variable: Some("a=x;q:8b=y".into()), ..machine() };
        let resolve_with = |models| {
            let serving = Serving { models, ..Serving::default() };
            let raw = raw::Config::default();
            resolve(&Place::default(), &serving, raw, Path::new("/"), &machine).unwrap()
        };
        let names: Vec<_> = resolve_with(vec![]).catalog.named.into_keys().collect();
        assert_eq!(names, ["a", "q:8b"]);
        let names: Vec<_> =
            resolve_with(vec![("c".into(), "z".into())]).catalog.named.into_keys().collect();
        assert_eq!(names, ["c"]);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_way_out() {
        for (text, message) in [
            (
                "listen = \"11434\"",
                "'11434' is not an address to listen on; write IP:PORT, for example 127.0.0.1:11434",
            ),
            (
                "listen = \"hub:99999\"",
                "'hub:99999' is not an address to listen on; write IP:PORT, for example \
                 127.0.0.1:11434",
            ),
            ("key = \"\"", "the key is empty; give one, or leave it out"),
            (
                "budget = \"12G\"",
                "budget: 'G' could mean GB (powers of 1000) or GiB (powers of 1024); write one",
            ),
            ("budget = \"0\"", "budget: no model fits in 0 bytes; write for example 12GB"),
            (
                "idle_unload = \"10\"",
                "idle_unload: '10' is not a span of time; write for example 90s, 10m, 1h or never",
            ),
            ("threads = 0", "threads is 0; it must be 1 or more, or left out"),
            (
                "[models.a]\npath = \"x\"\ncontext = 0",
                "[models.a] context is 0; it must be 1 or more, or left out",
            ),
            (
                "[models.\"../a\"]\npath = \"x\"",
                "'../a' cannot be a model's name: use 1 to 128 of A-Z a-z 0-9 . _ - : + @, \
                 a letter or digit first",
            ),
        ] {
            let error = resolve_text(&Place::default(), &Serving::default(), text).unwrap_err();
            assert_eq!(error.to_string(), message, "{text}");
        }
    }

    #[test]
    fn one_name_for_two_files_is_refused() {
        let models = vec![("a".into(), "x".into()), ("a".into(), "y".into())];
        let serving = Serving { models, ..Serving::default() };
        let error = resolve_text(&Place::default(), &serving, "").unwrap_err();
        assert_eq!(error.to_string(), "--model names 'a' twice: x and y");
    }
}
