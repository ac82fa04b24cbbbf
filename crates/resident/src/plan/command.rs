//! `resident plan` on the command line: its flags, its help, and the sizes that people give memory.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use planner::{footprint::CacheType, machine::Reserve};

use crate::size;

/// What a plan is made of, for `resident plan --help`.
const METHOD: &str = "\
What the figures are:
  Weights, caches and recurrent state follow from the model's header, to the byte. Buffers are laid
  out as the worker's llama.cpp lays them out. Speeds are expected from the machine's memory and
  computing speed; `resident bench` measures this machine, and plans then go by that.

  A model is a name of the catalogue (qwen3-8b, or qwen3-8b:Q4_K_M for one quantization), a model
  of the hub, a .gguf file, a repository on Hugging Face (hf:OWNER/REPO, hf:OWNER/REPO:Q4_K_M) or on
  ModelScope (ms:OWNER/REPO), a model of Ollama's registry (ollama:NAME:TAG) or of another one
  (ollama:HOST/NAMESPACE/NAME:TAG), or the web address of a file. Of those that lie elsewhere only
  the header is read, under 20 MB. HF_TOKEN is sent to Hugging Face, or to the server that
  RESIDENT_HF_ENDPOINT names, MODELSCOPE_API_TOKEN to ModelScope, and neither anywhere else.

  16GB of memory are 16 GiB, as on the box.

Examples:
  resident plan                                   what this computer can run, best choice first
  resident plan --machine m4-16gb                 the same for a Mac mini with 16 GB
  resident plan qwen3-30b-a3b --context 32768     which quantization to take, and why
  resident plan qwen3-8b --with bge-m3            what can be in memory together
  resident plan qwen3-8b --what-if                who would leave for it now, on the hub that runs
  resident plan --config config.toml              whether a configuration can keep its promises";

/// `resident plan`
#[derive(Debug, Args)]
#[command(after_long_help = METHOD)]
#[command(group = ArgGroup::new("form").args(["json", "csv", "markdown"]))]
pub(crate) struct Plan {
    /// A name of the catalogue or the hub, a .gguf file, hf:OWNER/REPO, ms:OWNER/REPO, ollama:NAME or a
    /// web address; without it, the whole catalogue
    pub(crate) model: Option<String>,
    /// Tokens of the context [default: what the model was trained with, at most 16384]
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) context: Option<u32>,
    /// Memory of the machine, as 16GB [default: this machine's]
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub(crate) memory: Option<u64>,
    /// A machine of the table instead of this one, as m4-16gb, m1-max-64gb or rtx-4090-24gb
    #[arg(long, value_name = "NAME")]
    pub(crate) machine: Option<String>,
    /// What the system keeps, as 25% or 4GB [default: 25%]
    #[arg(long, value_name = "SHARE|SIZE", value_parser = reserve)]
    pub(crate) reserve: Option<Reserve>,
    /// How keys and values are kept, as f16, q8_0 or q4_0 [default: as the hub keeps them]
    #[arg(long, value_name = "TYPE", value_parser = CacheType::from_name)]
    pub(crate) kv: Option<CacheType>,
    /// Requests that are answered at once [default: 8]
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) parallel: Option<u32>,
    /// Another model to have in memory beside it; may be given many times
    #[arg(long = "with", value_name = "MODEL", requires = "model", conflicts_with = "config")]
    pub(crate) with: Vec<String>,
    /// Say for every figure where it comes from
    #[arg(long)]
    pub(crate) explain: bool,
    /// Ask the worker too how llama.cpp lays the model out; needs a .gguf file
    #[arg(long, requires = "model", conflicts_with_all = ["with", "config"])]
    pub(crate) measure: bool,
    /// Ask the hub that runs what would happen if the model were wanted now
    #[arg(long, requires = "model", conflicts_with_all = ["with", "config"])]
    pub(crate) what_if: bool,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
    /// Print comma-separated values
    #[arg(long)]
    pub(crate) csv: bool,
    /// Print a table in Markdown
    #[arg(long)]
    pub(crate) markdown: bool,
    /// Ask no server elsewhere: a model elsewhere is refused
    #[arg(long)]
    pub(crate) offline: bool,
    /// Plan all models of this configuration file together
    #[arg(long, value_name = "FILE", conflicts_with = "model")]
    pub(crate) config: Option<PathBuf>,
    /// Folder of the hub's models and of what `resident bench` measured [default: the platform's]
    #[arg(long, value_name = "DIR", env = "RESIDENT_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// How an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people.
    Text,
    /// One JSON document.
    Json,
    /// Comma-separated values.
    Csv,
    /// A table in Markdown.
    Markdown,
}

impl Plan {
    /// How the answer is wanted.
    pub(crate) fn form(&self) -> Form {
        match (self.json, self.csv, self.markdown) {
            (true, _, _) => Form::Json,
            (_, true, _) => Form::Csv,
            (_, _, true) => Form::Markdown,
            (false, false, false) => Form::Text,
        }
    }
}

/// Memory as it is sold: a machine with "16GB" has 16 GiB.
fn memory(text: &str) -> Result<u64, size::Error> {
    let text = text.trim();
    let lower = text.to_ascii_lowercase();
    let binary = ["mb", "gb", "tb"].iter().find_map(|unit| {
        let number = lower.strip_suffix(unit)?;
        Some(format!("{number}{}ib", &unit[..1]))
    });
    size::parse(binary.as_deref().unwrap_or(text))
}

fn reserve(text: &str) -> Result<Reserve, String> {
    let Some(percent) = text.trim().strip_suffix('%') else {
        return memory(text).map(Reserve::Bytes).map_err(|error| error.to_string());
    };
    // Whether it makes sense beside the machine's memory is for the planner to say.
    let percent = percent.trim().parse::<f64>().ok().filter(|percent| percent.is_finite());
    let percent = percent.ok_or_else(|| format!("'{text}' is no share; write for example 25%"))?;
    Ok(Reserve::Share(percent / 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_as_it_is_sold() {
        for (text, bytes) in [
            ("16GB", 16 << 30),
            ("16 gb", 16 << 30),
            ("1.5TB", (3 << 40) / 2),
            ("512MB", 512 << 20),
            ("16GiB", 16 << 30),
            ("17179869184", 16 << 30),
        ] {
            assert_eq!(memory(text), Ok(bytes), "{text}");
        }
        for text in ["16G", "lots", "", "-1GB", "16 parsecs"] {
            assert!(memory(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reserves() {
        assert_eq!(reserve("25%"), Ok(Reserve::Share(0.25)));
        assert_eq!(reserve(" 12.5 % "), Ok(Reserve::Share(0.125)));
        assert_eq!(reserve("4GB"), Ok(Reserve::Bytes(4 << 30)));
        for text in ["%", "a%", "inf%", "4", "quarter"] {
            let is_fine = reserve(text) == Ok(Reserve::Bytes(4));
            assert!(reserve(text).is_err() || (text == "4" && is_fine), "{text}");
        }
    }
}
