//! One model of the catalogue, and the header that a file of it has.

use std::collections::BTreeMap;

use super::{Error, mix};
use crate::{
    gguf::{self, Header, Tensor, Value},
    recipe::{self, Recipe},
    tensors::{self, Shape},
};

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Talks.
    Chat,
    /// Talks, and thinks before.
    Reasoning,
    /// Writes programs.
    Code,
    /// Talks about pictures too.
    Vision,
    /// Turns text into vectors.
    Embedding,
    /// Says how well a passage answers a question.
    Rerank,
    /// Turns speech into text.
    Speech,
}

impl Kind {
    /// As the catalogue writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Reasoning => "reasoning",
            Self::Code => "code",
            Self::Vision => "vision",
            Self::Embedding => "embedding",
            Self::Rerank => "rerank",
            Self::Speech => "speech",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [
            Self::Chat,
            Self::Reasoning,
            Self::Code,
            Self::Vision,
            Self::Embedding,
            Self::Rerank,
            Self::Speech,
        ]
        .into_iter()
        .find(|kind| kind.name() == name)
    }
}

/// A form in which a model is published.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantization {
    /// As people write it, for example `Q4_K_M` or `UD-Q4_K_XL`.
    pub name: String,
    /// The recipe, when it is one of llama.cpp's; a publisher's own mix has none.
    pub recipe: Option<Recipe>,
    /// Length of the published file in bytes, where somebody printed it. Listings round to three
    /// digits; `rounded` says so.
    pub file_bytes: Option<u64>,
    /// Whether `file_bytes` was rounded by the listing that it comes from.
    pub rounded: bool,
    /// Where `file_bytes` comes from.
    pub source: Option<String>,
}

/// One model of the catalogue.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Short name, for example `qwen3-30b-a3b`.
    pub name: String,
    /// Name for people.
    pub title: String,
    /// What it is for.
    pub kind: Kind,
    /// The architecture, as GGUF names it; `whisper` for models of whisper.cpp.
    pub architecture: String,
    /// How many weights it has, as its publisher counts them.
    pub parameters: u64,
    /// How many more weights a GGUF file has than the publisher counts, or fewer.
    pub parameters_difference: i64,
    /// The licence, by its usual short name.
    pub licence: String,
    /// `owner/name` of a repository of GGUF files.
    pub repository: String,
    /// The forms it is published in: recipes of llama.cpp, then its publisher's own mixes, both from most
    /// to fewest bits.
    pub quantizations: Vec<Quantization>,
    /// Memory that a model of another engine needs in all, in bytes.
    pub runtime_bytes: Option<u64>,
    /// Whether the figures were compared with something else than the total of weights.
    pub verified: bool,
    /// Where the figures come from.
    pub sources: String,
    /// What is peculiar about it.
    pub note: Option<String>,
    pub(super) options: tensors::Options,
    pub(super) conditions: recipe::Conditions,
    /// The figures by their full keys; empty when it is no GGUF model.
    pub(super) metadata: BTreeMap<String, Value>,
}

impl Entry {
    /// The quantization of that name, in any case.
    ///
    /// # Errors
    /// [`Error::Quantization`] with those there are.
    pub fn quantization(&self, name: &str) -> Result<&Quantization, Error> {
        let found = self.quantizations.iter().find(|one| one.name.eq_ignore_ascii_case(name));
        found.ok_or_else(|| {
            let names: Vec<&str> = self.quantizations.iter().map(|one| one.name.as_str()).collect();
            Error::Quantization {
                model: self.name.clone(),
                name: name.to_owned(),
                available: names.join(", "),
            }
        })
    }

    /// All tensors without their encodings.
    ///
    /// # Errors
    /// [`Error::NoHeader`] when the model is no GGUF model.
    pub fn shapes(&self) -> Result<Vec<Shape>, Error> {
        if self.metadata.is_empty() {
            let note = self.note.clone().unwrap_or_else(|| self.architecture.clone());
            return Err(Error::NoHeader { model: self.name.clone(), note });
        }
        tensors::list(&self.metadata, &self.options)
            .map_err(|source| Error::Tensors { model: self.name.clone(), source })
    }

    /// The header of the published file of that quantization, without its vocabulary.
    ///
    /// For a recipe of llama.cpp it has exactly the tensors of the file. For a publisher's own mix
    /// only the length is known: then tensors take the types of the two nearest recipes so that
    /// together they have about that length. Any recipe may be asked for, published or not.
    ///
    /// # Errors
    /// A quantization that is neither published nor a recipe, or a model that is no GGUF model.
    pub fn header(&self, quantization: &str) -> Result<Header, Error> {
        let shapes = self.shapes()?;
        let published = self.quantization(quantization);
        let recipe = match &published {
            Ok(published) => published.recipe,
            Err(_) => Recipe::from_name(quantization),
        };
        let (recipe, tensors) = match recipe {
            Some(recipe) => (recipe, self.tensors(&shapes, recipe)),
            None => {
                let file_bytes = published?.file_bytes.unwrap_or(0);
                let header_bytes = self.published_header_bytes(&shapes).unwrap_or(0);
                mix::tensors(self, &shapes, file_bytes.saturating_sub(header_bytes))
            }
        };
        let mut metadata = self.metadata.clone();
        let file_type = Value::Unsigned(recipe.file_type().into());
        metadata.insert("general.file_type".to_owned(), file_type);
        let alignment = recipe::ALIGNMENT_BYTES;
        let mut header = Header { version: 3, metadata, tensors, alignment, data_offset: 0 };
        let bytes = gguf::write::write(&header).expect("every value of the catalogue is at hand");
        header.data_offset = bytes.len() as u64;
        Ok(header)
    }

    /// How long the header of its published files is: most of it is the vocabulary. Known where the
    /// length of a file is of which the data is known.
    pub(super) fn published_header_bytes(&self, shapes: &[Shape]) -> Option<u64> {
        let exact = |one: &&Quantization| one.recipe.is_some() && !one.rounded;
        let published = self.quantizations.iter().filter(exact);
        let mut lengths = published.filter_map(|one| Some((one.recipe?, one.file_bytes?)));
        let (recipe, file_bytes) = lengths.next()?;
        let data_bytes = mix::data_bytes(&self.tensors(shapes, recipe));
        file_bytes.checked_sub(data_bytes)
    }

    pub(super) fn tensors(&self, shapes: &[Shape], recipe: Recipe) -> Vec<Tensor> {
        recipe::tensors(&self.metadata, shapes, recipe, self.conditions)
    }
}
