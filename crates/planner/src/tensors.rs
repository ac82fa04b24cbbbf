//! Which tensors a model has: names and dimensions, from its architecture and its figures.
//!
//! They are those that llama.cpp's loader asks for (`src/models/*.cpp` there), in the order in which
//! a converter would write them. With them a model can be planned, or a file of its shape be made,
//! before a byte of it is downloaded. How the numbers are encoded is [`crate::recipe`]'s business.

mod dense;
mod encoder;
mod figures;
mod gemma;
mod hybrid;
mod latent;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::gguf::Value;
use figures::Figures;

/// One tensor without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Its name, for example `blk.0.attn_q.weight`.
    pub name: String,
    /// Elements along each dimension, the contiguous one first: one to four numbers.
    pub dimensions: Vec<u64>,
}

impl Shape {
    /// How many numbers it holds.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.dimensions.iter().fold(1, |product: u64, dimension| product.saturating_mul(*dimension))
    }
}

/// What a file has or leaves out without saying so in its metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// The output matrix is the embedding matrix, and not a tensor of its own.
    pub tied: bool,
    /// The file carries the rotary frequencies of a long context as tensors: Llama from 3.1 on,
    /// Phi-3 with 128k tokens, Phi-4-mini.
    pub rotary_table: bool,
}

/// Why no tensors can be listed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An architecture whose tensors are not known here.
    #[error("the tensors of architecture `{architecture}` are not known; known are: {known}")]
    Architecture {
        /// The architecture.
        architecture: String,
        /// All that are known.
        known: String,
    },
    /// A figure that the architecture needs is not there.
    #[error("`{key}` is missing or not a positive integer, and the tensors depend on it")]
    Missing {
        /// The full key.
        key: String,
    },
    /// Figures that no model can have.
    #[error("`{key}` is {found}, but it must be {rule}")]
    Unusable {
        /// The full key.
        key: String,
        /// What it is.
        found: u64,
        /// What it must be.
        rule: String,
    },
}

/// The architectures whose tensors are known, by their names in GGUF files.
pub const ARCHITECTURES: [&str; 21] = [
    "bert",
    "deepseek2",
    "falcon-h1",
    "gemma-embedding",
    "gemma3",
    "gemma3n",
    "gemma4",
    "gpt-oss",
    "granitehybrid",
    "lfm2",
    "llama",
    "mamba",
    "mamba2",
    "nomic-bert",
    "phi3",
    "qwen2",
    "qwen3",
    "qwen35",
    "qwen35moe",
    "qwen3moe",
    "qwen3vl",
];

/// All tensors of the model that `metadata` describes, layers ascending.
///
/// # Errors
/// An architecture that is not known here, or figures that are missing or make no sense.
pub fn list(metadata: &BTreeMap<String, Value>, options: &Options) -> Result<Vec<Shape>, Error> {
    let figures = Figures::new(metadata, options)?;
    let mut list = List::default();
    match figures.architecture() {
        "llama" | "qwen2" | "qwen3" | "qwen3vl" | "qwen3moe" | "gemma3" | "gemma-embedding"
        | "gpt-oss" | "phi3" => dense::decoder(&figures, &mut list)?,
        "qwen35" | "qwen35moe" => hybrid::delta_net(&figures, &mut list)?,
        "lfm2" => hybrid::short_convolutions(&figures, &mut list)?,
        "granitehybrid" => hybrid::granite(&figures, &mut list)?,
        "mamba" => hybrid::mamba(&figures, &mut list)?,
        "mamba2" => hybrid::mamba2(&figures, &mut list)?,
        "falcon-h1" => hybrid::falcon_h1(&figures, &mut list)?,
        "gemma3n" => gemma::gemma3n(&figures, &mut list)?,
        "gemma4" => gemma::gemma4(&figures, &mut list)?,
        "deepseek2" => latent::deepseek2(&figures, &mut list)?,
        "bert" | "nomic-bert" => encoder::encoder(&figures, &mut list)?,
        other => {
            let architecture = other.to_owned();
            return Err(Error::Architecture { architecture, known: ARCHITECTURES.join(", ") });
        }
    }
    Ok(list.shapes)
}

/// Tensors in the order in which they are added.
#[derive(Default)]
struct List {
    shapes: Vec<Shape>,
}

impl List {
    fn add(&mut self, name: impl Into<String>, dimensions: &[u64]) {
        self.shapes.push(Shape { name: name.into(), dimensions: dimensions.to_vec() });
    }

    /// A matrix or the factors of a norm.
    fn weight(&mut self, name: &str, dimensions: &[u64]) {
        self.add(format!("{name}.weight"), dimensions);
    }

    fn block(&mut self, layer: u64) -> Block<'_> {
        Block { list: self, layer }
    }
}

/// The tensors of one layer.
struct Block<'a> {
    list: &'a mut List,
    layer: u64,
}

impl Block<'_> {
    /// One whose name has no `weight` or `bias` at its end.
    fn add(&mut self, part: &str, dimensions: &[u64]) {
        self.list.add(format!("blk.{}.{part}", self.layer), dimensions);
    }

    fn weight(&mut self, part: &str, dimensions: &[u64]) {
        self.add(&format!("{part}.weight"), dimensions);
    }

    fn bias(&mut self, part: &str, dimensions: &[u64]) {
        self.add(&format!("{part}.bias"), dimensions);
    }
}
