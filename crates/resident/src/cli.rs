//! The command line: every subcommand, flag and environment variable, with its help.
//!
//! Here is only what the user wrote; `config::resolved` decides what it means together with the
//! configuration file and the defaults. Every flag of the hub has a `RESIDENT_*` variable; a flag
//! wins over the variable, the variable over the file, the file over the default.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, builder::FalseyValueParser};

use planner::{footprint::CacheType, recipe::Recipe};

use crate::{
    bench,
    config::{
        self, Settings,
        raw::{KvCache, Speculation},
    },
    connect, convert, copy, create, du, duration, exit, import, kb, mcp, models, plan, pull,
    quantize, remove, search, size, verify,
};

/// Resident (常驻): a private AI hub on your own computer.
///
/// One program plans what fits in the machine's memory, runs the models, and answers every client
/// that speaks OpenAI's API.
#[derive(Debug, Parser)]
#[command(name = "resident", version, after_help = exit::HELP, after_long_help = exit::HELP)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the hub and serve until it is told to stop
    Serve(Serve),
    /// Chat with a model, or ask it one thing
    Run(Run),
    /// List the models that can be served
    Ls(Ls),
    /// Pull a model: the quantization that fits this machine, told before it starts
    Pull(Box<pull::Pull>),
    /// Take models over that other programs have on this machine, without copying them
    Import(import::Import),
    /// Look for models: in the catalogue, or on the hubs of models
    Search(search::Search),
    /// Make a model of another one, or of a file, as a Modelfile says
    Create(create::Create),
    /// Give a model a second name, without copying it
    Cp(copy::Copy),
    /// Remove models from the library
    Rm(remove::Remove),
    /// Say what the library takes on the disk, and how to get rid of it
    Du(du::Du),
    /// Read all files of the library again, and say which are damaged
    Verify(verify::Verify),
    /// Show what a model is and what it would need
    Show(Show),
    /// List the models that are in memory now
    Ps(Ps),
    /// Take a model out of memory
    Stop(Stop),
    /// Load a model before anybody asks it; of a role, the first that can be loaded
    Warm(Warm),
    /// Never let a model leave for another, whatever the configuration says, until the hub ends
    Pin(Pin),
    /// Let a model leave for others, whatever the configuration says, until the hub ends
    Unpin(Unpin),
    /// Let the hub read its configuration file again; it takes all of it, or refuses it whole
    Reload(Reload),
    /// Say why a model is not in memory, whom a role would choose, what would happen if it were asked now, or what a request waits for
    Explain(Explain),
    /// Tell what the hub was told and decided, and decide it once more
    Replay(Replay),
    /// Ask your own files: add folders, find passages, have a model answer from them
    #[command(subcommand)]
    Kb(kb::Kb),
    /// Offer your own files to agents, which start this: the Model Context Protocol on standard input and output
    Mcp(mcp::Mcp),
    /// Show or clear what is kept of conversations in files
    #[command(subcommand)]
    Cache(Cache),
    /// Print or write the settings that make a client use this hub: coding agents, editors, chats, libraries
    Connect(Connect),
    /// Write a model of this machine in fewer bits
    Quantize(Quantize),
    /// Make a model's file of a folder with safetensors, by llama.cpp's converter
    Convert(Convert),
    /// Say what fits this machine, how well and how fast, before anything is downloaded
    Plan(Box<plan::Plan>),
    /// Measure a model through the hub, beside a plain loop over llama.cpp
    Bench(Box<bench::Bench>),
}

/// Where the hub and its files are.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Place {
    /// Address of the hub [default: 127.0.0.1:11434]
    #[arg(long, value_name = "ADDR", env = "RESIDENT_LISTEN")]
    pub(crate) listen: Option<String>,
    /// Configuration file [default: config.toml in the data folder, if there is one]
    #[arg(long, value_name = "FILE", env = "RESIDENT_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Folder for the token, the history and the models [default: the platform's]
    #[arg(long, value_name = "DIR", env = "RESIDENT_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Key that clients must send; better in RESIDENT_KEY or the file, where `ps` does not show it
    #[arg(long, value_name = "KEY", env = "RESIDENT_KEY", hide_env_values = true)]
    pub(crate) key: Option<String>,
}

/// Which models there are and what they may take.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Serving {
    /// Models folder: a file x.gguf in it is the model x [default: models in the data folder]
    #[arg(long, value_name = "DIR", env = "RESIDENT_MODELS_DIR")]
    pub(crate) models_dir: Option<PathBuf>,
    /// Serve this file under this name; may be given many times [env: RESIDENT_MODEL, separated by ;]
    #[arg(long = "model", value_name = "NAME=PATH", value_parser = models::parse_pair)]
    pub(crate) models: Vec<(String, PathBuf)>,
    /// Context of each model in tokens [default: what it was trained with, within the worker's limit]
    #[arg(long, value_name = "N", env = "RESIDENT_CONTEXT")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) context: Option<u32>,
    /// Memory for models, as 12GB, 1.5GiB or plain bytes [default: 75 % of the machine's]
    #[arg(long, value_name = "SIZE", env = "RESIDENT_BUDGET", value_parser = size::parse)]
    pub(crate) budget: Option<u64>,
    /// How long an idle model stays in memory, as 90s, 10m, 1h or never [default: 10m]
    #[arg(long, value_name = "TIME", env = "RESIDENT_IDLE_UNLOAD", value_parser = idle_unload)]
    pub(crate) idle_unload: Option<IdleUnload>,
    /// Threads of each model [default: adapts to what the machine can spare]
    #[arg(long, value_name = "N", env = "RESIDENT_THREADS")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) threads: Option<u32>,
    /// Requests that each model answers at once [default: 8]
    #[arg(long, value_name = "N", env = "RESIDENT_PARALLEL")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) parallel: Option<u32>,
    /// Where prefixes of conversations are kept besides the live cells [default: ssd]
    #[arg(long, value_name = "WHERE", env = "RESIDENT_KV_CACHE", value_enum)]
    pub(crate) kv_cache: Option<KvCache>,
    /// What models guess ahead from, as far as that is seen to pay [default: auto]
    #[arg(long, value_name = "FROM", env = "RESIDENT_SPECULATION", value_enum)]
    pub(crate) speculation: Option<Speculation>,
    /// How keys and values are kept, as f16, q8_0 or q4_0: fewer bits hold more [default: f16]
    #[arg(long, value_name = "TYPE", env = "RESIDENT_KV_TYPE", value_parser = CacheType::from_name)]
    pub(crate) kv_type: Option<CacheType>,
    /// Ask no server elsewhere for anything: no pulls, no searches, no headers
    #[arg(long, env = "RESIDENT_OFFLINE", value_parser = FalseyValueParser::new())]
    pub(crate) offline: bool,
    /// Listen on an address that other machines can reach; needs a key
    #[arg(long, env = "RESIDENT_ALLOW_LAN", value_parser = FalseyValueParser::new())]
    pub(crate) allow_lan: bool,
}

/// Where the library and the models are, for what needs to know nothing else.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Shelf {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Models folder [default: models in the data folder]
    #[arg(long, value_name = "DIR", env = "RESIDENT_MODELS_DIR")]
    pub(crate) models_dir: Option<PathBuf>,
}

impl Shelf {
    /// The settings that it leads to.
    ///
    /// # Errors
    /// As [`config::load`].
    pub(crate) fn load(&self) -> anyhow::Result<Settings> {
        let serving = Serving { models_dir: self.models_dir.clone(), ..Serving::default() };
        config::load(&self.place, &serving)
    }
}

/// How long an idle model stays; `None` inside is "never".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IdleUnload(pub(crate) Option<std::time::Duration>);

/// Clap would take a bare `Option` for "the flag may be missing".
pub(crate) fn idle_unload(text: &str) -> Result<IdleUnload, duration::Error> {
    duration::parse(text).map(IdleUnload)
}

/// `resident serve`
#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) serving: Serving,
}

/// `resident run`
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Name of a model, or a .gguf file
    pub(crate) model: String,
    /// Ask this and leave; without it, and with text on standard input, that is asked
    pub(crate) prompt: Vec<String>,
    /// Instructions for the whole conversation
    #[arg(long, value_name = "TEXT")]
    pub(crate) system: Option<String>,
    /// 0 always takes the likeliest word, higher varies more
    #[arg(long, value_name = "T")]
    pub(crate) temperature: Option<f32>,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) serving: Serving,
}

/// `resident ls`
#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) serving: Serving,
}

/// `resident show`
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Name of a model, or a .gguf file
    pub(crate) model: String,
    /// Print the Modelfile that would make it again
    #[arg(long, group = "part")]
    pub(crate) modelfile: bool,
    /// Print its licences
    #[arg(long, group = "part")]
    pub(crate) license: bool,
    /// Print its chat template
    #[arg(long, group = "part")]
    pub(crate) template: bool,
    /// Print what its conversations begin with
    #[arg(long, group = "part")]
    pub(crate) system: bool,
    /// Print one JSON document
    #[arg(long, conflicts_with = "part")]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) serving: Serving,
}

/// `resident ps`
#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// `resident stop`
#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// Name of the model
    pub(crate) model: String,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// `resident warm`
#[derive(Debug, Args)]
pub(crate) struct Warm {
    /// Name of the model, or of a role
    pub(crate) model: String,
    /// How long it stays unused, as 90s, 10m, 1h or never [default: its own time]
    #[arg(long, value_name = "TIME", value_parser = idle_unload)]
    pub(crate) keep_alive: Option<IdleUnload>,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// `resident pin`
#[derive(Debug, Args)]
pub(crate) struct Pin {
    /// Name of the model
    pub(crate) model: String,
    /// Take back what `pin` or `unpin` said, so that the configuration counts again
    #[arg(long)]
    pub(crate) as_configured: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// `resident unpin`
#[derive(Debug, Args)]
pub(crate) struct Unpin {
    /// Name of the model
    pub(crate) model: String,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// `resident reload`
#[derive(Debug, Args)]
pub(crate) struct Reload {
    #[command(flatten)]
    pub(crate) place: Place,
}

/// `resident explain`
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// Name of a model or a role, or number of a request that `resident ps` lists
    #[arg(value_name = "NAME|REQUEST")]
    pub(crate) subject: String,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// `resident replay`
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// A journal [default: the newest in the data folder]
    pub(crate) file: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// `resident cache`
#[derive(Debug, Subcommand)]
pub(crate) enum Cache {
    /// List the models of which something is kept
    Ls(CacheLook),
    /// Show how much is kept, how much was written today, and what is free
    Stats(CacheLook),
    /// Remove what is kept
    Clear(CacheClear),
}

/// `resident cache ls` and `resident cache stats`
#[derive(Debug, Args)]
pub(crate) struct CacheLook {
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// `resident cache clear`
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["model", "gone", "all"]))]
pub(crate) struct CacheClear {
    /// What is kept of this model
    pub(crate) model: Option<String>,
    /// What is kept of models whose file is gone or is another one now
    #[arg(long)]
    pub(crate) gone: bool,
    /// Everything
    #[arg(long)]
    pub(crate) all: bool,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// `resident connect`
#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// Its help lists the clients.
    #[arg(value_name = "CLIENT", required_unless_present = "list", help = connect::help())]
    pub(crate) client: Option<String>,
    /// Name of the model or role that it uses [default: the first role, or else model, that chats]
    #[arg(long, value_name = "NAME")]
    pub(crate) model: Option<String>,
    /// Address of the hub as the client sees it [default: http:// and where the hub listens]
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Write into the client's own file, beside what else is in it; what was there is kept as NAME.resident-backup
    #[arg(long)]
    pub(crate) write: bool,
    /// List the clients, what each asks for, and where its settings are
    #[arg(long, conflicts_with_all = ["client", "model", "url", "write"])]
    pub(crate) list: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// `resident quantize`
#[derive(Debug, Args)]
pub(crate) struct Quantize {
    /// Name of a model, or a .gguf file; best in F16, BF16 or F32
    pub(crate) model: String,
    /// What its weights become: q8_0, q6_k, q5_k_m, q4_k_m, iq4_xs, q3_k_m, iq2_xs and others
    #[arg(long, value_name = "TYPE", value_parser = quantize::parse_type)]
    pub(crate) to: Recipe,
    /// Importance matrix of this model, as llama.cpp's llama-imatrix makes it: the same bits lose less
    #[arg(long, value_name = "FILE")]
    pub(crate) imatrix: Option<PathBuf>,
    /// File or folder for the result [default: beside the model, named after it and the type]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Take a model that is quantized already, and lose twice
    #[arg(long)]
    pub(crate) allow_requantize: bool,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) serving: Serving,
}

/// `resident convert`
#[derive(Debug, Args)]
pub(crate) struct Convert {
    /// Folder with config.json, the tokenizer and .safetensors files
    pub(crate) folder: PathBuf,
    /// What its weights become: f16, bf16, f32, q8_0, tq1_0, tq2_0, or auto for the like of the folder's
    #[arg(long, value_name = "TYPE", default_value = "f16", value_parser = convert::parse_type)]
    pub(crate) to: &'static str,
    /// File for the result [default: beside the folder, named after it and the type]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// llama.cpp's convert_hf_to_gguf.py [default: the one on PATH]
    #[arg(long, value_name = "FILE")]
    pub(crate) converter: Option<PathBuf>,
    /// Convert a folder that brings Python programs, which the converter may run
    #[arg(long)]
    pub(crate) allow_code: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_promised_flags_of_serve_are_there() {
        let cli = Cli::try_parse_from([
            "resident",
            "serve",
            "--listen",
            "127.0.0.1:1",
            "--config",
            "c",
            "--data-dir",
            "d",
            "--models-dir",
            "m",
            "--model",
            "a=x",
            "--model",
            "b=y",
            "--context",
            "4096",
            "--budget",
            "1.5GiB",
        ])
        .unwrap();
        let Command::Serve(serve) = cli.command else { panic!("not serve") };
        assert_eq!(serve.serving.models.len(), 2);
        assert_eq!(serve.serving.budget, Some(1_610_612_736));
    }

    #[test]
    fn a_wrong_value_is_named_with_its_flag_and_the_way_out() {
        for (arguments, parts) in [
            (["serve", "--budget", "12parsecs"], ["--budget", "'parsecs' is not a unit"]),
            (["serve", "--model", "chat"], ["--model", "is not NAME=PATH"]),
            (["serve", "--context", "0"], ["--context", "0 is not in 1.."]),
            (["serve", "--kv-cache", "disk"], ["--kv-cache", "off, ram, ssd"]),
            (["serve", "--speculation", "on"], ["--speculation", "auto, off, lookup, draft"]),
            (["serve", "--kv-type", "q9"], ["--kv-type", "f32, f16, bf16, q8_0"]),
            (["cache", "clear", "--json"], ["MODEL", "--gone"]),
            (["serve", "--idle-unload", "soon"], ["--idle-unload", "for example 90s"]),
            (["quantize", "--to", "q4"], ["--to", "q4_k_m"]),
            (["convert", "--to", "q4_k_m"], ["--to", "resident quantize"]),
        ] {
            let arguments = std::iter::once("resident").chain(arguments);
            let message = Cli::try_parse_from(arguments).unwrap_err().to_string();
            for part in parts {
                assert!(message.contains(part), "'{part}' is missing in: {message}");
            }
        }
    }
}
