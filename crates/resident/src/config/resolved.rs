//! What the program believes: every setting with a value, checked, paths absolute.
//!
//! Flags and variables (clap has merged them) win over the file, the file over the defaults that
//! stand here. Not here: reading anything.

mod engine;
pub(crate) mod group;
mod here;
mod knowledge;
mod kv;
mod library;
mod role;
mod served;
mod tool;
mod upstream;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

pub(crate) use knowledge::{Knowledge, Prefixes, Qdrant};
pub(crate) use library::Library;
use planner::footprint::CacheType;
pub(crate) use served::Served;
use served::{Known, Tables};

use super::{MODELS_VARIABLE, Machine, raw};
use crate::{
    cli::{self, Place, Serving},
    duration,
    models::{self, Catalog},
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
    /// Whether clients may send grammars.
    pub(crate) raw_grammars: bool,
    /// Whether programs of this machine too need the token to change which models there are.
    pub(crate) require_token: bool,
    /// Where the program keeps its files.
    pub(crate) data_dir: PathBuf,
    /// The worker's executable, if it is not beside ours.
    pub(crate) worker: Option<PathBuf>,
    /// Where the models of our own worker come from.
    pub(crate) catalog: Catalog,
    /// What else is served, and the names for it all.
    pub(crate) served: Served,
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
    /// What models guess ahead from that have no word of their own.
    pub(crate) guesses: group::Guesses,
    /// How workers encode keys and values of models that have no setting of their own.
    pub(crate) kv_type: CacheType,
    /// How workers keep prefixes outside the context.
    pub(crate) keep: supervisor::KeepSettings,
    /// How models are pulled.
    pub(crate) library: Library,
    /// How a person's files are read and found.
    pub(crate) knowledge: Knowledge,
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

    /// The folder of the runs' journals.
    pub(crate) fn journals_dir(&self) -> PathBuf {
        self.data_dir.join("journal")
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
    /// Two words for the same thing.
    #[error(
        "budget and [machine] reserve exclude each other: one says what models may take, the other \
         what they leave alone; keep one"
    )]
    BudgetAndReserve,
    /// A reserve that makes no sense.
    #[error("[machine] reserve: {0}")]
    Reserve(String),
    /// What one of the tables says.
    #[error("{0}")]
    Table(String),
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
    let from_file = |path: PathBuf| from_file(&path, base, &machine.home);
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
    let idle_unload = match (serving.idle_unload, raw.idle_unload) {
        (Some(cli::IdleUnload(span)), _) => span,
        (None, Some(text)) => duration::parse(&text)?,
        (None, None) => Some(IDLE_UNLOAD_DEFAULT),
    };
    let listen = listen(place.listen.as_deref().or(raw.listen.as_deref()))?;
    let memory = Memory {
        flag: serving.budget,
        budget: raw.budget.as_deref(),
        reserve: raw.machine.reserve.as_deref(),
        machine_bytes: machine.memory_bytes,
    };
    let budget_bytes = memory.budget_bytes()?;
    let prefixes = knowledge::prefixes(&raw.models)?;
    let tables = Tables {
        groups: raw.groups,
        models: raw.models,
        upstreams: raw.upstreams,
        tools: raw.tools,
        roles: raw.roles,
        warm: raw.warm,
        prefer_resident: raw.prefer_resident,
    };
    let guesses = engine::general_guesses(serving.speculation.or(raw.speculation));
    let kv_type = kv::kv_type(serving.kv_type, &raw.kv).map_err(Error::Table)?;
    let known = kv::Known { flag: serving.kv_cache, data_dir: &data_dir, budget_bytes };
    let keep = kv::read(raw.kv, &known, from_file).map_err(Error::Table)?;
    let library = library::read(raw.library, raw.offline, serving).map_err(Error::Table)?;
    let given = given(serving, machine.models_variable.as_deref())?;
    let known =
        Known { base, data_dir: &data_dir, models_dir, given, listen, budget_bytes, machine };
    let (catalog, mut served) = served::read(tables, known)?;
    let knowledge = knowledge::read(raw.knowledge, prefixes, &mut served, machine, from_file)?;
    Ok(Settings {
        listen,
        key: key(place.key.clone().or(raw.key))?,
        allow_lan: serving.allow_lan || raw.allow_lan.unwrap_or(false),
        hosts: raw.hosts.unwrap_or_default(),
        origins: raw.origins.unwrap_or_default(),
        raw_grammars: raw.raw_grammars.unwrap_or(false),
        require_token: raw.security.require_token.unwrap_or(false),
        worker: worker.map(PathBuf::from).or(raw.worker.map(from_file)),
        catalog,
        knowledge,
        served,
        context_tokens: not_zero("context", serving.context.or(raw.context))?,
        budget_is_default: memory.is_default(),
        budget_bytes,
        idle_unload,
        threads: not_zero("threads", serving.threads.or(raw.threads))?,
        parallel: not_zero("parallel", serving.parallel.or(raw.parallel))?
            .unwrap_or(PARALLEL_DEFAULT),
        guesses: guesses.map_err(Error::Table)?,
        kv_type,
        keep,
        library,
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

/// The key for clients, which locks nothing where it is empty.
fn key(said: Option<String>) -> Result<Option<String>, Error> {
    match said {
        Some(key) if key.is_empty() => Err(Error::EmptyKey),
        said => Ok(said),
    }
}

/// What was said about memory.
struct Memory<'a> {
    flag: Option<u64>,
    budget: Option<&'a str>,
    reserve: Option<&'a str>,
    machine_bytes: Option<u64>,
}

impl Memory<'_> {
    fn is_default(&self) -> bool {
        self.flag.is_none() && self.budget.is_none() && self.reserve.is_none()
    }

    fn budget_bytes(&self) -> Result<u64, Error> {
        if self.budget.is_some() && self.reserve.is_some() {
            return Err(Error::BudgetAndReserve);
        }
        let machine_bytes = || self.machine_bytes.ok_or(Error::UnknownMemory);
        let bytes = match (self.flag, self.budget, self.reserve) {
            (Some(bytes), _, _) => bytes,
            (None, Some(text), _) => size::parse(text)?,
            (None, None, Some(text)) => beside_reserve(text, machine_bytes()?)?,
            (None, None, None) => machine_bytes()? / 100 * BUDGET_PERCENT_DEFAULT,
        };
        if bytes == 0 { Err(Error::NoBudget) } else { Ok(bytes) }
    }
}

/// What a reserve leaves to models. It is a share, `25%`, or a size, `4GB`.
fn beside_reserve(text: &str, machine_bytes: u64) -> Result<u64, Error> {
    let wrong = |why: &str| {
        Error::Reserve(format!("'{text}' {why}; write a share such as 25% or a size such as 4GB"))
    };
    let reserved = match text.trim().strip_suffix('%') {
        Some(percent) => match percent.trim().parse::<u64>() {
            Ok(percent) if percent < 100 => machine_bytes / 100 * percent,
            Ok(_) => return Err(wrong("leaves nothing for models")),
            Err(_) => return Err(wrong("is not a whole number of percent")),
        },
        None => size::parse(text).map_err(|error| Error::Reserve(error.to_string()))?,
    };
    machine_bytes.checked_sub(reserved).filter(|left| *left > 0).ok_or_else(|| {
        wrong(&format!("leaves nothing of this machine's {}", size::format(machine_bytes)))
    })
}

fn not_zero(key: &str, value: Option<u32>) -> Result<Option<u32>, Error> {
    if value == Some(0) { Err(Error::Zero { key: key.to_owned() }) } else { Ok(value) }
}

/// Models that flags or the variable name. Flags replace the variable as a whole, as everywhere;
/// both win over a model of the same name in the file, whose other words still count.
fn given(serving: &Serving, variable: Option<&str>) -> Result<BTreeMap<String, PathBuf>, Error> {
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
    }
    Ok(given)
}

/// A path of the file: `~/` is the home folder, a relative one starts at the file's folder.
fn from_file(path: &Path, base: &Path, home: &Path) -> PathBuf {
    match path.strip_prefix("~") {
        Ok(rest) => home.join(rest),
        Err(_) => base.join(path),
    }
}
